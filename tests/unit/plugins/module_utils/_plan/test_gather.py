# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What thin_pool_plan reads and tells for every engine."""

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import gather
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import StorageSpec

OPTIONS = {
    "vg": "docker",
    "pool": "thinpool",
    "data_size": "80%VG",
    "metadata_size": "64m",
    "chunk_size": "512K",
    "zero": False,
    "autoextend_threshold": 80,
    "autoextend_percent": 20,
    "autoextend_room": "warn",
    "wipe_signatures": False,
    "destroy_contents": False,
    "resize_devices": False,
    "reserve": None,
}


def test_the_pools_options_are_those_alone_with_sizes_understood():
    found = gather.pool_options({**OPTIONS, "engine": "docker"})
    assert set(found) == set(OPTIONS)
    assert (found["data_size"], found["chunk_size"]) == (Size.parse("80%VG"), 524288)
    assert StorageSpec(**found).dm_name == "docker-thinpool"


@pytest.mark.parametrize("option", ["data_size", "metadata_size", "chunk_size"])
def test_a_size_that_is_none_is_refused_under_its_option(option):
    with pytest.raises(RefusedError, match=option):
        gather.pool_options({**OPTIONS, option: "large"})


@pytest.mark.parametrize("changes", [{"vg": "-x"}, {"pool": "a b"}, {"chunk_size": "3k"}])
def test_what_lvm_would_refuse_is_refused_first(changes):
    with pytest.raises(RefusedError):
        StorageSpec(**gather.pool_options({**OPTIONS, **changes})).for_pool().check()


def test_a_host_without_lvm_is_one_with_nothing_of_lvms(monkeypatch):
    monkeypatch.setattr(process, "find", lambda program: None)
    monkeypatch.setattr(block_devices, "resolve", lambda names: {})
    assert gather.read_report() is None
    found = gather.storage(None, [], StorageSpec(**gather.pool_options(OPTIONS)))
    assert (found["lvm"].volumes, found["devices"], found["pool_status"]) == ((), (), None)
    assert found["profile"].path == "/etc/lvm/profile/docker-thinpool.profile"


def test_what_docker_does_not_say_is_null():
    told = gather.docker_result(Docker(), DockerData(root="/var/lib/docker"), [])
    assert (told["data_root"], told["driver"], told["udev_sync"], told["running"]) == (
        "/var/lib/docker",
        None,
        None,
        None,
    )
    docker = Docker(path="/usr/bin/dockerd", info=Info("devicemapper", {"Udev Sync Supported": "true"}), running=("a",))
    told = gather.docker_result(docker, DockerData(), ["/x"])
    assert (told["driver"], told["udev_sync"], told["running"], told["records"]) == (
        "devicemapper",
        True,
        ["a"],
        ["/x"],
    )
