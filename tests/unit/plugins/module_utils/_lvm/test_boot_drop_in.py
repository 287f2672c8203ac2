# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in

PATH = "/etc/systemd/system/docker.service.d/thin-pool-docker-thin--pool.conf"
WRITE = f"write {PATH}, so that docker.service starts with its pool active"
REMOVE = f"remove {PATH}"
RELOAD = "tell systemd of its changed files"
TEXT = boot_drop_in.text("docker", "thin-pool")


def decide(current, **options):
    steps, after = boot_drop_in.decide(current, service="docker.service", vg="docker", pool="thin-pool", **options)
    return actions(steps), after


@pytest.mark.parametrize(
    ("current", "options", "expected"),
    [
        pytest.param(None, {}, [WRITE, RELOAD], id="not-there"),
        pytest.param("[Unit]\n", {}, [WRITE, RELOAD], id="another-text"),
        pytest.param(TEXT, {}, [], id="there"),
        pytest.param(TEXT, {"needs_reload": True}, [RELOAD], id="systemd-was-not-told"),
        pytest.param(None, {"needs_reload": True}, [WRITE, RELOAD], id="not-there-and-systemd-was-not-told"),
        pytest.param(TEXT, {"state": "absent"}, [REMOVE, RELOAD], id="to-be-removed"),
        pytest.param(None, {"state": "absent"}, [], id="removed"),
        pytest.param(None, {"state": "absent", "needs_reload": True}, [], id="nobodys-business"),
    ],
)
def test_the_drop_in_is_made_and_removed(current, options, expected):
    found, after = decide(current, **options)
    assert found == expected
    assert after == (None if "state" in options else TEXT)


def test_the_pool_is_activated_and_watched_before_the_start():
    lines = TEXT.splitlines()
    assert lines.index("[Service]") < len(lines) - 2
    assert "lvchange --activate y docker/thin-pool" in lines[-2]
    assert lines[-1] == "ExecStartPre=/bin/sh -c 'lvchange --monitor y docker/thin-pool'"
