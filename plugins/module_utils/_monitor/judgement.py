# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Everything that is wrong with a pool as it is now, each with what to do. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_config
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import advice
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.pool_health import (
    ORDER,
    Limits,
    Pool,
    Reason,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.timestamps import iso_seconds


def judge(pool: Pool, limits: Limits) -> list[Reason]:
    """Return everything that is wrong with a pool, the worst first."""
    found = [*_of_kernel(pool), *_of_use(pool, limits), *_of_extension(pool), *_of_growth(pool), *_of_watch(pool)]
    return sorted(found, key=lambda reason: -ORDER.index(reason.severity))


def _of_kernel(pool: Pool) -> t.Iterator[Reason]:
    """What keeps the pool from working at all."""
    name, volume, status = pool.pool_name, pool.volume, pool.status
    mode = status.mode if status else ""
    for obstacle in pool.obstacles:
        yield Reason(obstacle.kind, "critical", obstacle.message)
    if pool.shrunk:
        yield Reason(
            "device_shrunk",
            "critical",
            f"{', '.join(pool.shrunk)} of volume group {volume.vg} has become smaller than LVM's extents on it: what "
            "lies behind its end cannot be read or written. Give the device its size back",
        )
    if not volume.active:
        words, command = advice.activate(pool)
        yield Reason("inactive", "critical", f"{name} is not active, so nothing can use it: {words}", command)
        return
    if not volume.live and not volume.suspended:
        yield Reason(
            "inactive",
            "critical",
            f"{name} is active but has no table in the kernel, so nothing can use it: an LVM command may have been "
            f"killed. See that none runs, then '{advice.unstick(volume)}'",
            pool.whose.shell(advice.unstick(volume)),
        )
        return
    if volume.suspended:
        yield Reason(
            "suspended",
            "critical",
            f"{name} is suspended, and all that is written to it waits: an LVM command may have been killed. See that "
            f"none runs, then '{advice.unstick(volume)}'",
            pool.whose.shell(advice.unstick(volume)),
        )
    if mode in ("fail", "error") or volume.health == "failed":
        yield Reason(
            "failed",
            "critical",
            f"{name} has failed, and can neither be read nor written. Stop what uses it, deactivate it ('lvchange "
            f"--activate n {name}') and repair its metadata ('lvconvert --repair {name}', lvmthin(7))",
        )
    elif mode == "ro" or volume.health == "metadata_read_only":
        yield _read_only(pool)
    elif pool.is_full:
        yield _full(pool)
    if pool.needs_check:
        yield Reason(
            "needs_check",
            "critical",
            # A repair by thin-provisioning-tools 0.9 keeps the flag (seen), so lvmthin(7)'s commands alone do not do.
            f"the metadata of {name} must be checked before it can grow or be written again: stop what uses it, "
            f"'lvchange --activate n {name}', 'lvconvert --repair {name}', and activate it with "
            "--clear-needs-check-flag among LVM's thin_check_options (guide backup.md of this collection)",
        )
    if status is None:
        yield Reason("no_status", "unknown", f"the kernel did not say how {name} is: see 'dmsetup status'")


def _read_only(pool: Pool) -> Reason:
    """Return the reason of a pool whose metadata can no longer be written."""
    name, extension = pool.pool_name, pool.extension
    what = f"{name} can no longer write its metadata, so no container can write anything new"
    if pool.needs_check:
        return Reason("metadata_read_only", "critical", f"{what}, nor before the check that it needs")
    larger = f"lvextend --poolmetadatasize +{extension.metadata_growth * extension.extent_size}b {name}"
    if extension.metadata_growth and extension.metadata_possible:
        return Reason(
            "metadata_read_only", "critical", f"{what}. Give it more metadata: '{larger}'", pool.whose.shell(larger)
        )
    return Reason(
        "metadata_read_only",
        "critical",
        f"{what}, and volume group {name.vg} has no room to give it more metadata: add a device ('vgextend {name.vg} "
        "DEVICE') and run 'lvextend --poolmetadatasize +100m "
        f"{name}'. That is for the metadata; the data is not what is full",
    )


def _full(pool: Pool) -> Reason:
    """Return the reason of a pool whose data is full: what becomes of writes, since when, and what makes room."""
    name = pool.pool_name
    words, command = advice.room(pool)
    if pool.writes == "waiting":
        since = f" since {iso_seconds(pool.waiting_since)}" if pool.waiting_since else ""
        until = advice.until(pool)
        what = f"{name} is full, and what is written to it waits{since}{until}. Nothing is lost yet: {words}"
    elif pool.writes == "failing":
        since = f" since {iso_seconds(pool.failing_since)}" if pool.failing_since else ""
        what = (
            f"{name} is full, and what is written to it fails{since}. Filesystems on it lose what they cannot write, "
            "and may turn read-only (ext4) or shut down (xfs). Make room: "
            f"{words}. Then look at each container that wrote meanwhile, and restart what complains"
        )
    else:
        what = f"{name} is full, and what is written to it waits or fails: {words}"
    return Reason("out_of_data", "critical", what, command)


def _of_use(pool: Pool, limits: Limits) -> t.Iterator[Reason]:
    """How full it is."""
    for part, percent, warning, critical in (
        ("data", pool.data_percent, limits.data_warning, limits.data_critical),
        ("metadata", pool.metadata_percent, limits.metadata_warning, limits.metadata_critical),
    ):
        if percent is None:
            if pool.volume.active and pool.status and not pool.status.has_failed:
                yield Reason(
                    f"{part}_unknown", "unknown", f"how full the {part} of {pool.pool_name} is could not be found out"
                )
        elif percent >= warning:
            words, command = advice.less_use(pool, part)
            yield Reason(
                f"{part}_usage",
                "critical" if percent >= critical else "warning",
                f"the {part} of {pool.pool_name} is {percent:.2f} percent full{words}",
                command,
            )


def _of_extension(pool: Pool) -> t.Iterator[Reason]:
    """Whether it will be extended when it has to be."""
    name, volume, policy, extension = pool.pool_name, pool.volume, pool.policy, pool.extension
    if not policy.found:
        yield Reason(
            "profile_missing",
            "warning",
            f"the profile {pool.profile} of {name} has no file that LVM can read, so it is never extended: make it "
            f"again (module lvm_profile, name: {pool.profile})",
        )
    elif policy.threshold >= 100:
        without = f"its profile {pool.profile} says so" if pool.profile else "it has no profile"
        yield Reason("no_autoextend", "warning", f"{name} is never extended by itself: {without}")
    elif not (pool.obstacles or pool.has_sick_metadata):  # which say by themselves what comes first
        for part, needed, percent, possible, refusal in (
            ("data", extension.data_needed, pool.data_percent, extension.data_possible, extension.data_refusal),
            (
                "metadata",
                extension.metadata_needed,
                pool.metadata_percent,
                extension.metadata_possible,
                extension.metadata_refusal,
            ),
        ):
            if not possible:
                words, command = advice.make_room(pool, refusal)
                due = percent is not None and percent > policy.threshold
                yield Reason(
                    f"{part}_extension_impossible",
                    "critical" if due else "warning",
                    f"the {part} of {name} cannot be extended: that takes {needed} extents "
                    f"({human(needed * extension.extent_size)}), and "
                    + (f"LVM says '{refusal}', though " if refusal else "")
                    + f"volume group {volume.vg} has {extension.free} "
                    f"free ({human(extension.free * extension.extent_size)})"
                    + (f", and it is {percent:.2f} percent full" if due else "")
                    + f": {words}",
                    command,
                )


def _of_growth(pool: Pool) -> t.Iterator[Reason]:
    """How long it has got, where that is not long."""
    for forecast in pool.forecasts:
        if forecast.severity and not (pool.is_full or pool.has_sick_metadata):
            part, name = forecast.part, pool.pool_name
            yield Reason(
                f"{part}_fills_up",
                forecast.severity,
                f"the {part} of {name} is full {forecast.words}, with all that it can be extended by. See what writes"
                + (f", or {pool.whose.add_a_device(name)}" if part == "data" else " and what makes so many devices"),
                pool.whose.holders(name),
            )


def _of_watch(pool: Pool) -> t.Iterator[Reason]:
    """Whether anybody looks after it."""
    name, volume = pool.pool_name, pool.volume
    if not volume.live and not volume.suspended:
        return
    if pool.given_up:
        yield Reason(
            "device_given_up",
            "warning",
            f"{', '.join(pool.given_up)} was given up by volume group {volume.vg} ('vgreduce --removemissing') and is "
            f"back with its old label: 'vgck --updatemetadata {volume.vg}' clears that, after which it is blank",
            pool.whose.shell(f"vgck --updatemetadata {volume.vg}"),
        )
    if not volume.monitored:
        yield Reason(
            "not_monitored",
            "warning",
            f"dmeventd does not watch {name}, so it is never extended: "
            + (
                f"run 'lvchange --monitor y {name}'"
                if pool.policy.can_monitor
                else "lvm.conf has activation/monitoring=0, with which LVM monitors nothing. Set it to 1, then run "
                f"'lvchange --monitor y {name}'"
            ),
            pool.whose.repair() if pool.policy.can_monitor else "",
        )
    if pool.policy.missing_thin_check:
        yield Reason(
            "thin_check_missing", "warning", lvm_config.no_thin_check(str(name), pool.policy.missing_thin_check)
        )
    if pool.mark and not pool.armed:
        yield Reason(
            "not_armed",
            "warning",
            f"the kernel's low water mark of {name} is {volume.low_water_mark} chunks and not {pool.mark}, so dmeventd "
            f"learns only every ten seconds how full it is: run 'lvchange --refresh {name}'",
            pool.whose.repair(),
        )
