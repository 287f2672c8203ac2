# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Room that is kept for a pool in an emergency: a volume of its group that nobody uses, and that becomes the pool's.

Free extents are nobody's: dmeventd takes them as soon as the pool is above its threshold, and so does whoever makes a
volume. A volume that is not active holds nothing, costs nothing, and is there when the pool is full.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import obstacles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_recovery import (
    drop_volume,
    spare_maker,
)

TAG = f"{OWNER_TAG}.reserve"


def name_of(pool: str) -> str:
    return f"{pool}_reserve"


def find(lvm: LvmState, vg: str, pool: str) -> LogicalVolume | None:
    """Return a pool's reserve; a volume of that name that has not the tag is somebody's."""
    volume = lvm.volume(vg, name_of(pool))
    return volume if volume and TAG in volume.tags else None


def drop_beside(lvm: LvmState, group: VolumeGroup, pool: str) -> tuple[list[Step], LvmState, VolumeGroup]:
    """Return the steps that remove what goes with a pool, and state and group after them.

    That is its reserve, and the pool that is made for a moment to have a spare where that was interrupted.
    """
    steps: list[Step] = []
    kept, maker = find(lvm, group.name, pool), spare_maker(lvm, group.name)
    if kept and not kept.open:
        steps, lvm, group = drop_volume(lvm, kept, "which was kept for the pool")
    if maker:
        more, lvm, group = drop_volume(lvm, maker)
        steps = [*steps, *more]
    return steps, lvm, group


def decide(
    lvm: LvmState, vg: str, pool_name: str, *, state: str, size: Size | None = None, is_full: bool = False
) -> tuple[list[Step], LvmState]:
    """Return the steps that keep a reserve (``present``), give it to the pool (``released``) or free it (``absent``).

    ``is_full`` says that the kernel has no chunk left in the pool.
    """
    group, pool = lvm.group(vg), lvm.volume(vg, pool_name)
    if state == "absent" and group is None:
        return [], lvm
    if group is None or ((pool is None or not pool.is_pool) and state != "absent"):
        raise RefusedError(f"there is no thin pool {vg}/{pool_name} on this host: correct vg and name")
    in_the_way = obstacles.of_group(lvm, group)
    if in_the_way:
        raise RefusedErrors(obstacle.message for obstacle in in_the_way)
    named, reserve = lvm.volume(vg, name_of(pool_name)), find(lvm, vg, pool_name)
    if named is not None and reserve is None:
        raise RefusedError(
            f"volume {named.full_name} is somebody's (it lacks the tag {TAG}), so that no reserve can have that name: "
            f"give it another with 'lvrename {vg} {named.name} NAME'"
        )
    if reserve is not None and (reserve.open or not reserve.is_linear):
        raise RefusedError(f"volume {reserve.full_name} is in use, and so is no reserve: see 'dmsetup ls --tree'")
    if state == "absent":
        return _absent(lvm, group, reserve)
    pool = t.cast(LogicalVolume, pool)
    if state == "released":
        return _release(lvm, group, pool, reserve, is_full=is_full)
    return _keep(lvm, group, pool, reserve, t.cast(Size, size))


def _keep(
    lvm: LvmState, group: VolumeGroup, pool: LogicalVolume, reserve: LogicalVolume | None, size: Size
) -> tuple[list[Step], LvmState]:
    now = reserve.size // group.extent_size if reserve else 0
    wanted = size.extents(
        extent_size=group.extent_size, vg_extents=group.extents, free_extents=group.extents_free + now
    )
    if now >= wanted:
        return [], lvm
    if wanted - now > group.extents_free:
        raise RefusedError(
            f"{size.text} cannot be kept for thin pool {pool.full_name}: that takes {wanted - now} more extents "
            f"({human((wanted - now) * group.extent_size)}), and volume group {group.name} has {group.extents_free} "
            f"free ({human(group.extents_free * group.extent_size)}). Lower it, give the pool less, or add a device"
        )
    after = replace(group, extents_free=group.extents_free - (wanted - now))
    volume = replace(reserve or _new(pool), size=wanted * group.extent_size)
    what = f"{human(volume.size)} for thin pool {pool.full_name} in an emergency"
    command = ("lvextend", "--yes", "--extents", str(wanted), volume.full_name) if reserve else _make(pool, wanted)
    step = Step(f"{'enlarge' if reserve else 'keep'} {volume.full_name}: {what}", command, rehearsal=command)
    return [step], lvm.with_group(after).with_volume(volume)


def _new(pool: LogicalVolume) -> LogicalVolume:
    return LogicalVolume(vg=pool.vg, name=name_of(pool.name), type="linear", size=0, tags=(OWNER_TAG, TAG))


def _make(pool: LogicalVolume, extents: int) -> tuple[str, ...]:
    return (
        *("lvcreate", "--yes", "--type", "linear", "--name", name_of(pool.name), "--extents", str(extents)),
        # Nothing is ever read or written there, so nothing needs to be wiped, nor a device made.
        *("--activate", "n", "--zero", "n", "--wipesignatures", "n", "--addtag", OWNER_TAG, "--addtag", TAG, pool.vg),
    )


def _absent(lvm: LvmState, group: VolumeGroup, reserve: LogicalVolume | None) -> tuple[list[Step], LvmState]:
    if reserve is None:
        return [], lvm
    step = Step(f"remove the reserve {reserve.full_name}", ("lvremove", "--yes", reserve.full_name))
    return [step], _without(lvm, group, reserve)


def _without(lvm: LvmState, group: VolumeGroup, reserve: LogicalVolume) -> LvmState:
    free = group.extents_free + reserve.size // group.extent_size
    return lvm.with_group(replace(group, extents_free=free)).without(volume=(reserve.vg, reserve.name))


def _release(
    lvm: LvmState, group: VolumeGroup, pool: LogicalVolume, reserve: LogicalVolume | None, *, is_full: bool
) -> tuple[list[Step], LvmState]:
    """Return the steps that give a pool its reserve.

    Killed between the two, the second run finds free extents and a pool that is full, and gives it those.
    """
    steps = []
    extents = group.extents_free if is_full else 0
    if reserve is not None:
        extents = reserve.size // group.extent_size
        steps.append(
            Step(
                f"remove the reserve {reserve.full_name}",
                ("lvremove", "--yes", reserve.full_name),
                undo=_make(pool, extents),
            )
        )
        lvm = _without(lvm, group, reserve)
    if not extents:
        return [], lvm
    size = extents * group.extent_size
    what = "that was kept for it" if reserve else "that its group has free"
    steps.append(
        Step(
            f"give thin pool {pool.full_name} the {human(size)} {what}",
            ("lvextend", "--yes", "--extents", f"+{extents}", pool.full_name),
        )
    )
    now = t.cast(VolumeGroup, lvm.group(group.name))
    lvm = lvm.with_group(replace(now, extents_free=now.extents_free - extents))
    return steps, lvm.with_volume(replace(pool, size=pool.size + size))
