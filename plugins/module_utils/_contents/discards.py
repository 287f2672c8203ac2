# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What stops discards on their way from a container's filesystem to the pool, and from the pool to the disks."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import sysfs
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

NUMBERS = "/sys/dev/block"


@dataclass(frozen=True)
class Stop:
    """A place where discards go no further."""

    kind: str  # for programs
    message: str
    is_whole: bool = False  # whether nothing comes back to the pool either


def on_the_way(pool: LogicalVolume, status: PoolStatus, data_device: str) -> list[Stop]:
    """Return what stops discards in and below a pool; ``data_device`` is the number of what its data is on."""
    if status.discards == "ignore_discard" or pool.discards == "ignore":
        return [
            Stop(
                "ignored",
                f"thin pool {pool.full_name} ignores discards, so nothing that containers remove comes back. Stop what "
                f"uses it, 'lvchange --activate n {pool.full_name}', 'lvchange --discards passdown {pool.full_name}', "
                f"'lvchange --activate y {pool.full_name}'",
                is_whole=True,
            )
        ]
    if status.discards != "no_discard_passdown":
        return []
    if pool.discards == "nopassdown":
        return [
            Stop(
                "not_passed_down",
                f"thin pool {pool.full_name} is set not to pass discards down: what comes back is the pool's, and the "
                f"disks below are not told. 'lvchange --discards passdown {pool.full_name}' changes that",
            )
        ]
    most = largest(data_device)
    what = (
        "take none"
        if most == 0
        else f"take {human(most)} at most, less than a chunk of {human(pool.chunk_size)}"
        if most is not None and most < pool.chunk_size
        else "do not take them as the pool would have to pass them"
    )
    return [
        Stop(
            "disks_take_none",
            f"the disks below thin pool {pool.full_name} {what}, so the kernel passes no discards down: what comes "
            "back is the pool's, and the disks are not told",
        )
    ]


def largest(number: str) -> int | None:
    """Return how many bytes a device takes in one discard, 0 for none; None where the kernel does not tell."""
    told = sysfs.attribute(f"{NUMBERS}/{number}", "queue/discard_max_bytes")
    return int(told) if told and told.isdigit() else None
