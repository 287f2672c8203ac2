# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How modules return LVM's values and show them in a diff: sizes in bytes, what does not exist as null."""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    PhysicalVolume,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import AutoExtension

View = t.Dict[str, t.Any]


def physical_volume(volume: PhysicalVolume) -> View:
    return {"device": volume.device, "vg": volume.vg or None, "size": volume.size}


def physical_volumes(lvm: LvmState, paths: t.Iterable[str]) -> list[View]:
    """Return the physical volumes on the devices, those that are none left out."""
    found = (lvm.device(path) for path in paths)
    return [physical_volume(volume) for volume in found if volume]


def volume_group(lvm: LvmState, name: str) -> View | None:
    group = lvm.group(name)
    if group is None:
        return None
    return {
        "name": group.name,
        "devices": sorted(device.device for device in lvm.devices_of(group.name)),
        "size": group.extents * group.extent_size,
        "free": group.extents_free * group.extent_size,
        "extent_size": group.extent_size,
        "extents": group.extents,
        "extents_free": group.extents_free,
        "tags": list(group.tags),
    }


def pool(volume: LogicalVolume | None) -> View | None:
    """Return a thin pool's settings: all that a spec can speak of, nothing that changes by itself."""
    if volume is None:
        return None
    if not volume.is_pool:
        return {"vg": volume.vg, "name": volume.name, "type": volume.type, "size": volume.size}
    return {
        "vg": volume.vg,
        "name": volume.name,
        "type": volume.type,
        "dm_name": volume.dm_name,
        "path": f"/dev/mapper/{volume.dm_name}",
        "size": volume.size,
        "metadata_size": volume.metadata_size,
        "chunk_size": volume.chunk_size,
        "zero": volume.zero,
        "discards": volume.discards,
        "when_full": volume.when_full,
        "profile": volume.profile or None,
        "active": volume.active,
        "monitored": volume.monitored,
        "low_water_mark": volume.low_water_mark,
        "tags": list(volume.tags),
    }


def auto_extension(extension: AutoExtension) -> View:
    return {
        "extent_size": extension.extent_size,
        "data_needed": extension.data_needed,
        "metadata_needed": extension.metadata_needed,
        "free": extension.free,
        "data_possible": extension.data_possible,
        "metadata_possible": extension.metadata_possible,
    }
