# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Log files in place of the journal: lines of dmeventd, LVM and the kernel, those of rotated files first."""

from __future__ import annotations

import bz2
import errno
import glob
import gzip
import hashlib
import lzma
import os
import re
import stat
import typing as t
import zlib
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import LONGEST_LINE
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Line
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.journal import (
    LONGEST_MESSAGE,
    Budget,
    Reading,
    bad_since,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.timestamps import parse_time

_PLACE = re.compile(r"file=(?P<file>[0-9a-f]*);offset=(?P<offset>\d{1,18})")
_ROTATED = re.compile(r"(?:\.(?P<number>\d+)|[-.](?P<date>\d{6,}(?:[-.]\d+)?))(?:\.(?:gz|bz2|xz))?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STAMP = re.compile(
    # RFC 5424, as such or as rsyslog writes it into files; RFC 3164, which knows no year.
    r"(?:<\d+>(?P<version>1 )?)?(?:(?P<iso>\d{4}-\d\d-\d\dT\S+)"
    r"|(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)) "
)
# The host, with busybox also facility and level, and who wrote it.
_HEAD = re.compile(
    r"\S+ (?:[a-z0-9]+\.[a-z]+ )?(?P<identifier>[^\s\[\]:]+)(?:\[(?P<pid>\d{1,10})\])?: ?(?P<message>.*)", re.DOTALL
)
_HEAD_5424 = re.compile(
    r"\S+ (?P<identifier>\S+) (?:(?P<pid>\d{1,10})|\S+) \S+ (?:-|(?:\[.*?[^\\\\]\])+) ?\ufeff?(?P<message>.*)",
    re.DOTALL,
)
# printk.time; and behind it with CONFIG_PRINTK_CALLER the thread or processor. Each may be there without the other.
_UPTIME = re.compile(r"^(?:\[ *\d+\.\d+\] ?)?(?:\[ *[TC]\d+\] ?)?(?=device-mapper: |\w+: \d+ callbacks)")
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
            is_rest = False
            for row in iter(lambda: stream.readline(LONGEST_LINE), b""):
                offset += len(row)
                is_end = row.endswith(b"\n")  # else the rest of it is still being written, or it is none of ours
                if is_end and not is_rest:
                    yield offset, row
                is_rest = not is_end


def read_file(
    path: str, cursor: str = "", since: str = "", now: float = 0.0, booted: float = 0.0, *, seconds: float = 0.0
) -> Reading:
    """Return the lines of a log file and its rotated neighbours like :func:`read`; ``booted`` is when the host was."""
    budget = Budget(seconds, oldest=bool(cursor))
    place = _PLACE.fullmatch(cursor)
    if cursor and not place:
        raise RefusedError(
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
        start = parse_time(since, now)
        if start is None:
            raise bad_since(since)
        files, reaches_back = _back_to(files, start)
        complete = complete and reaches_back
    end = cursor or "file=;offset=0"
    for file in reversed(files):
        try:
            for behind, row in file.rows(offset):
                end = f"file={file.name};offset={behind}"
                if any(word in row for word in _WANTED):
                    line = parse(row.decode("utf-8", "replace").rstrip("\n"), file.modified, booted, end)
                    if line and line.time >= (start or 0):
                        budget.take(line)
                if budget.is_spent:
                    return budget.reading(end, complete, stopped=True)
        except _DAMAGED:
            complete = False
        offset = 0
    return budget.reading(end, complete)


def _back_to(files: list[_File], start: float) -> tuple[list[_File], bool]:
    """Return the files that may have lines since a point in time, and whether one of them began before it."""
    for index, file in enumerate(files):
        if file.starts is not None and file.starts <= start:
            return files[: index + 1], True
    return files, False


def _files(path: str) -> tuple[list[_File], bool]:
    """Return a log file and its rotated neighbours that have a line, newest first, and whether all could be read."""
    if "\0" in path:
        raise RefusedError(f"{path!r} is not the path of a file: see the option 'path'")
    found: dict[str, _File] = {}
    complete, missing = True, True
    for candidate in [path, *_rotated(path)]:
        try:
            with _opened(candidate) as stream:
                first, missing = stream.readline(LONGEST_LINE), False
            if first.endswith(b"\n") or len(first) == LONGEST_LINE:
                file = _File(candidate, first, os.stat(candidate).st_mtime)
                # The same again is a copy: rotated while this looked, or compressed and not yet removed.
                found.setdefault(file.name, file)
        except FileNotFoundError:
            continue
        except _DAMAGED as error:
            if candidate == path:
                reason = getattr(error, "strerror", None) or error
                raise RefusedError(f"the log file {path} cannot be read: {reason}: see the option 'path'") from error
            complete = False
    if missing:
        raise RefusedError(f"there is no log file {path}: give the option 'path' the one that syslog writes")
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
        message=message[:LONGEST_MESSAGE],
        source=identifier,
        pid=int(head["pid"] or 0),
        current=time >= booted,
        cursor=cursor,
    )


def _stamped(stamp: re.Match[str], modified: float) -> float | None:
    if stamp["iso"]:
        return parse_time(stamp["iso"], modified)
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
