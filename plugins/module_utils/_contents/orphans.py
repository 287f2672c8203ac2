# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Thin devices that nobody has on record, and the proof that nobody uses them.

Both engines write a device down before they make it: containerd in its database (snapshots/devmapper/pool_device.go,
CreateThinDevice), Docker in the transaction that it opens (daemon/graphdriver/devmapper/deviceset.go), and keep that
until the device is deleted. So a device that is in no record before and after it was seen in the pool is nobody's, if
the records are those of whoever uses the pool, and are whole. What speaks against either leaves nothing to nobody.

A device's number is its only name, and an engine may take a number again once it is free. As long as the device is
there nobody can make another of that number. The kernel counts for each chunk who has it, so that snapshots of a device
that is deleted, and what it was a snapshot of, keep all of theirs.
"""

from __future__ import annotations

import glob
import json
import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt, layouts, snapshots
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import (
    PLUGIN,
    ROOT,
    devices_path,
    snapshots_path,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace

_TRANSACTION = "transaction-metadata"
_METADATA = f"{DRIVER}/metadata"
_TAKEN = b"\x01"  # of a device's number in containerd's database; one that is free or faulty is no device's

Row = t.Mapping[str, t.Any]  # a device as pool_usage tells it


@dataclass(frozen=True)
class Records:
    """What the engine of a pool has on record of it."""

    ids: frozenset[int]
    # Docker's, by id: the transaction that made the device, as the pool's metadata has it too.
    transactions: t.Mapping[int, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()  # layers and snapshots whose device ought to be on record and is not


@dataclass(frozen=True)
class Sighting:
    """What was seen of a pool at one time: its devices, and the ids on record before and after they were listed."""

    devices: t.Mapping[int, Row]
    before: frozenset[int]
    after: frozenset[int]

    @property
    def unknown(self) -> dict[int, Row]:
        """The devices that nobody has on record."""
        return {
            number: row
            for number, row in self.devices.items()
            if number not in self.before and number not in self.after
        }


def proved(first: Sighting, second: Sighting) -> dict[int, Row]:
    """Return the devices that are nobody's: on no record and not active, the same both times.

    None where one that nobody has on record is active: whoever has that may have others.
    """
    if any(row["dm_name"] for sighting in (first, second) for row in sighting.unknown.values()):
        return {}
    found = {}
    for number, row in second.unknown.items():
        was = first.unknown.get(number)
        if was is not None and all(was[key] == row[key] for key in ("transaction_id", "mapped")):
            found[number] = row
    return found


def is_ones_own(docker: DockerPlace, containerd: SnapshotterPlace | None, dm_name: str) -> bool:
    """Whether just one engine is configured to use a pool, so that its records are of all that is in there."""
    return (docker.pool == dm_name) != bool(containerd and containerd.pool == dm_name)


def recorded(docker: DockerPlace, containerd: SnapshotterPlace | None, dm_name: str) -> Records:
    """Return what a pool's engine has on record. Raises RefusedError where that is unclear."""
    others = _other_databases(containerd.folder if containerd else "", dm_name)
    if others:
        raise RefusedError(
            f"another containerd has records of this pool too ({', '.join(others)}), so that nothing in it is nobody's"
        )
    if containerd and containerd.pool == dm_name:
        return of_containerd(containerd)
    return of_docker(docker.root)


def doubt(before: Records, after: Records, devices: t.Mapping[int, Row]) -> str:
    """Return what speaks against it that records are those of a pool, and whole; empty where nothing does."""
    if devices and not devices.keys() & after.ids:
        return "not one of the pool's devices is on record, so that the records may be those of another pool"
    for number, transaction in after.transactions.items():
        # Docker makes a device, writes it down under the transaction that is open, and then has the pool take that
        # transaction's number.
        if number in devices and devices[number]["transaction_id"] + 1 != transaction:
            return (
                f"device {number} was made in another transaction than the one on record, so that the records are "
                "those of another pool"
            )
    # An engine that removes something has it on record for a moment without its device.
    lost = sorted(before.lost & after.lost)
    if lost:
        return (
            f"{len(lost)} of the engine's layers have no device on record, such as {lost[0]}, and what is on no record "
            "may be theirs"
        )
    return ""


def of_containerd(place: SnapshotterPlace) -> Records:
    """Return what is in the snapshotter's databases, all of which must be understood.

    Its snapshots are in another database than its devices. One of them that was lost, or is older than the other, does
    not have what was made since.
    """
    path = snapshots_path(place.folder)
    try:
        # Before the devices, which are on record first.
        wanted = snapshots.keys(bbolt.read(path))
        path = devices_path(place.folder, place.pool)
        database = bbolt.read(path)
        rows, numbers = database[b"devices"], database[b"device_ids"]
        ids = {int(json.loads(text)["device_id"]) for text in rows.values()}
        ids.update(int(number) for number, state in numbers.items() if state == _TAKEN)
        named = {name.decode().rpartition("-snap-")[2] for name in rows}
    except (OSError, bbolt.DamagedError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"{path} cannot be read whole ({error}), so that nothing in the pool is nobody's") from error
    lost = frozenset("/".join(name) for number, name in wanted.items() if number not in named)
    return Records(frozenset(ids), lost=lost)


def of_docker(root: str) -> Records:
    """Return Docker's records, all of which must be understood, and what else has been Docker's in the same pool."""
    ids, transactions = _of_docker(root)
    for folder in _other_roots(root):
        ids |= _of_docker(folder)[0]
    lost = docker_layers.layers(root).keys() - set(docker_layers.records(root))
    return Records(frozenset(ids), transactions, frozenset(lost))


def _of_docker(root: str) -> tuple[set[int], dict[int, int]]:
    """Return the ids in Docker's records, that of a transaction that is open too, and which transaction made which."""
    folder = f"{root}/{_METADATA}"
    ids, transactions = set(), {}
    for name in _names(root):
        try:
            record = json.loads(files.read_limited(f"{folder}/{name}"))
            ids.add(int(record["device_id"]))
            if name != _TRANSACTION:
                transactions[int(record["device_id"])] = int(record["transaction_id"])
        except FileNotFoundError as error:
            if name == _TRANSACTION:
                raise RefusedError(f"{folder} has no record of transactions: it is not Docker's") from error
            # Docker removed the device just now.
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise RefusedError(
                f"{folder}/{name} cannot be read ({error}), so that nothing in the pool is nobody's"
            ) from error
    return ids, transactions


def _names(root: str) -> t.Iterator[str]:
    """Yield the names of Docker's records, and that of the transaction before they are listed and after.

    It may be another one by then, and the device of the first be in no record that was there when they were listed.
    """
    yield _TRANSACTION
    yield from docker_layers.records(root)
    yield _TRANSACTION


def _other_roots(root: str) -> list[str]:
    """Return other data roots of the same Docker, whose records may be of the same pool.

    With userns-remap Docker keeps all in a folder of its root, named after the ids (daemon/daemon_unix.go); and what is
    moved aside keeps the root's name with something behind it.
    """
    patterns = (f"{glob.escape(root)}/*.*", f"{glob.escape(root)}.*", f"{glob.escape(os.path.dirname(root))}")
    found = (path for pattern in patterns for path in sorted(glob.glob(pattern)))
    return [path for path in found if os.path.exists(f"{path}/{_METADATA}/{_TRANSACTION}")]


def _other_databases(folder: str, dm_name: str) -> list[str]:
    """Return the databases that other containerds of this host have of a pool."""
    roots = [ROOT, *(layout.root for layout in layouts.PRESETS.values() if layout.root)]
    paths = (devices_path(f"{root}/{PLUGIN}", dm_name) for root in roots)
    return [path for path in paths if os.path.exists(path) and os.path.dirname(path) != folder]
