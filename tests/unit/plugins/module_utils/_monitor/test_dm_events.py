# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, dm_messages
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import (
    Event,
    Line,
    event_of,
    events,
)
from ansible_collections.devicemapper.containers.plugins.modules import dm_event_info

POOL = {"dm_name": "docker-thinpool", "vg": "docker", "pool": "thinpool"}
TPOOL = {"dm_name": "my--vg-thin--pool-tpool", "vg": "my-vg", "pool": "thin-pool"}


def says(message, source="dmeventd", **line):
    return event_of(Line(0.0, message, source, **line))


def fields(event):
    """Return what an event has, by name."""
    without = ("line", "kind")
    return {name: value for name, value in vars(event).items() if value is not None and name not in without}


# Written down from the sources that dm_events.py names, not captured; the captured ones are in test__journal.py.
# These are the same in 2.02.187, 2.03.16 and 2.03.31, unless they say otherwise.
@pytest.mark.parametrize(
    ("message", "kind", "severity", "expected"),
    [
        ("WARNING: Thin pool docker-thinpool data is now 80.01% full.", "data_usage_high", "warning",
         {**POOL, "part": "data", "percent": 80.01}),
        ("WARNING: Thin pool docker-thinpool data is now 95.00% full.", "data_usage_high", "critical",
         {**POOL, "part": "data", "percent": 95.0}),
        ("WARNING: Thin pool my--vg-thin--pool-tpool metadata is now 100.00% full.", "metadata_usage_high", "critical",
         {**TPOOL, "part": "metadata", "percent": 100.0}),
        ("Monitoring thin pool docker-thinpool.", "monitor_started", "info", POOL),
        ("No longer monitoring thin pool docker-thinpool.", "monitor_stopped", "notice", POOL),
        ("Failed to monitor thin pool docker-thinpool.", "monitor_failed", "error", POOL),
        ("Invalid command for monitoring: hook.", "monitor_failed", "error", {}),
        ("Failed to copy lvm command.", "monitor_failed", "error", {}),
        ("Failed command for docker-thinpool.", "autoextend_failed", "error", POOL),
        ("Executing command: /usr/local/bin/hook docker/thinpool", "hook_started", "info", {}),
        ("Child 12 exited with status 0.", "hook_finished", "info", {"status": 0}),
        ("Child 12 exited with status 3.", "hook_finished", "warning", {"status": 3}),
        ("Child 12 was terminated with status 9.", "hook_failed", "error", {}),
        ("Can't fork command /usr/local/bin/hook docker/thinpool.", "hook_failed", "error", {}),
        ("WARNING: Skipping event, child 12 is still running (/usr/local/bin/hook docker/thinpool).", "hook_slow",
         "warning", {}),
        ("Child 12 still not finished (/usr/local/bin/hook docker/thinpool) waiting.", "hook_slow", "warning", {}),
        ("WARNING: Terminating child 12.", "hook_killed", "warning", {}),
        ("WARNING: Killing child 12.", "hook_killed", "warning", {}),
        ("WARNING: Cannot kill child 12!", "hook_killed", "warning", {}),
        ("docker-thinpool disappeared, detaching.", "pool_gone", "error", POOL),
        ("Invalid target type.", "status_unreadable", "error", {}),
        ("Failed to parse status.", "status_unreadable", "error", {}),
        ("Failed to register device docker-thinpool.", "monitor_failed", "error", POOL),
        ("Failed to fill device data for LVM-abc-tpool.", "monitor_failed", "error", {}),
        ("dmeventd libdevmapper-event-lvm2thin.so dlopen failed: no such file.", "monitor_failed", "error", {}),
        ("dmeventd ready for processing.", "daemon_started", "info", {}),
        ("dmeventd shutting down.", "daemon_stopping", "notice", {}),
        ("dmeventd received break, scheduling exit.", "daemon_stopping", "notice", {}),
        ("dmeventd was idle for 3600 second(s), exiting.", "daemon_stopping", "notice", {}),
        ("dmeventd detected break while being idle for 12 second(s), exiting.", "daemon_stopping", "notice", {}),
        ("dmeventd exiting for restart.", "daemon_stopping", "notice", {}),
        ("Size of logical volume docker/thinpool_tdata changed from <9.50 GiB (2431 extents) to <11.40 GiB (2918 "
         "extents).", "extended", "notice", {**POOL, "part": "data", "extents_before": 2431, "extents_after": 2918}),
        ("Size of logical volume my-vg/thin-pool_tmeta changed from 4.00 MiB (1 extents) to 8.00 MiB (2 extents).",
         "extended", "notice", {**TPOOL, "dm_name": "my--vg-thin--pool", "part": "metadata", "extents_before": 1,
                                "extents_after": 2}),
        ("Size of logical volume docker/lvol0_pmspare changed from 4.00 MiB (1 extents) to 8.00 MiB (2 extents).",
         "extended", "notice", {"vg": "docker", "part": "metadata", "extents_before": 1, "extents_after": 2}),
        ("Size of logical volume docker/thinpool unchanged from 4.00 MiB (1 extents).", "extend_noop", "info", POOL),
        ("New size (25 extents) matches existing size (25 extents).", "extend_noop", "info", {}),
        ("No size change.", "extend_noop", "info", {}),
        ("Logical volume docker/thinpool successfully resized.", "resized", "info", POOL),
        ("Logical volume docker/thinpool_tdata successfully resized.", "resized", "info", {**POOL, "part": "data"}),
        ('Logical volume "thinpool" successfully resized', "resized", "info", {"pool": "thinpool"}),  # old 2.02
        ("Insufficient free space: 487 extents needed, but only 78 available", "vg_full", "critical",
         {"extents_needed": 487, "extents_free": 78}),
        ("Insufficient suitable allocatable extents for logical volume thinpool_tdata: 487 more required", "vg_full",
         "critical", {"pool": "thinpool", "part": "data", "extents_needed": 487}),
        ("Insufficient suitable contiguous allocatable extents for logical volume : 4 more required", "vg_full",
         "critical", {"extents_needed": 4}),
        ("Insufficient suitable allocatable extents found for logical volume thinpool_tdata.", "vg_full", "critical",
         {"pool": "thinpool", "part": "data"}),
        ("Insufficient suitable allocatable extents for logical volume docker/thinpool_tdata", "vg_full", "critical",
         {**POOL, "part": "data"}),  # 2.03.31
        ("Can't extend docker/thinpool with thin-pool autoextend percent set to 0%.", "policy_invalid", "error", POOL),
        ("WARNING: Thin pool autoextend threshold 30% is set below minimum supported 50%.", "policy_clamped",
         "warning", {}),
        ("Can't read state of locally inactive LV docker/thinpool.", "pool_inactive", "error", POOL),
        ("lvextend using policy requires the volume to be active.", "pool_inactive", "error", {}),  # 2.03.31
        ("Reached maximum pool metadata size 15.88 GiB (4066 extents).", "metadata_max", "warning", {}),
        ("Thin pool will use metadata without cropping.", "note", "info", {}),
        ("Policy-based resize is supported only for snapshot, thin pool and vdo pool volumes.", "lvm_error", "error",
         {}),
        ("lvextend policy is supported only for snapshot, thin pool and vdo pool volumes.", "lvm_error", "error", {}),
        ("WARNING: Thin pool docker/thinpool is out of data space needs check has read-only metadata.",
         "pool_unhealthy", "critical", POOL),
        ("WARNING: Thin pool docker/thinpool is failed.", "pool_unhealthy", "critical", POOL),
        ("WARNING: Remaining free space in metadata of thin pool docker/thinpool is too low (98.83% >= 75.00%). Resize "
         "is recommended.", "metadata_usage_high", "critical", {**POOL, "part": "metadata", "percent": 98.83}),
        ("WARNING: Thin pool docker/thinpool has unexpected transaction id 8, expecting 0.", "foreign_transaction",
         "info", POOL),
        ("WARNING: Sum of all thin volume sizes (1.00 TiB) exceeds the size of thin pool docker/thinpool (10 GiB).",
         "overprovisioned", "warning", {}),
        ("WARNING: You have not turned on protection against thin pools running out of space.", "overprovisioned",
         "warning", {}),
        ("WARNING: Set activation/thin_pool_autoextend_threshold below 100 to trigger automatic extension of thin pools"
         " before they get full.", "overprovisioned", "warning", {}),
        ("Thin pool docker-thinpool transaction_id is 8, while expected 9.", "transaction_mismatch", "critical", POOL),
        ("Thin pool my--vg-thin--pool-tpool (253:2) transaction_id is 8, while expected 9.", "transaction_mismatch",
         "critical", TPOOL),
        ("Check of pool docker/thinpool failed (status:1). Manual repair required!", "repair_needed", "critical",
         POOL),
        ("WARNING: Check is skipped, please install recommended missing binary /usr/sbin/thin_check!",
         "thin_check_missing", "warning", {}),
        ("WARNING: Failed to monitor docker/thinpool.", "monitor_failed", "error", POOL),
        ("WARNING: Failed to unmonitor docker/thinpool.", "monitor_failed", "error", POOL),
        ("Updated config file invalid. Aborting.", "config_invalid", "error", {}),
        ("Ignoring invalid metadata profile docker-thinpool.", "config_invalid", "error", {}),
        ("Failed to load config file /etc/lvm/lvm.conf", "config_invalid", "error", {}),
        ("/etc/lvm/profile/docker.profile: stat failed: No such file or directory", "config_invalid", "error", {}),
        ("Can't get lock for docker", "lvm_error", "error", {"vg": "docker"}),
        ("Cannot process volume group docker", "lvm_error", "error", {"vg": "docker"}),
        ('Volume group "docker" not found', "lvm_error", "error", {"vg": "docker"}),
        ('1 logical volume(s) in volume group "docker" now active', "activated", "info", {"vg": "docker"}),
        ('1 logical volume(s) in volume group "docker" monitored', "monitor_started", "info", {"vg": "docker"}),
        ('1 logical volume(s) in volume group "docker" unmonitored', "monitor_stopped", "notice", {"vg": "docker"}),
        ('0 logical volume(s) in volume group "docker" monitored', "note", "info", {"vg": "docker"}),
        ("WARNING: /dev/mapper/x: Thin's thin-pool needs inspection.", "pool_unhealthy", "critical", {}),
        ("WARNING: Cannot get thin-pool major:minor for thin device 253:4.", "device_error", "error", {}),
        ("WARNING: /dev/dm-3 frozen raid device (253:3) needs inspection.", "device_error", "error", {}),
        ("/dev/sdb: open failed: No medium found", "device_error", "error", {}),
        ("Error reading device /dev/sdb at 0 length 512.", "device_error", "error", {}),
        ("lvm command lvextend", "command", "info", {}),
        ("Monitoring snapshot vg-snap.", "not_thin", "info", {}),
        ("No longer monitoring RAID device vg-raid for events.", "not_thin", "info", {}),
        ("WARNING: Snapshot vg-snap is now 85.00% full.", "not_thin", "info", {}),
    ],
)  # fmt: skip
def test_a_message_of_dmeventd_or_lvm_is_typed(message, kind, severity, expected):
    # LVM indents what it prints by two spaces.
    for text in (message, f"  {message}"):
        event = says(text)
        assert (event.kind, event.severity, fields(event)) == (kind, severity, expected)


@pytest.mark.parametrize(
    ("text", "kind", "severity"),
    [
        ("reached low water mark for data device: sending event.", "data_low_water", "warning"),
        ("reached low water mark for metadata device: sending event.", "metadata_low_water", "warning"),
        ("switching pool to out-of-data-space (queue IO) mode", "data_full_queueing", "critical"),
        ("switching pool to out-of-data-space (error IO) mode", "data_full_erroring", "emergency"),
        ("switching pool to out-of-data-space mode", "data_full", "critical"),
        ("switching pool to write mode", "recovered", "info"),
        ("switching pool to read-only mode", "metadata_read_only", "emergency"),
        ("switching pool to fail mode", "pool_failed", "emergency"),
        ("unable to switch pool to write mode until repaired.", "needs_check", "emergency"),
        ("aborting current metadata transaction", "metadata_abort", "emergency"),
        ("failed to abort metadata transaction", "metadata_abort", "emergency"),
        ("failed to set 'needs_check' flag in metadata", "metadata_abort", "emergency"),
        ("metadata operation 'dm_pool_commit_metadata' failed: error = -5", "metadata_error", "critical"),
        ("growing the data device from 128 to 160 blocks", "grown", "info"),
        ("growing the metadata device from 512 to 1024 blocks", "grown", "info"),
        ("unable to grow the data device until repaired.", "needs_check", "emergency"),
        ("pool target (128 blocks) too small: expected 160", "config_error", "critical"),
        ("metadata device (512 blocks) too small: expected 1024", "config_error", "critical"),
        ("unable to service pool target messages in READ_ONLY or FAIL mode", "ops_refused", "critical"),
        ("no free data space available.", "data_full", "critical"),
        ("no free metadata space available.", "metadata_full", "emergency"),
        ("something that Linux 7 says", "unknown", "notice"),
    ],
)
def test_a_message_of_the_kernel_is_typed(text, kind, severity):
    event = says(f"device-mapper: thin: 253:12: {text}", "kernel")
    assert (event.kind, event.severity, event.device) == (kind, severity, "253:12")
    part = next((part for part in ("metadata", "data") if f"{part} device" in text or f"free {part}" in text), None)
    assert event.part == (part if kind != "config_error" else None)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("device-mapper: thin: No free metadata blocks", "metadata_full"),
        ("device-mapper: thin: Could not get free metadata blocks", "metadata_full"),
        ("device-mapper: thin: alloc_data_block() failed: error = -28", "alloc_failed"),
        ("device-mapper: thin: Creation of new thinly-provisioned device with id 1 failed.", "message_failed"),
        ("device-mapper: thin: Creation of new snapshot 7 of device 1 failed.", "message_failed"),
        ("device-mapper: thin: Deletion of thin device 9 failed.", "message_failed"),
        ("device-mapper: thin: Failed to change transaction id from 5 to 6.", "message_failed"),
        ("device-mapper: thin: Data device (vda) discard unsupported: Disabling discard passdown.", "discard_off"),
        ("device-mapper: thin: Metadata device dm-0 is larger than 33292800 sectors: excess space will not be used.",
         "note"),
        ("device-mapper: space map metadata: unable to allocate new metadata block", "metadata_full"),
        ("device-mapper: thin metadata: couldn't read superblock", "metadata_corrupt"),
        ("device-mapper: thin metadata: sb_check failed: blocknr 0: wanted 7", "metadata_corrupt"),
        ("device-mapper: block manager: btree_node validator check failed for block 5", "metadata_corrupt"),
        ("device-mapper: thin metadata: changing the data block size (from 128 to 256) is not supported",
         "config_error"),
        ("device-mapper: thin metadata: something new", "unknown"),
        ("device-mapper: thin metadata: mismatched transaction id", "message_failed"),
        ("device-mapper: table: 253:4: thin: Couldn't open thin internal device (-ENODATA)", "config_error"),
        ("device-mapper: table: 253:4: thin-pool: Error creating metadata object", "config_error"),
        ("metadata_operation_failed: 4 callbacks suppressed", "suppressed"),
    ],
)  # fmt: skip
def test_a_message_of_the_kernel_without_a_pool_is_typed(message, kind):
    assert says(message, "kernel").kind == kind


@pytest.mark.parametrize(
    "message",
    [
        "device-mapper: uevent: version 1.0.3",
        "device-mapper: raid: Device 0 specified for rebuild",
        "device-mapper: table: 253:4: linear: Device lookup failed",
        "usb 1-1: new high-speed device-mapper: thin: 1:1: look-alike",
        "EXT4-fs (dm-3): mounted filesystem",
        "foo: 4 callbacks suppressed",
    ],
)
def test_what_else_the_kernel_says_is_no_event(message):
    assert says(message, "kernel") is None


@pytest.mark.parametrize(
    ("message", "source", "kind"),
    [
        ("What no table has", "dmeventd", "unknown"),
        ("What no table has", "lvm", None),
        ("What a script prints", "hook", "hook_output"),
        ("Suppressed 132 messages from dm-event.service", "journald", "suppressed"),
        ("Suppressed 132 messages from /system.slice/dm-event.service", "journald", "suppressed"),
        ("Suppressed 132 messages from nginx.service", "journald", None),
        ("Missed 12 kernel messages", "journald", "suppressed"),
        ("dm-event.service: Main process exited, code=killed, status=9/KILL", "systemd", "daemon_failed"),
        ("dm-event.service: Failed with result 'signal'.", "systemd", "daemon_failed"),
        ("dm-event.service: Deactivated successfully.", "systemd", "daemon_stopping"),
        ("dm-event.service: State 'stop-sigterm' timed out. Killing.", "systemd", "daemon_failed"),
        ("dm-event.service: Killing process 915 (dmeventd) with signal SIGKILL.", "systemd", "note"),
        ("dm-event.service: Main process exited, code=exited, status=0/SUCCESS", "systemd", "note"),
        ("dm-event.service: Main process exited, code=exited, status=1/FAILURE", "systemd", "daemon_failed"),
        ("Started dm-event.service - Device-mapper event daemon.", "systemd", "daemon_started"),
        ("Stopped Device-mapper event daemon.", "systemd", "daemon_stopping"),
        ("dm-event.service: What no table has", "systemd", "unknown"),
        ("message repeated 3 times: [ Failed command for docker-thinpool.]", "dmeventd", "autoextend_failed"),
    ],
)
def test_the_writer_counts(message, source, kind):
    event = says(message, source)
    assert (event.kind if event else None) == kind


def test_a_line_says_the_same_under_each_priority_and_identifier():
    # A line has neither: they cannot count.
    assert {"priority", "identifier"}.isdisjoint(vars(Line(0.0, "", "dmeventd")))


NEEDED = "Insufficient free space: 487 extents needed, but only 78 available"
FAILED = "Failed command for docker-thinpool."


def line(at, message, pid=577):
    return Line(at, message, "dmeventd", pid)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([line(0, NEEDED), line(0.1, FAILED)], [("docker", "thinpool")], id="next-line"),
        pytest.param([line(0, NEEDED), line(3, FAILED)], [(None, None)], id="too-late"),
        pytest.param([line(0, NEEDED), line(0.1, FAILED, 12)], [(None, None)], id="other-process"),
        pytest.param([line(0, FAILED), line(0.1, NEEDED)], [(None, None)], id="the-one-before-is-of-another-matter"),
        pytest.param(
            [line(0, NEEDED), line(0.1, FAILED), line(0.2, NEEDED), line(0.3, "Failed command for a--b-c-tpool.")],
            [("docker", "thinpool"), ("a-b", "c")],
            id="two-pools",
        ),
        pytest.param([line(0, NEEDED)], [(None, None)], id="alone"),
    ],
)
def test_a_reason_has_its_pool_from_the_failure_that_follows(lines, expected):
    assert [(event.vg, event.pool) for event in events(lines) if event.kind == "vg_full"] == expected


def test_a_device_number_is_looked_up_in_this_boot_only():
    message = "device-mapper: thin: 253:2: switching pool to read-only mode"
    lines = [Line(0.0, message, "kernel"), Line(1.0, message, "kernel", current=False)]
    now, before = events(lines, {"253:2": "my--vg-thin--pool-tpool", "253:3": "docker-thinpool"})
    assert (now.vg, now.pool, now.dm_name) == ("my-vg", "thin-pool", "my--vg-thin--pool-tpool")
    assert (before.vg, before.pool, before.dm_name, before.device) == (None, None, None, "253:2")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event(line(0, ""), "extended", vg="docker", pool="thinpool", dm_name="docker-thinpool"), True),
        (Event(line(0, ""), "extended", vg="docker", pool="other", dm_name="docker-other"), False),
        (Event(line(0, ""), "activated", vg="docker"), True),
        (Event(line(0, ""), "activated", vg="data"), False),
        (Event(line(0, ""), "daemon_failed"), True),
        (Event(line(0, ""), "autoextend_failed", dm_name="raw"), False),
    ],
)
def test_an_event_concerns_a_pool_unless_it_is_anothers(event, expected):
    assert event.concerns([("docker", "thinpool")], {"docker"}) is expected


def test_every_kind_has_a_severity_and_is_in_the_documentation():
    used = {kind for table in dm_messages.TABLES.values() for kind, _pattern in table}
    assert used | {"unknown", "hook_output", "suppressed"} == set(dm_events.KINDS)
    assert set(dm_events.KINDS.values()) == set(dm_events.SEVERITIES)
    # Not as YAML, which the oldest Python of managed hosts lacks.
    documented = dm_event_info.RETURN.partition("    kind:\n")[2].partition("      type: str\n")[0]
    assert set(re.findall(r"V\((\w+)\)", documented)) == set(dm_events.KINDS)


# --- Names that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{{x}}", "a{b", "a%b", "a$(b)", "a;b", "a`b`", "ä", "a'b", "a*", "a" * 200, "a|b"])
@pytest.mark.parametrize(
    "line",
    [
        "Failed command for {}-thinpool.",
        "WARNING: Thin pool docker-{} data is now 81.00% full.",
        "Logical volume {}/thinpool successfully resized.",
        "Logical volume docker/{} successfully resized.",
        "Logical volume docker/{}_tdata successfully resized.",
        'Volume group "{}" not found',
        "Insufficient suitable allocatable extents for logical volume {}: 3 more required",
    ],
)
def test_a_name_that_lvm_does_not_allow_is_none(name, line):
    (event,) = dm_events.events([dm_events.Line(1.0, line.format(name), "dmeventd")])
    for known in (event.vg, event.pool, event.dm_name):
        assert known is None or name not in known
    assert event.pool is None


@pytest.mark.parametrize("name", ["x y", "{{x}}", "a/b", "a" * 128, ""])
def test_a_device_whose_name_is_none_has_none(name):
    line = dm_events.Line(1.0, "device-mapper: thin: 253:2: switching pool to write mode", "kernel")
    (event,) = dm_events.events([line], {"253:2": name})
    assert (event.dm_name, event.vg, event.pool) == (None, None, None)


@pytest.mark.parametrize("number", ["9" * 30, "9" * 4000])
def test_a_number_that_counts_nothing_is_cut_and_no_error(number):
    line = f"Insufficient free space: {number} extents needed, but only 0 available"
    (event,) = dm_events.events([dm_events.Line(1.0, line, "dmeventd")])
    assert event.kind == "vg_full"
    assert event.extents_needed < 10**18
