#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_pv_replace
short_description: Take a disk out of an LVM volume group while its volumes are in use
version_added: 1.1.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Moves what lies on a disk to a new one, or to the room that the group's other disks have, takes the disk out of the
    volume group, and makes it blank. Volumes, pools and containers run on meanwhile, and so do monitoring and automatic
    extension.
  - Room and sizes are looked at before anything is written, and LVM is asked where it can be.
  - Nothing leaves the old disk before the new one was seen to hold the same. C(pvmove(8)) alone does not see to that.
    Where a disk fails while it is read, or the new one while it is written to, pvmove ends well, and what could not be
    copied is whatever the new disk had in its place. This module reads both and compares them, so everything is read
    twice more. It tells which bytes of which volume the old disk does not give back, and moves everything else.
  - A run that was killed, or ended by a power cut, is gone on with by the next one. Extents are moved in pieces of 4
    GiB, so that much is copied anew at most.
options:
  vg:
    description: Name of the volume group.
    type: str
    required: true
  old:
    description:
      - Path of the device that leaves the group. A device that is not in it any more counts as done, and so does one
        that is not on this host, where O(new) is in the group.
      - Its label is removed, and zeros are written where a device is looked at for contents
        (M(devicemapper.containers.lvm_pv)). What it held elsewhere stays on it; see C(blkdiscard(8)) for a disk that
        leaves the house.
    type: path
    required: true
  new:
    description:
      - Path of the device that takes its place. It is added to the group, after the checks of
        M(devicemapper.containers.lvm_pv), if it is not in it.
      - Without it the free extents of the group's other devices are used.
    type: path
  percent:
    description:
      - How much of the old device shall be free at the end, in percent of its extents. Only at V(100) it leaves the
        group.
      - Several calls with larger and larger values tell their progress, as those of the playbook
        C(devicemapper.containers.replace_disk) do.
    type: int
    default: 100
  interrupted:
    description:
      - What to do with a move of this disk that was begun and not ended, by this module or by C(pvmove).
      - V(continue) begins its piece anew, and goes on with the rest.
      - V(abort) ends it and stops there. What was not copied whole stays on the old disk, what was stays where it is
        now, and volumes may be extended onto the old disk again. Nothing else is done then.
    type: str
    choices: [continue, abort]
    default: continue
  wipe_signatures:
    description:
      - B(Destroys what O(new) holds.) As in M(devicemapper.containers.lvm_pv).
    type: bool
    default: false
  destroy_contents:
    description:
      - B(Destroys what nobody can name on O(new).) As in M(devicemapper.containers.lvm_pv).
    type: bool
    default: false
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_vg
  - name: A disk that is replaced
    description: The guide to the playbook.
    link: https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides/replace_disk.md
  - name: pvmove(8)
    description: The command that sets a copy up, and completes it.
    link: https://man7.org/linux/man-pages/man8/pvmove.8.html
"""

EXAMPLES = r"""
- name: Move a pool to another disk while it is in use
  devicemapper.containers.lvm_pv_replace:
    vg: docker
    old: /dev/disk/by-id/virtio-data1
    new: /dev/disk/by-id/virtio-data2

- name: Take a disk out, whose extents fit on the others
  devicemapper.containers.lvm_pv_replace:
    vg: docker
    old: /dev/disk/by-id/virtio-data2

- name: End a move that was interrupted, and leave the disk where it is
  devicemapper.containers.lvm_pv_replace:
    vg: docker
    old: /dev/disk/by-id/virtio-data1
    interrupted: abort
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: [remove /dev/vdb from volume group docker]
extents_left:
  description: How many extents of volumes the old device holds after the run, the foretold number in check mode.
  returned: success
  type: int
  sample: 0
volume_group:
  description: The volume group after the run, the foretold one in check mode.
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

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    disk_replacement,
    effects,
    extent_moves,
    lvm_state,
    physical_volumes,
    rehearsal,
    results,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "required": True},
            "old": {"type": "path", "required": True},
            "new": {"type": "path"},
            "percent": {"type": "int", "default": 100},
            "interrupted": {"type": "str", "choices": ["continue", "abort"], "default": "continue"},
            "wipe_signatures": {"type": "bool", "default": False},
            "destroy_contents": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    wanted = dict(module.params)
    vg = wanted["vg"]
    lvm = lvm_state.read()
    destroy = wanted.pop("destroy_contents")
    name = wanted.pop("new")
    new = physical_volumes.examine(lvm, [name], destroy_contents=destroy)[0] if name is not None else None
    old = _leaving(lvm, wanted.pop("old"), is_replaced=new is not None)
    left_over = extent_moves.left_over(lvm, vg)
    steps, after = disk_replacement.decide(lvm, old=old, new=new, left_over=left_over, **wanted)
    rehearsal.check(steps)
    module_frame.carry_out(module, steps)
    if steps and not module.check_mode:
        planned, after = after, lvm_state.read()
        effects.check_replacement(planned, after, vg, old.path)
    before, now = (results.volume_group(state, vg) for state in (lvm, after))
    left = after.device(old.path)
    return module_frame.result(
        steps,
        {"volume_group": before},
        {"volume_group": now},
        f"volume group {vg}",
        volume_group=now,
        extents_left=left.extents_used if left else 0,
    )


def _leaving(lvm: lvm_state.LvmState, name: str, *, is_replaced: bool) -> BlockDevice:
    """Return the device that is to go; what took its place says that it went, even where it is on this host no more."""
    if is_replaced and name.startswith("/") and not os.path.lexists(name):
        return BlockDevice(name, name)
    return physical_volumes.examine(lvm, [name], destroy_contents=True)[0]


if __name__ == "__main__":
    main()
