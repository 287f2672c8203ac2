# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What Docker's manual would advise on a host: its disks, logs, memory, volumes and the driver's options. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_checks import ExpectedStorage
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Inspection

# The manual gives no figures for these two; they are where we begin to say something.
MEMORY_PER_CONTAINER = 256 * MIB
WRITTEN_PER_HOUR = 100 * MIB


@dataclass(frozen=True)
class Advice:
    """Something that works and could be better."""

    kind: str
    message: str
    set: str  # what to set for it

    @property
    def line(self) -> str:
        return f"ADVICE    {self.kind}: {self.message}. {self.set}"


def advice(seen: Inspection, wanted: ExpectedStorage) -> list[Advice]:
    """Return what would be better otherwise: the manual's best practices, and what users of the driver ran into."""
    found = [
        *_of_disks(seen, wanted),
        *_of_logs(seen),
        *_of_memory(seen),
        *_of_volumes(seen),
    ]
    info = seen.docker.info
    return found + [*_of_driver(seen, info.status)] if info and info.driver == DRIVER else found


def _of_disks(seen: Inspection, wanted: ExpectedStorage) -> t.Iterator[Advice]:
    slow = [disk.name for disk in seen.disks_under(wanted.dm_name) if disk.rotational]
    if slow:
        yield Advice(
            "rotational",
            f"the kernel takes {', '.join(slow)}, which {wanted.dm_name} lies on, for a rotating disk",
            "Give the pool solid-state disks, and move it there (playbook replace_disk). A virtual disk may say so "
            "too, whatever is behind it",
        )


def _of_logs(seen: Inspection) -> t.Iterator[Advice]:
    unlimited = [container.name for container in seen.containers if container.logging.is_unlimited]
    place = f"into {seen.root}, which is not in the pool"
    if seen.filesystem.size:
        place += f" and has {human(seen.filesystem.free)} of {human(seen.filesystem.size)} free"
    if seen.logging.is_unlimited and seen.docker.installed:
        among = f", among them {', '.join(unlimited)}," if unlimited else ""
        yield Advice(
            "logs",
            f"what containers print{among} goes by log driver json-file without a limit {place}",
            'Set "log-opts": {"max-size": "10m", "max-file": "3"} in daemon.json (direct_lvm_daemon_options), or a log '
            "driver that sends it elsewhere. Containers keep what they were made with, so make them again",
        )
    elif unlimited:
        yield Advice(
            "logs",
            f"what {', '.join(unlimited)} print goes by log driver json-file without a limit {place}",
            "New containers have limits; these were made before, or name the driver themselves. Make them again, in "
            "the latter case with 'docker run --log-opt max-size=10m --log-opt max-file=3'",
        )


def _of_memory(seen: Inspection) -> t.Iterator[Advice]:
    memory, running = seen.memory, len(seen.containers)
    if running and memory.total and memory.total / running < MEMORY_PER_CONTAINER:
        yield Advice(
            "memory",
            f"{running} containers run in {human(memory.total)}, of which {human(memory.available)} are available, "
            f"with {human(memory.swap)} of swap; on devicemapper each of them reads its files into memory for itself, "
            "even where they are of the same image",
            f"Have {human(MEMORY_PER_CONTAINER)} for each: more memory, or fewer containers on this host ('docker "
            "stats' tells what each takes)",
        )


def _of_volumes(seen: Inspection) -> t.Iterator[Advice]:
    heavy = [container for container in seen.containers if container.per_hour(seen.now) >= WRITTEN_PER_HOUR]
    for container in sorted(heavy, key=lambda container: -container.per_hour(seen.now)):
        volumes = f"volumes at {', '.join(container.volumes)}" if container.volumes else "no volume"
        yield Advice(
            "volumes",
            f"container {container.name} ({container.image}) wrote {human(container.written)} into its layer since it "
            f"was started, {human(int(container.per_hour(seen.now)))} an hour, and has {volumes}",
            f"See what it writes ('docker diff {container.name}'), and put that on a volume ('docker run --volume "
            "NAME:PATH'), which bypasses the driver: nothing is copied, and the pool does not fill",
        )


def _of_driver(seen: Inspection, status: t.Mapping[str, str]) -> t.Iterator[Advice]:
    off = [word for word in ("Removal", "Deletion") if status.get(f"Deferred {word} Enabled") == "false"]
    if off:
        options = " and ".join(f"dm.use_deferred_{word.lower()}" for word in off)
        yield Advice(
            "deferred",
            f"deferred {' and '.join(off).lower()} of devices is off, so that a container whose filesystem something "
            "still holds cannot be removed ('device is busy')",
            f"Take {options} out of storage-opts, or set them to true: without a word Docker switches them on where "
            "kernel (device-mapper 4.27) and library can",
        )
    waiting = status.get("Deferred Deleted Device Count", "0")
    if waiting not in ("", "0"):
        yield Advice(
            "deferred_deletion",
            f"{waiting} devices wait to be deleted, because something still holds them, and keep their space",
            "See which processes do ('grep -l devicemapper/mnt /proc/*/mountinfo'), and end them",
        )
    given = {daemon_json.OPTIONS: list(seen.storage_opts)}
    retries = daemon_json.storage_option(given, "dm.xfs_nospace_max_retries")
    if status.get("Backing Filesystem") == "xfs" and retries is None:
        yield Advice(
            "xfs_nospace",
            "xfs retries for ever when the pool is full, and containers and dockerd hang with it",
            "Set dm.xfs_nospace_max_retries=0 (direct_lvm_storage_opts), so that writes fail instead",
        )
    if status.get("Thin Pool Minimum Free Space") == "0B":
        yield Advice(
            "min_free_space",
            "Docker makes new containers until the pool is full (dm.min_free_space=0%)",
            "Take dm.min_free_space out of storage-opts, which is 10% then",
        )
    if seen.may_detach_mounts is False:
        yield Advice(
            "may_detach_mounts",
            "the kernel does not detach mounts that another namespace still has, so that removed containers stay as "
            "'Dead'",
            "Set fs.may_detach_mounts=1 (sysctl.d(5))",
        )
