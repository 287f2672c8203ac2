# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Which container or image each of Docker's thin devices is, from its records: no process, no daemon.

The layout is moby's, the same from 1.10 to 24: daemon/graphdriver/devmapper (``devicemapper/metadata/<hash>``),
layer/filestore.go (``layerdb``), image/fs.go (``imagedb``), reference/store.go (``repositories.json``).
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import load, read_limited
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sysfs import listdir
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.thin_devices import Owner

_LARGEST_NAME = 4096  # bytes of a file that has an id in it
# Files among the records that are no device's.
_NO_DEVICES = ("transaction-metadata", "deviceset-metadata")


@dataclass(frozen=True)
class DockerPlace:
    """Where Docker keeps its data, and the device-mapper name of its pool as far as it is configured."""

    root: str
    pool: str = ""

    def may_be_of(self, dm_name: str) -> bool:
        return self.pool in ("", dm_name)


def find() -> DockerPlace:
    """Return where Docker's records are on this host: at most one process, systemctl."""
    daemon = daemon_json.read()
    flags = systemd.flags(dockerd.read_unit())
    return DockerPlace(data_root.find_root(daemon, flags), configured_pool(daemon, flags))


def configured_pool(daemon: DaemonJson, flags: t.Sequence[str]) -> str:
    """Return the pool that dm.thinpooldev names; Docker takes it with /dev/mapper/ and without."""
    given = [option.rpartition("=")[2] for option in flags if "dm.thinpooldev=" in option]
    device = given[-1] if given else daemon.option("dm.thinpooldev")
    return (device or "").rpartition("/")[2]


def transaction_id(root: str) -> int | None:
    """Return the last transaction that the records know; the pool is at it, or one behind while it is open."""
    found = load(f"{root}/{DRIVER}/metadata/transaction-metadata").get("open_transaction_id")
    return found if isinstance(found, int) else None


def is_of(recorded: int | None, before: int, after: int) -> bool:
    """Whether records are those of a pool that went from one transaction to another while they were read."""
    return recorded is not None and before <= recorded <= after + 1


def read(root: str) -> dict[int, Owner]:
    """Return the owner of each device that Docker has on record, by its id in the pool."""
    owners = layers(root)
    found = {}
    for name in records(root):
        record = load(f"{root}/{DRIVER}/metadata/{name}")
        device_id, size = record.get("device_id"), record.get("size")
        if isinstance(device_id, int):
            owner = owners.get(name) or Owner("docker", "base" if name == "base" else "record", name)
            found[device_id] = replace(owner, size=size if isinstance(size, int) else None)
    return found


def records(root: str) -> list[str]:
    """Return the names of the records of devices."""
    names = sorted(listdir(f"{root}/{DRIVER}/metadata"))
    return [name for name in names if name not in _NO_DEVICES and not name.startswith(".")]


def layers(root: str) -> dict[str, Owner]:
    """Return whose layers there are, by the names that the records of their devices have, or should have."""
    return {**_images(root), **_containers(root)}


def diff_ids(filesystem: t.Any) -> list[str]:
    """Return the layers in the ``rootfs`` of an image's configuration, which whoever made the image wrote."""
    found = filesystem.get("diff_ids") if isinstance(filesystem, dict) else None
    return [str(diff_id) for diff_id in found] if isinstance(found, list) else []


def chain_ids(diff_ids: t.Sequence[str]) -> list[str]:
    """Return the chain id of each layer of an image, a digest over it and all below it (OCI image specification)."""
    found: list[str] = []
    for diff_id in diff_ids:
        text = f"{found[-1]} {diff_id}" if found else diff_id
        found.append(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if found else diff_id)
    return found


def _images(root: str) -> dict[str, Owner]:
    """Return the owners of the image layers by their records' names."""
    folder = f"{root}/image/{DRIVER}"
    names = _image_names(folder)
    users: dict[str, list[str]] = {}
    for image in sorted(listdir(f"{folder}/imagedb/content/sha256")):
        filesystem = load(f"{folder}/imagedb/content/sha256/{image}").get("rootfs")
        for chain in chain_ids(diff_ids(filesystem)):
            users.setdefault(chain, []).extend(names.get(f"sha256:{image}") or [image[:12]])
    found = {}
    for layer in listdir(f"{folder}/layerdb/sha256"):
        record, images = _text(f"{folder}/layerdb/sha256/{layer}/cache-id"), tuple(users.get(f"sha256:{layer}", ()))
        found[record] = Owner("docker", "image_layer", ", ".join(images) or layer[:12], f"sha256:{layer}", images)
    return found


def _image_names(folder: str) -> dict[str, list[str]]:
    """Return the names of images by their ids; names with a digest are left out where there is one with a tag."""
    repositories = load(f"{folder}/repositories.json").get("Repositories")
    found: dict[str, list[str]] = {}
    for references in repositories.values() if isinstance(repositories, dict) else ():
        for reference, image in sorted(references.items()) if isinstance(references, dict) else ():
            found.setdefault(str(image), []).append(str(reference))
    return {image: [name for name in names if "@" not in name] or names for image, names in found.items()}


def containers(root: str) -> dict[str, Owner]:
    """Return the containers by their ids, with the names of their images as they were given."""
    found = {}
    for container in listdir(f"{root}/containers"):
        configuration = load(f"{root}/containers/{container}/config.v2.json")
        given = configuration.get("Config")
        image = str(given.get("Image") or "") if isinstance(given, dict) else ""
        name = str(configuration.get("Name") or "").lstrip("/") or container[:12]
        found[container] = Owner("docker", "container", name, container, (image,) if image else ())
    return found


def _containers(root: str) -> dict[str, Owner]:
    """Return the owners of the containers' layers by their records' names: the writable one, and the one under it."""
    folder = f"{root}/image/{DRIVER}/layerdb/mounts"
    known = containers(root)
    found = {}
    for container in listdir(folder):
        owner = known.get(container) or Owner("docker", "container", container[:12], container)
        for file, kind in (("mount-id", "container"), ("init-id", "container_init")):
            record = _text(f"{folder}/{container}/{file}")
            if record:
                found[record] = replace(owner, kind=kind)
    return found


def _text(path: str) -> str:
    try:
        return read_limited(path, _LARGEST_NAME).decode().strip()
    except (OSError, ValueError):
        return ""
