#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dm_event_info
short_description: Tell what happened to thin pools, from the journal
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Reads what dmeventd, LVM and the kernel wrote about thin pools, and returns it as typed events with a severity,
    the pool and the figures.
  - "The messages are those of lvm2 2.02.158 to 2.03.39 (dmeventd.c, dmeventd_thin.c, and LVM's own in lv_manip.c and
    thin_manip.c) and of Linux 3.2 and later (dm-thin.c, dm-thin-metadata.c and persistent-data). What dmeventd or the
    kernel's thin target write and no message of these explains is returned with the kind V(unknown), not left out."
  - "The severity follows from the kind of the event, never from the priority that the line has in the journal: the
    kernel tells of a full pool and of read-only metadata as information, dmeventd of a successful extension as a
    warning."
  - "The journal alone does not tell that a pool is well: dmeventd writes nothing below 80 percent of use, and nothing
    at all when it does not run. M(devicemapper.containers.lvm_thin_pool_info) tells how a pool is now."
  - A process that names no pool in one line and in the next has it taken over where both come within two seconds,
    as dmeventd does when an extension fails.
options:
  pools:
    description:
      - Only events of these pools, each C(VG/NAME).
      - Events that name no pool are returned too, since they may be of any (dmeventd ended, metadata errors of the
        kernel); those that name only a volume group, where it is one of these pools'.
    type: list
    elements: str
    default: []
  since:
    description:
      - Only events from this time on, by the host's clock as it stood when each was written. Where that may have been
        wrong, O(cursor) is the better measure.
      - "Takes what C(journalctl --since) takes (systemd.time(7)): V(-1h), V(2 days ago), V(yesterday),
        V(2026-11-23 10:00:00) in the host's time zone. Also ISO 8601 with a zone, V(2026-11-23T10:00:00Z), and
        seconds since 1970, as returned in RV(events[].time) and RV(events[].timestamp)."
      - With O(path), these words but no others of C(journalctl).
      - Left aside where O(cursor) is given. Without both, all that is kept is read.
    type: str
  cursor:
    description:
      - Only events after this place, which an earlier call returned as RV(cursor).
      - "Each event comes once: none is lost or doubled where the journal or the log file was rotated in between, the
        host was rebooted, or its clock was set. Where the place itself is no longer kept, RV(complete) is V(false)."
      - "The exception: boots in which no call was made, of a host that starts with a wrong clock and lost its power
        more than once. Such a journal has no order."
      - Empty is as left out, so that one task can be the first and all later ones.
    type: str
  limit:
    description:
      - At most this many events, from 1 on. Of a longer log 20000 are looked at in one call, and RV(truncated) says so.
      - Without O(cursor) the newest. With it the oldest, and RV(cursor) is the last returned event's, so that the
        next call returns those that follow.
    type: int
    default: 1000
  path:
    description:
      - The log file to read instead of the journal, on a host whose syslog writes files and where journald does not
        run, such as V(/var/log/syslog) or V(/var/log/messages).
      - "Lines as in RFC 3164 (without a year: the last in which the file can have been written), as in RFC 5424, and
        as rsyslog, syslog-ng and busybox write them into files."
      - "Its rotated neighbours are read where the asked time or the cursor is in one: C(path.1), C(path.2.gz),
        C(path-20261123), also with C(.bz2) and C(.xz)."
      - Lines under the name C(lvm) are taken for dmeventd's, which is called so where lvm.conf's C(log/syslog) is 1,
        the default before 2.03.14.
    type: path
    aliases: [log_path]
extends_documentation_fragment:
  - devicemapper.containers.attributes.events
  - devicemapper.containers.attributes.info
notes:
  - The journal is read as C(journalctl --system) by dmeventd's unit and command. Without root it takes a user of the
    group C(systemd-journal), and then the kernel's events may lack their pool, which takes C(dmsetup).
  - The kernel names a pool by its device number, which is looked up as it is now. So the kernel's events of an
    earlier boot have no pool, and one of a removed pool may be told of a newer one that got its number.
seealso:
  - module: devicemapper.containers.lvm_thin_pool_info
"""

EXAMPLES = r"""
- name: Read what happened in the last hour
  devicemapper.containers.dm_event_info:
    since: -1h
  register: last_hour

- name: Say if it was bad
  ansible.builtin.assert:
    that: last_hour.worst not in ['critical', 'emergency']
    fail_msg: "{{ last_hour.events | map(attribute='message') | join('\n') }}"

- name: Read on from there, of one pool
  devicemapper.containers.dm_event_info:
    pools: [docker/thinpool]
    cursor: "{{ last_hour.cursor }}"
  register: since_then
"""

RETURN = r"""
events:
  description: What happened, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When, as ISO 8601 in UTC.
      type: str
      sample: "2026-11-23T10:00:00.123456Z"
    timestamp:
      description: When, in seconds since 1970.
      type: float
      sample: 1795428000.123456
    kind:
      description:
        - What it is.
        - "How full: V(data_usage_high) and V(metadata_usage_high) (dmeventd, above 80 percent, once in each band of
          5), V(data_low_water), V(metadata_low_water) (the kernel, once until the pool is changed)."
        - "Extension: V(extended), V(resized) (LVM's closing word), V(grown) (the kernel has it), V(extend_noop)
          (nothing to do), V(autoextend_failed), V(vg_full) (too few extents, or none where they may be taken),
          V(policy_invalid), V(policy_clamped) (the threshold was below 50), V(metadata_max), V(pool_inactive),
          V(overprovisioned)."
        - "Full: V(data_full_queueing) (writes wait, for 60 seconds by default), V(data_full_erroring) (writes fail),
          V(data_full) (old kernels, either), V(metadata_full), V(alloc_failed), V(recovered) (it can be written
          again)."
        - "Broken: V(metadata_read_only) (also where the metadata is full), V(metadata_error), V(metadata_abort),
          V(metadata_corrupt), V(needs_check), V(pool_failed), V(pool_unhealthy) (LVM's summary), V(repair_needed),
          V(transaction_mismatch), V(config_error) (the kernel refuses a table), V(ops_refused), V(message_failed)."
        - "Monitoring: V(monitor_started), V(monitor_stopped), V(monitor_failed), V(pool_gone), V(status_unreadable),
          V(daemon_started), V(daemon_stopping), V(daemon_failed) (it ended with an error or was killed),
          V(config_invalid), V(lvm_error), V(device_error) (LVM could not look at a device), V(thin_check_missing)."
        - "An own command (lvm.conf, dmeventd/thin_command): V(hook_started), V(hook_finished), V(hook_failed),
          V(hook_slow), V(hook_killed), V(hook_output)."
        - "The rest: V(suppressed) (lines were dropped before they reached the journal), V(activated), V(command),
          V(discard_off), V(foreign_transaction) (a transaction number that Docker or containerd raised: harmless),
          V(note), V(not_thin) (a snapshot, mirror, RAID or VDO device of dmeventd's), V(unknown)."
      type: str
      sample: vg_full
    severity:
      description:
        - "V(info): as it should be."
        - "V(notice): as it should be, and worth knowing: a pool was extended, monitoring ended; or V(unknown)."
        - "V(warning): will be a problem if it goes on, such as use above 80 percent."
        - "V(error): something did not work, the pool still does, such as V(autoextend_failed)."
        - "V(critical): the pool stops soon unless someone acts: V(vg_full), V(data_full_queueing), use from 95
          percent on, V(daemon_failed), V(repair_needed)."
        - "V(emergency): writes fail, or the metadata is damaged: V(data_full_erroring), V(metadata_read_only),
          V(needs_check), V(pool_failed)."
      type: str
      sample: critical
    source:
      description:
        - "Who wrote it: V(dmeventd), V(kernel), V(lvm) (a command outside of dmeventd), V(hook) (an own command that
          dmeventd runs), V(systemd) (on dmeventd's unit) or V(journald)."
      type: str
      sample: dmeventd
    vg:
      description: The pool's volume group, V(null) where it is not known.
      type: str
      sample: docker
    pool:
      description: The pool's name, V(null) where it is not known.
      type: str
      sample: thinpool
    dm_name:
      description: The device-mapper name that stood in the line or belongs to its device number, V(null) if none.
      type: str
      sample: docker-thinpool
    device:
      description: The device number C(major:minor) in a kernel line, V(null) if none.
      type: str
      sample: "253:2"
    part:
      description: "The half of the pool: V(data) or V(metadata); V(null) where it does not matter or is not known."
      type: str
      sample: data
    percent:
      description: How full that half was, in percent; V(null) where the line does not tell.
      type: float
      sample: 86.36
    extents_needed:
      description: Extents that an extension takes, V(null) where the line does not tell.
      type: int
      sample: 487
    extents_free:
      description: Extents that the volume group had free, V(null) where the line does not tell.
      type: int
      sample: 78
    extents_before:
      description: Extents of that half before it was extended, V(null) where the line does not tell.
      type: int
      sample: 2431
    extents_after:
      description: Extents of that half after it was extended, V(null) where the line does not tell.
      type: int
      sample: 2918
    message:
      description: The line itself.
      type: str
      sample: "Insufficient free space: 487 extents needed, but only 78 available"
    pid:
      description: The process that wrote it, V(0) for the kernel.
      type: int
      sample: 577
    boot_id:
      description: The boot in which it was, V(null) with O(path).
      type: str
      sample: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    cursor:
      description: Its place; O(cursor) takes it.
      type: str
      sample: s=7d4b;i=1f;b=0a1b2c3d4e5f60718293a4b5c6d7e8f9;m=2a;t=5e;x=c1
cursor:
  description: Where the next call goes on. There is one too where nothing happened.
  returned: success
  type: str
  sample: s=7d4b;i=1f;b=0a1b2c3d4e5f60718293a4b5c6d7e8f9;m=2a;t=5e;x=c1
complete:
  description:
    - Whether everything from O(since) or O(cursor) on was still there. V(false) where the journal begins later,
      because it was rotated away, is kept in memory only and the host was rebooted, or the host is that young.
    - Always V(true) without both, unless a rotated log file cannot be read.
  returned: success
  type: bool
  sample: true
truncated:
  description: Whether there were more events than O(limit).
  returned: success
  type: bool
  sample: false
worst:
  description: The highest severity among the events, V(null) without events.
  returned: success
  type: str
  sample: critical
kinds:
  description: How many of the events are of which kind.
  returned: success
  type: dict
  sample: {vg_full: 3, autoextend_failed: 3}
severities:
  description: How many of the events are of which severity, each severity with its number.
  returned: success
  type: dict
  sample: {info: 0, notice: 0, warning: 0, error: 3, critical: 3, emergency: 0}
unknown:
  description: How many of the events are of the kind V(unknown).
  returned: success
  type: int
  sample: 0
"""

import collections
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, process
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, journal, log_files


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "pools": {"type": "list", "elements": "str", "default": []},
            "since": {"type": "str"},
            "cursor": {"type": "str"},
            "limit": {"type": "int", "default": 1000},
            "path": {"type": "path", "aliases": ["log_path"]},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    limit, path = module.params["limit"], module.params["path"]
    cursor, since = module.params["cursor"] or "", module.params["since"] or ""
    pools = [PoolName.parse(name) for name in module.params["pools"]]
    if limit < 1:
        raise errors.RefusedError(f"limit {limit} leaves nothing to return: give the option 'limit' a number from 1 on")
    now = time.time()
    reading = log_files.read_file(path, cursor, since, now, booted()) if path else journal.read(cursor, since, now)
    names = device_names(module) if any(line.source == "kernel" and line.current for line in reading.lines) else {}
    events = dm_events.events(reading.lines, names)
    if pools:
        groups = {vg for vg, _name in pools}
        events = [event for event in events if event.concerns(pools, groups)]
    return {"changed": False, **as_result(reading, events, limit, oldest=bool(cursor))}


def booted() -> float:
    """Return when this host was booted (proc(5), /proc/stat, btime)."""
    with open("/proc/stat", encoding="ascii") as stream:
        return next((float(line.split()[1]) for line in stream if line.startswith("btime ")), 0.0)


def device_names(module: AnsibleModule) -> dict[str, str]:
    """Return the device-mapper name of every device of this host by its number."""
    try:
        rows = process.run(
            "dmsetup", "info", "--columns", "--noheadings", "--separator", " ", "-o", "major,minor,name", timeout=60
        )
    except process.ProcessError as error:
        module.warn(f"the kernel's events lack their pools: {error}")
        return {}
    found = (row.split() for row in rows.splitlines())
    return {f"{words[0]}:{words[1]}": words[2] for words in found if len(words) == 3}


def as_result(reading: journal.Reading, events: list[dm_events.Event], limit: int, *, oldest: bool) -> dict:
    """Return what the module returns of the events."""
    truncated = len(events) > limit or reading.truncated
    cursor = reading.cursor
    if len(events) > limit and oldest:
        events = events[:limit]
        cursor = events[-1].line.cursor
    else:
        events = events[-limit:]
    severities = collections.Counter(event.severity for event in events)
    kinds = collections.Counter(event.kind for event in events)
    return {
        "events": [journal.as_result(event) for event in events],
        "cursor": cursor,
        "complete": reading.complete,
        "truncated": truncated,
        "worst": next((severity for severity in reversed(dm_events.SEVERITIES) if severities[severity]), None),
        "kinds": dict(sorted(kinds.items())),
        "severities": {severity: severities[severity] for severity in dm_events.SEVERITIES},
        "unknown": kinds["unknown"],
    }


if __name__ == "__main__":
    main()
