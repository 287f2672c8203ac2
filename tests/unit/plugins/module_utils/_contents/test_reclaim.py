# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of which pools it can be known what in them is nobody's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import orphans, pool_usage, reclaim
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.orphans import Records
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace

ROW = {"device_id": 42, "mapped": 7, "transaction_id": 3, "dm_name": None}
KNOWN = {"device_id": 1, "mapped": 9, "transaction_id": 0, "dm_name": "docker-1"}
USAGE = {"devices": [KNOWN, ROW], "records": ["/var/lib/docker"]}


@pytest.fixture
def pool(report, monkeypatch):
    monkeypatch.setattr(pool_usage, "read", lambda *_arguments: USAGE)
    monkeypatch.setattr(orphans, "recorded", lambda *_arguments: Records(frozenset({1})))
    lvm = report("pool_in_use_by_docker")
    return lvm, lvm.volume("docker", "thinpool")


def places(docker, containerd):
    place = SnapshotterPlace("/nonexistent", "/nonexistent", containerd) if containerd else None
    return DockerPlace("/nonexistent", docker), place


@pytest.mark.parametrize(
    ("docker", "containerd"),
    [("docker-thinpool", ""), ("", "docker-thinpool"), ("docker-other", "docker-thinpool")],
    ids=["dockers", "containerds", "containerds-beside-dockers"],
)
def test_it_is_known_of_a_pool_that_one_engine_is_configured_to_use(pool, docker, containerd):
    looked = reclaim.look(*pool, places(docker, containerd))
    assert (list(looked.sighting.unknown), looked.unclear) == ([42], "")


@pytest.mark.parametrize(
    ("docker", "containerd"),
    [("", ""), ("docker-other", ""), ("docker-thinpool", "docker-thinpool"), ("", "containerd-thinpool")],
    ids=["named-by-nobody", "docker-has-another", "named-by-both", "containerd-has-another"],
)
def test_it_is_not_known_where_not_one_engine_names_the_pool(pool, docker, containerd):
    """Another containerd's pool must not be taken for Docker's, which has none of its devices on record."""
    looked = reclaim.look(*pool, places(docker, containerd))
    assert looked.sighting is None
    assert "must be named by the configuration of Docker or of containerd, and not of both" in looked.unclear


def test_it_is_not_known_of_a_pool_with_volumes_of_lvms(pool):
    lvm, volume = pool
    lvm = lvm.with_volume(replace(volume, name="data", type="thin", pool=volume.name))
    assert "thin volumes of LVM's" in reclaim.look(lvm, volume, places("docker-thinpool", "")).unclear


def test_it_is_not_known_where_the_records_are_not_the_pools(pool, monkeypatch):
    monkeypatch.setattr(pool_usage, "read", lambda *_arguments: {**USAGE, "records": []})
    looked = reclaim.look(*pool, places("docker-thinpool", ""))
    assert (looked.sighting, looked.unclear) == (None, "the records of the engine are not those of this pool")


def test_it_is_not_known_where_something_speaks_against_the_records(pool, monkeypatch):
    monkeypatch.setattr(orphans, "recorded", lambda *_arguments: Records(frozenset({77})))
    looked = reclaim.look(*pool, places("docker-thinpool", ""))
    assert looked.sighting is None
    assert "not one of the pool's devices is on record" in looked.unclear
