# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import inspection
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Inspection
from ansible_collections.devicemapper.containers.plugins.modules import docker_devicemapper_info


@pytest.fixture
def seen(monkeypatch):
    """Have a host without a pool, on which Docker runs with another driver."""
    docker = Docker(path="/usr/bin/dockerd", version="20.10.24", active=True, info=Info("overlay2", version="20.10.24"))
    found = Inspection(docker=docker, root="/var/lib/docker")
    monkeypatch.setattr(inspection, "read", lambda: found)
    return found


@pytest.mark.parametrize("check", [False, True])
def test_a_host_that_is_not_on_the_pool_does_not_match(run_module, seen, check):
    result = run_module(docker_devicemapper_info, check=check)
    assert (result["changed"], result["matches"]) == (False, False)
    assert result["docker"]["driver"] == "overlay2"
    assert [line.split(" ")[0].rstrip(":") for line in result["lines"]["checks"]].count("MISMATCH") > 0
    assert all(bool(check["remedy"]) is not check["matches"] for check in result["checks"])


def test_a_device_that_is_not_there_is_a_mismatch_and_no_wrong_option(run_module, seen, tmp_path):
    result = run_module(docker_devicemapper_info, devices=[str(tmp_path / "absent")])
    assert result["matches"] is False
    assert any(str(tmp_path / "absent") in check["seen"] + check["wanted"] for check in result["checks"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"vg": "-x"}, "is not a name for a volume group"),
        ({"chunk_size": "many"}, "chunk_size"),
        ({"devices": ["vdb"]}, "vdb"),
        ({"storage_opts": ["dm.nothing=1"]}, "dm.nothing"),
    ],
)
def test_a_wrong_option_is_refused_before_the_host_is_read(run_module, monkeypatch, options, says):
    monkeypatch.setattr(inspection, "read", None)
    assert says in run_module(docker_devicemapper_info, **options)["msg"]


def test_rules_are_left_to_the_plan(run_module, seen):
    result = run_module(docker_devicemapper_info, devices=["disks but=1"])
    assert all("disks but=1" not in check["wanted"] + check["seen"] for check in result["checks"])
