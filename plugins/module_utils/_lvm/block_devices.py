# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Block devices, and why one may not be taken. What cannot be found out is a reason not to."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks, mounts, open_files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import disk_contents

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume

# lvm.conf devices/pv_min_size is 2 MiB by default; below it LVM does not even look at a device.
MINIMUM_SIZE = 2 * MIB
# libblkid's word for the label of a physical volume.
LABEL = "LVM2_member"
# Drivers whose devices keep nothing, or are not disks (kernel Documentation/admin-guide/devices.txt).
_UNFIT = re.compile(r"(zram|ram|fd|sr|nbd|mtdblock)\d")


@dataclass(frozen=True)
class Signature:
    """Something that says what a device holds: a filesystem, a partition table, a member's label."""

    type: str
    offset: int  # bytes

    def __str__(self) -> str:
        return f"{self.type} at {self.offset:#x}"


@dataclass(frozen=True)
class BlockDevice:
    """A device, and what speaks against taking it."""

    name: str  # as the user wrote it
    path: str  # canonical
    size: int = 0  # bytes
    alignment: int = MIB  # bytes; where LVM will begin its extents
    signatures: tuple[Signature, ...] = ()
    obstacles: tuple[str, ...] = ()  # what no switch overrides: mounts, holders, partitions, read-only, ...
    contents: str | None = ""  # what it holds without a signature; None: not looked for
    sector_size: int = 0  # bytes of a logical block; 0: not known

    @property
    def label(self) -> str:
        """The user's name of the device, and the kernel's where it is another."""
        return self.name if self.name == self.path else f"{self.name} ({self.path})"

    def refusals(self, *, wipe_signatures: bool) -> list[str]:
        """Return every reason why the device may not be taken; empty where it may."""
        reasons = [f"{self.label} {obstacle}" for obstacle in self.obstacles]
        if self.contents:
            reasons.append(
                f"{self.label} is not blank: it holds {self.contents}, such as an archive, an encrypted volume or a "
                "database's file. If nothing on it is needed, set the option that destroys what no signature names "
                "(destroy_contents: true), or choose another device"
            )
        if not self.signatures:
            return reasons
        found = ", ".join(str(signature) for signature in self.signatures)
        if any(signature.type == LABEL for signature in self.signatures):
            # LVM itself does not list it: another system's group, one whose metadata is missing, or hidden by a filter.
            reasons.append(
                f"{self.label} carries the label of a physical volume that LVM does not list here ({found}): it may "
                "belong to another system or be hidden by LVM's devices file or filter; see 'pvs --all' and "
                "lvmdevices(8)"
            )
        elif not wipe_signatures:
            reasons.append(
                f"{self.label} is not blank: it holds {found}. If nothing on it is needed, set the option that wipes "
                "signatures (wipe_signatures: true), or choose another device"
            )
        return reasons

    @contextlib.contextmanager
    def locked(self, timeout: float = 60) -> t.Iterator[None]:
        """Hold the device while it is still as it was found; a change since then is refused.

        The lock is the one that udev and other tools heed before they probe or partition a disk
        (https://systemd.io/BLOCK_DEVICE_LOCKING), so it is taken on the whole disk.
        """
        try:
            disk = _whole_disk(self.path)
        except OSError as error:
            raise RefusedError(f"{self.label} is gone since it was looked at: {error.strerror}") from error
        with locks.locked(disk, timeout) as descriptor:
            try:
                now = examine(self.name, look=self.contents is not None)
            except OSError as error:
                raise RefusedError(f"{self.label} is gone since it was looked at: {error.strerror}") from error
            if now != self:
                known = self.refusals(wipe_signatures=False)
                new = [reason for reason in now.refusals(wipe_signatures=False) if reason not in known]
                raise RefusedError(
                    f"{self.label} changed after it was looked at and is left alone: "
                    + ("; ".join(new) or f"it is {now.path} of {now.size} bytes now")
                )
            yield
            # LVM does not wait until a label is through the disk's cache. A power cut after the group that refers to it
            # was written, on another disk, would leave a group that misses a device (seen).
            try:
                os.fsync(descriptor)
            except OSError as error:
                raise RefusedError(f"{self.label} does not keep what is written to it: {error.strerror}") from error


def problem(name: str) -> str | None:
    """Return why a name stands for no block device; None where it stands for one."""
    if not name.startswith("/"):
        return f"{name!r} is not a device: write its whole path, best one under /dev/disk/by-id"
    try:
        if not stat.S_ISBLK(os.stat(name).st_mode):
            return f"{name} is not a block device: see 'lsblk' for those of this host"
    except FileNotFoundError:
        return f"{name} does not exist on this host: see 'lsblk' and 'ls -l /dev/disk/by-id'"
    except OSError as error:
        return f"{name} cannot be looked at: {error.strerror}"
    except ValueError:  # a null character, or half of one
        return f"{name!r} is not the path of a device"
    return None


def resolve(names: t.Iterable[str]) -> dict[str, str]:
    """Return canonical paths with the names they were given by; several names of one device count once."""
    names = list(names)
    problems = [sentence for sentence in map(problem, names) if sentence]
    if problems:
        raise RefusedErrors(problems)
    paths: dict[str, str] = {}
    for name in names:
        paths.setdefault(os.path.realpath(name), name)
    return paths


def examine(name: str, *, look: bool = True) -> BlockDevice:
    """Return what is known of a device that is no physical volume yet; reads, never writes.

    Sources: sysfs (Documentation/ABI/stable/sysfs-block), proc(5) for mounts and swap, wipefs(8) for signatures. With
    ``look`` it is seen whether a device that nothing else speaks against holds anything all the same.
    """
    path = os.path.realpath(name)
    number = os.stat(path).st_rdev
    maj_min = f"{os.major(number)}:{os.minor(number)}"
    sys = os.path.realpath(f"/sys/dev/block/{maj_min}")
    disk = os.path.dirname(sys) if os.path.exists(f"{sys}/partition") else sys
    size = int(attribute(sys, "size") or 0) * 512
    obstacles, found, contents = list(_obstacles(path, maj_min, sys, disk, size)), probe(path), None
    if look and not found and not obstacles:
        # Virtual disks say that they turn, whatever they are made of.
        turns = os.path.basename(disk).startswith("sd") and attribute(disk, "queue/rotational") == "1"
        try:
            contents = disk_contents.describe(path, size, rotational=turns)
        except OSError as error:
            obstacles.append(f"cannot be read: {error.strerror}")
    return BlockDevice(
        name=name,
        path=path,
        size=size,
        alignment=max(
            MIB,
            int(attribute(disk, "queue/minimum_io_size") or 0),
            int(attribute(disk, "queue/optimal_io_size") or 0),
        ),
        signatures=found,
        obstacles=tuple(obstacles),
        contents=contents,
        sector_size=int(attribute(disk, "queue/logical_block_size") or 0),
    )


def probe(path: str) -> tuple[Signature, ...]:
    """Return the signatures on a device: one wipefs process, which only reads."""
    return signatures(process.run("wipefs", "--no-act", "--parsable", path))


def contents(volumes: t.Iterable[LogicalVolume]) -> dict[str, str]:
    """Return what logical volumes that are live hold, in words, by their names; empty words: no signature."""
    found = {}
    for volume in volumes:
        path = f"/dev/{volume.full_name}"
        try:
            found[volume.name] = ", ".join(map(str, probe(path)))
        except process.ProcessError as error:
            if os.path.exists(path):
                raise
            raise RefusedError(
                f"{path} is not there, though {volume.full_name} is active, so what it holds cannot be looked at: run "
                f"'lvchange --refresh {volume.full_name}', and see that systemd-udevd runs"
            ) from error
    return found


def signatures(text: str) -> tuple[Signature, ...]:
    """Return the signatures in the output of ``wipefs --parsable``: offset,uuid,label,type."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            fields = line.split(",")
            found.append(Signature(type=fields[-1], offset=int(fields[0], 16)))
    return tuple(found)


def _obstacles(path: str, maj_min: str, sys: str, disk: str, size: int) -> t.Iterator[str]:
    if not os.path.isdir(sys):
        yield "is not known to the kernel (no entry in /sys/dev/block)"
        return
    if _UNFIT.match(os.path.basename(sys)):
        yield "is not a disk that keeps what is written to it"
    if (attribute(sys, "dm/uuid") or "").startswith("LVM-"):
        yield "is a logical volume; a physical volume on it would be hidden from LVM (lvm.conf, devices/scan_lvs)"
    if size < MINIMUM_SIZE:
        yield f"is too small ({human(size)}): LVM needs at least {human(MINIMUM_SIZE)}"
    if attribute(sys, "ro") != "0":
        yield "is read-only"
    if attribute(disk, "removable") == "1":
        yield "is removable"
    if (attribute(disk, "queue/zoned") or "none") != "none":
        yield "is a zoned disk, which LVM cannot use for a thin pool"
    if "E:DM_MULTIPATH_DEVICE_PATH=1" in (attribute("/run/udev/data", f"b{maj_min}") or "").splitlines():
        yield "is one path of a multipath device: name the multipath device under /dev/mapper"
    partitions = sorted(entry for entry in os.listdir(sys) if os.path.exists(f"{sys}/{entry}/partition"))
    if partitions:
        yield f"has partitions ({', '.join(partitions)}); name a partition itself if it is free"
    uses = list(_uses(path, maj_min, sys))
    yield from uses
    if disk != sys:
        # A disk that is used as a whole, whatever partitions its first sector tells of.
        parent = attribute(disk, "dev") or ""
        whole = f"/dev/{os.path.basename(disk)}"
        yield from (f"is a partition of {whole}, which {use}" for use in _uses(whole, parent, disk))
    try:
        # O_EXCL on a block device: refused while the kernel has it mounted, swapped on or held (open(2)).
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno != errno.EBUSY:
            yield f"cannot be opened: {error.strerror}"
        elif not uses:
            yield "is in use: the kernel does not grant exclusive access to it"
        return
    # Who does not ask for exclusive access, as qemu and databases do not, is not kept away, and keeps nobody away.
    for number in sorted({maj_min, attribute(disk, "dev") or maj_min}):
        major, minor = map(int, number.split(":"))
        for process_name in open_files.writers_of(os.makedev(major, minor)):
            yield f"is open for writing by {process_name}: end that first"


def _uses(path: str, maj_min: str, sys: str) -> t.Iterator[str]:
    """Yield what a device is used for right now."""
    for holder in sorted(listdir(f"{sys}/holders")):
        name = attribute(f"/sys/block/{holder}", "dm/name")
        kind = attribute(f"/sys/block/{holder}", "dm/uuid") or ""
        composed = (
            f"/dev/mapper/{name}" if kind.startswith("mpath-") else f"/dev/{holder}" if holder[:2] == "md" else ""
        )
        yield (
            f"is held by {holder}"
            + (f" ({name})" if name else "")
            + (f": name {composed} in its place, if that is free" if composed else "")
        )
    for point in _mount_points(path, maj_min):
        yield f"is mounted at {point}"
    if path in _swaps():
        yield f"is swap in use: see 'swapoff {path}'"
    for loop in sorted(listdir("/sys/block")):
        if os.path.realpath(attribute(f"/sys/block/{loop}", "loop/backing_file") or "/") == path:
            yield f"is the backing device of /dev/{loop}: see 'losetup --detach /dev/{loop}'"


def _whole_disk(path: str) -> str:
    """Return the node of a device's disk: its own, or that of the disk that it is a partition of."""
    number = os.stat(path).st_rdev
    sys = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return f"/dev/{os.path.basename(os.path.dirname(sys) if os.path.exists(f'{sys}/partition') else sys)}"


def _mount_points(path: str, maj_min: str) -> list[str]:
    """Return where a device is mounted, in any mount namespace (proc(5), mountinfo; mount_namespaces(7))."""
    points: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for pid in ("self", "1", *sorted(filter(str.isdigit, listdir("/proc")), key=int)):
        try:
            # A process in a chroot is shown the mounts below its root alone: one process of a namespace is not enough.
            view = (os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink(f"/proc/{pid}/root"))
            if view in seen:
                continue
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                lines = mounts.parse(file.read())
        except OSError:  # the process ended meanwhile
            continue
        for line in lines:
            # btrfs mounts carry a number of their own, so the source's name counts too.
            if line.device == maj_min or (line.source.startswith("/") and os.path.realpath(line.source) == path):
                where = f" in the mount namespace of process {pid}" if seen else ""
                points.setdefault(line.point, f"{line.point}{where}")
        seen.add(view)
    return sorted(points.values())


def _swaps() -> set[str]:
    try:
        with open("/proc/swaps", encoding="utf-8") as file:
            return {os.path.realpath(line.split()[0]) for line in file.read().splitlines()[1:]}
    except FileNotFoundError:  # a kernel without swap
        return set()
