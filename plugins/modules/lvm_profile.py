#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_profile
short_description: Keep the LVM profile that extends a thin pool automatically
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Writes a metadata profile with the two settings of lvmthin(7) for automatic extension, in the directory that LVM
    itself reports (C(lvmconfig config/profile_dir)), checks it with C(lvmconfig --validate) before it takes the place
    of the old one, and makes a running dmeventd read it again.
  - >-
    For that dmeventd is restarted (C(dmeventd -R)), and the new one takes over what the old one monitored. Should it
    not answer, everything that LVM monitors at boot is monitored anew (C(vgchange --monitor y)), so that no pool stays
    without; that includes what was monitored no longer by somebody's wish (C(lvchange --monitor n)).
  - A profile counts for a pool once it is attached, see O(devicemapper.containers.lvm_thin_pool#module:profile).
options:
  name:
    description: Name of the profile, which is the file's name without C(.profile).
    type: str
    required: true
  thin_pool_autoextend_threshold:
    description:
      - How full a pool may get before it is extended, in percent of its data or its metadata, V(50) to V(99).
      - V(100) switches automatic extension off. LVM would take a value below 50 as 50.
    type: int
    aliases: [autoextend_threshold]
    default: 80
  thin_pool_autoextend_percent:
    description:
      - How much is added each time, in percent of the pool's size, V(1) to V(100).
      - The volume group must have all of it free, or nothing is added.
    type: int
    aliases: [autoextend_percent]
    default: 20
  state:
    description:
      - V(present) writes the profile.
      - V(absent) removes its file, unless a pool uses it.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_thin_pool
  - name: lvmthin(7)
    description: Automatic extension of thin pools.
    link: https://man7.org/linux/man-pages/man7/lvmthin.7.html
"""

EXAMPLES = r"""
- name: Extend a pool by a fifth when it is 80 percent full
  devicemapper.containers.lvm_profile:
    name: docker-thinpool
    thin_pool_autoextend_threshold: 80
    thin_pool_autoextend_percent: 20
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      write profile /etc/lvm/profile/docker-thinpool.profile: thin_pool_autoextend_threshold 80,
      thin_pool_autoextend_percent 20
profile_path:
  description: Path of the profile's file.
  returned: success
  type: str
  sample: /etc/lvm/profile/docker-thinpool.profile
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import module_frame
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, profiles


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "thin_pool_autoextend_threshold": {"type": "int", "aliases": ["autoextend_threshold"], "default": 80},
            "thin_pool_autoextend_percent": {"type": "int", "aliases": ["autoextend_percent"], "default": 20},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    name, state = module.params["name"], module.params["state"]
    profile = profiles.read(name)
    # Only the removal asks who uses the profile, so only it pays for a report.
    # The parts of a pool show its profile too.
    volumes = lvm_state.read().volumes if state == "absent" else ()
    users = [volume.full_name for volume in volumes if volume.is_pool and volume.profile == name]
    steps, after = profiles.decide(
        profile,
        threshold=module.params["thin_pool_autoextend_threshold"],
        percent=module.params["thin_pool_autoextend_percent"],
        state=state,
        used_by=users,
    )
    module_frame.carry_out(module, steps)
    return module_frame.result(steps, profile.text or "", after.text or "", profile.path, profile_path=profile.path)


if __name__ == "__main__":
    main()
