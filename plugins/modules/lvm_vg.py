#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_vg
short_description: Make an LVM volume group of devices that hold nothing
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Creates a volume group, adds devices to it, tags it, or removes it.
  - Devices that are no physical volumes yet are made such, after the checks of M(devicemapper.containers.lvm_pv).
  - A group that it creates carries the tag C(devicemapper.containers). Only a group with this tag is ever removed.
  - Groups that are exported, shared, of another system, or that miss a device are refused.
options:
  name:
    description: "Name of the volume group: letters, digits and C(+ _ . -), not beginning with a hyphen."
    type: str
    required: true
  devices:
    description:
      - Paths of block devices that the group shall have. Those that it lacks are added; their order does not matter.
      - Required to create a group.
    type: list
    elements: path
    default: []
  state:
    description:
      - V(present) makes the group.
      - V(absent) removes it, if it carries the tag and holds no volumes any more.
    type: str
    choices: [present, absent]
    default: present
  extent_size:
    description:
      - Size of the group's extents, a power of 2 from V(4k) on, in LVM's units C(k), C(m) and C(g), powers of 1024.
      - LVM's default is 4 MiB. It is not changed on an existing group.
    type: str
  tags:
    description: More LVM tags that the group shall carry. Tags are never taken away.
    type: list
    elements: str
    default: []
  remove_unlisted:
    description: Take devices that are not in O(devices) out of the group, if no extent of theirs is in use.
    type: bool
    default: false
  wipe_signatures:
    description:
      - B(Destroys what a device holds.) As in M(devicemapper.containers.lvm_pv).
    type: bool
    default: false
  destroy_contents:
    description:
      - B(Destroys what nobody can name.) As in M(devicemapper.containers.lvm_pv).
    type: bool
    default: false
    version_added: 1.1.0
  resize:
    description:
      - Let LVM use all of the group's devices that were enlarged, a disk of a virtual machine for example.
    type: bool
    default: false
    version_added: 1.1.0
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_pv
  - module: devicemapper.containers.lvm_thin_pool
"""

EXAMPLES = r"""
- name: Make a volume group of one disk
  devicemapper.containers.lvm_vg:
    name: docker
    devices: [/dev/disk/by-id/virtio-data1]

- name: Add a second disk
  devicemapper.containers.lvm_vg:
    name: docker
    devices:
      - /dev/disk/by-id/virtio-data1
      - /dev/disk/by-id/virtio-data2

- name: Remove the empty group again
  devicemapper.containers.lvm_vg:
    name: docker
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: [create volume group docker on /dev/vdb]
volume_group:
  description: The volume group after the run, the foretold one in check mode; V(null) if there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: docker
    devices:
      description: Canonical paths of its devices.
      type: list
      elements: str
      sample: [/dev/vdb]
    size:
      description: Its size in bytes.
      type: int
      sample: 10733223936
    free:
      description: What of it no volume uses, in bytes.
      type: int
      sample: 327155712
    extent_size:
      description: Size of an extent in bytes.
      type: int
      sample: 4194304
    extents:
      description: Number of its extents.
      type: int
      sample: 2559
    extents_free:
      description: Number of extents that no volume uses.
      type: int
      sample: 78
    tags:
      description: Its LVM tags.
      type: list
      elements: str
      sample: [devicemapper.containers]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    effects,
    lvm_state,
    physical_volumes,
    rehearsal,
    results,
    volume_groups,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "devices": {"type": "list", "elements": "path", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "extent_size": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": []},
            "remove_unlisted": {"type": "bool", "default": False},
            "wipe_signatures": {"type": "bool", "default": False},
            "destroy_contents": {"type": "bool", "default": False},
            "resize": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    wanted = dict(module.params)
    name = wanted["name"]
    wanted["extent_size"] = sizes.option("extent_size", sizes.parse_bytes, wanted["extent_size"])
    device_names.check_name("volume group", name)
    if wanted["remove_unlisted"] and not wanted["devices"] and wanted["state"] == "present":
        raise errors.RefusedError(
            f"remove_unlisted would leave volume group {name} no device: name in devices what it keeps"
        )
    lvm = lvm_state.read()
    wanted["devices"] = physical_volumes.examine(
        lvm, wanted["devices"], destroy_contents=wanted.pop("destroy_contents")
    )
    steps, after = volume_groups.decide(lvm, **wanted)
    rehearsal.check(steps)
    module_frame.carry_out(module, steps)
    if steps and not module.check_mode:
        planned, after = after, lvm_state.read()
        effects.check_group(planned, after, name)
    before, now = (results.volume_group(state, name) for state in (lvm, after))
    return module_frame.result(
        steps, {"volume_group": before}, {"volume_group": now}, f"volume group {name}", volume_group=now
    )


if __name__ == "__main__":
    main()
