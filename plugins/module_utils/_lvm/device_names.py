# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Names of LVM's volumes as the device mapper knows them."""

from __future__ import annotations

_TOP_LAYER = "tpool"


def join(vg: str, lv: str) -> str:
    """Return the device-mapper name of a logical volume: hyphens inside a name are doubled, one joins the two."""
    return f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"


def split(name: str) -> tuple[str, str] | None:
    """Return the volume group and the logical volume that a device-mapper name stands for, or None.

    ``-tpool`` is the layer that LVM puts on top of a pool once it holds LVM thin volumes; it is left out.
    """
    # A name never starts with a hyphen, so pairing from the left always finds the single one.
    parts = name.replace("--", "\0").split("-")
    if len(parts) == 3 and parts[2] == _TOP_LAYER:
        del parts[2]
    if len(parts) != 2 or not all(parts):
        return None
    return parts[0].replace("\0", "-"), parts[1].replace("\0", "-")
