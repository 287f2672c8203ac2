#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_reserve
short_description: Keep room for a thin pool in an emergency, and give it to the pool at once
version_added: 1.1.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Keeps a part of a volume group for a thin pool that is full one night (O(state=present)). It is a volume that is
    not active, named as the pool with C(_reserve) behind it, so that neither an automatic extension nor anybody else
    takes it.
  - Gives it to the pool in two commands of LVM's (O(state=released)), while the pool is in use. What containers write
    to a full pool waits for a minute; if the room comes before that, they go on and have lost nothing.
options:
  vg:
    description: The pool's volume group.
    type: str
    required: true
  name:
    description: The pool's name.
    type: str
    required: true
  size:
    description:
      - How much is kept, such as V(5%VG), V(10g) or bytes. Required for O(state=present). It is a minimum, what is
        there never shrinks.
    type: str
  state:
    description:
      - V(present) keeps the reserve.
      - V(released) gives it to the pool. Where there is none, as after a run that was interrupted, a pool that is
        full gets what its group has free; any other is left as it is.
      - V(absent) makes it free extents of the group again.
    type: str
    choices: [present, released, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes
notes:
  - What is kept is not free for automatic extension, so a pool needs room for both. With a pool of V(80%VG) and steps
    of 20 percent 2 percent of the group are left; with V(75%VG) it is 8.
  - A pool whose metadata is full or sick is refused, since room for its data does not help it.
seealso:
  - module: devicemapper.containers.lvm_thin_pool
  - module: devicemapper.containers.thin_pool_check_info
"""

EXAMPLES = r"""
- name: Keep a twentieth of the group for Docker's pool
  devicemapper.containers.thin_pool_reserve:
    vg: docker
    name: thinpool
    size: 5%VG

- name: Give it to the pool, which is full
  devicemapper.containers.thin_pool_reserve:
    vg: docker
    name: thinpool
    state: released

- name: Keep nothing any more
  devicemapper.containers.thin_pool_reserve:
    vg: docker
    name: thinpool
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: ["keep docker/thinpool_reserve: 512.00 MiB for thin pool docker/thinpool in an emergency"]
reserve:
  description: How many bytes are kept after the run, V(0) for none.
  returned: success
  type: int
  sample: 536870912
size:
  description: The size of the pool's data in bytes after the run; V(null) where there is none.
  returned: success
  type: int
  sample: 8585740288
free:
  description: What the volume group has free after the run, in bytes; V(null) where there is none.
  returned: success
  type: int
  sample: 1979711488
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, module_frame, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    effects,
    lvm_state,
    pool_reserve,
    pool_status,
    rehearsal,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "size": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "released", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("size",))],
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    vg, name, state = (module.params[option] for option in ("vg", "name", "state"))
    device_names.check_name("volume group", vg)
    device_names.check_name("thin pool", name)
    device_names.check_name("volume", pool_reserve.name_of(name))
    size = sizes.option("size", sizes.Size.parse, module.params["size"])
    lvm = lvm_state.read()
    full = state == "released" and is_full(lvm.volume(vg, name))
    steps, after = pool_reserve.decide(lvm, vg, name, state=state, size=size, is_full=full)
    rehearsal.check(steps)
    module_frame.carry_out(module, steps)
    if steps and not module.check_mode:
        planned, after = after, lvm_state.read()
        effects.check_reserve(planned, after, vg, name, pool_reserve.name_of(name))
    return module_frame.result(
        steps, told(lvm, vg, name), told(after, vg, name), f"reserve of thin pool {vg}/{name}", **told(after, vg, name)
    )


def is_full(pool: lvm_state.LogicalVolume | None) -> bool:
    """Whether the kernel has no chunk left for a pool; one that more room for data does not help is refused."""
    if pool is None or not pool.is_pool or not pool.active:
        return False
    _target, status = pool_status.find(pool_status.read(), pool.dm_name)
    if status is None:
        return False
    if status.has_failed or status.needs_check or status.mode == "ro":
        raise errors.RefusedError(
            f"thin pool {pool.full_name} does not want room for its data: its metadata is full, must be checked or has "
            "failed. See what the playbook monitor says; the reserve is left as it is"
        )
    return status.mode == "out_of_data_space"


def told(lvm: lvm_state.LvmState, vg: str, name: str) -> dict:
    pool, group, kept = lvm.volume(vg, name), lvm.group(vg), pool_reserve.find(lvm, vg, name)
    return {
        "reserve": kept.size if kept else 0,
        "size": pool.size if pool and pool.is_pool else None,
        "free": group.extents_free * group.extent_size if group else None,
    }


if __name__ == "__main__":
    main()
