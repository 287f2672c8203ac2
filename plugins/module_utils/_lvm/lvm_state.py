# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What LVM knows of this host, read once, as typed values. Strings and bracketed names stop here."""

from __future__ import annotations

import json
import os
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, suspended_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName

# Written into the volume groups and pools that this collection makes; only what carries it is ever removed.
OWNER_TAG = "devicemapper.containers"

DEVICES = "/dev"  # where LVM makes a folder for each of its groups

MISSING = (
    "LVM is not installed on this host: install the packages lvm2, thin-provisioning-tools and dmeventd (Debian "
    "family) or lvm2, device-mapper-persistent-data and device-mapper-event (Red Hat family)"
)

# Field names are those of lvs -o help, pvs -o help and vgs -o help; the same in 2.02.158 and 2.03.31.
_FIELDS = {
    "vg": (
        "vg_name vg_uuid vg_attr vg_size vg_extent_size vg_extent_count vg_free_count vg_seqno vg_tags vg_systemid "
        "vg_lock_type vg_missing_pv_count"
    ),
    "pv": (
        "pv_name pv_uuid vg_name pv_size dev_size pe_start pv_pe_count pv_pe_alloc_count pv_in_use pv_missing "
        "pv_duplicate"
    ),
    "seg": (
        "vg_name lv_name lv_uuid lv_attr lv_size lv_tags lv_active lv_device_open lv_suspended lv_health_status "
        "lv_check_needed lv_profile lv_when_full lv_kernel_major lv_kernel_minor segtype data_lv metadata_lv "
        "pool_lv lv_metadata_size data_percent metadata_percent chunk_size zero discards transaction_id seg_monitor "
        "lv_inactive_table"
    ),
    # Not needed, but the report has these sections whether one wants them or not, and then with every field.
    "lv": "lv_uuid",
    "pvseg": "pv_uuid",
}


def _number(value: t.Any) -> int:
    """Return a count or a size in bytes; LVM writes what it does not know as an empty string, null or -1."""
    return int(value) if value not in (None, "") else 0


def _percent(value: t.Any) -> float | None:
    """Return a percentage, None where LVM knows none (an inactive or failed pool: empty, null or -1)."""
    return float(value) if value not in (None, "") and float(value) >= 0 else None


def _flag(value: t.Any) -> bool:
    """Return a flag, which LVM writes as a word or as 1; as an empty string, 0 or null when it is off."""
    return value not in (None, "", "0", 0, -1, "-1", "unknown")


def _text(value: t.Any) -> str:
    """Return a name; the names of hidden volumes stand in brackets."""
    return str(value or "").strip("[]")


def _tags(value: t.Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(tag) for tag in value)
    return tuple(tag for tag in str(value or "").split(",") if tag)


@dataclass(frozen=True)
class PhysicalVolume:
    """A device that carries an LVM label."""

    device: str  # canonical path
    vg: str  # empty: in no group
    size: int  # bytes
    device_size: int  # bytes
    data_start: int  # bytes from the start of the device to the first extent (pe_start)
    extents: int
    extents_used: int
    in_use: bool  # marked as used by a group, even where that group's metadata is missing
    missing: bool = False
    duplicate: bool = False
    uuid: str = ""

    @classmethod
    def from_row(cls, row: t.Mapping[str, t.Any]) -> PhysicalVolume:
        return cls(
            device=os.path.realpath(str(row["pv_name"]))
            if str(row["pv_name"]).startswith("/")
            else str(row["pv_name"]),
            # "[unknown]" is LVM's word for the group of a device that is in use, but whose group's metadata is missing.
            vg=str(row.get("vg_name") or "").replace("[unknown]", ""),
            size=_number(row["pv_size"]),
            device_size=_number(row["dev_size"]),
            data_start=_number(row["pe_start"]),
            extents=_number(row["pv_pe_count"]),
            extents_used=_number(row["pv_pe_alloc_count"]),
            in_use=_flag(row["pv_in_use"]),
            missing=_flag(row["pv_missing"]),
            duplicate=_flag(row.get("pv_duplicate")),
            uuid=str(row["pv_uuid"]),
        )

    def can_grow(self, extent_size: int) -> bool:
        """Whether the device has room for another extent; pv_size never equals dev_size, so the difference tells."""
        return self.device_size - self.data_start - self.size >= extent_size


@dataclass(frozen=True)
class VolumeGroup:
    """A volume group."""

    name: str
    extent_size: int  # bytes
    extents: int
    extents_free: int
    tags: tuple[str, ...] = ()
    attributes: str = "wz--n-"
    system_id: str = ""
    lock_type: str = ""
    missing_devices: int = 0
    sequence: int = 0  # grows with every change of the group's metadata
    uuid: str = ""

    @classmethod
    def from_row(cls, row: t.Mapping[str, t.Any]) -> VolumeGroup:
        return cls(
            name=str(row["vg_name"]),
            extent_size=_number(row["vg_extent_size"]),
            extents=_number(row["vg_extent_count"]),
            extents_free=_number(row["vg_free_count"]),
            tags=_tags(row["vg_tags"]),
            attributes=str(row["vg_attr"]),
            system_id=str(row.get("vg_systemid") or ""),
            lock_type=str(row.get("vg_lock_type") or ""),
            missing_devices=_number(row["vg_missing_pv_count"]),
            sequence=_number(row["vg_seqno"]),
            uuid=str(row["vg_uuid"]),
        )

    @property
    def is_ours(self) -> bool:
        """Whether this collection made it."""
        return OWNER_TAG in self.tags

    def obstacles(self, local_system_id: str) -> list[str]:
        """Return why the group may not be changed from a host with this system ID; empty where it may."""
        reasons = []
        if self.attributes[2:3] == "x":
            reasons.append(f"volume group {self.name} is exported: see 'vgimport {self.name}'")
        if self.attributes[0:1] == "r":
            reasons.append(f"volume group {self.name} is read-only: see 'vgchange --permission rw {self.name}'")
        if self.attributes[5:6] in ("c", "s") or self.lock_type not in ("", "none"):
            reasons.append(f"volume group {self.name} is shared with other hosts; a pool for containers needs its own")
        if self.system_id and self.system_id != local_system_id:
            reasons.append(f"volume group {self.name} belongs to another system (system ID {self.system_id})")
        if self.missing_devices:
            reasons.append(
                # vgreduce(8) refuses by itself where a volume would lose a part. A power cut right after vgextend
                # leaves this too, where the new disk had not written its label through yet (seen).
                f"volume group {self.name} misses {self.missing_devices} of its devices. Bring them back; or, if they "
                f"are gone for good and nothing of the group lies on them, run 'vgreduce --removemissing {self.name}'"
            )
        return reasons


@dataclass(frozen=True)
class LogicalVolume:
    """A logical volume; the fields from ``data_volume`` on are of thin pools."""

    vg: str
    name: str
    type: str  # of its (first) segment: linear, striped, thin-pool, ...
    size: int  # bytes
    tags: tuple[str, ...] = ()
    attributes: str = ""
    active: bool = False
    open: bool = False
    suspended: bool = False
    hidden: bool = False
    health: str = ""  # LVM's word: "", partial, failed, out_of_data, metadata_read_only, unknown
    check_needed: bool = False
    profile: str = ""
    when_full: str = ""  # queue or error
    major: int = -1
    minor: int = -1
    pool: str = ""  # of a thin volume: the pool that it lies in
    data_volume: str = ""
    metadata_volume: str = ""
    metadata_size: int = 0  # bytes
    data_percent: float | None = None
    metadata_percent: float | None = None
    chunk_size: int = 0  # bytes
    zero: bool = False
    discards: str = ""
    transaction_id: int = 0
    monitored: bool = False
    low_water_mark: int | None = None  # chunks, as the running kernel table has it; None while inactive
    uuid: str = ""
    inactive_table: bool = False  # whether a table is loaded that is not in use

    @classmethod
    def from_row(cls, row: t.Mapping[str, t.Any]) -> LogicalVolume:
        return cls(
            vg=str(row["vg_name"]),
            name=_text(row["lv_name"]),
            hidden=str(row["lv_name"]).startswith("["),
            type=str(row["segtype"]),
            size=_number(row["lv_size"]),
            tags=_tags(row["lv_tags"]),
            attributes=str(row["lv_attr"]),
            active=_flag(row["lv_active"]),
            open=_flag(row["lv_device_open"]),
            suspended=_flag(row["lv_suspended"]),
            health=str(row["lv_health_status"] or ""),
            check_needed=_flag(row["lv_check_needed"]),
            profile=str(row["lv_profile"] or ""),
            when_full=str(row["lv_when_full"] or ""),
            major=_number(row["lv_kernel_major"]),
            minor=_number(row["lv_kernel_minor"]),
            pool=_text(row["pool_lv"]),
            data_volume=_text(row["data_lv"]),
            metadata_volume=_text(row["metadata_lv"]),
            metadata_size=_number(row["lv_metadata_size"]),
            data_percent=_percent(row["data_percent"]),
            metadata_percent=_percent(row["metadata_percent"]),
            chunk_size=_number(row["chunk_size"]),
            zero=_flag(row["zero"]),
            discards=str(row["discards"] or ""),
            transaction_id=_number(row["transaction_id"]),
            monitored=row["seg_monitor"] == "monitored",
            uuid=str(row["lv_uuid"]),
            inactive_table=_flag(row.get("lv_inactive_table")),
        )

    @property
    def is_pool(self) -> bool:
        return self.type == "thin-pool"

    @property
    def live(self) -> bool:
        """Whether the kernel serves it.

        A command that was killed may leave a volume active and yet suspended, mapped without a table (lvs(8), lv_attr,
        State: d), or with one that is not in use (i); X is a device without a node. Reading a suspended one hangs.
        """
        return self.active and not self.suspended and self.attributes[4:5] not in ("d", "i", "X")

    @property
    def full_name(self) -> str:
        return f"{self.vg}/{self.name}"

    @property
    def dm_name(self) -> str:
        """The name under /dev/mapper, which Docker's dm.thinpooldev and containerd's pool_name want."""
        return device_names.join(self.vg, self.name)

    @property
    def pool_name(self) -> PoolName:
        return PoolName(self.vg, self.name)


@dataclass(frozen=True)
class LvmState:
    """Everything LVM knows of a host at one moment; the default is a host without LVM."""

    groups: tuple[VolumeGroup, ...] = ()
    devices: tuple[PhysicalVolume, ...] = ()
    volumes: tuple[LogicalVolume, ...] = ()
    system_id: str = ""  # of this host; only asked for where a group carries one
    in_dev: frozenset[str] = frozenset()  # names in /dev, which no new group can have

    @classmethod
    def parse(cls, text: str) -> LvmState:
        """Return the values in the JSON of ``lvm fullreport``.

        Each volume group has its own element of ``report``, and one more lists the physical volumes in no group.
        Since 2.03.26 a ``log`` stands beside them (log/report_command_log); it is left alone.
        """
        sections: dict[str, list[dict[str, t.Any]]] = {"vg": [], "pv": [], "seg": []}
        try:
            for element in json.loads(text)["report"]:
                for section, rows in sections.items():
                    rows.extend(element.get(section) or [])
            volumes: dict[str, LogicalVolume] = {}
            for row in sections["seg"]:
                volume = LogicalVolume.from_row(row)
                volumes.setdefault(volume.uuid, volume)  # a volume has a row for each of its segments
            return cls(
                groups=tuple(VolumeGroup.from_row(row) for row in sections["vg"]),
                devices=tuple(PhysicalVolume.from_row(row) for row in sections["pv"]),
                volumes=tuple(volumes.values()),
            )
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise RefusedError(
                f"LVM's report could not be understood ({type(error).__name__}: {error}): see 'lvm fullreport "
                "--reportformat json', and whether lvm2 is 2.02.158 or later"
            ) from error

    def group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.groups if group.name == name), None)

    def device(self, path: str) -> PhysicalVolume | None:
        """Return the physical volume on a device, given by its canonical path."""
        return next((device for device in self.devices if device.device == path), None)

    def devices_of(self, group: str) -> list[PhysicalVolume]:
        return [device for device in self.devices if device.vg == group]

    def volume(self, group: str, name: str) -> LogicalVolume | None:
        return next((volume for volume in self.volumes if (volume.vg, volume.name) == (group, name)), None)

    def volumes_of(self, group: str) -> list[LogicalVolume]:
        return [volume for volume in self.volumes if volume.vg == group]

    def spare(self, group: str) -> LogicalVolume | None:
        """Return the volume that LVM keeps for the repair of a pool's metadata (lvmthin(7), "pmspare")."""
        return next((volume for volume in self.volumes_of(group) if volume.name.endswith("_pmspare")), None)

    def with_group(self, group: VolumeGroup) -> LvmState:
        """Return a state in which a group is as planned."""
        return replace(self, groups=(*(other for other in self.groups if other.name != group.name), group))

    def with_device(self, device: PhysicalVolume) -> LvmState:
        return replace(self, devices=(*(other for other in self.devices if other.device != device.device), device))

    def with_volume(self, volume: LogicalVolume) -> LvmState:
        return replace(self, volumes=(*(v for v in self.volumes if (v.vg, v.name) != (volume.vg, volume.name)), volume))

    def without(self, *, group: str = "", device: str = "", volume: tuple[str, str] = ("", "")) -> LvmState:
        """Return a state in which something is gone."""
        return replace(
            self,
            groups=tuple(g for g in self.groups if g.name != group),
            devices=tuple(d for d in self.devices if d.device != device),
            volumes=tuple(v for v in self.volumes if (v.vg, v.name) != volume and v.vg != (group or None)),
        )


def read() -> LvmState:
    """Return LVM's report of this host: one LVM process, and one of dmsetup where a thin pool is active.

    Groups of other systems and shared groups are read too, so that they can be named in a refusal.
    """
    if not process.find("lvm"):
        raise RefusedError(MISSING)
    suspended_devices.check()
    command = [
        "lvm",
        "fullreport",
        "--all",
        "--foreign",
        "--shared",
        "--units",
        "b",
        "--nosuffix",
        "--reportformat",
        "json",
    ]
    for section, fields in _FIELDS.items():
        command += ["--configreport", section, "--options", fields.replace(" ", ",")]
    # Status 5 with a report: a device is missing or a group could not be read; what was read still counts.
    lvm = replace(LvmState.parse(process.run(*command, accept=(0, 5))), in_dev=frozenset(os.listdir(DEVICES)))
    if any(group.system_id for group in lvm.groups):
        # "system ID: name", or nothing behind the colon (lvmsystemid(7)).
        lvm = replace(lvm, system_id=process.run("lvm", "systemid").rpartition("system ID:")[2].strip())
    if any(volume.is_pool and volume.active for volume in lvm.volumes):
        marks = parse_low_water_marks(process.run("dmsetup", "table", "--target", "thin-pool"))
        lvm = replace(
            lvm,
            volumes=tuple(
                replace(volume, low_water_mark=marks.get(volume.dm_name, marks.get(f"{volume.dm_name}-tpool")))
                if volume.is_pool and volume.active
                else volume
                for volume in lvm.volumes
            ),
        )
    return lvm


_POOL_TABLE = re.compile(r"^(?P<name>\S+): \d+ \d+ thin-pool \S+ \S+ \d+ (?P<mark>\d{1,18})", re.MULTILINE)


def parse_low_water_marks(text: str) -> dict[str, int]:
    """Return the low water mark, in chunks, of each pool in the output of ``dmsetup table``.

    Line format: Documentation/admin-guide/device-mapper/thin-provisioning.rst, "thin-pool <metadata dev>
    <data dev> <data block size> <low water mark>".
    """
    return {match["name"]: int(match["mark"]) for match in _POOL_TABLE.finditer(text)}


def low_water_mark(pool_size: int, chunk_size: int, threshold: int) -> int:
    """Return the mark that LVM gives a pool: the free chunks at which the kernel sends its event.

    lib/thin/thin.c _thin_pool_add_target_line(); 0, "never", from a threshold of 100 percent on.
    """
    return pool_size // chunk_size * (100 - max(threshold, 50)) // 100 if threshold < 100 else 0


def configuration(*keys: str, profile: str = "") -> dict[str, str]:
    """Return values of LVM's configuration as it takes effect, with a metadata profile where one is named."""
    words = ["lvmconfig", "--typeconfig", "full"] + (["--metadataprofile", profile] if profile else [])
    found = re.findall(r"^\s*(\w+)=(?:\"(.*)\"|(.*))$", process.run(*words, *keys), re.MULTILINE)
    return {key: quoted or plain for key, quoted, plain in found}


THIN_CHECK = "global/thin_check_executable"


def missing_thin_check(values: t.Mapping[str, str]) -> str:
    """Return the program that LVM would check a pool's metadata with before it activates it, where it is not there.

    Without it LVM activates the pool unchecked, or in older versions not at all, which then shows at the next boot.
    An empty setting is the administrator's word that nothing is checked (lvm.conf(5), global/thin_check_executable).
    """
    program = values.get(THIN_CHECK.partition("/")[2], "")
    return program if program and not os.access(program, os.X_OK) else ""


def no_thin_check(name: str, program: str) -> str:
    """Return what is to be told of a pool whose metadata cannot be checked."""
    return (
        f"{program}, with which LVM checks the metadata of {name} before it activates it, is not there, and after a "
        "reboot the pool may not come up: install thin-provisioning-tools (Debian family) or "
        "device-mapper-persistent-data (Red Hat family), or correct global/thin_check_executable in lvm.conf"
    )
