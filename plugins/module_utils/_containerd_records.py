# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What containerd has on record of its devmapper snapshotter's pool, and whether that is this pool.

The snapshotter has ``<pool>.db`` for the devices and ``metadata.db`` for the snapshots, and neither says which pool it
is of: a new pool beside old databases ends with "object already exists", and old devices beside new databases with
"file exists", both only once a container is started (containerd issues 3436, 4790, 5110, 5646).
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils import _bolt, _process
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd_snapshots import SNAPSHOTTER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker_data import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._pool_status import PoolStatus

Name = t.Tuple[str, str]  # a namespace, and a name in it


@dataclass(frozen=True)
class Records:
    """What is in the databases, by number, and by name what containerd made with them."""

    folder: str = ""
    pool: str = ""
    devices: int | None = 0  # None: there is a database that cannot be read
    snapshots: int | None = 0
    has_devices_file: bool = False
    has_snapshots_file: bool = False
    keys: tuple[Name, ...] = ()  # of snapshots as containerd knows them, no parent before its children
    containers: tuple[Name, ...] = ()
    tasks: tuple[Name, ...] = ()  # of these containers
    active: tuple[str, ...] = field(default=())  # device-mapper names of devices that the kernel has

    @property
    def is_empty(self) -> bool:
        return self.devices == 0 and self.snapshots == 0

    @property
    def paths(self) -> list[str]:
        """The databases that are there."""
        files = ((f"{self.pool}.db", self.has_devices_file), ("metadata.db", self.has_snapshots_file))
        return [f"{self.folder}/{name}" for name, is_there in files if is_there]


def read(folder: str, pool: str, root: str, state: str) -> Records:
    """Return what is on record; ``root`` and ``state`` are the folders of containerd's configuration."""
    devices_file, snapshots_file = f"{folder}/{pool}.db", f"{folder}/metadata.db"
    devices, snapshots = _database(devices_file), _database(snapshots_file)
    found = _database(objects(root)) or {}
    keys: list[Name] = []
    containers: list[Name] = []
    for space, content in sorted(_buckets(found, b"v1").items()):
        if not isinstance(content, dict):
            continue
        namespace = _text(space)
        keys += [(namespace, key) for key in _leaves_first(_buckets(content, b"snapshots", SNAPSHOTTER.encode()))]
        containers += [
            (namespace, _text(name))
            for name, container in sorted(_buckets(content, b"containers").items())
            if isinstance(container, dict) and _text(container.get(b"snapshotter", b"")) == SNAPSHOTTER
        ]
    running = {(space, task) for space in listdir(_tasks(state)) for task in listdir(f"{_tasks(state)}/{space}")}
    return Records(
        folder=folder,
        pool=pool,
        devices=None if devices is None else len(_buckets(devices, b"devices")),
        snapshots=None if snapshots is None else len(_buckets(snapshots, b"v1", b"snapshots")),
        has_devices_file=os.path.exists(devices_file),
        has_snapshots_file=os.path.exists(snapshots_file),
        keys=tuple(keys),
        containers=tuple(containers),
        tasks=tuple(container for container in containers if container in running),
        active=_active(pool),
    )


def objects(root: str) -> str:
    """Return the path of containerd's own database, of images, containers and the names of snapshots."""
    return f"{root}/io.containerd.metadata.v1.bolt/meta.db"


def _tasks(state: str) -> str:
    """Return the folder in which containerd has one for each task, by namespace (runtime/v2/bundle.go)."""
    return f"{state}/io.containerd.runtime.v2.task"


def _active(pool: str) -> tuple[str, ...]:
    """Return the snapshotter's devices that the kernel has; it leaves them there when it stops."""
    if not _process.find("dmsetup"):
        return ()
    lines = _process.run("dmsetup", "table", "--target", "thin").splitlines()
    names = (line.partition(":")[0] for line in lines)
    return tuple(sorted(name for name in names if name.startswith(f"{pool}-snap-")))


def _database(path: str) -> _bolt.Tree | None:
    """Return what is in a database, nothing if there is none, None if it cannot be read."""
    try:
        return _bolt.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, _bolt.Damaged):
        return None


def _buckets(tree: t.Mapping[bytes, t.Any], *path: bytes) -> dict[bytes, t.Any]:
    found: t.Any = tree
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _leaves_first(snapshots: t.Mapping[bytes, t.Any]) -> list[str]:
    """Return the keys in an order in which each can be removed: containerd removes none that has children."""
    parents = {key: found.get(b"parent", b"") for key, found in snapshots.items() if isinstance(found, dict)}

    def depth(key: bytes) -> int:
        count = 0
        while parents.get(key) and count <= len(parents):
            key, count = parents[key], count + 1
        return count

    return [_text(key) for key in sorted(parents, key=lambda key: (-depth(key), key))]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def conflicts(records: Records, status: PoolStatus | None, *, is_new: bool) -> list[str]:
    """Return why the snapshotter would not work with this pool and these records.

    ``status`` is that of the pool if it runs; ``is_new`` tells that it is yet to be made.
    """
    folder = records.folder
    found = []
    if records.devices is None or records.snapshots is None:
        path = f"{folder}/{records.pool}.db" if records.devices is None else f"{folder}/metadata.db"
        return [f"{path} cannot be read as a database of containerd's: bring it back from a backup, or move it away"]
    is_empty = is_new or bool(status and not status.has_failed and not status.data_used)
    if is_empty and not records.is_empty:
        found.append(
            f"{folder} holds the records of another pool ({records.devices} devices, {records.snapshots} snapshots) "
            f"than {records.pool}, which has none: containerd would end with 'object already exists' when a container "
            "is started. Bring back the pool that they are of, or, if nothing of it is needed, stop containerd and "
            f"remove {' and '.join(records.paths)}"
        )
    elif not is_empty and status and not status.has_failed and records.devices == 0:
        found.append(
            f"the pool {records.pool} has {status.data_used} chunks in use, and {folder}/{records.pool}.db has no "
            "records of them: containerd would end with 'file exists' when a container is started. Bring its records "
            "back, or, if nothing in the pool is needed, remove it (lvm_thin_pool with state: absent) and let it be "
            "made anew"
        )
    elif bool(records.devices) != bool(records.snapshots):
        there, gone = (
            ("metadata.db", f"{records.pool}.db") if records.snapshots else (f"{records.pool}.db", "metadata.db")
        )
        found.append(
            f"{folder} has records in {there} and none in {gone}, which only count together: bring {gone} back"
        )
    return found
