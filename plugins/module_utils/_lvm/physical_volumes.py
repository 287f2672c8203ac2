# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From devices to physical volumes: what to do, and what LVM's state will be then."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices, disk_contents
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import LABEL, BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState, PhysicalVolume


def examine(lvm: LvmState, names: t.Iterable[str], *, destroy_contents: bool = False) -> list[BlockDevice]:
    """Return the named devices; only those that are in no volume group yet are looked into.

    What a device holds without a signature is only looked for where it is not to be destroyed.
    """
    members = {volume.device for volume in lvm.devices if volume.vg}
    volumes = {volume.device for volume in lvm.devices}
    return [
        BlockDevice(name, path)
        if path in members
        else block_devices.examine(name, look=not (destroy_contents or path in volumes))
        for path, name in block_devices.resolve(names).items()
    ]


def refusals(
    lvm: LvmState, device: BlockDevice, *, group: str = "", in_any: bool = False, wipe_signatures: bool = False
) -> list[str]:
    """Return every reason why a device may not be taken into a group; empty where it may, or is in it.

    ``in_any`` tells that it may be in any group. This is the one check behind lvm_pv, lvm_vg and block_device_info.
    """
    volume = lvm.device(device.path)
    if volume is None:
        return _unlisted(lvm, device) or device.refusals(wipe_signatures=wipe_signatures)
    reasons = []
    wanted = lvm.group(group)
    if volume.vg and not in_any and not (wanted and lvm.holds(wanted, volume)):
        if volume.vg == group:
            reasons.append(
                f"{device.label} belongs to another volume group {volume.vg} (UUID {volume.vg_uuid}), as a disk of "
                "another host does: choose another device"
            )
        else:
            where = f", not to {group}" if group else ""
            reasons.append(f"{device.label} belongs to volume group {volume.vg}{where}: choose another device")
    if volume.in_use and not volume.vg:
        reasons.append(
            f"{device.label} is marked as used by a volume group whose metadata is missing here: bring the group's "
            "other devices back. An interrupted vgcreate or vgextend leaves the mark too: if it was that, and "
            f"nothing on the device is needed, run 'pvremove --force --force --yes {device.path} && "
            f"blkdiscard --zeroout --length 1MiB {device.path}'"
        )
    if volume.missing or volume.duplicate:
        reasons.append(f"{device.label} is {'missing' if volume.missing else 'a duplicate'} in LVM's view: see 'pvs'")
    if not volume.vg:
        reasons += [f"{device.label} {obstacle}" for obstacle in device.obstacles]
        others = [str(signature) for signature in device.signatures if signature.type != LABEL]
        # A label that was there already says nothing of what stands beside it; one that pvcreate makes was wiped for.
        if others and len(others) < len(device.signatures):
            reasons.append(
                f"{device.label} is a physical volume in no group, and holds {', '.join(others)} too, so it may be in "
                f"use by something else. If nothing on it is needed, run 'wipefs --all {device.path}' first"
            )
    return reasons


def _unlisted(lvm: LvmState, device: BlockDevice) -> list[str]:
    """Return what LVM has against a labelled device that it leaves out of its report."""
    for copy in lvm.duplicates:
        if copy.device == device.path:
            used = next((volume.device for volume in lvm.devices if volume.uuid == copy.of), "another device")
            return [
                f"{device.label} has the same physical volume on it as {used} (UUID {copy.of}), which LVM uses: it is "
                "a copy of that disk, or another path to it. Choose another device"
            ]
    for copy in lvm.given_up:
        if copy.device == device.path:
            return [
                f"{device.label} was given up by volume group {copy.of} ('vgreduce --removemissing') while it was "
                f"away, and is back with its old label. If nothing on it is needed, 'vgck --updatemetadata {copy.of}' "
                "clears that, and it may be taken anew"
            ]
    return []


def decide(
    lvm: LvmState,
    devices: t.Iterable[BlockDevice],
    *,
    state: str = "present",
    resize: bool = False,
    wipe_signatures: bool = False,
) -> tuple[list[Step], LvmState]:
    """Return the steps that make the devices physical volumes (or plain devices again), and the state after them."""
    steps: list[Step] = []
    refused: list[str] = []
    after = lvm
    for device in devices:
        volume = lvm.device(device.path)
        reasons = refusals(lvm, device, in_any=True, wipe_signatures=wipe_signatures or state == "absent")
        if state == "absent":
            if volume is None:
                continue
            if volume.vg:
                reasons.append(f"{device.label} belongs to volume group {volume.vg}: remove it from the group first")
            refused += reasons
            # Blank again, so that it can be taken again; what was on it was in a group that is gone.
            erase = functools.partial(disk_contents.erase, device.path)
            steps.append(Step(f"remove physical volume {device.path}", ("pvremove", "--yes", device.path), work=erase))
            after = after.without(device=device.path)
        elif reasons:
            refused += reasons
        elif volume is None:
            steps += initialise(device)
            after = after.with_device(planned(device))
        elif resize:
            more, after = grow(after, volume)
            steps += more
    if refused:
        raise RefusedErrors(refused)
    return steps, after


def grow(lvm: LvmState, volume: PhysicalVolume) -> tuple[list[Step], LvmState]:
    """Return the step that lets LVM use all of a device that was enlarged, if it was, and the state after it."""
    group = lvm.group(volume.vg)
    extent_size = group.extent_size if group else 4 * MIB
    if not volume.can_grow(extent_size):
        return [], lvm
    step = Step(
        f"grow physical volume {volume.device} to {human(volume.device_size)}", ("pvresize", "--yes", volume.device)
    )
    if group is None:
        return [step], lvm.with_device(replace(volume, size=volume.device_size))
    added = volume.unused(extent_size)
    after = lvm.with_device(
        replace(volume, size=volume.size + added * extent_size, extents=volume.extents + added)
    ).with_group(replace(group, extents=group.extents + added, extents_free=group.extents_free + added))
    return [step], after


def initialise(device: BlockDevice) -> list[Step]:
    """Return the steps that make a physical volume of a device that passed every check."""
    steps = []
    if device.signatures:
        found = ", ".join(str(signature) for signature in device.signatures)
        # Not wipefs(8), which leaves the rest: a run that is killed behind it would leave a disk that holds something,
        # and has no signature that the next run may wipe.
        offsets = [signature.offset for signature in device.signatures]
        steps.append(
            Step(
                f"wipe signatures of {device.path}: {found}",
                device=device,
                work=functools.partial(disk_contents.erase, device.path, offsets),
            )
        )
    steps.append(
        Step(
            f"create physical volume {device.path}",
            ("pvcreate", "--yes", device.path),
            device=replace(device, signatures=()),
            # LVM never ends in its test mode where there is a signature to be wiped, see rehearsal.
            rehearsal=() if device.signatures else ("pvcreate", "--yes", device.path),
            undo=("pvremove", "--yes", device.path),
        )
    )
    return steps


def planned(device: BlockDevice) -> PhysicalVolume:
    """Return the physical volume that pvcreate will make, in no group and so without extents."""
    return PhysicalVolume(
        device=device.path,
        vg="",
        size=device.size,
        device_size=device.size,
        data_start=device.alignment,
        extents=0,
        extents_used=0,
        in_use=False,
        sector_size=device.sector_size,
    )
