# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the kernel shows in sysfs: a folder's names, and what a file of it says."""

from __future__ import annotations

import os

BLOCK = "/sys/class/block"  # a link for each block device, partitions too


def attribute(directory: str, name: str) -> str | None:
    """Return what a file of sysfs says; None where there is none."""
    try:
        with open(f"{directory}/{name}", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def listdir(path: str) -> list[str]:
    """Return the names in a directory; none where it is none."""
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def sector_size(path: str) -> int:
    """Return the bytes of a device's logical block, 0 where the kernel does not know the device.

    Documentation/ABI/stable/sysfs-block; a partition has those of its disk.
    """
    sys = os.path.realpath(f"{BLOCK}/{os.path.basename(path)}")
    for folder in (sys, os.path.dirname(sys)):
        found = attribute(folder, "queue/logical_block_size")
        if found:
            return int(found)
    return 0
