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

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import (
    SNAPSHOTTER,
    devices_path,
    metadata_path,
    snapshots_path,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

MOBY = "moby"  # Docker's namespace
# The label by which content holds a snapshot (docs/garbage-collection.md); more may follow behind a slash.
REFERENCE = f"containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"
Name = t.Tuple[str, str]  # a namespace, and a name in it


@dataclass(frozen=True)
class ContainerdMetadata:
    """What is in the databases, by number, and by name what containerd made with them."""

    folder: str = ""
    pool: str = ""
    devices: int | None = 0  # None: there is a database that cannot be read
    snapshots: int | None = 0
    has_devices_file: bool = False
    has_snapshots_file: bool = False
    keys: tuple[Name, ...] = ()  # of snapshots as containerd knows them, no parent before its children
    stuck: tuple[Name, ...] = ()  # those that containerd does not remove when it is told to
    leases: tuple[Name, ...] = ()  # that hold any of these
    labels: tuple[tuple[str, str, str], ...] = ()  # that do: namespace, digest of the content, name
    containers: tuple[Name, ...] = ()
    tasks: tuple[Name, ...] = ()  # of these containers, and of Docker's
    active: tuple[str, ...] = field(default=())  # device-mapper names of devices that the kernel has

    @property
    def is_empty(self) -> bool:
        return self.devices == 0 and self.snapshots == 0

    @property
    def paths(self) -> list[str]:
        """The databases that are there."""
        files = ((f"{self.pool}.db", self.has_devices_file), ("metadata.db", self.has_snapshots_file))
        return [f"{self.folder}/{name}" for name, is_there in files if is_there]


def read(folder: str, pool: str, root: str, state: str, *, has_docker: bool = False) -> ContainerdMetadata:
    """Return what is on record; ``root`` and ``state`` are the folders of containerd's configuration.

    With Docker on the snapshotter, all tasks in its namespace count: it makes the snapshots itself, and leaves them out
    of containerd's records of its containers (seen with 26.1).
    """
    devices_file, snapshots_file = devices_path(folder, pool), snapshots_path(folder)
    devices, snapshots = _database(devices_file), _database(snapshots_file)
    found = _database(metadata_path(root)) or {}
    keys: list[Name] = []
    stuck: list[Name] = []
    leases: list[Name] = []
    labels: list[tuple[str, str, str]] = []
    containers: list[Name] = []
    for space, content in sorted(_buckets(found, b"v1").items()):
        if not isinstance(content, dict):
            continue
        namespace = _text(space)
        removable, others = _leaves_first(_buckets(content, b"snapshots", SNAPSHOTTER.encode()))
        keys += [(namespace, key) for key in removable]
        stuck += [(namespace, key) for key in others]
        leases += [(namespace, lease) for lease in _leases(content, others)]
        labels += [(namespace, *label) for label in _labels(content, others)]
        containers += [
            (namespace, _text(name))
            for name, container in sorted(_buckets(content, b"containers").items())
            if isinstance(container, dict) and _text(container.get(b"snapshotter", b"")) == SNAPSHOTTER
        ]
    running = {(space, task) for space in listdir(_tasks(state)) for task in listdir(f"{_tasks(state)}/{space}")}
    return ContainerdMetadata(
        folder=folder,
        pool=pool,
        devices=None if devices is None else len(_buckets(devices, b"devices")),
        snapshots=None if snapshots is None else len(_buckets(snapshots, b"v1", b"snapshots")),
        has_devices_file=os.path.exists(devices_file),
        has_snapshots_file=os.path.exists(snapshots_file),
        keys=tuple(keys),
        stuck=tuple(stuck),
        leases=tuple(leases),
        labels=tuple(labels),
        containers=tuple(containers),
        tasks=tuple(sorted(task for task in running if task in containers or (has_docker and task[0] == MOBY))),
        active=_active(pool),
    )


def _tasks(state: str) -> str:
    """Return the folder in which containerd has one for each task, by namespace (runtime/v2/bundle.go)."""
    return f"{state}/io.containerd.runtime.v2.task"


def _active(pool: str) -> tuple[str, ...]:
    """Return the snapshotter's devices that the kernel has; it leaves them there when it stops."""
    if not process.find("dmsetup"):
        return ()
    lines = process.run("dmsetup", "table", "--target", "thin").splitlines()
    names = (line.partition(":")[0] for line in lines)
    return tuple(sorted(name for name in names if name.startswith(f"{pool}-snap-")))


def _database(path: str) -> bbolt.Tree | None:
    """Return what is in a database, nothing if there is none, None if it cannot be read."""
    try:
        return bbolt.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, bbolt.DamagedError):
        return None


def _buckets(tree: t.Mapping[bytes, t.Any], *path: bytes) -> dict[bytes, t.Any]:
    found: t.Any = tree
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _leaves_first(snapshots: t.Mapping[bytes, t.Any]) -> tuple[list[str], list[str]]:
    """Return the keys in an order in which each can be removed, and those that cannot be.

    containerd removes none that has children, and its garbage collection forgets to take a child that it removed off
    the list of its parent (metadata/gc.go): such a parent goes by garbage collection alone, which does not look there.
    """
    children = {key: set(_buckets(found, b"children")) for key, found in snapshots.items() if isinstance(found, dict)}
    parents: dict[bytes, list[bytes]] = {}
    for key, under in children.items():
        for child in under:
            parents.setdefault(child, []).append(key)
    left = {key: len(under) for key, under in children.items()}
    order: list[bytes] = []
    free = sorted(key for key, number in left.items() if not number)
    while free:
        order += free
        freed = []
        for child in free:
            for parent in parents.get(child, ()):
                left[parent] -= 1
                if not left[parent]:
                    freed.append(parent)
        free = sorted(freed)
    return [_text(key) for key in order], [_text(key) for key in sorted(children.keys() - set(order))]


def _leases(content: t.Mapping[bytes, t.Any], keys: t.Collection[str]) -> list[str]:
    """Return the leases of a namespace that hold any of the snapshots."""
    return [
        _text(lease)
        for lease, found in sorted(_buckets(content, b"leases").items())
        if any(_text(key) in keys for key in _buckets(found, b"snapshots", SNAPSHOTTER.encode()))
    ]


def _labels(content: t.Mapping[bytes, t.Any], keys: t.Collection[str]) -> list[tuple[str, str]]:
    """Return digest and label of the content of a namespace that holds any of the snapshots, as an image does."""
    return [
        (_text(digest), _text(label))
        for digest, found in sorted(_buckets(content, b"content", b"blob").items())
        for label, key in sorted(_buckets(found, b"labels").items())
        if _text(label).split("/")[:2] == REFERENCE.split("/") and _text(key) in keys
    ]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def conflicts(records: ContainerdMetadata, status: PoolStatus | None, *, is_new: bool) -> list[str]:
    """Return why the snapshotter would not work with this pool and these records.

    ``status`` is that of the pool if it runs; ``is_new`` tells that it is yet to be made.
    """
    folder = records.folder
    found = []
    if records.devices is None or records.snapshots is None:
        path = devices_path(folder, records.pool) if records.devices is None else snapshots_path(folder)
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
