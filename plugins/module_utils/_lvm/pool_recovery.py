# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What interrupted commands leave of a thin pool, and the steps that clear it away or finish it."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import loaded_mark
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import CHUNK_MINIMUM, PoolSpec

# The name of a small pool that is made for the spare that LVM makes along with it, and removed again.
SPARE_MAKER = "devicemapper.containers.spare"


def with_spare(lvm: LvmState, group: VolumeGroup, metadata: int) -> LvmState:
    """Return the state with LVM's spare as large as so many extents of metadata; it never shrinks."""
    spare = lvm.spare(group.name)
    size = metadata * group.extent_size
    if size <= (spare.size if spare else 0):
        return lvm
    named = spare or LogicalVolume(vg=group.name, name="lvol0_pmspare", type="linear", size=0, hidden=True)
    return lvm.with_volume(replace(named, size=size))


def _stray(lvm: LvmState, group: VolumeGroup, metadata: int, profile: str) -> LogicalVolume | None:
    """Return a spare whose making was interrupted.

    lvcreate and lvconvert make the spare as a visible volume lvolN and hide it when they commit (lib/metadata/
    pool_manip.c handle_pool_metadata_spare()); killed in between, it stays (seen). It is known by that name, the size
    of the metadata, and the pool's profile, which LVM gives the spare too (seen).
    """
    left = ("linear", metadata * group.extent_size, profile)
    for volume in lvm.volumes_of(group.name) if group.is_ours else ():
        is_left = (volume.type, volume.size, volume.profile) == left and not volume.open
        if is_left and re.fullmatch(r"lvol\d+", volume.name):
            if not profile:
                raise RefusedError(
                    f"{volume.full_name} is what an interrupted command leaves, or somebody's volume that has no name "
                    f"of its own. If it may go, run 'lvremove --yes {volume.full_name}'; else give it a name with "
                    f"'lvrename {group.name} {volume.name} NAME'"
                )
            return volume
    return None


def drop_volume(
    lvm: LvmState, volume: LogicalVolume, why: str = "left by an interrupted command"
) -> tuple[list[Step], LvmState, VolumeGroup]:
    """Return the step that removes a volume, and state and group after it."""
    group = t.cast(VolumeGroup, lvm.group(volume.vg))
    freed = (volume.size + volume.metadata_size) // group.extent_size
    after = replace(group, extents_free=group.extents_free + freed)
    lvm = lvm.with_group(after).without(volume=(volume.vg, volume.name))
    for part in (volume.data_volume, volume.metadata_volume):
        lvm = lvm.without(volume=(volume.vg, part))
    step = Step(f"remove {volume.full_name}, {why}", ("lvremove", "--yes", volume.full_name))
    return [step], lvm, after


def clear_strays(
    lvm: LvmState, group: VolumeGroup, metadata: int, profile: str
) -> tuple[list[Step], LvmState, VolumeGroup]:
    """Return the steps that remove what was left before there was a pool, and state and group after them."""
    stray = None if lvm.spare(group.name) else _stray(lvm, group, metadata, profile)
    return drop_volume(lvm, stray) if stray else ([], lvm, group)


def spare_maker(lvm: LvmState, group: str) -> LogicalVolume | None:
    maker = lvm.volume(group, SPARE_MAKER)
    return maker if maker and OWNER_TAG in maker.tags and not maker.open else None


def mend_spare(lvm: LvmState, group: VolumeGroup, pool: LogicalVolume) -> tuple[list[Step], LvmState, VolumeGroup]:
    """Return the steps that give a pool of ours the spare that it lacks, and state and group after them.

    An interrupted lvconvert leaves it as a visible volume, and no command hides that, or makes a spare alone (tried).
    LVM makes one along with any pool, as large as that pool's metadata (seen), and keeps it until the last pool goes.
    So a second pool is made for a moment. A spare that is missing is reason enough, so that a run which is interrupted
    after the visible volume was removed is finished as well.
    """
    maker, spare = spare_maker(lvm, group.name), lvm.spare(group.name)
    if not group.is_ours or (spare and not maker):
        return [], lvm, group
    steps: list[Step] = []
    stray = None if spare else _stray(lvm, group, pool.metadata_size // group.extent_size, pool.profile)
    for left in (stray, maker):
        if left:
            more, lvm, group = drop_volume(lvm, left)
            steps += more
    data = -(-CHUNK_MINIMUM // group.extent_size) * group.extent_size
    maker = LogicalVolume(
        vg=group.name, name=SPARE_MAKER, type="thin-pool", size=data, metadata_size=pool.metadata_size
    )
    if spare or (data + 2 * pool.metadata_size) // group.extent_size > group.extents_free:
        return steps, lvm, group
    command = (
        *("lvcreate", "--yes", "--type", "thin-pool", "--name", SPARE_MAKER),
        *("--extents", str(data // group.extent_size), "--poolmetadatasize", f"{pool.metadata_size}b"),
        *("--poolmetadataspare", "y", "--activate", "n", "--chunksize", f"{CHUNK_MINIMUM}b"),
        *(("--metadataprofile", pool.profile) if pool.profile else ()),
        *("--addtag", OWNER_TAG, group.name),
    )
    steps.append(Step(f"make the missing spare for metadata repair, along with {maker.full_name}", command))
    taken = (data + 2 * pool.metadata_size) // group.extent_size
    lvm = with_spare(lvm, group, pool.metadata_size // group.extent_size)
    lvm = lvm.with_group(replace(group, extents_free=group.extents_free - taken))
    more, lvm, group = drop_volume(lvm, maker, "which has done its work")
    return steps + more, lvm, group


def unstick(lvm: LvmState, pool: LogicalVolume, spec: PoolSpec) -> tuple[list[Step], LvmState, LogicalVolume]:
    """Return the steps that bring an active pool back into use as LVM has it, and state and pool after them.

    No LVM command is at it: that would have held the group's lock until the report was made.
    """
    steps = []
    after = pool
    parts = [lvm.volume(pool.vg, name) for name in (pool.name, pool.data_volume, pool.metadata_volume)]
    loaded = [part for part in parts if part and part.inactive_table]
    if loaded:
        # lvextend loads larger tables before it commits. Where it was killed in between, the next resume, by dmsetup or
        # by lvchange, would take them into use, and the pool would be larger for the kernel than for LVM (seen): it
        # could not be activated any more, and LVM would give its last extents to others.
        steps.append(
            Step(
                f"drop what an interrupted command loaded for thin pool {pool.full_name} and did not take into use",
                ("dmsetup", "clear", *(part.dm_name for part in loaded)),
            )
        )
        for part in loaded:
            lvm = lvm.with_volume(replace(part, inactive_table=False))
        after = replace(after, inactive_table=False)
    if not pool.live:
        steps.append(
            Step(
                f"refresh thin pool {pool.full_name}, which an interrupted command left "
                + ("suspended" if pool.suspended else "without a table"),
                ("lvchange", "--yes", "--refresh", pool.full_name),
            )
        )
        state = f"{pool.attributes[:4]}a{pool.attributes[5:]}"
        after = replace(after, suspended=False, attributes=state, low_water_mark=loaded_mark(after, spec))
    return steps, lvm, after
