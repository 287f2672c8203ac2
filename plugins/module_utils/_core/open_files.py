# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Which processes of this host have a file or a device open, as root may see (proc(5))."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir

PROC = "/proc"


@dataclass(frozen=True)
class OpenFile:
    """A descriptor of a process."""

    pid: int
    link: str  # the descriptor's link in /proc, which can be looked at as the file itself
    target: str  # where that points to, as the process sees it; " (deleted)" behind the name of a removed file


def of_others() -> t.Iterator[OpenFile]:
    """Yield what other processes have open and has a name: no pipes, no sockets."""
    for name in listdir(PROC):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        folder = f"{PROC}/{name}/fd"
        with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
            for descriptor in listdir(folder):
                with contextlib.suppress(OSError):
                    target = os.readlink(f"{folder}/{descriptor}")
                    if target.startswith("/"):
                        yield OpenFile(int(name), f"{folder}/{descriptor}", target)


def have_removed(path: str) -> bool:
    """Whether another process has a file open that had this path and was removed."""
    return any(found.target == f"{path} (deleted)" for found in of_others())


def writers_of(number: int) -> list[str]:
    """Return who has the block device of a number open for writing, as "NAME (process PID)", without a name for it."""
    found: dict[int, str] = {}
    for opened in of_others():
        if opened.pid in found:
            continue
        with contextlib.suppress(OSError):
            status = os.stat(opened.link)
            # A link has its owner's write permission where its file is open for writing (proc(5), /proc/pid/fd).
            if stat.S_ISBLK(status.st_mode) and status.st_rdev == number and os.lstat(opened.link).st_mode & 0o200:
                name = attribute(f"{PROC}/{opened.pid}", "comm") or "?"
                found[opened.pid] = f"{name} (process {opened.pid})"
    return [found[pid] for pid in sorted(found)]
