# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""A pool that Docker makes by itself when it first starts (dm.directlvm_device): planned, and put right afterwards.

What Docker does and leaves out is that of moby, daemon/graphdriver/devmapper/device_setup.go setupDirectLVM() and
deviceset.go initDevmapper(), the same from 17.06 to 24.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import KIB, Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    physical_volumes,
    profiles,
    results,
    thin_pools,
    volume_groups,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_given import (
    MADE_BY_DOCKER,
    NAMING,
    PoolGiven,
    without_lvm,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import PoolStages, Stage

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import DockerSpec

VG, POOL, METADATA = "docker", "thinpool", "thinpoolmeta"
_CHUNK_SIZE = 512 * KIB
_PROFILES = "/etc/lvm/profile"
_FIRST = (17, 6)  # moby pull request 31104
_OTHERWISE = "or set managed_by: collection, which can"


@dataclass(frozen=True)
class SetUp:
    """How Docker is to make the pool, or made it: what setup-config.json keeps, and Docker ends at a difference to.

    Percentages. Zero is Docker's word for its default.
    """

    device: str
    data: int
    metadata: int
    percent: int
    threshold: int

    @classmethod
    def of_record(cls, record: t.Mapping[str, t.Any]) -> SetUp:
        keys = ("ThinpPercent", "ThinpMetaPercent", "AutoExtendPercent", "AutoExtendThreshold")
        shares = (record.get(key) for key in keys)
        return cls(str(record.get("Device") or ""), *(share if isinstance(share, int) else 0 for share in shares))

    @property
    def in_effect(self) -> SetUp:
        return replace(
            self,
            data=self.data or 95,
            metadata=self.metadata or 1,
            percent=self.percent or 20,
            threshold=self.threshold or 80,
        )

    @property
    def options(self) -> tuple[str, ...]:
        """The storage options in which Docker finds what it has on record."""
        shares = (
            ("dm.thinp_percent", self.data),
            ("dm.thinp_metapercent", self.metadata),
            ("dm.thinp_autoextend_threshold", self.threshold),
            ("dm.thinp_autoextend_percent", self.percent),
        )
        return (f"dm.directlvm_device={self.device}", *(f"{key}={share}" for key, share in shares if share))


class PoolByDocker(PoolGiven):
    """A pool on one disk, under Docker's own names."""

    own_options = {
        **dict.fromkeys(NAMING, "devices"),
        "dm.directlvm_device_force": "wipe_signatures",
        "dm.thinp_percent": "data_size",
        "dm.thinp_metapercent": "metadata_size",
        "dm.thinp_autoextend_threshold": "autoextend_threshold",
        "dm.thinp_autoextend_percent": "autoextend_percent",
    }

    @property
    def made_when(self) -> str:
        return "started" if self.is_new else "stopped"

    @property
    def _wished(self) -> SetUp:
        """What the spec comes to in Docker's words; a share that it has no words for is none (see problems())."""
        spec, devices = self.spec, self.host.devices
        return SetUp(
            # Docker looks for the path among those that lvmdiskscan lists, and these are the kernel's names.
            devices[0].path if devices else "",
            _whole_share(spec.data_size) or 0,
            _whole_share(spec.metadata_size) or 0,
            spec.autoextend_percent,
            spec.autoextend_threshold,
        )

    @property
    def _recorded(self) -> SetUp | None:
        record = self.host.data.set_up
        # Of a pool that is gone it is a conflict like other data, and moved aside with it.
        return SetUp.of_record(record) if record.get("Device") and not self.is_new else None

    @property
    def options(self) -> tuple[str, ...]:
        options = (self._recorded or self._wished).options
        return (*options, "dm.directlvm_device_force=true") if self.spec.wipe_signatures else options

    def problems(self) -> list[str]:
        spec, found = self.spec, []
        if len(self.host.devices) > 1:
            found.append(f"Docker makes a pool on one device, not on {len(self.host.devices)}: name one, {_OTHERWISE}")
        if spec.dm_name != MADE_BY_DOCKER:
            found.append(
                f"Docker's own pool is {VG}/{POOL} and cannot be {spec.vg}/{spec.pool}: leave out vg and pool, "
                f"{_OTHERWISE}"
            )
        for option, size in (("data_size", spec.data_size), ("metadata_size", spec.metadata_size)):
            if _whole_share(size) is None:
                found.append(
                    f"Docker gives its pool whole percentages of the volume group, from 1 to 99, and {option} is "
                    f"{size.text}: write it as N%VG, {_OTHERWISE}"
                )
        if spec.chunk_size != _CHUNK_SIZE:
            found.append(
                f"Docker's own pool has chunks of {human(_CHUNK_SIZE)}, not of {human(spec.chunk_size)}: leave out "
                f"chunk_size, {_OTHERWISE}"
            )
        if spec.zero:
            found.append(f"Docker's own pool is not zeroed: leave out zero, {_OTHERWISE}")
        if os.path.dirname(self.host.profile.path) != _PROFILES:
            found.append(
                f"Docker writes the pool's profile to {_PROFILES}, and LVM looks for profiles in "
                f"{os.path.dirname(self.host.profile.path)} (config/profile_dir): correct that, {_OTHERWISE}"
            )
        if self.is_new and not spec.wants_docker(self.host.docker):
            found.append(
                "there is no Docker on this host that could make the pool: name its packages (docker_packages), "
                f"{_OTHERWISE} do without"
            )
        version = self.host.docker.version
        if version and dockerd.numbers(version) < _FIRST:
            found.append(f"Docker {version} cannot make a pool by itself, which came with 17.06: take a newer one")
        return found + (self._half_done() if self.is_new else self._changed())

    def _changed(self) -> list[str]:
        """Return how the spec differs from what Docker has on record of a pool that is there."""
        recorded = self._recorded
        path = f"{self.host.data.root}/devicemapper/setup-config.json"
        if recorded is None:
            return [
                f"thin pool {VG}/{POOL} is there, and {path} is not, in which Docker keeps that it made it: Docker "
                "would try to make it again, and end at the disk that is taken. Set managed_by: collection, which "
                "gives the pool to Docker as it is"
            ]
        found = []
        if self._wished.device not in {volume.device for volume in self.host.lvm.devices_of(VG)}:
            found.append(
                f"Docker made its pool on another device than {self.host.devices[0].label}, and cannot move it: name "
                f"the device of volume group {VG}, {_OTHERWISE}"
            )
        was, wished = recorded.in_effect, self._wished
        for option, key, sign in (
            ("data_size", "data", "%VG"),
            ("metadata_size", "metadata", "%VG"),
            ("autoextend_threshold", "threshold", ""),
            ("autoextend_percent", "percent", ""),
        ):
            if getattr(was, key) != getattr(wished, key):
                found.append(
                    f"Docker made its pool with {option} {getattr(was, key)}{sign}, and would not start with "
                    f"{getattr(wished, key)}{sign} ('changing direct-lvm config is not supported', {path}): set it to "
                    f"{getattr(was, key)}{sign}, {_OTHERWISE}"
                )
        return found

    def _half_done(self) -> list[str]:
        """Return what an interrupted attempt of Docker's left, at which the next one would end, with the way out."""
        lvm, finishes = self.host.lvm, "or set managed_by: collection, which finishes it"
        names = [volume.name for volume in lvm.volumes_of(VG) if not volume.hidden]
        ours = [name for name in (POOL, METADATA) if name in names]
        away = [f"lvremove {VG}/{name}" for name in ours]
        if lvm.group(VG):
            devices = " ".join(volume.device for volume in lvm.devices_of(VG))
            there = f"volume group {VG} with {' and '.join(ours)}" if ours else f"volume group {VG}"
            strangers = sorted(set(names) - set(ours))
            if strangers:
                return [
                    f"volume group {VG} is there and holds {', '.join(strangers)}, which are not Docker's: Docker "
                    "makes a group of that name and would end at it. Set managed_by: collection and another vg"
                ]
            commands = "', '".join((*away, f"vgremove {VG}", f"pvremove {devices}"))
            return [
                f"{there} is there and no pool, as Docker leaves it where it was interrupted: its next attempt ends at "
                f"the disk that is taken. If nothing in it is needed, run '{commands}', {finishes}"
            ]
        return [
            f"{device.label} is a physical volume already, as Docker leaves it where it was interrupted: its next "
            f"attempt takes that for a file system. Run 'pvremove {device.path}', {finishes}"
            for device in self.host.devices
            if lvm.device(device.path) and not self.spec.wipe_signatures
        ]

    def is_named(self, daemon: DaemonJson) -> bool:
        device = daemon.option("dm.directlvm_device")
        named = daemon.option("dm.thinpooldev")
        return daemon.driver == DRIVER and bool(device) and not named

    def plan_setup(self, refusals: list[str]) -> PoolStages:
        if self.problems():
            # Told by themselves. The devices are looked at all the same, so that all is told at once.
            force = self.spec.wipe_signatures
            storage_plan.attempt(
                refusals,
                lambda: physical_volumes.decide(self.host.lvm, self.host.devices, wipe_signatures=force),
                None,
            )
            return PoolStages()
        if not self.is_new:
            part = storage_plan.plan_setup(self.host, self.spec, refusals)
            return replace(part, warning=_of_docker(part.warning))
        return self._plan_new(self.host.devices[0], refusals)

    def _plan_new(self, device: BlockDevice, refusals: list[str]) -> PoolStages:
        spec, host = self.spec, self.host
        # The file is younger than the dmeventd that monitors the pool: Docker converts first and writes then.
        text = f"activation{{\nthin_pool_autoextend_threshold={spec.autoextend_threshold}\n"
        text += f"thin_pool_autoextend_percent={spec.autoextend_percent}\n}}"
        written = replace(host.profile, text=text, dmeventd_running=True, dmeventd_stale=True)
        profile_steps, _profile_after = storage_plan.attempt(
            refusals,
            lambda: profiles.decide(written, threshold=spec.autoextend_threshold, percent=spec.autoextend_percent),
            ([], None),
        )
        left = storage_plan.attempt(refusals, lambda: _left_by_docker(host.lvm, device, spec), None)
        if left is None:
            return PoolStages()
        group_steps, grouped = volume_groups.decide(left, name=VG, devices=[device], tags=(OWNER_TAG,))
        pool_steps, after = thin_pools.decide(grouped, spec.for_pool())
        reserve, after, _unkept = storage_plan.reserve_stage(host.lvm, after, spec, refusals)
        extension, shortage = storage_plan.room(after, spec)
        if shortage and spec.autoextend_room == "fail":
            refusals.append(_of_docker(shortage))
        stages = without_lvm(
            Stage(
                "volume_group",
                group_steps,
                f"volume group {VG}",
                {"volume_group": None},
                {"volume_group": results.volume_group(after, VG)},
            ),
            Stage("profile", profile_steps, host.profile.path, host.profile.text or "", text),
            Stage(
                "thin_pool",
                pool_steps,
                f"thin pool {VG}/{POOL}",
                {"thin_pool": None},
                {"thin_pool": results.pool(after.volume(VG, POOL))},
            ),
            reserve,
        )
        warning = _of_docker(shortage) if spec.autoextend_room == "warn" else ""
        return PoolStages(stages, after, extension, warning)

    def start_words(self, after: LvmState) -> str:
        """Return what is to be told of the start at which Docker makes the pool."""
        pool, group = after.volume(VG, POOL), after.group(VG)
        if pool is None or group is None or not self.is_new:
            return ""
        return (
            f", which makes thin pool {VG}/{POOL} on {self._wished.device}: "
            f"data {pool.size // group.extent_size} extents ({human(pool.size)}), "
            f"metadata {pool.metadata_size // group.extent_size} extents ({human(pool.metadata_size)})"
        )


def _of_docker(shortage: str) -> str:
    """Return what is to be told of the room for automatic extension, in the case of a pool that Docker makes."""
    if not shortage:
        return ""
    return (
        f"{shortage}. Once Docker has made the pool, it takes neither a device nor other sizes: managed_by: collection "
        "can do both to the same pool"
    )


def _whole_share(size: Size) -> int | None:
    """Return a size as whole percent of the volume group, None where it is none that Docker knows."""
    percent = size.percent if size.of == "VG" else None
    return int(percent) if percent is not None and percent.denominator == 1 and percent < 100 else None


def _left_by_docker(lvm: LvmState, device: BlockDevice, spec: DockerSpec) -> LvmState:
    """Return what LVM will report once Docker has made the pool, decided with what makes such a pool here.

    Docker's group has no tag of ours, and the profile is attached to a pool that runs, so that the kernel's low water
    mark stays 0 (seen).
    """
    _steps, volumes = physical_volumes.decide(lvm, [device], wipe_signatures=spec.wipe_signatures)
    _steps, grouped = volume_groups.decide(volumes, name=VG, devices=[device])
    _steps, made = thin_pools.decide(grouped, spec.for_pool())
    group = t.cast(VolumeGroup, made.group(VG))
    pool = t.cast(LogicalVolume, made.volume(VG, POOL))
    return made.with_group(replace(group, tags=())).with_volume(replace(pool, low_water_mark=0))
