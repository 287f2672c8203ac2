#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_usage_info
short_description: Tell which container or image holds how much of a thin pool
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Tells for every thin device of a pool how much it holds, how much of that no other device shares, and whose it is.
    Those that hold most for themselves come first.
  - >-
    Works while containers run, in about the time that C(thin_ls) takes: the kernel takes a snapshot of the pool's
    metadata (C(dmsetup message ... reserve_metadata_snap)), C(thin_ls) reads that, and it is released again.
    No data is read, and nothing is suspended. A large pool takes minutes; for as long, metadata blocks that become
    free stay in use.
  - >-
    A pool has one such snapshot at most, and keeps it over a crash and a reboot. So each is written down in
    C(/var/lib/devicemapper.containers) as long as it is held. What a run left that was killed is released by the
    next one. A snapshot that somebody else holds is left alone, and this module fails with the way out.
    Two runs at once wait for each other.
  - >-
    Whose a device is comes from Docker's records in its data root (C(devicemapper/metadata), C(image/devicemapper) and
    C(containers)), so that dockerd need not run. Devices in containerd's pool are looked up in the databases of its
    devmapper snapshotter and of containerd itself, which need not run either.
options:
  vg:
    description: Only pools of this volume group.
    type: str
  name:
    description: Only pools of this name.
    type: str
  limit:
    description: Return only so many devices of each pool, those that hold most for themselves. The sums count all.
    type: int
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes.info
attributes:
  check_mode:
    description:
      - Does the same in check mode. The snapshot is a message to the kernel, which commits the pool's metadata and
        changes nothing that anybody else sees. It is gone at the end.
    support: full
notes:
  - Needs C(thin_ls) of thin-provisioning-tools (Debian) or device-mapper-persistent-data (Red Hat), 0.6.0 or later.
  - The pool must be active and not read-only. A pool that is full can be read.
seealso:
  - module: devicemapper.containers.lvm_thin_pool_info
  - module: devicemapper.containers.thin_pool_backup
"""

EXAMPLES = r"""
- name: See who fills Docker's pool
  devicemapper.containers.thin_pool_usage_info:
    vg: docker
    name: thinpool
    limit: 10
  register: usage

- name: Name the containers, and what their removal would give back
  ansible.builtin.debug:
    msg: "{{ item.owner.name }}: {{ item.exclusive | human_readable }}"
  loop: "{{ usage.thin_pools[0].devices | selectattr('owner', 'ne', none)
    | selectattr('owner.kind', 'eq', 'container') }}"
  loop_control:
    label: "{{ item.device_id }}"
"""

RETURN = r"""
thin_pools:
  description: The pools that were found, by volume group and name; empty if there are none.
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
    dm_name:
      description: Its device-mapper name, with hyphens doubled.
      type: str
      sample: docker-thinpool
    chunk_size:
      description: Size of its chunks in bytes. All other figures are multiples of it.
      type: int
      sample: 524288
    size:
      description: Size of its data in bytes.
      type: int
      sample: 8585740288
    used:
      description: Bytes of its data in use, as the kernel counts them.
      type: int
      sample: 382730240
    exclusive:
      description: Bytes that are in one device only, summed up over all devices.
      type: int
      sample: 380633088
    shared:
      description: Bytes that are in more than one device, each counted once.
      type: int
      sample: 2097152
    transaction_id:
      description: The kernel's transaction number at the moment of the snapshot.
      type: int
      sample: 8
    records:
      description:
        - >-
          Where the owners were looked up: Docker's data root, and the folder of containerd's snapshotter. Empty where
          there are none, or only such as are another pool's.
      type: list
      elements: str
      sample: [/var/lib/docker]
    unowned:
      description: The devices that nobody has a record of.
      type: dict
      contains:
        devices:
          description: How many there are.
          type: int
          sample: 0
        exclusive:
          description: Bytes that are in one of them only, summed up.
          type: int
          sample: 0
    total:
      description: How many devices the pool has, before O(limit).
      type: int
      sample: 8
    devices:
      description: The devices, those with the most exclusive bytes first.
      type: list
      elements: dict
      contains:
        device_id:
          description: Its id in the pool.
          type: int
          sample: 6
        mapped:
          description: Bytes of the pool that it uses.
          type: int
          sample: 225443840
        exclusive:
          description: Bytes of these that no other device uses, which removing it would give back.
          type: int
          sample: 213909504
        shared:
          description: Bytes of these that other devices use too, such as those of an image.
          type: int
          sample: 11534336
        transaction_id:
          description: The pool's transaction in which it was made.
          type: int
          sample: 5
        dm_name:
          description: Its device-mapper name while it is active, as that of a container that runs; V(null) otherwise.
          type: str
        owner:
          description:
            - >-
              Whose it is; V(null) if nobody has a record of it. In a pool of Docker's or containerd's such a device is
              left over.
          type: dict
          contains:
            engine:
              description: "Who has a record of it: V(docker), V(containerd) or V(lvm)."
              type: str
              sample: docker
            kind:
              description:
                - "V(container): what a container wrote."
                - "V(container_init): the layer between a container and its image."
                - "V(image_layer): a layer of an image."
                - "V(base): the empty filesystem that Docker makes every image from."
                - "V(snapshot): a snapshot of containerd's that belongs to no container or image that it knows."
                - "V(volume): an LVM thin volume."
                - >-
                  V(record): Docker has a record of the device, and no container or image. Docker is about to make or
                  to remove it, or was interrupted.
              type: str
              sample: container
            name:
              description: >-
                Name of the container, names of the images, VG/name of the volume, or what the record is called.
              type: str
              sample: web
            id:
              description: Id of the container, chain id of the layer, key of the snapshot; V(null) where there is none.
              type: str
            images:
              description: The images that the layer is part of, or that the container was made from.
              type: list
              elements: str
              sample: [busybox:latest]
            size:
              description: Bytes that the device pretends to have, V(null) if not known.
              type: int
              sample: 10737418240
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import pool_usage
from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, lvm_state


def main() -> None:
    module = AnsibleModule(
        argument_spec={"vg": {"type": "str"}, "name": {"type": "str"}, "limit": {"type": "int"}},
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    vg, name, limit = (module.params[option] for option in ("vg", "name", "limit"))
    for kind, given in (("volume group", vg), ("thin pool", name)):
        if given is not None:
            device_names.check_name(kind, given)
    if limit is not None and limit < 1:
        raise errors.RefusedError(f"limit must be 1 or more, not {limit}: leave it out for all devices")
    lvm = lvm_state.read()
    pools = [
        volume
        for volume in sorted(lvm.volumes, key=lambda volume: (volume.vg, volume.name))
        if volume.is_pool and vg in (None, volume.vg) and name in (None, volume.name)
    ]
    places = pool_usage.places() if pools else ()
    return {"changed": False, "thin_pools": [pool_usage.read(lvm, pool, places, limit) for pool in pools]}


if __name__ == "__main__":
    main()
