# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The settings of containerd's devmapper snapshotter, each within what it takes."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import parse_ram
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names

# Configuration version 1 names plugins otherwise; 4 (containerd 2.3) moved other sections than ours.
VERSIONS = (2, 3, 4)
FILESYSTEMS = ("ext4", "xfs", "ext2")
# mkfs.xfs(8) makes none smaller since 5.19.
_XFS_MINIMUM = 300 * 1024**2
# What a device-mapper name may consist of (libdm, dm_is_a_valid name; 127 characters of DM_NAME_LEN).
_NAME = re.compile(r"[A-Za-z0-9#+.:=@_-]{1,127}")


@dataclass(frozen=True)
class SnapshotterSettings:
    """Keys of the section; None leaves one as it is."""

    pool_name: str | None = None
    root_path: str | None = None
    base_image_size: str | None = None
    async_remove: bool | None = None
    discard_blocks: bool | None = None
    fs_type: str | None = None
    fs_options: str | None = None

    def given(self) -> dict[str, str | bool]:
        """Return the keys that are not left as they are, in the order of containerd's own configuration."""
        found = {name: getattr(self, name) for name in ORDER}
        return {name: value for name, value in found.items() if value is not None}


ORDER = ("root_path", "pool_name", "base_image_size", "async_remove", "discard_blocks", "fs_type", "fs_options")


def size_in_bytes(text: str) -> int:
    """Return the bytes of a size as containerd reads it. Raises ValueError with the sentence for the user."""
    size = parse_ram(text)
    if size is None:
        raise ValueError(
            f"{text!r} is not a size: write a number with one of containerd's units, such as 10GB (10 GiB)"
        )
    if not 1024**2 <= size < 2**63:
        raise ValueError(f"{text!r} is not a size for a filesystem: it must be at least 1MB. Is the unit missing?")
    return size


def check(settings: SnapshotterSettings, pools: t.Collection[str] = ()) -> None:
    """Refuse what containerd would take and then not work with; ``pools`` are the thin pools that the kernel runs."""
    problems = []
    if settings.pool_name is not None:
        problems += _check_pool_name(settings.pool_name, pools)
    root = settings.root_path
    if root is not None and (not re.fullmatch(r"/[^\x00-\x1f\x7f]*", root) or ".." in root.split("/")):
        problems.append(f"root_path must be the whole path of a folder, beginning with a slash, not {root!r}")
    if settings.base_image_size is not None:
        try:
            size = size_in_bytes(settings.base_image_size)
            if settings.fs_type == "xfs" and size < _XFS_MINIMUM:
                problems.append(
                    f"base_image_size must be at least 300MB with fs_type xfs, not {settings.base_image_size}"
                )
        except ValueError as error:
            problems.append(f"base_image_size: {error}")
    if settings.fs_type is not None and settings.fs_type not in FILESYSTEMS:
        problems.append(f"fs_type must be {', '.join(FILESYSTEMS)}, not {settings.fs_type!r}")
    if settings.fs_options is not None and not re.fullmatch(r"[!-~]+", settings.fs_options):
        problems.append(
            "fs_options must be extended options of mkfs.ext4(8) such as nodiscard,lazy_itable_init=0, without "
            f"blanks, not {settings.fs_options!r}"
        )
    if settings.fs_options is not None and settings.fs_type == "xfs":
        problems.append("fs_options are for ext4 and ext2 alone: containerd gives none to mkfs.xfs")
    if problems:
        raise RefusedErrors(problems)


def _check_pool_name(name: str, pools: t.Collection[str]) -> list[str]:
    """Return what is wrong with a name; LVM doubles each hyphen in names of groups and volumes, see device_names."""
    if not _NAME.fullmatch(name):
        *_path, vg, pool = ["", "", *name.split("/")]
        near = pool if vg == "mapper" else device_names.join(vg, pool) if vg and pool else ""
        hint = f": did you mean {near}?" if _NAME.fullmatch(near) else ""
        return [f"pool_name must be a name under /dev/mapper, without that path, not {name!r}{hint}"]
    near = next((pool for pool in pools if pool != name and pool.replace("--", "-") == name.replace("--", "-")), "")
    if near and name not in pools:
        return [
            f"pool_name: there is no thin pool {name}, but there is {near}, with hyphens doubled as LVM does: name it"
        ]
    return []
