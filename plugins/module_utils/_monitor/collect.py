# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the watching of pools reads of a host: LVM and the kernel once, and the events that happened."""

from __future__ import annotations

import contextlib
import glob
import os
import time
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import snapshots
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    dm_events,
    forecast,
    journal,
    log_files,
    pool_health,
    verdicts,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.journal import Reading
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.remedies import Whose
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.verdicts import PoolSnapshot

DOCKERS_OWN = "docker-thinpool"  # of dm.directlvm_device, with which no option names the pool
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
    return _snapshot(lvm, (volume for volume in lvm.volumes if volume.is_pool), statuses)


def _snapshot(
    lvm: lvm_state.LvmState,
    volumes: t.Iterable[lvm_state.LogicalVolume],
    statuses: t.Mapping[str, pool_status.PoolStatus],
) -> PoolSnapshot:
    pools = pool_health.pools(lvm, volumes, statuses)
    own = {}
    for pool in pools:
        if not pool.profile and pool.policy.threshold >= 100:
            policy = profiles.policy(pool.volume.dm_name)
            if policy.found and policy.threshold < 100:
                own[pool.pool_name] = policy
    return PoolSnapshot(lvm, statuses, pools, own)


def look_at(
    lvm: lvm_state.LvmState, status: pool_status.PoolStatus | None, name: PoolName, engine: str, since: str
) -> verdicts.Verdict | None:
    """Return how one pool is, and what happened to it since a point in time; None where LVM has no such pool.

    For who has read LVM and the kernel already: two processes more. ``engine`` is docker, containerd or nothing.
    """
    volume = lvm.volume(name.vg, name.name)
    if volume is None or not volume.is_pool:
        return None
    events: list[Event] = []
    # Its state tells most by itself.
    with contextlib.suppress(RefusedError, process.ProcessError):
        events = read_events(since=since)[0]
    snapshot = _snapshot(lvm, [volume], {volume.dm_name: status} if status else {})
    snapshot = with_engines(snapshot, {str(name): engine}, os.uname().nodename)
    snapshot = with_forecasts(snapshot, forecast.HISTORY, time.time())
    (found,) = verdicts.of_host(snapshot, [name], pool_health.Limits(), lambda pool: verdicts.history(events, pool))
    return found


def with_whose(snapshot: PoolSnapshot, host: str) -> PoolSnapshot:
    """Return the pools with where they are and whose, which what helps them depends on: two processes more.

    So only where something is wrong. ``host`` is what the inventory calls this host, empty where that is not known.
    """
    found = find_engines([pool.volume.dm_name for pool in snapshot.pools])
    engines = {str(pool.pool_name): found.get(pool.volume.dm_name, "") for pool in snapshot.pools}
    return with_engines(snapshot, engines, host or os.uname().nodename)


def with_engines(snapshot: PoolSnapshot, engines: t.Mapping[str, str], host: str = "") -> PoolSnapshot:
    """Return the pools with the engine of each, by its name, and with what the inventory calls their host."""
    pools = [replace(pool, whose=Whose(host, engines.get(str(pool.pool_name), ""))) for pool in snapshot.pools]
    return replace(snapshot, pools=pools)


def with_forecasts(snapshot: PoolSnapshot, path: str, now: float) -> PoolSnapshot:
    """Return the pools with how long they have got, by what the exporter has kept at a path, where it runs."""
    pools = [pool.with_history(forecast.read(path, str(pool.pool_name)), now) for pool in snapshot.pools]
    return replace(snapshot, pools=pools)


def find_engines(dm_names: t.Iterable[str]) -> dict[str, str]:
    """Return the engine that is configured to use each pool, docker or containerd, by the pool's device-mapper name."""
    docker = containerd = None
    # A configuration that cannot be read is no reason to be silent on a pool that is full.
    with contextlib.suppress(RefusedError, process.ProcessError, OSError):
        docker = docker_layers.find()
    with contextlib.suppress(RefusedError, process.ProcessError, OSError):
        containerd = snapshots.find()
    found = {}
    for name in dm_names:
        if containerd and containerd.pool == name:
            found[name] = "containerd"
        elif docker and (docker.pool == name or (name == DOCKERS_OWN and docker.may_be_of(name) and _is_used(docker))):
            found[name] = "docker"
    return found


def _is_used(docker: docker_layers.DockerPlace) -> bool:
    """Whether Docker has records of a pool, so that one that it made itself is its."""
    return docker_layers.transaction_id(docker.root) is not None


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
