# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From a volume group to a thin pool: what to do, and what the report will say then."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import Refused
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import GIB, KIB, MIB, Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, lvm_state, volume_groups
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    Report,
    VolumeGroup,
)

# lib/config/defaults.h DEFAULT_THIN_POOL_{MIN,MAX}_CHUNK_SIZE; the kernel wants a multiple of 64 KiB
# (Documentation/admin-guide/device-mapper/thin-provisioning.rst).
CHUNK_MINIMUM, CHUNK_MAXIMUM, CHUNK_STEP = 64 * KIB, GIB, 64 * KIB
# defaults.h DEFAULT_THIN_POOL_MIN_METADATA_SIZE, and the largest that every LVM and kernel uses whole:
# libdevmapper.h DM_THIN_MAX_METADATA_SIZE, 15.81 GiB. LVM would silently use less than a larger wish.
METADATA_MINIMUM, METADATA_MAXIMUM = 2 * MIB, 255 * (1 << 14) * 4096 - 256 * KIB * 512

DEFAULT_METADATA_SIZE = "1%VG"
DEFAULT_CHUNK_SIZE = 512 * KIB

# The name of a small pool that is made for the spare that LVM makes along with it, and removed again.
SPARE_MAKER = "devicemapper.containers.spare"

# lib/metadata/metadata.c apply_lvname_restrictions(): LVM keeps these for the parts of its own volumes.
_RESERVED = re.compile(
    r"^(snapshot|pvmove)|_(cdata|cmeta|corig|cpool|iorig|imeta|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig|cvol)"
)


@dataclass(frozen=True)
class Wish:
    """A thin pool as it shall be; None leaves what is there, or takes the default of a new pool."""

    vg: str
    name: str
    size: Size | None = None
    metadata_size: Size | None = None
    metadata_name: str = ""
    chunk_size: int | None = None  # bytes
    zero: bool | None = None
    profile: str | None = None  # empty: none
    threshold: int = 100  # percent, the profile's
    percent: int = 20  # the profile's: how much is added when the threshold is passed
    when_full: str | None = None  # queue or error
    monitor: bool = True
    active: bool = True

    @property
    def full_name(self) -> str:
        return f"{self.vg}/{self.name}"

    @property
    def metadata_volume(self) -> str:
        return self.metadata_name or f"{self.name}meta"

    def check(self) -> None:
        """Refuse what LVM would refuse, or worse, would silently change."""
        volume_groups.check_name("volume group", self.vg)
        for kind, name in (("thin pool", self.name), ("pool metadata volume", self.metadata_volume)):
            volume_groups.check_name(kind, name)
            if _RESERVED.search(name):
                raise Refused(f"{name!r} is not a name for a {kind}: LVM keeps such names for parts of its own volumes")
        if self.metadata_volume == self.name:
            raise Refused(f"the metadata volume of {self.full_name} needs a name of its own, not {self.name!r}")
        if len(device_names.join(self.vg, self.name)) > 120:
            raise Refused(f"the names {self.vg!r} and {self.name!r} are too long together: the kernel allows 127 bytes")
        chunk = self.chunk_size
        if chunk is not None and (not CHUNK_MINIMUM <= chunk <= CHUNK_MAXIMUM or chunk % CHUNK_STEP):
            raise Refused(
                f"chunk_size of {self.full_name} must be a multiple of 64k from 64k to 1g, not {human(chunk)} "
                f"({chunk} bytes)"
            )
        size = self.size.bytes if self.size else None
        if size is not None and size < CHUNK_MINIMUM:
            raise Refused(
                f"size of {self.full_name} is {human(size)}, less than one chunk: is the unit missing, as in 10g?"
            )
        metadata = self.metadata_size.bytes if self.metadata_size else None
        if metadata is not None and not METADATA_MINIMUM <= metadata <= METADATA_MAXIMUM:
            raise Refused(
                f"metadata_size of {self.full_name} must be 2m to 15.8g, not {human(metadata)}: LVM would use "
                "another size without a word"
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

    @property
    def data_possible(self) -> bool:
        return self.data_needed <= self.free

    @property
    def metadata_possible(self) -> bool:
        return self.metadata_needed <= self.free


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
    )


def decide(
    report: Report, wish: Wish, *, state: str = "present", signatures: t.Mapping[str, str] | None = None
) -> tuple[list[Step], Report]:
    """Return the steps that make the pool what is wished (or remove it), and the report after them.

    ``signatures`` says what the plain volumes that would be converted hold, by their names.
    """
    wish.check()
    group = report.group(wish.vg)
    if state == "absent":
        return _remove(report, wish, group)
    if group is None:
        raise Refused(f"volume group {wish.vg} does not exist: make it first (module lvm_vg), or correct vg")
    obstacles = group.obstacles(report.system_id)
    if obstacles:
        raise Refused("\n".join(obstacles))
    data = report.volume(wish.vg, wish.name)
    if data is not None and data.is_pool:
        return _change(report, wish, group, data)
    if wish.size is None:
        raise Refused(f"thin pool {wish.full_name} does not exist: set size to create it")
    metadata = report.volume(wish.vg, wish.metadata_volume)
    if data is None and metadata is None:
        return _create(report, wish, group)
    return _convert(report, wish, group, data, metadata, signatures or {})


def convertible(report: Report, wish: Wish) -> list[LogicalVolume]:
    """Return the plain volumes that would be converted; what they hold must be looked at before decide()."""
    found = [report.volume(wish.vg, name) for name in (wish.name, wish.metadata_volume)]
    if found[0] is not None and found[0].is_pool:
        return []
    return [volume for volume in found if volume is not None and volume.live]


def targets(report: Report, wish: Wish, group: VolumeGroup, data_now: int, metadata_now: int) -> Targets:
    """Return the wished sizes in extents.

    A share of FREE is a share of what the pool has and could have, so that it means the same before and after
    the pool is made; LVM's spare, as large as the largest metadata of the group, is left room for.
    """
    extent_size = group.extent_size
    spare = report.spare(group.name)
    spare_now = spare.size // extent_size if spare else 0

    smallest = -(-METADATA_MINIMUM // extent_size)
    largest = METADATA_MAXIMUM // extent_size
    size = wish.metadata_size or (None if metadata_now else Size.parse(DEFAULT_METADATA_SIZE))
    metadata = metadata_now
    if size is not None:
        own = data_now + metadata_now + spare_now
        wished = size.extents(extent_size=extent_size, vg_extents=group.extents, free_extents=group.extents_free + own)
        # A share follows the group, so it is kept within what LVM can use; wish.check() refused bytes that are not.
        if largest == 0:
            raise Refused(
                f"volume group {group.name} has extents of {human(extent_size)}, larger than the metadata of a thin "
                "pool may be (15.8g): make it with smaller extents"
            )
        if size.is_share:
            wished = min(max(wished, smallest), largest)
        elif wished > largest:
            raise Refused(
                f"metadata_size of {wish.full_name} is {human(wished * extent_size)} in whole extents of "
                f"{human(extent_size)}, more than the 15.8g that LVM uses: lower it"
            )
        metadata = max(metadata_now, wished)
    spare_growth = max(0, metadata - spare_now)

    data = data_now
    if wish.size is not None:
        room = group.extents_free + data_now + metadata_now - metadata - spare_growth
        data = max(
            data_now, wish.size.extents(extent_size=extent_size, vg_extents=group.extents, free_extents=max(0, room))
        )
    grown = metadata - metadata_now
    return Targets(data, metadata, needed=(data - data_now) + grown + (spare_growth if grown else 0))


def _check_room(wish: Wish, group: VolumeGroup, wanted: Targets) -> None:
    if wanted.needed > group.extents_free:
        extent_size = group.extent_size
        what = f"{wish.size.text} ({wanted.data} extents)" if wish.size else f"{wanted.data} extents"
        raise Refused(
            f"thin pool {wish.full_name} cannot have {what} of data and {wanted.metadata} extents of metadata: that "
            f"takes {wanted.needed} more extents ({human(wanted.needed * extent_size)}), LVM's spare for metadata "
            f"repair included, and volume group {group.name} has {group.extents_free} free "
            f"({human(group.extents_free * extent_size)}). Lower size or metadata_size, or add a device to the group"
        )


def _describe(wish: Wish, group: VolumeGroup, wanted: Targets, chunk_size: int) -> str:
    words = [
        f"data {wanted.data} extents ({human(wanted.data * group.extent_size)})",
        f"metadata {wanted.metadata} extents ({human(wanted.metadata * group.extent_size)})",
        f"chunk size {human(chunk_size)}",
        f"zeroing {'on' if wish.zero else 'off'}",
    ]
    if wish.profile:
        words.append(f"profile {wish.profile}")
    return ", ".join(words)


def _new(wish: Wish, group: VolumeGroup, wanted: Targets, tags: tuple[str, ...]) -> LogicalVolume:
    """Return the pool as LVM will report it right after it was made."""
    chunk_size = wish.chunk_size or DEFAULT_CHUNK_SIZE
    size = wanted.data * group.extent_size
    return LogicalVolume(
        vg=wish.vg,
        name=wish.name,
        type="thin-pool",
        size=size,
        tags=tags,
        attributes="twi-a-tz--" if wish.zero else "twi-a-t---",
        active=True,
        profile=wish.profile or "",
        when_full=wish.when_full or "queue",
        data_volume=f"{wish.name}_tdata",
        metadata_volume=f"{wish.name}_tmeta",
        metadata_size=wanted.metadata * group.extent_size,
        data_percent=0.0,
        chunk_size=chunk_size,
        zero=bool(wish.zero),
        discards="passdown",
        monitored=wish.monitor,
        low_water_mark=lvm_state.low_water_mark(size, chunk_size, wish.threshold if wish.profile else 100),
    )


def _pool_options(wish: Wish) -> tuple[str, ...]:
    """Return the options that lvcreate and lvconvert share when they make a pool.

    The profile is given here and not afterwards, because the kernel learns the low water mark from the table that
    is loaded when the pool is made (seen: attached later, it stays 0 until a refresh).
    """
    options = ("--chunksize", f"{wish.chunk_size or DEFAULT_CHUNK_SIZE}b", "--zero", "y" if wish.zero else "n")
    return (*options, "--metadataprofile", wish.profile) if wish.profile else options


def _afterwards(wish: Wish) -> list[Step]:
    """Return the steps after a pool was made that only an unusual wish needs: a new pool is active and monitored."""
    steps = []
    if wish.when_full == "error":
        # Not given to lvconvert, which knows --errorwhenfull only since 2.03.12.
        steps.append(_when_full_step(wish))
    if not wish.monitor:
        steps.append(_monitor_step(wish))
    if not wish.active:
        steps.append(_active_step(wish))
    return steps


def _when_full_step(wish: Wish) -> Step:
    return Step(
        f"make thin pool {wish.full_name} {wish.when_full} writes when it is full",
        ("lvchange", "--yes", "--errorwhenfull", "y" if wish.when_full == "error" else "n", wish.full_name),
    )


def _monitor_step(wish: Wish) -> Step:
    return Step(
        f"{'monitor' if wish.monitor else 'no longer monitor'} thin pool {wish.full_name}",
        ("lvchange", "--yes", "--monitor", "y" if wish.monitor else "n", wish.full_name),
    )


def _active_step(wish: Wish) -> Step:
    return Step(
        f"{'activate' if wish.active else 'deactivate'} thin pool {wish.full_name}",
        ("lvchange", "--yes", "--activate", "y" if wish.active else "n", wish.full_name),
    )


def _made(report: Report, wish: Wish, group: VolumeGroup, wanted: Targets, pool: LogicalVolume) -> Report:
    """Return the report with the new pool in it, its spare and the extents they took."""
    if wish.when_full == "error":
        pool = replace(pool, when_full="error")
    if not wish.active:
        pool = replace(pool, active=False, low_water_mark=None, monitored=False, data_percent=None)
    after = report.without(volume=(wish.vg, wish.metadata_volume)).with_volume(pool)
    after = _with_spare(after, group, wanted.metadata)
    return after.with_group(replace(group, extents_free=group.extents_free - wanted.needed))


def _with_spare(report: Report, group: VolumeGroup, metadata: int) -> Report:
    """Return the report with LVM's spare as large as so many extents of metadata; it never shrinks."""
    spare = report.spare(group.name)
    size = metadata * group.extent_size
    if size <= (spare.size if spare else 0):
        return report
    named = spare or LogicalVolume(vg=group.name, name="lvol0_pmspare", type="linear", size=0, hidden=True)
    return report.with_volume(replace(named, size=size))


def _stray(report: Report, group: VolumeGroup, metadata: int, profile: str) -> LogicalVolume | None:
    """Return a spare whose making was interrupted.

    lvcreate and lvconvert make the spare as a visible volume lvolN and hide it when they commit (lib/metadata/
    pool_manip.c handle_pool_metadata_spare()); killed in between, it stays (seen). It is known by that name, the size
    of the metadata, and the pool's profile, which LVM gives the spare too (seen).
    """
    left = ("linear", metadata * group.extent_size, profile)
    for volume in report.volumes_of(group.name) if group.is_ours else ():
        is_left = (volume.type, volume.size, volume.profile) == left and not volume.open
        if is_left and re.fullmatch(r"lvol\d+", volume.name):
            if not profile:
                raise Refused(
                    f"{volume.full_name} is what an interrupted command leaves, or somebody's volume that has no name "
                    f"of its own. If it may go, run 'lvremove --yes {volume.full_name}'; else give it a name with "
                    f"'lvrename {group.name} {volume.name} NAME'"
                )
            return volume
    return None


def _drop(
    report: Report, volume: LogicalVolume, why: str = "left by an interrupted command"
) -> tuple[list[Step], Report, VolumeGroup]:
    """Return the step that removes a volume, and report and group after it."""
    group = t.cast(VolumeGroup, report.group(volume.vg))
    freed = (volume.size + volume.metadata_size) // group.extent_size
    after = replace(group, extents_free=group.extents_free + freed)
    report = report.with_group(after).without(volume=(volume.vg, volume.name))
    for part in (volume.data_volume, volume.metadata_volume):
        report = report.without(volume=(volume.vg, part))
    step = Step(f"remove {volume.full_name}, {why}", ("lvremove", "--yes", volume.full_name))
    return [step], report, after


def _clear(report: Report, group: VolumeGroup, metadata: int, profile: str) -> tuple[list[Step], Report, VolumeGroup]:
    """Return the steps that remove what was left before there was a pool, and report and group after them."""
    stray = None if report.spare(group.name) else _stray(report, group, metadata, profile)
    return _drop(report, stray) if stray else ([], report, group)


def _spare_maker(report: Report, group: str) -> LogicalVolume | None:
    maker = report.volume(group, SPARE_MAKER)
    return maker if maker and OWNER_TAG in maker.tags and not maker.open else None


def _mend_spare(report: Report, group: VolumeGroup, pool: LogicalVolume) -> tuple[list[Step], Report, VolumeGroup]:
    """Return the steps that give a pool of ours the spare that it lacks, and report and group after them.

    An interrupted lvconvert leaves it as a visible volume, and no command hides that, or makes a spare alone (tried).
    LVM makes one along with any pool, as large as that pool's metadata (seen), and keeps it until the last pool goes.
    So a second pool is made for a moment. A spare that is missing is reason enough, so that a run which is interrupted
    after the visible volume was removed is finished as well.
    """
    maker, spare = _spare_maker(report, group.name), report.spare(group.name)
    if not group.is_ours or (spare and not maker):
        return [], report, group
    steps: list[Step] = []
    stray = None if spare else _stray(report, group, pool.metadata_size // group.extent_size, pool.profile)
    for left in (stray, maker):
        if left:
            more, report, group = _drop(report, left)
            steps += more
    data = -(-CHUNK_MINIMUM // group.extent_size) * group.extent_size
    maker = LogicalVolume(
        vg=group.name, name=SPARE_MAKER, type="thin-pool", size=data, metadata_size=pool.metadata_size
    )
    if spare or (data + 2 * pool.metadata_size) // group.extent_size > group.extents_free:
        return steps, report, group
    command = (
        *("lvcreate", "--yes", "--type", "thin-pool", "--name", SPARE_MAKER),
        *("--extents", str(data // group.extent_size), "--poolmetadatasize", f"{pool.metadata_size}b"),
        *("--poolmetadataspare", "y", "--activate", "n", "--chunksize", f"{CHUNK_MINIMUM}b"),
        *(("--metadataprofile", pool.profile) if pool.profile else ()),
        *("--addtag", OWNER_TAG, group.name),
    )
    steps.append(Step(f"make the missing spare for metadata repair, along with {maker.full_name}", command))
    taken = (data + 2 * pool.metadata_size) // group.extent_size
    report = _with_spare(report, group, pool.metadata_size // group.extent_size)
    report = report.with_group(replace(group, extents_free=group.extents_free - taken))
    more, report, group = _drop(report, maker, "which has done its work")
    return steps + more, report, group


def _create(report: Report, wish: Wish, group: VolumeGroup) -> tuple[list[Step], Report]:
    cleared, report, group = _clear(report, group, targets(report, wish, group, 0, 0).metadata, wish.profile or "")
    wanted = targets(report, wish, group, 0, 0)
    _check_room(wish, group, wanted)
    chunk_size = wish.chunk_size or DEFAULT_CHUNK_SIZE
    if wanted.data * group.extent_size < chunk_size:
        raise Refused(f"thin pool {wish.full_name} would be smaller than one chunk of {human(chunk_size)}: raise size")
    command = (
        *("lvcreate", "--yes", "--type", "thin-pool", "--name", wish.name, "--extents", str(wanted.data)),
        *("--poolmetadatasize", f"{wanted.metadata * group.extent_size}b", "--poolmetadataspare", "y"),
        *_pool_options(wish),
        *("--addtag", OWNER_TAG, wish.vg),
    )
    step = Step(f"create thin pool {wish.full_name}: {_describe(wish, group, wanted, chunk_size)}", command)
    pool = _new(wish, group, wanted, (OWNER_TAG,))
    return [*cleared, step, *_afterwards(wish)], _made(report, wish, group, wanted, pool)


def _convert(
    report: Report,
    wish: Wish,
    group: VolumeGroup,
    data: LogicalVolume | None,
    metadata: LogicalVolume | None,
    signatures: t.Mapping[str, str],
) -> tuple[list[Step], Report]:
    """Return the steps from the manual's plain volumes, one of them perhaps still missing, to a pool."""
    for volume in (data, metadata):
        if volume is not None:
            _check_convertible(volume, signatures.get(volume.name, ""))
    # An interrupted lvconvert leaves both inactive (seen).
    inactive = [volume.full_name for volume in (data, metadata) if volume and not volume.active]
    if inactive:
        raise Refused(
            f"{' and '.join(inactive)} {'is' if len(inactive) == 1 else 'are'} not active, so what they hold cannot be "
            f"looked at: run 'lvchange -ay {' '.join(inactive)}'"
        )
    # An interrupted lvcreate leaves one without a table in use (seen).
    stuck = [volume for volume in (data, metadata) if volume and not volume.live]
    if stuck:
        names = [volume.full_name for volume in stuck]
        raise Refused(
            f"{' and '.join(names)} {'is' if len(stuck) == 1 else 'are'} active but cannot be read, as an interrupted "
            "command leaves it: see that no LVM command runs, then run 'dmsetup clear "
            f"{' '.join(volume.dm_name for volume in stuck)} && lvchange --refresh {' '.join(names)}'"
        )
    steps = []
    extent_size = group.extent_size
    data_now = data.size // extent_size if data else 0
    metadata_now = metadata.size // extent_size if metadata else 0
    wished = targets(report, wish, group, data_now, metadata_now)
    cleared, report, group = _clear(report, group, wished.metadata, wish.profile or "")
    steps += cleared
    wanted = targets(report, wish, group, data_now, metadata_now)
    # What is too small is grown once it is a pool; what is not there is made as it shall be.
    _check_room(wish, group, wanted)
    lone = data if metadata is None else metadata if data is None else None
    if lone is not None:
        # One volume alone is the manual's first step, or what an interrupted run left, only if its size says so.
        freed = replace(group, extents_free=group.extents_free + lone.size // extent_size)
        without = report.without(volume=(wish.vg, lone.name)).with_group(freed)
        fresh = targets(without, wish, freed, 0, 0)
        ours = group.is_ours or OWNER_TAG in lone.tags
        if lone is data and ours and data_now == fresh.metadata != fresh.data:
            # lvcreate makes the metadata first, under the pool's own name, and renames it when it makes the pool
            # (lib/metadata/pool_manip.c create_pool()): this is a pool whose making was interrupted.
            steps.append(
                Step(f"remove {lone.full_name}, left by an interrupted lvcreate", ("lvremove", "--yes", lone.full_name))
            )
            more, after = _create(without, wish, freed)
            return steps + more, after
        if lone.size // extent_size != (fresh.data if lone is data else fresh.metadata):
            raise Refused(
                f"{lone.full_name} is a plain volume of {human(lone.size)}, and not of the size that a first step "
                "towards this pool would have: it may be somebody's data, and is neither converted nor removed. If "
                f"it may go, run 'lvremove {lone.full_name}'; else choose another name for the pool"
            )
    if metadata_now and metadata_now * extent_size < METADATA_MINIMUM:
        raise Refused(
            f"{wish.vg}/{wish.metadata_volume} has {human(metadata_now * extent_size)}, too little for a pool's "
            f"metadata (2 MiB): run 'lvextend -L 2m {wish.vg}/{wish.metadata_volume}'"
        )
    for name, volume, extents in ((wish.name, data, wanted.data), (wish.metadata_volume, metadata, wanted.metadata)):
        if volume is None:
            steps.append(
                Step(
                    f"create volume {wish.vg}/{name} of {extents} extents ({human(extents * extent_size)})",
                    ("lvcreate", "--yes", "--wipesignatures", "y", "--name", name, "--extents", str(extents), wish.vg),
                )
            )
    made_data, made_metadata = data_now or wanted.data, metadata_now or wanted.metadata
    spare = report.spare(group.name)
    spare_growth = max(0, made_metadata - (spare.size // extent_size if spare else 0))
    as_made = Targets(made_data, made_metadata, made_data - data_now + made_metadata - metadata_now + spare_growth)
    _check_room(wish, group, as_made)
    steps.append(
        Step(
            f"convert {wish.full_name} and {wish.vg}/{wish.metadata_volume} to a thin pool: "
            + _describe(wish, group, as_made, wish.chunk_size or DEFAULT_CHUNK_SIZE),
            (
                *("lvconvert", "--yes", "--type", "thin-pool", "--poolmetadata", f"{wish.vg}/{wish.metadata_volume}"),
                *_pool_options(wish),
                wish.full_name,
            ),
        )
    )
    steps += _afterwards(wish)
    pool = _new(wish, group, as_made, data.tags if data else ())
    after = _made(report, wish, group, as_made, pool)
    more, after = _change(
        after, wish, t.cast(VolumeGroup, after.group(wish.vg)), t.cast(LogicalVolume, after.volume(wish.vg, wish.name))
    )
    return steps + more, after


def _check_convertible(volume: LogicalVolume, signature: str) -> None:
    if volume.type not in ("linear", "striped"):
        raise Refused(f"{volume.full_name} is a volume of type {volume.type}, not a plain one: choose another name")
    if volume.open:
        raise Refused(f"{volume.full_name} is in use (mounted, or held by another device): it is not converted")
    if signature:
        raise Refused(
            f"{volume.full_name} holds {signature}: converting it would destroy that. If it may go, run 'wipefs "
            f"--all /dev/{volume.full_name}' and run this again, or choose another name"
        )


def _change(report: Report, wish: Wish, group: VolumeGroup, pool: LogicalVolume) -> tuple[list[Step], Report]:
    """Return the steps that bring an existing pool to the wish; it never shrinks."""
    if wish.chunk_size is not None and pool.chunk_size != wish.chunk_size:
        raise Refused(
            f"thin pool {pool.full_name} has chunks of {human(pool.chunk_size)}, and the chunk size of a pool cannot "
            f"be changed to {human(wish.chunk_size)}: set chunk_size to {pool.chunk_size // KIB}k, or make a new pool"
        )
    extent_size = group.extent_size
    data_now, metadata_now = pool.size // extent_size, pool.metadata_size // extent_size
    steps, report, group = _mend_spare(report, group, pool)
    wanted = targets(report, wish, group, data_now, metadata_now)
    after = pool
    if pool.active != wish.active and wish.active:
        for part in (report.volume(pool.vg, pool.metadata_volume), report.volume(pool.vg, pool.data_volume)):
            if part and part.active:
                # LVM does not activate a pool over a part that is active by itself (seen after lvconvert was killed).
                steps.append(
                    Step(
                        f"deactivate {part.full_name}, left active by an interrupted command",
                        ("lvchange", "--yes", "--activate", "n", part.full_name),
                    )
                )
                report = report.with_volume(replace(part, active=False))
        steps.append(_active_step(wish))
        # Activating loads the table anew and begins to monitor (lvm.conf, activation/monitoring).
        after = replace(after, active=True, low_water_mark=_mark(after, wish), monitored=True)
    elif wish.active:
        more, report, after = _unstick(report, pool, wish)
        steps += more
    if (wanted.data, wanted.metadata) != (data_now, metadata_now):
        if pool.check_needed or pool.health not in ("", "out_of_data"):
            raise Refused(
                f"thin pool {pool.full_name} is not well ({pool.health or 'its metadata needs a check'}) and cannot "
                "grow: see lvmthin(7), 'Metadata check and repair'"
            )
        _check_room(wish, group, wanted)
    # Metadata first, as LVM's own policy does: a pool that is out of both can only grow once it can write metadata.
    if wanted.metadata > metadata_now:
        growth = wanted.metadata - metadata_now
        steps.append(
            Step(
                f"grow metadata of thin pool {pool.full_name} from {metadata_now} to {wanted.metadata} extents "
                f"({human(wanted.metadata * extent_size)})",
                ("lvextend", "--yes", "--poolmetadatasize", f"+{growth * extent_size}b", pool.full_name),
            )
        )
        after = replace(after, metadata_size=wanted.metadata * extent_size)
    if wanted.data > data_now:
        steps.append(
            Step(
                f"grow data of thin pool {pool.full_name} from {data_now} to {wanted.data} extents "
                f"({human(wanted.data * extent_size)})",
                ("lvextend", "--yes", "--extents", str(wanted.data), pool.full_name),
            )
        )
        after = replace(after, size=wanted.data * extent_size)
    if after.active and (after.size, after.metadata_size) != (pool.size, pool.metadata_size):
        # Growing loads a new table, with the mark of the profile attached so far.
        after = replace(after, low_water_mark=_mark(after, wish))
    if wish.zero is not None and pool.zero != wish.zero:
        steps.append(
            Step(
                f"switch zeroing of thin pool {pool.full_name} {'on' if wish.zero else 'off'}",
                ("lvchange", "--yes", "--zero", "y" if wish.zero else "n", pool.full_name),
            )
        )
        after = replace(after, zero=wish.zero)
    if wish.when_full is not None and pool.when_full and pool.when_full != wish.when_full:
        steps.append(_when_full_step(wish))
        after = replace(after, when_full=wish.when_full)
    if wish.profile is not None and pool.profile != wish.profile:
        steps.append(_profile_step(wish))
        after = replace(after, profile=wish.profile)
    mark = lvm_state.low_water_mark(after.size, after.chunk_size, wish.threshold if after.profile else 100)
    if wish.profile and after.active and wish.active and after.low_water_mark != mark:
        steps.append(
            Step(
                f"refresh thin pool {pool.full_name}, so that the kernel's low water mark is {mark} chunks",
                ("lvchange", "--yes", "--refresh", pool.full_name),
            )
        )
        after = replace(after, low_water_mark=mark)
    if after.active and wish.active and after.monitored != wish.monitor:
        steps.append(_monitor_step(wish))
        after = replace(after, monitored=wish.monitor)
    due, after = _overdue(after, wish, group, pool, free=group.extents_free - wanted.needed)
    steps += due
    if pool.active and not wish.active:
        if pool.open:
            raise Refused(f"thin pool {pool.full_name} is in use: stop Docker or containerd before it is deactivated")
        steps.append(_active_step(wish))
        after = replace(after, active=False, low_water_mark=None, monitored=False)
    if not steps:
        return [], report
    taken = wanted.needed + max(0, after.size // extent_size - wanted.data)
    foretold = report.with_volume(after).with_group(replace(group, extents_free=group.extents_free - taken))
    return steps, _with_spare(foretold, group, wanted.metadata if wanted.metadata > metadata_now else 0)


def _unstick(report: Report, pool: LogicalVolume, wish: Wish) -> tuple[list[Step], Report, LogicalVolume]:
    """Return the steps that bring an active pool back into use as LVM has it, and report and pool after them.

    No LVM command is at it: that would have held the group's lock until the report was made.
    """
    steps = []
    after = pool
    parts = [report.volume(pool.vg, name) for name in (pool.name, pool.data_volume, pool.metadata_volume)]
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
            report = report.with_volume(replace(part, inactive_table=False))
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
        after = replace(after, suspended=False, attributes=state, low_water_mark=_mark(after, wish))
    return steps, report, after


def _overdue(
    after: LogicalVolume, wish: Wish, group: VolumeGroup, now: LogicalVolume, free: int
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
    if not after.profile or wish.threshold >= 100 or not wish.active or used / extents * 100 <= wish.threshold:
        return [], after
    # By the policy's percentage, or by what brings it below the threshold (lib/metadata/lv_manip.c, _adjust_amount()).
    growth = max(-(-extents * wish.percent // 100), int(used * 100 / wish.threshold) + 1 - extents)
    if growth > free:
        return [], after
    step = Step(
        f"extend thin pool {now.full_name} by its profile now: {used / extents * 100:.2f} percent of it are in use",
        ("lvextend", "--yes", "--use-policies", now.full_name),
    )
    extents += growth
    after = replace(after, size=extents * group.extent_size, data_percent=used / extents * 100)
    return [step], replace(after, low_water_mark=_mark(after, wish))


def _mark(pool: LogicalVolume, wish: Wish) -> int:
    """Return the mark that a table loaded now gets: that of the attached profile, whose threshold the wish knows."""
    known = pool.profile and wish.profile in (None, pool.profile)
    return lvm_state.low_water_mark(pool.size, pool.chunk_size, wish.threshold if known else 100)


def _profile_step(wish: Wish) -> Step:
    if wish.profile:
        return Step(
            f"attach profile {wish.profile} to thin pool {wish.full_name}",
            ("lvchange", "--yes", "--metadataprofile", wish.profile, wish.full_name),
        )
    return Step(
        f"detach the profile of thin pool {wish.full_name}", ("lvchange", "--yes", "--detachprofile", wish.full_name)
    )


def _remove(report: Report, wish: Wish, group: VolumeGroup | None) -> tuple[list[Step], Report]:
    pool = report.volume(wish.vg, wish.name)
    if group is None:
        return [], report
    steps: list[Step] = []
    maker = _spare_maker(report, group.name)
    if maker:
        steps, report, group = _drop(report, maker)
    if pool is None:
        return steps, report
    if not pool.is_pool:
        raise Refused(
            f"{pool.full_name} is a volume of type {pool.type}, not a thin pool, and is not removed here: see "
            f"'lvremove {pool.full_name}'"
        )
    if not (group.is_ours or OWNER_TAG in pool.tags):
        raise Refused(
            f"{pool.full_name} was not made by this collection (neither it nor its group has the tag {OWNER_TAG}) "
            f"and is not removed; if it may go, say so with 'lvchange --addtag {OWNER_TAG} {pool.full_name}'"
        )
    if pool.open:
        raise Refused(f"{pool.full_name} is in use: stop Docker or containerd first, and see 'dmsetup ls --tree'")
    inside = [volume.name for volume in report.volumes_of(wish.vg) if volume.pool == wish.name]
    if inside:
        raise Refused(
            f"thin pool {pool.full_name} holds LVM thin volumes, which this collection never makes: "
            f"{', '.join(inside)}. Remove them first if they may go"
        )
    freed = pool.size + pool.metadata_size
    after = report.without(volume=(wish.vg, wish.name))
    for part in (pool.data_volume, pool.metadata_volume):
        after = after.without(volume=(wish.vg, part))
    spare = after.spare(group.name)
    if spare and not any(volume.is_pool for volume in after.volumes_of(group.name)):  # it goes with the last pool
        freed += spare.size
        after = after.without(volume=(group.name, spare.name))
    after = after.with_group(replace(group, extents_free=group.extents_free + freed // group.extent_size))
    steps.append(Step(f"remove thin pool {pool.full_name}", ("lvremove", "--yes", pool.full_name)))
    return steps, after
