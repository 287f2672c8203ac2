# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Whether the driver overlay2 can keep its data in a folder."""

from __future__ import annotations

import ctypes
import os
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process


def existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def overlay_obstacle(root: str) -> str:
    """Return why overlay2 cannot work here; Docker would find out when it starts."""
    try:
        with open("/proc/filesystems", encoding="ascii") as file:
            knows = "overlay" in file.read().split()
    except OSError:
        knows = False
    if not knows and not process.find("modprobe"):
        return "this kernel has no overlay filesystem (/proc/filesystems)"
    if not knows:
        try:
            process.run("modprobe", "--dry-run", "overlay")
        except process.ProcessError as error:
            return f"this kernel has no overlay filesystem: {error}"
    if tells_types(existing(root)) is False:
        return (
            f"the filesystem of {root} does not tell the types of directory entries (d_type), which overlay2 needs: on "
            "xfs that is decided when it is made (ftype=1); use another filesystem for Docker's data"
        )
    return ""


class _Entry(ctypes.Structure):
    """readdir(3), struct dirent64."""

    _fields_: t.ClassVar = [
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_ushort),
        ("d_type", ctypes.c_ubyte),
        ("d_name", ctypes.c_char * 256),
    ]


def tells_types(folder: str) -> bool | None:
    """Whether a folder's filesystem tells the types of its entries; None where it has none to tell of.

    As Docker finds out itself (moby, pkg/fsutils): Python's os.scandir() hides the answer behind a second look.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.opendir.restype = ctypes.c_void_p
    library.readdir64.argtypes = [ctypes.c_void_p]
    library.readdir64.restype = ctypes.POINTER(_Entry)
    library.closedir.argtypes = [ctypes.c_void_p]
    stream = library.opendir(os.fsencode(folder))
    if not stream:
        return None
    try:
        found = None
        while True:
            entry = library.readdir64(stream)
            if not entry:
                return found
            if entry.contents.d_name not in (b".", b".."):
                if entry.contents.d_type == 0:  # DT_UNKNOWN
                    return False
                found = True
    finally:
        library.closedir(stream)
