# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the modules that say how a pool is, once."""

from __future__ import annotations


class ModuleDocFragment:
    # From when on the use of a pool is a reason.
    DOCUMENTATION = r"""
options:
  data_warning:
    description: From how many percent of its data in use on a pool is to be watched, V(1) to V(100).
    type: int
    default: 75
  data_critical:
    description: From how many percent of its data in use on a pool is in danger, V(1) to V(100).
    type: int
    default: 90
  metadata_warning:
    description: As O(data_warning), for the metadata. An empty pool may show 10 percent, the kernel's own reserve.
    type: int
    default: 75
  metadata_critical:
    description: As O(data_critical), for the metadata.
    type: int
    default: 90
"""

    # Where events are read.
    LOG = r"""
options:
  path:
    description: The log file to read instead of the journal, as M(devicemapper.containers.dm_event_info) does.
    type: path
    aliases: [log_path]
"""
