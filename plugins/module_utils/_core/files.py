# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Text files: read if there, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

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


def read(path: str, *, exact: bool = False) -> str | None:
    """Return the text of a file, None where there is none; anything that is no readable text file is refused.

    Line ends become those of this system, unless the text is wanted exactly as it is.
    """
    try:
        # Without waiting: to open a FIFO hangs until somebody writes to it.
        with open(
            path,
            encoding="utf-8",
            newline="" if exact else None,
            opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK),
        ) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RefusedError(f"{path} is not a regular file: move it away")
            text = file.read()
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise RefusedError(
                f"{path} is a symbolic link to {os.path.realpath(path)}, which does not exist: make that file, or "
                "remove the link"
            ) from error
        return None
    except IsADirectoryError as error:
        raise RefusedError(f"{path} is a directory, not a file: move it away") from error
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path} is not UTF-8 text (byte {error.start}): correct it or move it away") from error
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null character, or half of one
        raise RefusedError(f"{path!r} is not the path of a file") from error
    if text.startswith("\ufeff"):
        raise RefusedError(f"{path} begins with a byte order mark: save it as UTF-8 text without one")
    return text


def check_folder(option: str, folder: str) -> None:
    """Refuse what cannot be a directory of ours."""
    if not os.path.isabs(folder) or "\0" in folder:
        raise RefusedError(f"{option} must be the absolute path of a directory, not {folder!r}")
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise RefusedError(f"{option}: {there} is not a directory: name another one, or move it away")


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
    Whoever may write to the folder cannot have something else written to: the folder is opened once, and in it a file
    with a name that nobody knows, which must not be there yet. From its first byte on nobody may read it who may not
    read the result. With ``keeps_mode`` mode, owner and SELinux context of a file that is there are taken over.
    """
    folder, name = os.path.realpath(os.path.dirname(path)), os.path.basename(path)
    stem, suffix = os.path.splitext(name)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _remove_left(directory, stem)
        new = f".{stem}.ansible-new-{secrets.token_hex(8)}{suffix if keeps_suffix else ''}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if not (keeps_mode and _take_over(descriptor, directory, name)):
                    os.fchmod(descriptor, mode)
                waiting = Replacement(file, os.path.join(folder, new))
                yield waiting
                waiting.write_down()
            os.replace(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=directory)
            raise
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove_left(directory: int, stem: str) -> None:
    """Remove what killed runs left; every one that writes holds a lock, so none of them is at it."""
    left = re.compile(re.escape(f".{stem}.ansible-new") + r"(-[0-9a-f]{16})?(\.[^.]*)?")
    for name in os.listdir(directory):
        if left.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _take_over(descriptor: int, directory: int, name: str) -> bool:
    """Give a new file the owner, mode and SELinux context of one that is there; return whether there is one."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, there.st_uid, there.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
    with contextlib.suppress(OSError):  # no SELinux, or a filesystem without
        context = os.getxattr(f"/proc/self/fd/{directory}/{name}", _CONTEXT, follow_symlinks=False)
        os.setxattr(descriptor, _CONTEXT, context)
    return True


def carry_out(module: AnsibleModule, change: Write) -> str | None:
    """Replace or remove a file; return the path of the backup, if one was asked for and made.

    A symbolic link stays: what it points to is replaced.
    """
    path = os.path.realpath(change.path)
    try:
        return _replace(module, change, path)
    except process.ProcessError:
        raise
    except Exception as error:
        # Ansible's own functions wrap theirs in a plain one from ansible-core 2.19 on; before, they end the module.
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError):
            raise
        raise RefusedError(f"{path} cannot be written: {reason.strerror}. It is as it was") from error


def _replace(module: AnsibleModule, change: Write, path: str) -> str | None:
    if change.text is None:
        backup = _backup(module, change, path)
        _remove(path)
        return backup
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    is_new = not os.path.exists(path)
    with replacing(path, change.mode, keeps_mode=True, keeps_suffix=change.keeps_suffix) as new:
        new.write_down(change.text.encode())
        if change.validate:
            named = {"{name}": os.path.splitext(os.path.basename(new.path))[0], "{path}": new.path}
            process.run(*(named.get(word, word.replace("{name}", named["{name}"])) for word in change.validate))
        backup = _backup(module, change, path)
    if is_new and module.selinux_enabled():
        module.set_default_selinux_context(path, False)
    return backup


def _remove(path: str) -> None:
    """Remove a file, so that it is gone after a power cut too."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.unlink(os.path.basename(path), dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def _backup(module: AnsibleModule, change: Write, path: str) -> str | None:
    return module.backup_local(path) if change.backup and os.path.exists(path) else None
