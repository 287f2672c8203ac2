# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import collect, pool_health
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_check_info

POLICY = "thin_pool_autoextend_threshold=80\nthin_pool_autoextend_percent=20\n"
BOOT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def entry(number, message, **fields):
    """Return a line of ``journalctl --output=json``."""
    cursor = f"s=7d4b;i={number:x};b={BOOT};m={number:x};t={number:x};x=c{number:x}"
    record = {"__CURSOR": cursor, "__REALTIME_TIMESTAMP": str(1795428000000000 + number), "_BOOT_ID": BOOT}
    return json.dumps({**record, "MESSAGE": message, "_COMM": "dmeventd", "_PID": "577", **fields}) + "\n"


KERNEL = {"_TRANSPORT": "kernel", "_COMM": "", "_PID": ""}
VG_FULL = entry(1, "Insufficient free space: 487 extents needed, but only 78 available") + entry(
    2, "Failed command for docker-thinpool."
)
LOW_WATER = entry(3, "device-mapper: thin: 253:2: reached low water mark for data device: sending event.", **KERNEL)


@pytest.fixture(autouse=True)
def engines(monkeypatch):
    """Have Docker use the pool, on a host that calls itself node1; return what was asked for."""
    asked = []

    def find(dm_names):
        asked.append(list(dm_names))
        return {"docker-thinpool": "docker"}

    monkeypatch.setattr(collect, "find_engines", find)
    monkeypatch.setattr(collect.os, "uname", lambda: SimpleNamespace(nodename="node1"))
    return asked


@pytest.fixture
def host(commands, captured, table):
    """Return a function that scripts a host in a captured state, with lines in its journal."""

    def script(state="pool", journal="", profile="docker-thinpool"):
        commands.expect("journalctl", entry(0, "the last one"))
        commands.expect("journalctl", entry(0, "one before"))
        commands.expect("journalctl", journal)
        commands.expect("lvm fullreport", captured(f"{state}.json"))
        if state not in ("blank", "pool_inactive"):
            commands.expect("dmsetup table --target thin-pool", table(state))
        status = captured(f"{state}.status") if state in ("pool", "blank") else ""
        commands.expect("dmsetup status --noflush --target thin-pool", status)
        if profile:
            commands.expect(f"lvmconfig --typeconfig full --metadataprofile {profile}", POLICY)

    return script


def test_a_pool_is_judged_by_its_state_and_its_events(run_module, host, commands):
    host(journal=VG_FULL)
    result = run_module(thin_pool_check_info)
    assert result["changed"] is False
    assert result["verdict"] == "warning"
    (pool,) = result["pools"]
    assert (pool["vg"], pool["name"], pool["verdict"], pool["repair"]) == ("docker", "thinpool", "warning", None)
    assert result["limits"] == {
        "data_warning": 75,
        "data_critical": 90,
        "metadata_warning": 75,
        "metadata_critical": 90,
    }
    extension = pool["autoextend"]
    assert (extension["threshold"], extension["data_needed"], extension["free"]) == (80, 487, 78)
    assert extension["data_possible"] is False
    # The same figures by LVM's report and by dmeventd's line.
    assert pool["sentence"].startswith("the data of docker/thinpool cannot be extended: that takes 487 extents")
    assert "has 78 free" in pool["sentence"]
    assert [(event["kind"], event["count"], event["named"]) for event in pool["events"]] == [
        ("vg_full", 1, True),
        ("autoextend_failed", 1, True),
    ]
    assert result["lines"] == [
        "docker/thinpool: WARNING, data 0.00 % of 9.50 GiB, metadata 10.04 % of 100.00 MiB, 312.00 MiB free in docker",
        f"    warning: {pool['sentence']}",
        "      run: ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1",
        "    2026-11-23T10:00:00Z vg_full: Insufficient free space: 487 extents needed, but only 78 available",
        "    2026-11-23T10:00:00Z autoextend_failed: Failed command for docker-thinpool.",
    ]
    assert (pool["engine"], pool["writes"], pool["writes_since"]) == ("docker", "ok", None)
    assert (
        pool["reasons"][0]["command"] == "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1"
    )
    assert pool["reasons"][0]["guide"].endswith("/full_pool.md#way-out-1-add-a-disk")
    assert commands.missing == []


@pytest.mark.parametrize(
    ("when_full", "line", "writes", "since"),
    [
        (
            "queue_if_no_space",
            "(queue IO)",
            "waiting",
            "waits since 2026-11-23T10:00:00Z, and fails at 2026-11-23T10:01",
        ),
        ("error_if_no_space", "(error IO)", "failing", "fails since 2026-11-23T10:00:00Z"),
    ],
)
def test_a_full_pool_is_told_by_the_kernels_word_and_since_when(
    run_module, host, commands, captured, monkeypatch, when_full, line, writes, since
):
    monkeypatch.setattr(collect, "device_names", lambda: {"253:2": "docker-thinpool"})
    monkeypatch.setattr(pool_health.pool_status, "no_space_timeout", lambda: 60)
    host(journal=entry(4, f"device-mapper: thin: 253:2: switching pool to out-of-data-space {line} mode", **KERNEL))
    commands.forget("dmsetup status")
    commands.forget("lvmconfig")
    status = captured("pool.status")
    words = f"0 2571/25600 19448/19448 - out_of_data_space discard_passdown {when_full} - 1024"
    commands.expect("dmsetup status", f"{status[: status.index('thin-pool ')]}thin-pool {words}\n")
    commands.expect("lvmconfig", POLICY)
    result = run_module(thin_pool_check_info, host="web-1.example.org")
    (pool,) = result["pools"]
    assert (pool["writes"], pool["writes_since"], pool["verdict"]) == (writes, "2026-11-23T10:00:00Z", "critical")
    assert since in pool["sentence"]
    assert pool["reasons"][0]["command"].endswith("--limit web-1.example.org")


def test_whose_a_pool_is_is_not_asked_where_all_is_well(run_module, engines, commands, captured, table):
    commands.expect("journalctl", entry(0, "the last one"))
    commands.expect("journalctl")
    commands.expect("journalctl")
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    commands.expect("dmsetup status", captured("pool.status"))
    commands.expect("lvmconfig", POLICY.replace("percent=20", "percent=3"))
    (pool,) = run_module(thin_pool_check_info)["pools"]
    assert (pool["verdict"], pool["engine"], engines) == ("ok", None, [])


def test_when_it_was_asked_and_since_when_events_count_is_told(run_module, host, monkeypatch):
    monkeypatch.setattr(thin_pool_check_info.time, "time", lambda: 1795435200.0)
    later = entry(60_000_000, "Failed command for docker-thinpool.")
    host(journal=VG_FULL + later)
    result = run_module(thin_pool_check_info, since="-2h")
    assert (result["time"], result["since"]) == ("2026-11-23T12:00:00Z", "2026-11-23T10:00:00Z")
    failed = result["pools"][0]["events"][-1]
    assert (failed["kind"], failed["count"]) == ("autoextend_failed", 2)
    assert (failed["first"], failed["last"]) == ("2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z")


def test_kernel_lines_are_of_the_pool_whose_number_they_have(run_module, host, monkeypatch, tmp_path):
    monkeypatch.setattr(collect, "DEVICES", str(tmp_path))
    (tmp_path / "253:2" / "dm").mkdir(parents=True)
    (tmp_path / "253:2" / "dm" / "name").write_text("docker-thinpool\n", encoding="ascii")
    (tmp_path / "8:0").mkdir()
    host(journal=LOW_WATER)
    (pool,) = run_module(thin_pool_check_info)["pools"]
    assert [(event["kind"], event["named"]) for event in pool["events"]] == [("data_low_water", True)]


def test_a_pool_that_is_named_and_not_there_is_critical(run_module, host):
    host("blank", profile="")
    result = run_module(thin_pool_check_info, pools=["docker/thinpool"])
    assert (result["verdict"], result["pools"][0]["reasons"][0]["kind"]) == ("critical", "missing")


def test_a_host_without_pools_is_unknown(run_module, host):
    host("blank", profile="")
    result = run_module(thin_pool_check_info)
    assert (result["verdict"], result["pools"]) == ("unknown", [])
    assert [reason["kind"] for reason in result["reasons"]] == ["no_pools"]
    assert result["lines"][0].startswith("unknown: there is no thin pool on this host")


def test_a_pool_that_only_the_kernel_runs_is_critical(run_module, commands, captured):
    commands.expect("journalctl", entry(0, "the last one"))
    commands.expect("journalctl", entry(0, "one before"))
    commands.expect("journalctl")
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("dmsetup status", captured("pool.status"))
    result = run_module(thin_pool_check_info)
    assert [pool["reasons"][0]["kind"] for pool in result["pools"]] == ["not_in_lvm"]


def test_a_host_without_lvm_has_no_pools(run_module, monkeypatch, commands):
    monkeypatch.setattr(process, "find", lambda program: None if program in ("lvm", "dmsetup") else program)
    commands.expect("journalctl", entry(0, "the last one"))
    commands.expect("journalctl")
    commands.expect("journalctl")
    assert run_module(thin_pool_check_info)["verdict"] == "unknown"


def test_a_journal_that_cannot_be_read_leaves_the_state(run_module, commands, captured, table):
    commands.expect("journalctl", stderr="Failed to open", rc=1)
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", table("pool"))
    commands.expect("dmsetup status", captured("pool.status"))
    commands.expect("lvmconfig", POLICY)
    result = run_module(thin_pool_check_info)
    assert (result["verdict"], result["pools"][0]["verdict"]) == ("unknown", "warning")
    assert [reason["kind"] for reason in result["reasons"]] == ["events_unreadable"]


def test_a_profile_that_could_be_attached_is_offered(run_module, commands, captured, table):
    commands.expect("journalctl", entry(0, "the last one"))
    commands.expect("journalctl")
    commands.expect("journalctl")
    commands.expect("lvm fullreport", captured("pool_without_profile.json"))
    commands.expect("dmsetup table", table("pool_without_profile"))
    commands.expect("dmsetup status", captured("pool.status"))
    commands.expect("lvmconfig --typeconfig full activation/", POLICY.replace("80", "100"))
    commands.expect("lvmconfig --typeconfig full --metadataprofile docker-thinpool", POLICY)
    (pool,) = run_module(thin_pool_check_info)["pools"]
    assert pool["repair"] == {"monitor": False, "profile": "docker-thinpool"}


def test_a_log_file_is_read_instead_of_the_journal(run_module, commands, captured, tmp_path):
    log = tmp_path / "messages"
    log.write_text(
        "2026-11-23T10:00:00.000000+00:00 node dmeventd[577]: Failed command for docker-thinpool.\n", encoding="ascii"
    )
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("dmsetup status")
    result = run_module(thin_pool_check_info, pools=["docker/thinpool"], path=str(log), since="2026-11-01")
    assert [event["kind"] for event in result["pools"][0]["events"]] == ["autoextend_failed"]


def test_what_names_no_pool_is_told_once(run_module, host):
    host(journal=entry(5, "something that no table knows"))
    result = run_module(thin_pool_check_info)
    assert result["lines"][-2:] == [
        "of no pool by name:",
        "    2026-11-23T10:00:00Z unknown: something that no table knows",
    ]
