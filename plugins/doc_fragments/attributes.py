# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules say of themselves, once."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Foretells the same C(actions) that a real run takes, and starts no process that writes.
    support: full
  diff_mode:
    description: Shows the state before, and after; in check mode the foretold one.
    support: full
  idempotent:
    description: A second run with the same options changes nothing, also after the pool was extended meanwhile.
    support: full
  platform:
    description: Needs Python 3.8 or later, lvm2 2.02.158 or later, and root.
    platforms: linux
    support: full
  action_group:
    description: C(module_defaults) can be given to all modules of the group at once.
    support: full
    membership:
      - devicemapper.containers.devicemapper
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Only reads, in check mode as ever.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: full
  platform:
    description: Needs Python 3.8 or later, lvm2 2.02.158 or later, and root.
    platforms: linux
    support: full
  action_group:
    description: C(module_defaults) can be given to all modules of the group at once.
    support: full
    membership:
      - devicemapper.containers.devicemapper
"""

    # Before the two above: of an attribute that stands twice, the first counts.
    POOL = r"""
options: {}
attributes:
  action_group:
    description: >-
      C(module_defaults) can be given to all modules of a group at once. Those of the second take O(vg) and O(name) of a
      pool.
    support: full
    membership:
      - devicemapper.containers.devicemapper
      - devicemapper.containers.thin_pool
"""

    EVENTS = r"""
options: {}
attributes:
  action_group:
    description: >-
      C(module_defaults) can be given to all modules of a group at once. Those of the second take O(pools), O(since) and
      O(log_path).
    support: full
    membership:
      - devicemapper.containers.devicemapper
      - devicemapper.containers.thin_pool_events
"""
