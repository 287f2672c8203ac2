# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How a thin pool is: what was read of it, what can be wrong with it, and one word for all of it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, fields, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    obstacles,
    pool_reserve,
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
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import forecast, remedies
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.forecast import Forecast, Point
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.remedies import Whose

# From good to bad. What could not be found out is worse than what is merely to be watched.
ORDER = ("ok", "warning", "unknown", "critical")


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong: a word for programs, how bad it is, and the sentence that says what to do."""

    kind: str
    severity: str  # warning, unknown or critical
    message: str
    command: str = ""  # what can be copied and run where Ansible is; empty where no one command is right

    @property
    def guide(self) -> str:
        """The address of the place in the guides that is about it; empty where there is none."""
        return remedies.guide(self.kind)


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
    reserve: int = 0  # bytes that are kept for it in an emergency
    whose: Whose = Whose()
    no_space_timeout: int | None = None  # seconds that writes to a full pool wait, 0 for ever, None: not known
    forecasts: tuple[Forecast, ...] = ()  # of its halves that grow, as far as is known
    waiting_since: float = 0.0  # since when writes wait, in seconds since 1970; 0: not known, or they do not
    failing_since: float = 0.0  # likewise since when they fail

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
    def is_full(self) -> bool:
        """Whether the data is full, by the kernel's word, or by LVM's where the kernel does not answer."""
        return self.status.mode == "out_of_data_space" if self.status else self.volume.health == "out_of_data"

    @property
    def writes(self) -> str:
        """What becomes of a write that needs a new chunk: ok, waiting or failing; empty where that is not known.

        What the pool is set to do when it is full says nothing of it: after a time the kernel fails what waited.
        """
        if self.volume.suspended:
            return "waiting"
        if self.status is None or not self.volume.active:
            return ""
        if self.status.mode == "out_of_data_space":
            return {"queue": "waiting", "error": "failing"}.get(self.status.when_full, "")
        return "ok" if self.status.mode == "rw" else "failing"

    @property
    def is_broken(self) -> bool:
        """Whether the kernel refuses to let it grow until its metadata was seen to."""
        return self.needs_check or self.volume.health == "failed" or bool(self.status and self.status.has_failed)

    @property
    def has_sick_metadata(self) -> bool:
        """Whether it is the metadata that is to be seen to, before anything is done about room for the data."""
        return self.is_broken or bool(self.status and self.status.mode == "ro")

    @property
    def mark(self) -> int:
        """The low water mark that the profile asks for, in chunks; 0: none."""
        return pool_status.low_water_mark(self.volume.size, self.volume.chunk_size, self.policy.threshold)

    @property
    def armed(self) -> bool:
        return self.mark > 0 and self.volume.low_water_mark == self.mark

    def room(self, part: str) -> int:
        """How many bytes more a half can have in use, with all that it can still be extended by."""
        volume, extension = self.volume, self.extension
        size = volume.size if part == "data" else volume.metadata_size
        total, used = (getattr(self.status, f"{part}_{what}", 0) for what in ("total", "used"))
        unit = size // total if total else 0
        extends = self.policy.threshold < 100 and volume.monitored and not self.has_sick_metadata
        if extends and part == "data" and extension.data_possible and extension.extent_size:
            extents = size // extension.extent_size
            size = forecast.attainable(extents, extension.free, self.policy.percent) * extension.extent_size
        elif extends and part == "metadata" and extension.metadata_possible:
            size += extension.metadata_growth * extension.extent_size
        return size - used * unit

    def with_history(self, points: t.Sequence[Point], now: float) -> Pool:
        """Return the pool with how long it has got, by what was kept of its use."""
        found = (forecast.of(points, part, self.room(part), now) for part in ("data", "metadata"))
        return replace(self, forecasts=tuple(one for one in found if one))

    def held_back(self) -> Pool:
        """Return the pool with what the kernel refuses for as long as it is so: LVM's figures know nothing of that.

        drivers/md/dm-thin.c maybe_resize_data_dev() and maybe_resize_metadata_dev(): "unable to grow the data device
        until repaired".
        """
        if not self.is_broken:
            return self
        refusal = "the metadata must be checked first"
        return replace(self, extension=replace(self.extension, data_refusal=refusal, metadata_refusal=refusal))


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
        extension = rehearsal.asked(lvm, group, volume, extension, may_write=policy.may_write)
        devices = lvm.devices_of(volume.vg)
        parts = (lvm.volume(volume.vg, part) for part in (volume.metadata_volume, volume.data_volume))
        found.append(
            Pool(
                volume,
                group,
                status,
                policy,
                extension,
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
                reserve=getattr(pool_reserve.find(lvm, volume.vg, volume.name), "size", 0),
                no_space_timeout=pool_status.no_space_timeout(),
            ).held_back()
        )
    return found


def worst(severities: t.Iterable[str]) -> str:
    """Return the worst of some severities, ``ok`` of none."""
    return max(severities, key=ORDER.index, default="ok")
