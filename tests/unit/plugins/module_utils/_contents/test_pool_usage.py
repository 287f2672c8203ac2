# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds what of a pool."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot, pool_usage
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.metadata_snapshot import (
    MappedDevice,
    Snapshot,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

CHUNK = 512 * 1024


@pytest.fixture
def pool(report, monkeypatch):
    """Return a pool of which a snapshot shows that 20 chunks are in use, before or after thin_ls counts them."""
    lvm = report("pool_in_use_by_docker")
    status = PoolStatus("rw", 7, 2584, 25600, 20, 19656, held_root=17)
    snapshot = Snapshot(status, "docker-thinpool", "/dev/mapper/x", {"docker-thinpool": MappedDevice("253:2", 1)})
    monkeypatch.setattr(metadata_snapshot, "held", lambda pool: contextlib.nullcontext(snapshot))
    return lvm, lvm.volume("docker", "thinpool")


def read(pool, commands, listed, **options):
    commands.expect("dmsetup table --target thin")
    commands.expect("thin_ls", listed)
    return pool_usage.read(*pool, (DockerPlace("/nonexistent", "another-pool"), None), **options)


@pytest.mark.parametrize(
    ("exclusive", "shared"),
    [pytest.param(15, 5, id="some"), pytest.param(20, 0, id="none"), pytest.param(25, 0, id="less-than-none")],
)
def test_what_is_shared_is_the_rest_and_never_less_than_nothing(pool, commands, exclusive, shared):
    """Blocks that were allocated after the status was read are counted by thin_ls, and not in the status."""
    found = read(pool, commands, f"1 {exclusive} {exclusive} 0 3\n")
    assert (found["used"], found["exclusive"], found["shared"]) == (20 * CHUNK, exclusive * CHUNK, shared * CHUNK)


def test_a_device_of_nobodys_is_told_as_such(pool, commands):
    found = read(pool, commands, "1 5 4 1 3\n2 9 8 1 3\n", limit=1)
    assert found["unowned"] == {"devices": 2, "exclusive": 12 * CHUNK}
    assert (found["total"], [row["device_id"] for row in found["devices"]]) == (2, [2])
    assert found["records"] == []


def test_volumes_of_lvm_are_told_by_their_names(pool, commands):
    lvm, volume = pool
    own = replace(volume, name="data", type="thin", pool=volume.name, size=CHUNK)
    commands.expect("dmsetup table --target thin", "docker-data: 0 8 thin 253:2 5\n")
    commands.expect("thin_ls", "5 5 4 1 3\n")
    places = DockerPlace("/nonexistent", "another-pool"), None
    (row,) = pool_usage.read(lvm.with_volume(own), volume, places)["devices"]
    assert (row["owner"]["engine"], row["owner"]["name"], row["dm_name"]) == ("lvm", "docker/data", "docker-data")
