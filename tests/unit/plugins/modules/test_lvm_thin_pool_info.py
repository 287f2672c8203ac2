# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.modules import lvm_thin_pool_info

POLICY = "thin_pool_autoextend_threshold=%s\nthin_pool_autoextend_percent=20\n"


@pytest.fixture
def host(commands, captured, table):
    """Return a function that scripts a host in a captured state."""

    def script(state, threshold=80, profile="docker-thinpool", status=None):
        commands.expect("lvm fullreport", captured(f"{state}.json"))
        commands.expect("dmsetup table --target thin-pool", table(state))
        commands.expect("dmsetup status --noflush --target thin-pool", status or captured(f"{state}.status"))
        words = f" --metadataprofile {profile}" if profile else ""
        commands.expect(f"lvmconfig --typeconfig full{words} activation/", POLICY % threshold)

    return script


def pool_of(result):
    assert result["changed"] is False
    (pool,) = result["thin_pools"]
    return pool


def test_the_manuals_pool_is_told_with_what_it_lacks(run_module, commands, host):
    host("pool")
    pool = pool_of(run_module(lvm_thin_pool_info))
    assert pool["autoextend"] == {
        "threshold": 80,
        "percent": 20,
        "extent_size": 4194304,
        "data_needed": 487,
        "metadata_needed": 12,
        "free": 78,
        "data_possible": False,
        "metadata_possible": True,
    }
    assert (pool["armed"], pool["monitored"], pool["low_water_mark"]) == (True, True, 3889)
    assert (pool["data_percent"], pool["metadata_percent"]) == (0.0, 10.04)
    assert (pool["lvm_health"], pool["mode"], pool["needs_check"]) == ("ok", "rw", False)
    assert [(reason["kind"], reason["severity"]) for reason in pool["reasons"]] == [
        ("data_extension_impossible", "warning")
    ]
    assert pool["health"] == "warning"
    assert commands.writing == []


def test_a_pool_in_use_is_told_with_the_kernels_transaction(run_module, host):
    host("pool_in_use_by_docker", threshold=52)
    pool = pool_of(run_module(lvm_thin_pool_info, vg="docker", name="thinpool"))
    assert (pool["transaction_id"], pool["data_percent"], pool["armed"]) == (16, 2.47, True)
    assert (pool["size"], pool["dm_name"]) == (10305404928, "docker-thinpool")


def test_a_pool_whose_mark_is_of_another_threshold_is_not_armed(run_module, host):
    host("pool_in_use_by_docker", threshold=80)
    assert pool_of(run_module(lvm_thin_pool_info))["armed"] is False


def test_a_pool_that_is_never_extended_is_not_armed(run_module, host):
    host("pool_not_armed", threshold=100)
    assert pool_of(run_module(lvm_thin_pool_info))["armed"] is False


@pytest.mark.parametrize(
    ("words", "mode", "needs_check"),
    [
        pytest.param(
            "0 2571/25600 0/19448 - ro discard_passdown queue_if_no_space needs_check 1024",
            "ro",
            True,
            id="needs-check",
        ),
        pytest.param("Fail", "fail", False, id="failed"),
    ],
)
def test_a_pool_in_trouble_is_told(run_module, captured, host, words, mode, needs_check):
    line = captured("pool.status")
    host("pool", status=f"{line[: line.index('thin-pool ')]}thin-pool {words}\n")
    pool = pool_of(run_module(lvm_thin_pool_info))
    assert (pool["mode"], pool["needs_check"]) == (mode, needs_check)


def test_an_inactive_pool_is_told_without_asking_the_kernel(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("pool_inactive.json"))
    commands.expect("lvmconfig", POLICY % 80)
    pool = pool_of(run_module(lvm_thin_pool_info))
    assert (pool["active"], pool["mode"], pool["data_percent"], pool["armed"]) == (False, None, None, False)
    assert pool["health"] == "critical"
    assert pool["reasons"][0]["kind"] == "inactive"


def test_a_kernel_that_does_not_answer_leaves_the_rest_known(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", stderr="asked to stop", rc=-15)
    commands.expect("lvmconfig", POLICY % 80)
    pool = pool_of(run_module(lvm_thin_pool_info))
    assert (pool["health"], pool["mode"], pool["data_percent"]) == ("unknown", None, 0.0)
    assert pool["reasons"][0]["message"] == "the kernel did not say how docker/thinpool is: see 'dmsetup status'"


def test_a_profile_without_a_file_is_told(run_module, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", captured("pool.status"))
    commands.expect("lvmconfig", stderr="  docker-thinpool.profile: stat failed: No such file or directory\n", rc=5)
    pool = pool_of(run_module(lvm_thin_pool_info))
    assert [reason["kind"] for reason in pool["reasons"]] == ["profile_missing"]
    assert (pool["autoextend"]["threshold"], pool["armed"]) == (100, False)


@pytest.mark.parametrize(
    "limits", [{"data_warning": 0}, {"data_critical": 101}, {"metadata_warning": 91}, {"metadata_critical": 70}]
)
def test_limits_that_make_no_sense_are_refused(run_module, commands, limits):
    result = run_module(lvm_thin_pool_info, **limits)
    assert "must be 1 to 100 percent, the former not above the latter" in result["msg"]
    assert commands.ran == []


@pytest.mark.parametrize("options", [{"vg": "other"}, {"name": "other"}, {"vg": "docker", "name": "lvol0_pmspare"}])
def test_a_pool_that_is_not_there_is_not_told(run_module, commands, captured, table, options):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    assert run_module(lvm_thin_pool_info, **options)["thin_pools"] == []


def test_a_host_without_pools_has_none(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("blank.json"))
    assert run_module(lvm_thin_pool_info)["thin_pools"] == []


def test_a_failure_is_told_with_command_and_status(run_module, commands):
    commands.expect("lvm fullreport", stderr="  Failed to read devices.\n", rc=3)
    result = run_module(lvm_thin_pool_info)
    assert (result["failed"], result["rc"], result["cmd"][:2]) == (True, 3, ["lvm", "fullreport"])
    assert result["msg"].endswith("failed with status 3: Failed to read devices.")
