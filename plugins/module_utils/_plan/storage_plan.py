# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The pool's part of every engine's plan: from blank disks to a thin pool with its profile, and the way back.

An engine's own plan decides on what stands before and behind it, see docker_plan.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step, actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    boot_drop_in,
    lvm_config,
    lvm_state,
    physical_volumes,
    pool_reserve,
    pool_sizing,
    pool_spec,
    profiles,
    results,
    thin_pools,
    volume_groups,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.disk_rules import Judgement
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate


@dataclass(frozen=True)
class StorageSpec:
    """What is asked of the pool, whichever engine it is for."""

    vg: str
    pool: str
    data_size: Size
    metadata_size: Size
    chunk_size: int  # bytes
    zero: bool | None  # None leaves that of a pool that is there
    autoextend_threshold: int  # percent
    autoextend_percent: int
    autoextend_room: str  # warn, fail, ignore
    wipe_signatures: bool
    destroy_contents: bool
    resize_devices: bool
    reserve: Size | None  # of the group, for an emergency; None keeps what is kept

    @property
    def pool_name(self) -> PoolName:
        return PoolName(self.vg, self.pool)

    @property
    def dm_name(self) -> str:
        return self.pool_name.dm_name

    @property
    def profile(self) -> str:
        """The profile is named like the pool's device, as the manual does."""
        return self.dm_name

    def for_pool(self) -> pool_spec.PoolSpec:
        return pool_spec.PoolSpec(
            vg=self.vg,
            name=self.pool,
            size=self.data_size,
            metadata_size=self.metadata_size,
            chunk_size=self.chunk_size,
            zero=self.zero,
            profile=self.profile,
            threshold=self.autoextend_threshold,
            percent=self.autoextend_percent,
        )


@dataclass(frozen=True)
class HostState:
    """What was read of the host about its storage."""

    lvm: LvmState
    devices: tuple[BlockDevice, ...]
    signatures: t.Mapping[str, str]  # of plain volumes that would be converted
    profile: Profile
    pool_status: PoolStatus | None
    missing_packages: tuple[str, ...]  # of the storage, and what the engine needs beside its own
    candidates: tuple[Candidate, ...]  # of every missing package, the engine's own too
    missing_thin_check: str = ""
    can_monitor: bool = True  # lvm.conf, activation/monitoring
    extension: pool_sizing.AutoExtension | None = None  # of a pool that is there, with LVM's word where it was asked
    judged: tuple[Judgement, ...] = ()  # every disk of the host, where devices are chosen by rule


@dataclass
class Plan:
    """The steps of every stage, in the order in which they are taken, and what will be there then."""

    stages: dict[str, list[Step]] = field(default_factory=dict)
    diff: list[dict[str, t.Any]] = field(default_factory=list)
    extension: pool_sizing.AutoExtension | None = None
    warning: str = ""
    lvm: LvmState = LvmState()
    records: list[str] = field(default_factory=list)  # paths of the engine's records that go with the pool
    aside: dict[str, str] = field(default_factory=dict)  # the engine's data that is moved aside, and where to

    @property
    def actions(self) -> list[str]:
        return [sentence for steps in self.stages.values() for sentence in actions(steps)]

    def add(
        self, stage: str, steps: t.Sequence[Step], header: str = "", before: t.Any = None, after: t.Any = None
    ) -> None:
        self.stages[stage] = list(steps)
        if steps and header:
            self.diff.append({"before_header": header, "after_header": header, "before": before, "after": after})


def attempt(refusals: list[str], decide: t.Callable[[], t.Any], otherwise: t.Any) -> t.Any:
    """Return what is decided; where it is refused, note the reasons and go on with something else."""
    try:
        return decide()
    except RefusedErrors as refusal:
        refusals.extend(refusal.reasons)
    except RefusedError as refusal:
        refusals.append(str(refusal))
    return otherwise


class Stage(t.NamedTuple):
    """The steps of one stage, and how what it changes looks before and after them."""

    name: str
    steps: t.Sequence[Step]
    header: str
    before: t.Any
    after: t.Any


@dataclass(frozen=True)
class PoolStages:
    """The stages of the pool, in the order in which they are taken, and what LVM will report then."""

    stages: tuple[Stage, ...] = ()
    lvm: LvmState | None = None  # None: refused
    extension: pool_sizing.AutoExtension | None = None
    warning: str = ""

    def takes(self, name: str) -> bool:
        """Whether a stage has steps."""
        return any(stage.steps for stage in self.stages if stage.name == name)

    def add_to(self, plan: Plan, boot: Stage) -> None:
        """Add the stages, and behind the pool's the one of the engine's unit, which its module takes as well."""
        for stage in self.stages:
            plan.add(*stage)
            if stage.name == "thin_pool":
                plan.add(*boot)


def boot_stage(text: str | None, service: str | None, spec: StorageSpec, state: str, *, needs_reload: bool) -> Stage:
    """Return the stage of the drop-in that has a service wait for the pool; without a service it has no steps."""
    steps, after = (
        boot_drop_in.decide(text, service=service, vg=spec.vg, pool=spec.pool, state=state, needs_reload=needs_reload)
        if service
        else ([], text)
    )
    header = boot_drop_in.path(service, spec.vg, spec.pool) if service else ""
    return Stage("boot", steps, header, text or "", after or "")


def is_new(host: HostState, spec: StorageSpec) -> bool:
    """Whether the pool is yet to be made, or to be made of plain volumes."""
    pool = host.lvm.volume(spec.vg, spec.pool)
    return pool is None or not pool.is_pool


def plan_setup(
    host: HostState, spec: StorageSpec, refusals: list[str], *, in_use: bool = True, names_all: bool = True
) -> PoolStages:
    """Return how the pool comes about, or to what is wished; what speaks against it is added to the refusals.

    ``in_use`` tells that the engine is set up for the pool already, or that there is none to be; ``names_all`` that the
    devices are all that the group shall have, and not only those that are to be added.
    """
    try_to = functools.partial(attempt, refusals)

    try_to(lambda: spec.for_pool().check(), None)
    refusals += [] if in_use else _unasked(host, spec)
    refusals += _left_out(host, spec) if names_all else []
    wished = replace(
        spec.for_pool(),
        can_monitor=host.can_monitor,
        can_extend=not (host.extension and host.extension.data_refusal),
    )
    if host.missing_thin_check and not set(host.missing_packages) & package_manager.THIN_CHECK:
        refusals.append(lvm_config.no_thin_check(spec.for_pool().full_name, host.missing_thin_check))

    volumes, lvm = try_to(
        lambda: physical_volumes.decide(
            host.lvm,
            [device for device in host.devices if _is_new(host.lvm, device)],
            wipe_signatures=spec.wipe_signatures,
        ),
        ([], None),
    )
    group_steps, grouped = try_to(
        # Where devices were refused it decides on the state as it is, for the reasons that only it knows.
        lambda: volume_groups.decide(lvm or host.lvm, name=spec.vg, devices=host.devices, resize=spec.resize_devices),
        ([], None),
    )
    profile_steps, profile = try_to(
        lambda: profiles.decide(host.profile, threshold=spec.autoextend_threshold, percent=spec.autoextend_percent),
        ([], host.profile),
    )
    pool_steps, after = try_to(
        lambda: thin_pools.decide(grouped, wished, signatures=host.signatures) if grouped else ([], None),
        ([], None),
    )
    if not after:
        return PoolStages()
    reserve, after, unkept = reserve_stage(host.lvm, after, spec, refusals)
    # What LVM said counts as long as nothing is changed that it was asked about.
    asked = host.extension if not group_steps and not pool_steps and not reserve.steps else None
    extension, shortage = room(after, spec, asked)
    if shortage and spec.autoextend_room == "fail":
        refusals.append(shortage)
    warnings = [shortage if spec.autoextend_room == "warn" else "", unkept]
    paths = [device.path for device in host.devices]
    stages = (
        Stage(
            "physical_volumes",
            volumes,
            "physical volumes",
            {"physical_volumes": results.physical_volumes(host.lvm, paths)},
            {"physical_volumes": results.physical_volumes(lvm or host.lvm, paths)},
        ),
        Stage(
            "volume_group",
            group_steps,
            f"volume group {spec.vg}",
            {"volume_group": results.volume_group(host.lvm, spec.vg)},
            {"volume_group": results.volume_group(grouped, spec.vg)},
        ),
        Stage("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or ""),
        Stage(
            "thin_pool",
            pool_steps,
            f"thin pool {spec.pool_name}",
            {"thin_pool": results.pool(host.lvm.volume(spec.vg, spec.pool))},
            {"thin_pool": results.pool(after.volume(spec.vg, spec.pool))},
        ),
        reserve,
    )
    return PoolStages(stages, after, extension, ". ".join(filter(None, warnings)))


def reserve_stage(
    before: LvmState, after: LvmState, spec: StorageSpec, refusals: list[str]
) -> tuple[Stage, LvmState, str]:
    """Return the stage that keeps room for an emergency, the state after it, and what to warn of.

    ``after`` is the state that the stages before leave. What was given to a pool one night is not there to be kept
    until the group grows, and that must not end every run on that host: refused is what a new pool leaves no room for.
    """
    found: list[str] = []
    steps, kept = attempt(
        found,
        lambda: (
            pool_reserve.decide(after, spec.vg, spec.pool, state="present", size=spec.reserve)
            if spec.reserve
            else ([], after)
        ),
        ([], after),
    )
    found = [f"reserve: {reason}" for reason in found]
    pool = before.volume(spec.vg, spec.pool)
    is_there = pool is not None and pool.is_pool
    refusals += [] if is_there else found
    shown = ({"reserve": results.pool(pool_reserve.find(state, spec.vg, spec.pool))} for state in (before, kept))
    stage = Stage("reserve", steps, f"reserve of thin pool {spec.pool_name}", *shown)
    return stage, kept, ". ".join(found) if is_there else ""


def _unasked(host: HostState, spec: StorageSpec) -> list[str]:
    """Return what to say of a group of that name on other disks than the ones that are named.

    A disk of another host of the fleet has the same names on it, and would be taken for this host's.
    """
    members = host.lvm.devices_of(spec.vg)
    named = {device.path for device in host.devices}
    if not members or named & {device.device for device in members}:
        return []
    paths = ", ".join(sorted(device.device for device in members))
    group = t.cast(lvm_state.VolumeGroup, host.lvm.group(spec.vg))
    return [
        f"volume group {spec.vg} is there already, on {paths}, which is not among the devices, and nothing on this "
        "host is set up for its pool. If it is to be used, name its devices too; if it is another host's, rename it "
        f"('vgrename {group.uuid} NEWNAME') or choose another vg"
    ]


def _left_out(host: HostState, spec: StorageSpec) -> list[str]:
    """Return what to say of devices of a group of ours that are not named any more: nobody takes them out unasked."""
    group = host.lvm.group(spec.vg)
    named = {device.path for device in host.devices}
    members = [device.device for device in host.lvm.devices_of(spec.vg) if not device.missing]
    left_out = sorted(set(members) - named)
    if not group or not group.is_ours or not left_out or not named & set(members):
        return []
    return [
        f"{', '.join(left_out)} of volume group {spec.vg} {'is' if len(left_out) == 1 else 'are'} not among the "
        "devices. What is to stay in the group is to be named; what is to leave it is taken out by the playbook "
        "devicemapper.containers.replace_disk, which moves what lies there to the other devices while it is in use"
    ]


def plan_teardown(host: HostState, spec: StorageSpec, refusals: list[str], *, engine_stops: bool) -> PoolStages:
    """Return the way back to blank devices; what speaks against it is added to the refusals.

    ``engine_stops`` tells that what uses the pool is stopped first.
    """
    try_to = functools.partial(attempt, refusals)

    pool = host.lvm.volume(spec.vg, spec.pool)
    group = host.lvm.group(spec.vg)
    # The engine's own devices keep the pool open, and go when it is stopped.
    closed = host.lvm.with_volume(replace(pool, open=False)) if pool and engine_stops else host.lvm
    pool_steps, without_pool = try_to(lambda: thin_pools.decide(closed, spec.for_pool(), state="absent"), ([], None))
    if without_pool is None:
        return PoolStages()  # what stands on it would only repeat that it stays
    # A pool of ours in somebody else's group leaves that group, and its disks, as they are.
    keeps_group = bool(group and not group.is_ours and pool_steps)
    group_steps, without_group = try_to(
        lambda: ([], without_pool) if keeps_group else volume_groups.decide(without_pool, name=spec.vg, state="absent"),
        ([], None),
    )
    volume_steps, after = try_to(
        lambda: (
            ([], without_group)
            if keeps_group or without_group is None
            else physical_volumes.decide(without_group, host.devices, state="absent")
        ),
        ([], None),
    )
    profile_steps, profile = try_to(lambda: _remove_profile(host.profile, spec, without_pool), ([], host.profile))
    if after is None:
        return PoolStages()
    paths = [device.path for device in host.devices]
    stages = (
        Stage(
            "thin_pool",
            pool_steps,
            f"thin pool {spec.pool_name}",
            {"thin_pool": results.pool(pool)},
            {"thin_pool": None},
        ),
        Stage(
            "volume_group",
            group_steps,
            f"volume group {spec.vg}",
            {"volume_group": results.volume_group(host.lvm, spec.vg)},
            {"volume_group": None},
        ),
        Stage(
            "physical_volumes",
            volume_steps,
            "physical volumes",
            {"physical_volumes": results.physical_volumes(host.lvm, paths)},
            {"physical_volumes": results.physical_volumes(after, paths)},
        ),
        Stage("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or ""),
    )
    return PoolStages(stages, after)


def _remove_profile(profile: Profile, spec: StorageSpec, lvm: LvmState) -> tuple[list[Step], Profile]:
    """Return the step that removes the pool's profile; one with other settings too is an administrator's, and stays."""
    if profile.others:
        return [], profile
    used_by = [volume.full_name for volume in lvm.volumes if volume.is_pool and volume.profile == spec.profile]
    return profiles.decide(
        profile,
        threshold=spec.autoextend_threshold,
        percent=spec.autoextend_percent,
        state="absent",
        used_by=used_by,
    )


def _is_new(lvm: LvmState, device: BlockDevice) -> bool:
    """Whether the device becomes a physical volume first; a member of a group is the next stage's business."""
    volume = lvm.device(device.path)
    return volume is None or not volume.vg


def install(packages: t.Sequence[str]) -> list[Step]:
    """Return the step that installs packages, if there are any."""
    return [Step(f"install packages {', '.join(packages)}")] if packages else []


def room(
    after: LvmState, spec: StorageSpec, asked: pool_sizing.AutoExtension | None = None
) -> tuple[pool_sizing.AutoExtension | None, str]:
    """Return what the next automatic extension takes, and what to say where the group does not have it.

    ``asked`` has LVM's word on it, where it was asked.
    """
    group, pool = after.group(spec.vg), after.volume(spec.vg, spec.pool)
    if group is None or pool is None or spec.autoextend_threshold >= 100:
        return None, ""
    extension = asked or pool_sizing.auto_extension(group, pool, after.spare(spec.vg), spec.autoextend_percent)
    if extension.data_possible and extension.metadata_possible:
        return extension, ""
    lacking = [
        f"{needed} extents ({human(needed * group.extent_size)}) of {what}"
        for what, needed, possible in (
            ("data", extension.data_needed, extension.data_possible),
            ("metadata", extension.metadata_needed, extension.metadata_possible),
        )
        if not possible
    ]
    said = extension.data_refusal or extension.metadata_refusal
    largest = 0 if said else extension.free * 100 // (pool.size // group.extent_size)
    enlarged = [device for device in after.devices_of(spec.vg) if device.unused(group.extent_size)]
    more = sum(device.unused(group.extent_size) for device in enlarged)
    return extension, (
        f"thin pool {spec.pool_name} cannot be extended automatically: the next {spec.autoextend_percent} "
        f"percent take {' and '.join(lacking)}, and "
        + (f"LVM says '{said}', though " if said else "")
        + f"volume group {spec.vg} has {extension.free} free ({human(extension.free * group.extent_size)}). "
        + (
            f"Set resize_devices to use the {more} extents more that {', '.join(d.device for d in enlarged)} has since "
            "it was enlarged, or add a device"
            if enlarged
            else "Add a device"
        )
        + ("" if said else ", make data_size smaller")
        + (f", or set autoextend_percent to {largest} or less" if largest else "")
    )
