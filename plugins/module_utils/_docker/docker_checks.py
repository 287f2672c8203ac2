# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Whether a host looks as a pool for Docker should. Pure.

What the pool itself is to be like (its size, profile, monitoring) is not compared here: thin_pool_plan does that, and a
second description of it would drift from the first.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import (
    decimal,
    human,
    parse_decimal,
    parse_ram,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import SOCKET, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Inspection
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName

_RUN_AGAIN = "run the playbook direct_lvm"
_SILENT = "See 'dmesg' for a disk that no longer answers"


@dataclass(frozen=True)
class ExpectedStorage:
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
        return PoolName(self.vg, self.pool).dm_name

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


def checks(seen: Inspection, wanted: ExpectedStorage) -> list[Check]:
    """Return everything that is compared; what Docker alone knows is left out where it does not answer."""
    found = [_devices(seen, wanted), _pool(seen, wanted), _docker(seen)]
    if seen.docker.info:
        found += _of_docker(seen.docker.info, wanted)
    if seen.docker.installed and (seen.docker.info is None or seen.docker.info.driver == DRIVER):
        found += [_records(seen), _mounts(seen, wanted)]
    return found


def _devices(seen: Inspection, wanted: ExpectedStorage) -> Check:
    found = sorted({path for disk in seen.disks for path in disk.members(wanted.dm_name)})
    strange = [path for path in found if wanted.devices and path not in wanted.devices]
    if strange:
        remedy = (
            "If the pool is to lie there, correct the devices that are named (direct_lvm_devices); if not, move it "
            "(playbook replace_disk)"
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


def _activate(wanted: ExpectedStorage) -> str:
    command = f"lvchange --activate y {wanted.vg}/{wanted.pool}"
    return f"If there is such a pool, activate it ('{command}'); if not, {_RUN_AGAIN}"


def _pool(seen: Inspection, wanted: ExpectedStorage) -> Check:
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


def _docker(seen: Inspection) -> Check:
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


def _of_docker(info: Info, wanted: ExpectedStorage) -> t.Iterator[Check]:
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
            total = parse_decimal(status.get("Data Space Total", ""))
            seen = f"{parse_decimal(seen) * 100 / total:.0f}%" if total else seen
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
    found = parse_ram(value)
    return value if found is None else decimal(found)  # none: which daemon_json refuses before


# An option of the driver, the line of ``docker info`` that tells its value, and how it stands there.
_TOLD: tuple[tuple[str, str, t.Callable[[str], str]], ...] = (
    ("dm.fs", "Backing Filesystem", str),
    ("dm.basesize", "Base Device Size", _memory_size),
    ("dm.use_deferred_removal", "Deferred Removal Enabled", _truth),
    ("dm.use_deferred_deletion", "Deferred Deletion Enabled", _truth),
    ("dm.min_free_space", "Thin Pool Minimum Free Space", _whole_percent),
)


def _records(seen: Inspection) -> Check:
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


def _mounts(seen: Inspection, wanted: ExpectedStorage) -> Check:
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
