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
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import sector_size
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    areas,
    device_names,
    pool_status,
    suspended_devices,
)
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
        "vg_lock_type vg_missing_pv_count vg_profile max_pv"
    ),
    "pv": (
        "pv_name pv_uuid vg_name pv_size dev_size pe_start pv_pe_count pv_pe_alloc_count pv_in_use pv_missing "
        "pv_duplicate pv_allocatable"
    ),
    "seg": (
        "vg_name lv_name lv_uuid lv_attr lv_size lv_tags lv_active lv_device_open lv_suspended lv_health_status "
        "lv_check_needed lv_profile lv_when_full lv_kernel_major lv_kernel_minor segtype data_lv metadata_lv "
        "pool_lv lv_metadata_size data_percent metadata_percent chunk_size zero discards transaction_id seg_monitor "
        "lv_inactive_table lv_skip_activation move_pv seg_start_pe seg_pe_ranges"
    ),
    # Not needed, but the report has these sections whether one wants them or not, and then with every field.
    "lv": "lv_uuid",
    "pvseg": "pv_uuid",
}

# What shapes the report beside these words, of all that lvm.conf can set (lvmconfig --typeconfig full, sections global,
# log and report); the host's own settings stand behind it (lvm.conf(5), "--config").
_SETTINGS = (
    'log/prefix="  " log/command_names=0 log/silent=0 log/verbose=0 log/report_command_log=0 '
    "report/compact_output=0 report/buffered=1 report/aligned=1 report/headings=1 report/prefixes=0 report/quoted=1 "
    'report/columns_as_rows=0 report/binary_values_as_numeric=0 report/mark_hidden_devices=1 report/separator=" " '
    'report/list_item_separator="," report/two_word_unknown_device=0 report/compact_output_cols="" '
    'report/segs_sort_full="vg_name,lv_name,seg_start"'
)
# Every line of a report begins with one of these; what else LVM prints into it does not (lib/report, libdm-report.c).
_JSON = ("{", "}", "[", "]", '"', ",")


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
    vg_uuid: str = ""  # of its group; empty: in no group, or in one that is only planned
    allocatable: bool = True  # false only in a group
    sector_size: int = 0  # bytes of a logical block; 0: not known

    @classmethod
    def from_row(cls, row: t.Mapping[str, t.Any], vg_uuid: str = "") -> PhysicalVolume:
        return cls(
            device=areas.canonical(row["pv_name"]),
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
            vg_uuid=vg_uuid,
            allocatable=not row.get("vg_name") or _flag(row.get("pv_allocatable", "allocatable")),
        )

    @property
    def has_shrunk(self) -> bool:
        """Whether the device has become smaller than LVM's extents on it."""
        return bool(self.vg) and 0 < self.device_size < self.data_start + self.size

    def can_grow(self, extent_size: int) -> bool:
        """Whether the device has room for another extent; pv_size never equals dev_size, so the difference tells."""
        return self.device_size - self.data_start - self.size >= extent_size

    def unused(self, extent_size: int) -> int:
        """Return how many extents the device has room for beside those that LVM knows."""
        return max(0, (self.device_size - self.data_start) // extent_size - self.extents)


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
    profile: str = ""  # of every volume that has none of its own
    most_devices: int = 0  # 0: any number

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
            profile=str(row.get("vg_profile") or ""),
            most_devices=_number(row.get("max_pv")),
        )

    @property
    def is_ours(self) -> bool:
        """Whether this collection made it."""
        return OWNER_TAG in self.tags


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
    vg_uuid: str = ""  # of its group; empty: of one that is only planned
    skips_activation: bool = False
    is_linear: bool = True  # in all of its segments
    areas: tuple[areas.Area, ...] = ()  # of devices; none where it lies on other volumes
    moves_from: str = ""  # of the volume that pvmove works with: canonical path of the device that is emptied

    @classmethod
    def from_row(cls, row: t.Mapping[str, t.Any], vg_uuid: str = "") -> LogicalVolume:
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
            vg_uuid=vg_uuid,
            skips_activation=_flag(row.get("lv_skip_activation")),
            is_linear=str(row["segtype"]) == "linear",
            areas=areas.of_segment(row),
            moves_from=areas.canonical(row.get("move_pv") or ""),
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


class Copy(t.NamedTuple):
    """A device that LVM leaves out of its report: a copy of a physical volume, or one that its group gave up."""

    device: str  # canonical path
    of: str  # the physical volume's UUID, or the group's name


@dataclass(frozen=True)
class LvmState:
    """Everything LVM knows of a host at one moment; the default is a host without LVM.

    A group is known by its UUID. Where several have one name, that name means the one that group() returns, and its
    devices and volumes.
    """

    groups: tuple[VolumeGroup, ...] = ()
    devices: tuple[PhysicalVolume, ...] = ()
    volumes: tuple[LogicalVolume, ...] = ()
    system_id: str = ""  # of this host; only asked for where a group carries one
    in_dev: frozenset[str] = frozenset()  # names in /dev, which no new group can have
    duplicates: tuple[Copy, ...] = ()
    given_up: tuple[Copy, ...] = ()  # by vgreduce --removemissing, and back since

    @classmethod
    def parse(cls, text: str, complaints: str = "") -> LvmState:
        """Return the values in the JSON of ``lvm fullreport``, and in what it complained of meanwhile.

        Each volume group has its own element of ``report``, and one more lists the physical volumes in no group.
        Since 2.03.26 a ``log`` stands beside them (log/report_command_log); it is left alone.
        """
        groups, devices = [], []
        volumes: dict[tuple[str, str], LogicalVolume] = {}
        try:
            for element in _document(text)["report"]:
                own = [VolumeGroup.from_row(row) for row in element.get("vg") or []]
                uuid = own[0].uuid if own else ""
                groups += own
                devices += [PhysicalVolume.from_row(row, uuid) for row in element.get("pv") or []]
                for row in element.get("seg") or []:
                    segment = LogicalVolume.from_row(row, uuid)
                    # A volume has a row for each of its segments. The volumes of a copied group keep their UUIDs,
                    # whatever vgimportclone makes of the group's own (seen).
                    known = volumes.setdefault((uuid, segment.uuid), segment)
                    if known is not segment:
                        linear = known.is_linear and segment.is_linear
                        known = replace(known, is_linear=linear, areas=known.areas + segment.areas)
                    volumes[uuid, segment.uuid] = known
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            shown = next((line.strip() for line in text.splitlines() if not line.strip().startswith(_JSON)), "")
            said = "; ".join(filter(None, [shown, *map(str.strip, complaints.splitlines())]))[:500]
            raise RefusedError(
                f"LVM's report could not be understood ({type(error).__name__}: {error}"
                + (f"; LVM said: {said}" if said else "")
                + "): see 'lvm fullreport --reportformat json', the settings that lvm.conf has in its sections log and "
                "report, and whether lvm2 is 2.02.158 or later"
            ) from error
        return cls(
            groups=tuple(groups),
            devices=tuple(devices),
            volumes=tuple(volumes.values()),
            duplicates=_copies(_DUPLICATE, complaints),
            given_up=_copies(_GIVEN_UP, complaints),
        )

    def is_foreign(self, group: VolumeGroup) -> bool:
        """Whether LVM leaves the group to another system (lvmsystemid(7)).

        One whose ID is among local/extra_system_ids counts too, since LVM changes it but does not activate it (seen).
        """
        return group.system_id not in ("", self.system_id)

    def group(self, name: str) -> VolumeGroup | None:
        """Return the group that a name stands for: LVM's own choice, where it makes one, is that of this system.

        Where it makes none, the one in use is told of, then one of ours.
        """
        active = {volume.vg_uuid for volume in self.volumes if volume.active}
        return min(
            (group for group in self.groups if group.name == name),
            key=lambda group: (self.is_foreign(group), group.uuid not in active, not group.is_ours, group.uuid),
            default=None,
        )

    def namesakes(self, group: VolumeGroup) -> list[VolumeGroup]:
        """Return the other groups that keep LVM from knowing which one the name means; foreign ones do not."""
        return [
            other
            for other in self.groups
            if other.name == group.name and other.uuid != group.uuid and not self.is_foreign(other)
        ]

    @staticmethod
    def holds(group: VolumeGroup, item: PhysicalVolume | LogicalVolume) -> bool:
        """Whether a device or volume is of this group, and not of one that is merely called the same."""
        return item.vg == group.name and (not group.uuid or item.vg_uuid in ("", group.uuid))

    def device(self, path: str) -> PhysicalVolume | None:
        """Return the physical volume on a device, given by its canonical path."""
        return next((device for device in self.devices if device.device == path), None)

    def devices_of(self, name: str) -> list[PhysicalVolume]:
        group = self.group(name)
        return [device for device in self.devices if group and self.holds(group, device)]

    def volume(self, group: str, name: str) -> LogicalVolume | None:
        return next((volume for volume in self.volumes_of(group) if volume.name == name), None)

    def volumes_of(self, name: str) -> list[LogicalVolume]:
        group = self.group(name)
        return [volume for volume in self.volumes if group and self.holds(group, volume)]

    def spare(self, group: str) -> LogicalVolume | None:
        """Return the volume that LVM keeps for the repair of a pool's metadata (lvmthin(7), "pmspare")."""
        return next((volume for volume in self.volumes_of(group) if volume.name.endswith("_pmspare")), None)

    def with_group(self, group: VolumeGroup) -> LvmState:
        """Return a state in which a group is as planned."""
        others = (other for other in self.groups if (other.name, other.uuid) != (group.name, group.uuid))
        return replace(self, groups=(*others, group))

    def with_device(self, device: PhysicalVolume) -> LvmState:
        device = replace(device, vg_uuid=self._uuid(device.vg, device.vg_uuid) if device.vg else "")
        return replace(self, devices=(*(other for other in self.devices if other.device != device.device), device))

    def with_volume(self, volume: LogicalVolume) -> LvmState:
        volume = replace(volume, vg_uuid=self._uuid(volume.vg, volume.vg_uuid))
        key = (volume.vg, volume.vg_uuid, volume.name)
        return replace(self, volumes=(*(v for v in self.volumes if (v.vg, v.vg_uuid, v.name) != key), volume))

    def _uuid(self, name: str, known: str) -> str:
        """Return the UUID of the group that something planned will be of."""
        group = self.group(name)
        return known or (group.uuid if group else "")

    def without(self, *, group: str = "", device: str = "", volume: tuple[str, str] = ("", "")) -> LvmState:
        """Return a state in which something is gone."""
        gone = self.group(group)
        lost = self.volume(*volume)
        return replace(
            self,
            groups=tuple(g for g in self.groups if g != gone),
            devices=tuple(d for d in self.devices if d.device != device),
            volumes=tuple(v for v in self.volumes if v != lost and not (gone and self.holds(gone, v))),
        )


def _document(text: str) -> dict[str, t.Any]:
    """Return the JSON in what LVM printed: lines that it prints into it, or around it, are left out."""
    lines = [line for line in text.splitlines() if line.strip().startswith(_JSON)]
    return json.JSONDecoder().raw_decode("\n".join(lines).strip())[0]


# lib/cache/lvmcache.c, _print_duplicate_pvs() and others: the report has the device alone that LVM chose.
_DUPLICATE = re.compile(r"Not using device (?P<device>\S+) for PV (?P<of>[\w-]+)\.")
# lib/metadata/metadata.c, vg_read(): what a device says of its group is older than what the group says.
_GIVEN_UP = re.compile(r"outdated PV (?P<device>\S+) seqno \d+ has been removed in current VG (?P<of>\S+) seqno")


def _copies(pattern: re.Pattern, complaints: str) -> tuple[Copy, ...]:
    found = (Copy(os.path.realpath(match["device"]), match["of"]) for match in pattern.finditer(complaints))
    return tuple(dict.fromkeys(found))


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
        "--config",
        _SETTINGS,
    ]
    for section, fields in _FIELDS.items():
        command += ["--configreport", section, "--options", fields.replace(" ", ",")]
    # Status 5 with a report: a device is missing or a group could not be read; what was read still counts.
    _status, report, complaints = process.finish(*command, accept=(0, 5))
    lvm = replace(LvmState.parse(report, complaints), in_dev=frozenset(os.listdir(DEVICES)))
    for device in lvm.devices:
        lvm = lvm.with_device(replace(device, sector_size=sector_size(device.device)))
    if any(group.system_id for group in lvm.groups):
        # "system ID: name", or nothing behind the colon (lvmsystemid(7)).
        answer = process.run("lvm", "systemid").rpartition("system ID:")[2]
        lvm = replace(lvm, system_id=answer.partition("\n")[0].strip())
    if any(volume.is_pool and volume.active for volume in lvm.volumes):
        marks = pool_status.parse_low_water_marks(process.run("dmsetup", "table", "--target", "thin-pool"))
        for volume in lvm.volumes:
            if volume.is_pool and volume.active:
                mark = marks.get(volume.dm_name, marks.get(volume.dm_name + "-tpool"))
                lvm = lvm.with_volume(replace(volume, low_water_mark=mark))
    return lvm
