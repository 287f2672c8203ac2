# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Locks that keep two runs, or a run and udev, from working on the same thing at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import open_files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

# Every module that changes something holds it from before it reads until it has written: what was decided on
# cannot be changed by another run in between.
# Not in /run/lock, which everybody may write to.
RUN = "/run/devicemapper.containers.lock"


@contextlib.contextmanager
def locked(path: str, timeout: float, create: bool = False) -> t.Iterator[int]:
    """Hold an exclusive lock on a file or device (flock(2)), and yield its descriptor.

    It goes with the process, however that ends, and with the last of those that inherit the descriptor.
    """
    end = time.monotonic() + timeout
    descriptor, is_new = _opened(path, create)
    try:
        while not _is_ours(descriptor, path, is_new):
            if time.monotonic() >= end:
                raise RefusedError(
                    f"{path} is locked by another process for more than {timeout:.0f} seconds: another run, or a "
                    f"program that an interrupted run started, may be at work on this host ('lsof {path}'); "
                    "nothing was changed"
                )
            time.sleep(0.2)
            if not _is_there(descriptor, path):
                replaced = descriptor
                descriptor, is_new = _opened(path, create)
                os.close(replaced)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int, path: str, is_new: bool) -> bool:
    """Whether the lock is held now, by nobody but this process.

    A lock file may be removed while it is held, as by a cleaner of old files. Who comes then has made another one.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_there(descriptor, path) and not (is_new and open_files.have_removed(path))


def _opened(path: str, create: bool) -> tuple[int, bool]:
    """Return the descriptor of a file or device, and whether the file was made for it."""
    # Without waiting, as to open a FIFO hangs until somebody writes to it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    is_new = False
    try:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if not create:
                raise
            descriptor, is_new = os.open(path, flags | os.O_CREAT, 0o600), True
    except PermissionError as error:
        raise RefusedError(f"{path} may only be locked by root: run this as root (become: true)") from error
    except OSError as error:
        raise RefusedError(f"{path} cannot be locked: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        os.close(descriptor)
        raise RefusedError(f"{path} cannot be locked: it is no regular file; move it away")
    return descriptor, is_new


def _is_there(descriptor: int, path: str) -> bool:
    """Whether a path still leads to the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False
