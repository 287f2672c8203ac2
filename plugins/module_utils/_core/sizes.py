# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Sizes in LVM's words, and the extents that LVM makes of them."""

from __future__ import annotations

import math
import re
import typing as t
from dataclasses import dataclass
from fractions import Fraction

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# LVM takes size units as powers of 1024 whatever their case (lvcreate(8), "Size[UNIT]").
_UNITS = {
    "": 1,
    "b": 1,
    "s": 512,
    "k": KIB,
    "m": MIB,
    "g": GIB,
    "t": 1024 * GIB,
    "p": 1024**2 * GIB,
    "e": 1024**3 * GIB,
}
# ASCII: Python's \d knows the digits of every script, and its letters without case more than one s and k.
_NUMBER = r"(?P<number>\d{1,20}(?:\.\d{1,20})?)"
_ABSOLUTE = re.compile(_NUMBER + r"\s*(?P<unit>[bskmgtpe]?)", re.IGNORECASE | re.ASCII)
_SHARE = re.compile(_NUMBER + r"\s*%\s*(?P<of>VG|FREE)", re.IGNORECASE | re.ASCII)
# lib/metadata/lv_manip.c keeps sizes in 64 bits, and the kernel's offsets have 63.
_MAXIMUM = 8 * 1024**3 * GIB


def parse_bytes(text: str) -> int:
    """Return the bytes that an absolute size names; a number without a unit is bytes.

    Raises ValueError with the sentence for the user.
    """
    match = _ABSOLUTE.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"{text!r} is not a size: write a number with one of LVM's units b, s, k, m, g, t, p, e (powers of "
            "1024), or a number of bytes"
        )
    # Rounded up, as LVM rounds 15.8g up to a whole sector.
    size = math.ceil(Fraction(match["number"]) * _UNITS[match["unit"].lower()])
    if size > _MAXIMUM:
        raise ValueError(f"{text!r} is more than the 8e (8 EiB) that a device can have")
    return size


@dataclass(frozen=True)
class Size:
    """A wished size: bytes, or a share of a volume group's extents."""

    text: str
    bytes: int | None = None
    percent: Fraction | None = None
    of: str = ""  # "VG" or "FREE"

    @classmethod
    def parse(cls, text: str) -> Size:
        """Return the size that the words name. Raises ValueError with the sentence for the user."""
        words = str(text).strip()
        match = _SHARE.fullmatch(words)
        if match:
            percent = Fraction(match["number"])
            if not 0 < percent <= 100:
                raise ValueError(f"{words!r} is not a share: the percentage must be above 0 and at most 100")
            return cls(words, percent=percent, of=match["of"].upper())
        if "%" in words:
            raise ValueError(f"{words!r} is not a share that LVM knows here: write N%VG or N%FREE")
        size = parse_bytes(words)
        if size <= 0:
            raise ValueError(f"{words!r} is not a size: it must be above 0")
        return cls(words, bytes=size)

    @property
    def is_share(self) -> bool:
        """Whether the size depends on the volume group, and so grows with it."""
        return self.percent is not None

    def extents(self, *, extent_size: int, vg_extents: int, free_extents: int) -> int:
        """Return the extents, rounded as LVM rounds: shares down, bytes up to a whole extent.

        lvcreate(8) for the words; lib/metadata/lv_manip.c percent_of_extents() for the rounding.
        """
        if self.percent is None:
            return (t.cast(int, self.bytes) + extent_size - 1) // extent_size
        return int(self.percent * (vg_extents if self.of == "VG" else free_extents) / 100)


def human(size: int) -> str:
    """Return bytes as LVM's reports write them, in powers of 1024 with two digits (``9.50 GiB``)."""
    if size < KIB:
        return f"{size} B"
    value, units = Fraction(size), ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    for unit in units:
        value /= KIB
        if value < KIB or unit == units[-1]:
            return f"{float(value):.2f} {unit}"
    raise AssertionError("unreachable")


Parsed = t.TypeVar("Parsed")


def option(name: str, parse: t.Callable[[str], Parsed], text: str | None) -> Parsed | None:
    """Return an option's value as parsed, None where it was not given; a wrong one is refused under its name."""
    if text is None:
        return None
    try:
        return parse(str(text))
    except ValueError as error:
        raise RefusedError(f"{name}: {error}") from error


# go-units also knows the units' long forms, as KiB and kB: powers of 1024 all of them.
_RAM = re.compile(r"(?P<number>\d{1,20}(?:\.\d{1,20})?) ?(?P<unit>[kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def parse_ram(text: str) -> int | None:
    """Return the bytes that Docker and containerd take a size for; None where it is none.

    RAMInBytes of github.com/docker/go-units, which reckons in floating point.
    """
    match = _RAM.fullmatch(text)
    return int(float(match["number"]) * 1024 ** " kmgtp".index(match["unit"].lower() or " ")) if match else None


def decimal(size: float) -> str:
    """Return bytes as ``docker info`` writes them: four digits, units of 1000 (docker/go-units HumanSize)."""
    step = 0
    while size >= 1000 and step < len(_DECIMAL) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.4g}{_DECIMAL[step]}"


def parse_decimal(text: str) -> float:
    """Return about how many bytes such words stand for, 0 where they are none."""
    match = re.fullmatch(r"([\d.]+) ?([kMGTPE]?B)", text)
    return float(match[1]) * 1000 ** _DECIMAL.index(match[2]) if match else 0
