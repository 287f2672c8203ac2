# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""From a volume group to a thin pool: what to do, and what LVM's state will be then."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import KIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import obstacles, pool_reserve, pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_recovery import (
    clear_strays,
    mend_spare,
    unstick,
    with_spare,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import (
    Targets,
    check_room,
    figures_suffice,
    is_plain,
    loaded_mark,
    overdue_extension,
    targets,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import (
    DEFAULT_CHUNK_SIZE,
    METADATA_MINIMUM,
    PoolSpec,
)


def decide(
    lvm: LvmState, spec: PoolSpec, *, state: str = "present", signatures: t.Mapping[str, str] | None = None
) -> tuple[list[Step], LvmState]:
    """Return the steps that make the pool what is wished (or remove it), and the state after them.

    ``signatures`` says what the plain volumes that would be converted hold, by their names.
    """
    spec.check()
    group = lvm.group(spec.vg)
    if state == "absent":
        return _remove(lvm, spec, group)
    if group is None:
        raise RefusedError(f"volume group {spec.vg} does not exist: make it first (module lvm_vg), or correct vg")
    in_the_way = obstacles.of_group(lvm, group)
    if in_the_way:
        raise RefusedErrors(obstacle.message for obstacle in in_the_way)
    if spec.monitor and spec.active and not spec.can_monitor:
        raise RefusedError(
            f"thin pool {spec.full_name} cannot be monitored, and so is never extended: lvm.conf has "
            "activation/monitoring=0, with which LVM's commands monitor nothing and say that they succeeded. Set it "
            "to 1, or set monitor to false"
        )
    data = lvm.volume(spec.vg, spec.name)
    if data is not None and data.is_pool:
        _check_nobody_elses(lvm, data)
        return _change(lvm, spec, group, data)
    if spec.size is None:
        raise RefusedError(f"thin pool {spec.full_name} does not exist: set size to create it")
    metadata = lvm.volume(spec.vg, spec.metadata_volume)
    if data is None and metadata is None:
        return _create(lvm, spec, group)
    return _convert(lvm, spec, group, data, metadata, signatures or {})


def _check_nobody_elses(lvm: LvmState, pool: LogicalVolume) -> None:
    """Refuse a pool that LVM itself has made thin volumes in: no engine starts on it, and its devices are somebody's.

    Docker and containerd tell the kernel a transaction id of their own, and LVM's stays 0 (seen).
    """
    inside = [volume.name for volume in lvm.volumes_of(pool.vg) if volume.pool == pool.name]
    if inside:
        raise RefusedError(
            f"thin pool {pool.full_name} holds LVM thin volumes ({', '.join(sorted(inside))}): it is somebody's, and "
            "neither Docker nor containerd can share it with them. Choose another name for the pool"
        )
    if pool.transaction_id > 0:
        raise RefusedError(
            f"thin pool {pool.full_name} has the transaction id {pool.transaction_id} in LVM, so LVM thin volumes were "
            "made in it, and neither Docker nor containerd can use it. Choose another name for the pool, or remove it "
            f"('lvremove {pool.full_name}') if it is not needed"
        )


def convertible(lvm: LvmState, spec: PoolSpec) -> list[LogicalVolume]:
    """Return the plain volumes that would be converted; what they hold must be looked at before decide()."""
    found = [lvm.volume(spec.vg, name) for name in (spec.name, spec.metadata_volume)]
    if found[0] is not None and found[0].is_pool:
        return []
    return [volume for volume in found if volume is not None and volume.live]


def _describe(spec: PoolSpec, group: VolumeGroup, wanted: Targets, chunk_size: int) -> str:
    words = [
        f"data {wanted.data} extents ({human(wanted.data * group.extent_size)})",
        f"metadata {wanted.metadata} extents ({human(wanted.metadata * group.extent_size)})",
        f"chunk size {human(chunk_size)}",
        f"zeroing {'on' if spec.zero else 'off'}",
    ]
    if spec.profile:
        words.append(f"profile {spec.profile}")
    return ", ".join(words)


def _new(spec: PoolSpec, group: VolumeGroup, wanted: Targets, tags: tuple[str, ...]) -> LogicalVolume:
    """Return the pool as LVM will report it right after it was made."""
    chunk_size = spec.chunk_size or DEFAULT_CHUNK_SIZE
    size = wanted.data * group.extent_size
    return LogicalVolume(
        vg=spec.vg,
        name=spec.name,
        type="thin-pool",
        size=size,
        tags=tags,
        attributes="twi-a-tz--" if spec.zero else "twi-a-t---",
        active=True,
        profile=spec.profile or "",
        when_full=spec.when_full or "queue",
        data_volume=f"{spec.name}_tdata",
        metadata_volume=f"{spec.name}_tmeta",
        metadata_size=wanted.metadata * group.extent_size,
        data_percent=0.0,
        chunk_size=chunk_size,
        zero=bool(spec.zero),
        discards="passdown",
        monitored=spec.monitor,
        low_water_mark=pool_status.low_water_mark(size, chunk_size, spec.threshold if spec.profile else 100),
    )


def _pool_options(spec: PoolSpec) -> tuple[str, ...]:
    """Return the options that lvcreate and lvconvert share when they make a pool.

    The profile is given here and not afterwards, because the kernel learns the low water mark from the table that
    is loaded when the pool is made (seen: attached later, it stays 0 until a refresh).
    """
    options = ("--chunksize", f"{spec.chunk_size or DEFAULT_CHUNK_SIZE}b", "--zero", "y" if spec.zero else "n")
    return (*options, "--metadataprofile", spec.profile) if spec.profile else options


def _afterwards(spec: PoolSpec) -> list[Step]:
    """Return the steps after a pool was made that only an unusual spec needs: a new pool is active and monitored."""
    steps = []
    if spec.when_full == "error":
        # Not given to lvconvert, which knows --errorwhenfull only since 2.03.12.
        steps.append(_when_full_step(spec))
    if not spec.monitor:
        steps.append(_monitor_step(spec))
    if not spec.active:
        steps.append(_active_step(spec))
    return steps


def _when_full_step(spec: PoolSpec) -> Step:
    return Step(
        f"make thin pool {spec.full_name} {spec.when_full} writes when it is full",
        ("lvchange", "--yes", "--errorwhenfull", "y" if spec.when_full == "error" else "n", spec.full_name),
    )


def _monitor_step(spec: PoolSpec) -> Step:
    return Step(
        f"{'monitor' if spec.monitor else 'no longer monitor'} thin pool {spec.full_name}",
        ("lvchange", "--yes", "--monitor", "y" if spec.monitor else "n", spec.full_name),
    )


def _active_step(spec: PoolSpec) -> Step:
    return Step(
        f"{'activate' if spec.active else 'deactivate'} thin pool {spec.full_name}",
        ("lvchange", "--yes", "--activate", "y" if spec.active else "n", spec.full_name),
    )


def _made(lvm: LvmState, spec: PoolSpec, group: VolumeGroup, wanted: Targets, pool: LogicalVolume) -> LvmState:
    """Return the state with the new pool in it, its spare and the extents they took."""
    if spec.when_full == "error":
        pool = replace(pool, when_full="error")
    if not spec.active:
        pool = replace(pool, active=False, low_water_mark=None, monitored=False, data_percent=None)
    after = lvm.without(volume=(spec.vg, spec.metadata_volume)).with_volume(pool)
    after = with_spare(after, group, wanted.metadata)
    return after.with_group(replace(group, extents_free=group.extents_free - wanted.needed))


def _create(lvm: LvmState, spec: PoolSpec, group: VolumeGroup) -> tuple[list[Step], LvmState]:
    cleared, lvm, group = clear_strays(lvm, group, targets(lvm, spec, group, 0, 0).metadata, spec.profile or "")
    wanted = targets(lvm, spec, group, 0, 0)
    check_room(spec, group, wanted)
    chunk_size = spec.chunk_size or DEFAULT_CHUNK_SIZE
    if wanted.data * group.extent_size < chunk_size:
        raise RefusedError(
            f"thin pool {spec.full_name} would be smaller than one chunk of {human(chunk_size)}: raise size"
        )
    # LVM is asked without the profile, which need not be there yet.
    command, asked = (
        (
            *("lvcreate", "--yes", "--type", "thin-pool", "--name", spec.name, "--extents", str(wanted.data)),
            *("--poolmetadatasize", f"{wanted.metadata * group.extent_size}b", "--poolmetadataspare", "y"),
            *_pool_options(options),
            *("--addtag", OWNER_TAG, spec.vg),
        )
        for options in (spec, replace(spec, profile=None))
    )
    step = Step(
        f"create thin pool {spec.full_name}: {_describe(spec, group, wanted, chunk_size)}",
        command,
        rehearsal=() if cleared or is_plain(lvm, group) else asked,
    )
    pool = _new(spec, group, wanted, (OWNER_TAG,))
    return [*cleared, step, *_afterwards(spec)], _made(lvm, spec, group, wanted, pool)


def _convert(
    lvm: LvmState,
    spec: PoolSpec,
    group: VolumeGroup,
    data: LogicalVolume | None,
    metadata: LogicalVolume | None,
    signatures: t.Mapping[str, str],
) -> tuple[list[Step], LvmState]:
    """Return the steps from the manual's plain volumes, one of them perhaps still missing, to a pool."""
    for volume in (data, metadata):
        if volume is not None:
            _check_convertible(volume, signatures.get(volume.name, ""))
    # An interrupted lvconvert leaves both inactive (seen).
    inactive = [volume.full_name for volume in (data, metadata) if volume and not volume.active]
    if inactive:
        raise RefusedError(
            f"{' and '.join(inactive)} {'is' if len(inactive) == 1 else 'are'} not active, so what they hold cannot be "
            f"looked at: run 'lvchange -ay {' '.join(inactive)}'"
        )
    # An interrupted lvcreate leaves one without a table in use (seen).
    stuck = [volume for volume in (data, metadata) if volume and not volume.live]
    if stuck:
        names = [volume.full_name for volume in stuck]
        raise RefusedError(
            f"{' and '.join(names)} {'is' if len(stuck) == 1 else 'are'} active but cannot be read, as an interrupted "
            "command leaves it: see that no LVM command runs, then run 'dmsetup clear "
            f"{' '.join(volume.dm_name for volume in stuck)} && lvchange --refresh {' '.join(names)}'"
        )
    steps = []
    extent_size = group.extent_size
    data_now = data.size // extent_size if data else 0
    metadata_now = metadata.size // extent_size if metadata else 0
    wished = targets(lvm, spec, group, data_now, metadata_now)
    cleared, lvm, group = clear_strays(lvm, group, wished.metadata, spec.profile or "")
    steps += cleared
    wanted = targets(lvm, spec, group, data_now, metadata_now)
    # What is too small is grown once it is a pool; what is not there is made as it shall be.
    check_room(spec, group, wanted)
    lone = data if metadata is None else metadata if data is None else None
    if lone is not None:
        # One volume alone is the manual's first step, or what an interrupted run left, only if its size says so.
        freed = replace(group, extents_free=group.extents_free + lone.size // extent_size)
        without = lvm.without(volume=(spec.vg, lone.name)).with_group(freed)
        fresh = targets(without, spec, freed, 0, 0)
        ours = group.is_ours or OWNER_TAG in lone.tags
        if lone is data and ours and data_now == fresh.metadata != fresh.data:
            # lvcreate makes the metadata first, under the pool's own name, and renames it when it makes the pool
            # (lib/metadata/pool_manip.c create_pool()): this is a pool whose making was interrupted.
            steps.append(
                Step(f"remove {lone.full_name}, left by an interrupted lvcreate", ("lvremove", "--yes", lone.full_name))
            )
            more, after = _create(without, spec, freed)
            return steps + more, after
        if lone.size // extent_size != (fresh.data if lone is data else fresh.metadata):
            raise RefusedError(
                f"{lone.full_name} is a plain volume of {human(lone.size)}, and not of the size that a first step "
                "towards this pool would have: it may be somebody's data, and is neither converted nor removed. If "
                f"it may go, run 'lvremove {lone.full_name}'; else choose another name for the pool"
            )
    if metadata_now and metadata_now * extent_size < METADATA_MINIMUM:
        raise RefusedError(
            f"{spec.vg}/{spec.metadata_volume} has {human(metadata_now * extent_size)}, too little for a pool's "
            f"metadata (2 MiB): run 'lvextend -L 2m {spec.vg}/{spec.metadata_volume}'"
        )
    for name, volume, extents in ((spec.name, data, wanted.data), (spec.metadata_volume, metadata, wanted.metadata)):
        if volume is None:
            steps.append(
                Step(
                    f"create volume {spec.vg}/{name} of {extents} extents ({human(extents * extent_size)})",
                    ("lvcreate", "--yes", "--wipesignatures", "y", "--name", name, "--extents", str(extents), spec.vg),
                )
            )
    made_data, made_metadata = data_now or wanted.data, metadata_now or wanted.metadata
    spare = lvm.spare(group.name)
    spare_growth = max(0, made_metadata - (spare.size // extent_size if spare else 0))
    as_made = Targets(made_data, made_metadata, made_data - data_now + made_metadata - metadata_now + spare_growth)
    check_room(spec, group, as_made)
    steps.append(
        Step(
            f"convert {spec.full_name} and {spec.vg}/{spec.metadata_volume} to a thin pool: "
            + _describe(spec, group, as_made, spec.chunk_size or DEFAULT_CHUNK_SIZE),
            (
                *("lvconvert", "--yes", "--type", "thin-pool", "--poolmetadata", f"{spec.vg}/{spec.metadata_volume}"),
                *_pool_options(spec),
                spec.full_name,
            ),
        )
    )
    steps += _afterwards(spec)
    pool = _new(spec, group, as_made, data.tags if data else ())
    after = _made(lvm, spec, group, as_made, pool)
    more, after = _change(
        after, spec, t.cast(VolumeGroup, after.group(spec.vg)), t.cast(LogicalVolume, after.volume(spec.vg, spec.name))
    )
    return steps + more, after


def _check_convertible(volume: LogicalVolume, signature: str) -> None:
    if volume.type not in ("linear", "striped"):
        raise RefusedError(
            f"{volume.full_name} is a volume of type {volume.type}, not a plain one: choose another name"
        )
    if volume.open:
        raise RefusedError(f"{volume.full_name} is in use (mounted, or held by another device): it is not converted")
    if signature:
        raise RefusedError(
            f"{volume.full_name} holds {signature}: converting it would destroy that. If it may go, run 'wipefs "
            f"--all /dev/{volume.full_name}' and run this again, or choose another name"
        )


def _change(lvm: LvmState, spec: PoolSpec, group: VolumeGroup, pool: LogicalVolume) -> tuple[list[Step], LvmState]:
    """Return the steps that bring an existing pool to the spec; it never shrinks."""
    if spec.chunk_size is not None and pool.chunk_size != spec.chunk_size:
        raise RefusedError(
            f"thin pool {pool.full_name} has chunks of {human(pool.chunk_size)}, and the chunk size of a pool cannot "
            f"be changed to {human(spec.chunk_size)}: set chunk_size to {pool.chunk_size // KIB}k, or make a new pool"
        )
    extent_size = group.extent_size
    data_now, metadata_now = pool.size // extent_size, pool.metadata_size // extent_size
    steps, lvm, group = mend_spare(lvm, group, pool)
    wanted = targets(lvm, spec, group, data_now, metadata_now)
    ask = not figures_suffice(lvm, group, pool)
    after = pool
    if pool.active != spec.active and spec.active:
        for part in (lvm.volume(pool.vg, pool.metadata_volume), lvm.volume(pool.vg, pool.data_volume)):
            if part and part.active:
                # LVM does not activate a pool over a part that is active by itself (seen after lvconvert was killed).
                steps.append(
                    Step(
                        f"deactivate {part.full_name}, left active by an interrupted command",
                        ("lvchange", "--yes", "--activate", "n", part.full_name),
                    )
                )
                lvm = lvm.with_volume(replace(part, active=False))
        if pool.skips_activation:
            raise RefusedError(
                f"thin pool {pool.full_name} is not active and has the activation skip flag, with which LVM's commands "
                f"leave it so and say that they succeeded: run 'lvchange --setactivationskip n {pool.full_name}' if it "
                "may be active"
            )
        steps.append(_active_step(spec))
        # Activating loads the table anew and begins to monitor (lvm.conf, activation/monitoring).
        after = replace(after, active=True, low_water_mark=loaded_mark(after, spec), monitored=True)
    elif spec.active:
        more, lvm, after = unstick(lvm, pool, spec)
        steps += more
    if (wanted.data, wanted.metadata) != (data_now, metadata_now):
        if pool.check_needed or pool.health not in ("", "out_of_data"):
            raise RefusedError(
                f"thin pool {pool.full_name} is not well ({pool.health or 'its metadata needs a check'}) and cannot "
                "grow: see lvmthin(7), 'Metadata check and repair'"
            )
        check_room(spec, group, wanted)
    # Metadata first, as LVM's own policy does: a pool that is out of both can only grow once it can write metadata.
    if wanted.metadata > metadata_now:
        growth = wanted.metadata - metadata_now
        steps.append(
            Step(
                f"grow metadata of thin pool {pool.full_name} from {metadata_now} to {wanted.metadata} extents "
                f"({human(wanted.metadata * extent_size)})",
                command := ("lvextend", "--yes", "--poolmetadatasize", f"+{growth * extent_size}b", pool.full_name),
                rehearsal=command if ask else (),
            )
        )
        after = replace(after, metadata_size=wanted.metadata * extent_size)
    if wanted.data > data_now:
        steps.append(
            Step(
                f"grow data of thin pool {pool.full_name} from {data_now} to {wanted.data} extents "
                f"({human(wanted.data * extent_size)})",
                command := ("lvextend", "--yes", "--extents", str(wanted.data), pool.full_name),
                rehearsal=command if ask else (),
            )
        )
        after = replace(after, size=wanted.data * extent_size)
    if after.active and (after.size, after.metadata_size) != (pool.size, pool.metadata_size):
        # Growing loads a new table, with the mark of the profile attached so far.
        after = replace(after, low_water_mark=loaded_mark(after, spec))
    if spec.zero is not None and pool.zero != spec.zero:
        steps.append(
            Step(
                f"switch zeroing of thin pool {pool.full_name} {'on' if spec.zero else 'off'}",
                ("lvchange", "--yes", "--zero", "y" if spec.zero else "n", pool.full_name),
            )
        )
        after = replace(after, zero=spec.zero)
    if spec.when_full is not None and pool.when_full and pool.when_full != spec.when_full:
        steps.append(_when_full_step(spec))
        after = replace(after, when_full=spec.when_full)
    if spec.profile is not None and pool.profile != spec.profile:
        steps.append(_profile_step(spec))
        after = replace(after, profile=spec.profile)
    mark = pool_status.low_water_mark(after.size, after.chunk_size, spec.threshold if after.profile else 100)
    if spec.profile and after.active and spec.active and after.low_water_mark != mark:
        steps.append(
            Step(
                f"refresh thin pool {pool.full_name}, so that the kernel's low water mark is {mark} chunks",
                ("lvchange", "--yes", "--refresh", pool.full_name),
            )
        )
        after = replace(after, low_water_mark=mark)
    if after.active and spec.active and after.monitored != spec.monitor:
        steps.append(_monitor_step(spec))
        after = replace(after, monitored=spec.monitor)
    due, after = overdue_extension(after, spec, group, pool, free=group.extents_free - wanted.needed)
    steps += due
    if pool.active and not spec.active:
        if pool.open:
            raise RefusedError(
                f"thin pool {pool.full_name} is in use: stop Docker or containerd before it is deactivated"
            )
        steps.append(_active_step(spec))
        after = replace(after, active=False, low_water_mark=None, monitored=False)
    if not steps:
        return [], lvm
    taken = wanted.needed + max(0, after.size // extent_size - wanted.data)
    planned = lvm.with_volume(after).with_group(replace(group, extents_free=group.extents_free - taken))
    return steps, with_spare(planned, group, wanted.metadata if wanted.metadata > metadata_now else 0)


def _profile_step(spec: PoolSpec) -> Step:
    if spec.profile:
        return Step(
            f"attach profile {spec.profile} to thin pool {spec.full_name}",
            ("lvchange", "--yes", "--metadataprofile", spec.profile, spec.full_name),
        )
    return Step(
        f"detach the profile of thin pool {spec.full_name}", ("lvchange", "--yes", "--detachprofile", spec.full_name)
    )


def _remove(lvm: LvmState, spec: PoolSpec, group: VolumeGroup | None) -> tuple[list[Step], LvmState]:
    pool = lvm.volume(spec.vg, spec.name)
    if group is None:
        return [], lvm
    steps, lvm, group = pool_reserve.drop_beside(lvm, group, spec.name)
    if pool is None:
        return steps, lvm
    if not pool.is_pool:
        raise RefusedError(
            f"{pool.full_name} is a volume of type {pool.type}, not a thin pool, and is not removed here: see "
            f"'lvremove {pool.full_name}'"
        )
    if not (group.is_ours or OWNER_TAG in pool.tags):
        raise RefusedError(
            f"{pool.full_name} was not made by this collection (neither it nor its group has the tag {OWNER_TAG}) "
            f"and is not removed; if it may go, say so with 'lvchange --addtag {OWNER_TAG} {pool.full_name}'"
        )
    if pool.open:
        raise RefusedError(f"{pool.full_name} is in use: stop Docker or containerd first, and see 'dmsetup ls --tree'")
    inside = [volume.name for volume in lvm.volumes_of(spec.vg) if volume.pool == spec.name]
    if inside:
        raise RefusedError(
            f"thin pool {pool.full_name} holds LVM thin volumes, which this collection never makes: "
            f"{', '.join(inside)}. Remove them first if they may go"
        )
    freed = pool.size + pool.metadata_size
    after = lvm.without(volume=(spec.vg, spec.name))
    for part in (pool.data_volume, pool.metadata_volume):
        after = after.without(volume=(spec.vg, part))
    spare = after.spare(group.name)
    if spare and not any(volume.is_pool for volume in after.volumes_of(group.name)):  # it goes with the last pool
        freed += spare.size
        after = after.without(volume=(group.name, spare.name))
    after = after.with_group(replace(group, extents_free=group.extents_free + freed // group.extent_size))
    steps.append(Step(f"remove thin pool {pool.full_name}", ("lvremove", "--yes", pool.full_name)))
    return steps, after
