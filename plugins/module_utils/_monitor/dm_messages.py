# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What dmeventd, LVM and the kernel write of thin pools: the kind of event by the sentence. Data, and nothing else."""

from __future__ import annotations

import re
import typing as t

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
    ("monitor_started", rf"Monitoring thin {_DM}\."),  # 2.02
    ("monitor_stopped", rf"No longer monitoring thin {_DM}\."),  # 2.02
    ("monitor_stopped", rf"WARNING: Dropping monitoring of {_DM}\. .*"),  # 2.02
    ("monitor_failed", rf"Failed to monitor thin {_DM}\."),  # 2.02
    ("autoextend_failed", rf"Failed to extend thin pool {_DM}\."),  # 2.02
    ("pool_unhealthy", rf"Failed to umount thin {_DM} from .*"),  # 2.02, which did so when a pool was full
    ("pool_unhealthy", rf"Unmounting thin volume {_DM} from .*"),  # 2.02
    ("lvm_error", r"(?:Could not parse mountinfo file|Failed to (?:allocate bitset|detect mounted volumes)).*"),  # 2.02
    ("note", r"WARNING: (?:Can't set no_flush for dm status|Failed to .* SIGCHLD.*)\.?"),  # since 2.02.169
    ("autoextend_failed", rf"Failed command for {_DM}\."),  # all
    ("hook_started", r"(?:Executing command|dmeventd executes): .*"),  # all, with an own thin_command
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

# All behind "device-mapper: thin: ": with a pool's numbers, behind the function's name, or behind nothing.
_KERNEL_THIN = (
    *_KERNEL_POOL,  # 3.2 to 3.13 wrote some of them without numbers
    ("metadata_full", r"(?:No|Could not get) free metadata blocks.*"),
    ("alloc_failed", r"\w+\(\) failed: error = -?\d+"),
    ("message_failed", r"Creation of new (?:thinly-provisioned device with id|snapshot) .*"),
    ("message_failed", r"Deletion of thin device \S+ failed\."),
    ("message_failed", r"Failed to change transaction id from \S+ to \S+\."),
    ("message_failed", r"Message received with (?:\d+ arguments instead of \d+\.|invalid device id: .*)"),
    ("message_failed", r"set_transaction_id message: Unrecognised (?:new )?id .*"),
    ("message_failed", r"(?:reserve|release)_metadata_snap message failed\."),
    ("message_failed", r"Unrecognised thin pool target message received: .*"),
    ("discard_off", r"(?:Data device|Discard unsupported by data device) .*"),
    ("discard_off", r"Discard doesn't respect bio prison limits"),  # since 6.5
    ("note", r"Metadata device .+ is larger than \d+ sectors: excess space will not be used\."),
    ("metadata_error", r"dm_\w+ returned -?\d+"),
    ("metadata_error", r"dm_pool_metadata_close\(\) failed\."),
    ("device_error", r"failed to retrieve (?:data|metadata) device size"),
    ("data_full", r"bio unserviceable, yet pool (?:is in PM_WRITE mode|has an unknown mode)"),
)

# What the kernel refuses a table with: of the one that asks for it, and nothing that happens to a pool at work.
_KERNEL_TABLE = (("config_error", r".*"),)

# Behind the other prefixes that thin pools write under; none names the pool. A check that failed found the metadata
# damaged, and what is asked of it then fails as well.
# Source: drivers/md/dm-thin-metadata.c, drivers/md/persistent-data/*.c
_KERNEL_METADATA = (
    ("metadata_full", r"unable to allocate new metadata block"),
    ("metadata_full", r"unable to extend (?:metadata|space map).*"),
    ("metadata_full", r"space map too large"),
    ("message_failed", r"mismatched transaction id"),
    ("message_failed", r"Pool metadata snapshot already exists: .*"),
    ("message_failed", r"No pool metadata snapshot found: .*"),
    ("config_error", r"changing the data block size \(from \d+ to \d+\) is not supported"),
    ("config_error", r"could not access metadata (?:RDWR )?due to unsupported optional features \([0-9a-f]+\)\."),
    ("config_error", r"cannot reduce size of space map"),
    ("metadata_corrupt", r"couldn't (?:read|write|lock|unlock) superblock"),
    ("metadata_corrupt", r"(?:\w+|bitmap check) failed: .*"),
    ("metadata_corrupt", r"\w+ validator check failed for block \d+"),
    ("metadata_corrupt", r"validator mismatch \(old=.* vs new=.*\) for block \d+"),
    ("metadata_corrupt", r"(?:bad btree metadata, max_entries differ|bad shift|mismatched value size)"),
    ("metadata_corrupt", r"(?:node (?:max_entries mismatch|shift out of bounds)|too many entries in btree node .*)"),
    ("metadata_corrupt", r"(?:overflow btree is missing an entry|sm_metadata root too small)"),
    ("metadata_corrupt", r"(?:metadata block out of bounds|unable to decrement block)"),
    ("metadata_corrupt", r"couldn't get (?:reference count for block|array block) \d+"),
    ("metadata_corrupt", r"btree deletion stack empty"),
    # The kernel's own locks and counters.
    ("metadata_error", r"recursive (?:lock detected in metadata|acquisition of block \d+ requested\.)"),
    ("metadata_error", r"(?:previously held|subsequent acquisition attempted) here:"),
    ("metadata_error", r"(?:too many recursive allocations|bug in bop ring buffer|lost track of recursion depth)"),
    ("metadata_error", r"(?:cannot recurse set_count\(\)|bootstrap doesn't support \w+)"),
    ("metadata_error", r"block size too big to hold bitmaps"),
    ("metadata_error", r"(?:unable to re-get write lock for bitmap|couldn't push cursor node, .*)"),
    ("metadata_error", r"btree deletion stack out of memory"),
    # Whatever was asked of it, it did not do.
    ("metadata_error", r"(?:__commit_transaction|dm_\w+)\(\) failed[.,]?.*"),
    ("metadata_error", r"(?:btree delete|ref count insert|pre-commit callback|\w+) failed"),
    ("metadata_error", r"(?:could not|couldn't) (?:create|open|access|allocate|get) .*"),
    ("metadata_error", r"attempt to close pmd when \d+ device\(s\) are still open"),
)
_Table = t.Tuple[t.Tuple[str, str], ...]
_Compiled = t.Tuple[t.Tuple[str, "re.Pattern[str]"], ...]


def _compiled(table: _Table) -> _Compiled:
    return tuple((kind, re.compile(pattern)) for kind, pattern in table)


TABLES = {
    "userspace": _compiled(_USERSPACE),
    "thin": _compiled(_KERNEL_THIN),
    "metadata": _compiled(_KERNEL_METADATA),
    "table": _compiled(_KERNEL_TABLE),
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
