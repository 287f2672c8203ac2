# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the operating system and Docker see of a thin pool: disks, devices, mounts, records, running containers.

Nothing here opens a device of the pool or looks into a container's filesystem, so that a pool that is stuck does not
stop it. Docker's records are read from its data root, so that they are there when dockerd is not.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, mounts, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    docker_layers,
    dockerd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson

PROC = "/proc"
SYS = "/sys"
PID_FILE = "/run/docker.pid"
_SECONDS = 30
_SECTOR = 512


@dataclass(frozen=True)
class Node:
    """A block device in the tree that lsblk shows."""

    name: str
    path: str  # canonical
    type: str  # lsblk's word: disk, part, lvm, dm, loop, ...
    size: int  # bytes
    rotational: bool
    children: tuple[Node, ...] = ()

    def find(self, name: str) -> Node | None:
        """Return the device of this name that is this one or stands on it."""
        if self.name == name:
            return self
        return next((found for found in (child.find(name) for child in self.children) if found), None)

    def under(self, name: str) -> list[str]:
        """Return the devices that a device of this name stands on directly, as far as they stand on this one."""
        found = [self.name] if any(child.name == name for child in self.children) else []
        return [*found, *(parent for child in self.children for parent in child.under(name))]

    def members(self, name: str) -> list[str]:
        """Return the paths of the devices of which LVM made a device of this name, as far as they stand on this one."""
        found = [] if self.type == "lvm" else [child for child in self.children if child.find(name)]
        here = [self.path] if any(child.type == "lvm" for child in found) else []
        return [*here, *(path for child in found for path in child.members(name))]


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo."""

    point: str
    source: str
    filesystem: str


@dataclass(frozen=True)
class Logging:
    """Where what a container prints goes to."""

    driver: str = "json-file"  # Docker's own default
    options: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def is_unlimited(self) -> bool:
        """Whether a file in Docker's data root grows without end. Driver local has limits of its own."""
        return self.driver == "json-file" and self.options.get("max-size") in (None, "", "-1")


@dataclass(frozen=True)
class RunningContainer:
    """A container that runs."""

    name: str
    image: str
    record: str = ""  # of its own layer: the name of its file in the metadata directory, and of its mount point
    device: str = ""  # the device-mapper name of its filesystem; empty where there is none
    written: int = 0  # bytes that were written to that device since it is there
    started: float | None = None  # seconds since the epoch
    logging: Logging = Logging()
    volumes: tuple[str, ...] = ()  # paths in the container that are not in its layer

    def per_hour(self, now: float) -> float:
        """Return how much it writes to its layer; what began to run less than an hour ago is given that hour."""
        return self.written * 3600 / max(now - (self.started or now), 3600)


@dataclass(frozen=True)
class DockerRecords:
    """What is in the metadata directory."""

    directory: str
    base: bool = False
    containers: int = 0  # with the layer under each, which has a record of its own
    image_layers: int = 0
    others: int = 0
    missing: tuple[str, ...] = ()  # whose layers have none, in words


@dataclass(frozen=True)
class MemoryUse:
    """The host's, in bytes."""

    total: int = 0
    available: int = 0
    swap: int = 0


@dataclass(frozen=True)
class Filesystem:
    """That of Docker's data root, in bytes."""

    size: int = 0
    free: int = 0


@dataclass(frozen=True)
class Inspection:
    """Everything that was looked at."""

    disks: tuple[Node, ...] = ()
    problem: str = ""  # why lsblk said nothing
    docker: dockerd.Docker = dockerd.Docker()
    root: str = data_root.DEFAULT_ROOT
    mounts: tuple[Mount, ...] = ()  # under devicemapper/mnt of the data root
    records: DockerRecords = DockerRecords("")
    containers: tuple[RunningContainer, ...] = ()
    logging: Logging = Logging()  # of containers that say nothing of it
    storage_opts: tuple[str, ...] = ()  # of daemon.json
    memory: MemoryUse = MemoryUse()
    filesystem: Filesystem = Filesystem()
    may_detach_mounts: bool | None = None  # None: not a kernel that has the switch
    now: float = 0

    @property
    def mount_directory(self) -> str:
        return f"{self.root}/{data_root.DRIVER}/mnt"

    def disks_under(self, name: str) -> list[Node]:
        """Return the disks that a device of this name lies on."""
        return [disk for disk in self.disks if disk.find(name)]


def read() -> Inspection:
    """Look at the host: three processes at most, and one question to the running daemon's socket."""
    docker = dockerd.read()
    daemon = _configuration()
    root = os.path.realpath((docker.info.root if docker.info else "") or data_root.find_root(daemon, docker.flags))
    disks, problem = _disks()
    return Inspection(
        disks=disks,
        problem=problem,
        docker=docker,
        root=root,
        mounts=mounts_in(f"{root}/{data_root.DRIVER}/mnt/"),
        records=records(root),
        containers=tuple(containers(root)),
        logging=logging(daemon.known, docker),
        storage_opts=tuple(daemon.known.get(daemon_json.OPTIONS) or ()),
        memory=parse_memory(_text(f"{PROC}/meminfo")),
        filesystem=_filesystem(root),
        may_detach_mounts={"0": False, "1": True}.get(_text(f"{PROC}/sys/fs/may_detach_mounts").strip()),
        now=time.time(),
    )


def _configuration() -> DaemonJson:
    """Return daemon.json; one that cannot be read, Docker does not start with either, and that is told so."""
    try:
        return daemon_json.read()
    except RefusedError:
        return DaemonJson()


# --- Devices ----------------------------------------------------------------------------------------------------------


def _disks() -> tuple[tuple[Node, ...], str]:
    try:
        # Columns that come from sysfs: for others, such as FSTYPE, lsblk may open the device and read of it.
        text = process.run("lsblk", "--json", "--bytes", "--output", "NAME,KNAME,TYPE,SIZE,ROTA", timeout=_SECONDS)
        return parse_disks(text), ""
    except process.ProcessError as error:
        return (), str(error)
    except (KeyError, TypeError, ValueError) as error:
        return (), f"what lsblk said could not be understood ({type(error).__name__}: {error})"


def parse_disks(text: str) -> tuple[Node, ...]:
    """Return the trees in the output of ``lsblk --json``; before util-linux 2.33 all values are strings."""

    def node(row: t.Mapping[str, t.Any]) -> Node:
        return Node(
            name=str(row["name"]),
            path=f"/dev/{row['kname']}",
            type=str(row["type"]),
            size=int(row["size"] or 0),
            rotational=row["rota"] in (True, "1"),
            children=tuple(node(child) for child in row.get("children") or ()),
        )

    return tuple(node(row) for row in json.loads(text)["blockdevices"])


def mounts_in(directory: str) -> tuple[Mount, ...]:
    """Return what is mounted in a directory, as this process, the first one or dockerd sees it.

    dockerd may have mounts of its own (MountFlags= in its unit, and PrivateMounts=), which no one else sees.
    """
    found: dict[str, Mount] = {}
    namespaces = set()
    for pid in ("self", "1", _text(PID_FILE).strip()):
        try:
            namespace = os.readlink(f"{PROC}/{pid}/ns/mnt")
        except OSError:
            continue
        if pid and namespace not in namespaces:
            namespaces.add(namespace)
            for line in mounts.parse(_text(f"{PROC}/{pid}/mountinfo")):
                if line.point.startswith(directory):
                    found.setdefault(line.point, Mount(line.point, line.source, line.filesystem))
    return tuple(found[point] for point in sorted(found))


def _devices() -> dict[str, tuple[str, int]]:
    """Return the device-mapper devices of Docker's by the names of their records, with the bytes written to each.

    docker-<major>:<minor>-<inode>-<record> (moby, daemon/graphdriver/devmapper/deviceset.go); the seventh figure of
    stat is sectors written (Documentation/block/stat.rst).
    """
    found = {}
    for kernel_name in listdir(f"{SYS}/block"):
        name = _text(f"{SYS}/block/{kernel_name}/dm/name").strip()
        if re.match(r"docker-\d+:\d+-\d+-.", name):
            figures = _text(f"{SYS}/block/{kernel_name}/stat").split()
            written = int(figures[6]) * _SECTOR if len(figures) > 6 else 0
            found[name.split("-", 3)[3]] = (name, written)
    return found


# --- Docker's records -------------------------------------------------------------------------------------------------


def records(root: str) -> DockerRecords:
    """Return what is in the metadata directory, beside what layers of images and containers there are."""
    there, layers = docker_layers.records(root), docker_layers.layers(root)
    kinds = [layers[name].kind for name in there if name in layers]
    missing = [(name, layers[name]) for name in sorted(layers) if name and name not in there]
    return DockerRecords(
        directory=f"{root}/{data_root.DRIVER}/metadata",
        base="base" in there,
        containers=kinds.count("container"),
        image_layers=kinds.count("image_layer"),
        others=len([name for name in there if name not in layers and name != "base"]),
        missing=tuple(f"{owner.kind.replace('_', ' ')} {owner.name}" for name, owner in missing),
    )


def containers(root: str) -> t.Iterator[RunningContainer]:
    """Return the containers that run, by name: those whose process is there, whatever the records say."""
    owners = docker_layers.containers(root)
    layers = {owner.id: name for name, owner in docker_layers.layers(root).items() if owner.kind == "container"}
    devices = _devices()
    for key, owner in sorted(owners.items(), key=lambda item: item[1].name):
        folder = f"{root}/containers/{key}"
        configuration = files.load(f"{folder}/config.v2.json")
        host = files.load(f"{folder}/hostconfig.json")
        state = configuration.get("State") or {}
        if not (state.get("Running") and os.path.exists(f"{PROC}/{state.get('Pid')}")):
            continue
        record = layers.get(key, "")
        device, written = devices.get(record, ("", 0))
        given = host.get("LogConfig") or {}
        yield RunningContainer(
            name=owner.name,
            image=", ".join(owner.images),
            record=record,
            device=device,
            written=written,
            started=parse_time(str(state.get("StartedAt") or "")),
            logging=Logging(str(given.get("Type") or Logging.driver), given.get("Config") or {}),
            volumes=tuple(sorted({*(configuration.get("MountPoints") or ()), *(host.get("Tmpfs") or ())})),
        )


def parse_time(text: str) -> float | None:
    """Return the seconds since the epoch of a time as Go writes it (2026-11-24T01:29:32.780228831Z)."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z$", text)
    return calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) if match else None


def logging(document: t.Mapping[str, t.Any], docker: dockerd.Docker) -> Logging:
    """Return where the output of containers goes that say nothing of it: by daemon.json, or by dockerd's flags."""
    driver = document.get("log-driver") or next(iter(flag_values(docker.flags, "--log-driver")), Logging.driver)
    options = dict(value.partition("=")[::2] for value in flag_values(docker.flags, "--log-opt"))
    given = document.get("log-opts")
    return Logging(str(driver), {**options, **(given if isinstance(given, dict) else {})})


def flag_values(flags: t.Sequence[str], flag: str) -> list[str]:
    """Return the values that a flag has on a command line: ``--flag value`` and ``--flag=value``."""
    found = [word.partition("=")[2] for word in flags if word.startswith(f"{flag}=")]
    return found + [value for word, value in zip(flags, flags[1:]) if word == flag]


# --- The host ---------------------------------------------------------------------------------------------------------


def parse_memory(text: str) -> MemoryUse:
    """Return the figures of /proc/meminfo, which are in KiB (proc(5))."""
    figures = {match[1]: int(match[2]) * 1024 for match in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    return MemoryUse(figures.get("MemTotal", 0), figures.get("MemAvailable", 0), figures.get("SwapTotal", 0))


def _filesystem(path: str) -> Filesystem:
    try:
        status = os.statvfs(path)
    except OSError:
        return Filesystem()
    return Filesystem(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
