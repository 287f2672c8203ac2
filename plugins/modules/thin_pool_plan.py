#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_plan
short_description: Foretell everything that putting Docker on a thin pool takes
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Reads the host once (packages, devices, LVM's report, the profile, C(daemon.json), Docker's unit and the running
    daemon) and foretells every step of the role P(devicemapper.containers.direct_lvm#role), in order. B(Changes
    nothing.)
  - Decides with the same code as the modules that take the steps, each on the state that the ones before it leave. So
    check mode tells the whole truth on a blank host, where the later modules alone have nothing to look at yet.
  - Everything that must be refused is refused here, with all reasons at once, before the first write.
  - On a host that needs nothing it answers with no steps, after having compared the running Docker too.
  - With O(state=absent) it foretells the way back in the same manner.
  - With O(managed_by) it foretells the two ways in which Docker makes a pool itself as well.
  - With O(engine=containerd) it does all that for the role P(devicemapper.containers.containerd_devmapper#role).
options:
  prefix:
    description:
      - What the names of a role's variables begin with, before the name of the option that each one sets, as
        V(direct_lvm_). A refusal of a value names the variable then.
    type: str
    default: ""
    version_added: 1.1.0
  state:
    description:
      - V(present) foretells how Docker comes to run on the pool.
      - >-
        V(absent) foretells how everything is taken away again: containers and Docker stopped, the pool with all images
        and containers in it removed, then the volume group, the labels of its devices, the profile, what Docker keeps
        of the pool's images and containers, and the keys in C(daemon.json). Docker itself, its volumes and its networks
        stay. Only what carries the tag C(devicemapper.containers) is removed; a pool that was found and not made is
        refused, with the command that gives it the tag.
    type: str
    choices: [present, absent]
    default: present
  engine:
    description:
      - V(docker) foretells all of it. V(none) foretells the pool alone, and does not look at Docker.
      - V(containerd) foretells how containerd's devmapper snapshotter comes to work with the pool, or, with
        O(state=absent), how its containers and snapshots, the pool and the section of its configuration are taken away
        again. containerd stays, running.
    type: str
    choices: [docker, containerd, none]
    default: docker
  managed_by:
    description:
      - Who makes the pool.
      - V(collection) makes it with the modules of this collection, and names it to Docker.
      - >-
        V(docker) lets Docker make it on one device when it first starts (C(dm.directlvm_device)), and puts right then
        what Docker leaves out. O(vg), O(pool), O(chunk_size) and O(zero) keep their defaults, and sizes are whole
        percentages of the volume group. Docker does not change any of it later, so a difference is refused.
      - >-
        V(loop) lets Docker make it of two files in its data root (loop-lvm), which is not for production. Devices and
        all options of a pool on them are left out of account.
    type: str
    choices: [collection, docker, loop]
    default: collection
  loop_data_size:
    description: As O(devicemapper.containers.docker_loop_files#module:data_size). Counts with O(managed_by=loop).
    type: str
    default: 100g
  loop_metadata_size:
    description: As O(devicemapper.containers.docker_loop_files#module:metadata_size). Counts with O(managed_by=loop).
    type: str
    default: 2g
  packages:
    description:
      - Packages that bring containerd and, with O(docker=true), Docker. Only with O(engine=containerd). Their versions
        are checked first.
    type: list
    elements: str
    default: []
  docker:
    description:
      - Whether Docker 25 or later is put on the pool too, by containerd's image store. Only with O(engine=containerd).
    type: bool
    default: false
  root_path:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:root_path). Only with O(engine=containerd).
    type: path
  base_image_size:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:base_image_size). Only with O(engine=containerd).
    type: str
    default: 10GB
  discard_blocks:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:discard_blocks). Only with O(engine=containerd).
    type: bool
  async_remove:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:async_remove). Only with O(engine=containerd).
    type: bool
  fs_type:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:fs_type). Only with O(engine=containerd).
    type: str
    choices: [ext4, xfs, ext2]
  runtimes:
    description:
      - As O(devicemapper.containers.containerd_devmapper#module:runtimes). Only with O(engine=containerd).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the handler.
        type: str
        required: true
      runtime_type:
        description: What containerd finds the shim by.
        type: str
        required: true
      runtime_path:
        description: Path of the shim's program.
        type: str
      pod_annotations:
        description: Patterns of annotations.
        type: list
        elements: str
      privileged_without_host_devices:
        description: Whether a privileged container gets none of the host's devices.
        type: bool
      options:
        description: Keys of the handler's C(options).
        type: dict
        default: {}
  stop_containers:
    description:
      - Whether containers that run may be stopped. Otherwise O(state=absent) refuses as long as any runs on the pool,
        or as long as Docker runs and does not say.
    type: bool
    default: false
  devices:
    description:
      - Paths of the block devices of the volume group. Required with O(state=present), but not with
        O(managed_by=loop).
      - With O(state=absent), devices that are in the volume group need not be named.
      - In the place of a path stands a rule that begins with the word C(disks), such as
        V(disks size>=100g rotational=no but=1). It means every blank disk of the host that has what it says, and the
        disks that are in the group already.
      - The terms are C(size>=) and C(size<=) with a size, C(model=), C(path=) and C(id=) with a pattern of the shell
        (of the disk's model, and of its names under C(/dev/disk/by-path) and C(/dev/disk/by-id)), C(bus=) with V(ata),
        V(mmc), V(nvme), V(scsi), V(usb), V(virtio) or V(xen), C(rotational=) with V(yes) or V(no), C(count=) with how
        many are taken, and C(but=) with how many blank ones are left.
      - A rule takes whole disks alone, larger ones first, and never one that is not blank, whatever may be wiped. One
        that means other disks than those of the group that is there is refused; with O(engine=none), as the playbook
        C(devicemapper.containers.grow) has it, those that came are added.
    type: list
    elements: path
  vg:
    description: Name of the volume group.
    type: str
    default: docker
  pool:
    description: Name of the thin pool.
    type: str
    aliases: [name]
    default: thinpool
  data_size:
    description: As O(devicemapper.containers.lvm_thin_pool#module:size).
    type: str
    default: 80%VG
  metadata_size:
    description: As O(devicemapper.containers.lvm_thin_pool#module:metadata_size).
    type: str
    default: 1%VG
  chunk_size:
    description: As O(devicemapper.containers.lvm_thin_pool#module:chunk_size).
    type: str
    default: 512K
  zero:
    description:
      - As O(devicemapper.containers.lvm_thin_pool#module:zero).
      - >-
        Without it, zeroing is on for a new pool where O(runtimes) or O(layout) hand its devices to virtual machines,
        and off for any other new one. With O(engine=containerd) a pool that is there keeps what it has; with others it
        is off.
    type: bool
  autoextend_threshold:
    description: As O(devicemapper.containers.lvm_profile#module:thin_pool_autoextend_threshold), in percent.
    type: int
    default: 80
  autoextend_percent:
    description: As O(devicemapper.containers.lvm_profile#module:thin_pool_autoextend_percent), in percent.
    type: int
    default: 20
  autoextend_room:
    description:
      - What to do when the volume group does not have what the next automatic extension takes.
      - V(warn) says so with the figures, V(fail) refuses, V(ignore) is silent.
    type: str
    choices: [warn, fail, ignore]
    default: warn
  wipe_signatures:
    description: As O(devicemapper.containers.lvm_pv#module:wipe_signatures).
    type: bool
    default: false
  destroy_contents:
    description: As O(devicemapper.containers.lvm_pv#module:destroy_contents).
    type: bool
    default: false
    version_added: 1.1.0
  layout:
    description: As O(devicemapper.containers.containerd_devmapper#module:layout).
    type: dict
    default: {}
    version_added: 1.1.0
    suboptions:
      preset:
        description: As O(devicemapper.containers.containerd_devmapper#module:layout.preset).
        type: str
      unit:
        description: The service of systemd that starts containerd.
        type: str
      socket:
        description: Path of its socket.
        type: str
      binary:
        description: Path of the program.
        type: str
      config:
        description: Path of its main file, where that is not the one that the unit names.
        type: str
      root:
        description: Folder of its data.
        type: str
      drop_in:
        description: Folder whose files the main file imports.
        type: str
  resize_devices:
    description: Whether LVM shall use all of the devices of the volume group that were enlarged.
    type: bool
    default: false
    version_added: 1.1.0
  reserve:
    description:
      - How much of the volume group is kept for an emergency, see M(devicemapper.containers.thin_pool_reserve). Without
        it, and with an empty one, nothing is, and a reserve that is there stays.
      - Where a new pool leaves no room for it, that is refused. For one that is there it is a warning, since a reserve
        that was given to the pool cannot be kept again until the group has room.
    type: str
    version_added: 1.1.0
  docker_packages:
    description:
      - Packages that bring Docker, to be installed once pool and C(daemon.json) are there. Their version is checked
        first.
    type: list
    elements: str
    default: []
  storage_opts:
    description: More entries for O(devicemapper.containers.docker_daemon#module:storage_opts).
    type: list
    elements: str
    default: []
  daemon_options:
    description: More keys for O(devicemapper.containers.docker_daemon#module:options).
    type: dict
    default: {}
  existing_data:
    description:
      - What to do with data of Docker's that does not fit the pool (images of another storage driver, loop files,
        records of another pool).
      - V(refuse) refuses, and says what there is. V(backup) foretells that the data root is moved aside.
      - >-
        V(keep) leaves the data root where it is, with what other storage drivers have in it, and foretells that only
        what Docker keeps of another pool is moved aside.
    type: str
    choices: [refuse, backup, keep]
    default: refuse
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes.info
seealso:
  - module: devicemapper.containers.containerd_devmapper
  - module: devicemapper.containers.lvm_pv
  - module: devicemapper.containers.lvm_vg
  - module: devicemapper.containers.lvm_profile
  - module: devicemapper.containers.lvm_thin_pool
  - module: devicemapper.containers.thin_pool_reserve
  - module: devicemapper.containers.docker_daemon
  - module: devicemapper.containers.docker_loop_files
"""

EXAMPLES = r"""
- name: Foretell what a pool on the first data disk takes
  devicemapper.containers.thin_pool_plan:
    devices: [/dev/disk/by-id/virtio-data1]
  register: plan

- name: Show the steps
  ansible.builtin.debug:
    var: plan.actions

- name: Foretell what it takes to let Docker make the pool
  devicemapper.containers.thin_pool_plan:
    devices: [/dev/disk/by-id/virtio-data1]
    managed_by: docker
    docker_packages: [docker.io]
- name: Foretell what containerd takes on a pool of its own
  devicemapper.containers.thin_pool_plan:
    engine: containerd
    devices: [/dev/disk/by-id/virtio-data2]
    vg: containerd
    packages: [containerd]

- name: Foretell what taking it apart takes
  devicemapper.containers.thin_pool_plan:
    state: absent
"""

RETURN = r"""
health:
  description:
    - How the pool is now, before anything is done, as the module
      M(devicemapper.containers.thin_pool_check_info) judges it with its defaults, and what happened to it within a day;
      V(null) where there is none. It is also shown while the play runs, in one line if the pool is well.
  returned: success
  type: dict
  version_added: 1.1.0
  contains:
    verdict:
      description: V(ok), V(warning), V(unknown) or V(critical).
      type: str
    sentence:
      description: What is worst and what to do, or for how much more there is room.
      type: str
    lines:
      description: What a person reads. The word and the figures, then each reason, and what happened.
      type: list
      elements: str
actions:
  description: Every step of the chain, as sentences in their order; empty on a host that needs nothing.
  returned: success
  type: list
  elements: str
  sample: [install packages lvm2, create physical volume /dev/vdb, create volume group docker on /dev/vdb]
links:
  description:
    - The same steps by the link of the chain that takes them, in its order. A link without steps need not run.
  returned: success
  type: dict
  contains:
    packages:
      description: Packages of LVM and of the filesystem's tools.
      type: list
      elements: str
    containers:
      description: Containers stopped. Only with O(state=absent), which has no packages and does not start Docker.
      type: list
      elements: str
    docker_stop:
      description: Docker stopped, because its configuration or its pool changes.
      type: list
      elements: str
    docker_data:
      description: >-
        Docker's data root, or its records of another pool, moved aside; with O(state=absent), its records of the pool
        removed.
      type: list
      elements: str
    physical_volumes:
      description: Steps of M(devicemapper.containers.lvm_pv).
      type: list
      elements: str
    volume_group:
      description: Steps of M(devicemapper.containers.lvm_vg).
      type: list
      elements: str
    profile:
      description: Steps of M(devicemapper.containers.lvm_profile).
      type: list
      elements: str
    thin_pool:
      description: Steps of M(devicemapper.containers.lvm_thin_pool).
      type: list
      elements: str
    boot:
      description: The drop-in of Docker's unit that activates the pool before Docker starts.
      type: list
      elements: str
    reserve:
      description: Steps of M(devicemapper.containers.thin_pool_reserve). Not with O(state=absent).
      type: list
      elements: str
    daemon:
      description: Steps of M(devicemapper.containers.docker_daemon).
      type: list
      elements: str
    docker_packages:
      description: Docker's own packages.
      type: list
      elements: str
    docker_start:
      description: Docker started. With O(managed_by=docker) the links of the pool come after it where it makes one.
      type: list
      elements: str
    loop_files:
      description: Steps of M(devicemapper.containers.docker_loop_files). Only with O(managed_by=loop).
      type: list
      elements: str
    snapshots:
      description: >-
        Snapshots, and then the containers on them, removed from containerd. This and those below only with
        O(engine=containerd).
      type: list
      elements: str
    containerd_stop:
      description: containerd stopped.
      type: list
      elements: str
    devices:
      description: Thin devices removed that the stopped containerd left in the kernel.
      type: list
      elements: str
    records:
      description: The snapshotter's databases removed.
      type: list
      elements: str
    configuration:
      description: Steps of M(devicemapper.containers.containerd_devmapper).
      type: list
      elements: str
    containerd_start:
      description: containerd started, or started anew.
      type: list
      elements: str
commands:
  description: The commands of links that no module takes, by link, each as its words.
  returned: success
  type: dict
  sample: {docker_stop: [[systemctl, stop, docker.socket, docker.service]]}
undo:
  description: The commands that take those of RV(commands) back, where they can be, by link and in their order.
  returned: success
  type: dict
  sample: {docker_stop: [[systemctl, start, docker.service]]}
modules:
  description:
    - The options of the modules that take the links of the pool, by module. Devices are named as they were found.
  returned: success
  type: dict
  sample: {lvm_pv: {devices: [/dev/vdb]}}
pool:
  description: The pool's names.
  returned: success
  type: dict
  contains:
    vg:
      description: Of its volume group.
      type: str
      sample: docker
    name:
      description: Of the pool in it.
      type: str
      sample: thinpool
    dm_name:
      description: Of its device.
      type: str
      sample: docker-thinpool
    path:
      description: Path of its device.
      type: str
      sample: /dev/mapper/docker-thinpool
daemon:
  description: The options for M(devicemapper.containers.docker_daemon), for one call after the other.
  returned: with O(engine=containerd)
  type: list
  elements: dict
devices:
  description: Canonical paths of the devices, with O(state=absent) those of the volume group too.
  returned: success
  type: list
  elements: str
  sample: [/dev/vdb]
disks:
  description:
    - Every whole disk of the host, and whether it is taken. Empty where O(devices) has no rule.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: Its path.
      type: str
      sample: /dev/vdb
    size:
      description: Its size in bytes.
      type: int
      sample: 10737418240
    model:
      description: What it calls itself; empty if nothing.
      type: str
      sample: Samsung SSD 870
    bus:
      description: What it is attached by; V(null) if that is not known.
      type: str
      sample: ata
    rotational:
      description: Whether the kernel takes it for a rotating disk.
      type: bool
      sample: false
    taken:
      description: Whether the rules take it.
      type: bool
      sample: true
    reasons:
      description: Why, or everything that speaks against it.
      type: list
      elements: str
      sample: ["is free, and as the rule wants it"]
boot:
  description: The drop-in of Docker's unit.
  returned: success
  type: dict
  contains:
    path:
      description: Its path.
      type: str
      sample: /etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf
    content:
      description: Its text.
      type: str
packages:
  description: What the package steps install.
  returned: success
  type: dict
  contains:
    manager:
      description: "The package manager's module: V(apt) or V(dnf); V(null) with O(state=absent)."
      type: str
    storage:
      description: Missing packages of LVM and of the filesystem's tools.
      type: list
      elements: str
    docker:
      description: Missing packages of Docker.
      type: list
      elements: str
    unknown:
      description: Missing packages that the host's package lists do not know; the lists must be fetched first.
      type: list
      elements: str
thin_pool:
  description:
    - The pool as it will be, see RV(devicemapper.containers.lvm_thin_pool#module:thin_pool); V(null) where there will
      be none.
  returned: success
  type: dict
profile:
  description: Name of the pool's profile.
  returned: success
  type: str
  sample: docker-thinpool
storage_opts:
  description: All entries for Docker's C(storage-opts).
  returned: with O(engine=docker) and O(engine=none)
  type: list
  elements: str
  sample: [dm.thinpooldev=/dev/mapper/docker-thinpool]
autoextend:
  description: What the next automatic extension takes; V(null) where it is switched off.
  returned: success
  type: dict
  contains:
    extent_size:
      description: Size of an extent in bytes.
      type: int
    data_needed:
      description: Extents that extending the data takes.
      type: int
    metadata_needed:
      description: Extents that extending the metadata takes, LVM's spare included.
      type: int
    free:
      description: Extents that the volume group will have free.
      type: int
    data_possible:
      description: Whether the data can be extended.
      type: bool
    metadata_possible:
      description: Whether the metadata can be extended.
      type: bool
loop_files:
  description:
    - Docker's loop files as they are, see RV(devicemapper.containers.docker_loop_files#module:loop_files); V(null)
      without O(managed_by=loop).
  returned: success
  type: dict
docker:
  description: Docker as it is now.
  returned: success
  type: dict
  contains:
    makes_pool:
      description: Whether it will make the pool when it is started.
      type: bool
    data_root:
      description: Where it keeps its data.
      type: str
      sample: /var/lib/docker
    aside:
      description: Paths of its data that are to be moved aside, and where to.
      type: dict
      sample: {/var/lib/docker: /var/lib/docker.20261126T120000Z}
    records:
      description: Paths of what it keeps of the pool's images and containers, as far as they are to be removed.
      type: list
      elements: str
    running:
      description: Names of the containers that run. Only asked for with O(state=absent), V(null) if not known.
      type: list
      elements: str
    installed:
      description: Whether there is a dockerd.
      type: bool
    version:
      description: Its version.
      type: str
    active:
      description: Whether its service runs.
      type: bool
    driver:
      description: The running daemon's storage driver; V(null) if it does not answer.
      type: str
    pool_name:
      description: The running daemon's pool; V(null) if it does not answer.
      type: str
    udev_sync:
      description: Whether the running daemon synchronises with udev; V(null) if it does not say.
      type: bool
containerd:
  description: containerd as it is now.
  returned: with O(engine=containerd)
  type: dict
  contains:
    installed:
      description: Whether there is a containerd.
      type: bool
    version:
      description: Its version.
      type: str
      sample: 1.7.24
    active:
      description: Whether its service runs.
      type: bool
    plugin:
      description: State of the running snapshotter, V(ok) or its error; V(null) if it does not answer.
      type: str
      sample: ok
    config:
      description: Path of its main configuration file.
      type: str
      sample: /etc/containerd/config.toml
    root_path:
      description: Folder of the snapshotter's databases.
      type: str
      sample: /var/lib/containerd/io.containerd.snapshotter.v1.devmapper
    records:
      description: Paths of the databases, as far as they are to be removed.
      type: list
      elements: str
    running:
      description: Namespace and name of the containers that run on the pool.
      type: list
      elements: str
      sample: [default/web]
"""

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import cri_runtimes, layouts
from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import loop_files
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import collect

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import HostState


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "default": ""},
            "managed_by": {"type": "str", "choices": ["collection", "docker", "loop"], "default": "collection"},
            "loop_data_size": {"type": "str", "default": loop_files.DEFAULT_DATA_SIZE},
            "loop_metadata_size": {"type": "str", "default": loop_files.DEFAULT_METADATA_SIZE},
            "engine": {"type": "str", "choices": ["docker", "containerd", "none"], "default": "docker"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "docker": {"type": "bool", "default": False},
            "root_path": {"type": "path"},
            "base_image_size": {"type": "str", "default": "10GB"},
            "discard_blocks": {"type": "bool"},
            "async_remove": {"type": "bool"},
            "fs_type": {"type": "str", "choices": ["ext4", "xfs", "ext2"]},
            "runtimes": cri_runtimes.OPTION,
            "layout": layouts.OPTION,
            "stop_containers": {"type": "bool", "default": False},
            "devices": {"type": "list", "elements": "path"},
            "vg": {"type": "str", "default": "docker"},
            "pool": {"type": "str", "aliases": ["name"], "default": "thinpool"},
            "data_size": {"type": "str", "default": "80%VG"},
            "metadata_size": {"type": "str", "default": "1%VG"},
            "chunk_size": {"type": "str", "default": "512K"},
            "zero": {"type": "bool"},
            "autoextend_threshold": {"type": "int", "default": 80},
            "autoextend_percent": {"type": "int", "default": 20},
            "autoextend_room": {"type": "str", "choices": ["warn", "fail", "ignore"], "default": "warn"},
            "wipe_signatures": {"type": "bool", "default": False},
            "destroy_contents": {"type": "bool", "default": False},
            "resize_devices": {"type": "bool", "default": False},
            "reserve": {"type": "str"},
            "docker_packages": {"type": "list", "elements": "str", "default": []},
            "storage_opts": {"type": "list", "elements": "str", "default": []},
            "daemon_options": {"type": "dict", "default": {}},
            "existing_data": {"type": "str", "choices": ["refuse", "backup", "keep"], "default": "refuse"},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    options = dict(module.params)
    prefix = options.pop("prefix")
    try:
        return planned(options, module.warn)
    except errors.RefusedErrors as refusal:
        raise errors.RefusedErrors(named(reason, prefix, options) for reason in refusal.reasons) from refusal
    except errors.RefusedError as refusal:
        raise errors.RefusedError(named(str(refusal), prefix, options)) from refusal


def named(reason: str, prefix: str, options: t.Iterable[str]) -> str:
    """Return a refusal that begins with the name of an option, with that of the variable that set it."""
    # The profile's keys and the parts of the layout are variables of their own, and loop_lvm's have no second "loop_".
    name = re.match(r"(?P<of>layout: |thin_pool_(?=autoextend_)|loop_(?=(?:meta)?data_size))?(?P<own>\w+)", reason)
    if not prefix or not name or not (name["of"] or name["own"] in options):
        return reason
    return f"{prefix}{name['own']}{reason[name.end() :]}"


def planned(options: dict[str, t.Any], warn: t.Callable[[str], None]) -> dict:
    # Only the one that is needed: the other would be a quarter of what there is to load.
    if options["engine"] == "containerd":
        from ansible_collections.devicemapper.containers.plugins.module_utils._plan.gather_containerd import result
    else:
        from ansible_collections.devicemapper.containers.plugins.module_utils._plan.gather_docker import result

        options["zero"] = bool(options["zero"])
    found, host = result(options, warn)
    return {**found, "health": health_of(host, options) if options["state"] == "present" else None}


def health_of(host: HostState, options: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """Return how the pool is now, before anything is done; None where there is none."""
    engine = "" if options["engine"] == "none" else options["engine"]
    name = PoolName(options["vg"], options["pool"])
    verdict = collect.look_at(host.lvm, host.pool_status, name, engine, since="-1d")
    if verdict is None:
        return None
    return {"verdict": verdict.health, "sentence": verdict.sentence, "lines": verdict.lines}


if __name__ == "__main__":
    main()
