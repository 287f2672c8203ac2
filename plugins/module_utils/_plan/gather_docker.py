# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the module thin_pool_plan plans of a pool for Docker, or for nobody."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, files, process, sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    dockerd,
    loop_files,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.volume_groups import OWNER_TAG
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import (
    docker_plan,
    docker_request,
    gather,
    package_manager,
    storage_plan,
)

# The options of thin_pool_plan that are for Docker.
DOCKER = (
    "docker_packages",
    "storage_opts",
    "daemon_options",
    "existing_data",
    "engine",
    "managed_by",
    "loop_data_size",
    "loop_metadata_size",
)


def spec_of(options: dict[str, t.Any]) -> docker_request.DockerSpec:
    """Return the spec that the options spell."""
    params = {key: options[key] for key in DOCKER}
    for name in ("loop_data_size", "loop_metadata_size"):
        params[name] = sizes.option(name, loop_files.parse_size, params[name])
    params["docker_packages"] = tuple(params["docker_packages"])
    params["storage_opts"] = tuple(params["storage_opts"])
    spec = docker_request.DockerSpec(**gather.pool_options(options), **params)
    spec.for_pool().check()
    if spec.managed_by != "collection" and spec.engine != "docker":
        raise errors.RefusedError(
            f"managed_by: {spec.managed_by} is a way of Docker's, and with engine: {spec.engine} Docker is left alone: "
            "set managed_by: collection"
        )
    return spec


def names_of(options: dict[str, t.Any], spec: docker_request.DockerSpec) -> list:
    """Return the devices that are given; a pool on files has none."""
    return [] if spec.managed_by == "loop" else options["devices"] or []


def read(names: list, spec: docker_request.DockerSpec, family: str) -> docker_request.DockerHostState:
    """Return what the host is like; without a ``family`` of distributions, packages are not asked for."""
    on_loop = spec.managed_by == "loop"
    lvm = None if on_loop else gather.read_report()
    looks_at_docker = spec.engine == "docker"
    daemon = daemon_json.read() if looks_at_docker else daemon_json.DaemonJson.of(None)
    docker = dockerd.read() if looks_at_docker else dockerd.Docker()
    data = data_root.read(docker_plan.find_data_root(daemon, spec, docker.flags)) if looks_at_docker else None
    missing, missing_docker = missing_packages(family, spec, daemon, docker) if family else ([], [])
    return docker_request.DockerHostState(
        **gather.storage(lvm, names, spec, grows=spec.engine == "none"),
        daemon=daemon,
        boot_text=files.read(boot_drop_in.path(dockerd.SERVICE, spec.vg, spec.pool)) if looks_at_docker else None,
        docker=docker,
        data=data or data_root.DockerData(),
        missing_packages=tuple(missing),
        missing_docker_packages=tuple(missing_docker),
        candidates=tuple(package_manager.candidates(family, [*missing, *missing_docker])) if family else (),
        loop_files=loop_files.read(data.root) if data and on_loop else None,
        moment=gather.moment(),
    )


def missing_packages(
    family: str, spec: docker_request.DockerSpec, daemon: daemon_json.DaemonJson, docker: dockerd.Docker
) -> tuple:
    """Return the packages that the storage and those that Docker needs and the host lacks."""
    docker_wanted = spec.wants_docker(docker)
    storage = docker_plan.needed_packages(family, spec, daemon, docker_wanted, process.find)
    if docker_wanted and family == "debian" and package_manager.needs_apparmor(process.find):
        storage.append("apparmor")
    engine = spec.docker_packages if docker_wanted else ()
    lacking = set(package_manager.missing(family, [*storage, *engine]))
    return [package for package in storage if package in lacking], [package for package in engine if package in lacking]


def to_it(options: dict[str, t.Any], spec: docker_request.DockerSpec, warn: gather.Warn) -> tuple:
    names = names_of(options, spec)
    if not names and spec.managed_by != "loop":
        raise errors.RefusedError("devices is empty: name at least one block device for the pool")
    family = package_manager.read_family()
    host = read(names, spec, family)
    plan = docker_plan.plan_setup(host, spec)
    gather.rehearse(plan)
    if plan.warning:
        warn(plan.warning)
    if host.docker.active and host.docker.info is None:
        warn(f"Docker runs but does not answer on {dockerd.SOCKET}: which storage it uses could not be verified")
    return host, plan, "apt" if family == "debian" else "dnf"


def from_it(options: dict[str, t.Any], spec: docker_request.DockerSpec) -> tuple:
    host = read(gather.without_rules(names_of(options, spec)), spec, family="")
    host = replace(host, **gather.with_members(host, spec))
    if host.docker.active:
        host = replace(host, docker=replace(host.docker, running=dockerd.running_containers()))
    plan = docker_plan.plan_teardown(host, spec, stop_containers=options["stop_containers"])
    return host, plan, None


def result(options: dict[str, t.Any], warn: gather.Warn) -> tuple[dict[str, t.Any], storage_plan.HostState]:
    """Return what thin_pool_plan tells, and what it was decided by, of a pool for Docker, or for nobody."""
    spec = spec_of(options)
    host, plan, manager = from_it(options, spec) if options["state"] == "absent" else to_it(options, spec, warn)
    service = docker_plan.service(host, spec)
    found = gather.plan_result(host, spec, plan, manager, service, options)
    makes_pool = manager is not None and docker_plan.storage_of(host, spec).made_when == "started"
    if makes_pool:  # a group that is made here has it anyway, and one that others made must not get it
        found["modules"]["lvm_vg"]["tags"] = [OWNER_TAG]
    found["modules"]["docker_loop_files"] = {
        "data_root": host.data.root,
        "data_size": options["loop_data_size"],
        "metadata_size": options["loop_metadata_size"],
    }
    found["packages"]["docker"] = list(host.missing_docker_packages)
    told = {
        **found,
        "storage_opts": list(docker_plan.storage_opts(host, spec)),
        "loop_files": loop_files.as_result(host.loop_files) if host.loop_files else None,
        "docker": {
            **gather.docker_result(host.docker, host.data, plan.records),
            "makes_pool": makes_pool,
            "aside": plan.aside,
        },
    }
    return told, host
