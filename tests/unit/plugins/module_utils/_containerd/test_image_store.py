# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import image_store
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info

OURS = {"storage-driver": "devmapper", "features": {"containerd-snapshotter": True}}


def text_of(document):
    return None if document is None else json.dumps(document)


@pytest.mark.parametrize(
    ("before", "options", "after"),
    [
        pytest.param(None, {}, OURS, id="no-file"),
        pytest.param({"debug": True}, {}, {"debug": True, **OURS}, id="other-keys"),
        pytest.param(
            {"features": {"buildkit": True}}, {}, {**OURS, "features": {"buildkit": True, **OURS["features"]}}, id="f"
        ),
        pytest.param({"storage-driver": "overlay2"}, {}, OURS, id="another-driver"),
        pytest.param(None, {"debug": True}, {"debug": True, **OURS}, id="more-keys"),
        pytest.param({"features": {"containerd-snapshotter": False}}, {}, OURS, id="switched-off"),
    ],
)
def test_the_keys_are_set_and_taken_out_again(before, options, after):
    steps, daemon = image_store.decide(DaemonJson.of(text_of(before)), options)
    assert json.loads(daemon.text) == daemon.known == after
    assert len(steps) == 1
    assert image_store.is_configured(daemon)
    assert image_store.decide(daemon, options)[0] == []
    _steps, removed = image_store.decide(daemon, options, state="absent")
    left = json.loads(removed.text) if removed.text else {}
    assert not image_store.is_configured(removed)
    assert "containerd-snapshotter" not in left.get("features", {})
    kept = {key: value for key, value in (before or {}).items() if key not in OURS}
    assert {key: value for key, value in left.items() if key != "features"} == kept


def test_what_the_module_is_called_with_comes_to_the_same():
    before = DaemonJson.of(text_of({"features": {"buildkit": True}, "debug": True}))
    for state in ("present", "absent"):
        after = before
        for call in image_store.calls(before, {"debug": True}, state=state):
            _steps, after = daemon_json.decide(after, **call)
        assert after == image_store.decide(before, {"debug": True}, state=state)[1]
        before = after


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([], False),
        ([{"features": {"containerd-snapshotter": True}}], True),
        ([{"features": {"containerd-snapshotter": True}}, {**OURS, "debug": True}], True),
        ([{"features": {"containerd-snapshotter": True}}, {}], False),
        ([{}, {"features": {"containerd-snapshotter": True}}, OURS], True),
        ([{"features": None}], False),
    ],
)
def test_whether_the_feature_was_on_before_is_told_by_the_copy_of_that_moment(tmp_path, copies, expected):
    path = tmp_path / "daemon.json"
    for number, copy in enumerate(copies):
        there = tmp_path / f"daemon.json.{number}.2026-11-30@10:00:0{number}~"
        there.write_text(json.dumps(copy), encoding="utf-8")
        os.utime(there, (number, number))
    (tmp_path / "daemon.json.7.2026-11-30@10:01:00~").write_text("{", encoding="utf-8")
    assert image_store.had_feature(str(path)) is expected


def test_a_feature_that_was_on_before_stays_on():
    before = DaemonJson.of(text_of({"features": {"containerd-snapshotter": True, "x": True}, "storage-driver": "zfs"}))
    _steps, daemon = image_store.decide(before, {})
    _steps, left = image_store.decide(daemon, {}, state="absent", keeps_feature=True)
    assert left.keys == {"features": {"containerd-snapshotter": True, "x": True}}


def test_features_are_not_given_twice():
    with pytest.raises(RefusedError, match="daemon_options: features is set by this role"):
        image_store.decide(DaemonJson.of(None), {"features": {"x": True}})


@pytest.mark.parametrize("version", ["25.0.3", "26.1.5", "29.0.0"])
def test_docker_from_25_on_is_taken(version):
    image_store.check(
        Docker("/usr/bin/dockerd", version, flags=("-H", "fd://", "--containerd=/run/containerd/containerd.sock"))
    )


@pytest.mark.parametrize(
    ("docker", "says"),
    [
        (Docker("/usr/bin/dockerd", "24.0.9"), "use the role direct_lvm"),
        (Docker("/usr/bin/dockerd", ""), "its version could not be found out"),
        (Docker("/usr/bin/dockerd", "26.1.5", unit="masked"), "is masked"),
        (Docker("/usr/bin/dockerd", "26.1.5", flags=("--containerd", "/x.sock")), "--containerd /x.sock, another"),
    ],
)
def test_what_cannot_use_the_systems_containerd_is_refused(docker, says):
    with pytest.raises(RefusedError, match=says):
        image_store.check(docker)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, True),
        (Info("devmapper", {"driver-type": "io.containerd.snapshotter.v1"}), True),
        (Info("overlayfs", {"driver-type": "io.containerd.snapshotter.v1"}), False),
        (Info("devicemapper", {"Pool Name": "docker-thinpool"}), False),
    ],
)
def test_the_running_daemon_is_asked(info, expected):
    assert image_store.is_used_by(Docker(info=info)) is expected
