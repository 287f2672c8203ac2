# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The inventory of a migration: which images were saved, written beside them, and read again by the next run. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Container, Image

FORMAT = 1  # of the inventory


@dataclass(frozen=True)
class Inventory:
    """What is carried over, and whether all of it arrived."""

    source: str  # the driver that it comes from
    images: tuple[Image, ...] = ()
    containers: tuple[Container, ...] = ()
    verified: bool = False

    @property
    def size(self) -> int:
        """Bytes of all archives; a layer that images share is in the archive of each."""
        return sum(image.size for image in self.images)


def digest(image: Image) -> str:
    return image.id.partition(":")[2]


def name_of(image: Image) -> str:
    """Return an image in words: its references, or the beginning of its id as Docker shows it."""
    return ", ".join(image.references) or digest(image)[:12]


def parse(text: str | None, path: str) -> Inventory | None:
    """Return the inventory in a file; one that cannot be understood is refused, never overwritten."""
    if text is None:
        return None
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        return Inventory(
            source=document["source"],
            images=tuple(
                Image(image["id"], tuple(image["references"]), tuple(image["digests"]), image["size"])
                for image in document["images"]
            ),
            containers=tuple(dockerd.parse_container(json.dumps(one)) for one in document["containers"]),
            verified=document["verified"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"{path} is not an inventory that this collection wrote: move it away, and the archives beside it are "
            "used all the same"
        ) from error


def render(inventory: Inventory, driver: str) -> str:
    """Return the text of an inventory."""
    document = {
        "format": FORMAT,
        "source": inventory.source,
        "target": driver,
        "verified": inventory.verified,
        "images": [
            {"id": one.id, "references": list(one.references), "digests": list(one.digests), "size": one.size}
            for one in inventory.images
        ],
        "containers": [one.inspected for one in inventory.containers],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
