# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What is needed to rebuild a pool around data that is still on its disks: gathered, checked, and put into one archive.

Docker opens a transaction in its records, changes the pool, writes the record of the device, and raises the pool's
transaction id (moby, daemon/graphdriver/devmapper/deviceset.go). So a snapshot of the metadata and records that were
copied while that id stood still are as good as what a crash leaves, which Docker mends when it starts. containerd
leaves the pool's transaction id alone; there it is the commits of its databases that must stand still.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
import time
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import data_root
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    PhysicalVolume,
    VolumeGroup,
)

FORMAT = 1  # of the archive
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"  # the same checksums as in the manifest, as sha256sum(1) reads them
ATTEMPTS = 10  # to find the pool between two of Docker's transactions
PAUSE = 1.0  # seconds; a container is made in two transactions, and then is there
# What containers said may be large, and is no record.
_LOG = re.compile(r".*\.log(\.[0-9]+)?(\.gz)?")
_SUPERBLOCK = re.compile(
    r'<superblock\b[^>]*?\btransaction="(?P<transaction>\d+)"[^>]*?\bnr_data_blocks="(?P<blocks>\d+)"'
)


@dataclass(frozen=True)
class ContainerdRecords:
    """What containerd keeps of a pool: databases that count together, and other files and folders."""

    folder: str  # of the snapshotter
    databases: tuple[str, ...]
    others: tuple[str, ...] = ()  # its configuration, and Docker's records of containers where they are on containerd


@dataclass(frozen=True)
class BackupSpec:
    """What goes into an archive, and where that is put."""

    group: VolumeGroup
    pool: LogicalVolume
    folder: str
    devices: tuple[PhysicalVolume, ...] = ()  # of the group
    profile_path: str = ""  # empty: the pool has none
    daemon_path: str = ""  # empty: there is no daemon.json
    docker: data_root.DockerData | None = None  # None: no records of this pool
    containerd: ContainerdRecords | None = None  # the same
    verify: bool = True

    @property
    def path(self) -> str:
        return os.path.join(self.folder, f"{self.pool.dm_name}.tar.gz")

    @property
    def scratch(self) -> str:
        """Where it is gathered; always the same, so that nothing gathers from runs that were killed."""
        return os.path.join(self.folder, f".{self.pool.dm_name}.new")


@dataclass(frozen=True)
class Member:
    """A file of an archive."""

    name: str
    path: str  # on the host; empty for what was made for the archive
    size: int
    sha256: str


@dataclass(frozen=True)
class Dump:
    """What a dump says of the pool."""

    transaction_id: int
    devices: int


@dataclass(frozen=True)
class Gathered:
    """What lies in the scratch folder."""

    transaction_id: int
    sequence: int  # of the group's metadata
    dump: Dump
    sources: t.Mapping[str, str]  # names in the archive: paths on the host


@dataclass
class Archive:
    """An archive that is about to be made, and how far it has come."""

    spec: BackupSpec
    gathered: Gathered | None = None
    manifest: dict[str, t.Any] = field(default_factory=dict)

    def steps(self) -> list[Step]:
        """Return what is done, in its order. What is as of one moment is one work, at its last step."""
        spec = self.spec
        copied = [path for path in (spec.profile_path, spec.daemon_path) if path]
        sentences = (
            f"save the metadata of volume group {spec.group.name}",
            *([f"save Docker's records of the pool in {spec.docker.root}"] if spec.docker else []),
            *([f"save containerd's records of the pool in {spec.containerd.folder}"] if spec.containerd else []),
            *([f"save {', '.join(copied)}"] if copied else []),
        )
        return [
            *(Step(sentence) for sentence in sentences),
            Step(f"dump the metadata of thin pool {spec.pool.full_name}", work=self._gather),
            *([Step("check that the dump can be restored", work=lambda: _verify(spec))] if spec.verify else []),
            Step(f"write {spec.path}", work=self._write),
        ]

    def _gather(self) -> None:
        self.gathered = _gather(self.spec)

    def _write(self) -> None:
        manifest = _manifest(self.spec, t.cast(Gathered, self.gathered))
        _write(self.spec, manifest)
        self.manifest = manifest


@contextlib.contextmanager
def scratch(spec: BackupSpec) -> t.Iterator[None]:
    """Have a folder to gather in; what goes wrong meanwhile is refused, with what is there then."""
    try:
        os.makedirs(spec.folder, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(spec.scratch)
        os.mkdir(spec.scratch, 0o700)
        try:
            yield
        finally:
            shutil.rmtree(spec.scratch, ignore_errors=True)
    except OSError as error:
        left = f"the backup that was there is as it was ({spec.path})" if os.path.exists(spec.path) else "none was made"
        raise RefusedError(f"{error.filename or spec.path}: {error.strerror or error}; {left}") from error


def records(data: data_root.DockerData) -> list[str]:
    """Return what Docker keeps of the pool's images and containers; not what it mounts, and no loop files."""
    return [
        f"{data.root}/{DRIVER}/metadata",
        f"{data.root}/{DRIVER}/setup-config.json",
        f"{data.root}/image/{DRIVER}",
        *(f"{data.root}/containers/{container}" for container in data.containers.get(DRIVER, ())),
    ]


def transaction_of(head: str) -> int:
    """Return the transaction id in the first line of ``thin_dump``'s XML."""
    match = _SUPERBLOCK.match(head)
    if not match:
        raise RefusedError(f"what thin_dump wrote does not begin as a dump does: {head[:200]!r}")
    return int(match["transaction"])


def old_manifest(path: str) -> dict[str, t.Any]:
    """Return the manifest of an archive that is there; empty where there is none that can be read."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            file = archive.extractfile(MANIFEST)
            found = json.load(file) if file else {}
    except (OSError, KeyError, ValueError, EOFError, tarfile.TarError):
        return {}
    return found if isinstance(found, dict) else {}


def summary(manifest: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what a diff shows of a backup."""
    pool = manifest.get("pool") or {}
    return {
        "pool": f"{pool.get('vg')}/{pool.get('name')}",
        "transaction_id": pool.get("transaction_id"),
        "size": pool.get("size"),
        "vg_sequence": (manifest.get("vg") or {}).get("sequence"),
    }


def _gather(spec: BackupSpec) -> Gathered:
    """Copy everything as of one moment: nothing was recorded between the snapshot and the end of copying."""
    databases = spec.containerd.databases if spec.containerd else ()
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        commits = _commits(databases)
        with metadata_snapshot.held(spec.pool) as snapshot:
            before = snapshot.status.transaction_id
            try:
                sources = _copy_records(spec)
            except FileNotFoundError:  # Docker removed something just now
                continue
            _target, status = pool_status.find(pool_status.read(), spec.pool.dm_name)
            if status is None or status.transaction_id != before or _commits(databases) != commits:
                continue
            # After the snapshot: a pool that was extended in between is larger than its metadata says, which the
            # kernel mends when it is activated. The other way round it could not be.
            sequence = _save_group(spec)
            dump = _dump(spec, snapshot)
            if dump.transaction_id == before:
                return Gathered(before, sequence, dump, sources)
    engine = "containerd" if spec.containerd else "Docker"
    raise RefusedError(
        f"{engine} kept making and removing containers or images in thin pool {spec.pool.full_name}, so that its "
        f"records and the pool could not be saved as of one moment ({ATTEMPTS} attempts): try again when less is going "
        "on"
    )


def _commits(databases: t.Sequence[str]) -> list[int]:
    return [bbolt.last_commit(path) for path in databases]


def _save_group(spec: BackupSpec) -> int:
    """Have LVM write down the group; return which change of it that was."""
    path = f"{spec.scratch}/lvm/{spec.group.name}.conf"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    process.run("vgcfgbackup", "--file", path, spec.group.name)
    with open(path, encoding="utf-8", errors="replace") as file:
        match = re.search(r"^\s*seqno = (\d+)", file.read(), re.MULTILINE)
    return int(match[1]) if match else 0


def _dump(spec: BackupSpec, snapshot: metadata_snapshot.Snapshot) -> Dump:
    path = f"{spec.scratch}/thin/{spec.pool.dm_name}.xml"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    process.run("thin_dump", "-m", snapshot.metadata_path, "-o", f"{path}.raw", ends_with_us=True)
    devices = 0
    with open(f"{path}.raw", encoding="utf-8") as raw, open(path, "w", encoding="utf-8") as file:
        head = raw.readline()
        transaction_id = transaction_of(head)
        file.write(with_chunks(head, snapshot.status.data_total))
        for line in raw:
            devices += line.lstrip().startswith("<device ")
            file.write(line)
    os.unlink(f"{path}.raw")
    return Dump(transaction_id, devices)


def with_chunks(head: str, chunks: int) -> str:
    """Return the first line of a dump with the number of the pool's chunks.

    The kernel leaves it out of a metadata snapshot, so that thin_dump writes 0, and thin_restore takes no such dump
    ("mapping beyond end of data device", seen with 0.9.0).
    """
    return re.sub(r'\bnr_data_blocks="\d+"', f'nr_data_blocks="{chunks}"', head)


def _copy_records(spec: BackupSpec) -> dict[str, str]:
    """Copy files of the host into the scratch folder; return the path of each by its name there."""
    found = {}
    if spec.docker:
        for path in records(spec.docker):
            # layerdb/tmp holds what is about to become a layer.
            for file in _files(path, into=not path.startswith(f"{spec.docker.root}/containers/"), without="tmp"):
                found[f"docker/root/{os.path.relpath(file, spec.docker.root)}"] = file
    if spec.containerd:
        for path in (*spec.containerd.databases, *spec.containerd.others):
            found.update((f"containerd{file}", file) for file in _files(path, into=False))
    if spec.daemon_path:
        found["docker/daemon.json"] = spec.daemon_path
    if spec.profile_path:
        found[f"lvm/{os.path.basename(spec.profile_path)}"] = spec.profile_path
    for engine in ("docker", "containerd"):
        shutil.rmtree(f"{spec.scratch}/{engine}", ignore_errors=True)
    for name, path in found.items():
        _copy(path, os.path.join(spec.scratch, name))
    if spec.docker:
        _keep_modes(f"{spec.scratch}/docker/root", spec.docker.root)
    if spec.containerd:
        _keep_modes(f"{spec.scratch}/containerd", "/")
    return found


def _keep_modes(folder: str, source: str) -> None:
    """Give folders the owner and mode of those they are copies of: they keep others out when they are unpacked too."""
    for path, _folders, _names in os.walk(folder):
        was = os.stat(os.path.join(source, os.path.relpath(path, folder)))
        os.chown(path, was.st_uid, was.st_gid)
        os.chmod(path, stat.S_IMODE(was.st_mode))


def _files(path: str, *, into: bool, without: str = "") -> list[str]:
    """Return the regular files at or in a path; of a container's folder only those in it, since others are mounts."""
    if os.path.isfile(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if into and name != without)
        for name in sorted(names):
            file = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(file).st_mode) and not _LOG.fullmatch(name):
                found.append(file)
    return found


def _copy(path: str, to: str) -> None:
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with files.open_regular(path) as source, open(to, "wb") as copy:
        shutil.copyfileobj(source, copy)
        was = os.fstat(source.fileno())
        os.fchown(copy.fileno(), was.st_uid, was.st_gid)
        os.fchmod(copy.fileno(), stat.S_IMODE(was.st_mode))
    os.utime(to, ns=(was.st_atime_ns, was.st_mtime_ns))


def _verify(spec: BackupSpec) -> None:
    """Restore the dump into a file as large as the pool's metadata, and have it checked."""
    path = f"{spec.scratch}/metadata"
    with open(path, "wb") as file:
        file.truncate(spec.pool.metadata_size)
    process.run("thin_restore", "-i", f"{spec.scratch}/thin/{spec.pool.dm_name}.xml", "-o", path)
    process.run("thin_check", path)
    os.unlink(path)


def _manifest(spec: BackupSpec, gathered: Gathered) -> dict[str, t.Any]:
    members = []
    for path in _files(spec.scratch, into=True):
        name = os.path.relpath(path, spec.scratch)
        members.append(asdict(Member(name, gathered.sources.get(name, ""), os.stat(path).st_size, _sha256(path))))
    with open(f"{spec.scratch}/{SUMS}", "w", encoding="utf-8") as file:
        file.writelines(f"{member['sha256']}  {member['name']}\n" for member in members)
    return {
        "format": FORMAT,
        "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": os.uname().nodename,
        "versions": versions(),
        "vg": {
            "name": spec.group.name,
            "uuid": spec.group.uuid,
            "sequence": gathered.sequence,
            "devices": [
                {"device": device.device, "uuid": device.uuid, "size": device.device_size} for device in spec.devices
            ],
        },
        "pool": {
            "vg": spec.pool.vg,
            "name": spec.pool.name,
            "dm_name": spec.pool.dm_name,
            "uuid": spec.pool.uuid,
            "size": spec.pool.size,
            "metadata_size": spec.pool.metadata_size,
            "chunk_size": spec.pool.chunk_size,
            "transaction_id": gathered.transaction_id,
            "devices": gathered.dump.devices,
        },
        "docker": {"root": spec.docker.root} if spec.docker else None,
        "containerd": {"folder": spec.containerd.folder} if spec.containerd else None,
        "files": members,
    }


def versions() -> dict[str, str | None]:
    """Return the versions of what made the pool, and of what the backup was made with."""
    programs = {
        "lvm": ("lvm", "version"),
        "thin_dump": ("thin_dump", "-V"),
        "dockerd": ("dockerd", "--version"),
        "containerd": ("containerd", "--version"),
    }
    found: dict[str, str | None] = {"kernel": os.uname().release}
    for name, command in programs.items():
        lines = process.run(*command).split("\n") if process.find(command[0]) else [""]
        match = re.search(r"\d+(\.\d+)+\S*", lines[0])
        found[name] = match[0].rstrip(",") if match else None
    return found


def _sha256(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1024 * 1024), b""):
            found.update(block)
    return found.hexdigest()


def _write(spec: BackupSpec, manifest: t.Mapping[str, t.Any]) -> None:
    """Write the archive, readable by root alone, since what containers are given may be secret."""
    text = json.dumps(manifest, indent=2).encode()
    head = tarfile.TarInfo(MANIFEST)
    head.size, head.mode, head.mtime = len(text), 0o600, int(time.time())
    with contextlib.ExitStack() as opened:
        new = opened.enter_context(files.replacing(spec.path, 0o600))
        packed = opened.enter_context(gzip.GzipFile("", "wb", fileobj=new.file))
        archive = opened.enter_context(tarfile.open(fileobj=packed, mode="w"))
        archive.addfile(head, io.BytesIO(text))
        for name in (SUMS, *sorted({member["name"].split("/")[0] for member in manifest["files"]})):
            archive.add(os.path.join(spec.scratch, name), name)
