# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the watching of pools reads of a host: LVM and the kernel once, and the events that happened."""

from __future__ import annotations

import contextlib
import glob
import time

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    dm_events,
    journal,
    log_files,
    pool_health,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.journal import Reading
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.verdicts import PoolSnapshot

DEVICES = "/sys/dev/block"  # a folder for each block device, by its number


def look() -> PoolSnapshot:
    """Return every pool of this host: three processes, and one more for each profile. A stuck pool does not stop it."""
    # A host without LVM has no pools, which is a verdict and no error.
    lvm = lvm_state.read() if process.find("lvm") else lvm_state.LvmState()
    statuses: dict[str, pool_status.PoolStatus] = {}
    if process.find("dmsetup"):
        # Also where LVM has no pool: the kernel may still run one whose devices are gone.
        with contextlib.suppress(process.ProcessError):
            statuses = pool_status.read()
    pools = pool_health.pools(lvm, (volume for volume in lvm.volumes if volume.is_pool), statuses)
    own = {}
    for pool in pools:
        if not pool.profile and pool.policy.threshold >= 100:
            policy = profiles.policy(pool.volume.dm_name)
            if policy.found and policy.threshold < 100:
                own[pool.pool_name] = policy
    return PoolSnapshot(lvm, statuses, pools, own)


def read_events(
    *, since: str = "", cursor: str = "", path: str = "", seconds: float = 0.0
) -> tuple[list[Event], Reading]:
    """Return what happened since a point in time or a place in the journal, or in the log file of a path.

    After so many seconds the rest is left to the next reading.
    """
    now = time.time()
    if path:
        booted = now - time.clock_gettime(time.CLOCK_BOOTTIME)
        reading = log_files.read_file(path, cursor=cursor, since=since, now=now, booted=booted, seconds=seconds)
    else:
        reading = journal.read(cursor=cursor, since=since, now=now, seconds=seconds)
    # The kernel names devices by numbers, which mean what they mean now only in lines of this boot.
    kernel = any(line.source == "kernel" and line.current for line in reading.lines)
    return dm_events.events(reading.lines, device_names() if kernel else {}), reading


def device_names() -> dict[str, str]:
    """Return the device-mapper name of every such device by its number, without a process."""
    found = {}
    for path in glob.glob(f"{DEVICES}/*:*/dm/name"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            found[path.split("/")[-3]] = file.read().strip()
    return found
