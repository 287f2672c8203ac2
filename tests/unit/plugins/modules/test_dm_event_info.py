# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.modules import dm_event_info

BOOT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FREE = "Insufficient free space: 487 extents needed, but only 78 available"
FAILED = "Failed command for docker-thinpool."
USAGE = "WARNING: Thin pool docker-thinpool data is now 86.36% full."
OTHER = "WARNING: Thin pool data-pool data is now 81.00% full."
FULL = "device-mapper: thin: 253:2: switching pool to out-of-data-space (queue IO) mode"
NAMES = "253 0 docker-thinpool_tmeta\n253 2 docker-thinpool\n"


def cursor(number):
    return f"s=a;i={number:x};b={BOOT};m={number:x};t={number:x};x=1"


def row(number, message, **fields):
    record = {
        "__CURSOR": cursor(number),
        "__REALTIME_TIMESTAMP": str(1795428000_000000 + number),
        "_BOOT_ID": BOOT,
        "_COMM": "dmeventd",
        "_PID": "577",
        "MESSAGE": message,
        **fields,
    }
    return f"{json.dumps(record)}\n"


def kernel(number, message):
    return row(number, message, _TRANSPORT="kernel", _COMM=None, _PID=None)


JOURNALCTL = "journalctl --system --all --quiet --no-pager --output=json --output-fields="


@pytest.fixture
def journal(commands):
    """Return a function that scripts a journal with these rows; the last one is the newest of all."""

    def script(*rows, names=None):
        commands.expect(JOURNALCTL, row(99, "the last"))
        commands.expect(JOURNALCTL, "".join(rows))
        if names is not None:
            commands.expect("dmsetup info --columns --noheadings --separator ' ' -o major,minor,name", names)

    return script


def test_events_are_told_with_their_figures(run_module, journal):
    journal(row(1, USAGE), row(2, FREE), row(3, FAILED))
    result = run_module(dm_event_info)
    assert result["changed"] is False
    assert [event["kind"] for event in result["events"]] == ["data_usage_high", "vg_full", "autoextend_failed"]
    assert result["events"][1] == {
        "time": "2026-11-23T10:00:00.000002Z",
        "timestamp": 1795428000.000002,
        "kind": "vg_full",
        "severity": "critical",
        "source": "dmeventd",
        "vg": "docker",
        "pool": "thinpool",
        "dm_name": "docker-thinpool",
        "device": None,
        "part": None,
        "percent": None,
        "extents_needed": 487,
        "extents_free": 78,
        "extents_before": None,
        "extents_after": None,
        "message": FREE,
        "pid": 577,
        "boot_id": BOOT,
        "cursor": cursor(2),
    }
    assert result["kinds"] == {"data_usage_high": 1, "vg_full": 1, "autoextend_failed": 1}
    assert result["severities"] == {
        "info": 0, "notice": 0, "warning": 1, "error": 1, "critical": 1, "emergency": 0,
    }  # fmt: skip
    assert (result["worst"], result["unknown"], result["truncated"], result["complete"]) == (
        "critical", 0, False, True,
    )  # fmt: skip
    assert result["cursor"] == cursor(99)


def test_nothing_is_told_of_a_quiet_journal_but_a_cursor(run_module, journal):
    journal()
    result = run_module(dm_event_info, check=True)
    assert (result["events"], result["worst"], result["kinds"], result["cursor"]) == ([], None, {}, cursor(99))


def test_a_device_number_becomes_a_pool(run_module, journal):
    journal(kernel(1, FULL), names=NAMES)
    (event,) = run_module(dm_event_info)["events"]
    assert (event["vg"], event["pool"], event["device"], event["severity"]) == (
        "docker",
        "thinpool",
        "253:2",
        "critical",
    )
    assert (event["source"], event["pid"]) == ("kernel", 0)


def test_without_dmsetup_the_pool_is_unknown_and_that_is_warned_of(run_module, commands, journal):
    journal(kernel(1, FULL))
    commands.expect("dmsetup info", stderr="/dev/mapper/control: open failed: Permission denied\n", rc=1)
    result = run_module(dm_event_info)
    assert (result["events"][0]["pool"], result["events"][0]["kind"]) == (None, "data_full_queueing")
    assert "Permission denied" in str(result["warnings"])


def test_only_the_named_pools_events_are_told(run_module, journal):
    journal(row(1, USAGE), row(2, OTHER), row(3, "dmeventd shutting down."), row(4, "What nobody knows"))
    result = run_module(dm_event_info, pools=["docker/thinpool"])
    assert [event["message"] for event in result["events"]] == [USAGE, "dmeventd shutting down.", "What nobody knows"]
    assert result["unknown"] == 1


@pytest.mark.parametrize("name", ["thinpool", "docker/", "/thinpool", "a/b/c", ""])
def test_a_pool_without_its_group_is_refused(run_module, name):
    result = run_module(dm_event_info, pools=[name])
    assert result["failed"] is True
    assert "'pools'" in result["msg"]


def test_without_a_cursor_the_newest_are_kept(run_module, journal):
    journal(*(row(number, USAGE) for number in range(1, 6)))
    result = run_module(dm_event_info, limit=2)
    assert ([event["cursor"] for event in result["events"]], result["truncated"]) == ([cursor(4), cursor(5)], True)
    assert result["cursor"] == cursor(99)


def test_with_a_cursor_the_oldest_are_kept_and_the_next_call_has_the_rest(run_module, commands):
    for start in (1, 3):
        commands.expect(JOURNALCTL, row(99, "the last"))
        commands.expect(f"{JOURNALCTL}", row(start, USAGE))
        commands.expect(JOURNALCTL, "".join(row(number, USAGE) for number in range(start, 6)))
    first = run_module(dm_event_info, limit=2, cursor=cursor(1))
    assert ([event["cursor"] for event in first["events"]], first["truncated"]) == ([cursor(2), cursor(3)], True)
    assert first["cursor"] == cursor(3)
    second = run_module(dm_event_info, limit=2, cursor=first["cursor"])
    assert ([event["cursor"] for event in second["events"]], second["truncated"]) == ([cursor(4), cursor(5)], False)
    assert second["cursor"] == cursor(99)


def test_a_cursor_comes_before_a_time_and_an_empty_one_is_none(run_module, commands):
    commands.expect(JOURNALCTL, row(99, "the last"))
    commands.expect(JOURNALCTL, row(1, USAGE))
    commands.expect(JOURNALCTL, row(1, USAGE))
    assert run_module(dm_event_info, since="-1h", cursor=cursor(1))["events"] == []
    commands.expect(JOURNALCTL, row(99, "the last"))
    commands.expect(JOURNALCTL, "")
    commands.expect(JOURNALCTL, row(1, USAGE))
    result = run_module(dm_event_info, since="-1h", cursor="")
    assert (len(result["events"]), result["complete"]) == (1, False)
    assert "--until=@" in commands.ran[-2]
    assert "--since=@" in commands.ran[-1]


def test_a_limit_of_nothing_is_refused(run_module):
    assert "'limit'" in run_module(dm_event_info, limit=0)["msg"]


def test_a_time_that_journalctl_does_not_know_is_refused(run_module, commands):
    commands.expect(JOURNALCTL, row(99, "the last"))
    commands.expect(JOURNALCTL, stderr="Failed to parse timestamp: soon\n", rc=1)
    assert "'since'" in run_module(dm_event_info, since="soon")["msg"]


def test_a_log_file_is_read_instead(run_module, commands, tmp_path):
    log = tmp_path / "syslog"
    log.write_text(
        f"2026-11-23T10:00:00Z host dmeventd[577]: {FREE}\n"
        f"2026-11-23T10:00:00Z host dmeventd[577]: {FAILED}\n"
        f"2126-11-23T10:00:01Z host kernel: [    1.000000] {FULL}\n"
        f"1999-11-23T10:00:01Z host kernel: [    1.000000] {FULL}\n",
        encoding="utf-8",
    )
    commands.expect("dmsetup info", NAMES)
    result = run_module(dm_event_info, path=str(log))
    assert [(event["kind"], event["pool"]) for event in result["events"]] == [
        ("vg_full", "thinpool"),
        ("autoextend_failed", "thinpool"),
        ("data_full_queueing", "thinpool"),
        ("data_full_queueing", None),  # of an earlier boot
    ]
    assert {event["boot_id"] for event in result["events"]} == {None}
    assert run_module(dm_event_info, path=str(log), cursor=result["cursor"])["events"] == []


def test_a_log_file_that_is_not_there_is_refused(run_module, tmp_path):
    assert "'path'" in run_module(dm_event_info, path=str(tmp_path / "none"))["msg"]
