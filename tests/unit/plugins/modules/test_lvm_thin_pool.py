# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in
from ansible_collections.devicemapper.containers.plugins.modules import lvm_thin_pool

POOL = {"vg": "docker", "name": "thinpool"}
MANUAL = {
    **POOL,
    "size": "95%VG",
    "metadata_size": "1%VG",
    "chunk_size": "512K",
    "zero": False,
    "profile": "docker-thinpool",
}
LVCREATE = (
    "lvcreate --yes --type thin-pool --name thinpool --extents 2431 --poolmetadatasize "
    "104857600b --poolmetadataspare y "
    "--chunksize 524288b --zero n --metadataprofile docker-thinpool --addtag devicemapper.containers docker"
)
LVCONVERT = (
    "lvconvert --yes --type thin-pool --poolmetadata docker/thinpoolmeta --chunksize 524288b --zero n "
    "--metadataprofile docker-thinpool docker/thinpool"
)


def expect_policy(commands):
    """Let LVM know the profile with the manual's threshold; it is asked once the report is there."""
    commands.expect(
        "lvmconfig --typeconfig full --metadataprofile docker-thinpool",
        "thin_pool_autoextend_threshold=80\nthin_pool_autoextend_percent=20\n",
    )


def test_a_pool_that_could_not_be_checked_at_the_next_boot_is_not_made(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    commands.expect("lvmconfig", 'thin_check_executable="/nowhere/thin_check"\n')
    result = run_module(lvm_thin_pool, **MANUAL)
    assert result["failed"]
    assert result["msg"].startswith("/nowhere/thin_check, with which LVM checks the metadata of docker/thinpool before")
    assert commands.writing == []


def test_check_mode_only_reads_and_foretells(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    expect_policy(commands)
    result = run_module(lvm_thin_pool, check=True, **MANUAL)
    assert len(result["actions"]) == 1
    assert result["actions"][0].startswith("create thin pool docker/thinpool: data 2431 extents (9.50 GiB)")
    assert result["thin_pool"] == {
        "vg": "docker",
        "name": "thinpool",
        "type": "thin-pool",
        "dm_name": "docker-thinpool",
        "path": "/dev/mapper/docker-thinpool",
        "size": 10196353024,
        "metadata_size": 104857600,
        "chunk_size": 524288,
        "zero": False,
        "discards": "passdown",
        "when_full": "queue",
        "profile": "docker-thinpool",
        "active": True,
        "monitored": True,
        "low_water_mark": 3889,
        "tags": ["devicemapper.containers"],
    }
    assert result["diff"]["before"] == {"thin_pool": None}
    assert commands.writing == []


def test_a_real_run_makes_the_pool_and_looks_again(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("group.json"))
    expect_policy(commands)
    commands.expect(LVCREATE)
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    result = run_module(lvm_thin_pool, **MANUAL)
    assert commands.writing == [LVCREATE]
    assert (result["changed"], result["thin_pool"]["low_water_mark"]) == (True, 3889)


def test_check_mode_foretells_what_the_real_run_returns(run_module, commands, captured, table):
    for _run in range(2):
        commands.expect("lvm fullreport", captured("data_and_metadata.json"))
        expect_policy(commands)
        commands.expect("wipefs --no-act --parsable /dev/docker/thinpool")
        commands.expect("wipefs --no-act --parsable /dev/docker/thinpoolmeta")
    commands.expect(LVCONVERT)
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    foretold = run_module(lvm_thin_pool, check=True, **MANUAL)
    assert commands.writing == []
    real = run_module(lvm_thin_pool, **MANUAL)
    keys = ("changed", "actions", "diff", "thin_pool")
    assert {key: real[key] for key in keys} == {key: foretold[key] for key in keys}
    assert commands.writing == [LVCONVERT]


def test_steps_run_in_their_order(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool_without_profile.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_without_profile"))
    expect_policy(commands)
    commands.expect("lvchange --yes --metadataprofile docker-thinpool docker/thinpool")
    commands.expect("lvchange --yes --refresh docker/thinpool")
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    result = run_module(lvm_thin_pool, **MANUAL)
    assert result["diff"]["before"]["thin_pool"]["low_water_mark"] == 0
    assert result["diff"]["after"]["thin_pool"]["low_water_mark"] == 3889


def test_a_second_run_changes_nothing(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    expect_policy(commands)
    result = run_module(lvm_thin_pool, **MANUAL)
    assert (result["changed"], result["actions"], result["thin_pool"]["profile"]) == (False, [], "docker-thinpool")


def test_a_failure_is_told_with_command_and_status(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    expect_policy(commands)
    commands.expect(LVCREATE, stderr="  Check of pool docker/thinpool failed (status:64).\n", rc=5)
    result = run_module(lvm_thin_pool, **MANUAL)
    assert (result["failed"], result["rc"], result["cmd"][:2]) == (True, 5, ["lvcreate", "--yes"])
    assert result["msg"] == f"{LVCREATE} failed with status 5: Check of pool docker/thinpool failed (status:64)."
    assert result["stderr"] == "  Check of pool docker/thinpool failed (status:64).\n"


def test_a_volume_that_holds_something_is_not_converted(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("data_and_metadata.json"))
    expect_policy(commands)
    commands.expect("wipefs --no-act --parsable /dev/docker/thinpool", "0x438,e108da58,,ext4\n")
    commands.expect("wipefs --no-act --parsable /dev/docker/thinpoolmeta")
    assert run_module(lvm_thin_pool, **MANUAL)["msg"].startswith("docker/thinpool holds ext4 at 0x438: ")


def test_an_unknown_group_is_refused(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("blank.json"))
    result = run_module(lvm_thin_pool, **POOL, size="1g")
    assert result["msg"] == "volume group docker does not exist: make it first (module lvm_vg), or correct vg"


@pytest.mark.parametrize("option", ["size", "metadata_size", "chunk_size"])
def test_a_size_that_is_none_is_refused_under_its_option(run_module, commands, option):
    assert run_module(lvm_thin_pool, **POOL, **{option: "big"})["msg"].startswith(f"{option}: 'big' is not a size")


def test_removing_asks_neither_for_the_profile_nor_for_signatures(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_thin_pool, **MANUAL, state="absent")
    assert (result["changed"], result["thin_pool"]) == (False, None)


def test_a_pool_in_use_is_not_removed(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table", table("pool_in_use_by_docker"))
    assert run_module(lvm_thin_pool, **POOL, state="absent")["msg"].startswith("docker/thinpool is in use: stop Docker")


def test_the_attached_profile_counts_where_none_is_given(run_module, commands, captured, table):
    """Growing loads a new table, and LVM arms it by the profile that stays."""
    commands.expect("lvm fullreport", captured("pool_and_second_disk.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_and_second_disk"))
    expect_policy(commands)
    result = run_module(lvm_thin_pool, check=True, **POOL, size="80%VG")
    assert [action.split(" of ")[0] for action in result["actions"]] == ["grow data"]
    assert (result["thin_pool"]["profile"], result["thin_pool"]["low_water_mark"]) == ("docker-thinpool", 6550)


def test_without_any_profile_lvm_is_not_asked_for_one(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_thin_pool, check=True, **POOL, size="1g")
    assert (result["thin_pool"]["profile"], result["thin_pool"]["low_water_mark"]) == (None, 0)


def test_a_group_of_another_system_gets_no_pool(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("foreign_group.json"))
    commands.expect("lvm systemid", "  system ID: this-host\n")
    commands.expect("dmsetup table", table("foreign_group"))
    result = run_module(lvm_thin_pool, vg="foreign", name="thinpool", size="1g")
    assert result["msg"].startswith("volume group foreign belongs to another system (system ID other-host; this host")


def test_the_hosts_own_group_gets_a_pool(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("foreign_group.json"))
    commands.expect("lvm systemid", "  system ID: other-host\n")
    commands.expect("dmsetup table", table("foreign_group"))
    result = run_module(lvm_thin_pool, check=True, vg="foreign", name="thinpool", size="1g")
    assert result["actions"][0].startswith("create thin pool foreign/thinpool: data 256 extents")


@pytest.mark.parametrize("check", [True, False])
def test_where_lvm_writes_nothing_a_change_is_refused(run_module, commands, captured, table, check):
    commands.expect("lvm fullreport", captured("pool_and_second_disk.json"))
    commands.expect("dmsetup table", table("pool_and_second_disk"))
    commands.expect("lvmconfig", "thin_pool_autoextend_threshold=80\nmetadata_read_only=1\n")
    result = run_module(lvm_thin_pool, check=check, vg="docker", name="thinpool", size="12g")
    assert result["msg"] == (
        "thin pool docker/thinpool cannot be changed: lvm.conf has global/metadata_read_only=1, with which LVM writes "
        "nothing"
    )
    assert commands.writing == []


@pytest.fixture
def docker_unit(monkeypatch, tmp_path):
    """Have systemd run, and drop-ins lie in a folder of the test's own; return the path of the pool's."""
    monkeypatch.setattr(systemd, "read_unit", lambda service: {"LoadState": "loaded", "NeedDaemonReload": "no"})
    place = tmp_path / "docker.service.d" / "thin-pool.conf"
    monkeypatch.setattr(boot_drop_in, "path", lambda service, vg, pool: str(place))
    return place


def test_a_service_waits_for_the_pool_once_it_is_there(run_module, commands, captured, table, docker_unit):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    expect_policy(commands)
    commands.expect("systemctl daemon-reload")
    result = run_module(lvm_thin_pool, **MANUAL, service="docker.service")
    assert result["changed"]
    assert result["actions"] == [
        f"write {docker_unit}, so that docker.service starts with its pool active",
        "tell systemd of its changed files",
    ]
    text = docker_unit.read_text(encoding="utf-8")
    assert "lvchange --activate y docker/thinpool" in text
    ((header, before, after),) = ((part["after_header"], part["before"], part["after"]) for part in result["diff"])
    assert (header, before, after) == (str(docker_unit), "", text)


def test_check_mode_writes_no_drop_in(run_module, commands, captured, table, docker_unit):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    expect_policy(commands)
    result = run_module(lvm_thin_pool, check=True, **MANUAL, service="docker.service")
    assert (result["changed"], docker_unit.exists(), commands.writing) == (True, False, [])


def test_a_service_no_longer_waits_for_a_pool_that_is_gone(run_module, commands, captured, docker_unit):
    docker_unit.parent.mkdir()
    docker_unit.write_text("[Service]\n", encoding="utf-8")
    commands.expect("lvm fullreport", captured("group.json"))
    commands.expect("systemctl daemon-reload")
    result = run_module(lvm_thin_pool, vg="docker", name="thinpool", state="absent", service="docker.service")
    assert (result["changed"], docker_unit.exists()) == (True, False)


def test_where_systemd_does_not_run_no_service_waits(run_module, commands, captured, table, monkeypatch):
    monkeypatch.setattr(systemd, "read_unit", lambda service: {})
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    expect_policy(commands)
    assert run_module(lvm_thin_pool, **MANUAL, service="docker.service")["actions"] == []
