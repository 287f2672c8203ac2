# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Locks that keep two runs, or a run and udev, from working on the same thing at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

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
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except PermissionError as error:
        raise RefusedError(f"{path} may only be locked by root: run this as root (become: true)") from error
    except OSError as error:
        raise RefusedError(f"{path} cannot be locked: {error.strerror}") from error
    try:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise RefusedError(
                        f"{path} is locked by another process for more than {timeout:.0f} seconds: another run, or a "
                        f"program that an interrupted run started, may be at work on this host ('lsof {path}'); "
                        "nothing was changed"
                    ) from error
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)
