# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Thin devices that nobody has on record, and the proof that nobody uses them.

Both engines write a device down before they make it: containerd in its database (snapshots/devmapper/pool_device.go,
CreateThinDevice), Docker in the transaction that it opens (daemon/graphdriver/devmapper/deviceset.go). So a device that
is in no record before and after it was seen in the pool is nobody's. What cannot be read counts as a record of all.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import devices_path
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace

_TRANSACTION = "transaction-metadata"

Row = t.Mapping[str, t.Any]  # a device as pool_usage tells it


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
    """Return the devices that are nobody's: on no record and not active, the same both times."""
    found = {}
    for number, row in second.unknown.items():
        was = first.unknown.get(number)
        if was is not None and row["dm_name"] is None and was["dm_name"] is None:
            same = all(was[key] == row[key] for key in ("transaction_id", "mapped"))
            if same:
                found[number] = row
    return found


def is_ones_own(docker: DockerPlace, containerd: SnapshotterPlace | None, dm_name: str) -> bool:
    """Whether just one engine is configured to use a pool, so that its records are of all that is in there."""
    return (docker.pool == dm_name) != bool(containerd and containerd.pool == dm_name)


def recorded(docker: DockerPlace, containerd: SnapshotterPlace | None, dm_name: str) -> frozenset[int]:
    """Return the ids of all devices that a pool's engine has on record. Raises RefusedError where that is unclear."""
    if containerd and containerd.pool == dm_name:
        return of_containerd(containerd)
    return of_docker(docker.root)


def of_containerd(place: SnapshotterPlace) -> frozenset[int]:
    """Return the ids in the snapshotter's database, all of which must be understood."""
    path = devices_path(place.folder, place.pool)
    try:
        rows = bbolt.read(path)[b"devices"]
        return frozenset(int(json.loads(text)["device_id"]) for text in rows.values())
    except (OSError, bbolt.DamagedError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"{path} cannot be read whole ({error}), so that nothing in the pool is nobody's") from error


def of_docker(root: str) -> frozenset[int]:
    """Return the ids in Docker's records, all of which must be understood, and that of a transaction that is open."""
    folder = f"{root}/{DRIVER}/metadata"
    found = []
    for name in [*docker_layers.records(root), _TRANSACTION]:
        try:
            found.append(int(json.loads(files.read_limited(f"{folder}/{name}"))["device_id"]))
        except FileNotFoundError as error:
            if name == _TRANSACTION:
                raise RefusedError(f"{folder} has no record of transactions: it is not Docker's") from error
            # Docker removed the device just now.
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise RefusedError(
                f"{folder}/{name} cannot be read ({error}), so that nothing in the pool is nobody's"
            ) from error
    return frozenset(found)
