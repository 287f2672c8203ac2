# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From a volume group to a thin pool: what to do, and what the report will say then."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import Refused
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import KIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    Report,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_recovery import (
    clear_strays,
    drop_volume,
    mend_spare,
    spare_maker,
    unstick,
    with_spare,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import (
    Targets,
    check_room,
    loaded_mark,
    overdue_extension,
    targets,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import (
    DEFAULT_CHUNK_SIZE,
    METADATA_MINIMUM,
    Wish,
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
    after = with_spare(after, group, wanted.metadata)
    return after.with_group(replace(group, extents_free=group.extents_free - wanted.needed))


def _create(report: Report, wish: Wish, group: VolumeGroup) -> tuple[list[Step], Report]:
    cleared, report, group = clear_strays(
        report, group, targets(report, wish, group, 0, 0).metadata, wish.profile or ""
    )
    wanted = targets(report, wish, group, 0, 0)
    check_room(wish, group, wanted)
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
    cleared, report, group = clear_strays(report, group, wished.metadata, wish.profile or "")
    steps += cleared
    wanted = targets(report, wish, group, data_now, metadata_now)
    # What is too small is grown once it is a pool; what is not there is made as it shall be.
    check_room(wish, group, wanted)
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
    check_room(wish, group, as_made)
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
    steps, report, group = mend_spare(report, group, pool)
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
        after = replace(after, active=True, low_water_mark=loaded_mark(after, wish), monitored=True)
    elif wish.active:
        more, report, after = unstick(report, pool, wish)
        steps += more
    if (wanted.data, wanted.metadata) != (data_now, metadata_now):
        if pool.check_needed or pool.health not in ("", "out_of_data"):
            raise Refused(
                f"thin pool {pool.full_name} is not well ({pool.health or 'its metadata needs a check'}) and cannot "
                "grow: see lvmthin(7), 'Metadata check and repair'"
            )
        check_room(wish, group, wanted)
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
        after = replace(after, low_water_mark=loaded_mark(after, wish))
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
    due, after = overdue_extension(after, wish, group, pool, free=group.extents_free - wanted.needed)
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
    return steps, with_spare(foretold, group, wanted.metadata if wanted.metadata > metadata_now else 0)


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
    maker = spare_maker(report, group.name)
    if maker:
        steps, report, group = drop_volume(report, maker)
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
