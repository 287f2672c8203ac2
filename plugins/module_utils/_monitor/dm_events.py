# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What log lines say of thin pools: lines of dmeventd, LVM and the kernel in, typed events out. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_messages import TABLES

SEVERITIES = ("info", "notice", "warning", "error", "critical", "emergency")

# The severity of each kind, ours. The priority of a line says nothing: "out-of-data-space" and "read-only" come from
# the kernel as information (6), and a successful extension from dmeventd as a warning (4).
KINDS = {
    "activated": "info",
    "alloc_failed": "error",
    "autoextend_failed": "error",
    "command": "info",
    "config_error": "critical",
    "config_invalid": "error",
    "daemon_failed": "critical",
    "daemon_started": "info",
    "daemon_stopping": "notice",
    "data_full": "critical",
    "data_full_erroring": "emergency",
    "data_full_queueing": "critical",
    "data_low_water": "warning",
    "data_usage_high": "warning",
    "device_error": "error",
    "discard_off": "info",
    "extend_noop": "info",
    "extended": "notice",
    "foreign_transaction": "info",
    "grown": "info",
    "hook_failed": "error",
    "hook_finished": "info",
    "hook_killed": "warning",
    "hook_output": "info",
    "hook_slow": "warning",
    "hook_started": "info",
    "lvm_error": "error",
    "message_failed": "warning",
    "metadata_abort": "emergency",
    "metadata_corrupt": "emergency",
    "metadata_error": "critical",
    "metadata_full": "emergency",
    "metadata_low_water": "warning",
    "metadata_max": "warning",
    "metadata_read_only": "emergency",
    "metadata_usage_high": "warning",
    "monitor_failed": "error",
    "monitor_started": "info",
    "monitor_stopped": "notice",
    "needs_check": "emergency",
    "not_thin": "info",
    "note": "info",
    "ops_refused": "critical",
    "overprovisioned": "warning",
    "policy_clamped": "warning",
    "policy_invalid": "error",
    "pool_failed": "emergency",
    "pool_gone": "error",
    "pool_inactive": "error",
    "pool_unhealthy": "critical",
    "recovered": "info",
    "repair_needed": "critical",
    "resized": "info",
    "status_unreadable": "error",
    "suppressed": "warning",
    "thin_check_missing": "warning",
    "transaction_mismatch": "critical",
    "unknown": "notice",
    "vg_full": "critical",
}

_MOST_DIGITS = 18  # more than any number has that LVM counts by

# From this use on a warning of use is critical: what is left may be gone before a person has read it.
_CRITICAL_PERCENT = 95.0

# "table" comes from a refused load, with the numbers of the device that was to be: a pool, or a thin device, whose
# numbers say nothing here.
_KERNEL_LINE = re.compile(
    r"device-mapper: (?:"
    r"(?P<thin>thin): (?:(?P<device>\d+:\d+): )?"
    r"|(?P<metadata>thin metadata|space map (?:metadata|disk|common)|block manager|btree|btree spine|array|bitset"
    r"|transaction manager): "
    r"|(?P<table>table): (?:(?P<refused>\d+:\d+): thin-pool|\d+:\d+: thin): "
    r")(?P<text>.*)"
)
# printk_ratelimited() in those files: the lines are gone, and only the function's name says whose they were.
_KERNEL_SUPPRESSED = re.compile(
    r"(?:metadata_operation_failed|abort_transaction|alloc_data_block|commit|sm_metadata_new_block|__commit_transaction"
    r"|sb_check|node_check|dm_\w+|check_low_water_mark): \d+ callbacks suppressed"
)
# Some are written behind the name of the function that they are of.
_FUNCTION = re.compile(r"^[a-z_]\w*: ")
# What rsyslog makes of lines that come again and again.
_REPEATED = re.compile(r"message repeated \d+ times: \[ ?(?P<text>.*)\]")


@dataclass(frozen=True)
class Line:
    """A line of a journal or a log file."""

    time: float  # seconds since 1970
    message: str
    source: str  # dmeventd, hook (a thin_command that it runs), kernel, lvm, systemd, journald, container
    pid: int = 0
    boot: str = ""  # boot ID, empty where a log file does not tell
    current: bool = True  # of the boot that the host is in now
    cursor: str = ""


@dataclass(frozen=True)
class Event:
    """What a line says of thin pools; None where it says nothing of the sort."""

    line: Line
    kind: str
    dm_name: str | None = None
    vg: str | None = None
    pool: str | None = None
    device: str | None = None  # major:minor, from the kernel
    part: str | None = None  # data or metadata
    percent: float | None = None
    extents_needed: int | None = None
    extents_free: int | None = None
    extents_before: int | None = None
    extents_after: int | None = None
    status: int | None = None  # exit status of a thin_command

    @property
    def severity(self) -> str:
        if self.kind in ("data_usage_high", "metadata_usage_high") and (self.percent or 0) >= _CRITICAL_PERCENT:
            return "critical"
        if self.kind == "hook_finished" and self.status:
            return "warning"
        return KINDS[self.kind]

    def concerns(self, pools: t.Container[PoolName], groups: t.Container[str]) -> bool:
        """Whether it is of one of the pools, or of a group of theirs, or names nothing and so may be of any."""
        if self.vg and self.pool:
            return PoolName(self.vg, self.pool) in pools
        return self.vg in groups if self.vg else not self.dm_name

    def with_dm_name(self, name: str) -> Event:
        """Return the event of a device-mapper name, which need not be one of LVM's.

        A line is what anybody may have written, so that what cannot be a name is none.
        """
        if not device_names.is_device_name(name):
            return self
        found = PoolName.of_device(name)
        vg, pool = found if found and found.is_valid else (None, None)
        return replace(self, dm_name=name, vg=vg, pool=pool)


def events(lines: t.Iterable[Line], names: t.Mapping[str, str] | None = None) -> list[Event]:
    """Return the events in lines, in their order; ``names`` has the device-mapper name by major:minor, as it is now."""
    found = [event for event in map(event_of, lines) if event]
    return _with_pools([_with_name(event, names or {}) for event in found])


def event_of(line: Line) -> Event | None:
    """Return the event in a line, of the kind ``unknown`` where no row has it, None where it is not of thin pools."""
    if line.source == "container":
        return None
    message = line.message.strip()
    repeated = _REPEATED.fullmatch(message)
    if repeated:
        message = repeated["text"].strip()
    if line.source == "kernel":
        return _kernel_event(line, message)
    if line.source == "hook":
        return Event(line, "hook_output")
    event = _match(line, line.source if line.source in TABLES else "userspace", message)
    # The daemon's every line counts. What LVM's other commands and journald write is mostly not of pools at all.
    return event or (Event(line, "unknown") if line.source in ("dmeventd", "systemd") else None)


def _kernel_event(line: Line, message: str) -> Event | None:
    if _KERNEL_SUPPRESSED.fullmatch(message):
        return Event(line, "suppressed")
    match = _KERNEL_LINE.fullmatch(message)
    if not match:
        return None
    table = "table" if match["table"] else "metadata" if match["metadata"] else "thin"
    text = match["text"].strip()
    event = _match(line, table, text) or _match(line, table, _FUNCTION.sub("", text)) or Event(line, "unknown")
    return replace(event, device=match["device"] or match["refused"])


def _match(line: Line, table: str, message: str) -> Event | None:
    for kind, pattern in TABLES[table]:
        match = pattern.fullmatch(message)
        if match:
            return _event(line, kind, match.groupdict())
    return None


def _event(line: Line, kind: str, words: dict[str, str | None]) -> Event:
    def number(name: str) -> int | None:
        text = words.get(name)
        return int(text[:_MOST_DIGITS]) if text else None

    percent = words.get("percent")
    event = Event(
        line,
        kind,
        vg=_name(words.get("vg")),
        part=words.get("part"),
        percent=float(percent[:_MOST_DIGITS]) if percent else None,
        extents_needed=number("needed"),
        extents_free=number("free"),
        extents_before=number("before"),
        extents_after=number("after"),
        status=number("status"),
    )
    dm_name, volume = words.get("dm"), words.get("lv")
    if words.get("vg") and not event.vg:
        return event
    if dm_name:
        return event.with_dm_name(dm_name)
    if volume:
        return _with_volume(event, volume)
    return event


def _name(text: str | None) -> str | None:
    return text if text and device_names.is_name(text) else None


def _with_volume(event: Event, volume: str) -> Event:
    """Return the event of the pool that a volume of it belongs to: LVM names the half that it resizes."""
    for suffix, part in (("_tdata", "data"), ("_tmeta", "metadata")):
        if volume.endswith(suffix):
            event, volume = replace(event, part=part), volume[: -len(suffix)]
    if not device_names.is_name(volume):
        return replace(event, vg=None)
    if volume.endswith("_pmspare"):  # the group's, whichever pool it grows with
        return replace(event, part="metadata")
    return replace(event, pool=volume, dm_name=device_names.join(event.vg, volume) if event.vg else None)


def _with_name(event: Event, names: t.Mapping[str, str]) -> Event:
    # The numbers are given anew at each boot, so those of an earlier one may be another pool's by now.
    name = names.get(event.device or "") if event.line.current else None
    return event.with_dm_name(name) if name else event


# dmeventd runs LVM's command and tells what came of it within so many seconds.
PAUSE = 2.0


def awaits_pool(event: Event) -> bool:
    """Whether a later line may tell whose the event is."""
    return event.vg is None and event.kind in ("vg_full", "pool_inactive", "extend_noop", "lvm_error")


def _with_pools(found: list[Event]) -> list[Event]:
    """Return the events, where those that name no pool have it from the line that the daemon ends the matter with.

    LVM says why an extension failed ("Insufficient free space: ..."), and dmeventd at once whose it was ("Failed
    command for docker-thinpool."): the next such line of the same process is the one.
    """
    told = []
    for index, event in enumerate(found):
        if awaits_pool(event):
            for later in found[index + 1 :]:
                if later.line.time - event.line.time > PAUSE:
                    break
                if later.kind == "autoextend_failed" and later.line.pid == event.line.pid and later.dm_name:
                    event = event.with_dm_name(later.dm_name)
                    break
        told.append(event)
    return told
