# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, dockerd
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_usage_info

CHUNK = 512 * 1024
RELEASE = "dmsetup message docker-thinpool 0 release_metadata_snap"


@pytest.fixture(autouse=True)
def host(monkeypatch, tmp_path, records):
    monkeypatch.setattr(metadata_snapshot, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(metadata_snapshot, "MARKS", str(tmp_path / "marks"))
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"data-root": str(records)}))
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(path))
    monkeypatch.setattr(dockerd, "read_unit", dict)


@pytest.fixture
def pool(commands, captured, table):
    """Expect all that is asked of a pool with three containers; what thin_ls says comes last."""
    held = captured("metadata_snapshot.status")
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_in_use_by_docker"))
    commands.expect("containerd config dump", rc=1)
    commands.expect("dmsetup status", held.replace(" 342 ", " - "))
    commands.expect("dmsetup message docker-thinpool 0 reserve_metadata_snap")
    commands.expect("dmsetup status", held)
    commands.expect("dmsetup info", captured("metadata_snapshot.info"))
    commands.expect("dmsetup table --target thin", captured("thin.table"))
    commands.expect("dmsetup status", held)


@pytest.mark.parametrize("check", [False, True])
def test_each_container_is_told_with_what_it_holds(run_module, pool, commands, captured, check):
    commands.expect(
        "thin_ls --no-headers --format DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS,TRANSACTION -m "
        "/dev/mapper/docker-thinpool_tmeta",
        captured("three_containers.thin_ls"),
    )
    commands.expect(RELEASE)
    result = run_module(thin_pool_usage_info, check=check, vg="docker", name="thinpool")
    (told,) = result["thin_pools"]
    assert not result["changed"]
    first = [(row["owner"]["name"], row["owner"]["kind"], row["exclusive"] // CHUNK) for row in told["devices"][:3]]
    assert first == [("large", "container", 405), ("middle", "container", 205), ("small", "container", 105)]
    assert told["used"] == 1208 * CHUNK
    assert told["exclusive"] == sum(row["exclusive"] for row in told["devices"])
    assert told["shared"] == told["used"] - told["exclusive"]
    assert told["unowned"] == {"devices": 0, "exclusive": 0}
    assert (told["total"], told["transaction_id"]) == (8, 8)
    assert told["records"][0].endswith("/docker")


def test_the_sums_count_all_whatever_the_limit(run_module, pool, commands, captured):
    commands.expect("thin_ls", captured("three_containers.thin_ls"))
    commands.expect(RELEASE)
    (told,) = run_module(thin_pool_usage_info, limit=2)["thin_pools"]
    assert [row["owner"]["name"] for row in told["devices"]] == ["large", "middle"]
    assert (told["total"], told["exclusive"] // CHUNK) == (8, 737)


def test_a_device_without_a_record_is_nobodys(run_module, pool, commands, captured):
    commands.expect("thin_ls", captured("three_containers.thin_ls") + "42 7 7 0 3\n")
    commands.expect(RELEASE)
    (told,) = run_module(thin_pool_usage_info)["thin_pools"]
    assert [row["device_id"] for row in told["devices"] if row["owner"] is None] == [42]
    assert told["unowned"] == {"devices": 1, "exclusive": 7 * CHUNK}


def test_records_of_another_pool_are_not_joined(run_module, pool, commands, captured, records):
    path = records / "devicemapper/metadata/transaction-metadata"
    path.write_text(path.read_text().replace('"open_transaction_id":8', '"open_transaction_id":80'))
    commands.expect("thin_ls", captured("three_containers.thin_ls"))
    commands.expect(RELEASE)
    (told,) = run_module(thin_pool_usage_info)["thin_pools"]
    assert told["records"] == []
    assert told["unowned"] == {"devices": 8, "exclusive": 737 * CHUNK}


def test_it_is_released_when_thin_ls_fails(run_module, pool, commands):
    commands.expect("thin_ls", rc=1, stderr="bad checksum in superblock")
    commands.expect(RELEASE)
    result = run_module(thin_pool_usage_info)
    assert result["failed"]
    assert "bad checksum in superblock" in result["msg"]


def test_a_pool_that_is_not_active_is_refused(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("pool_inactive.json"))
    commands.expect("containerd config dump", rc=1)
    commands.expect("dmsetup status", "No devices found\n")
    result = run_module(thin_pool_usage_info)
    assert "thin pool docker/thinpool is not active" in result["msg"]


def test_a_host_without_pools_has_none(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("blank.json"))
    assert run_module(thin_pool_usage_info)["thin_pools"] == []
