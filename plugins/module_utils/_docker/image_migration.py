# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Docker's images, carried from one storage driver to another.

A driver sees nothing of what another one keeps in the same data root, so images are saved while Docker runs on the one,
and loaded when it runs on the other. What is done is found by looking: an archive with its whole name is complete, an
image that Docker lists is loaded. So there is no stage to remember, and a run that was interrupted is no other case.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Container, Docker, Image
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_inventory import (
    Inventory,
    digest,
    name_of,
    parse,
    render,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.overlay import existing, overlay_obstacle
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in, pool_status

DRIVERS = ("devicemapper", "overlay2")
# Drivers whose layers are plain directories; those of btrfs and zfs are volumes of these, which rm does not remove.
_DIRECTORIES = ("overlay2", "overlay", "aufs", "vfs")
# Docker makes no new device in a pool that has less than this free (dm.min_free_space, unless it is set).
MIN_FREE = 10  # percent

# The archive takes its name when it is whole and on the disk.
_SAVE = 'docker image save --output "$1.part" "$2" && sync "$1.part" && mv "$1.part" "$1" && sync "$(dirname "$1")"'
# An archive does not know names, since those move between two runs.
_LOAD = (
    'docker image load --quiet --input "$1" && id=$2 && shift 2 && '
    'for name; do docker image tag "$id" "$name" || exit; done'
)


@dataclass(frozen=True)
class MigrationSpec:
    """Where to, and with what."""

    driver: str
    vg: str
    pool: str
    dm_name: str  # of the pool; means something with devicemapper alone
    directory: str  # of inventory and archives
    stop_containers: bool = False
    remove_old: bool = False
    pool_size: int | None = None  # bytes of the pool that is to be made; None: not looked at

    @property
    def inventory(self) -> str:
        return f"{self.directory}/to-{self.driver}.json"

    @property
    def target(self) -> str:
        return f"devicemapper with pool {self.dm_name}" if self.driver == "devicemapper" else self.driver

    def archive(self, image: Image) -> str:
        return f"{self.directory}/{digest(image)}.tar"


@dataclass(frozen=True)
class FreeSpace:
    """Bytes that are free."""

    directory: int = 0  # where the archives are put
    root: int = 0  # where Docker keeps its data
    shared: bool = False  # both on one filesystem
    pool_used: float = 0.0  # the part of the pool that is in use already


@dataclass(frozen=True)
class MigrationState:
    """What was read of the host."""

    docker: Docker
    data: DockerData
    images: tuple[Image, ...] | None = None  # of the running daemon
    containers: tuple[Container, ...] | None = None
    known: Inventory | None = None  # what the inventory says that is there
    inventory_text: str | None = None
    has_client: bool = True
    has_directory: bool = False
    archives: frozenset[str] = frozenset()  # digests of the images
    litter: tuple[str, ...] = ()  # paths of what interrupted runs left
    layers: int = 0  # bytes of all image layers, each counted once
    room: FreeSpace = FreeSpace()
    daemon: DaemonJson = DaemonJson()
    boot_text: str | None = None
    overlay_obstacle: str = ""  # why overlay2 cannot work here
    old: tuple[str, ...] = ()  # paths that the driver left behind


@dataclass(frozen=True)
class Migration:
    """The steps of this call, in three parts, and what comes after it."""

    on_target: bool
    inventory: Inventory | None
    carry: list[Step] = field(default_factory=list)
    switch: list[Step] = field(default_factory=list)  # of Docker to the other driver
    undo: list[Step] = field(default_factory=list)  # of a switch that failed
    finish: list[Step] = field(default_factory=list)  # once a second look found nothing to carry
    later: list[str] = field(default_factory=list)  # sentences of what is done once Docker runs on the other driver
    stopped: tuple[str, ...] = ()  # names of containers

    @property
    def steps(self) -> list[Step]:
        return [*self.carry, *self.switch, *self.finish]


def merge(known: Inventory | None, current: MigrationState, source: str) -> Inventory:
    """Return the inventory of what Docker has now and of what was saved before.

    An image that was saved stays: where Docker was started on an empty data root between two runs, it is the only trace
    of it. A name belongs to the image that has it now. A container is kept as it was while it ran.
    """
    images = {image.id: image for image in current.images or ()}
    names = {name for image in images.values() for name in image.references}
    containers = {one.id: one for one in current.containers or ()}
    if known and not known.verified:
        for image in known.images:
            if image.id not in images and digest(image) in current.archives:
                left = tuple(name for name in image.references if name not in names)
                images[image.id] = replace(image, references=left)
        for one in known.containers:
            if one.id not in containers or not containers[one.id].running:
                containers[one.id] = one
        source = known.source if not current.images and known.images else source
    return Inventory(
        source,
        tuple(sorted(images.values(), key=lambda image: image.id)),
        tuple(sorted(containers.values(), key=lambda one: one.id)),
    )


def decide(current: MigrationState, spec: MigrationSpec) -> Migration:
    """Return the steps: images saved while Docker runs elsewhere, loaded and compared once it runs where it shall."""
    if not current.docker.installed:
        raise RefusedError(
            "there is no Docker on this host, and so no image to carry over: put it on a pool with direct_lvm"
        )
    if not current.has_client:
        raise RefusedError("there is no docker on the PATH, which saves and loads images: install Docker's client")
    info = current.docker.info
    if info is not None and _is_on_target(info, spec):
        return _arrive(current, spec, current.known)
    if spec.remove_old:
        raise RefusedError(
            f"remove_old: Docker does not run on {spec.target} yet, and what it runs on now is never removed before "
            "all images are there: run the migration first, without it"
        )
    return _leave(current, spec, current.known)


def _is_on_target(info: dockerd.Info, spec: MigrationSpec) -> bool:
    return info.driver == spec.driver and (spec.driver != "devicemapper" or info.pool_name == spec.dm_name)


def _leave(current: MigrationState, spec: MigrationSpec, known: Inventory | None) -> Migration:
    """Return the steps on the old driver."""
    info, answers = current.docker.info, current.images is not None and current.containers is not None
    if info is None or not answers:
        # The switch stops Docker, and only once all is saved: an interrupted one goes on from here.
        if not known or known.verified or not all(digest(image) in current.archives for image in known.images):
            raise RefusedError(
                "Docker does not answer, and not all of its images are saved: start it on its present storage "
                "('systemctl start docker'), and run this again"
            )
        inventory = known
    else:
        inventory = merge(known, current, info.driver)
    missing = [image for image in inventory.images if digest(image) not in current.archives]
    running = tuple(one.name for one in current.containers or () if one.running)
    refusals = _check_room(current, spec, missing, current.layers or inventory.size)
    if spec.driver == "overlay2" and current.overlay_obstacle:
        refusals.append(current.overlay_obstacle)
    if running and not spec.stop_containers:
        refusals.append(
            f"containers run: {', '.join(running)}. They are not carried over: their writable layers stay with "
            f"{inventory.source}, and only come back when Docker goes back to it. Keep what they wrote ('docker "
            "commit', 'docker cp', volumes), then stop them, or set stop_containers: true"
        )
    text = render(inventory, spec.driver)
    daemon_steps = _configure(current, spec, refusals)
    if refusals:
        raise RefusedErrors(refusals)

    carry = []
    if current.litter:
        carry.append(Step("remove what an interrupted run left unfinished", ("rm", "--force", *current.litter)))
    if not current.has_directory:
        carry.append(Step(f"make directory {spec.directory}", ("mkdir", "--parents", "--mode=0700", spec.directory)))
    if text != current.inventory_text:
        # Before anything is saved or stopped: it is what all later runs go by.
        carry.append(
            Step(
                f"write {spec.inventory}: {len(inventory.images)} images, {len(inventory.containers)} containers",
                write=Write(spec.inventory, text, mode=0o600),
            )
        )
    carry += [
        Step(
            f"save image {name_of(image)} ({human(image.size)})",
            ("sh", "-c", _SAVE, "sh", spec.archive(image), image.id),
        )
        for image in missing
    ]
    start = Step("start containers again", ("docker", "container", "start", *running))
    if running:
        carry.append(Step(f"stop containers {', '.join(running)}", ("docker", "container", "stop", *running)))
    switch, undo = _switch(current, spec, daemon_steps)
    return Migration(
        on_target=False,
        inventory=inventory,
        carry=carry,
        switch=switch,
        undo=[*undo, *([start] if running and undo else [])],
        later=[step.action for step in _loads(inventory, (), spec)],
        stopped=running,
    )


def _check_room(current: MigrationState, spec: MigrationSpec, missing: t.Sequence[Image], layers: int) -> list[str]:
    """Return where there is too little room, in figures.

    An archive holds the layers that its image shares with others too. On the new side each layer is there once.
    """
    refusals = []
    archives = sum(image.size for image in missing)
    room = current.room
    shared = room.shared and spec.driver == "overlay2"
    if archives > room.directory:
        refusals.append(
            f"the archives of {len(missing)} images take up to {human(archives)}, and the filesystem of "
            f"{spec.directory} has {human(room.directory)} free: name another directory, or remove images"
        )
    elif shared and archives + layers > room.directory:
        refusals.append(
            f"the archives of {len(missing)} images take up to {human(archives)}, their layers on overlay2 "
            f"{human(layers)}, and the filesystem of both {spec.directory} and {current.data.root} has "
            f"{human(room.directory)} free: name a directory on another one, or remove images"
        )
    elif spec.driver == "overlay2" and layers > room.root:
        refusals.append(
            f"the layers of the images take {human(layers)}, and the filesystem of {current.data.root} has "
            f"{human(room.root)} free: make room, or remove images"
        )
    free = pool_free(current, spec)
    if free is not None and layers > free:
        refusals.append(
            f"the layers of the images take {human(layers)}, and of the pool's {human(spec.pool_size or 0)} Docker can "
            f"fill {human(free)}: make it larger, or remove images"
        )
    return refusals


def pool_free(current: MigrationState, spec: MigrationSpec) -> int | None:
    """Return the bytes of the pool that Docker can fill, None where no pool was named."""
    if spec.driver != "devicemapper" or spec.pool_size is None:
        return None
    return max(0, int(spec.pool_size * (1 - MIN_FREE / 100 - current.room.pool_used)))


def _configure(current: MigrationState, spec: MigrationSpec, refusals: list[str]) -> list[Step]:
    """Return the steps on daemon.json; with devicemapper they are the role's, which names the pool that it makes."""
    if spec.driver == "devicemapper":
        return []
    try:
        steps, _after = daemon_json.decide(
            current.daemon, storage_driver=spec.driver, flags=current.docker.flags, backup=True
        )
    except RefusedError as refusal:
        refusals.append(str(refusal))
        return []
    return steps


def _switch(current: MigrationState, spec: MigrationSpec, daemon_steps: list[Step]) -> tuple[list[Step], list[Step]]:
    """Return how Docker gets to overlay2, and how it gets back where that fails."""
    if spec.driver == "devicemapper":
        return [], []
    boot_steps, _text = boot_drop_in.decide(
        current.boot_text, service=dockerd.SERVICE, vg=spec.vg, pool=spec.pool, state="absent"
    )
    start = Step(f"start Docker on {spec.driver}", ("systemctl", "start", dockerd.SERVICE))
    stop = Step("stop Docker", ("systemctl", "stop", "docker.socket", dockerd.SERVICE))
    switch = [*([stop] if current.docker.active else []), *daemon_steps, *boot_steps, start]
    undo = [stop]
    if daemon_steps:
        undo.append(Step("put daemon.json back", write=Write(daemon_json.DEFAULT_PATH, current.daemon.text)))
    if boot_steps:
        file = boot_drop_in.path(dockerd.SERVICE, spec.vg, spec.pool)
        undo.append(Step(f"put {file} back", ("systemctl", "daemon-reload"), write=Write(file, current.boot_text)))
    # systemd gives up a unit that failed several times in a row (systemd.unit(5), StartLimitIntervalSec=).
    undo.append(Step("let systemd start Docker again", ("systemctl", "reset-failed", dockerd.SERVICE)))
    undo.append(Step("start Docker as it was", ("systemctl", "start", dockerd.SERVICE)))
    return switch, undo


def _arrive(current: MigrationState, spec: MigrationSpec, known: Inventory | None) -> Migration:
    """Return the steps on the new driver."""
    if known is None:
        return Migration(on_target=True, inventory=None)
    if known.verified:
        return Migration(
            on_target=True, inventory=known, carry=_remove(current, spec, known) if spec.remove_old else []
        )
    if spec.remove_old:
        raise RefusedError(
            f"remove_old: not all images are known to have arrived on {spec.target}: run the migration without it first"
        )
    if current.images is None:
        raise RefusedError("Docker does not answer: see 'journalctl -u docker', and run this again")
    carry = _loads(known, current.images, spec)
    lost = [
        name_of(image)
        for image in known.images
        if digest(image) not in current.archives and image.id not in {there.id for there in current.images}
    ]
    if lost:
        raise RefusedError(
            f"the archives of images {', '.join(lost)} are gone from {spec.directory}, and Docker does not have them: "
            f"bring the archives back, or load these images otherwise, or remove {spec.inventory} to do without them"
        )
    done = replace(known, verified=True)
    note = Step(
        f"note in {spec.inventory} that all images are there",
        write=Write(spec.inventory, render(done, spec.driver), mode=0o600),
    )
    return Migration(on_target=True, inventory=done, carry=carry, finish=[note])


def _loads(inventory: Inventory, there: t.Sequence[Image], spec: MigrationSpec) -> list[Step]:
    """Return the steps that bring the images that are not there, and the names that are not theirs."""
    known = {image.id: image for image in there}
    steps = []
    for image in inventory.images:
        if image.id not in known:
            command = ("sh", "-c", _LOAD, "sh", spec.archive(image), image.id, *image.references)
            steps.append(Step(f"load image {name_of(image)} ({human(image.size)})", command))
            continue
        for name in image.references:
            if name not in known[image.id].references:
                steps.append(
                    Step(f"name image {digest(image)[:12]} {name}", ("docker", "image", "tag", image.id, name))
                )
    return steps


def _remove(current: MigrationState, spec: MigrationSpec, known: Inventory) -> list[Step]:
    """Return the steps that remove what the old driver kept, the archives, and last the inventory that tells of it."""
    steps = [
        # Never into another filesystem: what is mounted below is somebody else's by now.
        Step(f"remove {path}", ("rm", "--recursive", "--force", "--one-file-system", path))
        for path in current.old
    ]
    archives = [f"{spec.directory}/{name}.tar" for name in sorted(current.archives)]
    if archives or current.litter:
        command = ("rm", "--force", *archives, *current.litter)
        steps.append(Step(f"remove the {len(archives)} archives in {spec.directory}", command))
    steps.append(Step(f"remove {spec.inventory}", write=Write(spec.inventory, None)))
    steps.append(
        Step(
            f"remove directory {spec.directory}, if nothing else is in it",
            ("rmdir", "--ignore-fail-on-non-empty", spec.directory),
        )
    )
    return steps


def left_behind(data: DockerData, source: str, driver: str, is_directory: t.Callable[[str], bool]) -> list[str]:
    """Return the paths of what the driver that Docker came from keeps in the data root; volumes are no driver's."""
    found = []
    if source in _DIRECTORIES and source != driver:
        found = [f"{data.root}/containers/{one}" for one in data.containers.get(source, ())]
        found += [path for path in (f"{data.root}/image/{source}", f"{data.root}/{source}") if is_directory(path)]
    elif source == "devicemapper" and driver != "devicemapper":
        found = data_root.of_driver(data)
    # What the role moved aside for the pool.
    aside = sorted(name for name in data.aside if driver == "devicemapper" or source == "devicemapper")
    return [*found, *(f"{data.root}/{name}" for name in aside)]


def read(spec: MigrationSpec, docker: Docker, daemon: DaemonJson, root: str) -> MigrationState:
    """Return what there is; of processes at most dmsetup and modprobe are started."""
    data = data_root.read(root)
    text = files.read(spec.inventory)
    known = parse(text, spec.inventory)
    names = listdir(spec.directory)
    source = docker.info.driver if docker.info else known.source if known else ""
    return MigrationState(
        docker=docker,
        data=data,
        images=dockerd.images() if docker.info else None,
        containers=dockerd.containers() if docker.info else None,
        known=known,
        inventory_text=text,
        has_client=bool(process.find("docker")),
        has_directory=os.path.isdir(spec.directory),
        archives=frozenset(name[:-4] for name in names if re.fullmatch(r"[0-9a-f]{64}\.tar", name)),
        litter=tuple(
            f"{spec.directory}/{name}"
            for name in sorted(names)
            # The latter is docker save's own way to write a file.
            if re.fullmatch(r"[0-9a-f]{64}\.tar\.part|\.docker_temp_.*", name)
        ),
        layers=layers(root, source),
        room=_room(spec, root),
        daemon=daemon,
        boot_text=files.read(boot_drop_in.path(dockerd.SERVICE, spec.vg, spec.pool)),
        overlay_obstacle=overlay_obstacle(root) if spec.driver == "overlay2" else "",
        old=tuple(left_behind(data, known.source, spec.driver, os.path.isdir)) if known else (),
    )


def layers(root: str, driver: str) -> int:
    """Return the bytes of all image layers of a driver, each counted once, as ``docker system df`` does.

    Docker keeps the size of each beside it (moby, layer/filestore.go).
    """
    folder = f"{root}/image/{driver}/layerdb/sha256"
    total = 0
    for layer in listdir(folder):
        try:
            with open(f"{folder}/{layer}/size", encoding="ascii") as file:
                total += int(file.read())
        except (OSError, ValueError):
            continue  # one that is just being made, or removed
    return total


def _room(spec: MigrationSpec, root: str) -> FreeSpace:
    directory, data = existing(spec.directory), existing(root)
    status = None
    if spec.driver == "devicemapper" and process.find("dmsetup"):
        status = pool_status.read().get(spec.dm_name)
    used = status.data_used / status.data_total if status and status.data_total else 0.0
    free = [os.statvfs(path).f_bavail * os.statvfs(path).f_frsize for path in (directory, data)]
    return FreeSpace(free[0], free[1], os.stat(directory).st_dev == os.stat(data).st_dev, used)
