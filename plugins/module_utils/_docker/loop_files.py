# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The two files that Docker makes its pool of in loop-lvm mode, and how both are grown while the pool is in use.

Docker attaches each to a loop device when it starts and makes a pool of the two; both go when it stops (moby,
daemon/graphdriver/devmapper/deviceset.go initDevmapper() and Shutdown()).
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import KIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import (
    METADATA_MAXIMUM,
    METADATA_MINIMUM,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

SYS = "/sys/block"
# Docker's own (deviceset.go, defaultDataLoopbackSize and defaultMetaDataLoopbackSize).
DEFAULT_DATA_SIZE, DEFAULT_METADATA_SIZE = "100g", "2g"
# Docker's chunks (defaultThinpBlockSize): less of a file is of no use.
CHUNK = 64 * KIB
_SECTOR = 512
_METADATA_BLOCK = 4 * KIB


@dataclass(frozen=True)
class LoopFile:
    """One of the files, and the loop device that it is attached to while the pool runs."""

    path: str
    size: int = 0  # bytes; 0: there is none
    device: str = ""
    device_size: int = 0  # bytes

    @property
    def device_lags(self) -> bool:
        return bool(self.device) and self.device_size < self.size // _SECTOR * _SECTOR


@dataclass(frozen=True)
class LoopPool:
    """The pool that the kernel runs on them."""

    name: str
    table: str  # as dmsetup(8) writes it: start, length, target and its words
    suspended: bool = False
    status: PoolStatus | None = None

    @property
    def size(self) -> int:
        """What the running table lets it use of its data device, in bytes."""
        return int(self.table.split()[1]) * _SECTOR

    def table_of(self, size: int) -> str:
        """Return the table for a larger data device: everything else in it stays."""
        words = self.table.split()
        return " ".join((words[0], str(size // _SECTOR), *words[2:]))


@dataclass(frozen=True)
class LoopFiles:
    """Both files and their pool; None where it does not run."""

    data: LoopFile
    metadata: LoopFile
    pool: LoopPool | None = None
    free: int = 0  # bytes that the file system under them has left

    @property
    def exist(self) -> bool:
        return bool(self.data.size and self.metadata.size)


def parse_size(text: str) -> int:
    """Return the bytes that a size names, in whole chunks. Raises ValueError with the sentence for the user."""
    return -(-sizes.parse_bytes(text) // CHUNK) * CHUNK


def check(data_size: int, metadata_size: int) -> None:
    """Refuse sizes that no pool can be made of."""
    if data_size < CHUNK:
        raise RefusedError(f"the data file cannot have {human(data_size)}, less than one chunk: is the unit missing?")
    if not METADATA_MINIMUM <= metadata_size <= METADATA_MAXIMUM:
        raise RefusedError(
            f"the metadata file must have 2m to 15.8g, not {human(metadata_size)}: the kernel uses no more of it"
        )


def directory(root: str) -> str:
    return f"{root}/devicemapper/devicemapper"


def read(root: str) -> LoopFiles:
    """Return the loop files in a data root: two processes where their pool runs, else none."""
    data, metadata = (_read_file(f"{directory(root)}/{name}") for name in ("data", "metadata"))
    common = sorted(_holders(data) & _holders(metadata))
    there = directory(root)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    space = os.statvfs(there)
    pool = _read_pool(common[0]) if common else None
    return LoopFiles(data, metadata, pool, space.f_bavail * space.f_frsize)


def _holders(file: LoopFile) -> set[str]:
    """Return what stands on a file's loop device, by the kernel's names."""
    return set(listdir(f"{SYS}/{os.path.basename(file.device)}/holders")) if file.device else set()


def _read_file(path: str) -> LoopFile:
    try:
        size = os.stat(path).st_size
    except OSError:
        return LoopFile(path)
    for name in sorted(listdir(SYS)):
        if name.startswith("loop") and attribute(f"{SYS}/{name}", "loop/backing_file") == path:
            sectors = int(attribute(f"{SYS}/{name}", "size") or 0)
            return LoopFile(path, size, f"/dev/{name}", sectors * _SECTOR)
    return LoopFile(path, size)


def _read_pool(holder: str) -> LoopPool:
    name = attribute(f"{SYS}/{holder}", "dm/name") or ""
    return LoopPool(
        name,
        process.run("dmsetup", "table", name).strip(),
        suspended=attribute(f"{SYS}/{holder}", "dm/suspended") == "1",
        status=pool_status.read().get(name),
    )


def decide(current: LoopFiles, *, data_size: int, metadata_size: int) -> tuple[list[Step], LoopFiles]:
    """Return the steps that grow the files to what they shall at least have, with their pool, and the state after them.

    A run that was interrupted goes on from where it ended: a file that is larger than its device, a device that is
    larger than what the pool's table uses, a table that is loaded and not yet in use, a pool that was left suspended.
    Nothing ever shrinks, and files that are not there yet are Docker's to make.
    """
    check(data_size, metadata_size)
    if not current.exist:
        return [], current  # Docker makes them when it first starts
    steps: list[Step] = []
    files = []
    for file, wished in ((current.data, data_size), (current.metadata, metadata_size)):
        if file.size < wished:
            steps.append(
                Step(
                    f"grow {file.path} from {human(file.size)} to {human(wished)}",
                    ("truncate", "--no-create", f"--size={wished}", file.path),
                )
            )
            file = replace(file, size=wished)
        if file.device_lags:
            # The pool's metadata, in the other file, is about to say that this one is larger. After a power cut it
            # must not be alone with that: a pool does not come up on a data device that is too small.
            steps.append(Step(f"write the size of {file.path} through to the disk", ("sync", file.path)))
            steps.append(
                Step(
                    f"let {file.device} be as large as its file, {human(file.size)}",
                    ("losetup", "--set-capacity", file.device),
                )
            )
            file = replace(file, device_size=file.size // _SECTOR * _SECTOR)
        files.append(file)
    after = replace(current, data=files[0], metadata=files[1])
    if current.pool:
        more, pool = _grow_pool(current.pool, after)
        steps += more
        if any(step.command[0] != "dmsetup" for step in steps) or pool.table != current.pool.table:
            _check_well(current.pool)
        after = replace(after, pool=pool)
    return steps, after


def _grow_pool(pool: LoopPool, files: LoopFiles) -> tuple[list[Step], LoopPool]:
    """Return the steps that let a running pool use all of its devices.

    The manual suspends the pool, loads the table and resumes it. Whoever is interrupted in between leaves every
    container hanging. A table can be loaded beside the one that runs, and resuming a device that is not suspended
    suspends it, takes the new table and resumes it in one call of the kernel (drivers/md/dm-ioctl.c do_resume()).
    """
    blocks = min(files.metadata.device_size, METADATA_MAXIMUM) // _METADATA_BLOCK
    metadata_lags = pool.status is not None and not pool.status.has_failed and pool.status.metadata_total < blocks
    size = max(pool.size, files.data.device_size)
    resume = ("dmsetup", "resume", pool.name)
    if size > pool.size or metadata_lags:
        table = pool.table_of(size)
        # A pool looks at the size of its metadata device whenever it is resumed (dm-thin.c pool_preresume()).
        return [
            Step(
                f"load a table of {human(size)} for pool {pool.name}",
                ("dmsetup", "reload", pool.name, "--table", table),
            ),
            Step(f"let pool {pool.name} go on with it", resume),
        ], replace(
            pool,
            table=table,
            suspended=False,
            status=replace(pool.status, metadata_total=max(pool.status.metadata_total, blocks))
            if pool.status
            else None,
        )
    if pool.suspended:
        return [Step(f"resume pool {pool.name}, which was left suspended", resume)], replace(pool, suspended=False)
    return [], pool


def _check_well(pool: LoopPool) -> None:
    status = pool.status
    if status and (status.mode in ("fail", "error", "ro") or status.needs_check):
        raise RefusedError(
            f"pool {pool.name} is not well (kernel mode {status.mode}{', needs_check' if status.needs_check else ''}) "
            "and cannot grow: stop Docker, and check its metadata file with thin_check(8)"
        )


def as_result(files: LoopFiles) -> dict[str, t.Any]:
    """Return the sizes as modules show them, in bytes; null for what does not run."""
    pool = files.pool
    status = pool.status if pool else None
    return {
        "data": {
            "path": files.data.path,
            "size": files.data.size,
            "device": files.data.device or None,
            "device_size": files.data.device_size if files.data.device else None,
            "pool_size": pool.size if pool else None,
        },
        "metadata": {
            "path": files.metadata.path,
            "size": files.metadata.size,
            "device": files.metadata.device or None,
            "device_size": files.metadata.device_size if files.metadata.device else None,
            "pool_size": status.metadata_total * _METADATA_BLOCK if status else None,
        },
        "pool": pool.name if pool else None,
        "suspended": pool.suspended if pool else None,
    }
