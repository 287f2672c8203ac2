# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How much of a pool each thin device holds, and whose it is."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName

# Blocks, not bytes: the pool's chunks, whose size LVM knows. thin_ls(8), --format.
FIELDS = "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS,TRANSACTION"


@dataclass(frozen=True)
class ThinDevice:
    """A device in a pool's metadata, its use in chunks."""

    device_id: int
    mapped: int
    exclusive: int  # in no other device: what its removal would give back
    shared: int
    transaction_id: int  # of the pool, when the device was made


@dataclass(frozen=True)
class Owner:
    """What a device is to the program that made it."""

    engine: str  # docker, containerd, lvm
    kind: str  # container, container_init, image_layer, base, snapshot, volume, record
    name: str
    id: str = ""
    images: tuple[str, ...] = ()  # names of the images that the layer is in, or that the container was made from
    size: int | None = None  # bytes that the device pretends to have


def parse(text: str) -> list[ThinDevice]:
    """Return the devices in the output of ``thin_ls --no-headers`` with these fields."""
    try:
        return [ThinDevice(*(int(word) for word in line.split())) for line in text.splitlines() if line.strip()]
    except (TypeError, ValueError) as error:
        raise RefusedError(f"what thin_ls printed cannot be understood ({error})"[:300]) from error


_THIN_TABLE = re.compile(r"^(?P<name>\S+): \d+ \d+ thin (?P<pool>\d+:\d+) (?P<id>\d+)", re.MULTILINE)


def parse_active(text: str, pool: str) -> dict[int, str]:
    """Return the device-mapper name of each active device of a pool, by its id, from ``dmsetup table``.

    Line format: Documentation/admin-guide/device-mapper/thin-provisioning.rst, "thin <pool dev> <dev id>"; the pool is
    named by its device number, major:minor.
    """
    return {int(match["id"]): match["name"] for match in _THIN_TABLE.finditer(text) if match["pool"] == pool}


def volumes(active: t.Mapping[int, str], vg: str, names: t.Container[str]) -> dict[int, Owner]:
    """Return the devices that are LVM's own thin volumes; those that are not active are not known by their ids."""
    found = {}
    for device_id, dm_name in active.items():
        name = PoolName.of_device(dm_name)
        if name and name[0] == vg and name[1] in names:
            found[device_id] = Owner("lvm", "volume", f"{vg}/{name[1]}")
    return found


def join(
    devices: t.Iterable[ThinDevice], owners: t.Mapping[int, Owner], active: t.Mapping[int, str], chunk_size: int
) -> list[dict[str, t.Any]]:
    """Return the devices as the module tells them, in bytes, those that hold most for themselves first."""
    ordered = sorted(devices, key=lambda device: (-device.exclusive, -device.mapped, device.device_id))
    return [
        {
            "device_id": device.device_id,
            "mapped": device.mapped * chunk_size,
            "exclusive": device.exclusive * chunk_size,
            "shared": device.shared * chunk_size,
            "transaction_id": device.transaction_id,
            "dm_name": active.get(device.device_id),
            "owner": as_result(owners.get(device.device_id)),
        }
        for device in ordered
    ]


def as_result(owner: Owner | None) -> dict[str, t.Any] | None:
    if owner is None:
        return None
    return {
        "engine": owner.engine,
        "kind": owner.kind,
        "name": owner.name,
        "id": owner.id or None,
        "images": list(owner.images),
        "size": owner.size,
    }


def total(rows: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, int]:
    """Return how many devices there are, and what they hold for themselves."""
    return {"devices": len(rows), "exclusive": sum(row["exclusive"] for row in rows)}
