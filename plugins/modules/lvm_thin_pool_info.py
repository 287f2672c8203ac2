#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_thin_pool_info
short_description: Tell everything that is known of thin pools
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Tells the size, use, settings and health of thin pools, and whether the next automatic extension can succeed.
  - Reads LVM's report once and asks the kernel without flushing, so that it does not wait for a pool that is stuck.
options:
  vg:
    description: Only pools of this volume group.
    type: str
  name:
    description: Only pools of this name.
    type: str
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.health
  - devicemapper.containers.attributes.info
seealso:
  - module: devicemapper.containers.lvm_thin_pool
"""

EXAMPLES = r"""
- name: Look at Docker's pool
  devicemapper.containers.lvm_thin_pool_info:
    vg: docker
    name: thinpool
  register: pool

- name: Say whether it can grow by itself
  ansible.builtin.assert:
    that: pool.thin_pools[0].autoextend.data_possible
    fail_msg: "{{ pool.thin_pools[0].autoextend | to_json }}"
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
    type:
      description: "LVM segment type: V(thin-pool)."
      type: str
      sample: thin-pool
    dm_name:
      description: Its device-mapper name, with hyphens doubled, as containerd''s C(pool_name) wants it.
      type: str
      sample: docker-thinpool
    path:
      description: Its path, as Docker''s C(dm.thinpooldev) wants it.
      type: str
      sample: /dev/mapper/docker-thinpool
    size:
      description: Size of its data in bytes.
      type: int
      sample: 8585740288
    metadata_size:
      description: Size of its metadata in bytes.
      type: int
      sample: 104857600
    chunk_size:
      description: Size of its chunks in bytes.
      type: int
      sample: 524288
    zero:
      description: Whether new chunks are zeroed.
      type: bool
      sample: false
    discards:
      description: "What becomes of discards: V(passdown), V(nopassdown) or V(ignore)."
      type: str
      sample: passdown
    when_full:
      description: "What becomes of writes to a full pool: V(queue) or V(error)."
      type: str
      sample: queue
    profile:
      description: The attached profile, V(null) if none.
      type: str
      sample: docker-thinpool
    active:
      description: Whether it is active.
      type: bool
      sample: true
    monitored:
      description: Whether dmeventd monitors it.
      type: bool
      sample: true
    low_water_mark:
      description: Free chunks at which the kernel sends its event, V(0) for never, V(null) while inactive.
      type: int
      sample: 3275
    tags:
      description: Its LVM tags.
      type: list
      elements: str
      sample: [devicemapper.containers]
    data_percent:
      description: How much of the data is in use, in percent; V(null) while inactive.
      type: float
      sample: 12.34
    metadata_percent:
      description:
        - How much of the metadata is in use, in percent; V(null) while inactive. The kernel counts its own reserve in,
          so that an empty pool shows about 10.
      type: float
      sample: 10.04
    health:
      description:
        - "One word for all of it: V(ok), V(warning) for what is to be watched, V(unknown) for what could not be found
          out, V(critical) for what stops containers, or will. The worst of RV(thin_pools[].reasons)."
      type: str
      sample: ok
    reasons:
      description: Everything that is wrong, the worst first; empty where RV(thin_pools[].health) is V(ok).
      type: list
      elements: dict
      contains:
        kind:
          description:
            - "What it is, for programs: V(failed), V(suspended), V(inactive), V(device_missing), V(metadata_read_only),
              V(out_of_data), V(needs_check), V(no_status), V(data_usage), V(metadata_usage), V(data_unknown),
              V(metadata_unknown), V(profile_missing), V(no_autoextend), V(data_extension_impossible),
              V(metadata_extension_impossible), V(not_monitored), V(thin_check_missing) or
              V(not_armed)."
          type: str
          sample: data_extension_impossible
        severity:
          description: "V(warning), V(unknown) or V(critical)."
          type: str
          sample: warning
        message:
          description: What is wrong with which pool, and what to do.
          type: str
    lvm_health:
      description:
        - "LVM's own word: V(ok), V(partial), V(failed), V(out_of_data), V(metadata_read_only) or V(unknown) (lvs(8),
          lv_health_status). It is as old as the last command that flushed the pool."
      type: str
      sample: ok
    mode:
      description:
        - "The mode of the running kernel table: V(rw), V(ro), V(out_of_data_space), V(fail) or V(error); V(null) while
          inactive (kernel documentation, thin-provisioning)."
      type: str
      sample: rw
    writes:
      description:
        - "What becomes of a write that needs room, by the kernel's own word: V(ok), V(waiting) (nothing is lost yet) or
          V(failing); V(null) where that is not known. RV(thin_pools[].when_full) only tells what a full pool is to do
          at first: after a minute the kernel fails what waited."
      type: str
      sample: ok
      version_added: 1.1.0
    needs_check:
      description: Whether the metadata must be checked before the pool can be written again.
      type: bool
      sample: false
    transaction_id:
      description: The kernel's transaction number, which Docker and containerd raise; LVM's own stays 0.
      type: int
      sample: 8
    armed:
      description: Whether the kernel's low water mark is that of the attached profile's threshold.
      type: bool
      sample: true
    autoextend:
      description: What the attached profile does, as LVM sees it.
      type: dict
      contains:
        threshold:
          description: Percent of use from which the pool is extended; V(100) for never.
          type: int
          sample: 80
        percent:
          description: Percent of its size that is added.
          type: int
          sample: 20
        extent_size:
          description: Size of an extent in bytes.
          type: int
          sample: 4194304
        data_needed:
          description: Extents that the next extension of the data takes.
          type: int
          sample: 410
        metadata_needed:
          description: Extents that the next extension of the metadata takes, LVM's spare included.
          type: int
          sample: 12
        free:
          description: Extents that the volume group has free.
          type: int
          sample: 462
        data_possible:
          description: Whether the data can be extended.
          type: bool
          sample: true
        metadata_possible:
          description: Whether the metadata can be extended.
          type: bool
          sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import module_frame, process
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    lvm_state,
    pool_status,
    results,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import judgement, pool_health


def main() -> None:
    limits = pool_health.Limits()
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str"},
            "name": {"type": "str"},
            **{limit: {"type": "int", "default": getattr(limits, limit)} for limit in pool_health.LIMITS},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module), only_reads=True)


def work(module: AnsibleModule) -> dict:
    vg, name = module.params["vg"], module.params["name"]
    for kind, given in (("volume group", vg), ("thin pool", name)):
        if given is not None:
            device_names.check_name(kind, given)
    limits = pool_health.Limits.of(module.params)
    lvm = lvm_state.read()
    volumes = [
        volume for volume in lvm.volumes if volume.is_pool and vg in (None, volume.vg) and name in (None, volume.name)
    ]
    pools = pool_health.pools(lvm, volumes, status_of(volumes))
    return {"changed": False, "thin_pools": [as_result(pool, limits) for pool in pools]}


def status_of(volumes: list) -> dict:
    """Return what the kernel says of the pools, nothing where it does not answer in time."""
    try:
        return pool_status.read() if any(volume.active for volume in volumes) else {}
    except process.ProcessError:
        return {}


def as_result(pool: pool_health.Pool, limits: pool_health.Limits) -> dict:
    """Return everything known of one pool."""
    reasons = judgement.judge(pool, limits)
    return {
        **(results.pool(pool.volume) or {}),
        "data_percent": pool.data_percent,
        "metadata_percent": pool.metadata_percent,
        "health": pool_health.worst(reason.severity for reason in reasons),
        "reasons": [
            {"kind": reason.kind, "severity": reason.severity, "message": reason.message} for reason in reasons
        ],
        "lvm_health": pool.volume.health or "ok",
        "mode": pool.status.mode if pool.status else None,
        "writes": pool.writes or None,
        "needs_check": pool.needs_check,
        "transaction_id": pool.status.transaction_id if pool.status else pool.volume.transaction_id,
        "armed": pool.armed,
        "autoextend": {
            "threshold": pool.policy.threshold,
            "percent": pool.policy.percent,
            **results.auto_extension(pool.extension),
        },
    }


if __name__ == "__main__":
    main()
