#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: thin_pool_backup
short_description: Save what is needed to rebuild a thin pool, while containers run
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - >-
    Puts into one archive on the host what makes a heap of chunks a pool again: the volume group's metadata
    (C(vgcfgbackup)), the pool's own metadata (C(thin_dump) of a snapshot of it), Docker's or containerd's records of
    what each device is, their configuration, the profile, and a manifest with versions, UUIDs, sizes and checksums.
  - >-
    B(The data is not in it): no image and nothing that a container wrote. It helps where the disks are intact and what
    describes them is not, such as metadata that was overwritten or cannot be repaired. What containers wrote must be
    saved from inside.
  - >-
    Containers go on while it is made. All of it is as of one moment: where Docker made or removed a device meanwhile
    (the pool's transaction id changed), or containerd wrote to its databases, it is gathered again.
  - >-
    The archive is readable by root alone, since it holds the environment of containers. It replaces the one before it
    when it is complete and on the disk, and not before.
  - Nothing is restored or repaired here. How that is done, and when not to, is in a
    L(guide,https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides/backup.md).
options:
  vg:
    description: Name of the volume group.
    type: str
    required: true
  name:
    description: Name of the thin pool.
    type: str
    required: true
  dest:
    description:
      - The directory on the host that the archive is put into; made if it is not there, for root alone.
      - It needs room for the dump, about 70 bytes for each range of chunks, and for twice the records.
    type: path
    default: /var/backups/devicemapper.containers
  verify:
    description:
      - >-
        Restore the dump into a file beside it and have that checked by C(thin_check), before the archive counts.
        The file has holes: it takes as much room as the pool's metadata has blocks in use.
    type: bool
    default: true
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes
attributes:
  check_mode:
    description: Foretells the same C(actions) that a real run takes, and takes no snapshot.
    support: full
  diff_mode:
    description: >-
      Shows which state of the pool the archive has that is there, and which the new one has; in check mode the present
      one.
    support: full
  idempotent:
    description: Each run makes a new archive, since what is in the pool changes without anybody's saying so.
    support: none
notes:
  - The pool must be active and not read-only, since the kernel takes no snapshot of its metadata otherwise.
  - >-
    As long as the snapshot is held, metadata blocks that become free stay in use. It is released at the end; see
    M(devicemapper.containers.thin_pool_usage_info) on what a run that was killed leaves.
seealso:
  - module: devicemapper.containers.thin_pool_usage_info
  - module: devicemapper.containers.lvm_thin_pool_info
"""

EXAMPLES = r"""
- name: Save what Docker's pool is made of
  devicemapper.containers.thin_pool_backup:
    vg: docker
    name: thinpool
  register: backup

- name: Tell where it is
  ansible.builtin.debug:
    var: backup.path
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample:
    - save the metadata of volume group docker
    - save Docker's records of the pool in /var/lib/docker
    - save /etc/lvm/profile/docker-thinpool.profile, /etc/docker/daemon.json
    - dump the metadata of thin pool docker/thinpool
    - check that the dump can be restored
    - write /var/backups/devicemapper.containers/docker-thinpool.tar.gz
path:
  description: The archive.
  returned: success
  type: str
  sample: /var/backups/devicemapper.containers/docker-thinpool.tar.gz
size:
  description: Its size in bytes.
  returned: when it was made
  type: int
  sample: 15234
sha256:
  description: Its checksum.
  returned: when it was made
  type: str
manifest:
  description: What C(manifest.json) in it says, without the list of files.
  returned: when it was made
  type: dict
  contains:
    format:
      description: Number of the archive's layout.
      type: int
      sample: 1
    created:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-24T10:15:30Z"
    host:
      description: Name of the host.
      type: str
    versions:
      description: >-
        Versions of C(kernel), C(lvm), C(thin_dump), C(dockerd) and C(containerd); V(null) for what is not there.
      type: dict
    vg:
      description:
        - C(name), C(uuid) and C(sequence) of the volume group.
        - In C(devices) the path, C(uuid) and C(size) in bytes of each C(device).
      type: dict
    pool:
      description:
        - >-
          C(vg), C(name), C(dm_name), C(uuid), C(size), C(metadata_size) and C(chunk_size) of the pool in bytes, its
          C(transaction_id), and how many C(devices) are in it.
      type: dict
    docker:
      description: The data root that Docker's records are from, as C(root); V(null) where none are of this pool.
      type: dict
    containerd:
      description: The snapshotter's folder, as C(folder); V(null) where the pool is not containerd's.
      type: dict
    files:
      description:
        - How many files are in the archive. There, it is a list with C(name), C(path) on the host, C(size) in bytes and
          C(sha256) of each.
      type: int
      sample: 49
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    constants,
    containerd_config,
    containerd_daemon,
    image_store,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import backup, metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, files, module_frame, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    docker_layers,
    dockerd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    device_names,
    lvm_state,
    pool_status,
    profiles,
)

DEFAULT_FOLDER = "/var/backups/devicemapper.containers"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vg": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "dest": {"type": "path", "default": DEFAULT_FOLDER},
            "verify": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    vg, name, folder = (module.params[option] for option in ("vg", "name", "dest"))
    device_names.check_name("volume group", vg)
    device_names.check_name("thin pool", name)
    files.check_folder("dest", folder)
    lvm = lvm_state.read()
    group, pool = lvm.group(vg), lvm.volume(vg, name)
    if group is None or pool is None or not pool.is_pool:
        raise errors.RefusedError(f"there is no thin pool {vg}/{name} on this host: correct vg and name")
    _target, status = pool_status.find(pool_status.read() if pool.active else {}, pool.dm_name)
    reason = metadata_snapshot.obstacle(pool, status)
    if reason or status is None:
        raise errors.RefusedError(f"{reason}. A backup that was made before is as it was")
    docker = docker_of(pool, status)
    spec = backup.BackupSpec(
        group=group,
        pool=pool,
        folder=folder,
        devices=tuple(sorted(lvm.devices_of(vg), key=lambda device: device.device)),
        profile_path=path_if_there(profiles.read(pool.profile).path) if pool.profile else "",
        daemon_path=path_if_there(daemon_json.DEFAULT_PATH),
        docker=docker,
        containerd=containerd_of(pool, is_dockers=docker is not None),
        verify=module.params["verify"],
    )
    before = backup.summary(backup.old_manifest(spec.path))
    archive = backup.Archive(spec)
    steps = archive.steps()
    found: dict = {"path": spec.path}
    if module.check_mode:
        after = {"transaction_id": status.transaction_id, "vg_sequence": group.sequence}
    else:
        with backup.scratch(spec):
            module_frame.carry_out(module, steps)
        listed = {**archive.manifest, "files": len(archive.manifest["files"])}
        found.update(manifest=listed, size=os.stat(spec.path).st_size, sha256=module.sha256(spec.path))
        after = backup.summary(archive.manifest)
    return module_frame.result(steps, before, {**before, **after}, spec.path, **found)


def path_if_there(path: str) -> str:
    return path if os.path.isfile(path) else ""


def docker_of(pool: lvm_state.LogicalVolume, before: pool_status.PoolStatus) -> data_root.DockerData | None:
    """Return what Docker keeps of a pool, None where that is of another one, or nothing."""
    place = docker_layers.find()
    data = data_root.read(place.root)
    _target, after = pool_status.find(pool_status.read(), pool.dm_name)
    if not place.may_be_of(pool.dm_name) or data.has_loop_files or after is None:
        return None
    return data if docker_layers.is_of(data.transaction_id, before.transaction_id, after.transaction_id) else None


def containerd_of(pool: lvm_state.LogicalVolume, *, is_dockers: bool) -> backup.ContainerdRecords | None:
    """Return what containerd keeps of a pool, None where its configuration names another one, or none."""
    try:
        configuration = containerd_config.read(containerd_daemon.configured_path())
    except errors.RefusedError:
        if is_dockers:  # and so no matter of a configuration that cannot be read
            return None
        raise
    folder = configuration.root_path
    databases = [
        constants.devices_path(folder, pool.dm_name),
        constants.snapshots_path(folder),
        constants.metadata_path(configuration.root),
    ]
    if configuration.pool_name != pool.dm_name or not all(map(os.path.isfile, databases)):
        return None
    paths = [source.path for source in configuration.sources]
    daemon = daemon_json.read()
    if image_store.is_configured(daemon):
        root = data_root.find_root(daemon, systemd.flags(dockerd.read_unit()))
        paths += image_store.records(data_root.read(root))
    return backup.ContainerdRecords(folder, tuple(databases), tuple(paths))


if __name__ == "__main__":
    main()
