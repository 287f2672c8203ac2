# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The pool's part of every engine's chain: from blank disks to a thin pool with its profile, and the way back.

An engine's own chain decides on what stands before and behind it, see docker_plan.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import Refused, Unwanted
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step, actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    lvm_state,
    physical_volumes,
    pool_sizing,
    pool_spec,
    profiles,
    results,
    thin_pools,
    volume_groups,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import Report
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate


@dataclass(frozen=True)
class Wish:
    """What is asked of the pool, whichever engine it is for."""

    vg: str
    pool: str
    data_size: Size
    metadata_size: Size
    chunk_size: int  # bytes
    zero: bool
    autoextend_threshold: int  # percent
    autoextend_percent: int
    autoextend_room: str  # warn, fail, ignore
    wipe_signatures: bool

    @property
    def dm_name(self) -> str:
        return device_names.join(self.vg, self.pool)

    @property
    def profile(self) -> str:
        """The profile is named like the pool's device, as the manual does."""
        return self.dm_name

    def pool_wish(self) -> pool_spec.Wish:
        return pool_spec.Wish(
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
class Host:
    """What was read of the host about its storage."""

    report: Report
    devices: tuple[BlockDevice, ...]
    signatures: t.Mapping[str, str]  # of plain volumes that would be converted
    profile: Profile
    pool_status: PoolStatus | None
    missing_packages: tuple[str, ...]  # of the storage, and what the engine needs beside its own
    candidates: tuple[Candidate, ...]  # of every missing package, the engine's own too
    missing_thin_check: str = ""


@dataclass
class Chain:
    """The steps of every link, in the order in which they are taken, and what will be there then."""

    links: dict[str, list[Step]] = field(default_factory=dict)
    diff: list[dict[str, t.Any]] = field(default_factory=list)
    extension: pool_sizing.AutoExtension | None = None
    warning: str = ""
    report: Report = Report()
    records: list[str] = field(default_factory=list)  # paths of the engine's records that go with the pool
    aside: list[str] = field(default_factory=list)  # paths of the engine's data that are moved aside

    @property
    def actions(self) -> list[str]:
        return [sentence for steps in self.links.values() for sentence in actions(steps)]

    def add(
        self, link: str, steps: t.Sequence[Step], header: str = "", before: t.Any = None, after: t.Any = None
    ) -> None:
        self.links[link] = list(steps)
        if steps and header:
            self.diff.append({"before_header": header, "after_header": header, "before": before, "after": after})


def attempt(refusals: list[str], decide: t.Callable[[], t.Any], otherwise: t.Any) -> t.Any:
    """Return what is decided; where it is refused, note the reasons and go on with something else."""
    try:
        return decide()
    except Unwanted as refusal:
        refusals.extend(refusal.reasons)
    except Refused as refusal:
        refusals.append(str(refusal))
    return otherwise


class Link(t.NamedTuple):
    """The steps of one link, and how what it changes looks before and after them."""

    name: str
    steps: t.Sequence[Step]
    header: str
    before: t.Any
    after: t.Any


@dataclass(frozen=True)
class Part:
    """The links of the pool, in the order in which they are taken, and what LVM will report then."""

    links: tuple[Link, ...] = ()
    report: Report | None = None  # None: refused
    extension: pool_sizing.AutoExtension | None = None
    warning: str = ""

    def takes(self, name: str) -> bool:
        """Whether a link has steps."""
        return any(link.steps for link in self.links if link.name == name)

    def add_to(self, chain: Chain) -> None:
        for link in self.links:
            chain.add(*link)


def is_new(host: Host, wish: Wish) -> bool:
    """Whether the pool is yet to be made, or to be made of plain volumes."""
    pool = host.report.volume(wish.vg, wish.pool)
    return pool is None or not pool.is_pool


def foretell(host: Host, wish: Wish, refusals: list[str]) -> Part:
    """Return how the pool comes about, or to what is wished; what speaks against it is added to the refusals."""
    try_to = functools.partial(attempt, refusals)

    try_to(lambda: wish.pool_wish().check(), None)
    if host.missing_thin_check and not set(host.missing_packages) & package_manager.THIN_CHECK:
        refusals.append(lvm_state.no_thin_check(wish.pool_wish().full_name, host.missing_thin_check))

    volumes, report = try_to(
        lambda: physical_volumes.decide(
            host.report,
            [device for device in host.devices if _is_new(host.report, device)],
            wipe_signatures=wish.wipe_signatures,
        ),
        ([], None),
    )
    group_steps, grouped = try_to(
        # Where devices were refused it decides on the report as it is, for the reasons that only it knows.
        lambda: volume_groups.decide(report or host.report, name=wish.vg, devices=host.devices),
        ([], None),
    )
    profile_steps, profile = try_to(
        lambda: profiles.decide(host.profile, threshold=wish.autoextend_threshold, percent=wish.autoextend_percent),
        ([], host.profile),
    )
    pool_steps, after = try_to(
        lambda: thin_pools.decide(grouped, wish.pool_wish(), signatures=host.signatures) if grouped else ([], None),
        ([], None),
    )
    if not after:
        return Part()
    extension, shortage = room(after, wish)
    if shortage and wish.autoextend_room == "fail":
        refusals.append(shortage)
    paths = [device.path for device in host.devices]
    links = (
        Link(
            "physical_volumes",
            volumes,
            "physical volumes",
            {"physical_volumes": results.physical_volumes(host.report, paths)},
            {"physical_volumes": results.physical_volumes(report or host.report, paths)},
        ),
        Link(
            "volume_group",
            group_steps,
            f"volume group {wish.vg}",
            {"volume_group": results.volume_group(host.report, wish.vg)},
            {"volume_group": results.volume_group(grouped, wish.vg)},
        ),
        Link("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or ""),
        Link(
            "thin_pool",
            pool_steps,
            f"thin pool {wish.vg}/{wish.pool}",
            {"thin_pool": results.pool(host.report.volume(wish.vg, wish.pool))},
            {"thin_pool": results.pool(after.volume(wish.vg, wish.pool))},
        ),
    )
    return Part(links, after, extension, shortage if wish.autoextend_room == "warn" else "")


def take_apart(host: Host, wish: Wish, refusals: list[str], *, engine_stops: bool) -> Part:
    """Return the way back to blank devices; what speaks against it is added to the refusals.

    ``engine_stops`` tells that what uses the pool is stopped first.
    """
    try_to = functools.partial(attempt, refusals)

    pool = host.report.volume(wish.vg, wish.pool)
    group = host.report.group(wish.vg)
    # The engine's own devices keep the pool open, and go when it is stopped.
    closed = host.report.with_volume(replace(pool, open=False)) if pool and engine_stops else host.report
    pool_steps, without_pool = try_to(lambda: thin_pools.decide(closed, wish.pool_wish(), state="absent"), ([], None))
    if without_pool is None:
        return Part()  # what stands on it would only repeat that it stays
    # A pool of ours in somebody else's group leaves that group, and its disks, as they are.
    keeps_group = bool(group and not group.is_ours and pool_steps)
    group_steps, without_group = try_to(
        lambda: ([], without_pool) if keeps_group else volume_groups.decide(without_pool, name=wish.vg, state="absent"),
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
    profile_steps, profile = try_to(lambda: _remove_profile(host.profile, wish, without_pool), ([], host.profile))
    if after is None:
        return Part()
    paths = [device.path for device in host.devices]
    links = (
        Link(
            "thin_pool",
            pool_steps,
            f"thin pool {wish.vg}/{wish.pool}",
            {"thin_pool": results.pool(pool)},
            {"thin_pool": None},
        ),
        Link(
            "volume_group",
            group_steps,
            f"volume group {wish.vg}",
            {"volume_group": results.volume_group(host.report, wish.vg)},
            {"volume_group": None},
        ),
        Link(
            "physical_volumes",
            volume_steps,
            "physical volumes",
            {"physical_volumes": results.physical_volumes(host.report, paths)},
            {"physical_volumes": results.physical_volumes(after, paths)},
        ),
        Link("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or ""),
    )
    return Part(links, after)


def _remove_profile(profile: Profile, wish: Wish, report: Report) -> tuple[list[Step], Profile]:
    """Return the step that removes the pool's profile; one with other settings too is an administrator's, and stays."""
    if profile.others:
        return [], profile
    used_by = [volume.full_name for volume in report.volumes if volume.is_pool and volume.profile == wish.profile]
    return profiles.decide(
        profile,
        threshold=wish.autoextend_threshold,
        percent=wish.autoextend_percent,
        state="absent",
        used_by=used_by,
    )


def _is_new(report: Report, device: BlockDevice) -> bool:
    """Whether the device becomes a physical volume first; a member of a group is the next link's business."""
    volume = report.device(device.path)
    return volume is None or not volume.vg


def install(packages: t.Sequence[str]) -> list[Step]:
    """Return the step that installs packages, if there are any."""
    return [Step(f"install packages {', '.join(packages)}")] if packages else []


def room(after: Report, wish: Wish) -> tuple[pool_sizing.AutoExtension | None, str]:
    """Return what the next automatic extension takes, and what to say where the group does not have it."""
    group, pool = after.group(wish.vg), after.volume(wish.vg, wish.pool)
    if group is None or pool is None or wish.autoextend_threshold >= 100:
        return None, ""
    extension = pool_sizing.auto_extension(group, pool, after.spare(wish.vg), wish.autoextend_percent)
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
    largest = extension.free * 100 // (pool.size // group.extent_size)
    return extension, (
        f"thin pool {wish.vg}/{wish.pool} cannot be extended automatically: the next {wish.autoextend_percent} "
        f"percent take {' and '.join(lacking)}, and volume group {wish.vg} has {extension.free} free "
        f"({human(extension.free * group.extent_size)}). Add a device, make data_size smaller"
        + (f", or set autoextend_percent to {largest} or less" if largest else "")
    )
