# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Names of volume groups, volumes and pools: as users write them, and as the device mapper has them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

_TOP_LAYER = "tpool"
# lvm(8), "Valid names": letters, digits and + _ . -, not beginning with a hyphen; 127 bytes is the kernel's limit.
_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}")
# Without those that libdm writes as escapes (libdm-common.c, _is_whitelisted_char()): none of our names has them.
_DEVICE_NAME = re.compile(r"[A-Za-z0-9#+.:=@_-]{1,127}")


def is_name(text: str) -> bool:
    """Whether LVM takes it for a group or a volume."""
    return bool(_NAME.fullmatch(text)) and text not in (".", "..")


def is_device_name(text: str) -> bool:
    """Whether the device mapper takes it for a device."""
    return bool(_DEVICE_NAME.fullmatch(text))


def check_name(kind: str, name: str) -> None:
    """Refuse a name that LVM refuses, in words that say why."""
    if not is_name(name):
        raise RefusedError(no_name(kind, name))


def no_name(kind: str, name: str) -> str:
    """Return what is to be said of a name that LVM refuses."""
    return (
        f"{name!r} is not a name for a {kind}: LVM allows letters, digits and + _ . - of ASCII, at most 127 of "
        "them, no hyphen at the beginning, and neither . nor .. alone"
    )


def join(vg: str, lv: str) -> str:
    """Return the device-mapper name of a logical volume: hyphens inside a name are doubled, one joins the two."""
    return f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"


class PoolName(t.NamedTuple):
    """The name of a thin pool, in each form that it has."""

    vg: str
    name: str

    @classmethod
    def of(cls, text: str) -> PoolName:
        """Return the name that is written as VG/NAME, as it is."""
        vg, _slash, name = text.partition("/")
        return cls(vg, name)

    @classmethod
    def parse(cls, text: str) -> PoolName:
        """Return the name that a user writes as VG/NAME."""
        unlike = f"pool {text!r} is not named as VG/NAME, like docker/thinpool: see the option 'pools'"
        if "/" not in text:
            raise RefusedError(unlike)
        found = cls.of(text)
        try:
            check_name("volume group", found.vg)
            check_name("thin pool", found.name)
        except RefusedError as error:
            raise RefusedError(f"{unlike}. {error}") from error
        return found

    @classmethod
    def of_device(cls, dm_name: str) -> PoolName | None:
        """Return the name that a device-mapper name stands for, None where it is not one of LVM's.

        ``-tpool`` is the layer that LVM puts on top of a pool once it holds LVM thin volumes; it is left out.
        """
        # A name never starts with a hyphen, so pairing from the left always finds the single one.
        parts = dm_name.replace("--", "\0").split("-")
        if len(parts) == 3 and parts[2] == _TOP_LAYER:
            del parts[2]
        if len(parts) != 2 or not all(parts):
            return None
        return cls(parts[0].replace("\0", "-"), parts[1].replace("\0", "-"))

    @property
    def is_valid(self) -> bool:
        """Whether LVM takes both parts for names."""
        return is_name(self.vg) and is_name(self.name)

    def __str__(self) -> str:
        return f"{self.vg}/{self.name}"

    @property
    def dm_name(self) -> str:
        """The name under /dev/mapper, which Docker's dm.thinpooldev and containerd's pool_name want."""
        return join(self.vg, self.name)

    @property
    def device(self) -> str:
        return f"/dev/mapper/{self.dm_name}"
