# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What a person reads of Docker's storage: the disks under it, what Docker says of it, checks and advice. Pure."""

from __future__ import annotations

import re

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_advice import advice
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_checks import (
    ExpectedStorage,
    checks,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Inspection, Node


def tree(seen: Inspection, wanted: ExpectedStorage) -> list[str]:
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


def lines(seen: Inspection, wanted: ExpectedStorage) -> dict[str, list[str]]:
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
