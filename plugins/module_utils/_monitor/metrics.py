# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Verdicts on pools as metrics, and metrics in Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import pool_health
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.verdicts import Verdict

METADATA_BLOCK = 4096  # thin-provisioning.rst, "Status"
WRITES = ("ok", "waiting", "failing")
MODES = ("rw", "ro", "out_of_data_space", "fail", "error")

# Every metric, its type and what it is; the alert rules and the dashboard use no others.
FAMILIES = {
    "thin_pool_info": ("gauge", "Settings of the pool that are no numbers, always 1."),
    "thin_pool_present": ("gauge", "Whether LVM knows the pool."),
    "thin_pool_active": ("gauge", "Whether the pool is active."),
    "thin_pool_health": ("gauge", "How the pool is, 1 for the one that holds: ok, warning, unknown or critical."),
    "thin_pool_problem": ("gauge", "Each thing that is wrong with the pool, always 1."),
    "thin_pool_mode": ("gauge", "The mode of the running kernel table, 1 for the one that holds."),
    "thin_pool_writes": ("gauge", "What becomes of a write that needs room, 1 for what holds: ok, waiting or failing."),
    "thin_pool_writes_since_timestamp_seconds": ("gauge", "Since when writes wait or fail, where they do."),
    "thin_pool_data_size_bytes": ("gauge", "Size of the pool's data."),
    "thin_pool_data_used_bytes": ("gauge", "How much of the pool's data is in use."),
    "thin_pool_data_used_ratio": ("gauge", "Which part of the pool's data is in use, 0 to 1."),
    "thin_pool_metadata_size_bytes": ("gauge", "Size of the pool's metadata."),
    "thin_pool_metadata_used_bytes": (
        "gauge",
        "How much of the pool's metadata is in use, the kernel's reserve included.",
    ),
    "thin_pool_metadata_used_ratio": ("gauge", "Which part of the pool's metadata is in use, 0 to 1."),
    "thin_pool_needs_check": ("gauge", "Whether the pool's metadata must be checked before it can be written again."),
    "thin_pool_monitored": ("gauge", "Whether dmeventd monitors the pool."),
    "thin_pool_armed": ("gauge", "Whether the kernel's low water mark is that of the profile's threshold."),
    "thin_pool_autoextend_threshold_ratio": ("gauge", "From which part in use on the pool is extended, 1 for never."),
    "thin_pool_autoextend_step_ratio": ("gauge", "Which part of its size an extension adds to the pool."),
    "thin_pool_extension_needed_bytes": ("gauge", "What the next extension takes of the volume group."),
    "thin_pool_extension_possible": ("gauge", "Whether the volume group has what the next extension takes."),
    "thin_pool_growth_bytes_per_second": ("gauge", "How fast a half grows, by the faster of the last hour and day."),
    "thin_pool_full_in_seconds": ("gauge", "When a half is full if it grows so, with all that it can be extended by."),
    "thin_pool_vg_size_bytes": ("gauge", "Size of a volume group that has a thin pool."),
    "thin_pool_vg_free_bytes": ("gauge", "How much of the volume group is free."),
    "thin_pool_vg_missing_devices": ("gauge", "How many of the volume group's devices are missing."),
    "thin_pool_container_exclusive_bytes": (
        "gauge",
        "What a container holds of the pool for itself, the largest ones.",
    ),
    "thin_pool_exclusive_bytes": ("gauge", "What all of a kind hold of the pool, each for itself."),
    "thin_pool_usage_timestamp_seconds": ("gauge", "When it was last found out who holds what of the pool."),
    "thin_pool_events_total": (
        "counter",
        "Events of dmeventd and the kernel by kind; without a pool where none is named.",
    ),
    "thin_pool_monitor_step_success": ("gauge", "Whether a step of the last run succeeded."),
    "thin_pool_monitor_journal_gaps_total": (
        "counter",
        "How often events may be missing, because the journal was rotated.",
    ),
    "thin_pool_monitor_last_run_timestamp_seconds": ("gauge", "When the last run was."),
    "thin_pool_monitor_last_success_timestamp_seconds": ("gauge", "When the last run was whose every step succeeded."),
    "thin_pool_monitor_duration_seconds": ("gauge", "How long the last run took."),
}

# Counters that are there from the start, because rate() and increase() do not see how a series begins.
FROM_THE_START = (
    "autoextend_failed",
    "data_full_erroring",
    "data_full_queueing",
    "extended",
    "metadata_abort",
    "metadata_error",
    "metadata_read_only",
    "monitor_failed",
    "needs_check",
    "pool_failed",
    "vg_full",
)
WITHOUT_A_POOL = ("daemon_failed", "metadata_corrupt", "metadata_full", "vg_full")

_LONGEST_NAME = 253  # characters of a container's; Kubernetes' are the longest (DNS subdomains)

Labels = t.Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """One number."""

    name: str
    labels: Labels
    value: float


def of_pools(verdicts: t.Iterable[Verdict]) -> t.Iterator[Sample]:
    groups = {}
    for verdict in verdicts:
        labels = {"vg": verdict.pool_name.vg, "pool": verdict.pool_name.name}
        yield Sample("thin_pool_present", labels, verdict.pool is not None)
        yield from of_health(labels, verdict.health)
        for reason in verdict.reasons:
            yield Sample(
                "thin_pool_problem", {**labels, "kind": reason.kind, "severity": reason.severity, **_engine(verdict)}, 1
            )
        if verdict.status:
            for mode in MODES:
                yield Sample("thin_pool_mode", {**labels, "mode": mode}, verdict.status.mode == mode)
        if verdict.pool:
            yield from _of_pool(verdict.pool, labels)
            groups[verdict.pool_name.vg] = verdict.pool.group
    for name, group in groups.items():
        yield Sample("thin_pool_vg_size_bytes", {"vg": name}, group.extents * group.extent_size)
        yield Sample("thin_pool_vg_free_bytes", {"vg": name}, group.extents_free * group.extent_size)
        yield Sample("thin_pool_vg_missing_devices", {"vg": name}, group.missing_devices)


def _engine(verdict: Verdict) -> dict[str, str]:
    """Return the label that says whose a pool is, where that is known: what helps depends on it."""
    engine = verdict.pool.whose.engine if verdict.pool else ""
    return {"engine": engine} if engine else {}


def of_health(labels: Labels, health: str) -> t.Iterator[Sample]:
    for word in pool_health.ORDER:
        yield Sample("thin_pool_health", {**labels, "health": word}, word == health)


def _of_pool(pool: pool_health.Pool, labels: Labels) -> t.Iterator[Sample]:
    volume, status, extension = pool.volume, pool.status, pool.extension
    described = {"profile": volume.profile, "when_full": volume.when_full, "dm_name": volume.dm_name}
    yield Sample("thin_pool_info", {**labels, **described}, 1)
    yield Sample("thin_pool_active", labels, volume.active)
    if pool.writes:
        for word in WRITES:
            yield Sample("thin_pool_writes", {**labels, "state": word}, pool.writes == word)
    since = pool.waiting_since or pool.failing_since
    if since:
        yield Sample("thin_pool_writes_since_timestamp_seconds", labels, round(since, 3))
    for part, size, total, used, unit in (
        ("data", volume.size, "data_total", "data_used", volume.chunk_size),
        ("metadata", volume.metadata_size, "metadata_total", "metadata_used", METADATA_BLOCK),
    ):
        yield Sample(f"thin_pool_{part}_size_bytes", labels, size)
        if getattr(status, total, 0):
            yield Sample(f"thin_pool_{part}_used_bytes", labels, getattr(status, used) * unit)
            yield Sample(f"thin_pool_{part}_used_ratio", labels, getattr(status, used) / getattr(status, total))
    yield Sample("thin_pool_needs_check", labels, pool.needs_check)
    if volume.active:
        yield Sample("thin_pool_monitored", labels, volume.monitored)
        yield Sample("thin_pool_armed", labels, pool.armed)
    yield Sample("thin_pool_autoextend_threshold_ratio", labels, pool.policy.threshold / 100)
    yield Sample("thin_pool_autoextend_step_ratio", labels, pool.policy.percent / 100)
    for forecast in pool.forecasts:
        yield Sample("thin_pool_growth_bytes_per_second", {**labels, "part": forecast.part}, round(forecast.rate, 3))
        yield Sample("thin_pool_full_in_seconds", {**labels, "part": forecast.part}, round(forecast.seconds))
    for part, needed, possible in (
        ("data", extension.data_needed, extension.data_possible),
        ("metadata", extension.metadata_needed, extension.metadata_possible),
    ):
        yield Sample("thin_pool_extension_needed_bytes", {**labels, "part": part}, needed * extension.extent_size)
        yield Sample("thin_pool_extension_possible", {**labels, "part": part}, possible)


def of_usage(told: t.Mapping[str, t.Any], limit: int) -> t.Iterator[tuple[str, Labels, float]]:
    """Return who holds what, from what pool_usage.read() tells; containers only the largest so many."""
    labels = {"vg": told["vg"], "pool": told["name"]}
    kinds: dict[str, int] = {"unowned": 0}
    containers: dict[str, int] = {}
    for device in told["devices"]:
        owner = device["owner"] or {"kind": "unowned"}
        kinds[owner["kind"]] = kinds.get(owner["kind"], 0) + device["exclusive"]
        if owner["kind"] == "container":
            # Names are one of a kind within Docker; in containerd they are not, and its namespaces are no label here.
            name = owner["name"][:_LONGEST_NAME]
            containers[name] = containers.get(name, 0) + device["exclusive"]
    for kind, size in sorted(kinds.items()):
        yield "thin_pool_exclusive_bytes", {**labels, "kind": kind}, size
    for name, size in sorted(containers.items(), key=lambda item: -item[1])[:limit]:
        yield "thin_pool_container_exclusive_bytes", {**labels, "container": name}, size


# --- The text format --------------------------------------------------------------------------------------------------


def render(samples: t.Iterable[Sample]) -> str:
    """Return the samples as text, those of a family together as the format wants it."""
    rows: dict[str, dict[str, str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sample.labels.items())
        series = f"{sample.name}{f'{{{labels}}}' if labels else ''}"
        # node_exporter drops a file in which a series stands twice, as two groups of one name would make it.
        rows.setdefault(sample.name, {}).setdefault(series, f"{series} {_number(sample.value)}")
    lines = []
    for name, (kind, words) in FAMILIES.items():
        if name in rows:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *rows[name].values()]
    return "".join(f"{line}\n" for line in lines)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    # Whole numbers without a point, and none in powers of ten: sizes are read by people too.
    return str(int(value)) if value == int(value) else repr(float(value))
