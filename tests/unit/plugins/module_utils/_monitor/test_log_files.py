# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import tracemalloc

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import journal, log_files

pytestmark = pytest.mark.usefixtures("zone")

NOW = 1795428000.0  # 2026-11-23T10:00:00Z


# --- Log files --------------------------------------------------------------------------------------------------------

# The shapes are those of RFC 3164 and RFC 5424 and of rsyslog's, syslog-ng's and busybox's files.
MESSAGE = "Failed command for docker-thinpool."
MODIFIED = NOW + 3600


@pytest.mark.parametrize(
    ("row", "at", "source", "pid", "message"),
    [
        (f"Nov 23 11:00:00 host dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"<27>Nov 23 11:00:00 host dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"Nov 23 11:00:00 host lvm[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"Nov 23 11:00:00 host daemon.err dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"2026-11-23T10:00:00.250000+00:00 host dmeventd[577]: {MESSAGE}", NOW + 0.25, "dmeventd", 577, MESSAGE),
        (f"2026-11-23T11:00:00+01:00 host dmeventd: {MESSAGE}", NOW, "dmeventd", 0, MESSAGE),
        (f"<27>1 2026-11-23T10:00:00Z host dmeventd 577 - - {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f'<27>1 2026-11-23T10:00:00Z host dmeventd - - [x@1 a="b"] {MESSAGE}', NOW, "dmeventd", 0, MESSAGE),
        ("Nov 23 11:00:00 host kernel: [   12.345678] device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("Nov 23 11:00:00 host kernel: device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        # CONFIG_PRINTK_CALLER, and Ubuntu 24.04, which writes RFC 3339.
        ("Nov 23 11:00:00 host kernel: [   12.345678][ T1234] device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("Nov 23 11:00:00 host kernel: [12345.678901] [    C0] device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("Nov 23 11:00:00 host kernel: [  T37] device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("2026-11-23T10:00:00.250000+00:00 host kernel: [   12.345678] sb_check: 3 callbacks suppressed", NOW + 0.25,
         "kernel", 0, "sb_check: 3 callbacks suppressed"),
        ("Nov 23 11:00:00 host systemd[1]: dm-event.service: Failed with result 'signal'.", NOW, "systemd", 1,
         "dm-event.service: Failed with result 'signal'."),
        # Later in the year than the file was last written, so it is of the year before.
        (f"Dec  1 11:00:00 host dmeventd[577]: {MESSAGE}", NOW - 357 * 86400, "dmeventd", 577, MESSAGE),
        (f"Feb 29 11:00:00 host dmeventd[577]: {MESSAGE}", NOW - 998 * 86400, "dmeventd", 577, MESSAGE),
    ],
)  # fmt: skip
def test_a_line_of_syslog_is_read(row, at, source, pid, message):
    line = log_files.parse(row, MODIFIED, NOW - 60)
    assert (line.time, line.source, line.pid, line.message) == (pytest.approx(at), source, pid, message)
    assert line.current is (at > NOW - 60)


@pytest.mark.parametrize(
    "row",
    [
        "",
        "not a line of syslog with dmeventd in it",
        "Nov 23 11:00:00 host sshd[12]: user dmeventd",
        "Nov 23 11:00:00 host systemd[1]: Started lvm.",
        "Nov 23 11:00:00 host last message repeated 3 times",
        f"Foo 23 11:00:00 host dmeventd[577]: {MESSAGE}",
        f"2026-13-45T10:00:00Z host dmeventd[577]: {MESSAGE}",
    ],
)
def test_what_others_wrote_is_left_out(row):
    assert log_files.parse(row, MODIFIED, 0.0) is None


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(RefusedError, match=r"there is no log file .*/none"):
        log_files.read_file(str(tmp_path / "none"))
    with pytest.raises(RefusedError, match="cannot be read"):
        log_files.read_file(str(tmp_path))


# --- Log files that anybody may write to ------------------------------------------------------------------------------


HEAD = "2026-11-23T10:00:0{}+00:00 host dmeventd[577]: "


def test_a_line_without_an_end_is_left_out_and_takes_no_memory(tmp_path):
    path = tmp_path / "syslog"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{HEAD.format(1)}one\n")
        file.write(f"{HEAD.format(2)}{'x' * 5_000_000}\n")
        file.write(f"{HEAD.format(3)}two\n{HEAD.format(4)}half of it")
    tracemalloc.start()
    reading = log_files.read_file(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [line.message for line in reading.lines] == ["one", "two"]
    assert peak < 2_000_000
    with open(path, "a", encoding="utf-8") as file:
        file.write(" and the rest\n")
    assert [line.message for line in log_files.read_file(str(path), reading.cursor).lines] == [
        "half of it and the rest"
    ]


def test_what_is_over_a_reading_is_left_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MOST_LINES", 3)
    path = tmp_path / "syslog"
    path.write_text("".join(f"{HEAD.format(number)}{number}\n" for number in range(8)), encoding="utf-8")
    start = "file=;offset=0"
    found, readings = [], 0
    while True:
        reading = log_files.read_file(str(path), start)
        found += [line.message for line in reading.lines]
        start, readings = reading.cursor, readings + 1
        if not reading.truncated:
            break
    assert found == [str(number) for number in range(8)]
    assert readings == 3
    newest = log_files.read_file(str(path))
    assert ([line.message for line in newest.lines], newest.truncated) == (["5", "6", "7"], True)


def test_a_first_line_that_is_too_long_names_the_file_all_the_same(tmp_path):
    path = tmp_path / "syslog"
    path.write_text(f"{'x' * 100_000}\n{HEAD.format(1)}one\n", encoding="utf-8")
    reading = log_files.read_file(str(path))
    assert [line.message for line in reading.lines] == ["one"]
    assert log_files.read_file(str(path), reading.cursor).lines == ()
