# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the module thin_pool_plan reads and tells for every engine.

Each engine has a file of its own, of which a host loads the one that it needs: a sixth of the time until it begins.
"""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, process, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    block_devices,
    boot_drop_in,
    device_names,
    disk_rules,
    disks,
    lvm_config,
    lvm_state,
    physical_volumes,
    pool_sizing,
    pool_status,
    profiles,
    rehearsal,
    results,
    thin_pools,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._docker import data_root, dockerd

Warn = t.Callable[[str], None]

# The options of thin_pool_plan that are for the pool.
POOL = (
    "vg",
    "pool",
    "data_size",
    "metadata_size",
    "chunk_size",
    "zero",
    "autoextend_threshold",
    "autoextend_percent",
    "autoextend_room",
    "wipe_signatures",
    "destroy_contents",
    "resize_devices",
    "reserve",
)


def pool_options(options: dict[str, t.Any]) -> dict:
    """Return the options of the pool, whichever engine it is for; names and sizes that are none are refused."""
    params = {key: options[key] for key in POOL}
    refusals: list[str] = []
    for name, kind in (("vg", "volume group"), ("pool", "thin pool")):
        if not device_names.is_name(params[name]):
            refusals.append(f"{name}: {device_names.no_name(kind, params[name])}")
    params["reserve"] = params["reserve"] or None  # a role's variable that is empty
    parsers: tuple[tuple[str, t.Callable[[str], t.Any]], ...] = (
        ("data_size", sizes.Size.parse),
        ("metadata_size", sizes.Size.parse),
        ("chunk_size", sizes.parse_bytes),
        ("reserve", sizes.Size.parse),
    )
    for name, parse in parsers:
        params[name] = storage_plan.attempt(refusals, functools.partial(sizes.option, name, parse, params[name]), None)
    if refusals:
        raise errors.RefusedErrors(dict.fromkeys(refusals))
    return params


def read_report() -> lvm_state.LvmState | None:
    return lvm_state.read() if process.find("lvm") else None


def storage(
    known: lvm_state.LvmState | None, names: list, spec: storage_plan.StorageSpec, *, grows: bool = False
) -> dict:
    """Return what the host's storage is like, as arguments of any engine's Host; packages are not asked for.

    ``grows`` tells that disks that came since are asked for, where disks are chosen by rule.
    """
    # Without LVM there is nothing to report; a disk with an LVM label is refused then, since nobody can say whose it
    # is.
    lvm = known or lvm_state.LvmState()
    names, judged = by_rule(lvm, names, spec, grows=grows)
    devices = tuple(physical_volumes.examine(lvm, names, destroy_contents=spec.destroy_contents))
    signatures = block_devices.contents(thin_pools.convertible(lvm, spec.for_pool()))
    keys = ("config/profile_dir", lvm_config.THIN_CHECK, lvm_config.MONITORING, lvm_config.READ_ONLY)
    configured = lvm_config.configuration(*keys) if known else {}
    return {
        "lvm": lvm,
        "devices": devices,
        "judged": judged,
        "signatures": signatures,
        "profile": profiles.read(spec.profile, directory=configured.get("profile_dir") or profiles.DEFAULT_DIRECTORY),
        "pool_status": (pool_status.read() if _has_active_pool(lvm, spec) else {}).get(spec.dm_name),
        "missing_thin_check": lvm_config.missing_thin_check(configured),
        "can_monitor": lvm_config.can_monitor(configured),
        "extension": _extension(lvm, spec, lvm_config.may_write(configured)),
    }


def without_rules(names: list) -> list:
    """Return the devices that are named; on the way back the group says which those of rules are."""
    return [name for name in names if not disk_rules.is_rule(name)]


def by_rule(lvm: lvm_state.LvmState, names: list, spec: storage_plan.StorageSpec, *, grows: bool) -> tuple[list, tuple]:
    """Return the names of devices with those that rules mean in the rules' place, and what is said of every disk."""
    rules = [disk_rules.parse(name) for name in names if disk_rules.is_rule(name)]
    named = without_rules(names)
    if not rules:
        return names, ()
    members = [volume.device for volume in lvm.devices_of(spec.vg)]

    def refusals(disk: disk_rules.Disk) -> list[str]:
        # Never more than blank disks, whatever may be wiped of those that are named.
        (device,) = physical_volumes.examine(lvm, [disk.path])
        found = physical_volumes.refusals(lvm, device, group=spec.vg)
        return [reason.replace(f"{device.label} ", "", 1) for reason in found]

    judged = disk_rules.resolve(
        rules, disks.read(), members=members, named=block_devices.resolve(named), refusals=refusals
    )
    disk_rules.check(rules, judged, vg=spec.vg, members=members, grows=grows)
    return [*named, *(judgement.disk.path for judgement in judged if judgement.taken)], tuple(judged)


def _extension(
    lvm: lvm_state.LvmState, spec: storage_plan.StorageSpec, may_write: bool
) -> pool_sizing.AutoExtension | None:
    """Return what the next extension of a pool takes that is there."""
    group, pool = lvm.group(spec.vg), lvm.volume(spec.vg, spec.pool)
    if group is None or pool is None or not pool.is_pool or spec.autoextend_threshold >= 100:
        return None
    extension = pool_sizing.auto_extension(group, pool, lvm.spare(spec.vg), spec.autoextend_percent)
    return rehearsal.asked(lvm, group, pool, extension, may_write=may_write)


# In this order: LVM can be asked about what a stage before it makes only once that is there.
_REHEARSED = ("volume_group", "physical_volumes", "thin_pool", "reserve")


def rehearse(plan: storage_plan.Plan) -> None:
    """Ask LVM, where it is installed, whether it would carry the plan out, as far as what it is about is there yet."""
    if not process.find("lvm"):
        return
    rehearsal.check(next((plan.stages[stage] for stage in _REHEARSED if plan.stages.get(stage)), ()))


def _has_active_pool(lvm: lvm_state.LvmState, spec: storage_plan.StorageSpec) -> bool:
    pool = lvm.volume(spec.vg, spec.pool)
    return bool(pool and pool.is_pool and pool.active)


def with_members(host: storage_plan.HostState, spec: storage_plan.StorageSpec) -> dict:
    """Return the devices of the group, which need not be named, and what was named beside them."""
    members = [volume.device for volume in host.lvm.devices_of(spec.vg)]
    others = [device for device in host.devices if device.path not in members]
    return {"devices": (*physical_volumes.examine(host.lvm, members), *others)}


# The stages that no module takes: their commands are told, in their order, and those that undo them.
COMMANDS = (
    "containers",
    "snapshots",
    "docker_stop",
    "docker_data",
    "docker_start",
    "containerd_stop",
    "containerd_start",
    "devices",
    "records",
)


def modules(
    host: storage_plan.HostState, spec: storage_plan.StorageSpec, options: dict[str, t.Any], service: str | None
) -> dict[str, dict[str, t.Any]]:
    """Return what the modules that take the pool's stages are given, by their names; devices as they were found."""
    devices = [device.path for device in host.devices]
    taken = {key: options[key] for key in ("wipe_signatures", "destroy_contents")}
    return {
        "lvm_pv": {"devices": devices},
        "lvm_vg": {"name": spec.vg, "devices": devices, **taken, "resize": spec.resize_devices, "tags": []},
        "lvm_profile": {
            "name": spec.profile,
            "thin_pool_autoextend_threshold": spec.autoextend_threshold,
            "thin_pool_autoextend_percent": spec.autoextend_percent,
        },
        "lvm_thin_pool": {
            "vg": spec.vg,
            "name": spec.pool,
            "size": options["data_size"],
            "metadata_size": options["metadata_size"],
            "chunk_size": options["chunk_size"],
            "zero": spec.zero,
            "profile": spec.profile,
            "service": service,
        },
        "thin_pool_reserve": {"vg": spec.vg, "name": spec.pool, "size": options["reserve"] or None},
    }


def moment() -> str:
    """Return the time as it is in names, UTC."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def plan_result(
    host: storage_plan.HostState,
    spec: storage_plan.StorageSpec,
    plan: storage_plan.Plan,
    manager: str | None,
    service: str | None,
    options: dict[str, t.Any],
) -> dict:
    """Return what is told of every engine's plan."""
    return {
        "changed": False,
        "actions": plan.actions,
        "links": {stage: actions(steps) for stage, steps in plan.stages.items()},
        "diff": plan.diff,
        "devices": [device.path for device in host.devices],
        "modules": modules(host, spec, options, service),
        "commands": {
            stage: [list(step.command) for step in steps] for stage, steps in plan.stages.items() if stage in COMMANDS
        },
        "undo": {
            stage: [list(step.undo) for step in reversed(steps) if step.undo]
            for stage, steps in plan.stages.items()
            if stage in COMMANDS
        },
        "pool": {"vg": spec.vg, "name": spec.pool, "dm_name": spec.dm_name, "path": spec.pool_name.device},
        "disks": [
            {
                "device": judgement.disk.path,
                "size": judgement.disk.size,
                "model": judgement.disk.model,
                "bus": judgement.disk.bus or None,
                "rotational": judgement.disk.rotational,
                "taken": judgement.taken,
                "reasons": judgement.reasons,
            }
            for judgement in host.judged
        ],
        "boot": {
            "path": boot_drop_in.path(service or boot_drop_in.DEFAULT_SERVICE, spec.vg, spec.pool),
            "content": boot_drop_in.text(spec.vg, spec.pool),
        },
        "packages": {
            "manager": manager,
            "storage": list(host.missing_packages),
            "docker": [],
            "unknown": [candidate.package for candidate in host.candidates if not candidate.version],
        },
        "thin_pool": results.pool(plan.lvm.volume(spec.vg, spec.pool)),
        "profile": spec.profile,
        "autoextend": results.auto_extension(plan.extension) if plan.extension else None,
    }


def docker_result(docker: dockerd.Docker, data: data_root.DockerData, records: list) -> dict:
    info = docker.info
    udev_sync = info.status.get("Udev Sync Supported") if info else None
    return {
        "data_root": data.root,
        "records": records,
        "running": None if docker.running is None else list(docker.running),
        "installed": docker.installed,
        "version": docker.version,
        "active": docker.active,
        "driver": info.driver if info else None,
        "pool_name": info.pool_name if info else None,
        "udev_sync": udev_sync == "true" if udev_sync else None,
    }
