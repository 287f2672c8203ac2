# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool that is made before Docker starts, and named to it."""

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Info
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_given import PoolGiven

SPEC = DockerSpec(
    vg="my-vg",
    pool="thinpool",
    data_size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    autoextend_threshold=80,
    autoextend_percent=20,
    autoextend_room="ignore",
    wipe_signatures=False,
    destroy_contents=False,
    resize_devices=False,
    reserve=None,
    docker_packages=(),
    storage_opts=(),
    daemon_options={},
)
HOST = DockerHostState(
    lvm=LvmState(),
    devices=(BlockDevice("/dev/vdb", "/dev/vdb"),),
    signatures={},
    profile=Profile("/etc/lvm/profile/my--vg-thinpool.profile"),
    pool_status=None,
    missing_packages=(),
    candidates=(),
)


@pytest.fixture
def pool():
    return PoolGiven(HOST, SPEC)


def daemon(document):
    return DaemonJson.of(json.dumps(document))


def document(device):
    return {"storage-driver": "devicemapper", "storage-opts": [f"dm.thinpooldev={device}"]}


def test_it_is_named_to_docker_as_the_device_mapper_has_it(pool):
    assert pool.options == ("dm.thinpooldev=/dev/mapper/my--vg-thinpool",)
    assert (pool.name, pool.made_when, pool.has_drop_in, pool.is_new) == ("my-vg/thinpool", "stopped", True, True)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("/dev/mapper/my--vg-thinpool", True),
        ("my--vg-thinpool", True),
        ("/dev/mapper/my-vg-thinpool", False),
        ("/dev/mapper/docker-thinpool", False),
    ],
)
def test_docker_is_on_it_by_either_form_of_its_name(pool, device, expected):
    assert pool.is_named(daemon(document(device))) is expected
    assert pool.is_ours(daemon(document(device))) is expected


def test_docker_is_on_it_only_with_the_driver(pool):
    assert not pool.is_named(daemon({**document("my--vg-thinpool"), "storage-driver": "overlay2"}))
    assert pool.is_used(Info("devicemapper", {"Pool Name": "my--vg-thinpool"}))
    assert not pool.is_used(Info("devicemapper", {"Pool Name": "docker-thinpool"}))
    assert not pool.is_used(Info("overlay2"))


def test_a_new_pool_is_in_conflict_with_whatever_docker_has(pool):
    assert (pool.conflicts(switching=True), pool.of_another_pool(), pool.records()) == ([], [], [])
    assert pool.unusable(HOST.data) == []
    assert pool.start_words(LvmState()) == ""
    assert pool.needs_restart(daemon({}), daemon({"debug": True})) is True
    assert pool.needs_restart(daemon({}), DaemonJson.of(None)) is False
