# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From physical volumes to a volume group: what to do, and what LVM's state will be then."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import GIB, KIB, MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    obstacles,
    physical_volumes,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import LABEL, BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LvmState,
    PhysicalVolume,
    VolumeGroup,
)

# lvm.conf metadata/extent_size is not set by distributions; 4 MiB is LVM's own default (lib/config/defaults.h).
DEFAULT_EXTENT_SIZE = 4 * MIB

_TAG = re.compile(r"[A-Za-z0-9_+.\-/=!:#&]{1,1024}")


def decide(
    lvm: LvmState,
    *,
    name: str,
    devices: t.Sequence[BlockDevice] = (),
    state: str = "present",
    extent_size: int | None = None,
    tags: t.Sequence[str] = (),
    remove_unlisted: bool = False,
    wipe_signatures: bool = False,
    resize: bool = False,
) -> tuple[list[Step], LvmState]:
    """Return the steps that make the volume group what is wished (or remove it), and the state after them."""
    device_names.check_name("volume group", name)
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise RefusedError(
                f"{tag!r} is not a tag that LVM allows: letters, digits and _ + . - / = ! : # & (lvm(8))"
            )
    group = lvm.group(name)
    in_the_way = obstacles.of_group(lvm, group) if group else []
    if in_the_way:
        raise RefusedErrors(obstacle.message for obstacle in in_the_way)
    if state == "absent":
        return _remove(lvm, group)
    if group is None and not devices:
        raise RefusedError(f"volume group {name} does not exist and no devices were given to make it of: set devices")
    if group is None and name in lvm.in_dev:
        # vgcreate refuses it too (lib/metadata/metadata.c validate_new_vg_name()), when the disks are taken already.
        raise RefusedError(
            f"volume group {name} cannot be made, since /dev/{name} is there and belongs to something else: choose "
            "another name"
        )
    if extent_size is not None:
        _check_extent_size(name, group, extent_size)
    if group is None:
        return _create(lvm, name, devices, extent_size or DEFAULT_EXTENT_SIZE, tags, wipe_signatures)
    steps, after = _change(lvm, group, devices, tags, remove_unlisted, wipe_signatures)
    if resize:
        for device in lvm.devices_of(name):
            if after.device(device.device) in after.devices_of(name):
                more, after = physical_volumes.grow(after, device)
                steps += more
    return steps, after


def _check_extent_size(name: str, group: VolumeGroup | None, extent_size: int) -> None:
    # vgcreate(8): a power of 2, at least 1 KiB (at least the sector size, which 4 KiB covers on every disk), and in
    # 512-byte sectors at most 32 bits (metadata-exported.h MAX_EXTENT_SIZE).
    if not 4 * KIB <= extent_size <= 1024 * GIB or extent_size & (extent_size - 1):
        raise RefusedError(
            f"extent_size of volume group {name} must be a power of 2 from 4k to 1t, not {human(extent_size)} "
            f"({extent_size} bytes)"
        )
    if group and group.extent_size != extent_size:
        raise RefusedError(
            f"volume group {name} has extents of {human(group.extent_size)}; they are not changed to "
            f"{human(extent_size)} here, since that moves where every volume ends: leave extent_size out"
        )


def _take(
    lvm: LvmState, name: str, devices: t.Iterable[BlockDevice], wipe_signatures: bool
) -> tuple[list[Step], list[BlockDevice], LvmState]:
    """Return the steps that make the devices ready, those that the group lacks, and the state after the steps."""
    members = {volume.device for volume in lvm.devices_of(name)}
    lacking = [device for device in devices if device.path not in members]
    refusals = [
        reason
        for device in lacking
        for reason in physical_volumes.refusals(lvm, device, group=name, wipe_signatures=wipe_signatures)
    ]
    if refusals:
        raise RefusedErrors(refusals)
    _check_joining(lvm, name, lacking)
    steps, after = physical_volumes.decide(lvm, lacking, wipe_signatures=wipe_signatures)
    if all(map(_can_be_asked_about, lacking)):
        # Whether the group takes them is asked, and with it whether LVM takes them at all.
        steps = [replace(step, rehearsal=()) for step in steps]
    return steps, lacking, after


def _can_be_asked_about(device: BlockDevice) -> bool:
    """Whether LVM can be asked what it says of a device: one that is to be wiped first has it try for ever (seen)."""
    return all(signature.type == LABEL for signature in device.signatures)


def _check_joining(lvm: LvmState, name: str, lacking: t.Sequence[BlockDevice]) -> None:
    """Refuse devices that the group does not take, as far as this is known without asking LVM."""
    group, members = lvm.group(name), lvm.devices_of(name)
    if not lacking:
        return
    paths = ", ".join(device.label for device in lacking)
    if group and group.attributes[1:2] != "z":
        raise RefusedError(
            f"volume group {name} is not resizeable, so {paths} cannot be added to it: run 'vgchange --resizeable y "
            f"{name}' if it may grow"
        )
    if group and 0 < group.most_devices < len(members) + len(lacking):
        raise RefusedError(
            f"volume group {name} may have {group.most_devices} devices at most, so {paths} cannot be added to it: run "
            f"'vgchange --maxphysicalvolumes 0 {name}' if it may have more"
        )
    # Of the others LVM itself says it, unless lvm.conf allows it (devices/allow_mixed_block_sizes).
    known = [device.sector_size for device in members] + [device.sector_size for device in lacking]
    sizes = {size for size in known if size}
    mixed = [device.label for device in lacking if not _can_be_asked_about(device)]
    if len(sizes) > 1 and mixed:
        raise RefusedError(
            f"the devices of volume group {name} would have sectors of different sizes "
            f"({' and '.join(map(str, sorted(sizes)))} bytes) with {', '.join(mixed)}, which LVM does not join by "
            "default: choose another device"
        )


def _join(lvm: LvmState, group: VolumeGroup, devices: t.Iterable[BlockDevice]) -> LvmState:
    """Return the state in which the devices' extents belong to the group."""
    for device in devices:
        volume = t.cast(PhysicalVolume, lvm.device(device.path))  # _take() made it one
        extents = (volume.device_size - volume.data_start) // group.extent_size
        if extents < 1:
            raise RefusedError(
                f"{device.label} ({human(volume.device_size)}) has no room for one extent of volume group "
                f"{group.name} ({human(group.extent_size)}): choose a larger device, or a smaller extent_size for a "
                "new group"
            )
        group = replace(group, extents=group.extents + extents, extents_free=group.extents_free + extents)
        lvm = lvm.with_device(
            replace(volume, vg=group.name, size=extents * group.extent_size, extents=extents, in_use=True)
        )
    return lvm.with_group(group)


def _create(
    lvm: LvmState,
    name: str,
    devices: t.Sequence[BlockDevice],
    extent_size: int,
    tags: t.Sequence[str],
    wipe_signatures: bool,
) -> tuple[list[Step], LvmState]:
    steps, lacking, after = _take(lvm, name, devices, wipe_signatures)
    all_tags = (OWNER_TAG, *(tag for tag in tags if tag != OWNER_TAG))
    command = ["vgcreate", "--yes", "--physicalextentsize", f"{extent_size}b"]
    for tag in all_tags:
        command += ["--addtag", tag]
    paths = [device.path for device in lacking]
    asked = all(map(_can_be_asked_about, lacking))
    command += [name, *paths]
    steps.append(
        Step(
            f"create volume group {name} on {', '.join(paths)}",
            tuple(command),
            rehearsal=tuple(command) if asked else (),
        )
    )
    group = VolumeGroup(name=name, extent_size=extent_size, extents=0, extents_free=0, tags=all_tags)
    return steps, _join(after, group, lacking)


def _change(
    lvm: LvmState,
    group: VolumeGroup,
    devices: t.Sequence[BlockDevice],
    tags: t.Sequence[str],
    remove_unlisted: bool,
    wipe_signatures: bool,
) -> tuple[list[Step], LvmState]:
    steps, lacking, after = _take(lvm, group.name, devices, wipe_signatures)
    if lacking:
        paths = [device.path for device in lacking]
        command = ("vgextend", "--yes", group.name, *paths)
        asked = all(map(_can_be_asked_about, lacking))
        steps.append(
            Step(f"add {', '.join(paths)} to volume group {group.name}", command, rehearsal=command if asked else ())
        )
        after = _join(after, group, lacking)
    new_tags = [tag for tag in tags if tag not in group.tags]
    if new_tags:
        options = [word for tag in new_tags for word in ("--addtag", tag)]
        steps.append(
            Step(
                f"tag volume group {group.name} with {', '.join(new_tags)}", ("vgchange", "--yes", *options, group.name)
            )
        )
        now = t.cast(VolumeGroup, after.group(group.name))
        after = after.with_group(replace(now, tags=(*now.tags, *new_tags)))
    if remove_unlisted and devices:
        listed = {device.path for device in devices}
        for volume in lvm.devices_of(group.name):
            if volume.device in listed:
                continue
            if volume.extents_used:
                raise RefusedError(
                    f"{volume.device} still holds {volume.extents_used} extents of volume group {group.name}: take it "
                    "out with the playbook devicemapper.containers.replace_disk (module lvm_pv_replace), which moves "
                    "them away while they are in use"
                )
            step, after = take_out(after, volume)
            steps.append(step)
    return steps, after


def take_out(lvm: LvmState, volume: PhysicalVolume) -> tuple[Step, LvmState]:
    """Return the step that takes a device out of its group on which nothing lies any more, and the state after it."""
    group = t.cast(VolumeGroup, lvm.group(volume.vg))
    after = lvm.with_group(
        replace(group, extents=group.extents - volume.extents, extents_free=group.extents_free - volume.extents)
    ).with_device(_bare(volume))
    return (
        Step(
            f"remove {volume.device} from volume group {group.name}",
            ("vgreduce", "--yes", group.name, volume.device),
        ),
        after,
    )


def _remove(lvm: LvmState, group: VolumeGroup | None) -> tuple[list[Step], LvmState]:
    if group is None:
        return [], lvm
    if not group.is_ours:
        raise RefusedError(
            f"volume group {group.name} was not made by this collection (it lacks the tag {OWNER_TAG}) and is not "
            f"removed; if it may go, say so with 'vgchange --addtag {OWNER_TAG} {group.name}' or remove it with "
            f"'vgremove {group.name}'"
        )
    volumes = [volume.name for volume in lvm.volumes_of(group.name) if not volume.hidden]
    if volumes:
        raise RefusedError(f"volume group {group.name} still holds {', '.join(volumes)}: remove them first")
    after = lvm.without(group=group.name)
    for volume in lvm.devices_of(group.name):
        after = after.with_device(_bare(volume))
    return [Step(f"remove volume group {group.name}", ("vgremove", group.name))], after


def _bare(volume: PhysicalVolume) -> PhysicalVolume:
    """Return a physical volume as it is once it is in no group: LVM counts its whole device then."""
    return replace(volume, vg="", size=volume.device_size, extents=0, extents_used=0, in_use=False, allocatable=True)
