# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Who holds what of a pool, read from a snapshot of its metadata and from the records of Docker or containerd."""

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils import (
    _containerd_snapshots,
    _docker_layers,
    _lvm,
    _metadata_snapshot,
    _pool_status,
    _process,
    _usage,
)


def places() -> tuple:
    """Return where Docker and containerd of this host have their records."""
    return _docker_layers.find(), _containerd_snapshots.find()


def read(report: _lvm.Report, pool: _lvm.LogicalVolume, places: tuple, limit: int | None = None) -> dict:
    """Return who holds what of one pool."""
    with _metadata_snapshot.held(pool) as snapshot:
        # At once, since thin_ls may take minutes, and what is in the snapshot may be removed meanwhile.
        active = _usage.parse_active(
            _process.run("dmsetup", "table", "--target", "thin"), snapshot.devices[snapshot.target].number
        )
        owners, records = owners_of(report, pool, snapshot, places, active)
        listed = _usage.parse(
            _process.run("thin_ls", "--no-headers", "--format", _usage.FIELDS, "-m", snapshot.metadata_path)
        )
    rows = _usage.join(listed, owners, active, pool.chunk_size)
    used, exclusive = snapshot.status.data_used * pool.chunk_size, _usage.total(rows)["exclusive"]
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
        "unowned": _usage.total([row for row in rows if row["owner"] is None]),
        "total": len(rows),
        "devices": rows[:limit],
    }


def owners_of(
    report: _lvm.Report,
    pool: _lvm.LogicalVolume,
    snapshot: _metadata_snapshot.Snapshot,
    places: tuple,
    active: dict,
) -> tuple:
    """Return the owners of a pool's devices by their ids, and where they were found."""
    volumes = [volume.name for volume in report.volumes_of(pool.vg) if volume.pool == pool.name]
    owners, records = _usage.volumes(active, pool.vg, volumes), []
    docker, containerd = places
    if containerd and containerd.pool == pool.dm_name:
        owners.update(_containerd_snapshots.read(containerd, docker.root))
        records.append(containerd.folder)
    elif docker.may_be_of(pool.dm_name):
        recorded = _docker_layers.transaction_id(docker.root)
        found = _docker_layers.read(docker.root)
        _target, now = _metadata_snapshot.find(_pool_status.read(), pool)
        if _docker_layers.is_of(recorded, snapshot.status.transaction_id, (now or snapshot.status).transaction_id):
            owners.update(found)
            records.append(docker.root)
    return owners, records
