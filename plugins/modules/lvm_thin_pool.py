#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_thin_pool
short_description: Make, grow and watch an LVM thin pool for containers
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Creates a thin pool where nothing exists, converts the two plain volumes that Docker's manual makes where those
    exist, takes over a pool that is there, and grows its data or metadata. B(It never shrinks a pool), so one that was
    extended automatically stays as it is.
  - The layout is the manual's in every case. LVM adds a spare of the metadata's size for repairs, and room is kept for
    it.
  - The profile is attached so that it counts. The running kernel table gets the low water mark of its threshold.
  - A pool with a profile is not made or changed where the program that LVM checks its metadata with
    (C(global/thin_check_executable) of lvm.conf(5)) is not there, since it might not come up at the next boot.
  - LVM thin volumes are never made in the pool, since Docker and containerd use its device numbers themselves.
options:
  vg:
    description: Volume group of the pool.
    type: str
    required: true
  name:
    description: "Name of the pool: letters, digits and C(+ _ . -), not beginning with a hyphen."
    type: str
    required: true
  size:
    description:
      - What the pool's data shall at least have, such as V(80%VG), V(100%FREE), V(10g) or a number of bytes. Units are
        LVM's C(b), C(s), C(k), C(m), C(g), C(t), powers of 1024 in either case.
      - Shares are rounded down to extents, other sizes up. A share of C(FREE) is one of what the pool has and could
        have beside its metadata and LVM's spare, so that V(100%FREE) means the same in every run.
      - Required to create a pool.
    type: str
  metadata_size:
    description:
      - What the pool's metadata shall at least have, from V(2m) to V(15.8g), in the same words. A share that comes to
        more or less is kept within these limits.
      - A new pool gets V(1%VG) by default.
    type: str
  metadata_name:
    description:
      - Name of the plain volume that becomes the metadata where a pair of volumes is converted.
      - The default is O(name) with C(meta) behind it.
    type: str
  chunk_size:
    description:
      - Size of a chunk, a multiple of V(64k) from V(64k) to V(1g). It cannot be changed later, and a pool with another
        one is refused.
      - A new pool gets V(512k) by default.
    type: str
  zero:
    description:
      - Whether chunks are zeroed when they are first used. Without it (as Docker's manual wants), parts of a chunk that
        nobody wrote may show what another container left there.
      - A new pool is not zeroed by default.
    type: bool
  profile:
    description:
      - Name of the profile to attach, see M(devicemapper.containers.lvm_profile). An empty string detaches.
    type: str
  monitor:
    description: Whether dmeventd shall monitor the pool. Without that it is never extended automatically.
    type: bool
    default: true
  active:
    description:
      - Whether the pool shall be active. One that is in use is not deactivated.
      - One that a killed LVM command left suspended, or without a table in the kernel, is refreshed.
    type: bool
    default: true
  when_full:
    description:
      - What becomes of writes when the pool is full. V(queue) holds them for 60 seconds (the kernel's
        C(dm_thin_pool.no_space_timeout)) and then fails them, V(error) fails them at once.
      - LVM's default is V(queue).
    type: str
    choices: [queue, error]
  service:
    description:
      - A service of systemd that uses the pool, such as V(docker.service). It waits for the pool at every start, and
        does not start without it, by a drop-in of its unit. Where systemd does not run nothing is done.
      - With O(state=absent) the drop-in is removed.
    type: str
    version_added: 1.1.0
  state:
    description:
      - V(present) makes the pool.
      - V(absent) B(destroys it and all that is in it), if it or its group carries the tag C(devicemapper.containers)
        and nothing uses it.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_vg
  - module: devicemapper.containers.lvm_profile
  - module: devicemapper.containers.lvm_thin_pool_info
  - name: lvmthin(7)
    description: LVM's own description of thin pools.
    link: https://man7.org/linux/man-pages/man7/lvmthin.7.html
"""

EXAMPLES = r"""
- name: Make a pool that has room for one automatic extension
  devicemapper.containers.lvm_thin_pool:
    vg: docker
    name: thinpool
    size: 80%VG
    metadata_size: 1%VG
    profile: docker-thinpool
    service: docker.service

- name: Let the pool have all that its group has
  devicemapper.containers.lvm_thin_pool:
    vg: docker
    name: thinpool
    size: 100%FREE
    profile: docker-thinpool

- name: Destroy the pool and all that is in it
  devicemapper.containers.lvm_thin_pool:
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
  sample:
    - >-
      create thin pool docker/thinpool: data 2047 extents (8.00 GiB), metadata 25 extents (100.00 MiB),
      chunk size 512.00 KiB, zeroing off, profile docker-thinpool
thin_pool:
  description: The pool after the run, the foretold one in check mode; V(null) if there is none.
  returned: success
  type: dict
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
"""

import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    files,
    module_frame,
    sizes,
    systemd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    block_devices,
    boot_drop_in,
    effects,
    lvm_config,
    lvm_state,
    pool_sizing,
    pool_spec,
    profiles,
    rehearsal,
    results,
    thin_pools,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "size": {"type": "str"},
            "metadata_size": {"type": "str"},
            "metadata_name": {"type": "str"},
            "chunk_size": {"type": "str"},
            "zero": {"type": "bool"},
            "profile": {"type": "str"},
            "monitor": {"type": "bool", "default": True},
            "active": {"type": "bool", "default": True},
            "when_full": {"type": "str", "choices": ["queue", "error"]},
            "service": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def spec_of(params: t.Mapping[str, t.Any]) -> pool_spec.PoolSpec:
    """Return the wish that the options spell."""
    return pool_spec.PoolSpec(
        vg=params["vg"],
        name=params["name"],
        size=sizes.option("size", sizes.Size.parse, params["size"]),
        metadata_size=sizes.option("metadata_size", sizes.Size.parse, params["metadata_size"]),
        metadata_name=params["metadata_name"] or "",
        chunk_size=sizes.option("chunk_size", sizes.parse_bytes, params["chunk_size"]),
        zero=params["zero"],
        profile=params["profile"],
        when_full=params["when_full"],
        monitor=params["monitor"],
        active=params["active"],
    )


def work(module: AnsibleModule) -> dict:
    state, profile = module.params["state"], module.params["profile"]
    spec = spec_of(module.params)
    spec.check()
    lvm = lvm_state.read()
    there, group = lvm.volume(spec.vg, spec.name), lvm.group(spec.vg)
    if profile is None and there and group:  # the one that counts stays, and says when the pool is extended
        profile = there.profile or group.profile
    policy = None
    if profile and state == "present":
        policy = profiles.policy(profile, required=spec.profile is not None)
        spec = replace(spec, threshold=policy.threshold, percent=policy.percent, can_monitor=policy.can_monitor)
        if there and group and there.is_pool:
            extension = pool_sizing.auto_extension(group, there, lvm.spare(spec.vg), policy.percent)
            extension = rehearsal.asked(lvm, group, there, extension, may_write=policy.may_write)
            spec = replace(spec, can_extend=not extension.data_refusal)
    signatures = block_devices.contents(thin_pools.convertible(lvm, spec) if state == "present" else ())
    steps, after = thin_pools.decide(lvm, spec, state=state, signatures=signatures)
    if steps and policy and not policy.may_write:
        raise errors.RefusedError(f"thin pool {spec.full_name} cannot be changed: {rehearsal.WRITES_NOTHING}")
    if steps and policy and policy.missing_thin_check:
        raise errors.RefusedError(lvm_config.no_thin_check(spec.full_name, policy.missing_thin_check))
    rehearsal.check(steps)
    drop_in, its_diff = _drop_in(module.params["service"], spec, state)
    module_frame.carry_out(module, [*steps, *drop_in])
    if steps and not module.check_mode:
        planned, after = after, lvm_state.read()
        effects.check_pool(planned, after, spec.vg, spec.name)
    before, now = (results.pool(state.volume(spec.vg, spec.name)) for state in (lvm, after))
    found = module_frame.result(
        [*steps, *drop_in], {"thin_pool": before}, {"thin_pool": now}, f"thin pool {spec.full_name}", thin_pool=now
    )
    if drop_in:
        found["diff"] = [*([found["diff"]] if steps else []), its_diff]
    return found


def _drop_in(service: str | None, spec: pool_spec.PoolSpec, state: str) -> tuple[list[Step], dict[str, str]]:
    """Return the steps about the drop-in of a service's unit, and how it changes.

    No steps without a service, or where systemd does not run.
    """
    if service and not systemd.is_service(service):
        raise errors.RefusedError(f"service: {service!r} is not the name of a service, such as docker.service")
    unit = systemd.read_unit(service) if service else {}
    if not service or not unit:
        return [], {}
    path = boot_drop_in.path(service, spec.vg, spec.name)
    before = files.read(path)
    steps, after = boot_drop_in.decide(
        before,
        service=service,
        vg=spec.vg,
        pool=spec.name,
        state=state,
        needs_reload=unit.get("NeedDaemonReload") == "yes",
    )
    return steps, {"before_header": path, "after_header": path, "before": before or "", "after": after or ""}


if __name__ == "__main__":
    main()
