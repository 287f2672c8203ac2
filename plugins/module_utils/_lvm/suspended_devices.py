# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Devices of the device mapper that stay suspended: whatever reads them waits, and LVM's own look at the host does."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import attribute, listdir

BLOCK = "/sys/block"
# Commands suspend devices for parts of a second, and longer where what was written goes to a slow disk first.
PATIENCE = 10  # seconds


class SuspendedError(RefusedError):
    """Devices stay suspended."""

    def __init__(self, message: str, names: t.Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)  # under /dev/mapper

    def concerns(self, pool: str) -> bool:
        """Whether it is a pool, by its name under /dev/mapper, or one of LVM's parts of it."""
        return any(f"{pool}{part}" in self.names for part in ("", "-tpool", "_tdata", "_tmeta"))


def check() -> None:
    """Refuse to start LVM where it would wait for a suspended device, and not even SIGKILL would end it (seen).

    LVM looks for its labels on every device but its own volumes (lvm.conf, devices/scan_lvs), so on each container's
    device, which waits for the pool below. Its ignore_suspended_devices knows nothing of what lies below.
    """
    end = time.monotonic() + PATIENCE
    while True:
        suspended = [name for name in listdir(BLOCK) if attribute(f"{BLOCK}/{name}", "dm/suspended") == "1"]
        if not any(map(_is_scanned, suspended)):
            return
        if time.monotonic() >= end:
            break
        time.sleep(0.2)
    # One that lies on another is resumed after it: a pool that is resumed reads its metadata.
    below = {name: len(set(suspended) & _below(name)) for name in suspended}
    names = [
        attribute(f"{BLOCK}/{name}", "dm/name") or name
        for name in sorted(suspended, key=lambda name: (below[name], name))
    ]
    # Resuming takes a table into use that was loaded before, and lvextend loads larger ones before it commits: a pool
    # would be larger for the kernel than for LVM (seen). So what was loaded is dropped; LVM loads it again.
    words = " ".join(names)
    raise SuspendedError(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} suspended for more than {PATIENCE} seconds, and what "
        "reads or writes there waits, LVM's commands too: a command may have been killed. See that none of LVM's or "
        f"Docker's is at work, then run 'dmsetup clear {words} && dmsetup resume {words}'",
        names,
    )


def _is_scanned(name: str) -> bool:
    """Return whether LVM reads the device, or one that lies on it."""
    uuid = attribute(f"{BLOCK}/{name}", "dm/uuid") or ""
    return not uuid.startswith("LVM-") or any(map(_is_scanned, listdir(f"{BLOCK}/{name}/holders")))


def _below(name: str) -> set[str]:
    slaves = listdir(f"{BLOCK}/{name}/slaves")
    return set(slaves).union(*map(_below, slaves))
