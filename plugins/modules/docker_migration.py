#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_migration
short_description: Carry Docker's images from one storage driver to another
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - >-
    A storage driver sees nothing of what another one keeps in the same data root. As long as Docker runs on another
    storage than the wanted one, this writes an inventory of its images and containers, saves each image into an
    archive, and stops containers if it may. Once Docker runs where it shall, it loads what is missing, gives the images
    their names, and compares all ids and names with the inventory. What is done is found by looking, so a run that was
    interrupted is continued by the next.
  - >-
    To C(overlay2) it takes Docker by itself: C(daemon.json) is changed, the drop-in that activates the pool is removed,
    and Docker is started again; as it was, if that fails. To a thin pool the role
    P(devicemapper.containers.direct_lvm#role) takes it, between two calls of this module. The playbook
    C(devicemapper.containers.migrate) does both.
  - >-
    B(Containers are not carried over.) What C(docker inspect) says of each is kept in the inventory. They stay with
    their writable layers on the old storage, unseen, and are there again when Docker goes back to it. Volumes and
    networks are no driver's, and are not touched.
  - Nothing of the old storage is removed before all images are known to be on the new one, and then only if told.
options:
  storage_driver:
    description:
      - Where to. V(devicemapper) is the thin pool of O(vg) and O(pool), so a host in loop-lvm mode is not there yet.
    type: str
    choices: [devicemapper, overlay2]
    required: true
  vg:
    description: Name of the pool's volume group.
    type: str
    default: docker
  pool:
    description: Name of the thin pool.
    type: str
    aliases: [name]
    default: thinpool
  pool_size:
    description:
      - >-
        Bytes of the pool's data as it will be, such as RV(devicemapper.containers.thin_pool_plan#module:thin_pool)
        tells them. With it, more images than the pool can hold are refused. A tenth of the pool is left out, which
        Docker keeps free (C(dm.min_free_space)), and what is in use already.
    type: int
  directory:
    description:
      - >-
        The directory on the host for the inventory and the archives; made if it is not there, for root alone, since the
        inventory holds the environment of containers. By default the data root with V(.migration) behind it, such as
        V(/var/lib/docker.migration).
    type: path
  stop_containers:
    description:
      - Whether containers that run may be stopped. Otherwise they are refused before anything is saved.
    type: bool
    default: false
  remove_old:
    description:
      - >-
        B(Removes the old storage): what the other driver keeps in the data root, its containers included, what was
        moved aside for the pool, and the archives. Refused unless Docker runs on the wanted storage and all images were
        found there by an earlier run.
      - A thin pool itself is left alone; the playbook C(devicemapper.containers.reset) takes it apart.
    type: bool
    default: false
extends_documentation_fragment:
  - devicemapper.containers.attributes.pool
  - devicemapper.containers.attributes
attributes:
  check_mode:
    description: >-
      Foretells the same C(actions) that a real run takes, says how many bytes it takes and whether they fit, and in
      RV(later) what is left for the call after Docker's change of storage.
    support: full
notes:
  - Names with a digest (C(NAME@sha256:...)) are a registry's word and cannot be given to an image that is loaded. They
    are in the inventory.
  - The layers in Docker's build cache are not carried over.
seealso:
  - module: devicemapper.containers.thin_pool_plan
  - module: devicemapper.containers.docker_daemon
"""

EXAMPLES = r"""
- name: See what it takes to leave the thin pool, and whether it fits
  devicemapper.containers.docker_migration:
    storage_driver: overlay2
  check_mode: true

- name: Leave it
  devicemapper.containers.docker_migration:
    storage_driver: overlay2
    stop_containers: true

- name: Load the images on overlay2, and compare
  devicemapper.containers.docker_migration:
    storage_driver: overlay2
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample:
    - "write /var/lib/docker.migration/to-overlay2.json: 1 images, 0 containers"
    - save image nginx:1.25 (179.00 MiB)
later:
  description: What the next call does, once Docker runs on the wanted storage. Images that are there already are left.
  returned: success
  type: list
  elements: str
  sample: ["load image nginx:1.25 (179.00 MiB)"]
on_target:
  description: Whether Docker ran on the wanted storage when the call began.
  returned: success
  type: bool
verified:
  description: Whether all images of the inventory are known to be there.
  returned: success
  type: bool
directory:
  description: Where inventory and archives are.
  returned: success
  type: str
  sample: /var/lib/docker.migration
images:
  description: The images of the inventory.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The image's id, a digest over its configuration and by that over all of its layers.
      type: str
    references:
      description: Its names.
      type: list
      elements: str
    size:
      description: Bytes of its layers, those included that it shares with other images.
      type: int
containers:
  description: The containers of the inventory, which stay behind.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The container's id.
      type: str
    name:
      description: Its name.
      type: str
    image:
      description: Its image, as it was given.
      type: str
    running:
      description: Whether it ran.
      type: bool
containers_now:
  description: Names of the containers that Docker has now; V(null) where it does not answer.
  returned: success
  type: list
  elements: str
stopped:
  description: Names of the containers that were stopped, or in check mode would be.
  returned: success
  type: list
  elements: str
bytes:
  description: What the images take, and what there is. Sizes are those of their files.
  returned: success
  type: dict
  contains:
    archives:
      description: >-
        Of all archives. A layer that images share is in the archive of each, so it is no more than this that they take.
      type: int
    layers:
      description: Of all layers where Docker runs now, each counted once. That is what they take on the new storage.
      type: int
    directory_free:
      description: Free on the filesystem of the directory.
      type: int
    root_free:
      description: Free on the filesystem of Docker's data root.
      type: int
    pool_free:
      description: What Docker can fill of the pool; V(null) without O(pool_size), and with V(overlay2).
      type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    files,
    module_frame,
    process,
    steps,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    dockerd,
    image_inventory,
    image_migration,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names

# An image may have any size, and a disk any speed: whoever waits for too long ends the run, and the next goes on.
PATIENCE = 86400


class PatientRunner(module_frame.ManagedRunner):
    def run(self, *command: str) -> str:
        return process.run(*command, timeout=PATIENCE)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "storage_driver": {"type": "str", "choices": list(image_migration.DRIVERS), "required": True},
            "vg": {"type": "str", "default": "docker"},
            "pool": {"type": "str", "aliases": ["name"], "default": "thinpool"},
            "pool_size": {"type": "int"},
            "directory": {"type": "path"},
            "stop_containers": {"type": "bool", "default": False},
            "remove_old": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def spec_of(module: AnsibleModule, root: str) -> image_migration.MigrationSpec:
    """Return the wish that the options spell."""
    params = module.params
    for what, option in (("volume group", "vg"), ("thin pool", "pool")):
        device_names.check_name(what, params[option])
    size = params["pool_size"]
    if size is not None and size <= 0:
        raise errors.RefusedError(f"pool_size must be a number of bytes above 0, not {size}")
    directory = f"{root}.migration" if params["directory"] is None else params["directory"]
    files.check_folder("directory", directory)
    if not directory.strip("/"):
        raise errors.RefusedError(f"directory must be the absolute path of a directory of its own, not {directory!r}")
    return image_migration.MigrationSpec(
        driver=params["storage_driver"],
        vg=params["vg"],
        pool=params["pool"],
        dm_name=device_names.PoolName(params["vg"], params["pool"]).dm_name,
        directory=directory.rstrip("/"),
        stop_containers=params["stop_containers"],
        remove_old=params["remove_old"],
        pool_size=size,
    )


def take(
    module: AnsibleModule, spec: image_migration.MigrationSpec, root: str, migration: image_migration.Migration
) -> None:
    """Take the steps, and see between the last of them that nothing is left to carry."""
    host = PatientRunner(module)
    steps.take_steps(migration.carry, host)
    try:
        steps.take_steps(migration.switch, host)
    except (errors.RefusedError, process.ProcessError) as error:
        for step in migration.undo:
            try:
                steps.take_steps([step], host)
            except (errors.RefusedError, process.ProcessError):
                continue  # what was not done yet cannot be undone; Docker is started all the same
        raise errors.RefusedError(
            f"Docker did not get to {spec.target}, and was started again as it was: {error}. See 'journalctl -u docker'"
        ) from error
    if migration.finish and migration.carry:
        again = image_migration.read(spec, dockerd.read(), daemon_json.read(), root)
        left = image_migration.decide(again, spec).carry
        if left:
            raise errors.RefusedError(f"after all was loaded there is still to do: {'; '.join(steps.actions(left))}")
    steps.take_steps(migration.finish, host)


def work(module: AnsibleModule) -> dict:
    daemon = daemon_json.read()
    docker = dockerd.read()
    root = data_root.find_root(daemon, docker.flags)
    spec = spec_of(module, root)
    current = image_migration.read(spec, docker, daemon, root)
    migration = image_migration.decide(current, spec)
    if not module.check_mode:
        take(module, spec, root, migration)
    inventory = migration.inventory or image_inventory.Inventory("")
    known = current.known or image_inventory.Inventory("")
    now = dockerd.containers() if current.docker.info and not module.check_mode else current.containers
    return {
        **module_frame.result(
            migration.steps,
            inventory_result(known, current.docker.info.driver if current.docker.info else None),
            inventory_result(inventory, spec.driver if migration.switch or migration.on_target else None),
            spec.inventory,
        ),
        "later": migration.later,
        "on_target": migration.on_target,
        "verified": inventory.verified,
        "directory": spec.directory,
        "images": [{"id": one.id, "references": list(one.references), "size": one.size} for one in inventory.images],
        "containers": [
            {"id": one.id, "name": one.name, "image": one.image, "running": one.running} for one in inventory.containers
        ],
        "containers_now": None if now is None else sorted(one.name for one in now),
        "stopped": list(migration.stopped),
        "bytes": {
            "archives": inventory.size,
            "layers": current.layers,
            "directory_free": current.room.directory,
            "root_free": current.room.root,
            "pool_free": image_migration.pool_free(current, spec),
        },
    }


def inventory_result(inventory: image_inventory.Inventory, driver: str | None) -> dict:
    """Return what a diff shows."""
    return {
        "storage_driver": driver,
        "images": {one.id: list(one.references) for one in inventory.images},
        "verified": inventory.verified,
    }


if __name__ == "__main__":
    main()
