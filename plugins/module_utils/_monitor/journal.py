# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The one place that reads the journal: lines of dmeventd, LVM and the kernel; log_files stands in where there is none.

A reading ends with a cursor, and the next one that starts from it has every later line, each once. It goes through the
journal line by line and keeps what is of thin pools, so that it takes no more memory of a long journal than of a short
one; where its time is over before it is through, its cursor is as far as it came.
"""

from __future__ import annotations

import collections
import json
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event, Line
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.timestamps import (
    iso_microseconds,
    parse_time,
)

MOST_LINES = 20_000  # in one reading: about 20 MB


@dataclass(frozen=True)
class Reading:
    """The lines of thin pools that were read, in their order."""

    lines: tuple[Line, ...]
    cursor: str  # where the next reading starts
    complete: bool  # whether everything from the asked point on is still there
    truncated: bool = False  # whether there is more: with a cursor behind these lines, without one before them


class Budget:
    """How much one reading may take: lines, and seconds, 0 for as long as it takes."""

    def __init__(self, seconds: float = 0.0, *, oldest: bool) -> None:
        self._end = time.monotonic() + seconds if seconds else float("inf")
        self._oldest = oldest
        self._lines: collections.deque[Line] = collections.deque(maxlen=None if oldest else MOST_LINES)
        self._count = 0

    def take(self, line: Line) -> None:
        """Keep a line if it is of thin pools: the oldest ones, since the next reading goes on there, or the newest."""
        if dm_events.event_of(line):
            self._lines.append(line)
            self._count += 1

    @property
    def is_spent(self) -> bool:
        return time.monotonic() > self._end or (self._oldest and self._count >= MOST_LINES)

    def reading(self, cursor: str, complete: bool, *, stopped: bool = False) -> Reading:
        return Reading(tuple(self._lines), cursor, complete, stopped or self._count > len(self._lines))


def as_result(event: Event) -> dict[str, t.Any]:
    """Return an event as modules and the event source tell it; ``dm_event_info`` documents the keys."""
    return {
        "time": iso_microseconds(event.line.time),
        "timestamp": event.line.time,
        "kind": event.kind,
        "severity": event.severity,
        "source": event.line.source,
        "vg": event.vg,
        "pool": event.pool,
        "dm_name": event.dm_name,
        "device": event.device,
        "part": event.part,
        "percent": event.percent,
        "extents_needed": event.extents_needed,
        "extents_free": event.extents_free,
        "extents_before": event.extents_before,
        "extents_after": event.extents_after,
        "message": event.line.message.strip(),
        "pid": event.line.pid,
        "boot_id": event.line.boot or None,
        "cursor": event.line.cursor,
    }


# Groups joined by "+" are alternatives; in a group, a field's several values are (journalctl(1)).
# By unit and command, never by identifier alone: liblvm renames the daemon to "lvm" where log/syslog is 1, the default
# before 2.03.14. Identifiers of root are taken too, because the journal may not learn the unit and the command of a
# process that ends at once; of root, because anyone may write under any identifier.
_SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"  # systemd's sd-messages.h, SD_MESSAGE_JOURNAL_DROPPED
_MISSED = "e9bf28e6e834481bb6f48f548ad13606"  # SD_MESSAGE_JOURNAL_MISSED, of the kernel's lines
MATCHES = (
    "_SYSTEMD_UNIT=dm-event.service",
    "+",
    "_COMM=dmeventd",
    "_COMM=lvm",
    "_UID=0",
    "+",
    "SYSLOG_IDENTIFIER=dmeventd",
    "SYSLOG_IDENTIFIER=lvm",
    "_UID=0",
    "+",
    "_EXE=/usr/sbin/lvm",
    "_EXE=/sbin/lvm",
    "+",
    "_TRANSPORT=kernel",
    "+",
    "_PID=1",
    "UNIT=dm-event.service",
    "+",
    "_TRANSPORT=driver",
    f"MESSAGE_ID={_SUPPRESSED}",
    f"MESSAGE_ID={_MISSED}",
)
COMMAND = ("journalctl", "--system", "--all", "--quiet", "--no-pager", "--output=json")
FIELDS = (
    "--output-fields=MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_TRANSPORT,_SYSTEMD_UNIT,UNIT,"
    "CONTAINER_ID,CONTAINER_NAME"
)
BOOTS = ("journalctl", "--system", "--quiet", "--no-pager", "--list-boots")
TAIL = ("--boot", "--lines=1")  # the newest entry of all
# Reading years of kernel lines takes a while; a process that hangs must end all the same.
_TIMEOUT = 300

_Record = t.Dict[str, t.Any]

# Each number as large as it may be; of the time as large as a date has it.
_CURSOR = re.compile(
    "s=[0-9a-f]{1,32};i=[0-9a-f]{1,16};b=[0-9a-f]{32};m=[0-9a-f]{1,16};t=[0-9a-f]{1,14};x=[0-9a-f]{1,16}"
)
# As long as a message of LVM's or the kernel's can be, twice; more is kept of none.
LONGEST_MESSAGE = 4096
# In the JSON of a line of the kernel's that is of another part of it; of these there may be hundreds of thousands.
_KERNEL = re.compile(rb'"_TRANSPORT" ?: ?"kernel"')
_OF_POOLS = re.compile(rb'device-mapper|callbacks suppressed|"MESSAGE" ?: ?\[')


@dataclass(frozen=True)
class Cursor:
    """A place in the journal: an entry's own name for itself."""

    text: str
    sequence_id: str
    sequence: str
    boot: str
    monotonic: int  # microseconds since that boot
    realtime: str
    content: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        try:
            if not _CURSOR.fullmatch(text.strip()):
                raise ValueError(text)
            parts = dict(part.split("=", 1) for part in text.strip().split(";"))
            return cls(
                text=text.strip(),
                sequence_id=parts["s"],
                sequence=parts["i"],
                boot=parts["b"],
                monotonic=int(parts["m"], 16),
                realtime=parts["t"],
                content=parts["x"],
            )
        except (KeyError, ValueError) as error:
            raise RefusedError(
                f"cursor {text[:200]!r} is not one of the journal: give the option 'cursor' what an earlier call "
                "returned as 'cursor', or leave it out"
            ) from error

    def names(self, other: Cursor) -> bool:
        """Whether both are of the same entry.

        Its number changes when journald moves entries from /run to /var, the rest of it does not.
        """
        if self.sequence_id == other.sequence_id:
            return self.sequence == other.sequence
        return (self.boot, self.monotonic, self.realtime, self.content) == (
            other.boot,
            other.monotonic,
            other.realtime,
            other.content,
        )

    def is_after(self, other: Cursor) -> bool:
        """Whether this entry of the same boot or sequence is the later one; not by realtime, for clocks are set."""
        if self.sequence_id == other.sequence_id:
            return int(self.sequence, 16) > int(other.sequence, 16)
        return self.monotonic > other.monotonic


def read(cursor: str = "", since: str = "", now: float = 0.0, *, seconds: float = 0.0) -> Reading:
    """Return the lines after the cursor, or else since a point in time, or else all that the journal holds.

    After so many seconds, or so many lines after a cursor, the rest is left to the next reading.
    """
    if not process.find("journalctl"):
        raise RefusedError(
            "there is no journalctl on this host: give the option 'path' the log file that syslog writes"
        )
    budget = Budget(seconds, oldest=bool(cursor))
    # Before the lines, so that what is written meanwhile lies behind it and is read next time, not passed over.
    tail = _tail()
    if cursor:
        calls, complete = _after(Cursor.parse(cursor), tail)
    elif since:
        calls, complete = _since(since, now)
    else:
        calls, complete = (Call(MATCHES, lambda place: True),), True
    end, reached, noise = tail, None, b""
    for call in calls:
        for row in _journalctl(*call.words):
            if _KERNEL.search(row) and not _OF_POOLS.search(row):
                noise = row
            else:
                record, noise = record_of(row), b""
                if record is None or not call.wants(place_of(record)):
                    continue
                budget.take(line_of(record, tail.boot))
                reached = place_of(record)
                # The end, among the entries of this boot. Those of an earlier boot are behind us in any case, but a
                # clock that was wrong may have dated them later than ours, and journalctl would go by that.
                if reached.boot == tail.boot and reached.is_after(end):
                    end = reached
            if budget.is_spent:
                record = record_of(noise)
                if record and call.wants(place_of(record)):
                    reached = place_of(record)
                if reached:
                    # Where the boots' own order is all there is, what was read is not all that lies before that place.
                    return budget.reading(reached.text, complete and not call.is_unordered, stopped=True)
    return budget.reading(end.text, complete)


def _after(start: Cursor, tail: Cursor) -> tuple[tuple[Call, ...], bool]:
    """Return what finds all that follows the cursor, and whether its entry is still there: then nothing is missing."""
    start, complete = found_again(start, _records(*words_that_find(start)))
    boots = boots_in(_boots()) if needs_boots(start, tail) else []
    return calls_after(start, tail, boots), complete


@dataclass(frozen=True)
class Call:
    """A call of journalctl, and which of the entries that it finds are wanted."""

    words: tuple[str, ...]
    wants: t.Callable[[Cursor], bool]
    is_unordered: bool = False  # whether an entry that is wanted may come behind one that a cursor there passes over


def words_that_find(start: Cursor) -> tuple[str, ...]:
    """Return what asks for the cursor's own entry.

    Not with --after-cursor, which (before systemd 255) skips the first entry found, even where that is not the cursor's
    because that one is gone or does not match.
    """
    return (f"--cursor={start.text}", "--lines=1", f"_BOOT_ID={start.boot}")


def found_again(start: Cursor, found: list[_Record]) -> tuple[Cursor, bool]:
    """Return the cursor as its entry is numbered now, and whether it is still there."""
    complete = bool(found) and start.names(place_of(found[0]))
    return (place_of(found[0]) if complete else start), complete


def needs_boots(start: Cursor, tail: Cursor) -> bool:
    """Whether only the boots' own order tells what comes after the cursor."""
    return start.boot != tail.boot and start.sequence_id != tail.sequence_id


def calls_after(start: Cursor, tail: Cursor, boots: list[str]) -> tuple[Call, ...]:
    """Return the calls that together find each wanted line after the cursor once, in their order."""
    if start.boot == tail.boot:
        return (Call(("--boot", f"--cursor={start.text}", *MATCHES), lambda place: not start.names(place)),)
    # Earlier boots first, then this one from its start: where the clock was set back, or is wrong until the network is
    # up, journalctl sorts its first lines before the cursor. Where entries are numbered in one sequence, as they are
    # through ordinary reboots, it sorts by that. Numbered anew, as after a power cut, only the number itself can tell.
    rest = MATCHES if needs_boots(start, tail) else (f"--cursor={start.text}", *MATCHES)
    return (
        Call(rest, lambda place: _is_unread(place, start, tail, boots), is_unordered=needs_boots(start, tail)),
        Call(("--boot", *MATCHES), lambda place: True),
    )


def _is_unread(place: Cursor, start: Cursor, tail: Cursor, boots: list[str]) -> bool:
    """Whether an entry of another boot than this one, the tail's, comes after the cursor."""
    if place.boot == tail.boot:
        return False
    if place.boot == start.boot or place.sequence_id == start.sequence_id:
        return place.is_after(start)
    if place.sequence_id == tail.sequence_id or start.boot not in boots:
        # Younger numbers than the cursor's; or the cursor's boot is gone, and with it all that was older.
        return start.sequence_id != tail.sequence_id
    # Of a sequence between or before: the boots' own order is all there is.
    return place.boot in boots[boots.index(start.boot) :]


def _boots() -> str:
    return process.run(*BOOTS, timeout=_TIMEOUT)


def boots_in(text: str) -> list[str]:
    """Return the boots of which the journal holds something, oldest first."""
    return re.findall(r"^\s*-?\d+ ([0-9a-f]{32}) ", text, re.MULTILINE)


def _since(since: str, now: float) -> tuple[tuple[Call, ...], bool]:
    seconds = parse_time(since, now)
    words = since if seconds is None else f"@{seconds:.6f}"
    try:
        # An entry before the asked time shows that the journal reaches that far back.
        before = _records(f"--until={words}", "--lines=1")
    except process.ProcessError as error:
        if "timestamp" in error.stderr:
            raise bad_since(since) from error
        raise
    return (Call((f"--since={words}", *MATCHES), lambda place: True),), bool(before)


def bad_since(since: str) -> RefusedError:
    return RefusedError(
        f"since {since!r} is no point in time: give the option 'since' one like '-1h', '2 days ago', 'yesterday' or "
        "'2026-11-23T10:00:00Z' (systemd.time(7))"
    )


def _tail() -> Cursor:
    found = _records(*TAIL)
    if not found:
        raise RefusedError(
            "the journal of this host holds nothing of its current boot (journald does not run, or keeps nothing: see "
            "Storage= in journald.conf(5)): give the option 'path' the log file that syslog writes"
        )
    return place_of(found[0])


def _records(*words: str) -> list[_Record]:
    """Return the entries that are found, which must be few."""
    return [record for record in map(record_of, _journalctl(*words)) if record]


def _journalctl(*words: str) -> t.Iterator[bytes]:
    """Yield entries of the system's journal as journalctl writes them, oldest first."""
    try:
        try:
            yield from process.lines(*COMMAND, FIELDS, *words, timeout=_TIMEOUT)
        except process.ProcessError as error:
            if "output-fields" not in error.stderr:
                raise
            yield from process.lines(*COMMAND, *words, timeout=_TIMEOUT)  # before systemd 236
    except process.ProcessError as error:
        if "ermission" in error.stderr:
            raise RefusedError(
                "the journal of this host may not be read: use 'become', or a user of the group systemd-journal"
            ) from error
        if "cursor" in error.stderr:
            raise RefusedError(
                f"journalctl does not take the cursor: {error.stderr.strip()}; leave the option 'cursor' out, or give "
                "it what an earlier call on this host returned"
            ) from error
        if "No journal" in error.stderr or "boot" in error.stderr:
            return
        raise


def record_of(row: bytes) -> _Record | None:
    """Return the entry in a line of journalctl's output; None where it is none, as of a host that writes nonsense."""
    try:
        record = json.loads(row)
        Cursor.parse(_text(record["__CURSOR"]))
        if not re.fullmatch("[0-9]{1,16}", _text(record["__REALTIME_TIMESTAMP"])):
            return None
    except (RefusedError, RecursionError, LookupError, TypeError, ValueError):
        return None
    return t.cast(_Record, record)


def place_of(record: _Record) -> Cursor:
    """Return the place of a record of journalctl's."""
    return Cursor.parse(_text(record.get("__CURSOR")))


def _text(value: t.Any) -> str:
    """Return a field of journalctl's JSON: an array of bytes where it is not UTF-8, of values where it came twice."""
    if isinstance(value, list) and value:
        if all(isinstance(byte, int) for byte in value):
            return bytes(byte & 0xFF for byte in value).decode("utf-8", "replace")
        value = value[0]
    return value if isinstance(value, str) else ""


def line_of(record: _Record, boot: str) -> Line:
    """Return the line in a record of journalctl's; ``boot`` is the one that the host is in now."""
    pid = _text(record.get("_PID") or record.get("SYSLOG_PID"))
    return Line(
        time=int(_text(record["__REALTIME_TIMESTAMP"])) / 1e6,
        message=_text(record.get("MESSAGE"))[:LONGEST_MESSAGE],
        source=_source(record),
        pid=int(pid) if re.fullmatch("[0-9]{1,10}", pid) else 0,
        boot=_text(record.get("_BOOT_ID"))[:32],
        current=record.get("_BOOT_ID") == boot,
        cursor=_text(record["__CURSOR"]),
    )


def _source(record: _Record) -> str:
    if "CONTAINER_ID" in record or "CONTAINER_NAME" in record:
        # What a container wrote, which its engine put into the journal under whichever identifier it was told to.
        return "container"
    if record.get("_TRANSPORT") == "kernel":
        return "kernel"
    # In parentheses before systemd has turned into the program.
    if _text(record.get("_COMM")).strip("()") == "dmeventd":
        return "dmeventd"
    if record.get("_SYSTEMD_UNIT") == "dm-event.service":
        # Without a command: it ended before journald could look.
        return "hook" if record.get("_COMM") else "dmeventd"
    if record.get("UNIT") == "dm-event.service":
        return "systemd"
    if record.get("MESSAGE_ID") in (_SUPPRESSED, _MISSED):
        return "journald"
    return "dmeventd" if record.get("SYSLOG_IDENTIFIER") == "dmeventd" else "lvm"
