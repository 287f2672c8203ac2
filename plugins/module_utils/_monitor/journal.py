# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The one place that reads the journal, or log files where there is none: lines of dmeventd, LVM and the kernel.

A reading ends with a cursor, and the next one that starts from it has every later line, each once.
"""

from __future__ import annotations

import bz2
import errno
import glob
import gzip
import hashlib
import json
import lzma
import os
import re
import stat
import typing as t
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import Refused
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event, Line


@dataclass(frozen=True)
class Reading:
    """What was read, in its order."""

    lines: tuple[Line, ...]
    cursor: str  # where the next reading starts
    complete: bool  # whether everything from the asked point on is still there


# --- Points in time ---------------------------------------------------------------------------------------------------

# systemd.time(7), "Parsing time spans"; M is months, m is minutes.
_UNITS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
    "M": 2629800, "month": 2629800, "months": 2629800,
    "y": 31557600, "year": 31557600, "years": 31557600,
}  # fmt: skip
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?P<fraction>[.,]\d+)?)?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
)


def moment(text: str, now: float) -> float | None:
    """Return a point in time, in seconds since 1970: journalctl's words, ISO 8601 or a number; None if it is none.

    journalctl learned ISO 8601 with "T" and zones only in systemd 254.
    """
    text = text.strip()
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        # By the calendar, not by 24 hours: the day before a change of the clocks is longer or shorter.
        midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=1 if text == "yesterday" else 0)).timestamp()
    if re.fullmatch(r"@?\d+(\.\d+)?", text):
        return float(text.lstrip("@"))
    match = _MOMENT.fullmatch(text)
    if match:
        return _from_iso(match)
    if text.startswith("-"):
        span = _span(text[1:])
    elif text.endswith(" ago"):
        span = _span(text[: -len(" ago")])
    else:
        return None
    return None if span is None else now - span


def _span(text: str) -> float | None:
    text, seconds = text.strip(), 0.0
    if not text or _SPAN.sub("", text):
        return None
    for number, unit in _SPAN.findall(text):
        if unit not in _UNITS:
            return None
        seconds += float(number) * _UNITS[unit]
    return seconds


def _from_iso(match: re.Match[str]) -> float | None:
    clock = match["clock"] or "00:00"
    zone = match["zone"] or ""
    try:
        # Without a zone it is the host's own time, as for journalctl.
        found = datetime.strptime(
            f"{match['day']} {clock}", f"%Y-%m-%d {'%H:%M:%S' if clock.count(':') > 1 else '%H:%M'}"
        )
        if zone in ("Z", "UTC"):
            found = found.replace(tzinfo=timezone.utc)
        elif zone:
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            found = found.replace(tzinfo=timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes)))
        return found.timestamp() + float("0" + (match["fraction"] or ".0").replace(",", "."))
    except (ValueError, OverflowError):  # February 30th
        return None


def iso(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def view(event: Event) -> dict[str, t.Any]:
    """Return an event as modules and the event source tell it; ``dm_event_info`` documents the keys."""
    return {
        "time": iso(event.line.time),
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


# --- The journal ------------------------------------------------------------------------------------------------------

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
            raise Refused(
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
        raise Refused("there is no journalctl on this host: give the option 'path' the log file that syslog writes")
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
    seconds = moment(since, now)
    words = since if seconds is None else f"@{seconds:.6f}"
    try:
        # An entry before the asked time shows that the journal reaches that far back.
        before = _journalctl(f"--until={words}", "--lines=1")
        return _journalctl(f"--since={words}", *MATCHES), bool(before)
    except process.ProcessError as error:
        if "timestamp" in error.stderr:
            raise _bad_since(since) from error
        raise


def _bad_since(since: str) -> Refused:
    return Refused(
        f"since {since!r} is no point in time: give the option 'since' one like '-1h', '2 days ago', 'yesterday' or "
        "'2026-11-23T10:00:00Z' (systemd.time(7))"
    )


def _tail() -> Cursor:
    found = _journalctl(*TAIL)
    if not found:
        raise Refused(
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
            raise Refused(
                "the journal of this host may not be read: use 'become', or a user of the group systemd-journal"
            ) from error
        if "cursor" in error.stderr:
            raise Refused(
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


# --- Log files --------------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"file=(?P<file>[0-9a-f]*);offset=(?P<offset>\d+)")
_ROTATED = re.compile(r"(?:\.(?P<number>\d+)|[-.](?P<date>\d{6,}(?:[-.]\d+)?))(?:\.(?:gz|bz2|xz))?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STAMP = re.compile(
    # RFC 5424, as such or as rsyslog writes it into files; RFC 3164, which knows no year.
    r"(?:<\d+>(?P<version>1 )?)?(?:(?P<iso>\d{4}-\d\d-\d\dT\S+)"
    r"|(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)) "
)
# The host, with busybox also facility and level, and who wrote it.
_HEAD = re.compile(
    r"\S+ (?:[a-z0-9]+\.[a-z]+ )?(?P<identifier>[^\s\[\]:]+)(?:\[(?P<pid>\d+)\])?: ?(?P<message>.*)", re.DOTALL
)
_HEAD_5424 = re.compile(
    r"\S+ (?P<identifier>\S+) (?:(?P<pid>\d+)|\S+) \S+ (?:-|(?:\[.*?[^\\\\]\])+) ?\ufeff?(?P<message>.*)", re.DOTALL
)
_UPTIME = re.compile(r"\[ *\d+\.\d+\] ")  # printk.time
_WANTED = (b"dmeventd", b"dm-event", b"lvm", b"device-mapper", b"callbacks suppressed")
_OPEN: dict[str, t.Callable[..., t.Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class _File:
    """A log file. Its first line is its name, wherever rotation puts it: renamed, copied or compressed."""

    path: str
    first: bytes
    modified: float

    @property
    def name(self) -> str:
        return hashlib.sha256(self.first).hexdigest()[:16]

    @property
    def starts(self) -> float | None:
        """When its first line was written; None where that cannot be read."""
        stamp = _STAMP.match(self.first.decode("utf-8", "replace"))
        return _stamped(stamp, self.modified) if stamp else None

    def rows(self, offset: int) -> t.Iterator[tuple[int, bytes]]:
        """Return the complete lines from the offset on, each with the offset behind it."""
        with _opened(self.path) as stream:
            stream.seek(offset)
            for row in stream:
                if not row.endswith(b"\n"):
                    return  # the rest of it is still being written
                offset += len(row)
                yield offset, row


def read_file(path: str, cursor: str = "", since: str = "", now: float = 0.0, booted: float = 0.0) -> Reading:
    """Return the lines of a log file and its rotated neighbours like :func:`read`; ``booted`` is when the host was."""
    place = _PLACE.fullmatch(cursor)
    if cursor and not place:
        raise Refused(
            f"cursor {cursor!r} is not one of a log file: give the option 'cursor' what an earlier call with the same "
            "'path' returned, or leave it out"
        )
    files, complete = _files(path)
    offset, start = 0, None
    if place and place["file"]:
        names = [file.name for file in files]
        if place["file"] in names:
            files = files[: names.index(place["file"]) + 1]
            offset = int(place["offset"])
        else:
            complete = False
    elif since and not place:  # a place without a file: there was no line yet, so all are new
        start = moment(since, now)
        if start is None:
            raise _bad_since(since)
        files, reaches_back = _back_to(files, start)
        complete = complete and reaches_back
    found: list[Line] = []
    end = cursor or "file=;offset=0"
    for file in reversed(files):
        try:
            for behind, row in file.rows(offset):
                end = f"file={file.name};offset={behind}"
                if any(word in row for word in _WANTED):
                    line = parse(row.decode("utf-8", "replace").rstrip("\n"), file.modified, booted, end)
                    if line and line.time >= (start or 0):
                        found.append(line)
        except _DAMAGED:
            complete = False
        offset = 0
    return Reading(tuple(found), end, complete)


def _back_to(files: list[_File], start: float) -> tuple[list[_File], bool]:
    """Return the files that may have lines since a point in time, and whether one of them began before it."""
    for index, file in enumerate(files):
        if file.starts is not None and file.starts <= start:
            return files[: index + 1], True
    return files, False


def _files(path: str) -> tuple[list[_File], bool]:
    """Return a log file and its rotated neighbours that have a line, newest first, and whether all could be read."""
    if "\0" in path:
        raise Refused(f"{path!r} is not the path of a file: see the option 'path'")
    found: dict[str, _File] = {}
    complete, missing = True, True
    for candidate in [path, *_rotated(path)]:
        try:
            with _opened(candidate) as stream:
                first, missing = stream.readline(), False
            if first.endswith(b"\n"):
                file = _File(candidate, first, os.stat(candidate).st_mtime)
                # The same again is a copy: rotated while this looked, or compressed and not yet removed.
                found.setdefault(file.name, file)
        except FileNotFoundError:
            continue
        except _DAMAGED as error:
            if candidate == path:
                reason = getattr(error, "strerror", None) or error
                raise Refused(f"the log file {path} cannot be read: {reason}: see the option 'path'") from error
            complete = False
    if missing:
        raise Refused(f"there is no log file {path}: give the option 'path' the one that syslog writes")
    return list(found.values()), complete


def _rotated(path: str) -> list[str]:
    """Return the paths that logrotate and syslogd give older files: ``.1``, ``.2.gz``, ``-20261123``; newest first."""
    numbers, dates = [], []
    for candidate in glob.glob(glob.escape(path) + "[-.]*"):
        match = _ROTATED.fullmatch(candidate[len(path) :])
        if match and match["number"]:
            numbers.append((int(match["number"]), candidate))
        elif match:
            dates.append((match["date"], candidate))
    return [candidate for _number, candidate in sorted(numbers)] + [
        candidate for _date, candidate in sorted(dates, reverse=True)
    ]


def _opened(path: str) -> t.BinaryIO:
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a FIFO hangs until somebody writes to it
        raise OSError(errno.EINVAL, "It is no regular file")
    opener = _OPEN.get(os.path.splitext(path)[1], open)
    return t.cast(t.BinaryIO, opener(path, "rb"))


def parse(row: str, modified: float, booted: float, cursor: str = "") -> Line | None:
    """Return what dmeventd, LVM, the kernel or systemd wrote in a line of syslog's, None where it is not theirs."""
    stamp = _STAMP.match(row)
    head = (_HEAD_5424 if stamp["version"] else _HEAD).fullmatch(row, stamp.end()) if stamp else None
    time = _stamped(stamp, modified) if stamp else None
    if not head or time is None:
        return None
    identifier, message = head["identifier"], head["message"]
    if identifier == "kernel":
        message = _UPTIME.sub("", message, count=1)
    elif identifier == "lvm":
        # Under this name the daemon writes where log/syslog is 1; commands write to syslog only where one wants it.
        identifier = "dmeventd"
    elif identifier == "systemd" and "dm-event.service" not in message:
        return None
    elif identifier == "systemd-journald":
        identifier = "journald"
    if identifier not in ("dmeventd", "kernel", "systemd", "journald"):
        return None
    return Line(
        time=time,
        message=message,
        source=identifier,
        pid=int(head["pid"] or 0),
        current=time >= booted,
        cursor=cursor,
    )


def _stamped(stamp: re.Match[str], modified: float) -> float | None:
    if stamp["iso"]:
        return moment(stamp["iso"], modified)
    # The year in which it was, at the latest, when the file was last written; a day is left for clocks set back.
    year = datetime.fromtimestamp(modified).year + 1
    for candidate in range(year, year - 10, -1):  # February 29th may have to go back eight years
        try:
            found = datetime.strptime(
                f"{candidate} {_MONTHS.index(stamp['month']) + 1} {stamp['day']} {stamp['clock']}", "%Y %m %d %H:%M:%S"
            ).timestamp()
        except ValueError:
            continue
        if found <= modified + 86400:
            return found
    return None
