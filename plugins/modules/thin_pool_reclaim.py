#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_reclaim
short_description: Give a thin pool back what its containers do not need any more
version_added: 1.1.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - What a container deletes stays in use in the pool until its filesystem discards it. This module has the filesystems
    of all containers that run do so, one after the other, at a limited rate, as C(fstrim) does.
  - >-
    Check mode tells how much that is: the chunks that the pool holds for a container (C(thin_dump)) and that are wholly
    free in its filesystem (ioctl_getfsmap(2)). A filesystem discards nothing but what is free at that moment, so that
    whatever containers write meanwhile is safe.
  - >-
    Tells which devices nobody has on record, as crashes of an engine leave them, and removes them where
    O(remove_orphans) is set and it is proved that nobody uses them. It also tells what is on record and belongs to no
    container or image; that is for the engine to remove.
  - Says what stops discards on their way to the pool, and from there to the disks.
options:
  vg:
    description: The pool's volume group.
    type: str
    required: true
  name:
    description: The pool's name.
    type: str
    required: true
  trim:
    description: Whether filesystems discard what they have free.
    type: bool
    default: true
  rate:
    description:
      - How many bytes a second are given back at most, in LVM's words such as V(512m), so that what containers write
        does not wait behind discards. V(0) for as many as there are.
    type: str
    default: 512m
  remove_orphans:
    description:
      - Whether devices are removed that nobody has on record. It is seen twice, some seconds apart, that a device is in
        no record before and after it was listed, is not active, and has not changed; the kernel refuses to delete one
        that is open.
      - >-
        Nothing is removed where a record cannot be read, a layer or snapshot has no device on record, the records are
        not those of the pool or another containerd has some, a device that nobody has on record is active, or the pool
        has thin volumes of LVM's.
    type: bool
    default: false
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes
attributes:
  check_mode:
    description:
      - Foretells the same C(actions) that a real run takes. It takes a snapshot of the metadata as
        M(devicemapper.containers.thin_pool_usage_info) does, and reads what is free.
    support: full
  idempotent:
    description:
      - A filesystem that has nothing to give back is left alone. What containers delete between two runs is given back
        by the second.
    support: full
notes:
  - Needs C(thin_ls) and C(thin_dump) of thin-provisioning-tools (Debian) or device-mapper-persistent-data (Red Hat).
  - The pool must be writable. A pool that is full needs room first, since a filesystem may wait for a write to it.
  - Filesystems are ext4 (Linux 4.12 and later) and xfs, as Docker and containerd make them. Those of containers that do
    not run are not mounted, and so cannot be discarded from.
seealso:
  - module: devicemapper.containers.thin_pool_usage_info
  - module: devicemapper.containers.thin_pool_check_info
"""

EXAMPLES = r"""
- name: Give Docker's pool back what containers have deleted
  devicemapper.containers.thin_pool_reclaim:
    vg: docker
    name: thinpool
    rate: 256m
  register: reclaimed

- name: Tell how much came back
  ansible.builtin.debug:
    msg: "{{ (reclaimed.used_before - reclaimed.used_after) | human_readable }}"

- name: Remove what a crash has left, too
  devicemapper.containers.thin_pool_reclaim:
    vg: docker
    name: thinpool
    remove_orphans: true
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: ["discard what is free in the filesystem of container web (120.00 MiB)"]
lines:
  description: All of it for a person.
  returned: success
  type: list
  elements: str
  sample: ["docker/thinpool: 1.00 GiB in use, 120.00 MiB came back"]
reclaimable:
  description: How many bytes the steps give back at most.
  returned: success
  type: int
  sample: 125829120
used_before:
  description: How many bytes of the pool's data were in use.
  returned: success
  type: int
  sample: 1073741824
used_after:
  description: The same afterwards; in check mode what it would be at least.
  returned: success
  type: int
  sample: 947912704
containers:
  description: Every device that is active, those that hold most for themselves first.
  returned: success
  type: list
  elements: dict
  contains:
    device_id:
      description: Its number in the pool.
      type: int
      sample: 8
    dm_name:
      description: Its device-mapper name.
      type: str
    owner:
      description: >-
        Whose it is, as in RV(devicemapper.containers.thin_pool_usage_info#module:thin_pools[].devices[].owner).
      type: dict
    filesystem:
      description: Its filesystem, V(null) where none is mounted.
      type: str
      sample: xfs
    reclaimable:
      description: How many bytes it could give back at most.
      type: int
      sample: 125829120
    discarded:
      description: How many bytes its filesystem said it has discarded; V(null) where it was not asked to.
      type: int
      sample: 130023424
    why_not:
      description: Why it gives back nothing, V(null) where it does or has nothing.
      type: str
orphans:
  description: The devices that nobody has on record.
  returned: success
  type: list
  elements: dict
  contains:
    device_id:
      description: Its number in the pool.
      type: int
      sample: 42
    exclusive:
      description: Bytes that its removal gives back.
      type: int
      sample: 3670016
    dm_name:
      description: Its device-mapper name while it is active, which keeps it from being removed; V(null) otherwise.
      type: str
    removed:
      description: Whether it was removed, or in check mode would be.
      type: bool
orphans_unclear:
  description: Why it is not known which devices nobody has on record; V(null) where it is.
  returned: success
  type: str
leftovers:
  description:
    - "Devices that are on record and belong to no container or image: what Docker has yet to delete, and snapshots of
      containerd's that nothing refers to."
  returned: success
  type: list
  elements: dict
  contains:
    device_id:
      description: Its number in the pool.
      type: int
    exclusive:
      description: Bytes that its removal gives back.
      type: int
    name:
      description: What it is on record as.
      type: str
    message:
      description: Who removes it, and how.
      type: str
stops:
  description: What stops discards on their way.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: "V(ignored): nothing comes back to the pool. V(not_passed_down), V(disks_take_none): it does, and the
        disks are not told."
      type: str
      sample: disks_take_none
    message:
      description: What stops them, and what changes that.
      type: str
"""

import shlex
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import (
    discards,
    metadata_snapshot,
    pool_usage,
    reclaim,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    locks,
    module_frame,
    process,
    sizes,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, lvm_state, pool_status

LOCK = "/run/devicemapper.containers.reclaim.lock"
COMMITTED = 2.0  # seconds after which the kernel has committed what became free


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "trim": {"type": "bool", "default": True},
            "rate": {"type": "str", "default": "512m"},
            "remove_orphans": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    # Without the lock of modules that change LVM: it takes as long as the rate says, and nothing of LVM's is changed.
    # A pool that is about to be full must not wait for it.
    module_frame.run(module, lambda: alone(module), only_reads=True)


def alone(module: AnsibleModule) -> dict:
    """Work while no other run does: what one proved to be nobody's another could remove, and an engine make anew."""
    with locks.locked(LOCK, process.TIMEOUT, create=True):
        return work(module)


def work(module: AnsibleModule) -> dict:
    vg, name = module.params["vg"], module.params["name"]
    device_names.check_name("volume group", vg)
    device_names.check_name("thin pool", name)
    rate = rate_of(module.params["rate"])
    lvm = lvm_state.read()
    pool = lvm.volume(vg, name)
    if pool is None or not pool.is_pool:
        raise errors.RefusedError(f"there is no thin pool {vg}/{name} on this host: correct vg and name")
    target, found_status = pool_status.find(pool_status.read() if pool.active else {}, pool.dm_name)
    status = writable(pool, found_status)
    places = pool_usage.places()
    looked = reclaim.look(lvm, pool, places)
    orphans = looked.sighting.unknown if looked.sighting else {}
    data = metadata_snapshot.devices().get(device_names.join(pool.vg, pool.data_volume))
    stops = discards.on_the_way(pool, status, data.number if data else "")
    trims = module.params["trim"] and not any(stop.is_whole for stop in stops)
    found = reclaim.live(pool, looked.usage) if trims else []
    # Last, since what was seen then is to be as it was when they are deleted, and the above may take minutes.
    removed = reclaim.proved_orphans(lvm, pool, places, looked) if module.params["remove_orphans"] else {}
    steps = reclaim.decide(pool, found, removed, reclaim.remover(pool, places, target), rate)
    module_frame.carry_out(module, steps)
    expected = sum(one.reclaimable(pool.chunk_size) for one in found if not one.why_not)
    expected += sum(row["exclusive"] for row in removed.values())
    used = status.data_used * pool.chunk_size
    after = used - expected if module.check_mode else used_now(pool, used) if steps else used
    told = {
        "reclaimable": expected,
        "used_before": used,
        "used_after": after,
        "containers": [as_result(one, pool.chunk_size) for one in found],
        "orphans": [
            {
                "device_id": number,
                "exclusive": row["exclusive"],
                "dm_name": row["dm_name"],
                "removed": number in removed,
            }
            for number, row in sorted(orphans.items())
        ],
        "orphans_unclear": looked.unclear or None,
        "leftovers": [left for left in map(leftover, looked.usage["devices"]) if left],
        "stops": [{"kind": stop.kind, "message": stop.message} for stop in stops],
    }
    told["lines"] = lines(pool.full_name, told, check=module.check_mode)
    return module_frame.result(steps, {"used": used}, {"used": after}, f"thin pool {pool.full_name}", **told)


def lines(name: str, told: dict, *, check: bool) -> list[str]:
    """Return all of it for a person."""
    used, back = told["used_before"], told["used_before"] - told["used_after"]
    return [
        f"{name}: {sizes.human(used)} in use, "
        + (f"{sizes.human(back)} can come back" if check else f"{sizes.human(max(back, 0))} came back"),
        *(
            f"    {one['owner']['name'] if one['owner'] else one['dm_name']}: "
            + (one["why_not"] or f"{sizes.human(one['reclaimable'])} of it free and held by the pool")
            for one in told["containers"]
            if one["why_not"] or one["reclaimable"]
        ),
        *(
            f"    device {one['device_id']} is on nobody's record and holds {sizes.human(one['exclusive'])}"
            + (": removed" if one["removed"] else f"; {_left(one)}")
            for one in told["orphans"]
        ),
        *(
            [f"    which devices are nobody's is not known: {told['orphans_unclear']}"]
            if told["orphans_unclear"]
            else []
        ),
        *(
            f"    {one['name']} holds {sizes.human(one['exclusive'])} and belongs to no container: {one['message']}"
            for one in told["leftovers"]
        ),
        *(f"    {one['message']}" for one in told["stops"]),
    ]


def _left(orphan: dict) -> str:
    if orphan["dm_name"]:
        return f"it is active as {orphan['dm_name']}, so somebody may use it"
    return "remove_orphans removes it where it is proved that nobody uses it"


def rate_of(text: str) -> int:
    """Return bytes a second, 0 for as many as there are."""
    try:
        rate = sizes.parse_bytes(text)
    except ValueError as error:
        raise errors.RefusedError(f"rate: {error}") from error
    if 0 < rate < sizes.MIB:
        raise errors.RefusedError(f"rate must be 1m or more, or 0 for no limit, not {text}: is the unit missing?")
    return rate


def writable(pool: lvm_state.LogicalVolume, status: pool_status.PoolStatus | None) -> pool_status.PoolStatus:
    """Return the status of a pool; one that can give nothing back as it is is refused."""
    reason = metadata_snapshot.obstacle(pool, status)
    if reason or status is None:
        raise errors.RefusedError(reason)
    if status.needs_check:
        raise errors.RefusedError(
            f"the metadata of thin pool {pool.full_name} must be checked before it is changed: see the guide backup.md "
            "of this collection"
        )
    if status.mode == "out_of_data_space":
        raise errors.RefusedError(
            f"thin pool {pool.full_name} is full, and filesystems on it may wait for a write, and this with them: give "
            "it room first (playbook grow, or remove a container or image that nobody needs)"
        )
    return status


def used_now(pool: lvm_state.LogicalVolume, before: int) -> int:
    time.sleep(COMMITTED)
    _target, status = pool_status.find(pool_status.read(), pool.dm_name)
    return status.data_used * pool.chunk_size if status else before


def as_result(one: reclaim.Live, chunk: int) -> dict:
    return {
        "device_id": one.row["device_id"],
        "dm_name": one.row["dm_name"],
        "owner": one.row["owner"],
        "filesystem": one.places[0].filesystem if one.places else None,
        "reclaimable": one.reclaimable(chunk),
        "discarded": one.discarded,
        "why_not": one.why_not or None,
    }


def leftover(row: dict) -> dict | None:
    """Return what is on record and belongs to no container or image, None for what does."""
    owner = row["owner"]
    if not owner or row["dm_name"] or owner["kind"] not in ("record", "snapshot"):
        return None
    if owner["engine"] == "docker":
        message = (
            "Docker is about to make or to delete it, or was interrupted: dockerd goes on with that when it starts"
        )
    else:
        key = shlex.quote(owner["id"] or owner["name"])
        message = (
            "nothing refers to this snapshot. Find its namespace ('ctr namespaces list', and for each 'ctr --namespace "
            "NAME snapshots --snapshotter devmapper list'), and see that no lease holds it ('ctr --namespace NAME "
            f"leases list'). If nobody needs it: 'ctr --namespace NAME snapshots --snapshotter devmapper remove {key}'"
        )
    return {"device_id": row["device_id"], "exclusive": row["exclusive"], "name": owner["name"], "message": message}


if __name__ == "__main__":
    main()
