# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Who holds what of a pool, read from a snapshot of its metadata and from the records of Docker or containerd."""

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import snapshots
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_status, thin_devices


def places() -> tuple:
    """Return where Docker and containerd of this host have their records."""
    return docker_layers.find(), snapshots.find()


def read(lvm: lvm_state.LvmState, pool: lvm_state.LogicalVolume, places: tuple, limit: int | None = None) -> dict:
    """Return who holds what of one pool."""
    with metadata_snapshot.held(pool) as snapshot:
        # At once, since thin_ls may take minutes, and what is in the snapshot may be removed meanwhile.
        active = thin_devices.parse_active(
            process.run("dmsetup", "table", "--target", "thin"), snapshot.devices[snapshot.target].number
        )
        owners, records = owners_of(lvm, pool, snapshot, places, active)
        listed = thin_devices.parse(
            process.run(
                *("thin_ls", "--no-headers", "--format", thin_devices.FIELDS, "-m", snapshot.metadata_path),
                ends_with_us=True,
            )
        )
    rows = thin_devices.join(listed, owners, active, pool.chunk_size)
    used, exclusive = snapshot.status.data_used * pool.chunk_size, thin_devices.total(rows)["exclusive"]
    return {
        "vg": pool.vg,
        "name": pool.name,
        "dm_name": pool.dm_name,
        "chunk_size": pool.chunk_size,
        "size": pool.size,
        "used": used,
        "exclusive": exclusive,
        "shared": max(used - exclusive, 0),
        "transaction_id": snapshot.status.transaction_id,
        "records": records,
        "unowned": thin_devices.total([row for row in rows if row["owner"] is None]),
        "total": len(rows),
        "devices": rows[:limit],
    }


def owners_of(
    lvm: lvm_state.LvmState,
    pool: lvm_state.LogicalVolume,
    snapshot: metadata_snapshot.Snapshot,
    places: tuple,
    active: dict,
) -> tuple:
    """Return the owners of a pool's devices by their ids, and where they were found."""
    volumes = [volume.name for volume in lvm.volumes_of(pool.vg) if volume.pool == pool.name]
    owners, records = thin_devices.volumes(active, pool.vg, volumes), []
    docker, containerd = places
    if containerd and containerd.pool == pool.dm_name:
        owners.update(snapshots.read(containerd, docker.root))
        records.append(containerd.folder)
    elif docker.may_be_of(pool.dm_name):
        recorded = docker_layers.transaction_id(docker.root)
        found = docker_layers.read(docker.root)
        _target, now = pool_status.find(pool_status.read(), pool.dm_name)
        if docker_layers.is_of(recorded, snapshot.status.transaction_id, (now or snapshot.status).transaction_id):
            owners.update(found)
            records.append(docker.root)
    return owners, records
