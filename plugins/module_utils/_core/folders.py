# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The way to a file that root writes: walked folder by folder, so that nobody else can lead it elsewhere."""

from __future__ import annotations

import collections
import contextlib
import errno
import grp
import os
import pwd
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as in the kernel (path_resolution(7))


@dataclass(frozen=True)
class Place:
    """A name in a folder that is open; every link on the way to it was made by root, or is not followed."""

    folder: int  # descriptor of the folder
    folder_path: str  # without links
    name: str  # empty: the folder itself is meant
    intruder: str = ""  # who else may change what the path leads to, as a sentence; empty where nobody may

    @property
    def path(self) -> str:
        return os.path.join(self.folder_path, self.name)

    def status(self) -> os.stat_result | None:
        """Return what stands there, a link as such; None where nothing does."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def opened(path: str, *, create: bool = False, follow: bool = False) -> t.Iterator[Place]:
    """Open the folder that a path's last part is in, and yield the place.

    Folders are opened one in the other, and a link is followed only where nobody but root (or this process' own user)
    can have made it: where others can, it may lead to anything by the time that it is written through. With ``create``
    missing folders are made, and with ``follow`` a link at the path's end is followed as well.
    """
    if not os.path.isabs(path):
        path = os.path.join(os.getcwd(), path)
    here, at, intruder, links = os.open("/", _FLAGS), "/", "", 0
    words = collections.deque(_words(path))
    try:
        while True:
            word = words.popleft() if words else ""
            is_last = not words
            there = _status(here, word) if word else None
            replacer = _replacer(here, at, word, there)
            if there and stat.S_ISLNK(there.st_mode) and not (is_last and not follow):
                links += 1
                target = os.readlink(word, dir_fd=here)
                _check_link(os.path.join(at, word), target, replacer, links)
                words.extendleft(reversed(_words(target)))
                if target.startswith("/"):
                    os.close(here)
                    here, at = os.open("/", _FLAGS), "/"
                continue
            intruder = intruder or replacer
            if is_last:
                yield Place(here, at, word, intruder)
                return
            if there is None and create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(word, 0o755, dir_fd=here)
            inner = os.open(word, _FLAGS, dir_fd=here)
            os.close(here)
            here, at = inner, os.path.normpath(os.path.join(at, word))
    finally:
        os.close(here)


def intruder(path: str) -> str:
    """Return who else than root may change what a folder's path leads to, and how to end that; empty: nobody.

    Of a folder that is yet to be made, its nearest parent counts.
    """
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    # Of the folder itself as well, since who may write to it may plant names in it.
    with opened(f"{path}/.", follow=True) as place:
        return place.intruder


def _words(path: str) -> list[str]:
    words = [word for word in path.split("/") if word]
    return [word for word in words[:-1] if word != "."] + words[-1:]


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _replacer(folder: int, path: str, name: str, there: os.stat_result | None) -> str:
    """Return who else may change what a name in a folder stands for, as a sentence."""
    found = os.fstat(folder)
    if not _is_trusted(found.st_uid):
        return f"{path} belongs to {_user(found.st_uid)}"
    # In a sticky folder, such as /tmp, a name can only be changed by its owner; but whoever comes first has it.
    if found.st_mode & stat.S_ISVTX and name != "." and there is not None and _is_trusted(there.st_uid):
        return ""
    if found.st_mode & stat.S_IWOTH:
        return f"{path} may be written to by everybody"
    # Where there is an access list, these bits are the most that anybody on it may (acl(5)).
    if found.st_mode & stat.S_IWGRP and (found.st_gid not in (0, os.getegid()) or _has_access_list(folder)):
        return f"{path} may be written to by group {_group(found.st_gid)}"
    return ""


def _is_trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _has_access_list(folder: int) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(folder)
    except OSError:  # a filesystem without
        return False


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _check_link(path: str, target: str, replacer: str, links: int) -> None:
    if replacer:
        raise RefusedError(
            f"{path} is a symbolic link to {target}, and {replacer}, who could have it lead anywhere: remove the link, "
            "or have its folder belong to root alone"
        )
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
