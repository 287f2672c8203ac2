# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Which container or image each thin device of containerd's devmapper snapshotter is, from its databases.

In containerd's plugins/snapshots/devmapper ``<pool>.db`` has the devices by name, and ``metadata.db`` the snapshots,
whose numbers are in the devices' names. ``meta.db`` has containers and images by namespace (core/metadata/buckets.go),
and the content store manifests and configurations of images by digest. They are read like this and not through ``ctr``,
which tells no device ids, and nothing when containerd is down.
"""

from __future__ import annotations

import collections
import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt, toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import (
    PLUGIN,
    ROOT,
    SNAPSHOTTER,
    devices_path,
    metadata_path,
    snapshots_path,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import load
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.thin_devices import Owner

# Of the OCI image specification, descriptor.md.
_DIGEST = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
LARGEST_DOCUMENT = 8 * 2**20  # bytes of a manifest or an image's configuration; registries take 4 MiB at most
MOST_DOCUMENTS = 1000  # of one image

# Labels in which a container's name is kept: nerdctl's, and those of Kubernetes' runtime interface.
_NAME_LABELS = (b"nerdctl/name", b"io.kubernetes.container.name")
_POD_LABEL = b"io.kubernetes.pod.name"


@dataclass(frozen=True)
class SnapshotterPlace:
    """Where containerd and its devmapper snapshotter keep their records, and the pool's device-mapper name."""

    root: str
    folder: str
    pool: str


def find() -> SnapshotterPlace | None:
    """Return where the records are, None where there is no containerd with a pool: one process."""
    if not process.find("containerd"):
        return None
    try:
        return parse_configuration(process.run("containerd", "config", "dump", timeout=60))
    except process.ProcessError:  # it does not start with such a configuration either
        return None


def parse_configuration(text: str) -> SnapshotterPlace | None:
    """Return what ``containerd config dump`` says."""
    try:
        values = toml.parse(text).values
    except toml.TomlError:
        return None
    section = (values.get("plugins") or {}).get(PLUGIN) or {}
    root, pool = values.get("root") or ROOT, section.get("pool_name")
    return SnapshotterPlace(root, section.get("root_path") or f"{root}/{PLUGIN}", pool) if pool else None


def read(place: SnapshotterPlace, docker_root: str) -> dict[int, Owner]:
    """Return the owner of each device that the snapshotter has on record, by its id in the pool.

    Docker 25 and later keeps its containers' names to itself, so its data root is looked into as well.
    """
    named = keys(_database(snapshots_path(place.folder)))
    owners = _owners(place.root, docker_root)
    found = {}
    for name, text in _database(devices_path(place.folder, place.pool)).get(b"devices", {}).items():
        try:
            record = json.loads(text)
            device_id, size = int(record["device_id"]), int(record["size"])
        except (KeyError, TypeError, ValueError):
            continue
        namespace, key = named.get(_text(name).rpartition("-snap-")[2], ("", ""))
        owner = owners.get((namespace, key)) or Owner("containerd", "snapshot", key or _text(name), key)
        found[device_id] = replace(owner, size=size)
    return found


def keys(database: bbolt.Tree) -> dict[str, tuple[str, str]]:
    """Return namespace and key of each snapshot by its number; the snapshotter knows it as NAMESPACE/NUMBER/KEY."""
    found = {}
    for name, snapshot in database.get(b"v1", {}).get(b"snapshots", {}).items():
        parts = _text(name).split("/", 2)
        if len(parts) == 3 and isinstance(snapshot, dict):
            found[str(uvarint(snapshot.get(b"id", b"")))] = (parts[0], parts[2])
    return found


def uvarint(text: bytes) -> int:
    """Return a number as Go's encoding/binary.PutUvarint writes it: seven bits a byte, the lowest first."""
    found = 0
    for index, byte in enumerate(text[:10]):  # as many as 64 bits take
        found |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            break
    return found


def _owners(root: str, docker_root: str) -> dict[tuple[str, str], Owner]:
    """Return the owners of snapshots by namespace and key."""
    found = {}
    docker = docker_layers.containers(docker_root)
    for space, objects in _database(metadata_path(root)).get(b"v1", {}).items():
        if not isinstance(objects, dict):
            continue
        namespace = _text(space)
        for chain, images in _image_layers(root, objects.get(b"images", {})).items():
            found[namespace, chain] = Owner("containerd", "image_layer", ", ".join(images), chain, tuple(images))
        for name, container in objects.get(b"containers", {}).items():
            key = _text(container.get(b"snapshotKey", b""))
            if key and _text(container.get(b"snapshotter", b"")) == SNAPSHOTTER:
                image = _text(container.get(b"image", b""))
                title = _title(container.get(b"labels", {})) or _text(name)
                images = [image] if image else []
                found[namespace, key] = Owner("containerd", "container", title, _text(name), tuple(images))
        for key in objects.get(b"snapshots", {}).get(SNAPSHOTTER.encode(), {}):
            container_id, init, _rest = _text(key).partition("-init")
            if container_id in docker:
                kind = "container_init" if init else "container"
                found[namespace, _text(key)] = replace(docker[container_id], kind=kind)
    return found


def _title(labels: t.Mapping[bytes, bytes]) -> str:
    """Return the name that whoever made a container gave it."""
    name = next((_text(labels[label]) for label in _NAME_LABELS if label in labels), "")
    pod = _text(labels.get(_POD_LABEL, b""))
    return "/".join(part for part in (pod, name) if part)


def _image_layers(root: str, images: t.Mapping[bytes, t.Any]) -> dict[str, list[str]]:
    """Return the images that each chain of layers is part of."""
    found: dict[str, list[str]] = {}
    for name, image in images.items():
        digest = _text(image.get(b"target", {}).get(b"digest", b""))
        for diff_ids in _layers(root, digest):
            for chain in docker_layers.chain_ids(diff_ids):
                users = found.setdefault(chain, [])
                if _text(name) not in users:
                    users.append(_text(name))
    return found


def _layers(root: str, digest: str) -> t.Iterator[list[str]]:
    """Yield the layers of the image behind a digest, or of each of them where it names one for each platform.

    An index may name indexes, and whoever made the image wrote them: each document is read once, and so many at most.
    """
    waiting, seen = collections.deque([digest]), {digest}
    for _document in range(MOST_DOCUMENTS):
        if not waiting:
            return
        document = _blob(root, waiting.popleft())
        manifests = document.get("manifests")
        named = [_digest(manifest) for manifest in manifests] if isinstance(manifests, list) else []
        for found in named:
            if found not in seen and len(seen) < MOST_DOCUMENTS:
                seen.add(found)
                waiting.append(found)
        if document.get("config"):
            yield docker_layers.diff_ids(_blob(root, _digest(document["config"])).get("rootfs"))


def _digest(descriptor: t.Any) -> str:
    return str(descriptor.get("digest")) if isinstance(descriptor, dict) else ""


def _blob(root: str, digest: str) -> dict[str, t.Any]:
    """Return a document of the content store; nothing where its name is no digest and may lead elsewhere."""
    if not _DIGEST.fullmatch(digest):
        return {}
    algorithm, _colon, value = digest.partition(":")
    return load(f"{root}/io.containerd.content.v1.content/blobs/{algorithm}/{value}", LARGEST_DOCUMENT)


def _database(path: str) -> bbolt.Tree:
    """Return what is in a database; one that cannot be read leaves its part unknown."""
    try:
        return bbolt.read(path)
    except (OSError, bbolt.DamagedError):
        return {}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
