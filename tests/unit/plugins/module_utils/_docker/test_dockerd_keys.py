# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, dockerd_keys
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson

CAPTURED = Path(__file__).resolve().parents[3] / "docker"
VERSIONS = sorted(path.name for path in CAPTURED.iterdir() if path.is_dir())


def asked(version: str) -> dict:
    return json.loads((CAPTURED / version / "configuration.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flag_stands_against_the_keys_that_dockerd_says(version):
    """All pairs of a flag and a key, of which those that dockerd takes are no less to be known."""
    answers = asked(version)
    assert len(answers["flags"]) > 80
    for flag, clashes in answers["flags"].items():
        document = dict.fromkeys(answers["keys"], "0")
        assert sorted(dockerd_keys.clashes(document, [flag])) == sorted(clashes), flag


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_is_refused_where_dockerd_refuses_it(version):
    taken = set(asked(version)["keys"])
    for key in dockerd_keys.KEYS | taken:
        (problem,) = dockerd_keys.problems({key: "0"}, version) or [""]
        is_heeded = "which Docker does not heed" not in problem
        assert (key in taken) == (not problem or not is_heeded), (key, problem)


@pytest.mark.parametrize(
    ("document", "version", "says"),
    [
        (
            {"hots": []},
            "26.1.5",
            "hots is no key that Docker knows, and it does not start with it: did you mean hosts?",
        ),
        ({"storage_driver": "x"}, "", "did you mean storage-driver?"),
        ({"Log-Driver": "x"}, "", "did you mean log-driver?"),
        ({"something": 1}, "", "something is no key that Docker knows, and it does not start with it: take it out"),
        (
            {"log-opt": "x"},
            "28.5.2",
            "log-opt is the name of a flag, which Docker does not heed in a file: write log-opts",
        ),
        (
            {"add-runtime": 1},
            "",
            "add-runtime is the name of a flag, which Docker does not heed in a file: write runtimes",
        ),
        ({"graph": "/x"}, "24.0.9", "graph is no key of Docker 24.0.9, which does not start with it: take it out"),
        ({"graph": "/x"}, "23.0.1", ""),
        ({"graph": "/x"}, "", ""),
        ({"bip6": "x"}, "27.5.1", "bip6 is no key of Docker 27.5.1"),
        ({"min-api-version": "1.24"}, "29.1.0", ""),
        ({"api-cors-header": "*"}, "29.1.0", "api-cors-header is no key of Docker 29.1.0"),
        ({"whatever": 1}, "30.0.0", ""),
        ({"proxies": {"http-proxy": "x"}}, "26.1.5", ""),
        ({"proxies": {"htp-proxy": "x"}}, "26.1.5", "htp-proxy is no key that Docker knows"),
        ({"log-opts": {"max-size": "5m"}, "builder": {"gc": {"enabled": True}}, "features": {"x": True}}, "", ""),
    ],
)
def test_what_docker_does_not_start_with_is_named_with_the_nearest_right_one(document, version, says):
    found = dockerd_keys.problems(document, version)
    assert (len(found), says in "".join(found)) == (1 if says else 0, True), found


def test_a_file_that_docker_would_not_start_with_is_refused():
    with pytest.raises(RefusedError, match=r"/etc/docker/daemon.json: hots is no key .* did you mean hosts\?"):
        daemon_json.decide(DaemonJson.of('{"hots": []}'), storage_driver="overlay2")
    with pytest.raises(RefusedError, match="log-drivr is no key .* did you mean log-driver"):
        daemon_json.decide(DaemonJson.of(None), options={"log-drivr": "journald"})
    with pytest.raises(RefusedError, match=r"already sets --feature \(features\)"):
        daemon_json.decide(DaemonJson.of('{"features": {}}'), storage_driver="x", flags=["--feature", "x=true"])
    daemon_json.decide(DaemonJson.of('{"runtimes": {}}'), storage_driver="x", flags=["--add-runtime", "a=/b"])
    daemon_json.decide(DaemonJson.of('{"hots": []}'), options={"hots": []}, state="absent")
