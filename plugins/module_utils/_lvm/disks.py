# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.
"""The whole disks of this host, as sysfs and udev's records have them; starts no process."""

from __future__ import annotations

import os
import re

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.disk_rules import Disk

BLOCK = "/sys/block"
UDEV = "/run/udev/data"
# What has a device of its own and is no disk that keeps what is written to it.
_UNFIT = re.compile(r"(zram|ram|fd|sr|nbd|mtdblock|loop|dm-|md)\d")
# Parts of a disk's place in sysfs, the first that is in it counts: a disk behind USB is one of SCSI's too.
_BUSES = (
    ("usb", r"/usb\d"),
    ("nvme", r"/nvme\d"),
    ("mmc", r"/mmc\d"),
    ("ata", r"/ata\d"),
    ("virtio", r"/virtio\d+/block/"),
    ("xen", r"/vbd-\d"),
    ("scsi", r"/target\d+:"),
)


def read() -> list[Disk]:
    """Return the disks that are hardware to the kernel, or look like it; what is composed of others is left out."""
    names = [name for name in listdir(BLOCK) if not _UNFIT.match(name)]
    return [_disk(name) for name in sorted(names) if os.path.exists(f"{BLOCK}/{name}/device")]


def _disk(name: str) -> Disk:
    sys = os.path.realpath(f"{BLOCK}/{name}")
    records = (attribute(UDEV, f"b{attribute(sys, 'dev')}") or "").splitlines()
    known = dict(line[2:].partition("=")[::2] for line in records if line.startswith("E:"))
    links = [line[2:] for line in records if line.startswith("S:")]
    return Disk(
        path=f"/dev/{name.replace('!', '/')}",  # sysfs has no slash in a name (cciss!c0d0)
        size=int(attribute(sys, "size") or 0) * 512,
        model=attribute(sys, "device/model") or known.get("ID_MODEL", ""),
        bus=next((bus for bus, pattern in _BUSES if re.search(pattern, f"{sys}/")), ""),
        rotational=attribute(sys, "queue/rotational") == "1",
        paths=_below(links, "disk/by-path/"),
        ids=_below(links, "disk/by-id/"),
    )


def _below(links: list[str], folder: str) -> tuple[str, ...]:
    return tuple(sorted(link[len(folder) :] for link in links if link.startswith(folder)))
