#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_pv
short_description: Make LVM physical volumes of devices that hold nothing
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Writes an LVM label on block devices, grows physical volumes with their devices, or removes the labels again.
  - A device is taken only if every check passes. A device that is mounted, swapped on, partitioned, held by another
    driver, read-only, removable or too small, that belongs to a volume group, or that holds any signature is refused,
    with all reasons at once, and nothing is written.
  - A physical volume in no volume group, such as an interrupted run leaves behind, counts as done.
options:
  devices:
    description:
      - Paths of block devices, whole disks or partitions. Names under C(/dev/disk/by-id) are stable over reboots,
        names such as C(/dev/vdb) are not. Several names of one device count once.
    type: list
    elements: path
    required: true
  state:
    description:
      - V(present) makes the devices physical volumes.
      - V(absent) removes the label of physical volumes that are in no volume group, and makes their devices blank, by
        zeros where O(destroy_contents) says that a device is looked at. Data in them is lost.
    type: str
    choices: [present, absent]
    default: present
  resize:
    description: Grow a physical volume whose device has grown by at least one extent. Physical volumes never shrink.
    type: bool
    default: false
  wipe_signatures:
    description:
      - B(Destroys what a device holds.) Wipes the signatures of filesystems, partition tables and the like before
        the label is written, and names each in RV(actions). What is looked at to see whether a device is blank is
        zeroed with them.
      - Never overrides a mount, a holder, swap in use, partitions that the kernel knows, or the label of a physical
        volume that LVM does not list here.
    type: bool
    default: false
  destroy_contents:
    description:
      - B(Destroys what nobody can name.) Takes a device that has no known signature and is not blank all the same, such
        as one with a raw archive, a volume encrypted without a header, or a database's raw file.
      - A device is blank if it reads as zeros (or as ones, like discarded flash memory) in its first and last MiB, at
        each power of two MiB, and at 31 places between. What this collection frees is.
      - Never overrides a mount, a holder, a process that has the device open for writing, or a known signature, which
        O(wipe_signatures) is for.
    type: bool
    default: false
    version_added: 1.1.0
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_vg
  - name: pvcreate(8), wipefs(8)
    description: The commands that are run.
    link: https://man7.org/linux/man-pages/man8/pvcreate.8.html
"""

EXAMPLES = r"""
- name: Make a physical volume of a blank disk
  devicemapper.containers.lvm_pv:
    devices: [/dev/disk/by-id/virtio-data1]

- name: Follow a disk that was made larger
  devicemapper.containers.lvm_pv:
    devices: [/dev/disk/by-id/virtio-data1]
    resize: true

- name: Take the label off again
  devicemapper.containers.lvm_pv:
    devices: [/dev/disk/by-id/virtio-data1]
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: [create physical volume /dev/vdb]
physical_volumes:
  description: The physical volumes on the devices after the run, the foretold ones in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: Canonical path of the device.
      type: str
      sample: /dev/vdb
    vg:
      description: Volume group that it belongs to, V(null) if none.
      type: str
      sample: docker
    size:
      description: Size that LVM uses of it, in bytes.
      type: int
      sample: 10733223936
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    effects,
    lvm_state,
    physical_volumes,
    rehearsal,
    results,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "devices": {"type": "list", "elements": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "resize": {"type": "bool", "default": False},
            "wipe_signatures": {"type": "bool", "default": False},
            "destroy_contents": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    wanted = dict(module.params)
    if not wanted["devices"]:
        raise errors.RefusedError("devices is empty: name at least one block device")
    lvm = lvm_state.read()
    devices = physical_volumes.examine(lvm, wanted.pop("devices"), destroy_contents=wanted.pop("destroy_contents"))
    paths = [device.path for device in devices]
    steps, after = physical_volumes.decide(lvm, devices, **wanted)
    rehearsal.check(steps)
    module_frame.carry_out(module, steps)
    if steps and not module.check_mode:
        planned, after = after, lvm_state.read()
        effects.check_devices(planned, after, paths)
    before, now = (results.physical_volumes(state, paths) for state in (lvm, after))
    return module_frame.result(
        steps, {"physical_volumes": before}, {"physical_volumes": now}, "physical volumes", physical_volumes=now
    )


if __name__ == "__main__":
    main()
