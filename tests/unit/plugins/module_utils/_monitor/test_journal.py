# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import shutil
import tracemalloc
import typing as t
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    dm_events,
    journal,
    log_files,
    timestamps,
)

pytestmark = pytest.mark.usefixtures("zone")

NOW = 1795428000.0  # 2026-11-23T10:00:00Z
BOOTS = [f"{number:032x}" for number in range(1, 9)]


class Journal:
    """A journal, and journalctl as far as it is called here.

    It sorts like sd-journal: by number in one sequence, by monotonic time in one boot, else by realtime.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, t.Any]] = []
        self.boot = BOOTS[0]
        self.sequence = "a"
        self.number = 0
        self.monotonic = 0
        self.clock = int(NOW * 1e6)
        self.commands: list[tuple[str, ...]] = []
        self.understands_fields = True

    def write(self, message: str = "", *, wanted: bool = True, **fields: t.Any) -> None:
        self.number += 1
        self.monotonic += 7
        self.clock += 7
        number, monotonic, clock = f"{self.number:x}", f"{self.monotonic:x}", f"{self.clock:x}"
        content = f"{abs(hash(message)):x}"
        self.entries.append(
            {
                "__CURSOR": f"s={self.sequence};i={number};b={self.boot};m={monotonic};t={clock};x={content}",
                "__REALTIME_TIMESTAMP": str(self.clock),
                "_BOOT_ID": self.boot,
                "_COMM": "dmeventd" if wanted else "sshd",
                "_PID": "577",
                "MESSAGE": message,
                **fields,
            }
        )

    def reboot(self, *, clock: int = 0, sequence: str = "") -> None:
        self.boot = BOOTS[BOOTS.index(self.boot) + 1]
        self.monotonic = 0
        self.clock += clock
        self.sequence = sequence or self.sequence
        self.write("Linux version", wanted=False, _TRANSPORT="other")

    def _merged(self, cursor: str = "") -> list[dict[str, t.Any]]:
        """Return the entries of all files, each in its own order, from the cursor on where there is one."""
        files: dict[str, list[dict[str, t.Any]]] = {}
        for entry in self.entries:
            files.setdefault(journal.Cursor.parse(entry["__CURSOR"]).sequence_id, []).append(entry)
        if cursor:
            for file in files.values():
                while file and _before(file[0], {"__CURSOR": cursor}):
                    del file[0]
        ordered = []
        while any(files.values()):
            heads = [file for file in files.values() if file]
            first = heads[0]
            for file in heads[1:]:
                if _before(file[0], first[0]):
                    first = file
            ordered.append(first.pop(0))
        return ordered

    def run(self, *command: str, **_options: t.Any) -> str:
        self.commands.append(command)
        cursors = [word.partition("=")[2] for word in command if word.startswith("--cursor=")]
        entries, lines = self._merged(*cursors), None
        if "--list-boots" in command:
            first: dict[str, int] = {}
            for entry in self.entries:
                first.setdefault(entry["_BOOT_ID"], int(entry["__REALTIME_TIMESTAMP"]))
            return "".join(
                f"{-number:>3} {boot} Mon\n" for number, boot in enumerate(sorted(first, key=first.__getitem__))
            )
        matches = [word for word in command if word.startswith("_") or word == "+"]
        for word in command:
            name, _equals, value = word.partition("=")
            if name == "--output-fields" and not self.understands_fields:
                raise process.ProcessError("no", command, 1, "journalctl: unrecognized option '--output-fields=M'")
            if name == "--boot":
                entries = [entry for entry in entries if entry["_BOOT_ID"] == self.boot]
            elif name == "--since":
                entries = [e for e in entries if int(e["__REALTIME_TIMESTAMP"]) >= float(value.lstrip("@")) * 1e6]
            elif name == "--until":
                entries = [e for e in entries if int(e["__REALTIME_TIMESTAMP"]) <= float(value.lstrip("@")) * 1e6]
            elif name == "--lines":
                lines = int(value)
        if "+" in matches:
            entries = [entry for entry in entries if entry["_COMM"] != "sshd"]
        elif matches:
            entries = [entry for entry in entries if f"_BOOT_ID={entry['_BOOT_ID']}" in matches]
        if lines is not None:
            entries = entries[:lines] if cursors else entries[-lines:]
        return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def _before(one: dict[str, t.Any], other: dict[str, t.Any]) -> bool:
    a, b = (journal.Cursor.parse(entry["__CURSOR"]) for entry in (one, other))
    if a.sequence_id == b.sequence_id:
        return int(a.sequence, 16) < int(b.sequence, 16)
    if a.boot == b.boot:
        return a.monotonic < b.monotonic
    return int(a.realtime, 16) < int(b.realtime, 16)


@pytest.fixture
def journald(monkeypatch):
    found = Journal()
    found.write("the first line of all", wanted=False)
    monkeypatch.setattr(process, "find", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(process, "run", found.run)
    streamed(monkeypatch)
    return found


def streamed(monkeypatch):
    """Let what is printed line by line be what is printed whole."""

    def lines(*command, **options):
        yield from process.run(*command, **options).encode().splitlines(keepends=True)

    monkeypatch.setattr(process, "lines", lines)


def messages(reading):
    return [line.message for line in reading.lines]


def test_a_second_reading_sees_only_what_is_new(journald):
    journald.write("one")
    first = journal.read()
    journald.write("two")
    journald.write("of no matter", wanted=False)
    second = journal.read(first.cursor)
    third = journal.read(second.cursor)
    assert [messages(reading) for reading in (first, second, third)] == [["one"], ["two"], []]
    assert (first.complete, second.complete, third.complete) == (True, True, True)


def test_there_is_a_cursor_where_nothing_happened_and_it_moves_on(journald):
    first = journal.read(since="-1h", now=NOW)
    journald.write("of no matter", wanted=False)
    second = journal.read(first.cursor)
    assert first.lines == second.lines == ()
    assert second.cursor == journald.entries[-1]["__CURSOR"] != first.cursor


def test_a_cursor_whose_entry_matches_nothing_skips_nothing(journald):
    cursor = journal.read().cursor  # of a line of sshd
    journald.write("one")
    assert messages(journal.read(cursor)) == ["one"]


def test_rotation_takes_the_cursors_entry_and_nothing_else_is_lost(journald):
    journald.write("one")
    cursor = journal.read().cursor
    journald.write("two")
    journald.write("three")
    del journald.entries[:-1]
    reading = journal.read(cursor)
    assert (messages(reading), reading.complete) == (["three"], False)


def test_entries_moved_from_memory_to_disk_are_not_doubled(journald):
    journald.write("one")
    cursor = journal.read().cursor
    for number, entry in enumerate(journald.entries):
        entry["__CURSOR"] = f"s=d15c;i={number + 40:x};" + entry["__CURSOR"].split(";", 2)[2]
    journald.sequence, journald.number = "d15c", 60
    journald.write("two")
    reading = journal.read(cursor)
    assert (messages(reading), reading.complete) == (["two"], True)


def test_a_reboot_loses_nothing(journald):
    journald.write("one")
    cursor = journal.read().cursor
    journald.write("two")
    journald.reboot()
    journald.write("three")
    reading = journal.read(cursor)
    assert (messages(reading), reading.complete) == (["two", "three"], True)
    assert [line.current for line in reading.lines] == [False, True]
    assert messages(journal.read(reading.cursor)) == []


def test_a_reboot_with_the_clock_behind_loses_and_doubles_nothing(journald):
    journald.write("one")
    cursor = journal.read().cursor
    journald.reboot(clock=-3600 * 10**6, sequence="b")
    journald.write("two")
    reading = journal.read(cursor)
    assert (messages(reading), reading.complete) == (["two"], True)
    journald.write("three")
    again = journal.read(reading.cursor)
    assert messages(again) == ["three"]
    journald.clock += 7200 * 10**6
    journald.write("four")
    assert messages(journal.read(again.cursor)) == ["four"]


def test_a_journal_in_memory_is_gone_after_a_reboot_and_that_is_told(journald):
    journald.write("one")
    cursor = journal.read().cursor
    del journald.entries[:]
    journald.reboot(sequence="b")
    journald.write("two")
    reading = journal.read(cursor)
    assert (messages(reading), reading.complete) == (["two"], False)


def test_a_journal_that_begins_after_the_asked_time_is_not_complete(journald):
    journald.write("one")
    assert journal.read(since="-1h", now=NOW).complete is False
    assert journal.read(since="now", now=NOW + 1).complete is True


def test_since_is_a_time(journald):
    journald.write("one")
    journald.clock += 60 * 10**6
    journald.write("two")
    assert messages(journal.read(since="2026-11-23T10:00:30Z", now=0.0)) == ["two"]
    assert any("--since=@1795428030.000000" in command for command in journald.commands)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_in_between_each_line_comes_once(journald, seed):
    chance = random.Random(seed)
    written, read, cursor, crashed = [], [], "", False
    for number in range(60):
        event = chance.choice(["write"] * 6 + ["other", "other", "read", "read", "reboot", "crash", "clock"])
        if event == "write":
            written.append(f"line {number}")
            journald.write(written[-1])
        elif event == "other":
            journald.write(f"other {number}", wanted=False)
        elif event == "read":
            reading = journal.read(cursor)
            assert reading.complete
            read += messages(reading)
            cursor = reading.cursor
        elif event == "clock":
            journald.clock += chance.randrange(-3600, 3600) * 10**6
        elif event == "reboot" and journald.boot != BOOTS[-1]:
            journald.reboot()
        elif event == "crash" and journald.boot != BOOTS[-1] and not crashed:
            # Read before, as a timer does, and once: what was cut off in a boot that nothing has read, or was numbered
            # anew twice while the clock was wrong, has no order any more that a journal could tell.
            reading = journal.read(cursor)
            read, cursor, crashed = read + messages(reading), reading.cursor, True
            journald.reboot(clock=chance.randrange(-3600, 3600) * 10**6, sequence="b")
    # The first reading has the journal's own order.
    assert sorted(read + messages(journal.read(cursor))) == sorted(written)


def test_an_old_journalctl_without_output_fields_is_understood(journald):
    journald.understands_fields = False
    journald.write("one")
    assert messages(journal.read()) == ["one"]


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "_COMM": None}, "kernel"),
        ({"_COMM": "dmeventd", "SYSLOG_IDENTIFIER": "lvm"}, "dmeventd"),
        ({"_COMM": "(dmeventd)", "_SYSTEMD_UNIT": "dm-event.service"}, "dmeventd"),
        ({"_COMM": None, "_SYSTEMD_UNIT": "dm-event.service"}, "dmeventd"),
        ({"_COMM": None, "SYSLOG_IDENTIFIER": "dmeventd"}, "dmeventd"),
        ({"_COMM": "hook.sh", "_SYSTEMD_UNIT": "dm-event.service", "SYSLOG_IDENTIFIER": "dmeventd"}, "hook"),
        ({"_COMM": "systemd", "UNIT": "dm-event.service"}, "systemd"),
        ({"_COMM": "systemd-journal", "MESSAGE_ID": "a596d6fe7bfa4994828e72309e95d61e"}, "journald"),
        ({"_COMM": "lvm", "_SYSTEMD_UNIT": "lvm2-monitor.service"}, "lvm"),
        ({"_COMM": "vgchange", "SYSLOG_IDENTIFIER": "lvm"}, "lvm"),
        # Docker's log driver for the journal, with the tag that a user chose for a container.
        ({"_COMM": "dockerd", "SYSLOG_IDENTIFIER": "dmeventd", "CONTAINER_ID": "f00"}, "container"),
        ({"_COMM": "conmon", "SYSLOG_IDENTIFIER": "dmeventd", "CONTAINER_NAME": "web"}, "container"),
    ],
)
def test_the_writer_is_known_by_unit_and_command(journald, fields, source):
    journald.write("something", **fields)
    assert journal.line_of(journald.entries[-1], journald.boot).source == source


@pytest.mark.parametrize("field", ["CONTAINER_ID", "CONTAINER_NAME"])
def test_a_container_forges_no_event(journald, field):
    forged = "Failed command for docker-thinpool."
    journald.write(forged, _COMM="dockerd", SYSLOG_IDENTIFIER="dmeventd", **{field: "f00"})
    journald.write("true")
    assert messages(journal.read()) == ["true"]


NONSENSE = [
    b"{",
    b'{"__CURSOR": 1}',
    b"[1]",
    b"null",
    b"[" * 30000 + b"\n",
    b'{"__CURSOR": "s=1;i=1;b=00000000000000000000000000000001;m=1;t=1;x=1"}',
    b'{"__CURSOR": "s={{x}};i=1;b=00000000000000000000000000000001;m=1;t=1;x=1","__REALTIME_TIMESTAMP":"1"}',
    b'{"__CURSOR":"s=1;i=1;b=00000000000000000000000000000001;m=1;t=1;x=1","__REALTIME_TIMESTAMP":"9%s"}' % (b"9" * 16),
    b"\xff\xfe{}",
]


@pytest.mark.parametrize("row", NONSENSE, ids=range(len(NONSENSE)))
def test_a_line_that_is_no_entry_is_passed_over(journald, monkeypatch, row):
    assert journal.record_of(row) is None
    journald.write("one")
    real = process.lines

    def lines(*command, **options):
        for entry in real(*command, **options):
            yield row + b"\n"
            yield entry

    monkeypatch.setattr(process, "lines", lines)
    assert messages(journal.read()) == ["one"]


ODD = [
    {"MESSAGE": []},
    {"MESSAGE": [[]]},
    {"MESSAGE": {"a": 1}},
    {"MESSAGE": [999, -1]},
    {"_PID": "9" * 5000},
    {"_PID": []},
]


@pytest.mark.parametrize("fields", ODD, ids=range(len(ODD)))
def test_a_field_of_another_form_is_none(journald, fields):
    journald.write("one")
    journald.entries[-1].update(fields)
    (line,) = journal.read().lines
    assert isinstance(line.message, str)
    assert line.pid in (0, 577)


def test_of_a_long_message_the_beginning_is_kept(journald):
    journald.write("x" * 20000)
    (line,) = journal.read().lines
    assert line.message == "x" * journal.LONGEST_MESSAGE


# --- More than one reading may take -----------------------------------------------------------------------------------


@pytest.fixture
def most(monkeypatch):
    monkeypatch.setattr(journal, "MOST_LINES", 3)


@pytest.mark.usefixtures("most")
def test_with_a_cursor_the_next_reading_has_the_rest(journald):
    cursor = journal.read().cursor
    for number in range(8):
        journald.write(str(number))
        journald.write("noise", _TRANSPORT="kernel")
    readings = []
    for _reading in range(3):
        readings.append(journal.read(cursor))
        cursor = readings[-1].cursor
    assert [messages(reading) for reading in readings] == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"]]
    assert [reading.truncated for reading in readings] == [True, True, False]
    assert all(reading.complete for reading in readings)


@pytest.mark.usefixtures("most")
def test_without_a_cursor_the_newest_are_kept(journald):
    for number in range(8):
        journald.write(str(number))
    reading = journal.read()
    assert (messages(reading), reading.truncated) == (["5", "6", "7"], True)
    assert messages(journal.read(reading.cursor)) == []


@pytest.mark.parametrize("noise", [True, False])
def test_when_the_time_is_over_the_cursor_is_as_far_as_it_came(journald, monkeypatch, noise):
    """However little is read at a time, it comes to the end, and gives each line once."""
    cursor = journal.read().cursor
    for number in range(20):
        journald.write(str(number))
        if noise:
            journald.write("usb 1-1: new device", _TRANSPORT="kernel", _COMM=None)
    clock = iter(range(10**6))
    monkeypatch.setattr(journal.time, "monotonic", lambda: float(next(clock)))
    read, readings = [], 0
    while True:
        reading = journal.read(cursor, seconds=4)
        assert reading.complete
        read += messages(reading)
        readings += 1
        if not reading.truncated:
            break
        assert reading.cursor != cursor
        cursor = reading.cursor
    assert read == [str(number) for number in range(20)]
    assert readings > 4


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize("seed", range(20))
def test_reboots_in_between_lose_and_double_nothing(journald, seed):
    chance = random.Random(seed)
    read, written, cursor = [], [], journal.read().cursor
    for number in range(60):
        journald.write(str(number))
        written.append(str(number))
        if chance.random() < 0.2 and journald.boot != BOOTS[-1]:
            journald.reboot(clock=chance.randrange(-3600, 3600) * 10**6)
        if chance.random() < 0.2:
            reading = journal.read(cursor)
            read, cursor = read + messages(reading), reading.cursor
    while True:
        reading = journal.read(cursor)
        read, cursor = read + messages(reading), reading.cursor
        if not reading.truncated:
            break
    assert sorted(read) == sorted(written)


def test_a_long_journal_takes_no_more_memory_than_a_short_one(journald, monkeypatch):
    """Lines of the kernel's that are not of thin pools, as a host has hundreds of thousands of."""
    journald.write("noise", _TRANSPORT="kernel")
    row = json.dumps({**journald.entries[-1], "MESSAGE": "usb 1-1: new high-speed device " + "x" * 300}).encode()
    journald.write("one")
    last = json.dumps(journald.entries[-1]).encode()
    real = process.lines
    taken = []

    def lines(*command, **options):
        if "--lines=1" in command:
            yield from real(*command, **options)
            return
        for _row in range(length[-1]):
            yield row + b"\n"
        yield last + b"\n"

    length = []
    monkeypatch.setattr(process, "lines", lines)
    for number in (1000, 50000):
        length.append(number)
        tracemalloc.start()
        assert messages(journal.read()) == ["one"]
        taken.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert taken[1] < taken[0] + 100_000


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ([87, 65, 255], "WA\ufffd"),
        (["first", "second"], "first"),
        (None, ""),
    ],
)
def test_a_field_is_read_in_each_of_its_shapes(journald, message, expected):
    journald.write(MESSAGE=message)
    assert messages(journal.read()) == [expected]


@pytest.mark.parametrize(
    "cursor", ["nonsense", "s=1;i=2", "s=a;i=1;b=zz;m=1;t=1;x=1", "s=a;i=1;b=" + "0" * 32 + ";m=x;t=1;x=1"]
)
def test_what_is_no_cursor_is_refused_with_the_options_name(journald, cursor):
    with pytest.raises(RefusedError, match="'cursor'"):
        journal.read(cursor)


def test_an_empty_journal_is_refused_with_the_way_out(journald):
    del journald.entries[:]
    with pytest.raises(RefusedError, match="'path'"):
        journal.read()


def test_no_journalctl_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(process, "find", lambda program: None)
    with pytest.raises(RefusedError, match="'path'"):
        journal.read()


@pytest.mark.parametrize(
    ("stderr", "options", "expected"),
    [
        ("No journal files were opened due to insufficient permissions.", {}, "'become'"),
        ("Failed to parse timestamp: soon", {"since": "soon"}, "'since'"),
        ("Failed to seek to cursor: Invalid argument", {"cursor": "CURSOR"}, "'cursor'"),
    ],
)
def test_an_error_of_journalctl_is_told_with_what_helps(journald, monkeypatch, stderr, options, expected):
    real = journald.run

    def run(*command, **kwargs):
        if options and "--lines=1" in command and "--boot" in command:
            return real(*command, **kwargs)
        raise process.ProcessError("failed", command, 1, stderr)

    options = {name: journald.entries[0]["__CURSOR"] if value == "CURSOR" else value for name, value in options.items()}
    monkeypatch.setattr(process, "run", run)
    with pytest.raises(RefusedError, match=expected):
        journal.read(**options)


def test_another_error_of_journalctl_is_passed_on(journald, monkeypatch):
    def run(*command, **_options):
        raise process.ProcessError("broke", command, 1, "Bad message")

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(process.ProcessError, match="broke"):
        journal.read()


# --- Captured lines ---------------------------------------------------------------------------------------------------

# What journalctl printed on real guests, with the words that this module asks it by: small pools were filled, extended,
# refused an extension, filled up, emptied and broken, dmeventd was restarted and killed, and lines were suppressed.
# Left out: lines of the kernel's that are not of the device mapper but for two, and repeated complaints about a device.
REPORTS = Path(__file__).resolve().parents[3] / "reports"
# The devices that pools had.
GUESTS = {
    "2.03.16-debian12": {"253:2": "ev--a-thin--pool", "253:5": "ev--a-mp"},
    "2.03.31-debian13": {"253:2": "ev--a-thin--pool", "253:10": "ev--a-mp"},
}


@pytest.fixture(params=GUESTS)
def guest(request, monkeypatch):
    """Return the events of a captured journal, read as on its guest."""
    text = (REPORTS / request.param / "journal.json").read_text(encoding="utf-8")
    last = text.splitlines()[-1]
    monkeypatch.setattr(process, "find", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(process, "run", lambda *command, **_options: last if "--lines=1" in command else text)
    streamed(monkeypatch)
    return dm_events.events(journal.read().lines, GUESTS[request.param])


def kinds(events, pool=None):
    return [event.kind for event in events if pool in (None, event.pool)]


def in_order(wanted, among):
    rest = iter(among)
    return all(kind in rest for kind in wanted)


def test_every_captured_line_is_known(guest):
    assert [event.line.message for event in guest if event.kind == "unknown"] == []


def test_a_captured_pool_goes_through_its_states(guest):
    assert in_order(
        [
            "monitor_started",
            "data_low_water",
            "extended",
            "grown",
            "resized",
            "vg_full",
            "autoextend_failed",
            "data_usage_high",
            "data_full_queueing",
            "data_full_erroring",
            "recovered",
            "data_full_erroring",
            "recovered",
            "metadata_error",
            "metadata_abort",
            "pool_failed",
            "monitor_started",
        ],
        kinds(guest, "thin-pool"),
    )
    # The second one and the kernel's word that the pool can be written again come at the same time.
    assert kinds(guest, "thin-pool").count("extended") == 2
    assert in_order(
        ["monitor_started", "metadata_usage_high", "metadata_low_water", "metadata_read_only", "ops_refused"],
        kinds(guest, "mp"),
    )
    assert in_order(["daemon_started", "daemon_failed", "daemon_started", "suppressed"], kinds(guest))
    assert {"message_failed", "metadata_full", "config_error", "pool_unhealthy"} <= set(kinds(guest))


def test_a_captured_refusal_has_its_pool_and_figures(guest):
    refused = [event for event in guest if event.kind == "vg_full"]
    assert {(event.vg, event.pool) for event in refused} == {("ev-a", "thin-pool"), ("ev-a", "mp")}
    assert all(event.extents_needed > event.extents_free >= 0 for event in refused)
    assert len(refused) == kinds(guest).count("autoextend_failed")


def test_a_captured_extension_has_its_figures(guest):
    extended = next(event for event in guest if event.kind == "extended")
    assert (extended.vg, extended.pool, extended.part) == ("ev-a", "thin-pool", "data")
    assert (extended.extents_before, extended.extents_after) == (128, 154)


def test_a_captured_pool_with_volumes_of_lvms_is_the_same_pool(guest):
    names = {event.dm_name for event in guest if event.pool == "tp2"}
    assert names == {"ev--a-tp2", "ev--a-tp2-tpool"}


class Syslog:
    """A log file, and logrotate in each of its ways."""

    def __init__(self, path) -> None:
        self.path = path
        self.second = 0
        path.touch()

    def write(self, message: str, *, end: str = "\n") -> None:
        self.second += 1
        stamp = timestamps.iso_microseconds(NOW + self.second)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"{stamp} host dmeventd[577]: {message}{end}")

    def others(self) -> None:
        self.second += 1
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"{timestamps.iso_microseconds(NOW + self.second)} host sshd[1]: something\n")

    def rotate(self, *, copy: bool = False, create: bool = True, suffix: str = ".1", pack: t.Any = None) -> None:
        for number in range(8, 0, -1):
            for ending in ("", ".gz", ".bz2", ".xz"):
                old = self.path.with_name(f"{self.path.name}.{number}{ending}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.path.name}.{number + 1}{ending}"))
        rotated = self.path.with_name(self.path.name + suffix)
        if copy:
            shutil.copy2(self.path, rotated)
            self.path.write_text("", encoding="utf-8")
        else:
            self.path.rename(rotated)
            if create:
                self.path.touch()
        if pack:
            opener, ending = pack
            with opener(f"{rotated}{ending}", "wb") as stream:
                stream.write(rotated.read_bytes())
            rotated.unlink()

    def read(self, cursor: str = "", since: str = "") -> journal.Reading:
        return log_files.read_file(str(self.path), cursor, since, NOW, NOW)


@pytest.fixture
def syslog(tmp_path):
    return Syslog(tmp_path / "syslog")


WAYS = [
    pytest.param({}, id="renamed"),
    pytest.param({"copy": True}, id="copied-and-truncated"),
    pytest.param({"create": False}, id="not-yet-created"),
    pytest.param({"suffix": "-20261123"}, id="dated"),
    pytest.param({"pack": (gzip.open, ".gz")}, id="gzip"),
    pytest.param({"pack": (bz2.open, ".bz2")}, id="bzip2"),
    pytest.param({"pack": (lzma.open, ".xz")}, id="xz"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("read_in_between", [False, True])
def test_rotation_of_a_file_loses_and_doubles_nothing(syslog, way, read_in_between):
    syslog.write("one")
    cursor = syslog.read().cursor
    syslog.write("two")
    syslog.rotate(**way)
    found = []
    if read_in_between:
        reading = syslog.read(cursor)
        assert (messages(reading), reading.complete) == (["two"], True)
        found, cursor = ["two"], reading.cursor
    syslog.write("three")
    reading = syslog.read(cursor)
    assert (found + messages(reading), reading.complete) == (["two", "three"], True)
    assert messages(syslog.read(reading.cursor)) == []


def test_rotation_several_times_is_followed(syslog):
    syslog.write("one")
    cursor = syslog.read().cursor
    for number in range(3):
        syslog.rotate(pack=(gzip.open, ".gz") if number < 2 else None)
        syslog.write(f"after {number}")
    assert messages(syslog.read(cursor)) == ["after 0", "after 1", "after 2"]


def test_a_file_that_was_rotated_away_for_good_is_told(syslog):
    syslog.write("one")
    cursor = syslog.read().cursor
    syslog.path.write_text("", encoding="utf-8")
    syslog.write("two")
    reading = syslog.read(cursor)
    assert (messages(reading), reading.complete) == (["two"], False)


def test_a_line_that_is_still_being_written_waits(syslog):
    syslog.write("one")
    syslog.write("two", end="")
    reading = syslog.read()
    assert messages(reading) == ["one"]
    with syslog.path.open("a", encoding="utf-8") as stream:
        stream.write(" and a half\n")
    assert messages(syslog.read(reading.cursor)) == ["two and a half"]


def test_an_empty_file_has_a_cursor_too(syslog):
    reading = syslog.read()
    assert (reading.lines, reading.complete) == ((), True)
    syslog.write("one")
    syslog.rotate()
    syslog.write("two")
    reading = syslog.read(reading.cursor)
    assert (messages(reading), reading.complete) == (["one", "two"], True)


def test_each_line_of_a_file_has_its_own_cursor(syslog):
    for message in ("one", "two", "three"):
        syslog.write(message)
        syslog.others()
    first = syslog.read().lines[0]
    assert messages(syslog.read(first.cursor)) == ["two", "three"]


def test_a_file_is_read_since_a_time_through_its_rotations(syslog):
    for message in ("one", "two"):
        syslog.write(message)
        syslog.rotate()
    syslog.write("three")
    reading = syslog.read(since=f"@{NOW + 2}")
    assert (messages(reading), reading.complete) == (["two", "three"], True)
    reading = syslog.read(since=f"@{NOW - 2}")
    assert (messages(reading), reading.complete) == (["one", "two", "three"], False)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_becomes_of_a_file_each_line_comes_once(syslog, seed):
    chance = random.Random(seed)
    read, written, cursor = [], [], ""
    for number in range(60):
        event = chance.choice(["write"] * 5 + ["others", "read", "read", "rotate"])
        if event == "write":
            written.append(f"line {number}")
            syslog.write(written[-1])
        elif event == "others":
            syslog.others()
        elif event == "read":
            reading = syslog.read(cursor)
            read, cursor = read + messages(reading), reading.cursor
        elif len(list(syslog.path.parent.iterdir())) < 8:
            pack = chance.choice([None, (gzip.open, ".gz")])
            syslog.rotate(copy=chance.random() < 0.5, pack=pack)
    assert read + messages(syslog.read(cursor)) == written


def test_a_damaged_neighbour_is_told_and_the_rest_is_read(syslog):
    syslog.write("one")
    syslog.rotate(pack=(gzip.open, ".gz"))
    packed = syslog.path.with_name("syslog.1.gz")
    packed.write_bytes(b"no gzip at all")
    syslog.write("two")
    reading = syslog.read()
    assert (messages(reading), reading.complete) == (["two"], False)


def test_bytes_that_are_no_text_do_no_harm(syslog):
    syslog.write("one")
    with syslog.path.open("ab") as stream:
        stream.write(b"Nov 23 11:00:00 host dmeventd[577]: \xff\xfe\x00 full\n")
    assert len(syslog.read().lines) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cursor": "s=a;i=1;b=" + "0" * 32 + ";m=1;t=1;x=1"}, "'cursor'"),
        ({"since": "soon"}, "'since'"),
    ],
)
def test_a_wrong_option_is_refused_for_a_file(syslog, options, expected):
    syslog.write("one")
    with pytest.raises(RefusedError, match=expected):
        syslog.read(**options)
