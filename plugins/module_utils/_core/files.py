# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Text files: read if there, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import struct
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import folders, mounts, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

# Bytes of a file that is read whole: many times what any of those that we know of has.
LARGEST = 16 * 2**20

# Where the kernel keeps it (selinux(8), xattr(7)).
_CONTEXT = "security.selinux"


@dataclass(frozen=True)
class Write:
    """A file's new text, or its removal (``text=None``)."""

    path: str
    text: str | None
    mode: int = 0o644  # of a new file; an existing one keeps its mode and owner
    backup: bool = False
    # A command that accepts the new text or fails; {name} is its file's bare name, {path} the whole path of it.
    validate: tuple[str, ...] = ()
    keeps_suffix: bool = True  # of the file in which the new text waits; without it no pattern such as *.toml finds it

    def __post_init__(self) -> None:
        # Here and not when it is written, so that check mode tells it too.
        try:
            (self.text or "").encode("utf-8")
        except UnicodeEncodeError as error:
            raise RefusedError(
                f"{self.path} would not be UTF-8 text: {error.object[error.start]!a} is half of a character"
            ) from error
        reason = obstacle(self.path, len(self.text or ""))
        if reason:
            raise RefusedError(f"{self.path} cannot be written: {reason}")


def read(path: str, *, exact: bool = False) -> str | None:
    """Return the text of a file, None where there is none; anything that is no readable text file is refused.

    Line ends become those of this system, unless the text is wanted exactly as it is.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise RefusedError(
                f"{path} is a symbolic link to {os.path.realpath(path)}, which does not exist: make that file, or "
                "remove the link"
            ) from error
        return None
    except IsADirectoryError as error:
        raise RefusedError(f"{path} is a directory, not a file: move it away") from error
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null character, or half of one
        raise RefusedError(f"{path!r} is not the path of a file") from error
    if len(content) > LARGEST:
        raise RefusedError(f"{path} is larger than {LARGEST // 2**20} MiB, so it is none of its kind: move it away")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path} is not UTF-8 text (byte {error.start}): correct it or move it away") from error
    if text.startswith("\ufeff"):
        raise RefusedError(f"{path} begins with a byte order mark: save it as UTF-8 text without one")
    return text if exact else text.replace("\r\n", "\n").replace("\r", "\n")


def read_limited(path: str, largest: int = LARGEST) -> bytes:
    """Return what is in a regular file that somebody else writes. Raises OSError, also where it is larger."""
    with open_regular(path, OSError) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return content


def load(path: str, largest: int = LARGEST) -> dict[str, t.Any]:
    """Return the object in a JSON file that somebody else writes; empty where there is none that can be read."""
    try:
        found = json.loads(read_limited(path, largest))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def open_regular(path: str, refusal: type[Exception] = RefusedError) -> t.BinaryIO:
    """Open a file for reading, and nothing but a file: a device may be endless, and a FIFO has no end until written."""
    # Without waiting, as to open a FIFO hangs until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise refusal(f"{path} is not a regular file: move it away")
    return os.fdopen(descriptor, "rb")


def check_folder(option: str, folder: str) -> None:
    """Refuse what cannot be a directory of ours."""
    if not os.path.isabs(folder) or "\0" in folder:
        raise RefusedError(f"{option} must be the absolute path of a directory, not {folder!r}")
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise RefusedError(f"{option}: {there} is not a directory: name another one, or move it away")
    intruder = folders.intruder(folder)
    if intruder:
        raise RefusedError(
            f"{option}: {intruder}, who could put something else in the place of {folder}, or of what is in it: let "
            "the folder and those above it be root's alone (chown root:root, chmod go-w; for one of a Debian package "
            "'dpkg-statoverride --update --add root root 0755 FOLDER', which upgrades keep), or name another one"
        )


# linux/fs.h, FS_IOC_GETFLAGS and FS_*_FL.
_GET_FLAGS = 0x80006601 | struct.calcsize("l") << 16
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_ROOM = 64 * 1024  # bytes beside the text, for what the filesystem itself takes


def obstacle(path: str, size: int = 0) -> str:
    """Return why a file cannot be replaced by one of so many bytes, with what to do; empty where it can, for all known.

    Asked before anything is changed: what fails later leaves a host with its disk taken and Docker stopped.
    """
    try:
        path = os.path.realpath(path)
        folder = os.path.dirname(path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            if any(mounted.point == path for mounted in mounts.parse(file.read())):
                return (
                    "it is mounted there by itself, so that it cannot be replaced: write what is mounted, or unmount it"
                )
        room = os.statvfs(folder)
        if room.f_flag & os.ST_RDONLY:
            return f"the filesystem of {folder} is read-only: mount it writable, or write the file where it comes from"
        if room.f_bavail * room.f_frsize < size + _ROOM:
            return f"the filesystem of {folder} is full: make room there"
        if room.f_files and not room.f_favail:
            return f"the filesystem of {folder} has no inodes left: make room there"
        for name in (path, folder):
            if os.path.isfile(name) or os.path.isdir(name):
                flags = _flags(name)
                if flags & (_IMMUTABLE | (_APPEND_ONLY if name == path else 0)):
                    letter = "i" if flags & _IMMUTABLE else "a"
                    return f"{name} has the attribute {letter}: take it away with 'chattr -{letter} {name}'"
    except (OSError, ValueError):  # what it is, writing tells
        pass
    return ""


def _flags(path: str) -> int:
    """Return the attributes that chattr(1) sets; none on a filesystem without."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    # The kernel writes an int, whatever the number of the request says.
    return int(struct.unpack_from("i", found)[0])


class Replacement(t.NamedTuple):
    """A file that is about to take another's name."""

    file: t.BinaryIO
    path: str  # where it waits until then

    def write_down(self, content: bytes = b"") -> None:
        """Write, and have all of it on the disk."""
        self.file.write(content)
        self.file.flush()
        os.fsync(self.file.fileno())


@contextlib.contextmanager
def replacing(path: str, mode: int, *, keeps_mode: bool = False, keeps_suffix: bool = True) -> t.Iterator[Replacement]:
    """Replace a file by what is written meanwhile, whole or not at all; where that fails, it is as it was.

    The new content reaches the disk before it takes the old one's name, so that a crash leaves one or the other.
    Whoever may write to a folder on the way cannot have something else written to (folders.opened): in the last one it
    is a file with a name that nobody knows, which must not be there yet. From its first byte on nobody may read it who
    may not read the result. With ``keeps_mode`` mode, owner and SELinux context of a file that is there are taken over.
    """
    with folders.opened(path) as place:
        _check_regular(place)
        stem, suffix = os.path.splitext(place.name)
        _remove_left(place.folder, stem)
        new = f".{stem}.ansible-new-{secrets.token_hex(8)}{suffix if keeps_suffix else ''}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600, dir_fd=place.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if not (keeps_mode and _take_over(descriptor, place)):
                    os.fchmod(descriptor, mode)
                waiting = Replacement(file, os.path.join(place.folder_path, new))
                yield waiting
                waiting.write_down()
            os.replace(new, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=place.folder)
            raise
        os.fsync(place.folder)


def _check_regular(place: folders.Place) -> None:
    there = place.status()
    if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
        raise RefusedError(f"{place.path} is not a regular file: move it away")


def _remove_left(directory: int, stem: str) -> None:
    """Remove what killed runs left; every one that writes holds a lock, so none of them is at it."""
    left = re.compile(re.escape(f".{stem}.ansible-new") + r"(-[0-9a-f]{16})?(\.[^.]*)?")
    for name in os.listdir(directory):
        if left.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _take_over(descriptor: int, place: folders.Place) -> bool:
    """Give a new file the owner, mode and SELinux context of one that is there; return whether there is one."""
    there = place.status()
    if there is None:
        return False
    if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, there.st_uid, there.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
    with contextlib.suppress(OSError):  # no SELinux, or a filesystem without
        context = os.getxattr(f"/proc/self/fd/{place.folder}/{place.name}", _CONTEXT, follow_symlinks=False)
        os.setxattr(descriptor, _CONTEXT, context)
    return True


def carry_out(module: AnsibleModule, change: Write) -> str | None:
    """Replace or remove a file; return the path of the backup, if one was asked for and made.

    Of a symbolic link what it points to is replaced; removed is the link, and what it points to stays.
    """
    path = change.path
    try:
        if change.text is None:
            backup = back_up(path) if change.backup else None
            remove(path)
            return backup
        with folders.opened(path, create=True, follow=True) as place:
            path = place.path
        return _replace(module, change, path)
    except process.ProcessError:
        raise
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}. It is as it was") from error


def _replace(module: AnsibleModule, change: Write, path: str) -> str | None:
    is_new = not os.path.exists(path)
    with replacing(path, change.mode, keeps_mode=True, keeps_suffix=change.keeps_suffix) as new:
        new.write_down((change.text or "").encode())
        if change.validate:
            named = {"{name}": os.path.splitext(os.path.basename(new.path))[0], "{path}": new.path}
            process.run(*(named.get(word, word.replace("{name}", named["{name}"])) for word in change.validate))
        backup = back_up(path) if change.backup else None
    if is_new and module.selinux_enabled():
        module.set_default_selinux_context(path, False)
    return backup


def remove(path: str) -> None:
    """Remove a file, so that it is gone after a power cut too; of a link the link, and none on the way is followed."""
    with folders.opened(path) as place:
        os.unlink(place.name, dir_fd=place.folder)
        os.fsync(place.folder)


def back_up(path: str) -> str | None:
    """Copy a file beside itself and return the copy's path, None where there is no file.

    Not by Ansible's backup_local(), whose copy may be read by everybody until it is complete, and is left cut off where
    the disk is full (seen).
    """
    try:
        with open_regular(path) as source:
            copy = f"{path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"  # Ansible's form
            was = os.fstat(source.fileno())
            with replacing(copy, 0o600) as new:
                shutil.copyfileobj(source, new.file)
                new.write_down()
                os.fchown(new.file.fileno(), was.st_uid, was.st_gid)
                os.fchmod(new.file.fileno(), stat.S_IMODE(was.st_mode))
                os.utime(new.file.fileno(), ns=(was.st_atime_ns, was.st_mtime_ns))
    except FileNotFoundError:
        return None
    return copy
