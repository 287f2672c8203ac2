#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: block_device_info
short_description: Tell whether block devices may be taken for a pool, and why not
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Looks at block devices as M(devicemapper.containers.lvm_pv) and M(devicemapper.containers.lvm_vg) do before they
    write to one, with the same checks, and tells for each whether it is free, and if not, every reason at once.
  - Looked for are signatures of filesystems, partition tables, and members of arrays and pools; partitions; holders
    such as multipath, md and device-mapper devices; mounts in any mount namespace; swap in use; loop devices on it;
    membership in a volume group, also of another system or one whose metadata is missing; read-only, removable, zoned
    and too small disks. What cannot be found out is a reason too.
  - A physical volume in no volume group is free.
  - LVM itself is asked in its test mode, which writes nothing, whether it would take a device that nothing else speaks
    against.
options:
  devices:
    description: Paths of block devices. Several names of one device are told each.
    type: list
    elements: path
    required: true
  vg:
    description:
      - Volume group that they are for. It is told whether they may be taken into that, and LVM is asked whether it
        would.
    type: str
    version_added: 1.1.0
extends_documentation_fragment:
  - devicemapper.containers.attributes.info
seealso:
  - module: devicemapper.containers.lvm_pv
  - module: devicemapper.containers.lvm_vg
"""

EXAMPLES = r"""
- name: Look at two disks
  devicemapper.containers.block_device_info:
    devices:
      - /dev/disk/by-id/virtio-data1
      - /dev/disk/by-id/virtio-data2
  register: disks

- name: Show which may be taken
  ansible.builtin.debug:
    msg: "{{ disks.devices | selectattr('free') | map(attribute='device') | list }}"
"""

RETURN = r"""
devices:
  description: The devices, in the order in which they were given.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: The name that was given.
      type: str
      sample: /dev/disk/by-id/virtio-data1
    path:
      description: Canonical path of the device; V(null) if the name stands for no block device.
      type: str
      sample: /dev/vdb
    size:
      description: Its size in bytes; V(null) if the name stands for no block device.
      type: int
      sample: 10737418240
    free:
      description: Whether it may be taken.
      type: bool
      sample: true
    reasons:
      description: Why it may not be taken, a sentence each; empty if it may.
      type: list
      elements: str
      sample: []
    signatures:
      description:
        - What its content is known by. Some of it can be wiped, see
          O(devicemapper.containers.lvm_pv#module:wipe_signatures).
      type: list
      elements: str
      sample: [ext4 at 0x438]
    vg:
      description: The volume group that it belongs to; V(null) if none.
      type: str
      sample: docker
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, process
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    block_devices,
    device_names,
    lvm_state,
    physical_volumes,
    rehearsal,
    volume_groups,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "devices": {"type": "list", "elements": "path", "required": True},
            "vg": {"type": "str"},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    # Without LVM there is no report; a disk with an LVM label is not free then, since nobody can say whose it is.
    vg = module.params["vg"] or ""
    if vg:
        device_names.check_name("volume group", vg)
    lvm = lvm_state.read() if process.find("lvm") else lvm_state.LvmState()
    return {"changed": False, "devices": [as_result(lvm, name, vg) for name in module.params["devices"]]}


def as_result(lvm: lvm_state.LvmState, name: str, vg: str) -> dict[str, t.Any]:
    """Return what is known of one device."""
    problem = block_devices.problem(name)
    if not problem:
        try:
            device = block_devices.examine(name)
        except (OSError, process.ProcessError) as error:
            problem = f"{name} cannot be looked at: {error}"
    if problem:
        return {
            "device": name,
            "path": None,
            "size": None,
            "free": False,
            "reasons": [problem],
            "signatures": [],
            "vg": None,
        }
    volume = lvm.device(device.path)
    reasons = physical_volumes.refusals(lvm, device, group=vg) or unwanted(lvm, device, vg)
    return {
        "device": name,
        "path": device.path,
        "size": device.size,
        "free": not reasons,
        "reasons": reasons,
        "signatures": [str(signature) for signature in device.signatures],
        "vg": volume.vg or None if volume else None,
    }


def unwanted(lvm: lvm_state.LvmState, device: block_devices.BlockDevice, vg: str) -> list[str]:
    """Return what LVM, or the group, has against a device that nothing else speaks against."""
    if not process.find("lvm"):
        return []
    try:
        if vg:
            steps, _after = volume_groups.decide(lvm, name=vg, devices=[device])
        else:
            steps, _after = physical_volumes.decide(lvm, [device])
        rehearsal.check(steps)
    except errors.RefusedErrors as refusal:
        return list(refusal.reasons)
    except errors.RefusedError as refusal:
        return [str(refusal)]
    return []


if __name__ == "__main__":
    main()
