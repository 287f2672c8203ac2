# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From a disk in a group to the same group without it: what to do, and what LVM's state will be then."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    extent_moves,
    obstacles,
    physical_volumes,
    volume_groups,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LvmState,
    PhysicalVolume,
    VolumeGroup,
)


def decide(
    lvm: LvmState,
    *,
    vg: str,
    old: BlockDevice,
    new: BlockDevice | None = None,
    percent: int = 100,
    interrupted: str = "continue",
    wipe_signatures: bool = False,
    left_over: t.Sequence[extent_moves.LeftOver] = (),
) -> tuple[list[Step], LvmState]:
    """Return the steps that move what lies on the old device, and take it out of the group, and the state after them.

    ``percent`` is the share of the old device that shall be free then; it leaves the group at 100. ``left_over`` are
    the kernel's devices of moves that LVM knows nothing of.
    """
    device_names.check_name("volume group", vg)
    if not 1 <= percent <= 100:
        raise RefusedError(f"percent must be from 1 to 100, not {percent}")
    group = lvm.group(vg)
    if group is None:
        raise RefusedError(f"volume group {vg} does not exist: correct vg, see 'vgs'")
    in_the_way = obstacles.of_group(lvm, group)
    if in_the_way:
        raise RefusedErrors(obstacle.message for obstacle in in_the_way)
    if new is not None and new.path == old.path:
        raise RefusedError(f"old and new are the same device, {new.label}: name the one that takes its place")
    cleared = [step for left in left_over for step in _clear(left)]
    for empty in extent_moves.emptied(lvm, vg):
        words = f"remove {empty.full_name}, left by an interrupted pvmove"
        cleared.append(Step(words, ("lvremove", "--yes", empty.full_name)))
        lvm = lvm.without(volume=(vg, empty.name))
    volume = lvm.device(old.path)
    if volume is None or not volume.vg:
        steps, after = _is_out(lvm, group, old, new, volume, interrupted)
        return [*cleared, *steps], after
    if not lvm.holds(group, volume):
        raise RefusedError(f"{old.label} belongs to volume group {volume.vg}, not to {vg}: correct vg or old")
    moving = extent_moves.moving(lvm, vg)
    if moving and moving.moves_from != volume.device:
        raise RefusedError(
            f"extents are being moved away from {moving.moves_from} of volume group {vg}, or were when pvmove was "
            f"interrupted: name it in old to begin that anew or to end it, before {old.label} has its turn"
        )
    if interrupted == "abort":
        steps, after = _abort(lvm, volume, is_moving=moving is not None)
    else:
        steps, after = _move(lvm, group, volume, old, new, percent, wipe_signatures)
    return [*cleared, *steps], after


def _is_out(
    lvm: LvmState,
    group: VolumeGroup,
    old: BlockDevice,
    new: BlockDevice | None,
    volume: PhysicalVolume | None,
    interrupted: str,
) -> tuple[list[Step], LvmState]:
    """Return what is left to do about a device that is in no group: nothing, or to blank it after an interruption."""
    if new is not None and new.path not in {device.device for device in lvm.devices_of(group.name)}:
        raise RefusedError(
            f"{old.label} is not in volume group {group.name}, and neither is {new.label}, so nothing is to be "
            "replaced. To add a device, run the playbook grow"
        )
    if volume is None or interrupted == "abort":
        return [], lvm
    return physical_volumes.decide(lvm, [old], state="absent")


def _abort(lvm: LvmState, volume: PhysicalVolume, *, is_moving: bool) -> tuple[list[Step], LvmState]:
    steps = []
    if is_moving:
        steps.append(_end(volume))
    if not volume.allocatable:
        steps.append(
            Step(f"let volumes use {volume.device} again", ("pvchange", "--yes", "--allocatable", "y", volume.device))
        )
    return steps, lvm.with_device(replace(volume, allocatable=True))


def _clear(left: extent_moves.LeftOver) -> list[Step]:
    steps = []
    if left.holders:
        what = f"drop what an interrupted pvmove loaded for {', '.join(left.holders)} and did not take into use"
        steps.append(Step(what, ("dmsetup", "clear", *left.holders)))
    remove = ("dmsetup", "remove", "--retry", left.name)
    return [*steps, Step(f"remove {left.name}, left by an interrupted pvmove", remove)]


def _end(volume: PhysicalVolume) -> Step:
    work = functools.partial(extent_moves.abort, volume.device)
    return Step(f"end the interrupted move of extents away from {volume.device}", work=work)


def _move(
    lvm: LvmState,
    group: VolumeGroup,
    volume: PhysicalVolume,
    old: BlockDevice,
    new: BlockDevice | None,
    percent: int,
    wipe_signatures: bool,
) -> tuple[list[Step], LvmState]:
    steps: list[Step] = []
    after = lvm
    moving = extent_moves.moving(lvm, group.name)
    used = volume.extents_used
    if moving:
        # Nobody compared what it copied, so it begins anew. Until it ends its extents are counted on both devices.
        steps.append(_end(volume))
        for area in moving.areas:
            device = after.device(area.device)
            if device and device.device != volume.device:
                after = after.with_device(replace(device, extents_used=device.extents_used - area.extents))
    if new is not None:
        more, after = volume_groups.decide(after, name=group.name, devices=[new], wipe_signatures=wipe_signatures)
        steps += more
    onto = _destinations(after, group.name, volume, new)
    _check_room(after, volume, used, onto, new)
    if volume.allocatable:
        # An extension meanwhile would put new extents on the device that is to go.
        steps.append(
            Step(f"keep new extents off {volume.device}", ("pvchange", "--yes", "--allocatable", "n", volume.device))
        )
    number = used - volume.extents * (100 - percent) // 100
    if number > 0:
        steps.append(_step(after, group, volume, onto, number, is_asked=after is lvm and not moving))
        used -= number
        after = _filled(after, onto, number)
    after = after.with_device(replace(volume, extents_used=used, allocatable=False))
    if percent < 100:
        return steps, after
    step, after = volume_groups.take_out(after, t.cast(PhysicalVolume, after.device(volume.device)))
    more, after = physical_volumes.decide(after, [old], state="absent")
    return [*steps, step, *more], after


def _destinations(lvm: LvmState, vg: str, old: PhysicalVolume, new: BlockDevice | None) -> list[PhysicalVolume]:
    """Return the devices that take the extents: the new one, or where none is named all that have room."""
    return [
        device
        for device in lvm.devices_of(vg)
        if device.device != old.device
        and device.allocatable
        and not device.has_shrunk
        and device.extents > device.extents_used
        and (new is None or device.device == new.path)
    ]


def _check_room(
    lvm: LvmState, old: PhysicalVolume, used: int, onto: t.Sequence[PhysicalVolume], new: BlockDevice | None
) -> None:
    group = t.cast(VolumeGroup, lvm.group(old.vg))
    free = sum(device.extents - device.extents_used for device in onto)
    if used <= free and len(lvm.devices_of(group.name)) > 1:
        return
    needed = f"{used} extents ({human(used * group.extent_size)})"
    known = lvm.device(new.path) if new else None
    if new and known and not known.allocatable:
        raise RefusedError(
            f"{new.label} is to be left alone by volumes, as a disk is that was to leave the group before: if it may "
            f"take extents again, run 'pvchange --allocatable y {new.path}'"
        )
    where = f"{new.label} has" if new else f"the other devices of volume group {group.name} have"
    way_out = (
        "choose a larger one, or add it to the group with the playbook grow and leave new out, so that the room of "
        "all devices counts"
        if new
        else "name in new a device that takes its place"
    )
    raise RefusedError(f"{old.device} holds {needed}, and {where} {free} free that LVM may use: {way_out}")


def _step(
    lvm: LvmState,
    group: VolumeGroup,
    old: PhysicalVolume,
    onto: t.Sequence[PhysicalVolume],
    number: int,
    *,
    is_asked: bool,
) -> Step:
    paths = [device.device for device in onto]
    names = dict.fromkeys(volume.name for volume, _area in extent_moves.lying_on(lvm, group.name, old.device))
    # None are known while all that is left is being moved.
    whose = f" of {', '.join(names)}" if names else ""
    return Step(
        f"move {number} extents ({human(number * group.extent_size)}){whose} from {old.device} to {', '.join(paths)}",
        work=functools.partial(extent_moves.move, group.name, old.device, paths, number),
        # Of a device that is not in the group yet it cannot be asked.
        rehearsal=("pvmove", old.device, *paths) if is_asked else (),
    )


def _filled(lvm: LvmState, onto: t.Sequence[PhysicalVolume], number: int) -> LvmState:
    """Return the state in which the devices hold so many extents more, the first of them first."""
    for device in onto:
        taken = min(number, device.extents - device.extents_used)
        lvm = lvm.with_device(replace(device, extents_used=device.extents_used + taken))
        number -= taken
    return lvm
