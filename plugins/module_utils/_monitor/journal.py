# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The one place that reads the journal: lines of dmeventd, LVM and the kernel; log_files stands in where there is none.

A reading ends with a cursor, and the next one that starts from it has every later line, each once.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event, Line
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.timestamps import (
    iso_microseconds,
    parse_time,
)


@dataclass(frozen=True)
class Reading:
    """What was read, in its order."""

    lines: tuple[Line, ...]
    cursor: str  # where the next reading starts
    complete: bool  # whether everything from the asked point on is still there


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
FIELDS = "--output-fields=MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_TRANSPORT,_SYSTEMD_UNIT,UNIT"
BOOTS = ("journalctl", "--system", "--quiet", "--no-pager", "--list-boots")
TAIL = ("--boot", "--lines=1")  # the newest entry of all
# Reading years of kernel lines takes a while; a process that hangs must end all the same.
_TIMEOUT = 300

_Record = t.Dict[str, t.Any]


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
            parts = dict(part.split("=", 1) for part in text.strip().split(";"))
            if not re.fullmatch("[0-9a-f]{32}", parts["b"]):
                raise ValueError(text)
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
                f"cursor {text!r} is not one of the journal: give the option 'cursor' what an earlier call returned "
                "as 'cursor', or leave it out"
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


def read(cursor: str = "", since: str = "", now: float = 0.0) -> Reading:
    """Return the lines after the cursor, or else since a point in time, or else all that the journal holds."""
    if not process.find("journalctl"):
        raise RefusedError(
            "there is no journalctl on this host: give the option 'path' the log file that syslog writes"
        )
    # Before the lines, so that what is written meanwhile lies behind it and is read next time, not passed over.
    tail = _tail()
    if cursor:
        records, complete = _after(Cursor.parse(cursor), tail)
    elif since:
        records, complete = _since(since, now)
    else:
        records, complete = _journalctl(*MATCHES), True
    # The end, among the entries of this boot. Those of an earlier boot are behind us in any case, but a clock that was
    # wrong may have dated them later than ours, and journalctl would go by that.
    for record in records:
        place = place_of(record)
        if place.boot == tail.boot and place.is_after(tail):
            tail = place
    return Reading(tuple(line_of(record, tail.boot) for record in records), tail.text, complete)


def _after(start: Cursor, tail: Cursor) -> tuple[list[_Record], bool]:
    """Return what follows the cursor, and whether its own entry is still there: only then nothing is missing."""
    start, complete = found_again(start, _journalctl(*words_that_find(start)))
    boots = boots_in(_boots()) if needs_boots(start, tail) else []
    found: list[_Record] = []
    for call in calls_after(start, tail, boots):
        found += [record for record in _journalctl(*call.words) if call.wants(place_of(record))]
    return found, complete


@dataclass(frozen=True)
class Call:
    """A call of journalctl, and which of the entries that it finds are wanted."""

    words: tuple[str, ...]
    wants: t.Callable[[Cursor], bool]


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
        Call(rest, lambda place: _is_unread(place, start, tail, boots)),
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


def _since(since: str, now: float) -> tuple[list[_Record], bool]:
    seconds = parse_time(since, now)
    words = since if seconds is None else f"@{seconds:.6f}"
    try:
        # An entry before the asked time shows that the journal reaches that far back.
        before = _journalctl(f"--until={words}", "--lines=1")
        return _journalctl(f"--since={words}", *MATCHES), bool(before)
    except process.ProcessError as error:
        if "timestamp" in error.stderr:
            raise bad_since(since) from error
        raise


def bad_since(since: str) -> RefusedError:
    return RefusedError(
        f"since {since!r} is no point in time: give the option 'since' one like '-1h', '2 days ago', 'yesterday' or "
        "'2026-11-23T10:00:00Z' (systemd.time(7))"
    )


def _tail() -> Cursor:
    found = _journalctl(*TAIL)
    if not found:
        raise RefusedError(
            "the journal of this host holds nothing of its current boot (journald does not run, or keeps nothing: see "
            "Storage= in journald.conf(5)): give the option 'path' the log file that syslog writes"
        )
    return place_of(found[0])


def _journalctl(*words: str) -> list[_Record]:
    """Return entries of the system's journal, oldest first."""
    try:
        try:
            text = process.run(*COMMAND, FIELDS, *words, timeout=_TIMEOUT)
        except process.ProcessError as error:
            if "output-fields" not in error.stderr:
                raise
            text = process.run(*COMMAND, *words, timeout=_TIMEOUT)  # before systemd 236
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
            return []
        raise
    return [json.loads(row) for row in text.splitlines() if row.startswith("{")]


def place_of(record: _Record) -> Cursor:
    """Return the place of a record of journalctl's."""
    return Cursor.parse(_text(record.get("__CURSOR")))


def _text(value: t.Any) -> str:
    """Return a field of journalctl's JSON: an array of bytes where it is not UTF-8, of values where it came twice."""
    if isinstance(value, list):
        if all(isinstance(byte, int) for byte in value):
            return bytes(value).decode("utf-8", "replace")
        return _text(value[0])
    return str(value or "")


def line_of(record: _Record, boot: str) -> Line:
    """Return the line in a record of journalctl's; ``boot`` is the one that the host is in now."""
    pid = _text(record.get("_PID") or record.get("SYSLOG_PID"))
    return Line(
        time=int(_text(record["__REALTIME_TIMESTAMP"])) / 1e6,
        message=_text(record.get("MESSAGE")),
        source=_source(record),
        pid=int(pid) if pid.isdigit() else 0,
        boot=_text(record.get("_BOOT_ID")),
        current=record.get("_BOOT_ID") == boot,
        cursor=_text(record["__CURSOR"]),
    )


def _source(record: _Record) -> str:
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
