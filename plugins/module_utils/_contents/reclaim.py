# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Space that a pool can have back while its containers run: what is looked at, and the steps that give it back."""

from __future__ import annotations

import functools
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import (
    discards,
    free_space,
    metadata_snapshot,
    orphans,
    pool_usage,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.free_space import Extent, MountPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.orphans import Row, Sighting
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume, LvmState

APART = 3.0  # seconds between two sights of a pool; an engine makes or removes a device in less


@dataclass
class Live:
    """A device that is active, and what its filesystem could give back."""

    row: Row
    places: t.Sequence[MountPlace] = ()
    chunks: t.Sequence[Extent] = ()  # that it has, and that are wholly free in its filesystem
    why_not: str = ""  # why that is not known, or was not given back
    discarded: int | None = None  # bytes that the filesystem said it has discarded

    def reclaimable(self, chunk: int) -> int:
        """Return how many bytes the pool has back at most: chunks that others share are not counted."""
        return min(sum(extent.length for extent in self.chunks) * chunk, self.row["exclusive"])

    @property
    def name(self) -> str:
        owner = self.row["owner"]
        return f"{owner['kind']} {owner['name']}" if owner else f"device {self.row['device_id']}"


@dataclass(frozen=True)
class Looked:
    """What was seen of a pool."""

    usage: t.Mapping[str, t.Any]  # as thin_pool_usage_info tells it, of all devices
    sighting: Sighting | None  # None: the records could not be read whole
    unclear: str = ""  # why not


def look(lvm: LvmState, pool: LogicalVolume, places: tuple) -> Looked:
    """Return what is in a pool, and what the records say before and after it was listed."""
    docker, containerd = places
    try:
        if not orphans.is_ones_own(docker, containerd, pool.dm_name):
            raise RefusedError(
                "the pool must be named by the configuration of Docker or of containerd, and not of both (a pool that "
                "Docker made itself, or that of another containerd, is not)"
            )
        if any(volume.pool == pool.name for volume in lvm.volumes_of(pool.vg)):
            raise RefusedError("there are thin volumes of LVM's in the pool")
        before = orphans.recorded(docker, containerd, pool.dm_name)
    except RefusedError as error:
        return Looked(pool_usage.read(lvm, pool, places), None, str(error))
    usage = pool_usage.read(lvm, pool, places)
    try:
        after = orphans.recorded(docker, containerd, pool.dm_name)
    except RefusedError as error:
        return Looked(usage, None, str(error))
    if not usage["records"]:
        return Looked(usage, None, "the records of the engine are not those of this pool")
    devices = {row["device_id"]: row for row in usage["devices"]}
    unclear = orphans.doubt(before, after, devices)
    return Looked(usage, None if unclear else Sighting(devices, before.ids, after.ids), unclear)


def live(pool: LogicalVolume, usage: t.Mapping[str, t.Any]) -> list[Live]:
    """Return the active devices of a pool with what their filesystems have free, those that hold most first."""
    rows = [row for row in usage["devices"] if row["dm_name"]]
    found = [Live(row) for row in rows]
    if not found:
        return found
    with metadata_snapshot.held(pool) as snapshot:
        numbers = {
            one.row["dm_name"]: snapshot.devices[one.row["dm_name"]].number
            for one in found
            if one.row["dm_name"] in snapshot.devices
        }
        places = free_space.find_mounts(set(numbers.values()))
        for one in found:
            one.places = places.get(numbers.get(one.row["dm_name"], ""), ())
        wanted = [str(one.row["device_id"]) for one in found if one.places]
        mapped: dict[int, list[Extent]] = {}
        if wanted:
            options = [word for number in wanted for word in ("--dev-id", number)]
            mapped = free_space.parse_mappings(process.lines("thin_dump", "-m", snapshot.metadata_path, *options))
    for one in found:
        _measure(one, numbers.get(one.row["dm_name"], ""), mapped.get(one.row["device_id"], []), pool.chunk_size)
    return found


def _measure(one: Live, number: str, mapped: t.Sequence[Extent], chunk: int) -> None:
    if not one.places:
        one.why_not = (
            "no filesystem of it is mounted on this host: whoever has the device, such as a guest, must discard"
        )
    elif all(place.read_only for place in one.places):
        one.why_not = "its filesystem is mounted to be read only"
    elif discards.largest(number) == 0:
        one.why_not = "its device takes no discards"
    else:
        try:
            with free_space.opened(one.places) as (_place, descriptor):
                one.chunks = free_space.reclaimable(free_space.free_extents(descriptor), mapped, chunk)
        except OSError as error:
            one.why_not = free_space.why_not(error)
        except RefusedError as error:
            one.why_not = str(error)


def decide(
    pool: LogicalVolume,
    found: t.Sequence[Live],
    orphaned: t.Mapping[int, Row],
    remove: t.Callable[[int], None],
    rate: int,
) -> list[Step]:
    """Return the steps: orphans first, since what was seen of them is to be as it was, then the filesystems."""
    steps = [
        Step(
            f"remove device {number} of thin pool {pool.full_name}, which nobody has on record "
            f"({human(row['exclusive'])})",
            work=functools.partial(remove, number),
        )
        for number, row in sorted(orphaned.items())
    ]
    for one in found:
        size = one.reclaimable(pool.chunk_size)
        if size and not one.why_not:
            steps.append(
                Step(
                    f"discard what is free in the filesystem of {one.name} ({human(size)})",
                    work=functools.partial(_give_back, one, pool.chunk_size, rate),
                )
            )
    return steps


def remover(pool: LogicalVolume, places: tuple, target: str) -> t.Callable[[int], None]:
    """Return what deletes a device that was proved to be nobody's, if it still is on no record.

    The kernel refuses to delete one that is active.
    """
    docker, containerd = places

    def remove(number: int) -> None:
        if number in orphans.recorded(docker, containerd, pool.dm_name).ids:
            raise RefusedError(f"device {number} of thin pool {pool.full_name} is on record by now, and was left alone")
        process.run("dmsetup", "message", target, "0", f"delete {number}")

    return remove


def _give_back(one: Live, chunk: int, rate: int) -> None:
    """Do it; a container that is gone meanwhile, or does not let it, is told and keeps nobody else from it."""
    largest = min(rate, 256 * 1024**2) if rate else 1024**3
    try:
        with free_space.opened(one.places) as (_place, descriptor):
            one.discarded = free_space.give_back(descriptor, free_space.windows(one.chunks, chunk, largest), rate)
    except OSError as error:
        one.why_not = free_space.why_not(error)
    except RefusedError as error:
        one.why_not = str(error)


def proved_orphans(lvm: LvmState, pool: LogicalVolume, places: tuple, first: Looked) -> dict[int, Row]:
    """Return the devices that are nobody's, after a second sight that is some seconds apart from the first."""
    if first.sighting is None or not first.sighting.unknown:
        return {}
    time.sleep(APART)
    second = look(lvm, pool, places)
    return orphans.proved(first.sighting, second.sighting) if second.sighting else {}
