# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What filesystems of live containers have free and the pool still holds for them: found exactly, given back slowly.

A filesystem tells its free extents (ioctl_getfsmap(2)), thin_dump the chunks that the pool holds for its device. Whole
chunks that are in both are what a discard gives back. And a filesystem discards only what is free at that moment
(FITRIM, see fstrim(8)), so nothing that is in use can be lost, whatever is written meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import struct
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import mounts
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

# include/uapi/linux/fs.h: _IOWR('X', 121, struct fstrim_range); include/uapi/linux/fsmap.h: _IOWR('X', 59, ...)
_FITRIM, _GETFSMAP = 0xC0185879, 0xC0C0583B
_TRIM_RANGE = struct.Struct("=QQQ")  # start, length, smallest extent; length becomes what was discarded
_MAP_HEAD = struct.Struct("=IIII48x")  # flags, flags out, records wanted, records found
_MAP_RECORD = struct.Struct("=IIQQQQ24x")  # device, flags, physical, owner, offset, length
_SPECIAL_OWNER, _LAST = 0x10, 0x20  # flags of a record
_FREE = 1  # as owner, FMR_OWNER(0, 1)
_RECORDS = 1024  # asked for at a time
_LARGEST_WINDOW = 256 * 1024**2  # bytes that are given back at one go

PROC = "/proc"


class Extent(t.NamedTuple):
    """A range, in bytes of a device, or in chunks of it."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True)
class MountPlace:
    """A place at which a device's filesystem can be reached from here."""

    device: str  # major:minor
    path: str  # through the mount namespace that it is in
    point: str  # as those in that namespace see it
    filesystem: str
    read_only: bool = False


# --- What is free, and what the pool holds ----------------------------------------------------------------------------


def free_extents(descriptor: int) -> list[Extent]:
    """Return the free extents of a filesystem, in bytes of its device, in their order. Raises OSError."""
    low = bytes(_MAP_RECORD.size)
    high = _MAP_RECORD.pack(2**32 - 1, 2**32 - 1, *[2**64 - 1] * 3, 0)
    found: list[Extent] = []
    while True:
        buffer = bytearray(_MAP_HEAD.pack(0, 0, _RECORDS, 0) + low + high + bytes(_RECORDS * _MAP_RECORD.size))
        fcntl.ioctl(descriptor, _GETFSMAP, buffer, True)
        _in, _out, _wanted, number = _MAP_HEAD.unpack_from(buffer)
        flags = _LAST
        for index in range(number):
            at = _MAP_HEAD.size + (2 + index) * _MAP_RECORD.size
            _device, flags, physical, owner, _offset, length = _MAP_RECORD.unpack_from(buffer, at)
            if flags & _SPECIAL_OWNER and owner == _FREE and length:
                found.append(Extent(physical, length))
            low = bytes(buffer[at : at + _MAP_RECORD.size])
        if not number or flags & _LAST:
            return joined(found)


_MAPPING = re.compile(rb"<(?:single_mapping origin_block|range_mapping origin_begin)=\"(\d{1,18})\"")
_LENGTH = re.compile(rb"\blength=\"(\d{1,18})\"")
_DEVICE = re.compile(rb"<device dev_id=\"(\d{1,18})\"")


def parse_mappings(lines: t.Iterable[bytes]) -> dict[int, list[Extent]]:
    """Return which chunks each device has, from the lines of ``thin_dump``'s XML, in their order."""
    found: dict[int, list[Extent]] = {}
    mapped: list[Extent] = []
    for line in lines:
        device = _DEVICE.search(line)
        if device:
            mapped = found.setdefault(int(device[1]), [])
        mapping = _MAPPING.search(line)
        if mapping:
            length = _LENGTH.search(line)
            mapped.append(Extent(int(mapping[1]), int(length[1]) if length else 1))
    return {device: joined(sorted(extents)) for device, extents in found.items()}


def joined(extents: t.Iterable[Extent]) -> list[Extent]:
    """Return extents, in their order, with those that lie side by side as one."""
    found: list[Extent] = []
    for extent in extents:
        if found and found[-1].end == extent.start:
            found[-1] = Extent(found[-1].start, found[-1].length + extent.length)
        else:
            found.append(extent)
    return found


def reclaimable(free: t.Sequence[Extent], mapped: t.Sequence[Extent], chunk: int) -> list[Extent]:
    """Return the chunks that a device has and that are wholly free, from bytes that are free and chunks that it has."""
    whole = [Extent(-(-extent.start // chunk), extent.end // chunk - -(-extent.start // chunk)) for extent in free]
    found, at = [], 0
    for extent in (extent for extent in whole if extent.length > 0):
        while at < len(mapped) and mapped[at].end <= extent.start:
            at += 1
        index = at
        while index < len(mapped) and mapped[index].start < extent.end:
            start, end = max(mapped[index].start, extent.start), min(mapped[index].end, extent.end)
            found.append(Extent(start, end - start))
            index += 1
    return joined(found)


# --- Giving it back ---------------------------------------------------------------------------------------------------


class Window(t.NamedTuple):
    """What is given back at one go: a range in bytes, and how much of it that is."""

    start: int
    length: int
    bytes: int


def windows(chunks: t.Iterable[Extent], chunk: int, largest: int = _LARGEST_WINDOW) -> list[Window]:
    """Return the ranges to go through, each with so many bytes to give back at most, what lies near in one."""
    most = max(largest // chunk, 1)
    found: list[Window] = []
    for extent in chunks:
        for start in range(extent.start, extent.end, most):
            end = min(start + most, extent.end)
            last = found[-1] if found else None
            size = (end - start) * chunk
            if last and end * chunk - last.start <= 4 * most * chunk and last.bytes + size <= most * chunk:
                found[-1] = Window(last.start, end * chunk - last.start, last.bytes + size)
            else:
                found.append(Window(start * chunk, size, size))
    return found


def give_back(descriptor: int, ranges: t.Iterable[Window], rate: int) -> int:
    """Have a filesystem discard what is free in each of the ranges; return the bytes that it says it has.

    After each it is waited until so many bytes a second come out, so that what containers write does not wait behind a
    row of discards. Raises OSError.
    """
    discarded = 0
    for window in ranges:
        began = time.monotonic()
        discarded += trim(descriptor, window)
        pause = window.bytes / rate - (time.monotonic() - began) if rate else 0.0
        if pause > 0:
            time.sleep(pause)
    return discarded


def trim(descriptor: int, window: Window) -> int:
    buffer = bytearray(_TRIM_RANGE.pack(window.start, window.length, 0))
    fcntl.ioctl(descriptor, _FITRIM, buffer, True)
    return _TRIM_RANGE.unpack(buffer)[1]


# --- Where a filesystem can be reached --------------------------------------------------------------------------------


def find_mounts(devices: t.Container[str]) -> dict[str, list[MountPlace]]:
    """Return where devices are mounted, by number, this program's own mounts first, then those of other namespaces."""
    found: dict[str, list[MountPlace]] = {}
    seen = set()
    for process in ("self", *sorted(_processes(), key=int)):
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"{PROC}/{process}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            with open(f"{PROC}/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                mounted = mounts.parse(file.read())
            for mount in mounted:
                if mount.device in devices:
                    path = mount.point if process == "self" else f"{PROC}/{process}/root{mount.point}"
                    found.setdefault(mount.device, []).append(
                        MountPlace(mount.device, path, mount.point, mount.filesystem, mount.read_only)
                    )
    return found


def _processes() -> list[str]:
    return [os.path.basename(path) for path in glob.glob(f"{PROC}/[0-9]*")]


@contextlib.contextmanager
def opened(places: t.Sequence[MountPlace]) -> t.Iterator[tuple[MountPlace, int]]:
    """Have the filesystem of a device open, through the first of its places that leads to it.

    What is at a path in a container's own namespace is up to the container: only the filesystem of that device counts.
    """
    reason = "it is mounted nowhere that leads to it"
    for place in sorted(places, key=lambda place: place.read_only):
        try:
            descriptor = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            reason = error.strerror or str(error)
            continue
        try:
            number = os.fstat(descriptor).st_dev
            if f"{os.major(number)}:{os.minor(number)}" == place.device:
                yield place, descriptor
                return
        finally:
            os.close(descriptor)
    raise RefusedError(reason)


def why_not(error: OSError) -> str:
    """Return in words why a filesystem does not tell what it has free, or discards nothing."""
    if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
        return "its filesystem does not tell what it has free, or its device takes no discards"
    return error.strerror or str(error)
