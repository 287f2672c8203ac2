#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_exporter
short_description: Let a timer write metrics of thin pools for node_exporter
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Installs a systemd service and its timer, which write how thin pools are and what happened to them into
    C(thin_pool.prom), a file for the textfile collector of Prometheus' node_exporter.
  - "The program in C(/usr/local/lib/devicemapper.containers) is this collection's own code, run by the host's Python.
    Its verdict is that of M(devicemapper.containers.thin_pool_check_info)."
  - "The events counted are those of M(devicemapper.containers.dm_event_info). Each is counted once, over restarts and
    reboots."
  - A pool that is missing is told as such. LVM or a journal that does not answer in O(timeout) is told with
    C(thin_pool_monitor_step_success), the pools' health as C(unknown), and nothing more is started until it has ended.
  - Where LVM would wait for a device that has been suspended for ten seconds, it is not started. The pool that this
    device is, or belongs to, is C(critical) then, with the problem C(suspended).
options:
  textfile_dir:
    description:
      - The folder that node_exporter's C(--collector.textfile.directory) names; with Debian's package that is
        V(/var/lib/prometheus/node-exporter). It must be there. Required with O(state=present).
      - Nobody but root may write to it, or to a folder above it, since the metrics are written by root. Debian's
        package gives C(/var/lib/prometheus) to the user C(prometheus), who needs it for nothing; to take it back for
        good, run C(dpkg-statoverride --update --add root root 0755 /var/lib/prometheus).
    type: path
  pools:
    description:
      - The pools to tell of, each C(VG/NAME). Empty for all that the host has.
    type: list
    elements: str
    default: []
  since:
    description:
      - How long an event counts for a pool's health, such as V(-1h).
      - From when on the first run counts events; later ones go on where the one before ended.
    type: str
    default: -1h
  interval:
    description: Seconds from one run to the next, V(10) to V(86400).
    type: int
    default: 60
  timeout:
    description: Seconds that each step of a run may take, V(1) to V(600).
    type: int
    default: 30
  usage_interval:
    description:
      - Seconds after which it is found out again which containers hold how much of a pool, V(60) to V(86400), or V(0)
        for never. The 50 containers that hold most for themselves are told by name.
      - Takes a snapshot of the pool's metadata for as long as C(thin_ls) reads it, as
        M(devicemapper.containers.thin_pool_usage_info) does. That takes seconds for a small pool and minutes for a
        large one, so V(900) or more is advised.
    type: int
    default: 0
  release_reserve:
    description:
      - Whether each run first gives every full pool that it watches what is kept for it
        (M(devicemapper.containers.thin_pool_reserve)). Nobody is asked then, and the reserve is gone until it is kept
        again; the journal of C(thin-pool-monitor.service) tells it.
      - The O(interval) must be V(30) or less, since writes to a full pool wait for a minute alone. That program has all
        rights of root, as LVM takes them; the one that writes the metrics does not.
    type: bool
    default: false
    version_added: 1.1.0
  state:
    description: V(absent) takes all of it away, the metrics and what was counted included.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes.events
  - devicemapper.containers.health
  - devicemapper.containers.health.log
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.thin_pool_check_info
"""

EXAMPLES = r"""
- name: Write metrics every minute
  devicemapper.containers.thin_pool_exporter:
    textfile_dir: /var/lib/prometheus/node-exporter

- name: No longer write metrics
  devicemapper.containers.thin_pool_exporter:
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/system/thin-pool-monitor.timer]
path:
  description: The file with the metrics, V(null) with O(state=absent).
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/thin_pool.prom
"""

import hashlib
import os
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, files, module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    exporter_install,
    log_files,
    pool_health,
    timestamps,
)

RELEASED_IN_TIME = 30  # seconds from one run to the next, half of the time that writes to a full pool wait


def main() -> None:
    limits = pool_health.Limits()
    module = AnsibleModule(
        argument_spec={
            "textfile_dir": {"type": "path"},
            "pools": {"type": "list", "elements": "str", "default": []},
            **{limit: {"type": "int", "default": getattr(limits, limit)} for limit in pool_health.LIMITS},
            "since": {"type": "str", "default": "-1h"},
            "path": {"type": "path", "aliases": ["log_path"]},
            "interval": {"type": "int", "default": 60},
            "timeout": {"type": "int", "default": 30},
            "usage_interval": {"type": "int", "default": 0},
            "release_reserve": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["textfile_dir"])],
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    spec = spec_of(module.params) if module.params["state"] == "present" else None
    current = exporter_install.read()
    steps, after = exporter_install.decide(current, spec)
    module_frame.carry_out(module, steps)
    path = exporter_install.metrics(spec.textfile_dir) if spec else None
    return module_frame.result(steps, as_result(current), as_result(after), "exporter of thin pools", path=path)


def spec_of(params: t.Mapping[str, t.Any]) -> exporter_install.ExporterSpec:
    """Return the wish that the options spell."""
    folder = params["textfile_dir"]
    if not re.fullmatch(r"/[A-Za-z0-9/_.,:@+-]*", folder):
        raise errors.RefusedError(
            f"textfile_dir {folder!r} is not a whole path of letters, digits and / _ . , : @ + - (it is written into "
            "a unit of systemd)"
        )
    if not os.path.isdir(folder):
        raise errors.RefusedError(
            f"textfile_dir {folder} is no folder on this host: give it the one that node_exporter's "
            "--collector.textfile.directory names, and make that first"
        )
    files.check_folder("textfile_dir", folder)
    for option, least, most in (("interval", 10, 86400), ("timeout", 1, 600)):
        if not least <= params[option] <= most:
            raise errors.RefusedError(f"{option} must be {least} to {most} seconds, not {params[option]}")
    if params["usage_interval"] and not 60 <= params["usage_interval"] <= 86400:
        raise errors.RefusedError(f"usage_interval must be 60 to 86400 seconds, or 0, not {params['usage_interval']}")
    if params["release_reserve"] and params["interval"] > RELEASED_IN_TIME:
        raise errors.RefusedError(
            f"interval must be {RELEASED_IN_TIME} seconds or less with release_reserve, not {params['interval']}: what "
            "is written to a full pool waits for a minute, and fails then"
        )
    if timestamps.parse_time(params["since"], 0) is None:
        raise errors.RefusedError(f"since {params['since']!r} is no point in time: give it one like '-1h' or '-2 days'")
    if params["path"]:
        log_files.read_file(params["path"], since="now", now=time.time())
    for name in params["pools"]:
        PoolName.parse(name)
    limits = pool_health.Limits.of(params)
    return exporter_install.ExporterSpec(
        textfile_dir=os.path.normpath(folder),
        interval=params["interval"],
        timeout=params["timeout"],
        usage_interval=params["usage_interval"],
        release_reserve=params["release_reserve"],
        settings={
            "pools": sorted(set(params["pools"])),
            "limits": {limit: getattr(limits, limit) for limit in pool_health.LIMITS},
            "since": params["since"],
            "log_path": params["path"] or "",
        },
    )


def as_result(installed: exporter_install.InstalledExporter) -> dict[str, t.Any]:
    """Return what a diff shows: the collection's own code only by what tells it apart."""
    return {
        "timer": {"enabled": installed.enabled, "active": installed.active},
        "files": {
            path: hashlib.sha256(text.encode("utf-8")).hexdigest() if path.endswith(".py") else text.splitlines()
            for path, text in sorted(installed.files.items())
        },
    }


if __name__ == "__main__":
    main()
