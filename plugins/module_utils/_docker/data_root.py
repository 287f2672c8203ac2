# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What Docker keeps in its data root, and whether that fits the pool it is to be put on."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import load
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

DEFAULT_ROOT = "/var/lib/docker"
DRIVER = "devicemapper"


@dataclass(frozen=True)
class DockerData:
    """Docker's records on the disk, by storage driver."""

    root: str = DEFAULT_ROOT
    images: t.Mapping[str, int] = field(default_factory=dict)
    containers: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)  # their IDs
    has_directory: bool = False  # of the driver's own
    has_records: bool = False  # of devices in a thin pool
    has_base: bool = False  # the first of them, which all images are made from
    base_size: int = 0  # bytes; 0 where it is not made yet
    transaction_id: int | None = None  # the last that the records know
    has_loop_files: bool = False
    set_up_device: str = ""  # what Docker itself made a pool on (dm.directlvm_device)
    set_up: t.Mapping[str, t.Any] = field(default_factory=dict)  # with which options, in its own words
    aside: tuple[str, ...] = ()  # names of folders in it with records of other pools, moved there
    is_movable: bool = True  # no mount point and no symbolic link, so that a rename moves all of it

    @property
    def other_drivers(self) -> list[str]:
        """What would no longer be seen once Docker runs on a thin pool, in words."""
        drivers = sorted({*self.images, *self.containers} - {DRIVER})
        return [
            f"{self.images.get(driver, 0)} images and {len(self.containers.get(driver, ()))} containers of driver "
            f"{driver}"
            for driver in drivers
            if self.images.get(driver) or self.containers.get(driver)
        ]


def find_root(daemon: DaemonJson, flags: t.Sequence[str], options: t.Mapping[str, t.Any] | None = None) -> str:
    """Return where Docker keeps its data: the key data-root (graph before 17.05), or the flag of that name.

    ``options`` are keys that daemon.json is about to get.
    """
    document = {**daemon.known, **(options or {})}
    found = str(document.get("data-root") or document.get("graph") or DEFAULT_ROOT)
    words = iter(flags)
    for word in words:  # the last one counts
        name, equals, value = word.partition("=")
        if name in ("--data-root", "--graph", "-g"):
            found = value if equals else next(words, found)
        elif re.match(r"-g[^-]", word):
            found = word[2:]
    return os.path.normpath(found)


def read(root: str) -> DockerData:
    """Return what is in a data root; the layout is moby's (image/<driver>/imagedb, containers/<id>/config.v2.json,
    devicemapper/metadata), the same from 1.10 to 24."""
    images = {
        driver: len(listdir(f"{root}/image/{driver}/imagedb/content/sha256")) for driver in listdir(f"{root}/image")
    }
    containers: dict[str, list[str]] = {}
    for container in sorted(listdir(f"{root}/containers")):
        driver = str(load(f"{root}/containers/{container}/config.v2.json").get("Driver") or "unknown")
        containers.setdefault(driver, []).append(container)
    metadata = f"{root}/devicemapper/metadata"
    transaction = load(f"{metadata}/transaction-metadata").get("open_transaction_id")
    set_up = load(f"{root}/devicemapper/setup-config.json")
    return DockerData(
        root=root,
        images=images,
        containers=containers,
        has_directory=os.path.isdir(f"{root}/{DRIVER}"),
        has_records=bool(listdir(metadata)),
        transaction_id=transaction if isinstance(transaction, int) else None,
        has_loop_files=os.path.exists(f"{root}/devicemapper/devicemapper/data"),
        set_up_device=str(set_up.get("Device") or ""),
        set_up=set_up,
        has_base=os.path.exists(f"{metadata}/base"),
        base_size=base_size(root),
        aside=tuple(sorted(name for name in listdir(root) if re.fullmatch(rf"{DRIVER}\.\d{{8}}T\d{{6}}Z", name))),
        is_movable=not (os.path.ismount(root) or os.path.islink(root)),
    )


def base_size(root: str) -> int:
    """Return the size in bytes of the device that all images are made from, 0 where Docker has yet to make one.

    The record is exact, and there when Docker does not run; ``docker info`` rounds.
    """
    base = load(f"{root}/{DRIVER}/metadata/base")
    found = base.get("size")
    # One that was not finished is made anew.
    return found if isinstance(found, int) and base.get("initialized") and not base.get("deleted") else 0


def conflicts(
    data: DockerData, status: PoolStatus | None, *, switching: bool, on_loop_files: bool = False
) -> list[str]:
    """Return why Docker would not start on the pool with this data, or would no longer show some of it. Moving the data
    root aside mends each of these.

    ``status`` is that of the pool if there is one; ``switching`` tells that Docker does not run on it yet, and
    ``on_loop_files`` that it is to make its pool of those.
    """
    found = of_another_pool(data, status, on_loop_files=on_loop_files)
    if switching and data.other_drivers:
        found.insert(
            0,
            f"{data.root} holds {', '.join(data.other_drivers)}, which Docker no longer shows once it runs on "
            "devicemapper",
        )
    return found


def of_another_pool(data: DockerData, status: PoolStatus | None, *, on_loop_files: bool = False) -> list[str]:
    """Return why Docker would not start on the pool with the records that it has of one. Moving these aside mends it.

    The errors that Docker would end with are those of moby, daemon/graphdriver/devmapper/deviceset.go.
    """
    if on_loop_files:
        if not data.has_records or data.has_loop_files:
            return []
        return [
            f"{data.root}/devicemapper holds the records of a pool, whose images loop files do not have: Docker would "
            "end with 'Base Device UUID and Filesystem verification failed'"
        ]
    found = []
    if data.has_loop_files:
        found.append(f"{data.root}/devicemapper holds the loop files of loop-lvm mode, whose images no other pool has")
    elif data.has_records and status is None:
        found.append(
            f"{data.root}/devicemapper holds the records of another pool: with a new one Docker would end with 'Base "
            "Device UUID and Filesystem verification failed'"
        )
    elif data.has_records and status and not status.has_failed and not _same(data, status):
        found.append(
            f"{data.root}/devicemapper holds the records of another pool: they end at transaction "
            f"{data.transaction_id}, the pool is at {status.transaction_id}"
        )
    if data.set_up_device and status is None:
        found.append(
            f"{data.root}/devicemapper/setup-config.json says that Docker itself made a pool on {data.set_up_device}, "
            "and this is another one: as long as that file is there, Docker refuses to make a pool with other settings"
        )
    return found


def unusable(data: DockerData, status: PoolStatus | None) -> list[str]:
    """Return why Docker cannot use a pool whatever becomes of its data: it failed, or nobody has the records of it."""
    if status and status.has_failed:
        return [
            "the pool has failed (kernel mode Fail or Error) and cannot be read: see 'dmsetup status', the kernel log "
            "and lvmthin(7), 'Metadata check and repair'. Leave Docker's data where it is, a repaired pool needs it"
        ]
    if data.has_records or not status or not (status.data_used or status.transaction_id):
        return []
    return [
        f"the pool has {status.data_used} chunks in use (transaction {status.transaction_id}), and {data.root} has no "
        "records of them: Docker would end with 'Unable to take ownership of thin-pool'. Bring its records back, or, "
        "if nothing in the pool is needed, remove it (lvm_thin_pool with state: absent) and let it be made anew"
    ]


def of_pool(data: DockerData, status: PoolStatus | None) -> list[str]:
    """Return the paths of what Docker keeps of a pool's images and containers, all of it worthless without the pool.

    Empty where it is another pool's: loop files are one by themselves. A pool that is inactive, failed or gone cannot
    be compared, and is the one that the records are of as far as anybody can say. Volumes and networks are no driver's.
    """
    if data.has_loop_files or (status and not status.has_failed and data.has_records and not _same(data, status)):
        return []
    return of_driver(data)


def of_driver(data: DockerData) -> list[str]:
    """Return the paths of all that Docker keeps of the driver's images and containers, loop files among it.

    What tells that there was a pool is the last: as long as it is there, a run that was interrupted goes on with it.
    """
    return [
        *(f"{data.root}/containers/{container}" for container in data.containers.get(DRIVER, ())),
        *([f"{data.root}/image/{DRIVER}"] if DRIVER in data.images else []),
        *([f"{data.root}/{DRIVER}"] if data.has_directory else []),
    ]


def places(root: str, paths: t.Iterable[str], time: str) -> dict[str, str]:
    """Return where paths are moved to, on their own filesystem: the data root beside itself, parts of it within it.

    Docker takes only directories for a driver's that have its name (moby, daemon/graphdriver/driver.go,
    scanPriorDrivers()).
    """
    return {
        path: f"{root}.{time}" if path == root else f"{root}/{DRIVER}.{time}/{os.path.relpath(path, root)}"
        for path in paths
    }


# Nothing is moved onto what is there; a place is this run's alone, so that what is in it is what this run moved.
_MOVE = 'mkdir --parents --mode=0710 "$(dirname "$2")"; exec mv --no-target-directory "$1" "$2"'
_MOVE_BACK = (
    'if test -e "$2" && ! test -e "$1"; then mv --no-target-directory "$2" "$1"; fi; '
    'folder=$(dirname "$2"); if test -d "$folder"; then rmdir --parents --ignore-fail-on-non-empty "$folder"; fi'
)


def move_aside(path: str, place: str) -> Step:
    """Return the step that moves data of Docker's to where :func:`places` has it; undone, its folders are gone too."""
    # One that was ended half way is undone as well.
    return Step(
        f"move {path} aside",
        ("sh", "-ec", _MOVE, "sh", path, place),
        undo=("sh", "-ec", _MOVE_BACK, "sh", path, place),
    )


def remove(path: str) -> Step:
    """Return the step that removes a file or a folder of records, and nothing that is mounted in it."""
    return Step(f"remove {path}", ("rm", "--recursive", "--force", "--one-file-system", "--", path))


def _same(data: DockerData, status: PoolStatus) -> bool:
    """Whether records and pool are one: Docker opens a transaction in its records before it does in the kernel."""
    if data.transaction_id is None:
        return False
    if status.transaction_id == data.transaction_id:
        return True
    # An interrupted transaction. An empty pool has none if a base device is on record: it was made anew.
    return status.transaction_id == data.transaction_id - 1 and bool(status.data_used or not data.has_base)
