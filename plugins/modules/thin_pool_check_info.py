#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_check_info
short_description: Tell for each thin pool whether it is well, and if not what to do
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Puts together how thin pools are (as M(devicemapper.containers.lvm_thin_pool_info) tells) and what happened to them
    (as M(devicemapper.containers.dm_event_info) tells), and gives one verdict on each, with its reasons and the
    sentence that says what to do.
  - "How a pool is now comes first. An event makes the verdict worse only where it still matters: a failed extension
    while the pool is above its threshold and could be extended, failed writes though the pool can be written again,
    damaged metadata, a dmeventd that was killed while the pool is not monitored, a refused activation while the pool is
    not active, a failing command of lvm.conf's C(dmeventd/thin_command), metadata of the largest size."
  - A pool that is named and not there is critical, and so is one that the kernel runs and LVM no longer knows, because
    its devices are gone.
options:
  pools:
    description:
      - The pools to look at, each C(VG/NAME). Empty for all that the host has.
    type: list
    elements: str
    default: []
  since:
    description:
      - From when on events count, in the words of C(journalctl --since) (systemd.time(7)), such as V(-1h).
      - Empty for all that the journal holds.
    type: str
    default: -1h
  host:
    description:
      - What the inventory calls this host, for the commands that are told (RV(pools[].reasons[].command)).
      - Empty for the name that the host has for itself.
    type: str
    default: ""
    version_added: 1.1.0
extends_documentation_fragment:
  - devicemapper.containers.attributes.events
  - devicemapper.containers.health
  - devicemapper.containers.health.log
  - devicemapper.containers.attributes.info
seealso:
  - module: devicemapper.containers.lvm_thin_pool_info
  - module: devicemapper.containers.dm_event_info
"""

EXAMPLES = r"""
- name: Check every pool
  devicemapper.containers.thin_pool_check_info:
  register: check

- name: Show what is to be done
  ansible.builtin.debug:
    msg: "{{ check.lines }}"
  failed_when: check.verdict == 'critical'
"""

RETURN = r"""
verdict:
  description:
    - "The worst of all: V(ok), V(warning) for what is to be watched, V(unknown) for what could not be found out,
      V(critical) for what stops containers, or will."
  returned: success
  type: str
  sample: ok
lines:
  description: All of it for a person, the worst pool first.
  returned: success
  type: list
  elements: str
  sample:
    - "docker/thinpool: OK, data 12.34 % of 8.00 GiB, metadata 10.04 % of 100.00 MiB, 1.80 GiB free in docker"
time:
  description: When the host was asked, by its own clock, as ISO 8601 in UTC.
  returned: success
  type: str
  sample: "2026-11-23T10:00:00Z"
since:
  description: From when on events count (O(since)), likewise; V(null) where that is not to be told without journalctl.
  returned: success
  type: str
  sample: "2026-11-23T09:00:00Z"
limits:
  description: The limits that were used, by the names of the options.
  returned: success
  type: dict
  sample: {data_warning: 75, data_critical: 90, metadata_warning: 75, metadata_critical: 90}
reasons:
  description:
    - What is wrong with the host as a whole, in the form of RV(pools[].reasons).
    - "The kinds: V(no_pools), no pool was found and none is named; V(events_unreadable)."
  returned: success
  type: list
  elements: dict
  sample: []
pools:
  description: The verdict on each pool, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    vg:
      description: Its volume group.
      type: str
      sample: docker
    name:
      description: Its name.
      type: str
      sample: thinpool
    verdict:
      description: "V(ok), V(warning), V(unknown) or V(critical)."
      type: str
      sample: critical
    sentence:
      description: The worst that is wrong and what to do, or that all is well.
      type: str
    reasons:
      description: Everything that is wrong, the worst first.
      type: list
      elements: dict
      contains:
        kind:
          description:
            - What it is, for programs.
            - "Those of M(devicemapper.containers.lvm_thin_pool_info), and V(missing), V(no_pool) (a volume of another
              type has that name), V(not_in_lvm); by events V(extension_failed), V(writes_failed), V(metadata_damaged),
              V(dmeventd_failed), V(activation_failed), V(hook_failed), V(metadata_max); by how it grew
              V(data_fills_up), V(metadata_fills_up)."
          type: str
          sample: data_extension_impossible
        severity:
          description: "V(warning), V(unknown) or V(critical)."
          type: str
          sample: critical
        message:
          description: What is wrong, and what to do.
          type: str
        command:
          description:
            - The command that helps, to be copied and run where Ansible is, with O(host) and for the engine whose pool
              it is; C(inventory.yml) stands for the inventory. V(null) where no one command is right, or it is not
              known whose pool it is.
          type: str
          sample: ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1.example.org
          version_added: 1.1.0
        guide:
          description: The address of the place in the guides that is about it, V(null) where there is none.
          type: str
          sample: https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides/full_pool.md
          version_added: 1.1.0
    engine:
      description:
        - Whose pool it is, V(docker) or V(containerd). V(null) where that is not known, and where nothing is wrong, for
          then it is not looked up.
      type: str
      sample: docker
      version_added: 1.1.0
    writes:
      description:
        - "What becomes of a write that needs room, by the kernel's own word: V(ok), V(waiting) (nothing is lost yet) or
          V(failing). V(null) where that is not known."
      type: str
      sample: ok
      version_added: 1.1.0
    writes_since:
      description:
        - Since when writes wait or fail, as ISO 8601 in UTC, by the kernel's line. V(null) where they do not, or the
          line is not among the events since O(since).
      type: str
      sample: "2026-11-23T09:59:10Z"
      version_added: 1.1.0
    repair:
      description:
        - What may be set right while the pool is in use, as options of M(devicemapper.containers.lvm_thin_pool);
          V(null) where there is nothing of the sort, or a person should look first.
      type: dict
      contains:
        monitor:
          description: Whether monitoring is to be switched on.
          type: bool
          sample: true
        profile:
          description:
            - The profile to be attached, or to be taken over by the kernel; V(null) for none. Where none is attached,
              the one with the pool's device-mapper name, which the role P(devicemapper.containers.direct_lvm#role)
              makes.
          type: str
          sample: docker-thinpool
    events:
      description: What happened, a row for each kind, the latest last.
      type: list
      elements: dict
      contains:
        kind:
          description: As in M(devicemapper.containers.dm_event_info).
          type: str
          sample: vg_full
        severity:
          description: As in M(devicemapper.containers.dm_event_info), that of the last of them.
          type: str
          sample: critical
        count:
          description: How often.
          type: int
          sample: 3
        first:
          description: When first, as ISO 8601 in UTC.
          type: str
          sample: "2026-11-23T09:58:10Z"
        last:
          description: When last, as ISO 8601 in UTC.
          type: str
          sample: "2026-11-23T10:00:00Z"
        message:
          description: The line of the last.
          type: str
          sample: "Insufficient free space: 487 extents needed, but only 78 available"
        named:
          description: Whether it named the pool. Where not, it may have been of another pool of this host.
          type: bool
          sample: true
    data_percent:
      description: How much of the data is in use, in percent; V(null) where not known.
      type: float
      sample: 12.34
    metadata_percent:
      description: How much of the metadata is in use, in percent; V(null) where not known.
      type: float
      sample: 10.04
    forecasts:
      description:
        - How long it has got, for each half that grows, by what M(devicemapper.containers.thin_pool_exporter) has kept.
          Empty where that does not run, or has not for ten minutes.
      type: list
      elements: dict
      version_added: 1.1.0
      contains:
        part:
          description: "V(data) or V(metadata)."
          type: str
          sample: data
        full_in:
          description: Seconds until it is full if it grows as it did, with all that it can be extended by.
          type: int
          sample: 10800
        rate:
          description: How many bytes a second it grows, by the faster of the last hour and the last day.
          type: float
          sample: 596523.235
        window:
          description: The seconds that the rate is from, V(3600) or V(86400).
          type: int
          sample: 3600
    size:
      description: Size of its data in bytes, V(null) where LVM does not know the pool.
      type: int
      sample: 8585740288
    metadata_size:
      description: Size of its metadata in bytes, V(null) where LVM does not know the pool.
      type: int
      sample: 104857600
    autoextend:
      description:
        - What its profile does, and whether the next extension has room, in the form of
          RV(devicemapper.containers.lvm_thin_pool_info#module:thin_pools[].autoextend); V(null) where LVM does not know
          the pool.
      type: dict
      sample:
        threshold: 80
        percent: 20
        extent_size: 4194304
        data_needed: 410
        metadata_needed: 12
        free: 462
        data_possible: true
        metadata_possible: true
"""

import re
import time
import typing as t
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, process
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import results
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    collect,
    dm_events,
    forecast,
    pool_health,
    timestamps,
    verdicts,
)


def main() -> None:
    limits = pool_health.Limits()
    module = AnsibleModule(
        argument_spec={
            "pools": {"type": "list", "elements": "str", "default": []},
            **{limit: {"type": "int", "default": getattr(limits, limit)} for limit in pool_health.LIMITS},
            "since": {"type": "str", "default": "-1h"},
            "path": {"type": "path", "aliases": ["log_path"]},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    params = module.params
    wanted = [PoolName.parse(name) for name in params["pools"]]
    limits = pool_health.Limits.of(params)
    # It becomes part of a command that a person copies.
    if re.search(r"[\s\x00-\x1f\x7f]", params["host"]) or params["host"].startswith("-"):
        raise errors.RefusedError(f"host must be a name of the inventory, not {params['host']!r}")
    now = time.time()
    since = timestamps.parse_time(params["since"], now)
    # Events first: what happens while LVM is asked is seen in the pool's state.
    events, host = read_events(params["since"], params["path"] or "")
    snapshot = collect.with_forecasts(collect.look(), forecast.HISTORY, now)

    def judged(snapshot: verdicts.PoolSnapshot) -> list[verdicts.Verdict]:
        return verdicts.of_host(snapshot, wanted, limits, lambda name: verdicts.history(events, name))

    found = judged(snapshot)
    if any(verdict.reasons for verdict in found):
        found = judged(collect.with_whose(snapshot, params["host"]))
    return answer(found, host, events, limits, now=now, since=since)


def answer(
    found: list[verdicts.Verdict],
    host: list[pool_health.Reason],
    events: list[dm_events.Event],
    limits: pool_health.Limits,
    *,
    now: float,
    since: float | None,
) -> dict[str, t.Any]:
    """Return what the module does, for what it found out of each pool, and of the host as a whole."""
    if not found:
        why = pool_health.Reason(
            "no_pools",
            "unknown",
            "there is no thin pool on this host: make one (role direct_lvm or containerd_devmapper), or name those "
            "that should be here in thin_pool_monitor_pools",
        )
        host = [*host, why]
    return {
        "changed": False,
        "verdict": pool_health.worst([reason.severity for reason in host] + [verdict.health for verdict in found]),
        "lines": [
            *(line for verdict in found for line in verdict.lines),
            *(f"{reason.severity}: {reason.message}" for reason in host),
            *unnamed(events),
        ],
        "time": timestamps.iso_seconds(now),
        "since": None if since is None else timestamps.iso_seconds(since),
        "limits": asdict(limits),
        "reasons": [reason_result(reason) for reason in host],
        "pools": [as_result(verdict) for verdict in found],
    }


def read_events(since: str, path: str) -> tuple[list, list[pool_health.Reason]]:
    """Return what happened, and as a reason why that could not be read: the pools' state tells most by itself."""
    try:
        return collect.read_events(since=since, path=path)[0], []
    except (errors.RefusedError, process.ProcessError) as error:
        if path or timestamps.parse_time(since, 0) is None:  # then it is an option that is wrong
            raise
        return [], [pool_health.Reason("events_unreadable", "unknown", f"what happened could not be read: {error}")]


def unnamed(events: list) -> list[str]:
    """Return what happened to no pool by name, for a person."""
    past = verdicts.history((event for event in events if not event.vg and not event.pool), PoolName("", ""))
    told = [f"    {happened.sentence}" for happened in verdicts.worth_telling(past)]
    return ["of no pool by name:", *told] if told else []


def as_result(verdict: verdicts.Verdict) -> dict[str, t.Any]:
    pool, repair = verdict.pool, verdict.repair
    since = (pool.waiting_since or pool.failing_since) if pool else 0
    return {
        "vg": verdict.pool_name.vg,
        "name": verdict.pool_name.name,
        "verdict": verdict.health,
        "sentence": verdict.sentence,
        "reasons": [reason_result(reason) for reason in verdict.reasons],
        "engine": (pool and pool.whose.engine) or None,
        "writes": (pool and pool.writes) or None,
        "writes_since": timestamps.iso_seconds(since) if since else None,
        "repair": {"monitor": repair.monitor, "profile": repair.profile or None} if repair else None,
        "events": [
            {
                "kind": happened.kind,
                "severity": happened.severity,
                "count": happened.count,
                "first": timestamps.iso_seconds(happened.first),
                "last": happened.time,
                "message": happened.message,
                "named": happened.named,
            }
            for happened in sorted(verdict.past.values(), key=lambda happened: happened.last)
        ],
        "data_percent": pool.data_percent if pool else None,
        "metadata_percent": pool.metadata_percent if pool else None,
        "forecasts": [
            {"part": one.part, "full_in": round(one.seconds), "rate": round(one.rate, 3), "window": one.window}
            for one in (pool.forecasts if pool else ())
        ],
        "size": pool.volume.size if pool else None,
        "metadata_size": pool.volume.metadata_size if pool else None,
        "autoextend": {
            "threshold": pool.policy.threshold,
            "percent": pool.policy.percent,
            **results.auto_extension(pool.extension),
        }
        if pool
        else None,
    }


def reason_result(reason: pool_health.Reason) -> dict[str, str | None]:
    return {
        "kind": reason.kind,
        "severity": reason.severity,
        "message": reason.message,
        "command": reason.command or None,
        "guide": reason.guide or None,
    }


if __name__ == "__main__":
    main()
