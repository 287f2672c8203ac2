# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Whether a host looks as a pool for Docker should, and what Docker's manual would advise on it. Pure.

What the pool itself is to be like (its size, profile, monitoring) is not compared here: thin_pool_plan does that, and a
second description of it would drift from the first.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import MIB, human
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import SOCKET, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Node, Seen
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names

# The manual gives no figures for these two; they are where we begin to say something.
MEMORY_PER_CONTAINER = 256 * MIB
WRITTEN_PER_HOUR = 100 * MIB

_RUN_AGAIN = "run the playbook direct_lvm"
_SILENT = "See 'dmesg' for a disk that no longer answers"


@dataclass(frozen=True)
class Wanted:
    """What the host is to look like."""

    vg: str
    pool: str
    devices: tuple[str, ...] = ()  # canonical paths; empty: any
    lacking: tuple[str, ...] = ()  # why some of the devices are none, in words
    chunk_size: int | None = None  # bytes
    storage_opts: tuple[str, ...] = ()
    daemon_options: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def dm_name(self) -> str:
        return device_names.join(self.vg, self.pool)

    @property
    def parts(self) -> list[str]:
        """The hidden volumes that the pool consists of."""
        return [device_names.join(self.vg, f"{self.pool}_{part}") for part in ("tmeta", "tdata")]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    seen: str
    wanted: str
    matches: bool
    remedy: str  # what to do where it does not match

    @property
    def line(self) -> str:
        if self.matches:
            return f"OK        {self.name}: {self.seen}"
        return f"MISMATCH  {self.name}: {self.seen}; wanted: {self.wanted}. {self.remedy}"


@dataclass(frozen=True)
class Advice:
    """Something that works and could be better."""

    kind: str
    message: str
    set: str  # what to set for it

    @property
    def line(self) -> str:
        return f"ADVICE    {self.kind}: {self.message}. {self.set}"


# --- Checks -----------------------------------------------------------------------------------------------------------


def checks(seen: Seen, wanted: Wanted) -> list[Check]:
    """Return everything that is compared; what Docker alone knows is left out where it does not answer."""
    found = [_devices(seen, wanted), _pool(seen, wanted), _docker(seen)]
    if seen.docker.info:
        found += _of_docker(seen.docker.info, wanted)
    if seen.docker.installed and (seen.docker.info is None or seen.docker.info.driver == DRIVER):
        found += [_records(seen), _mounts(seen, wanted)]
    return found


def _devices(seen: Seen, wanted: Wanted) -> Check:
    found = sorted({path for disk in seen.disks for path in disk.members(wanted.dm_name)})
    strange = [path for path in found if wanted.devices and path not in wanted.devices]
    if strange:
        remedy = (
            "If the pool is to lie there, correct the devices that are named (direct_lvm_devices); if not, move it "
            "(pvmove(8))"
        )
    elif seen.problem:
        remedy = _SILENT
    elif wanted.lacking:
        remedy = "See 'lsblk' and 'ls -l /dev/disk/by-id' for what the disks are called"
    else:
        remedy = _activate(wanted)
    return Check(
        "devices",
        "; ".join((", ".join(found) or seen.problem or "none", *wanted.lacking)),
        ", ".join(wanted.devices) or "at least one device",
        bool(found) and not strange and not wanted.lacking,
        remedy,
    )


def _activate(wanted: Wanted) -> str:
    command = f"lvchange --activate y {wanted.vg}/{wanted.pool}"
    return f"If there is such a pool, activate it ('{command}'); if not, {_RUN_AGAIN}"


def _pool(seen: Seen, wanted: Wanted) -> Check:
    node = next((found for found in (disk.find(wanted.dm_name) for disk in seen.disks) if found), None)
    parts = sorted({name for disk in seen.disks for name in disk.under(wanted.dm_name)})
    shown = f"{node.name}, {human(node.size)}, on {' and '.join(parts)}" if node else f"no {wanted.dm_name}"
    return Check(
        "pool",
        seen.problem or shown,
        f"{wanted.dm_name} on {' and '.join(sorted(wanted.parts))}",
        parts == sorted(wanted.parts),
        _SILENT if seen.problem else _activate(wanted),
    )


def _docker(seen: Seen) -> Check:
    docker = seen.docker
    if not docker.installed:
        shown, remedy = "not installed", f"Name its packages (direct_lvm_docker_packages) and {_RUN_AGAIN}"
    elif not docker.active:
        shown = f"{docker.version or 'installed'}, and does not run"
        remedy = "See 'journalctl -u docker' for why it ended, then 'systemctl start docker'"
    elif docker.info is None:
        shown = f"{docker.version}, and does not answer on {SOCKET}"
        remedy = "See 'journalctl -u docker', and the playbook monitor for whether the pool is stuck"
    else:
        shown, remedy = f"{docker.info.version or docker.version}, and answers", ""
    return Check("docker", shown, "runs, and answers", docker.info is not None, remedy)


def _of_docker(info: Info, wanted: Wanted) -> t.Iterator[Check]:
    """Compare what ``docker info`` says, under its own words."""
    other = f"Docker runs on other storage than is wished: {_RUN_AGAIN}"
    yield _same("Storage Driver", info.driver, DRIVER, other)
    root = wanted.daemon_options.get("data-root")
    if root:
        # With user namespaces it is a folder in there.
        matches = f"{info.root}/".startswith(f"{root}".rstrip("/") + "/")
        yield Check("Docker Root Dir", info.root, str(root), matches, _restart("data-root"))
    driver = wanted.daemon_options.get("log-driver")
    if driver:
        yield _same("Logging Driver", info.log_driver, str(driver), _restart("log-driver"))
    if info.driver != DRIVER:
        return
    yield _same("Pool Name", info.pool_name, wanted.dm_name, other)
    if wanted.chunk_size:
        yield _same(
            "Pool Blocksize",
            info.status.get("Pool Blocksize", ""),
            decimal(wanted.chunk_size),
            "A pool keeps the chunks that it was made with: set chunk_size (direct_lvm_chunk_size) to those, or make a "
            "new pool",
        )
    loop = info.status.get("Data loop file", "")
    yield _same("Data loop file", loop or "none", "none", f"That is loop-lvm mode, which is not for use: {_RUN_AGAIN}")
    yield _same(
        "Udev Sync Supported",
        info.status.get("Udev Sync Supported", ""),
        "true",
        "Docker will lose devices: install a dynamically linked one, from the distribution's or Docker's packages",
    )
    yield from _of_options(info.status, wanted.storage_opts)


def _same(name: str, seen: str, wanted: str, remedy: str) -> Check:
    return Check(name, seen or "nothing", wanted, seen == wanted, remedy)


def _restart(key: str) -> str:
    return f"If daemon.json has that {key}, Docker has not been restarted since; if not, {_RUN_AGAIN}"


def _of_options(status: t.Mapping[str, str], options: t.Sequence[str]) -> t.Iterator[Check]:
    """Compare those options of the driver that ``docker info`` tells of with what is wished of them."""
    given = {daemon_json.OPTIONS: list(options)}
    for key, line, translate in _TOLD:
        value = daemon_json.storage_option(given, key)
        if value is None:
            continue
        seen = status.get(line, "")
        if key == "dm.min_free_space":
            total = from_decimal(status.get("Data Space Total", ""))
            seen = f"{from_decimal(seen) * 100 / total:.0f}%" if total else seen
        remedy = _restart(key)
        if key in ("dm.fs", "dm.basesize"):
            remedy = (
                f"The first device of the pool keeps what it was made with (a larger dm.basesize excepted): set {key} "
                "to that, or make the pool anew. " + remedy
            )
        yield Check(f"{line} ({key})", seen or "nothing", translate(value), seen == translate(value), remedy)


def _truth(value: str) -> str:
    return "true" if daemon_json.boolean(value) else "false"


def _whole_percent(value: str) -> str:
    return f"{int(value.rstrip('%'))}%"


def _memory_size(value: str) -> str:
    """Return Docker's words for a size as it takes it: units of 1024 in, of 1000 out (docker/go-units)."""
    found = daemon_json.size(value)
    return value if found is None else decimal(found)  # none: which daemon_json refuses before


# An option of the driver, the line of ``docker info`` that tells its value, and how it stands there.
_TOLD: tuple[tuple[str, str, t.Callable[[str], str]], ...] = (
    ("dm.fs", "Backing Filesystem", str),
    ("dm.basesize", "Base Device Size", _memory_size),
    ("dm.use_deferred_removal", "Deferred Removal Enabled", _truth),
    ("dm.use_deferred_deletion", "Deferred Deletion Enabled", _truth),
    ("dm.min_free_space", "Thin Pool Minimum Free Space", _whole_percent),
)
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def decimal(size: float) -> str:
    """Return bytes as ``docker info`` writes them: four digits, units of 1000 (docker/go-units HumanSize)."""
    step = 0
    while size >= 1000 and step < len(_DECIMAL) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.4g}{_DECIMAL[step]}"


def from_decimal(text: str) -> float:
    """Return about how many bytes such words stand for, 0 where they are none."""
    match = re.fullmatch(r"([\d.]+) ?([kMGTPE]?B)", text)
    return float(match[1]) * 1000 ** _DECIMAL.index(match[2]) if match else 0


def _records(seen: Seen) -> Check:
    records = seen.records
    parts = [
        "the base" if records.base else "no base",
        f"image layers: {records.image_layers}",
        f"containers: {records.containers}",
        *([f"neither: {records.others}"] if records.others else []),
        *([f"none for {', '.join(records.missing)}"] if records.missing else []),
    ]
    return Check(
        "metadata",
        f"{records.directory} has records of {', '.join(parts)}",
        "the base, and every layer of images and containers",
        records.base and not records.missing,
        "Without its record nobody knows which device in the pool a layer is: bring the directory back from a backup "
        "(playbook backup), or remove those images and containers",
    )


def _mounts(seen: Seen, wanted: Wanted) -> Check:
    points = {mount.point: mount.filesystem for mount in seen.mounts}
    pools = [node for node in (disk.find(wanted.dm_name) for disk in seen.disks) if node]
    mounted: list[str] = []
    missing: list[str] = []
    for container in seen.containers:
        is_mounted = f"{seen.mount_directory}/{container.record}" in points
        is_of_pool = bool(seen.problem or (container.device and any(pool.find(container.device) for pool in pools)))
        (mounted if is_mounted and is_of_pool else missing).append(container.name)
    shown = f"{len(points)} of {' and '.join(sorted(set(points.values())))}" if points else "none"
    return Check(
        "mounts",
        f"{shown} under {seen.mount_directory}"
        + (f", of containers {', '.join(mounted)}" if mounted else "")
        + (f", and none of containers {', '.join(missing)}, which run" if missing else ""),
        f"one from {wanted.dm_name} for each container that runs",
        not missing,
        f"They run on other storage or have lost their own: see 'docker inspect {' '.join(missing)}' and "
        "'journalctl -u docker'",
    )


# --- Advice -----------------------------------------------------------------------------------------------------------


def advice(seen: Seen, wanted: Wanted) -> list[Advice]:
    """Return what would be better otherwise: the manual's best practices, and what users of the driver ran into."""
    found = [
        *_of_disks(seen, wanted),
        *_of_logs(seen),
        *_of_memory(seen),
        *_of_volumes(seen),
    ]
    info = seen.docker.info
    return found + [*_of_driver(seen, info.status)] if info and info.driver == DRIVER else found


def _of_disks(seen: Seen, wanted: Wanted) -> t.Iterator[Advice]:
    slow = [disk.name for disk in seen.disks_under(wanted.dm_name) if disk.rotational]
    if slow:
        yield Advice(
            "rotational",
            f"the kernel takes {', '.join(slow)}, which {wanted.dm_name} lies on, for a rotating disk",
            "Give the pool solid-state disks (direct_lvm_devices), and move it there (pvmove(8)). A virtual disk may "
            "say so too, whatever is behind it",
        )


def _of_logs(seen: Seen) -> t.Iterator[Advice]:
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


def _of_memory(seen: Seen) -> t.Iterator[Advice]:
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


def _of_volumes(seen: Seen) -> t.Iterator[Advice]:
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


def _of_driver(seen: Seen, status: t.Mapping[str, str]) -> t.Iterator[Advice]:
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


# --- What a person reads ----------------------------------------------------------------------------------------------


def tree(seen: Seen, wanted: Wanted) -> list[str]:
    """Return the disks under the pool as lsblk draws them, with whose Docker's devices are; all disks where there is no
    pool."""
    owners = {container.device: container.name for container in seen.containers if container.device}
    lines: list[tuple[str, Node]] = []
    drawn: set[str] = set()

    def draw(node: Node, first: str, following: str) -> None:
        lines.append((first + _short(node.name), node))
        # The pool stands on two volumes, and what stands on it would be drawn twice.
        children = () if node.name in drawn else node.children
        drawn.add(node.name)
        for child in children:
            last = child is children[-1]
            draw(child, following + ("└─" if last else "├─"), following + ("  " if last else "│ "))

    for disk in seen.disks_under(wanted.dm_name) or seen.disks:
        draw(disk, "", "")
    width = max((len(start) for start, _node in lines), default=0)
    return [seen.problem] * bool(seen.problem) + [
        f"{start:{width}}  {human(node.size):>10}  {node.type}"
        + (f"  container {owners[node.name]}" if node.name in owners else "")
        for start, node in lines
    ]


def _short(name: str) -> str:
    """Return a device's name with a long key in it cut to what Docker shows of one."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1...", name)


def lines(seen: Seen, wanted: Wanted) -> dict[str, list[str]]:
    """Return what was found, in the words for a person."""
    return {
        "tree": tree(seen, wanted),
        "docker": _said(seen.docker.info) if seen.docker.info else [],
        "checks": [check.line for check in checks(seen, wanted)],
        "advice": [item.line for item in advice(seen, wanted)],
    }


def _said(info: Info) -> list[str]:
    """Return what ``docker info`` says of the storage, in few lines; a line that it does not have is left out."""
    known = {"Server Version": info.version, "Storage Driver": info.driver, **info.status}
    for part in ("Data", "Metadata"):
        if f"{part} Space Used" in known:
            known[f"{part} Space Used"] += f" of {known.get(f'{part} Space Total', '?')}"
    rows = (
        ("Server Version", "Storage Driver", "Pool Name", "Backing Filesystem", "Base Device Size"),
        ("Data Space Used", "Metadata Space Used", "Thin Pool Minimum Free Space"),
        ("Deferred Removal Enabled", "Deferred Deletion Enabled", "Deferred Deleted Device Count"),
    )
    said = (", ".join(f"{key}: {known[key]}" for key in row if key in known) for row in rows)
    return [line for line in said if line]
