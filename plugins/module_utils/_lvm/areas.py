# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Where on a group's devices its volumes lie."""

from __future__ import annotations

import os
import typing as t


class Area(t.NamedTuple):
    """Extents of a device, one behind the other, that a volume lies on."""

    device: str  # canonical path
    first: int  # extent of the device
    extents: int
    start: int  # extent of the volume that they begin with, counted as those of one device alone

    @property
    def range(self) -> str:
        """The extents as LVM's commands want them named (lvm(8), PV:PE)."""
        return f"{self.device}:{self.first}-{self.first + self.extents - 1}"


def canonical(name: t.Any) -> str:
    """Return the canonical path of a device; LVM's words for one that is missing are left as they are."""
    return os.path.realpath(str(name)) if str(name).startswith("/") else str(name)


def of_segment(row: t.Mapping[str, t.Any]) -> tuple[Area, ...]:
    """Return what a segment lies on: "/dev/vdb:0-9 /dev/vdc:0-9"; a volume that it lies on is told of by its own."""
    ranges = row.get("seg_pe_ranges") or ()
    start = int(row.get("seg_start_pe") or 0)
    found = []
    for words in ranges.split() if isinstance(ranges, str) else ranges:
        device, _colon, extents = str(words).rpartition(":")
        if device.startswith("/"):
            first, last = map(int, extents.split("-"))
            found.append(Area(canonical(device), first, last - first + 1, start))
    return tuple(found)
