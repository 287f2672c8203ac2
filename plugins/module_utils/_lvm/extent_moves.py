# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Extents moved from one disk to others while they are in use, none of them before all of it could be read.

What LVM does by itself is not enough. Where the old disk does not give a region back, the kernel notes it and goes on,
and pvmove(8) ends well with whatever the new disk had in its place (seen with lvm2 2.03.16 and 2.03.31). So LVM only
sets the copy up here, and completes it when the kernel's count says that every region arrived; else it is taken back,
and the old disk stays in use.

A copy that is cut off begins anew, so extents are moved in pieces.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import GIB, KIB, MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, lvm_state
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.areas import Area
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    PhysicalVolume,
)

PIECE = 4 * GIB  # bytes: half a minute of a good disk
STALL = 600  # seconds without a region more, after which a disk counts as one that does not answer
INTERVAL = 0.5  # seconds between two looks
# Without LVM's daemon, which would complete the copy by itself. With a "+", pvmove sleeps before it looks at the copy
# for the first time (tools/polldaemon.c), and is ended before that.
_ALONE = ("--config", "global/use_lvmpolld=0")
_SLEEP = "+86400"  # seconds
_LONGEST = 14 * 86400  # seconds
_BLOCK = 4 * KIB
_SHOWN = 8  # places that are told one by one


class UnreadablePlace(t.NamedTuple):
    """Bytes of a device that cannot be read, and the volume that they are of."""

    offset: int
    length: int
    extent: int  # of the device
    volume: str
    within: int  # offset in the volume; -1: not known, as of a striped one


@dataclass(frozen=True)
class CopyStatus:
    """How far the kernel is with a copy (dm-raid1.c, mirror_status())."""

    done: int  # regions
    total: int
    health: str  # a letter for each device, the old one first; A: alive

    @property
    def failed(self) -> bool:
        return self.health.strip("A") != ""


# 0 16384 mirror 2 98:16 98:32 4/4 1 AA 1 core
_STATUS = re.compile(
    r"^(?P<name>\S+): \d+ \d+ mirror 2 \S+ \S+ (?P<done>\d+)/(?P<total>\d+) \d+ (?P<health>[A-Z]+) ", re.MULTILINE
)


def copies(text: str, vg: str) -> list[CopyStatus]:
    """Return the copies of pvmove in a group that are under way in ``dmsetup status --target mirror``."""
    wanted = device_names.join(vg, "pvmove")
    return [
        CopyStatus(int(match["done"]), int(match["total"]), match["health"])
        for match in _STATUS.finditer(text)
        if match["name"].startswith(wanted)
    ]


def moving(lvm: LvmState, vg: str) -> LogicalVolume | None:
    """Return the volume that pvmove works with, where extents are being moved or a move was interrupted."""
    return next((volume for volume in lvm.volumes_of(vg) if volume.moves_from), None)


def lying_on(lvm: LvmState, vg: str, device: str) -> list[tuple[LogicalVolume, Area]]:
    """Return what lies on a device, in its order there."""
    found = [
        (volume, area)
        for volume in lvm.volumes_of(vg)
        if not volume.moves_from
        for area in volume.areas
        if area.device == device
    ]
    return sorted(found, key=lambda pair: pair[1].first)


def gaps(lvm: LvmState, device: PhysicalVolume) -> list[Area]:
    """Return the free extents of a device."""
    taken = sorted(
        area for volume in lvm.volumes_of(device.vg) for area in volume.areas if area.device == device.device
    )
    found, at = [], 0
    for area in (*taken, Area(device.device, device.extents, 0, 0)):
        if area.first > at:
            found.append(Area(device.device, at, area.first - at, 0))
        at = max(at, area.first + area.extents)
    return found


def next_piece(
    lvm: LvmState, vg: str, old: str, onto: t.Sequence[str], *, most: int, without: t.Container[int] = ()
) -> tuple[LogicalVolume, Area, Area] | None:
    """Return which extents of which volume move next, and where to; None where none is left.

    Of one volume, to one place: LVM does not move a part of several at once ("Referenced LV pvmove0 not listed", seen).
    ``without`` are extents that cannot be read.
    """
    for volume, area in lying_on(lvm, vg, old):
        for source in _readable(area, without):
            for path in onto:
                device = lvm.device(path)
                for gap in gaps(lvm, device) if device else ():
                    extents = min(source.extents, gap.extents, most)
                    return volume, source._replace(extents=extents), gap._replace(extents=extents)
            raise RefusedError(
                f"{', '.join(onto)} has no free extents any more, and {old} still holds {area.extents} and more of "
                f"{volume.name}: the group's volumes were extended meanwhile. Add a device to {vg} with the playbook "
                "grow, and run this again: it goes on where it ended"
            )
    return None


def _readable(area: Area, without: t.Container[int]) -> t.Iterator[Area]:
    """Yield the runs of extents of an area that are not among those without."""
    run = 0
    for at in range(area.extents + 1):
        if at < area.extents and area.first + at not in without:
            run += 1
        elif run:
            yield Area(area.device, area.first + at - run, run, area.start + at - run)
            run = 0


def move(vg: str, old: str, onto: t.Sequence[str], extents: int) -> None:
    """Move so many extents from a device to others; each piece is decided on what is there by then."""
    lost: list[UnreadablePlace] = []
    left = extents
    while left > 0:
        lvm = lvm_state.read()
        group = lvm.group(vg)
        size = group.extent_size if group else PIECE
        bad = {place.extent for place in lost}
        piece = next_piece(lvm, vg, old, onto, most=min(left, max(1, PIECE // size)), without=bad)
        if piece is None:
            break
        volume, source, target = piece
        health = _copy(vg, source, target)
        if not health.strip("A"):
            left -= source.extents
            continue
        abort(old)
        if health[0] == "A":
            raise RefusedError(
                f"{target.device} does not keep what is written to it: extents {source.range} of {volume.full_name} "
                f"could not be copied there, and stay on {old}. See the kernel log, and choose another device"
            )
        found = unreadable(lvm, volume, source)
        if not found:
            raise RefusedError(
                f"{old} could not be read for a moment, at extents {source.range} of {volume.full_name}, and can be "
                "again: its cable, its path or the disk itself may be failing, see the kernel log. What was copied "
                "whole is moved, these extents are where they were; run this again to go on"
            )
        lost += found
    if lost:
        raise RefusedErrors(told(lvm_state.read(), vg, old, lost))


def go_on(vg: str, area: Area) -> None:
    """Complete a move that was interrupted, of an area and perhaps of others of its device."""
    old = area.device
    health = _wait(vg, old)
    if health.strip("A"):
        abort(old)
        raise RefusedError(
            f"the interrupted move away from {old} met regions that could not be copied (the kernel's word on {old} "
            f"and on the device that takes its place: {health}), and was taken back: run this again, which tells them "
            "one by one"
        )
    _complete(vg, area)


def abort(old: str) -> None:
    """End a move; what was not copied whole stays on the old device."""
    process.run("pvmove", *_ALONE, "--abort", old)


def _complete(vg: str, area: Area) -> None:
    """Have LVM take a copy into use.

    The area is named, and not its device: LVM may have done it by itself, as where somebody activates a volume of the
    group, and would begin to move all of the device then.
    """
    try:
        # Long enough for a move that somebody began of a whole disk.
        process.run("pvmove", *_ALONE, "--interval", "1", area.range, timeout=_LONGEST)
    except process.ProcessError:
        if moving(lvm_state.read(), vg):
            raise


def _copy(vg: str, source: Area, target: Area) -> str:
    """Copy a piece and complete it where all of it arrived; return the kernel's word on the two devices."""
    with process.running("pvmove", *_ALONE, "--interval", _SLEEP, source.range, target.range) as is_running:
        since = time.monotonic()
        while is_running() and not _under_way(vg):
            if time.monotonic() - since > STALL:
                raise _stuck(source.device)
            time.sleep(INTERVAL)
        # It sleeps from now on, and nobody needs it; who gets the group's lock knows that it is done with setting up.
        process.run("vgs", "--noheadings", "--options", "vg_name", vg)
    health = _wait(vg, source.device)
    if not health.strip("A"):
        _complete(vg, source)
    return health


def _under_way(vg: str) -> list[CopyStatus]:
    return copies(process.run("dmsetup", "status", "--noflush", "--target", "mirror"), vg)


def _wait(vg: str, old: str) -> str:
    """Wait until the kernel has copied everything, or could not; return its word on the two devices."""
    known, since = -1, time.monotonic()
    while True:
        found = _under_way(vg)
        if not found or found[0].failed or found[0].done == found[0].total:
            return found[0].health if found else ""
        if found[0].done != known:
            known, since = found[0].done, time.monotonic()
        elif time.monotonic() - since > STALL:
            raise _stuck(old)
        time.sleep(INTERVAL)


def _stuck(old: str) -> RefusedError:
    return RefusedError(
        f"nothing was copied away from {old} for {STALL} seconds: it, or the device that takes its place, does not "
        "answer; see the kernel log. The move is left as it is: run this again to go on with it, or with "
        "interrupted=abort to end it"
    )


def unreadable(lvm: LvmState, volume: LogicalVolume, area: Area) -> list[UnreadablePlace]:
    """Return the places in an area that the device does not give back; reads all of it, past the kernel's cache."""
    group, device = lvm.group(volume.vg), lvm.device(area.device)
    if group is None or device is None:
        return []
    size = group.extent_size
    found: list[UnreadablePlace] = []
    descriptor = os.open(area.device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    try:
        for number in range(area.extents):
            begin = device.data_start + (area.first + number) * size
            for offset in _bad_blocks(descriptor, begin, size):
                within = (area.start + number) * size + offset - begin if volume.is_linear else -1
                last = found[-1] if found else None
                if last and last.offset + last.length == offset and last.extent == area.first + number:
                    found[-1] = last._replace(length=last.length + _BLOCK)
                else:
                    found.append(UnreadablePlace(offset, _BLOCK, area.first + number, volume.name, within))
    finally:
        os.close(descriptor)
    return found


def _bad_blocks(descriptor: int, begin: int, size: int) -> t.Iterator[int]:
    """Yield the offsets of the blocks that cannot be read: all at once first, then block by block where that fails."""
    with mmap.mmap(-1, min(size, MIB)) as buffer:  # aligned, as direct reads want their memory
        for offset in range(begin, begin + size, len(buffer)):
            if not _fails(descriptor, buffer, offset):
                continue
            with mmap.mmap(-1, _BLOCK) as block:
                yield from (at for at in range(offset, offset + len(buffer), _BLOCK) if _fails(descriptor, block, at))


def _fails(descriptor: int, buffer: mmap.mmap, offset: int) -> bool:
    try:
        os.preadv(descriptor, [buffer], offset)
    except OSError as error:
        # The disk's words for what it lost, or for itself (block layer, blk_errors[] in blk-core.c).
        if error.errno not in (errno.EIO, errno.ENODATA, errno.EILSEQ, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT):
            raise
        return True
    return False


def told(lvm: LvmState, vg: str, old: str, lost: t.Sequence[UnreadablePlace]) -> list[str]:
    """Return what is lost and what to do, in sentences."""
    extents = sorted({place.extent for place in lost})
    total = sum(place.length for place in lost)
    sentences = [
        f"{old} does not give back {human(total)} in {len(lost)} place{'s' if len(lost) > 1 else ''}. Everything else "
        f"that was to be moved is moved; {len(extents)} extent{'s' if len(extents) > 1 else ''} of it "
        f"({', '.join(map(str, extents[:_SHOWN]))}{' and more' if len(extents) > _SHOWN else ''}) "
        f"stay{'' if len(extents) > 1 else 's'} on {old}, which volume group {vg} still needs"
    ]
    sentences += [f"{human(place.length)} at byte {place.offset} of {old}: {_whose(lvm, vg, place)}" for place in lost][
        :_SHOWN
    ]
    first = f"{old}:{extents[0]}-{extents[0]}"
    sentences.append(
        "Run this again to try once more, since disks may give back later what they did not at first; copy the extents "
        "with ddrescue(1) while nothing of the group is active; or give up what cannot be read, and restore what used "
        f"it from elsewhere: 'pvmove {first}' moves such an extent all the same, and ends well with whatever the new "
        "device had in the place of what is lost"
    )
    return sentences


def _whose(lvm: LvmState, vg: str, place: UnreadablePlace) -> str:
    """Return what is lost with a place, in words."""
    for pool in lvm.volumes_of(vg):
        if pool.is_pool and place.volume == pool.metadata_volume:
            return (
                f"metadata of thin pool {pool.full_name}, its record of which block is whose. It may have to be "
                'repaired (lvmthin(7), "Metadata check and repair"), so save what is in its containers first'
            )
        if pool.is_pool and place.volume == pool.data_volume:
            if place.within < 0:
                return f"data of thin pool {pool.full_name}"
            first, last = (at // pool.chunk_size for at in (place.within, place.within + place.length - 1))
            which = f"chunk {first}" if first == last else f"chunks {first} to {last}"
            return (
                f"{which} of the data of thin pool {pool.full_name}, if an image or a container uses it (thin_dump(8))"
            )
    if place.volume.endswith("_pmspare"):
        return "LVM's spare for metadata repair, which holds nothing"
    return f"volume {vg}/{place.volume}"
