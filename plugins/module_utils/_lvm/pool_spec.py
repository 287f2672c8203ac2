# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""A thin pool as it shall be: its sizes, its chunks and its profile, each within what LVM and the kernel take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import GIB, KIB, MIB, Size, human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName

# lib/config/defaults.h DEFAULT_THIN_POOL_{MIN,MAX}_CHUNK_SIZE; the kernel wants a multiple of 64 KiB
# (Documentation/admin-guide/device-mapper/thin-provisioning.rst).
CHUNK_MINIMUM, CHUNK_MAXIMUM, CHUNK_STEP = 64 * KIB, GIB, 64 * KIB
# defaults.h DEFAULT_THIN_POOL_MIN_METADATA_SIZE, and the largest that every LVM and kernel uses whole:
# libdevmapper.h DM_THIN_MAX_METADATA_SIZE, 15.81 GiB. LVM would silently use less than a larger size asks for.
METADATA_MINIMUM, METADATA_MAXIMUM = 2 * MIB, 255 * (1 << 14) * 4096 - 256 * KIB * 512

DEFAULT_METADATA_SIZE = "1%VG"
DEFAULT_CHUNK_SIZE = 512 * KIB

# lib/metadata/metadata.c apply_lvname_restrictions(): LVM keeps these for the parts of its own volumes.
_RESERVED = re.compile(
    r"^(snapshot|pvmove)|_(cdata|cmeta|corig|cpool|iorig|imeta|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig|cvol)"
)


@dataclass(frozen=True)
class PoolSpec:
    """A thin pool as it shall be; None leaves what is there, or takes the default of a new pool."""

    vg: str
    name: str
    size: Size | None = None
    metadata_size: Size | None = None
    metadata_name: str = ""
    chunk_size: int | None = None  # bytes
    zero: bool | None = None
    profile: str | None = None  # empty: none
    threshold: int = 100  # percent, the profile's
    percent: int = 20  # the profile's: how much is added when the threshold is passed
    when_full: str | None = None  # queue or error
    monitor: bool = True
    active: bool = True
    can_monitor: bool = True  # whether LVM monitors anything (lvm.conf, activation/monitoring)
    can_extend: bool = True  # whether LVM would extend the pool by its profile, where it had to be asked

    @property
    def pool_name(self) -> PoolName:
        return PoolName(self.vg, self.name)

    @property
    def full_name(self) -> str:
        return str(self.pool_name)

    @property
    def metadata_volume(self) -> str:
        return self.metadata_name or f"{self.name}meta"

    def check(self) -> None:
        """Refuse what LVM would refuse, or worse, would silently change."""
        device_names.check_name("volume group", self.vg)
        for kind, name in (("thin pool", self.name), ("pool metadata volume", self.metadata_volume)):
            device_names.check_name(kind, name)
            if _RESERVED.search(name):
                raise RefusedError(
                    f"{name!r} is not a name for a {kind}: LVM keeps such names for parts of its own volumes"
                )
        if self.metadata_volume == self.name:
            raise RefusedError(f"the metadata volume of {self.full_name} needs a name of its own, not {self.name!r}")
        if len(self.pool_name.dm_name) > 120:
            raise RefusedError(
                f"the names {self.vg!r} and {self.name!r} are too long together: the kernel allows 127 bytes"
            )
        chunk = self.chunk_size
        if chunk is not None and (not CHUNK_MINIMUM <= chunk <= CHUNK_MAXIMUM or chunk % CHUNK_STEP):
            raise RefusedError(
                f"chunk_size of {self.full_name} must be a multiple of 64k from 64k to 1g, not {human(chunk)} "
                f"({chunk} bytes)"
            )
        size = self.size.bytes if self.size else None
        if size is not None and size < CHUNK_MINIMUM:
            raise RefusedError(
                f"size of {self.full_name} is {human(size)}, less than one chunk: is the unit missing, as in 10g?"
            )
        metadata = self.metadata_size.bytes if self.metadata_size else None
        if metadata is not None and not METADATA_MINIMUM <= metadata <= METADATA_MAXIMUM:
            raise RefusedError(
                f"metadata_size of {self.full_name} must be 2m to 15.8g, not {human(metadata)}: LVM would use "
                "another size without a word"
            )
