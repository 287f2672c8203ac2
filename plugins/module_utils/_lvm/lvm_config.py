# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""LVM's configuration as it takes effect on this host, and what follows from it."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process


def configuration(*keys: str, profile: str = "") -> dict[str, str]:
    """Return values of LVM's configuration as it takes effect, with a metadata profile where one is named."""
    words = ["lvmconfig", "--typeconfig", "full"] + (["--metadataprofile", profile] if profile else [])
    found = re.findall(r"^\s*(\w+)=(?:\"(.*)\"|(.*))$", process.run(*words, *keys), re.MULTILINE)
    return {key: quoted or plain for key, quoted, plain in found}


THIN_CHECK = "global/thin_check_executable"
MONITORING = "activation/monitoring"
READ_ONLY = "global/metadata_read_only"


def can_monitor(values: t.Mapping[str, str]) -> bool:
    """Whether LVM has dmeventd monitor anything; where not, its commands succeed without doing it (seen)."""
    return values.get(MONITORING.partition("/")[2], "1") != "0"


def may_write(values: t.Mapping[str, str]) -> bool:
    """Whether LVM's commands may change anything on this host."""
    return values.get(READ_ONLY.partition("/")[2], "0") != "1"


def missing_thin_check(values: t.Mapping[str, str]) -> str:
    """Return the program that LVM would check a pool's metadata with before it activates it, where it is not there.

    Without it LVM activates the pool unchecked, or in older versions not at all, which then shows at the next boot.
    An empty setting is the administrator's word that nothing is checked (lvm.conf(5), global/thin_check_executable).
    """
    program = values.get(THIN_CHECK.partition("/")[2], "")
    return program if program and not os.access(program, os.X_OK) else ""


def no_thin_check(name: str, program: str) -> str:
    """Return what is to be told of a pool whose metadata cannot be checked."""
    return (
        f"{program}, with which LVM checks the metadata of {name} before it activates it, is not there, and after a "
        "reboot the pool may not come up: install thin-provisioning-tools (Debian family) or "
        "device-mapper-persistent-data (Red Hat family), or correct global/thin_check_executable in lvm.conf"
    )
