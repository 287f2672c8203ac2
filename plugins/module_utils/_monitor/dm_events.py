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

_PERCENT = r"(?P<percent>\d+(?:\.\d+)?)%"
_DM = r"(?P<dm>[^\s/]+?)"
_LV = r"(?P<vg>[^/\s\"]+)/(?P<lv>[^\s\"]+?)"  # as display_lvname() writes it

# Messages of dmeventd, its thin plugin and the LVM commands that it runs, or that others run.
# Source: lvm2's git, files and versions in the comments; "all" is 2.02.158 to 2.03.39.
_USERSPACE = (
    # daemons/dmeventd/plugins/thin/dmeventd_thin.c
    ("data_usage_high", rf"WARNING: Thin pool {_DM} (?P<part>data) is now {_PERCENT} full\."),  # all
    ("metadata_usage_high", rf"WARNING: Thin pool {_DM} (?P<part>metadata) is now {_PERCENT} full\."),  # all
    ("monitor_started", rf"Monitoring thin pool {_DM}\."),  # until 2.03.34
    ("monitor_stopped", rf"No longer monitoring thin pool {_DM}\."),  # until 2.03.34
    ("monitor_failed", rf"Failed to monitor thin pool {_DM}\."),  # all
    ("monitor_failed", r"Invalid command for monitoring: .*"),  # all: lvm.conf's dmeventd/thin_command
    ("monitor_failed", r"Failed to copy (?:(?:lvm|thin) )?command\."),  # since 2.03
    ("autoextend_failed", rf"Failed command for {_DM}\."),  # all
    ("hook_started", r"Executing command: .*"),  # all, with an own thin_command
    ("hook_finished", r"Child \d+ exited with status (?P<status>\d+)\."),  # all
    ("hook_failed", r"Child \d+ was terminated with status \d+\."),  # all
    ("hook_failed", r"Can't fork command .*"),  # all
    ("hook_slow", r"WARNING: Skipping event, child \d+ is still running .*"),  # all
    ("hook_slow", r"Child \d+ still not finished .*"),  # all
    ("hook_killed", r"WARNING: (?:Terminating|Killing) child \d+\."),  # all
    ("hook_killed", r"WARNING: Cannot kill child -?\d+!?.*"),  # all
    ("status_unreadable", r"Invalid target type\."),  # all
    ("status_unreadable", r"Failed to parse status\."),  # all
    # daemons/dmeventd/dmeventd.c
    ("pool_gone", rf"{_DM} disappeared, detaching\."),  # all
    ("monitor_failed", rf"Failed to register device {_DM}\."),  # all
    ("monitor_failed", r"Failed to fill (?:device )?data for \S+\."),  # all
    ("monitor_failed", r"dmeventd \S+ dlopen failed.*"),  # all
    ("daemon_started", r"dmeventd ready for processing\."),  # all
    ("daemon_stopping", r"dmeventd shutting down\."),  # all
    ("daemon_stopping", r"dmeventd received break, scheduling exit\."),  # all
    ("daemon_stopping", r"dmeventd was idle for \d+ second\(s\), exiting\."),  # all
    ("daemon_stopping", r"dmeventd detected break while being idle .*"),  # all
    ("daemon_stopping", r"dmeventd detected exit on file .*"),  # since 2.03.12
    ("daemon_stopping", r"dmeventd exiting for restart\."),  # since 2.03
    # lib/metadata/lv_manip.c, tools/lvresize.c
    (
        "extended",
        rf"Size of logical volume {_LV} changed from [^()]+ \((?P<before>\d+) extents\)"
        r" to [^()]+ \((?P<after>\d+) extents\)\.",
    ),  # all
    ("extend_noop", rf"Size of logical volume {_LV} unchanged from [^()]+ \(\d+ extents\)\."),  # all
    ("extend_noop", r"New size \(\d+ extents\) matches existing size \(\d+ extents\)\."),  # all
    ("extend_noop", r"No size change\."),  # since 2.03.17
    ("resized", rf"Logical volume {_LV} successfully resized\."),  # all
    ("resized", r"Logical volume \"?(?P<lv>[^\s/\"]+?)\"? successfully resized\.?"),  # 2.02 before display_lvname()
    (
        "vg_full",
        r"Insufficient free space: (?P<needed>\d+) extents needed, but only (?P<free>\d+) available",
    ),  # all
    (
        "vg_full",
        r"Insufficient suitable (?:contiguous )?allocatable extents for logical volume (?P<lv>[^\s/]*?):"
        r" (?P<needed>\d+) more required",
    ),  # all: free, but not where LVM may take it (pvchange -x n, contiguous)
    (
        "vg_full",
        r"Insufficient suitable (?:contiguous )?allocatable extents found for logical volume (?P<lv>[^\s/]*?)\.",
    ),  # all
    ("vg_full", rf"Insufficient suitable allocatable extents for logical volume {_LV}"),  # since 2.03.30
    ("policy_invalid", rf"Can't extend {_LV} with \S+ autoextend percent set to 0%\."),  # all
    (
        "policy_clamped",
        r"WARNING: Thin pool autoextend threshold \d+% is set below minimum supported 50%\.",
    ),  # since 2.02.169
    ("pool_inactive", rf"Can't read state of locally inactive LV {_LV}\."),  # all
    ("pool_inactive", r"lvextend using policy requires the volume to be active\."),  # since 2.03.17
    ("metadata_max", r"Reached maximum pool metadata size [^()]+ \(\d+ extents\)\."),  # since 2.03.12
    ("note", r"Thin pool will use metadata without cropping\."),  # since 2.03.12
    ("note", r"Rounding (?:up )?size .*"),  # all
    ("lvm_error", r"Policy-based resize is supported only for .*"),  # until 2.03.16
    ("lvm_error", r"lvextend policy is supported only for .*"),  # since 2.03.17
    # lib/metadata/thin_manip.c
    (
        "pool_unhealthy",
        rf"WARNING: Thin pool {_LV}(?: is failed)?(?: is out of data space)?(?: needs check)?(?: is erroring)?"
        r"(?: has read-only metadata)?\.",
    ),  # since 2.03.11
    (
        "metadata_usage_high",
        rf"WARNING: Remaining free space in (?P<part>metadata) of thin pool {_LV} is too low \({_PERCENT} >= .*",
    ),  # since 2.02.171
    ("foreign_transaction", rf"WARNING: Thin pool {_LV} has unexpected transaction id \d+, expecting \d+.*"),  # 2.03
    ("overprovisioned", r"WARNING: Sum of all thin volume sizes .*"),  # all
    (
        "overprovisioned",
        r"WARNING: You have not turned on protection against thin pools running out of space\.",
    ),  # all
    ("overprovisioned", r"WARNING: Set activation/thin_pool_autoextend_(?:threshold|percent) .*"),  # all
    # lib/activate/dev_manager.c, libdm-deptree.c, lib/activate/activate.c
    (
        "transaction_mismatch",
        rf"Thin pool {_DM}(?: \(\d+:\d+\))? transaction_id is \d+,? (?:while|and does not match) expected .*",
    ),  # all
    ("repair_needed", rf"Check of pool {_LV} failed \(status:-?\d+\)\. Manual repair required!"),  # all
    ("thin_check_missing", r"WARNING: Check is skipped, please (?:install|upgrade) .*"),  # all
    ("monitor_failed", rf"WARNING: Failed to (?:un)?monitor {_LV}\."),  # all
    # tools/vgchange.c: lvm2-monitor.service, and units that activate a group
    ("activated", r"\d+ logical volume\(s\) in volume group \"(?P<vg>[^\"]+)\" now active"),  # all
    ("monitor_started", r"[1-9]\d* logical volume\(s\) in volume group \"(?P<vg>[^\"]+)\" monitored"),  # all
    ("monitor_stopped", r"[1-9]\d* logical volume\(s\) in volume group \"(?P<vg>[^\"]+)\" unmonitored"),  # all
    ("note", r"0 logical volume\(s\) in volume group \"(?P<vg>[^\"]+)\" (?:un)?monitored"),  # all
    # lib/config/config.c, lib/commands/toolcontext.c
    ("config_invalid", r"Updated config file invalid\. Aborting\."),  # all
    ("config_invalid", r"Ignoring invalid (?:metadata|command) profile .*"),  # all
    ("config_invalid", r"Failed to (?:load|reload) config file.*"),  # all
    ("config_invalid", r"\S+\.profile: stat failed: .*"),  # all
    # lib/locking, tools/toollib.c
    ("lvm_error", r"Can't get lock for (?P<vg>\S+?)\.?"),  # all
    ("lvm_error", r"Cannot process volume group (?P<vg>\S+)"),  # all
    ("lvm_error", r"Volume group \"(?P<vg>[^\"]+)\" not found\.?"),  # all
    # lib/activate/activate.c, lib/device/dev-io.c: devices that LVM meets while it works, of whichever pool
    ("pool_unhealthy", r"WARNING: \S+: Thin's thin-pool needs inspection\."),  # all
    ("device_error", r"WARNING: Cannot get thin-pool major:minor for thin device \S+"),  # all
    ("device_error", r"WARNING: \S+ frozen raid device \(\d+:\d+\) needs inspection\."),  # all
    ("device_error", r"\S+: (?:open|fstat|stat|lseek|read|write) failed.*"),  # all
    ("device_error", r"Error (?:reading|writing) device .*"),  # all
    ("device_error", r"Invalid path \S+ for device .*"),  # since 2.03.16
    ("device_error", r"Device open (?:\S+ )?\d+:\d+ has no path names\."),  # all
    # lib/log/log.c, with lvm.conf's log/journal = ["command"]
    ("command", r"lvm command \S+"),  # since 2.03.12
    # daemons/dmeventd/plugins/{snapshot,mirror,raid,vdo}: the daemon watches more than thin pools.
    ("not_thin", r"(?:Monitoring|No longer monitoring|Failed to monitor) (?:snapshot|mirror|RAID|VDO) .*"),  # all
    ("not_thin", r"WARNING: (?:Snapshot|VDO|Device #\d+ of) .*"),  # all
    ("not_thin", r"(?:Repair of (?:mirrored|RAID) device|Dropping monitoring of fully provisioned snapshot) .*"),  # all
)

# Messages of the kernel, behind "device-mapper: thin: MAJOR:MINOR: ", where the numbers are the pool's.
# Source: drivers/md/dm-thin.c; the same from Linux 3.18 on where no version stands.
_KERNEL_POOL = (
    ("data_low_water", r"reached low water mark for (?P<part>data) device: sending event\."),
    ("metadata_low_water", r"reached low water mark for (?P<part>metadata) device: sending event\."),
    ("data_full_queueing", r"switching pool to out-of-data-space \(queue IO\) mode"),  # since 4.1
    ("data_full_erroring", r"switching pool to out-of-data-space \(error IO\) mode"),  # since 4.1
    ("data_full", r"switching pool to out-of-data-space mode"),  # 3.14 to 4.0
    ("recovered", r"switching pool to write mode"),
    # Also where the metadata is full: that mode bears the same name.
    ("metadata_read_only", r"switching pool to read-only mode"),
    ("pool_failed", r"switching pool to fail(?:ure)? mode"),
    ("needs_check", r"unable to switch pool to write mode until repaired\."),
    ("needs_check", r"unable to grow the (?P<part>data|metadata) device until repaired\."),
    ("metadata_abort", r"aborting current metadata transaction"),
    ("metadata_abort", r"failed to abort metadata transaction"),
    ("metadata_abort", r"failed to set 'needs_check' flag in metadata"),
    ("metadata_error", r"metadata operation '[^']*' failed: error = -?\d+"),
    ("grown", r"growing the (?P<part>data|metadata) device from \d+ to \d+ blocks"),
    ("config_error", r"pool target \(\d+ blocks\) too small: expected \d+"),
    ("config_error", r"metadata device \(\d+ blocks\) too small: expected \d+"),
    ("ops_refused", r"unable to service pool target messages in READ_ONLY or FAIL mode"),
    ("data_full", r"no free (?P<part>data) space available\."),  # until 3.13
    ("metadata_full", r"no free (?P<part>metadata) space available\."),  # until 3.13
)

# Behind "device-mapper: thin: ", and without a pool's numbers.
_KERNEL_THIN = (
    *_KERNEL_POOL,  # 3.2 to 3.13 wrote some of them without numbers
    ("metadata_full", r"(?:No|Could not get) free metadata blocks.*"),
    ("alloc_failed", r"\w+\(\) failed: error = -?\d+"),
    ("message_failed", r"Creation of new (?:thinly-provisioned device with id|snapshot) .*"),
    ("message_failed", r"Deletion of thin device \d+ failed\."),
    ("message_failed", r"Failed to change transaction id from \d+ to \d+\."),
    ("discard_off", r"(?:Data device|Discard unsupported by data device) .*"),
    ("note", r"Metadata device \S+ is larger than \d+ sectors: excess space will not be used\."),
    ("metadata_error", r"Error (?:creating|opening) metadata object"),
)

# Behind the other prefixes that thin pools write under; none names the pool.
# Source: drivers/md/dm-thin-metadata.c, drivers/md/persistent-data/*.c
_KERNEL_METADATA = (
    ("metadata_full", r"unable to allocate new metadata block"),
    ("metadata_full", r"unable to extend (?:metadata|space map).*"),
    ("message_failed", r"mismatched transaction id"),
    ("metadata_corrupt", r"couldn't (?:read|write|lock|unlock) superblock"),
    ("metadata_corrupt", r"\w+_check failed: .*"),
    ("metadata_corrupt", r"\w+ validator check failed for block \d+"),
    ("config_error", r"changing the data block size \(from \d+ to \d+\) is not supported"),
)
_Table = t.Tuple[t.Tuple[str, str], ...]
_Compiled = t.Tuple[t.Tuple[str, "re.Pattern[str]"], ...]


def _compiled(table: _Table) -> _Compiled:
    return tuple((kind, re.compile(pattern)) for kind, pattern in table)


_TABLES = {
    "userspace": _compiled(_USERSPACE),
    "pool": _compiled(_KERNEL_POOL),
    "thin": _compiled(_KERNEL_THIN),
    "metadata": _compiled(_KERNEL_METADATA),
    "table": _compiled((("config_error", r".*"),)),
    "journald": _compiled(
        (
            ("suppressed", r"Suppressed \d+ messages from (?:\S*/)?dm-event\.service"),
            ("suppressed", r"Missed \d+ kernel messages"),
        )
    ),
    "systemd": _compiled(
        (
            ("daemon_failed", r"dm-event\.service: Main process exited, code=(?:killed|dumped|exited), status=[1-9].*"),
            ("daemon_failed", r"(?:dm-event\.service: |Unit dm-event\.service ).*(?:[Ff]ailed).*"),
            ("daemon_failed", r"dm-event\.service: State '[^']*' timed out\. (?:Killing|Terminating)\."),
            ("daemon_failed", r"Failed to start .*"),
            ("daemon_started", r"Start(?:ed|ing) .*"),
            ("daemon_stopping", r"Stopp(?:ed|ing) .*"),
            ("daemon_stopping", r"dm-event\.service: (?:Deactivated successfully|Succeeded)\."),
            ("note", r"dm-event\.service: (?:Consumed|Scheduled restart job|Killing process) .*"),
            ("note", r"dm-event\.service: Main process exited, code=exited, status=0.*"),
        )
    ),
}

# "table" comes from a refused load, with the numbers of the device that was to be: a pool, or a thin device, whose
# numbers say nothing here.
_KERNEL_LINE = re.compile(
    r"device-mapper: (?:"
    r"(?P<thin>thin): (?:(?P<device>\d+:\d+): )?"
    r"|(?P<metadata>thin metadata|space map (?:metadata|disk|common)|block manager|btree|btree spine): "
    r"|(?P<table>table): (?:(?P<refused>\d+:\d+): thin-pool|\d+:\d+: thin): "
    r")(?P<text>.*)"
)
# printk_ratelimited() in those files: the lines are gone, and only the function's name says whose they were.
_KERNEL_SUPPRESSED = re.compile(
    r"(?:metadata_operation_failed|abort_transaction|alloc_data_block|commit|sm_metadata_new_block|__commit_transaction"
    r"|sb_check|node_check|dm_\w+|check_low_water_mark): \d+ callbacks suppressed"
)
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
    event = _match(line, line.source if line.source in _TABLES else "userspace", message)
    # The daemon's every line counts. What LVM's other commands and journald write is mostly not of pools at all.
    return event or (Event(line, "unknown") if line.source in ("dmeventd", "systemd") else None)


def _kernel_event(line: Line, message: str) -> Event | None:
    if _KERNEL_SUPPRESSED.fullmatch(message):
        return Event(line, "suppressed")
    match = _KERNEL_LINE.fullmatch(message)
    if not match:
        return None
    table = "table" if match["table"] else "metadata" if match["metadata"] else "pool" if match["device"] else "thin"
    event = _match(line, table, match["text"].strip()) or Event(line, "unknown")
    return replace(event, device=match["device"] or match["refused"])


def _match(line: Line, table: str, message: str) -> Event | None:
    for kind, pattern in _TABLES[table]:
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
