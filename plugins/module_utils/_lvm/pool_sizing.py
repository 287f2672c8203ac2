# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How large a thin pool's data and metadata become, and whether its next automatic extension can succeed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import (
    DEFAULT_METADATA_SIZE,
    METADATA_MAXIMUM,
    METADATA_MINIMUM,
    PoolSpec,
)


@dataclass(frozen=True)
class Targets:
    """What a pool's parts shall have, in extents; never less than they have."""

    data: int
    metadata: int
    needed: int  # free extents that getting there takes, LVM's spare included


@dataclass(frozen=True)
class AutoExtension:
    """What the next automatic extension of a pool takes, in extents, and whether the group has it."""

    data_needed: int
    metadata_needed: int
    free: int
    extent_size: int  # bytes
    metadata_growth: int = 0  # of what the metadata needs, without its spare
    data_refusal: str = ""  # LVM's word, where it was asked and would not
    metadata_refusal: str = ""
    spare_is_left: bool = False  # whether LVM extends the metadata without its spare, which has no room

    @property
    def data_possible(self) -> bool:
        return self.data_needed <= self.free and not self.data_refusal

    @property
    def metadata_possible(self) -> bool:
        return (self.metadata_needed <= self.free or self.spare_is_left) and not self.metadata_refusal


def auto_extension(group: VolumeGroup, pool: LogicalVolume, spare: LogicalVolume | None, percent: int) -> AutoExtension:
    """Return what extending the pool by its profile's percentage takes.

    lvextend --use-policies takes all or nothing and rounds up (lib/metadata/lv_manip.c
    _lvresize_extents_from_percent()); metadata gets one percent more since 2.03.16, and from 2.03.17 on its
    spare grows with it, so both are counted.
    """
    metadata = pool.metadata_size // group.extent_size
    metadata_growth = -(-metadata * (percent + 1) // 100)
    spare_now = spare.size // group.extent_size if spare else 0
    return AutoExtension(
        data_needed=-(-(pool.size // group.extent_size) * percent // 100),
        metadata_needed=metadata_growth + max(0, metadata + metadata_growth - spare_now),
        free=group.extents_free,
        extent_size=group.extent_size,
        metadata_growth=metadata_growth,
    )


def figures_suffice(lvm: LvmState, group: VolumeGroup, pool: LogicalVolume) -> bool:
    """Whether so many free extents are so many that LVM can give the pool: else it is to be asked.

    They are where the group has the usual policy, every device may be allocated from and has its size, and the pool's
    parts are linear, with the group's policy (lvs(8), lv_attr, allocation policy: i).
    """
    parts = [lvm.volume(group.name, name) for name in (pool.data_volume, pool.metadata_volume)]
    return (
        is_plain(lvm, group)
        and all(part is None or (part.is_linear and part.attributes[2:3] == "i") for part in parts)
        and pool.attributes[2:3] == "i"
    )


def is_plain(lvm: LvmState, group: VolumeGroup) -> bool:
    """Whether all free extents of a group are of use to any new volume."""
    usable = all(device.allocatable and not device.has_shrunk for device in lvm.devices_of(group.name))
    return group.attributes[4:5] == "n" and usable


def targets(lvm: LvmState, spec: PoolSpec, group: VolumeGroup, data_now: int, metadata_now: int) -> Targets:
    """Return the wished sizes in extents.

    A share of FREE is a share of what the pool has and could have, so that it means the same before and after
    the pool is made; LVM's spare, as large as the largest metadata of the group, is left room for.
    """
    extent_size = group.extent_size
    spare = lvm.spare(group.name)
    spare_now = spare.size // extent_size if spare else 0

    smallest = -(-METADATA_MINIMUM // extent_size)
    largest = METADATA_MAXIMUM // extent_size
    size = spec.metadata_size or (None if metadata_now else Size.parse(DEFAULT_METADATA_SIZE))
    metadata = metadata_now
    if size is not None:
        own = data_now + metadata_now + spare_now
        wished = size.extents(extent_size=extent_size, vg_extents=group.extents, free_extents=group.extents_free + own)
        # A share follows the group, so it is kept within what LVM can use; PoolSpec.check() refused bytes that are not.
        if largest == 0:
            raise RefusedError(
                f"volume group {group.name} has extents of {human(extent_size)}, larger than the metadata of a thin "
                "pool may be (15.8g): make it with smaller extents"
            )
        if size.is_share:
            wished = min(max(wished, smallest), largest)
        elif wished > largest:
            raise RefusedError(
                f"metadata_size of {spec.full_name} is {human(wished * extent_size)} in whole extents of "
                f"{human(extent_size)}, more than the 15.8g that LVM uses: lower it"
            )
        metadata = max(metadata_now, wished)
    spare_growth = max(0, metadata - spare_now)

    data = data_now
    if spec.size is not None:
        room = group.extents_free + data_now + metadata_now - metadata - spare_growth
        data = max(
            data_now, spec.size.extents(extent_size=extent_size, vg_extents=group.extents, free_extents=max(0, room))
        )
    grown = metadata - metadata_now
    return Targets(data, metadata, needed=(data - data_now) + grown + (spare_growth if grown else 0))


def check_room(spec: PoolSpec, group: VolumeGroup, wanted: Targets) -> None:
    if wanted.needed > group.extents_free:
        extent_size = group.extent_size
        what = f"{spec.size.text} ({wanted.data} extents)" if spec.size else f"{wanted.data} extents"
        raise RefusedError(
            f"thin pool {spec.full_name} cannot have {what} of data and {wanted.metadata} extents of metadata: that "
            f"takes {wanted.needed} more extents ({human(wanted.needed * extent_size)}), LVM's spare for metadata "
            f"repair included, and volume group {group.name} has {group.extents_free} free "
            f"({human(group.extents_free * extent_size)}). Lower size or metadata_size, or add a device to the group"
        )


def overdue_extension(
    after: LogicalVolume, spec: PoolSpec, group: VolumeGroup, now: LogicalVolume, free: int
) -> tuple[list[Step], LogicalVolume]:
    """Return the step for an automatic extension that should have been, if there is room for it now.

    dmeventd tries again at growing intervals of up to 42 minutes after it failed, and a larger group alone does not
    make it try (dmeventd_thin.c, MAX_FAILS; seen). A pool that the steps before make large enough needs none.
    """
    if now.data_percent is None:
        return [], after
    extents = after.size // group.extent_size
    used = now.data_percent / 100 * now.size / group.extent_size
    after = replace(after, data_percent=used / extents * 100)
    if not after.profile or spec.threshold >= 100 or not spec.active or used / extents * 100 <= spec.threshold:
        return [], after
    # By the policy's percentage, or by what brings it below the threshold (lib/metadata/lv_manip.c, _adjust_amount()).
    growth = max(-(-extents * spec.percent // 100), int(used * 100 / spec.threshold) + 1 - extents)
    if growth > free or not spec.can_extend:
        return [], after
    step = Step(
        f"extend thin pool {now.full_name} by its profile now: {used / extents * 100:.2f} percent of it are in use",
        ("lvextend", "--yes", "--use-policies", now.full_name),
    )
    extents += growth
    after = replace(after, size=extents * group.extent_size, data_percent=used / extents * 100)
    return [step], replace(after, low_water_mark=loaded_mark(after, spec))


def loaded_mark(pool: LogicalVolume, spec: PoolSpec) -> int:
    """Return the mark that a table loaded now gets: that of the attached profile, whose threshold the spec knows."""
    known = pool.profile and spec.profile in (None, pool.profile)
    return pool_status.low_water_mark(pool.size, pool.chunk_size, spec.threshold if known else 100)
