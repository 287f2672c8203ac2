# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""A snapshot of a running pool's metadata, which other programs may read while the pool goes on: always released again.

A pool has one at most. It is kept in the pool's superblock, so that it outlives whoever took it, and a reboot too; as
long as it is held, no metadata block that it refers to becomes free (kernel documentation, thin-provisioning,
"reserve_metadata_snap").
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, locks, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

# Held from before a snapshot is looked for until it is released, by the programs that read it too: one that outlives a
# killed run is waited for, since its snapshot must not be released under it.
LOCK = "/run/devicemapper.containers.metadata-snapshot.lock"
# Not in /run: what a power cut leaves behind is in the pool after the reboot, and must still be known as ours.
MARKS = "/var/lib/devicemapper.containers"

_SECONDS = 60  # a message commits the pool's metadata


@dataclass(frozen=True)
class Mark:
    """What is written down of a snapshot of ours."""

    pool: str  # LVM's UUID of it, since its name may come to be another's
    root: int | None = None  # its metadata block; None from before it is taken until the block is known

    @classmethod
    def parse(cls, text: str | None) -> Mark | None:
        """Return the mark in a file's text; what cannot be read marks nothing."""
        try:
            written = json.loads(text or "")
            root = written["root"]
            return cls(str(written["pool"]), root if root is None else int(root))
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
            return None

    @property
    def text(self) -> str:
        return json.dumps({"pool": self.pool, "root": self.root})

    def covers(self, pool: str, root: int) -> bool:
        """Whether the snapshot that a pool holds is the one that was marked.

        A mark without a block was left by a run that was killed just when it took its snapshot. None was held then.
        """
        return self.pool == pool and self.root in (None, root)


@dataclass(frozen=True)
class MappedDevice:
    """A device-mapper device as ``dmsetup info`` lists it."""

    number: str  # major:minor, as tables name devices
    open_count: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that is held, and the pool at that moment."""

    status: PoolStatus
    target: str  # the pool's device-mapper device, which messages go to
    metadata_path: str  # what thin_ls and thin_dump read
    devices: t.Mapping[str, MappedDevice]


def obstacle(pool: LogicalVolume, status: PoolStatus | None) -> str:
    """Return why no snapshot can be taken of a pool's metadata; empty where one can."""
    inactive = f"'lvchange --activate n {pool.full_name}'"
    if status is None:
        return (
            f"thin pool {pool.full_name} is not active, so that the kernel cannot take a snapshot of its metadata: "
            f"activate it ('lvchange --activate y {pool.full_name}')"
        )
    if status.has_failed:
        return (
            f"thin pool {pool.full_name} has failed (kernel mode {status.mode}), so that its metadata cannot be read: "
            "stop what uses it and see lvmthin(7), 'Metadata check and repair'"
        )
    # drivers/md/dm-thin.c, pool_message(): no messages in read-only mode, which is also that of a pool without free
    # metadata.
    if status.mode == "ro":
        check = ", and its metadata must be checked (needs_check)" if status.needs_check else ""
        return (
            f"thin pool {pool.full_name} is read-only{check}: the kernel takes no snapshot of its metadata in this "
            "mode, and to read the metadata of an active pool without one is not safe. Stop what uses the pool, "
            f"deactivate it ({inactive}), and see lvmthin(7), 'Metadata check and repair'"
        )
    return ""


def foreign(pool: LogicalVolume, target: str, root: int) -> str:
    """Return the sentence on a snapshot that somebody else holds."""
    metadata = device_names.join(pool.vg, pool.metadata_volume)
    return (
        f"somebody else holds a snapshot of the metadata of thin pool {pool.full_name} (metadata block {root}), and "
        f"there can be only one: see who reads it ('fuser --verbose /dev/mapper/{metadata}', thin_dump and thin_ls do) "
        f"and wait for that. If nobody does, it was left behind: release it ('dmsetup message {target} 0 "
        "release_metadata_snap')"
    )


@contextlib.contextmanager
def held(pool: LogicalVolume) -> t.Iterator[Snapshot]:
    """Take a snapshot of a pool's metadata, and release it at the end, whatever happens in between.

    One that a killed run of ours left is released first, and no other: what is held is ours if it is marked as ours.
    What reads it must end with us (process.run), or the pool would write over what it reads.
    """
    with contextlib.ExitStack() as until_the_end:
        lock = until_the_end.enter_context(locks.locked(LOCK, process.TIMEOUT, create=True))
        until_the_end.enter_context(process.inherit_lock(lock))
        until_the_end.enter_context(_signals_raised())
        target, status = pool_status.find(pool_status.read(), pool.dm_name)
        reason = obstacle(pool, status)
        if reason:
            raise RefusedError(reason)
        metadata = device_names.join(pool.vg, pool.metadata_volume)
        mark = os.path.join(MARKS, f"{pool.dm_name}.json")
        if status and status.held_root is not None:
            _release_left(pool, target, status.held_root, mark)
        _write_down(mark, Mark(pool.uuid))
        _take(pool, target, mark)
        try:
            _target, status = pool_status.find(pool_status.read(), pool.dm_name)
            if status is None or status.held_root is None:
                raise RefusedError(
                    f"the snapshot of the metadata of thin pool {pool.full_name} was released by another"
                )
            _write_down(mark, Mark(pool.uuid, status.held_root))
            yield Snapshot(status, target, f"/dev/mapper/{metadata}", devices())
        finally:
            _release(target)
            _forget(mark)


def devices() -> dict[str, MappedDevice]:
    """Return every device-mapper device by its name: one process."""
    return parse_devices(
        process.run(
            "dmsetup", "info", "--columns", "--noheadings", "--separator", " ", "--options", "name,major,minor,open"
        )
    )


def parse_devices(text: str) -> dict[str, MappedDevice]:
    """Return the devices in the output of ``dmsetup info``; libdevmapper writes spaces in names as escapes."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: MappedDevice(f"{row[1]}:{row[2]}", int(row[3])) for row in rows if len(row) == 4}


def _take(pool: LogicalVolume, target: str, mark: str) -> None:
    try:
        process.run("dmsetup", "message", target, "0", "reserve_metadata_snap", timeout=_SECONDS)
    except process.ProcessError as error:
        if error.rc is None:  # it did not end: whether one is held is not known, and the mark stays
            raise
        _forget(mark)
        _target, status = pool_status.find(pool_status.read(), pool.dm_name)
        if status and status.held_root is not None:
            raise RefusedError(foreign(pool, target, status.held_root)) from error
        raise


def _release(target: str) -> None:
    process.run("dmsetup", "message", target, "0", "release_metadata_snap", timeout=_SECONDS)


def _release_left(pool: LogicalVolume, target: str, root: int, path: str) -> None:
    """Release what a killed run of ours left; the pool itself has its metadata device open once."""
    mark = Mark.parse(files.read(path))
    metadata = devices().get(device_names.join(pool.vg, pool.metadata_volume))
    if not mark or not mark.covers(pool.uuid, root) or metadata is None or metadata.open_count > 1:
        raise RefusedError(foreign(pool, target, root))
    _release(target)


def _write_down(path: str, mark: Mark) -> None:
    """Have the mark on the disk before anything else happens."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with files.replacing(path, 0o644) as new:
        new.write_down(mark.text.encode())


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with contextlib.suppress(OSError):  # another pool's mark is in it
        os.rmdir(os.path.dirname(path))


@contextlib.contextmanager
def _signals_raised() -> t.Iterator[None]:
    """Let the signals that ask a program to end be raised as Ctrl-C is, so that what is held is released."""

    def end(number: int, _frame: t.Any) -> t.NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
