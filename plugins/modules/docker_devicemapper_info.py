#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_devicemapper_info
short_description: Show what the operating system and Docker see of a thin pool
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - >-
    Looks where Docker's manual looks ("Use the Device Mapper storage driver"): the tree of C(lsblk), what is mounted
    under C(devicemapper/mnt), the records in C(devicemapper/metadata), and C(docker info). Tells for each whether it
    is as wanted.
  - >-
    Gives the manual's best practices as advice, where the host is otherwise, with what to set: slow disks, logs
    without limits, memory against containers, containers that write much and have no volume for it.
  - Compares what is seen. What the pool itself is to be like (size, profile, monitoring) is the business of
    M(devicemapper.containers.thin_pool_plan).
  - >-
    Works when dockerd is down: its records are read from its data root. Opens no device of the pool, and gives
    C(lsblk) 30 seconds and Docker 60, so that a pool that is stuck does not stop it.
options:
  vg:
    description: Name of the volume group.
    type: str
    default: docker
  pool:
    description: Name of the thin pool.
    type: str
    aliases: [name]
    default: thinpool
  devices:
    description:
      - Paths of the block devices that the pool is to lie on. Any will do where none is named, or where one is a rule
        (M(devicemapper.containers.thin_pool_plan)).
    type: list
    elements: path
    default: []
  chunk_size:
    description: The size of the pool's chunks, a multiple of V(64k) from V(64k) to V(1g). Any will do without it.
    type: str
  storage_opts:
    description:
      - Options that Docker's driver is to have. Compared are those that C(docker info) tells, which are V(dm.fs),
        V(dm.basesize), V(dm.use_deferred_removal), V(dm.use_deferred_deletion) and V(dm.min_free_space).
    type: list
    elements: str
    default: []
  daemon_options:
    description:
      - Keys that C(daemon.json) is to have. Compared are those that C(docker info) tells, which are C(data-root) and
        C(log-driver).
    type: dict
    default: {}
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes.info
notes:
  - Needs C(lsblk) of util-linux 2.27 or later.
  - >-
    Advice on memory begins below 256 MiB a container, advice on volumes from 100 MiB on that a container writes into
    its layer in an hour. The manual has no figures for either.
seealso:
  - module: devicemapper.containers.thin_pool_plan
  - module: devicemapper.containers.lvm_thin_pool_info
  - module: devicemapper.containers.thin_pool_usage_info
"""

EXAMPLES = r"""
- name: See what the host makes of Docker's pool
  devicemapper.containers.docker_devicemapper_info:
    vg: docker
    pool: thinpool
    devices: [/dev/disk/by-id/virtio-data1]
    chunk_size: 512K
  register: seen

- name: Tell it
  ansible.builtin.debug:
    msg: "{{ seen.lines.tree + seen.lines.checks + seen.lines.advice }}"
"""

RETURN = r"""
matches:
  description: Whether everything is as wanted. Advice does not count.
  returned: success
  type: bool
checks:
  description: What was looked at.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description:
        - >-
          V(devices), V(pool), V(docker), V(metadata), V(mounts), or a line of C(docker info) under its own name.
        - What Docker alone knows is left out where it does not answer; V(docker) says so then.
      type: str
      sample: Pool Name
    seen:
      description: What there is.
      type: str
      sample: docker-thinpool
    wanted:
      description: What there is to be.
      type: str
      sample: docker-thinpool
    matches:
      description: Whether that is so.
      type: bool
    remedy:
      description: What to do where it is not so; empty where it is.
      type: str
advice:
  description: What works and could be better.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - "V(rotational): the pool lies on rotating disks."
        - "V(logs): containers log into Docker's data root without a limit."
        - "V(memory): many containers for the host's memory, and they share no page cache on this driver."
        - "V(volumes): a container writes much into its layer."
        - "V(deferred): deferred removal or deletion of devices is off."
        - "V(deferred_deletion): devices wait to be deleted."
        - "V(xfs_nospace): xfs would hang on a full pool."
        - "V(min_free_space): Docker leaves no space free."
        - "V(may_detach_mounts): a kernel of EL 7 that keeps mounts of removed containers."
      type: str
      sample: logs
    message:
      description: What there is, with figures.
      type: str
    set:
      description: What to set for it.
      type: str
disks:
  description: >-
    The trees of C(lsblk), only those disks that the pool lies on. All disks where there is no pool.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the device.
      type: str
      sample: vdb
    path:
      description: Its canonical path.
      type: str
      sample: /dev/vdb
    type:
      description: What it is, in the words of C(lsblk).
      type: str
      sample: disk
    size:
      description: Its size in bytes.
      type: int
      sample: 10737418240
    rotational:
      description: Whether the kernel takes it for a rotating disk.
      type: bool
    children:
      description: The devices that stand on it, each with the same keys.
      type: list
      elements: dict
mounts:
  description: What is mounted under C(devicemapper/mnt), also where only dockerd sees it.
  returned: success
  type: list
  elements: dict
  contains:
    point:
      description: The mount point.
      type: str
    source:
      description: The device.
      type: str
    filesystem:
      description: The type of its filesystem.
      type: str
      sample: xfs
records:
  description: What is in the directory C(devicemapper/metadata).
  returned: success
  type: dict
  contains:
    directory:
      description: Its path.
      type: str
      sample: /var/lib/docker/devicemapper/metadata
    base:
      description: Whether there is the first of all devices.
      type: bool
    containers:
      description: How many containers have records.
      type: int
      sample: 3
    image_layers:
      description: How many layers of images have one.
      type: int
      sample: 1
    others:
      description: How many records belong to neither.
      type: int
      sample: 0
    missing:
      description: Whose layers have no record, in words.
      type: list
      elements: str
containers:
  description: The containers that run.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: web
    image:
      description: The image as it was named.
      type: str
      sample: busybox
    device:
      description: The device-mapper name of its filesystem; V(null) where there is none.
      type: str
    written:
      description: Bytes that were written to its layer since it was started.
      type: int
      sample: 213909504
    log_driver:
      description: Where what it prints goes to.
      type: str
      sample: json-file
    log_options:
      description: Options of that.
      type: dict
    volumes:
      description: Paths in the container that are not in its layer.
      type: list
      elements: str
docker:
  description: Docker.
  returned: success
  type: dict
  contains:
    installed:
      description: Whether there is a dockerd.
      type: bool
    active:
      description: Whether its service runs.
      type: bool
    answers:
      description: Whether it answers.
      type: bool
    version:
      description: Its version.
      type: str
      sample: 20.10.24
    root:
      description: Its data root.
      type: str
      sample: /var/lib/docker
    driver:
      description: The storage driver, V(null) where it does not answer.
      type: str
      sample: devicemapper
    status:
      description: What C(docker info) tells of the driver, each line under its name; empty where it does not answer.
      type: dict
memory:
  description: The host's memory in bytes.
  returned: success
  type: dict
  contains:
    total:
      description: All of it.
      type: int
    available:
      description: What can be had without swapping.
      type: int
    swap:
      description: Swap, used or not.
      type: int
lines:
  description: The same in the words for a person.
  returned: success
  type: dict
  contains:
    tree:
      description: The tree of devices.
      type: list
      elements: str
    docker:
      description: What C(docker info) says of the storage, in few lines.
      type: list
      elements: str
    checks:
      description: A line for each check, which begins with C(OK) or C(MISMATCH).
      type: list
      elements: str
    advice:
      description: A line for each piece of advice.
      type: list
      elements: str
"""

import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    docker_advice,
    docker_checks,
    docker_report,
    inspection,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices, disk_rules, pool_spec


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "default": "docker"},
            "pool": {"type": "str", "aliases": ["name"], "default": "thinpool"},
            "devices": {"type": "list", "elements": "path", "default": []},
            "chunk_size": {"type": "str"},
            "storage_opts": {"type": "list", "elements": "str", "default": []},
            "daemon_options": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def wanted_of(module: AnsibleModule) -> docker_checks.ExpectedStorage:
    """Return what the options ask for; a device that is not there is no wrong option but a mismatch."""
    given = module.params
    chunk_size = sizes.option("chunk_size", sizes.parse_bytes, given["chunk_size"])
    pool_spec.PoolSpec(given["vg"], given["pool"], chunk_size=chunk_size).check()
    # Which disks rules mean, thin_pool_plan says and judges.
    names = [] if any(map(disk_rules.is_rule, given["devices"])) else given["devices"]
    for name in names:
        if not name.startswith("/") or "\0" in name:
            raise errors.RefusedError(block_devices.problem(name))
    # What Docker would refuse to start with, nothing needs to be compared with.
    daemon_json.decide(
        daemon_json.DaemonJson.of(None),
        storage_driver="devicemapper",
        storage_opts=given["storage_opts"],
        options=given["daemon_options"],
    )
    problems = {name: block_devices.problem(name) for name in names}
    return docker_checks.ExpectedStorage(
        vg=given["vg"],
        pool=given["pool"],
        devices=tuple(os.path.realpath(name) for name, problem in problems.items() if not problem),
        lacking=tuple(problem for problem in problems.values() if problem),
        chunk_size=chunk_size,
        storage_opts=tuple(given["storage_opts"]),
        daemon_options=given["daemon_options"],
    )


def work(module: AnsibleModule) -> dict:
    wanted = wanted_of(module)
    seen = inspection.read()
    checks = docker_checks.checks(seen, wanted)
    docker, info = seen.docker, seen.docker.info
    return {
        "changed": False,
        "matches": all(check.matches for check in checks),
        "checks": [{**asdict(check), "remedy": "" if check.matches else check.remedy} for check in checks],
        "advice": [asdict(item) for item in docker_advice.advice(seen, wanted)],
        "disks": [asdict(disk) for disk in seen.disks_under(wanted.dm_name) or seen.disks],
        "mounts": [asdict(mount) for mount in seen.mounts],
        "records": asdict(seen.records),
        "containers": [
            {
                "name": container.name,
                "image": container.image,
                "device": container.device or None,
                "written": container.written,
                "log_driver": container.logging.driver,
                "log_options": dict(container.logging.options),
                "volumes": list(container.volumes),
            }
            for container in seen.containers
        ],
        "docker": {
            "installed": docker.installed,
            "active": docker.active,
            "answers": info is not None,
            "version": docker.version,
            "root": seen.root,
            "driver": info.driver if info else None,
            "status": dict(info.status) if info else {},
        },
        "memory": asdict(seen.memory),
        "lines": docker_report.lines(seen, wanted),
    }


if __name__ == "__main__":
    main()
