# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Whether what LVM was told to do came about: its exit status of 0 does not say so, a second look does."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_config
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume, LvmState

# Settings of lvm.conf with which LVM leaves a command undone and says that it succeeded (seen).
_SETTINGS = ("activation/monitoring", "activation/volume_list", "activation/read_only_volume_list")


def check_pool(planned: LvmState, found: LvmState, vg: str, name: str) -> None:
    """Refuse to call a pool's steps done whose effect is not to be seen."""
    wanted, there = planned.volume(vg, name), found.volume(vg, name)
    if wanted is None:
        _fail([f"thin pool {vg}/{name} is still there"] if there else [])
    elif there is None or not there.is_pool:
        _fail([f"there is no thin pool {vg}/{name}"])
    else:
        _fail(_lacking(wanted, there))


def _lacking(wanted: LogicalVolume, there: LogicalVolume) -> list[str]:
    name = f"thin pool {wanted.full_name}"
    lacking = []
    if wanted.active and not there.active:
        skips = f" (it has the activation skip flag: 'lvchange --setactivationskip n {wanted.full_name}')"
        lacking.append(f"{name} is not active" + (skips if there.skips_activation else _because("volume_list")))
    elif there.active and not wanted.active:
        lacking.append(f"{name} is still active")
    if there.active and wanted.active:
        if wanted.monitored and not there.monitored:
            lacking.append(f"{name} is not monitored" + _because("monitoring"))
        elif there.monitored and not wanted.monitored:
            lacking.append(f"{name} is still monitored")
        if wanted.low_water_mark and not there.low_water_mark:
            lacking.append(f"the kernel's low water mark of {name} is {there.low_water_mark or 0} chunks")
    # dmeventd may have extended it meanwhile.
    for part, planned, found in (
        ("data", wanted.size, there.size),
        ("metadata", wanted.metadata_size, there.metadata_size),
    ):
        if found < planned:
            lacking.append(f"the {part} of {name} has {found} bytes and not {planned}")
    for setting in ("profile", "zero", "when_full"):
        if getattr(there, setting) != getattr(wanted, setting):
            lacking.append(f"{setting} of {name} is {getattr(there, setting)!r}, not {getattr(wanted, setting)!r}")
    return lacking


def check_reserve(planned: LvmState, found: LvmState, vg: str, pool: str, reserve: str) -> None:
    """Refuse to call steps done after which a pool or what is kept for it has not its size."""
    lacking = []
    for name in (pool, reserve):
        wanted, there = planned.volume(vg, name), found.volume(vg, name)
        if wanted is None and there is not None:
            lacking.append(f"volume {there.full_name} is still there")
        elif wanted is not None and (there is None or there.size < wanted.size):
            lacking.append(f"volume {wanted.full_name} has {there.size if there else 0} bytes and not {wanted.size}")
    _fail(lacking)


def check_devices(planned: LvmState, found: LvmState, paths: t.Iterable[str]) -> None:
    """Refuse to call steps done after which devices are not what they should be to LVM."""
    lacking = []
    for path in paths:
        wanted, there = planned.device(path), found.device(path)
        if wanted is None and there is not None:
            lacking.append(f"{path} is still a physical volume")
        elif wanted is not None and there is None:
            lacking.append(f"{path} is no physical volume that LVM lists")
        elif wanted and there and wanted.vg != there.vg:
            lacking.append(f"{path} is in {f'volume group {there.vg}' if there.vg else 'no volume group'}")
        elif wanted and there and there.size < wanted.size and not wanted.vg:
            lacking.append(f"LVM uses {there.size} bytes of {path} and not {wanted.size}")
    _fail(lacking)


def check_replacement(planned: LvmState, found: LvmState, vg: str, old: str) -> None:
    """Refuse to call steps done after which a device holds more than it should, or a pool is not as it was."""
    wanted, there = planned.device(old), found.device(old)
    if wanted and there and there.extents_used > wanted.extents_used:
        _fail([f"{old} still holds {there.extents_used} extents, not {wanted.extents_used}"])
    check_devices(planned, found, [old])
    check_group(planned, found, vg)
    for pool in planned.volumes_of(vg):
        if pool.is_pool:
            # What was not monitored may be so now: LVM sees to it when it takes tables into use (seen).
            now = found.volume(vg, pool.name)
            as_monitored = replace(pool, monitored=pool.monitored or bool(now and now.monitored))
            check_pool(planned.with_volume(as_monitored), found, vg, pool.name)


def check_group(planned: LvmState, found: LvmState, name: str) -> None:
    """Refuse to call a group's steps done whose effect is not to be seen."""
    wanted, there = planned.group(name), found.group(name)
    if wanted is None or there is None:
        _fail([f"volume group {name} is {'still' if there else 'not'} there"] if wanted != there else [])
        return
    lacking = [f"volume group {name} has no tag {tag}" for tag in wanted.tags if tag not in there.tags]
    have = {device.device for device in found.devices_of(name)}
    should = {device.device for device in planned.devices_of(name)}
    lacking += [f"{path} is not in volume group {name}" for path in sorted(should - have)]
    lacking += [f"{path} is still in volume group {name}" for path in sorted(have - should)]
    if have == should and there.extents < wanted.extents - len(should):  # alignment may take one of each device
        lacking.append(f"volume group {name} has {there.extents} extents and not {wanted.extents}")
    _fail(lacking)


def _because(setting: str) -> str:
    """Return the setting of lvm.conf that keeps LVM from it, in words; nothing where it is not that."""
    try:
        found = lvm_config.configuration(*_SETTINGS)
    except process.ProcessError:
        return ""
    value = found.get(setting, "")
    if setting == "monitoring":
        return " (lvm.conf has activation/monitoring=0)" if value == "0" else ""
    return f" (lvm.conf has activation/{setting}={value})" if value else ""


def _fail(lacking: t.Sequence[str]) -> None:
    if lacking:
        raise RefusedErrors(f"LVM's commands succeeded, and yet {sentence}" for sentence in lacking)
