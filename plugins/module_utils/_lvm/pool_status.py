# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the kernel says of running thin pools."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, sysfs
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

DISCARDS = ("discard_passdown", "no_discard_passdown", "ignore_discard")
WHEN_FULL = {"error_if_no_space": "error", "queue_if_no_space": "queue"}
# Seconds for which writes to a full pool wait before they fail, for all pools of a host; 0: for ever.
# Documentation/admin-guide/device-mapper/thin-provisioning.rst, "no_space_timeout".
NO_SPACE_TIMEOUT = "/sys/module/dm_thin_pool/parameters"


@dataclass(frozen=True)
class PoolStatus:
    """A pool's line in ``dmsetup status``; use is counted in metadata blocks of 4 KiB and in chunks."""

    mode: str  # rw, ro, out_of_data_space, fail, error
    transaction_id: int = 0
    metadata_used: int = 0
    metadata_total: int = 0
    data_used: int = 0
    data_total: int = 0
    needs_check: bool = False
    held_root: int | None = (
        None  # the metadata block of the snapshot that thin_ls or thin_dump reads, while one is held
    )
    discards: str = ""  # discard_passdown, no_discard_passdown or ignore_discard; empty: not told
    when_full: str = ""  # error or queue, as it is now: the kernel turns queue into error after a time; empty: not told

    @property
    def has_failed(self) -> bool:
        """Whether the kernel gave the pool up, and so tells nothing of it."""
        return self.mode in ("fail", "error")

    @classmethod
    def parse(cls, words: list[str]) -> PoolStatus:
        """Return the status from the words behind ``thin-pool``.

        Documentation/admin-guide/device-mapper/thin-provisioning.rst, "Status": <transaction id> <used/total metadata>
        <used/total data> <held root> ro|rw|out_of_data_space <discards> <when full> needs_check|- ..., or Fail, or
        Error."""
        if words[:1] in (["Fail"], ["Error"]):
            return cls(mode=words[0].lower(), needs_check=False)
        metadata, data = (tuple(int(number) for number in words[at].split("/")) for at in (1, 2))
        return cls(
            mode=words[4],
            transaction_id=int(words[0]),
            metadata_used=metadata[0],
            metadata_total=metadata[1],
            data_used=data[0],
            data_total=data[1],
            needs_check="needs_check" in words[5:],
            held_root=int(words[3]) if words[3] != "-" else None,
            discards=next((word for word in words[5:] if word in DISCARDS), ""),
            when_full=next((WHEN_FULL[word] for word in words[5:] if word in WHEN_FULL), ""),
        )


def read() -> dict[str, PoolStatus]:
    """Return the status of every running pool by its device-mapper name: one process.

    Not flushed: a flush commits the pool's metadata first, and would wait for ever on a pool that cannot write.
    """
    return parse(process.run("dmsetup", "status", "--noflush", "--target", "thin-pool", timeout=60))


def find(statuses: t.Mapping[str, PoolStatus], dm_name: str) -> tuple[str, PoolStatus | None]:
    """Return the device that runs a pool, and its status; with LVM thin volumes in the pool it has another name."""
    for name in (f"{dm_name}-tpool", dm_name):
        if name in statuses:
            return name, statuses[name]
    return dm_name, None


def parse(text: str) -> dict[str, PoolStatus]:
    """Return the status by name from the output of ``dmsetup status``."""
    found = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(": ")
        words = rest.split()
        if words[2:3] == ["thin-pool"]:
            try:
                found[name] = PoolStatus.parse(words[3:])
            except (IndexError, ValueError) as error:
                raise RefusedError(
                    f"what 'dmsetup status' says of {name} cannot be understood: {line[:200]!r}"
                ) from error
    return found


def no_space_timeout() -> int | None:
    """Return for how many seconds writes to a full pool wait, 0 for ever, None where the kernel does not tell."""
    told = sysfs.attribute(NO_SPACE_TIMEOUT, "no_space_timeout")
    return int(told) if told and told.isdigit() else None


_POOL_TABLE = re.compile(r"^(?P<name>\S+): \d+ \d+ thin-pool \S+ \S+ \d+ (?P<mark>\d{1,18})", re.MULTILINE)


def parse_low_water_marks(text: str) -> dict[str, int]:
    """Return the low water mark, in chunks, of each pool in the output of ``dmsetup table``.

    Line format: Documentation/admin-guide/device-mapper/thin-provisioning.rst, "thin-pool <metadata dev>
    <data dev> <data block size> <low water mark>".
    """
    return {match["name"]: int(match["mark"]) for match in _POOL_TABLE.finditer(text)}


def low_water_mark(pool_size: int, chunk_size: int, threshold: int) -> int:
    """Return the mark that LVM gives a pool: the free chunks at which the kernel sends its event.

    lib/thin/thin.c _thin_pool_add_target_line(); 0, "never", from a threshold of 100 percent on.
    """
    return pool_size // chunk_size * (100 - max(threshold, 50)) // 100 if threshold < 100 else 0
