# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How a thin pool is: everything that is wrong with it, each with what to do, and one word for all of it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, fields

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    lvm_config,
    obstacles,
    pool_sizing,
    pool_status,
    profiles,
    rehearsal,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.obstacles import Obstacle
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import AutoExtension
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy

# From good to bad. What could not be found out is worse than what is merely to be watched.
ORDER = ("ok", "warning", "unknown", "critical")


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong: a word for programs, how bad it is, and the sentence that says what to do."""

    kind: str
    severity: str  # warning, unknown or critical
    message: str


@dataclass(frozen=True)
class Limits:
    """From how many percent of use on a pool is to be watched, and is in danger."""

    data_warning: int = 75
    data_critical: int = 90
    metadata_warning: int = 75
    metadata_critical: int = 90

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Limits:
        """Return the limits that a module's options set."""
        for part in ("data", "metadata"):
            warning, critical = params[f"{part}_warning"], params[f"{part}_critical"]
            if not 1 <= warning <= critical <= 100:
                raise RefusedError(
                    f"{part}_warning and {part}_critical must be 1 to 100 percent, the former not above the latter, "
                    f"not {warning} and {critical}"
                )
        return cls(**{limit: params[limit] for limit in LIMITS})


LIMITS = tuple(field.name for field in fields(Limits))


@dataclass(frozen=True)
class Pool:
    """Everything that was read of one pool."""

    volume: LogicalVolume
    group: VolumeGroup
    status: PoolStatus | None  # None: the kernel runs no such pool, or did not answer
    policy: Policy
    extension: AutoExtension
    obstacles: tuple[Obstacle, ...] = ()  # what keeps LVM from its group
    active_parts: tuple[str, ...] = ()  # of its parts those that are active, where the pool itself is not
    unused: t.Mapping[str, int] = field(default_factory=dict)  # bytes that enlarged devices have and LVM does not use
    not_allocatable: tuple[str, ...] = ()  # devices of the group that LVM may not take extents from
    shrunk: tuple[str, ...] = ()  # devices that have become smaller than LVM's extents on them
    given_up: tuple[str, ...] = ()  # devices that the group gave up, and that are back

    @property
    def profile(self) -> str:
        """The profile that counts: its own, or its group's."""
        return self.volume.profile or self.group.profile

    @property
    def pool_name(self) -> PoolName:
        return self.volume.pool_name

    @property
    def data_percent(self) -> float | None:
        return self._percent("data", self.volume.data_percent)

    @property
    def metadata_percent(self) -> float | None:
        return self._percent("metadata", self.volume.metadata_percent)

    def _percent(self, part: str, reported: float | None) -> float | None:
        """Return the kernel's figure rather than LVM's, which was read a moment earlier."""
        total = getattr(self.status, f"{part}_total", 0)
        return round(100 * getattr(self.status, f"{part}_used") / total, 2) if total else reported

    @property
    def needs_check(self) -> bool:
        return self.volume.check_needed or bool(self.status and self.status.needs_check)

    @property
    def mark(self) -> int:
        """The low water mark that the profile asks for, in chunks; 0: none."""
        return pool_status.low_water_mark(self.volume.size, self.volume.chunk_size, self.policy.threshold)

    @property
    def armed(self) -> bool:
        return self.mark > 0 and self.volume.low_water_mark == self.mark


def pools(lvm: LvmState, volumes: t.Iterable[LogicalVolume], statuses: t.Mapping[str, PoolStatus]) -> list[Pool]:
    """Return what is known of pools, by group and name: one process for each profile that is attached to them.

    Of groups with one name only the one that the name stands for is told of: what is told is told by names.
    """
    volumes = sorted(volumes, key=lambda volume: (volume.vg, volume.name))
    policies: dict[str, Policy] = {}
    found = []
    for volume in volumes:
        group = lvm.group(volume.vg)
        if group is None or not lvm.holds(group, volume):
            continue
        profile = volume.profile or group.profile
        if profile not in policies:
            policies[profile] = profiles.policy(profile)
        policy = policies[profile]
        _device, status = pool_status.find(statuses, volume.dm_name)
        extension = pool_sizing.auto_extension(group, volume, lvm.spare(volume.vg), policy.percent)
        devices = lvm.devices_of(volume.vg)
        parts = (lvm.volume(volume.vg, part) for part in (volume.metadata_volume, volume.data_volume))
        found.append(
            Pool(
                volume,
                group,
                status,
                policy,
                rehearsal.asked(lvm, group, volume, extension, may_write=policy.may_write),
                obstacles=tuple(obstacles.of_group(lvm, group)),
                active_parts=tuple(part.full_name for part in parts if part and part.active and not volume.active),
                unused={
                    device.device: device.unused(group.extent_size) * group.extent_size
                    for device in devices
                    if device.can_grow(group.extent_size) and device.unused(group.extent_size)
                },
                not_allocatable=tuple(device.device for device in devices if not device.allocatable),
                shrunk=tuple(device.device for device in devices if device.has_shrunk),
                given_up=tuple(copy.device for copy in lvm.given_up if copy.of == group.name),
            )
        )
    return found


def worst(severities: t.Iterable[str]) -> str:
    """Return the worst of some severities, ``ok`` of none."""
    return max(severities, key=ORDER.index, default="ok")


def judge(pool: Pool, limits: Limits) -> list[Reason]:
    """Return everything that is wrong with a pool, the worst first."""
    found = [*_of_kernel(pool), *_of_use(pool, limits), *_of_extension(pool), *_of_watch(pool)]
    return sorted(found, key=lambda reason: -ORDER.index(reason.severity))


def _activate(pool: Pool) -> str:
    """Return what brings an inactive pool up, of what LVM does in its state."""
    name = pool.volume.full_name
    commands = [f"lvchange --activate n {' '.join(pool.active_parts)}"] if pool.active_parts else []
    if pool.volume.skips_activation:
        commands.append(f"lvchange --setactivationskip n {name}")
    words = " && ".join([*commands, f"lvchange --activate y {name}"])
    if pool.obstacles:
        return f"see to its volume group first, then run '{words}'"
    if pool.active_parts:
        # LVM prohibits the one while the other is active (seen after lvconvert was killed).
        return f"a part of it is active by itself, as an interrupted command leaves it. Run '{words}'"
    if pool.volume.skips_activation:
        return f"it has the activation skip flag. Run '{words}' if it may be active"
    return f"run '{words}'"


def _unstick(volume: LogicalVolume) -> str:
    """Return the commands that bring a pool back into use as LVM has it, whatever was loaded for it and not used."""
    parts = (volume.name, volume.data_volume, volume.metadata_volume)
    names = " ".join(device_names.join(volume.vg, part) for part in parts if part)
    return f"dmsetup clear {names} && lvchange --refresh {volume.full_name}"


def _of_kernel(pool: Pool) -> t.Iterator[Reason]:
    """What keeps the pool from working at all."""
    name, volume, status = pool.pool_name, pool.volume, pool.status
    mode = status.mode if status else ""
    for obstacle in pool.obstacles:
        yield Reason(obstacle.kind, "critical", obstacle.message)
    if pool.shrunk:
        yield Reason(
            "device_shrunk",
            "critical",
            f"{', '.join(pool.shrunk)} of volume group {volume.vg} has become smaller than LVM's extents on it: what "
            "lies behind its end cannot be read or written. Give the device its size back",
        )
    if not volume.active:
        yield Reason("inactive", "critical", f"{name} is not active, so nothing can use it: {_activate(pool)}")
        return
    if not volume.live and not volume.suspended:
        yield Reason(
            "inactive",
            "critical",
            f"{name} is active but has no table in the kernel, so nothing can use it: an LVM command may have been "
            f"killed. See that none runs, then '{_unstick(volume)}'",
        )
        return
    if volume.suspended:
        yield Reason(
            "suspended",
            "critical",
            f"{name} is suspended, and all that is written to it waits: an LVM command may have been killed. See that "
            f"none runs, then '{_unstick(volume)}'",
        )
    if mode in ("fail", "error") or volume.health == "failed":
        yield Reason(
            "failed",
            "critical",
            f"{name} has failed, and can neither be read nor written. Stop what uses it, deactivate it ('lvchange "
            f"--activate n {name}') and repair its metadata ('lvconvert --repair {name}', lvmthin(7))",
        )
    elif mode == "ro" or volume.health == "metadata_read_only":
        yield Reason(
            "metadata_read_only",
            "critical",
            f"{name} can no longer write its metadata, so no container can write anything new. "
            + (
                f"Repair it while nothing uses it ('lvconvert --repair {name}', lvmthin(7))"
                if pool.needs_check
                else f"Give it more metadata: 'lvextend --poolmetadatasize +100m {name}'"
            ),
        )
    elif mode == "out_of_data_space" or volume.health == "out_of_data":
        yield Reason(
            "out_of_data",
            "critical",
            f"{name} is full: writes {'fail' if volume.when_full == 'error' else 'wait, and fail after a minute'}. Add "
            "a device and run the playbook grow",
        )
    if pool.needs_check:
        yield Reason(
            "needs_check",
            "critical",
            # A repair by thin-provisioning-tools 0.9 keeps the flag (seen), so lvmthin(7)'s commands alone do not do.
            f"the metadata of {name} must be checked before it can grow or be written again: stop what uses it, "
            f"'lvchange --activate n {name}', 'lvconvert --repair {name}', and activate it with "
            "--clear-needs-check-flag among LVM's thin_check_options (guide backup.md of this collection)",
        )
    if status is None:
        yield Reason("no_status", "unknown", f"the kernel did not say how {name} is: see 'dmsetup status'")


def _of_use(pool: Pool, limits: Limits) -> t.Iterator[Reason]:
    """How full it is."""
    for part, percent, warning, critical in (
        ("data", pool.data_percent, limits.data_warning, limits.data_critical),
        ("metadata", pool.metadata_percent, limits.metadata_warning, limits.metadata_critical),
    ):
        if percent is None:
            if pool.volume.active and pool.status and not pool.status.has_failed:
                yield Reason(
                    f"{part}_unknown", "unknown", f"how full the {part} of {pool.pool_name} is could not be found out"
                )
        elif percent >= warning:
            yield Reason(
                f"{part}_usage",
                "critical" if percent >= critical else "warning",
                f"the {part} of {pool.pool_name} is {percent:.2f} percent full: remove what is not needed, or add a "
                "device and run the playbook grow",
            )


def _of_extension(pool: Pool) -> t.Iterator[Reason]:
    """Whether it will be extended when it has to be."""
    name, volume, policy, extension = pool.pool_name, pool.volume, pool.policy, pool.extension
    if not policy.found:
        yield Reason(
            "profile_missing",
            "warning",
            f"the profile {pool.profile} of {name} has no file that LVM can read, so it is never extended: make it "
            f"again (module lvm_profile, name: {pool.profile})",
        )
    elif policy.threshold >= 100:
        without = f"its profile {pool.profile} says so" if pool.profile else "it has no profile"
        yield Reason("no_autoextend", "warning", f"{name} is never extended by itself: {without}")
    elif not pool.obstacles:  # which say by themselves that nothing can be changed
        for part, needed, percent, possible, refusal in (
            ("data", extension.data_needed, pool.data_percent, extension.data_possible, extension.data_refusal),
            (
                "metadata",
                extension.metadata_needed,
                pool.metadata_percent,
                extension.metadata_possible,
                extension.metadata_refusal,
            ),
        ):
            if not possible:
                due = percent is not None and percent > policy.threshold
                yield Reason(
                    f"{part}_extension_impossible",
                    "critical" if due else "warning",
                    f"the {part} of {name} cannot be extended: that takes {needed} extents "
                    f"({human(needed * extension.extent_size)}), and "
                    + (f"LVM says '{refusal}', though " if refusal else "")
                    + f"volume group {volume.vg} has {extension.free} "
                    f"free ({human(extension.free * extension.extent_size)})"
                    + (f", and it is {percent:.2f} percent full" if due else "")
                    + f": {_make_room(pool, refusal)}",
                )


def _make_room(pool: Pool, refusal: str) -> str:
    """Return what gives a pool the room that it lacks, nearest first."""
    if refusal and pool.not_allocatable:
        return f"let LVM use all devices ('pvchange --allocatable y {' '.join(pool.not_allocatable)}'), or add one"
    if pool.unused:
        enlarged = " ".join(pool.unused)
        return (
            f"let LVM use the {human(sum(pool.unused.values()))} more of enlarged devices ('pvresize {enlarged}', or "
            "the role's variable direct_lvm_resize_devices) and run the playbook grow"
        )
    if refusal:
        return "add devices until it has what LVM asks for, as many as the pool's data has stripes or copies"
    return "add a device and run the playbook grow"


def _of_watch(pool: Pool) -> t.Iterator[Reason]:
    """Whether anybody looks after it."""
    name, volume = pool.pool_name, pool.volume
    if not volume.live and not volume.suspended:
        return
    if pool.given_up:
        yield Reason(
            "device_given_up",
            "warning",
            f"{', '.join(pool.given_up)} was given up by volume group {volume.vg} ('vgreduce --removemissing') and is "
            f"back with its old label: 'vgck --updatemetadata {volume.vg}' clears that, after which it is blank",
        )
    if not volume.monitored:
        yield Reason(
            "not_monitored",
            "warning",
            f"dmeventd does not watch {name}, so it is never extended: "
            + (
                f"run 'lvchange --monitor y {name}'"
                if pool.policy.can_monitor
                else "lvm.conf has activation/monitoring=0, with which LVM monitors nothing. Set it to 1, then run "
                f"'lvchange --monitor y {name}'"
            ),
        )
    if pool.policy.missing_thin_check:
        yield Reason(
            "thin_check_missing", "warning", lvm_config.no_thin_check(str(name), pool.policy.missing_thin_check)
        )
    if pool.mark and not pool.armed:
        yield Reason(
            "not_armed",
            "warning",
            f"the kernel's low water mark of {name} is {volume.low_water_mark} chunks and not {pool.mark}, so dmeventd "
            f"learns only every ten seconds how full it is: run 'lvchange --refresh {name}'",
        )
