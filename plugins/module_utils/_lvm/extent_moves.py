# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Extents moved from one disk to others while they are in use, none of them before the new disk was seen to hold it.

What LVM does by itself is not enough. Where the old disk does not give a region back, or the new one does not keep it,
pvmove(8) ends well with whatever the new disk had in its place (seen with lvm2 2.03.16 and 2.03.31). Nor is the
kernel's word enough: a mirror without handle_errors, as pvmove's is, counts such a region as copied, and forgets the
error once all of them are (dm-region-hash.c, failed_recovered_regions; dm-raid1.c, reset_ms_flags(); seen). So LVM only
sets the copy up here. Both disks are read then and compared, and LVM completes the copy if they hold the same; else it
is taken back, and the old disk stays in use.

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
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, lvm_state
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.areas import Area
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    PhysicalVolume,
    VolumeGroup,
)

PIECE = 4 * GIB  # bytes: half a minute of a good disk
STALL = 600  # seconds without a region more, after which a disk counts as one that does not answer
INTERVAL = 0.5  # seconds between two looks
# Without LVM's daemon, which would complete the copy by itself. With a "+", pvmove sleeps before it looks at the copy
# for the first time (tools/polldaemon.c), and is ended before that.
_ALONE = ("--config", "global/use_lvmpolld=0")
_SLEEP = "+86400"  # seconds
BLOCK = "/sys/block"
_BLOCK = 4 * KIB
_LOOKS = 60  # at a block that differs: half a minute
# A disk's words for what it lost, or for itself (block layer, blk_errors[] in blk-core.c).
_FAULTS = (errno.EIO, errno.ENODATA, errno.EILSEQ, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT)
_SHOWN = 8  # places that are told one by one


class UnreadablePlace(t.NamedTuple):
    """Bytes of a device that cannot be read, and the volume that they are of."""

    offset: int
    length: int
    extent: int  # of the device
    volume: str
    within: int  # offset in the volume; -1: not known, as of a striped one


class LeftOver(t.NamedTuple):
    """A device of an interrupted move, and those whose tables name it; all by their names under /dev/mapper."""

    name: str
    holders: tuple[str, ...] = ()


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
    r"^(?P<name>\S+): \d+ \d+ mirror 2 \S+ \S+ (?P<done>[0-9]{1,19})/(?P<total>[0-9]{1,19}) \d+ (?P<health>[A-Z]+) ",
    re.MULTILINE,
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


def emptied(lvm: LvmState, vg: str) -> list[LogicalVolume]:
    """Return what is left of moves that were killed after nothing lay on their volume, and before it was removed.

    LVM makes an extent of errors of it first (lib/metadata/lv_manip.c, replace_lv_with_error_segment(); seen).
    """
    return [
        volume
        for volume in lvm.volumes_of(vg)
        if re.fullmatch("pvmove[0-9]+", volume.name) and volume.type == "error" and not volume.moves_from
    ]


def left_over(lvm: LvmState, vg: str) -> list[LeftOver]:
    """Return the kernel's devices of moves in a group that LVM knows nothing of.

    A pvmove that is killed after it made one, and before it committed, leaves it, and the next one fails on its name
    ("create ioctl on docker-pvmove0 failed: Device or resource busy", seen). Tables that it loaded for the volumes
    above, and that were not taken into use, keep it in use (seen).
    """
    known = {device_names.join(vg, volume.name) for volume in lvm.volumes_of(vg)}
    wanted = re.compile(re.escape(device_names.join(vg, "pvmove")) + "[0-9]+")
    names = {number: attribute(f"{BLOCK}/{number}", "dm/name") or "" for number in listdir(BLOCK)}
    return [
        LeftOver(name, tuple(sorted(names.get(holder, holder) for holder in listdir(f"{BLOCK}/{number}/holders"))))
        for number, name in sorted(names.items())
        if wanted.fullmatch(name) and name not in known
    ]


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
        found = _moved(lvm, volume, source, target)
        lost += found
        if not found:
            left -= source.extents
    if lost:
        raise RefusedErrors(told(lvm_state.read(), vg, old, lost))


def abort(old: str) -> None:
    """End a move; what was not copied whole stays on the old device."""
    process.run("pvmove", *_ALONE, "--abort", old)


def _complete(vg: str, area: Area) -> None:
    """Have LVM take a copy into use.

    The area is named, and not its device: LVM may have done it by itself, as where somebody activates a volume of the
    group, and would begin to move all of the device then.
    """
    try:
        process.run("pvmove", *_ALONE, "--interval", "1", area.range)
    except process.ProcessError:
        if moving(lvm_state.read(), vg):
            raise


def _moved(lvm: LvmState, volume: LogicalVolume, source: Area, target: Area) -> list[UnreadablePlace]:
    """Copy a piece, and complete it where all of it arrived; return the places that could not be read, if any."""
    health = _copied(volume.vg, source, target)
    if health == "AA":
        arrived = is_same(lvm, source, target)
        # Where a device fails from here on, the kernel does not forget it.
        health = _word(volume.vg)
        if arrived and health == "AA":
            _complete(volume.vg, source)
            return []
    if not health:
        # LVM completed it before or while the two were compared: what was written since is on the new device alone.
        _check_the_source_of_what_lvm_completed(lvm, volume, source)
        return []
    abort(source.device)
    found = unreadable(lvm, volume, source)
    if not found and health[0] == "A" and (health != "AA" or unreadable(lvm, volume, target)):
        raise RefusedError(
            f"{target.device} does not keep what is written to it: extents {source.range} of {volume.full_name} "
            f"could not be copied there, and stay on {source.device}. See the kernel log, and choose another device"
        )
    if not found:
        raise RefusedError(
            f"extents {source.range} of {volume.full_name} did not arrive on {target.device} as they are on "
            f"{source.device}, and both can be read now: a cable, a path or one of the two may be failing, see the "
            "kernel log. What was copied whole is moved, these extents are where they were; run this again to go on"
        )
    return found


def _copied(vg: str, source: Area, target: Area) -> str:
    """Have the kernel copy a piece; return its word on the two devices, empty where LVM completed it by itself."""
    with process.running("pvmove", *_ALONE, "--interval", _SLEEP, source.range, target.range) as is_running:
        since = time.monotonic()
        while is_running() and not _under_way(vg):
            if time.monotonic() - since > STALL:
                raise _stuck(source.device)
            time.sleep(INTERVAL)
        # It sleeps from now on, and nobody needs it; who gets the group's lock knows that it is done with setting up.
        process.run("vgs", "--noheadings", "--options", "vg_name", vg)
    return _wait(vg, source.device)


def _check_the_source_of_what_lvm_completed(lvm: LvmState, volume: LogicalVolume, source: Area) -> None:
    """Refuse to go on where LVM completed a copy by itself, as it does where volumes are activated, of a bad disk."""
    lost = unreadable(lvm, volume, source)
    if lost:
        raise RefusedErrors(
            [
                f"LVM completed the move of extents {source.range} of {volume.full_name} by itself, as it does where "
                f"somebody activates volumes meanwhile, and {source.device} does not give all of them back: what the "
                "new device has in their place may be anything",
                *_places(lvm, volume.vg, source.device, lost),
            ]
        )


def _under_way(vg: str) -> list[CopyStatus]:
    return copies(process.run("dmsetup", "status", "--noflush", "--target", "mirror"), vg)


def _word(vg: str) -> str:
    """Return the kernel's word on the devices of a copy that is done; empty where LVM completed it by itself."""
    found = _under_way(vg)
    return found[0].health if found else ""


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
        "answer; see the kernel log. The move is left as it is: run this again to begin it anew, or with "
        "interrupted=abort to end it"
    )


def is_same(lvm: LvmState, source: Area, target: Area) -> bool:
    """Return whether two areas hold the same; reads all of both, past the kernel's cache.

    What is written meanwhile goes to both, but not in one moment: what differs is looked at again for a while.
    """
    ends = [_Direct(lvm, area) for area in (source, target)]
    try:
        step = min(ends[0].size, MIB)
        for offset in range(0, ends[0].size, step):
            one, other = (end.read(offset, step) for end in ends)
            if one == other:
                continue
            for at in range(0, step, _BLOCK):
                is_equal = one[at : at + _BLOCK] == other[at : at + _BLOCK]
                if not is_equal and not _settles(ends, offset + at):
                    return False
    except OSError as error:
        if error.errno not in _FAULTS:
            raise
        return False
    finally:
        for end in ends:
            end.close()
    return True


def _settles(ends: t.Sequence[_Direct], offset: int) -> bool:
    """Return whether a block becomes the same on both: seen so once, it is what is written to both."""
    for _look in range(_LOOKS):
        one, other = (end.read(offset, _BLOCK) for end in ends)
        if one == other:
            return True
        time.sleep(INTERVAL)
    return False


class _Direct:
    """The bytes of an area, read from its device and not from the kernel's cache."""

    def __init__(self, lvm: LvmState, area: Area) -> None:
        device = t.cast(PhysicalVolume, lvm.device(area.device))
        extent = t.cast(VolumeGroup, lvm.group(device.vg)).extent_size
        self.begin = device.data_start + area.first * extent
        self.size = area.extents * extent
        self.buffer = mmap.mmap(-1, MIB)  # aligned, as direct reads want their memory
        self.descriptor = os.open(area.device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)

    def read(self, offset: int, length: int) -> bytes:
        with memoryview(self.buffer) as whole, whole[:length] as part:
            if os.preadv(self.descriptor, [part], self.begin + offset) < length:
                # The buffer would have what was read before, and two of them be the same.
                raise OSError(errno.EIO, "the device ends here")
        return self.buffer[:length]

    def close(self) -> None:
        os.close(self.descriptor)
        self.buffer.close()


def unreadable(lvm: LvmState, volume: LogicalVolume, area: Area) -> list[UnreadablePlace]:
    """Return the places in an area that the device does not give back; reads all of it, past the kernel's cache."""
    end = _Direct(lvm, area)
    size = end.size // area.extents
    found: list[UnreadablePlace] = []
    try:
        for at in _bad_blocks(end):
            offset, extent = end.begin + at, area.first + at // size
            within = area.start * size + at if volume.is_linear else -1
            last = found[-1] if found else None
            if last and last.offset + last.length == offset and last.extent == extent:
                found[-1] = last._replace(length=last.length + _BLOCK)
            else:
                found.append(UnreadablePlace(offset, _BLOCK, extent, volume.name, within))
    finally:
        end.close()
    return found


def _bad_blocks(end: _Direct) -> t.Iterator[int]:
    """Yield where blocks of an area cannot be read: all at once first, then block by block where that fails."""
    step = min(end.size, MIB)
    for offset in range(0, end.size, step):
        if _fails(end, offset, step):
            yield from (at for at in range(offset, offset + step, _BLOCK) if _fails(end, at, _BLOCK))


def _fails(end: _Direct, offset: int, length: int) -> bool:
    try:
        end.read(offset, length)
    except OSError as error:
        if error.errno not in _FAULTS:
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
    sentences += _places(lvm, vg, old, lost)
    first = f"{old}:{extents[0]}-{extents[0]}"
    sentences.append(
        "Run this again to try once more, since disks may give back later what they did not at first; copy the extents "
        "with ddrescue(1) while nothing of the group is active; or give up what cannot be read, and restore what used "
        f"it from elsewhere: 'pvmove {first}' moves such an extent all the same, and ends well with whatever the new "
        "device had in the place of what is lost"
    )
    return sentences


def _places(lvm: LvmState, vg: str, old: str, lost: t.Sequence[UnreadablePlace]) -> list[str]:
    return [
        f"{human(place.length)} at byte {place.offset} of {old}: {_whose(lvm, vg, place)}" for place in lost[:_SHOWN]
    ]


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
