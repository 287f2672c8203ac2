# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the module thin_pool_plan plans of a pool for containerd, or for Docker with it."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    constants,
    containerd_config,
    containerd_daemon,
    containerd_metadata,
    cri_runtimes,
    engine_config,
    image_store,
    layouts,
    snapshotter_settings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors, files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import (
    containerd_plan,
    gather,
    package_manager,
    storage_plan,
)

# The options of thin_pool_plan that are for the snapshotter.
SETTINGS = ("root_path", "base_image_size", "discard_blocks", "async_remove", "fs_type")


def spec_of(options: dict[str, t.Any]) -> containerd_plan.ContainerdSpec:
    """Return the spec that the options spell."""
    pool = storage_plan.StorageSpec(**gather.pool_options(options))
    pool.for_pool().check()
    layout = layouts.of(options["layout"])
    given = {key: options[key] for key in SETTINGS}
    if layout.root and given["root_path"] in (None, f"{constants.ROOT}/{constants.PLUGIN}"):
        given["root_path"] = f"{layout.root}/{constants.PLUGIN}"
    settings = snapshotter_settings.SnapshotterSettings(pool_name=pool.dm_name, **given)
    snapshotter_settings.check(settings)
    return containerd_plan.ContainerdSpec(
        **gather.pool_options(options),
        settings=settings,
        runtimes=cri_runtimes.of(options["runtimes"]),
        packages=tuple(options["packages"]),
        layout=layout,
        docker=options["docker"],
        daemon_options=options["daemon_options"],
        existing_data=options["existing_data"],
    )


def read(names: list, spec: containerd_plan.ContainerdSpec, family: str) -> containerd_plan.ContainerdHostState:
    """Return what the host is like; without a ``family`` of distributions, packages are not asked for."""
    lvm = gather.read_report()
    containerd = containerd_daemon.read(spec.layout)
    configuration = containerd_config.read(containerd.config, spec.layout.drop_in)
    folder = spec.settings.root_path or configuration.root_path
    root = spec.layout.root or configuration.root
    daemon = daemon_json.read()
    # On the way back, what daemon.json says tells whether Docker is on the pool.
    looks_at_docker = spec.docker or (not family and image_store.is_configured(daemon))
    docker = dockerd.read() if looks_at_docker else dockerd.Docker()
    docker_root = data_root.find_root(daemon, docker.flags, spec.daemon_options)
    missing: list = []
    if family:
        needed = containerd_plan.needed_packages(family, spec, spec.wants_containerd(containerd), process.find)
        if spec.docker and family == "debian" and package_manager.needs_apparmor(process.find):
            needed.append("apparmor")
        missing = package_manager.missing(family, [*needed, *spec.packages])
    return containerd_plan.ContainerdHostState(
        **gather.storage(lvm, names, spec),
        missing_packages=tuple(package for package in missing if package not in spec.docker_packages),
        missing_docker_packages=tuple(package for package in missing if package in spec.docker_packages),
        candidates=tuple(package_manager.candidates(family, missing)) if missing else (),
        docker=docker,
        daemon=daemon,
        had_feature=image_store.had_feature(daemon.path),
        data=data_root.read(docker_root) if looks_at_docker else data_root.DockerData(),
        containerd=containerd,
        configuration=configuration,
        records=containerd_metadata.read(
            folder,
            spec.dm_name,
            root,
            configuration.state,
            has_docker=image_store.is_configured(daemon),
        ),
        boot_text=files.read(boot_drop_in.path(containerd.layout.unit, spec.vg, spec.pool)),
        configured_at=max((os.stat(source.path).st_mtime for source in configuration.sources), default=None),
        now=time.time(),
        moment=gather.moment(),
    )


def result(options: dict[str, t.Any], warn: gather.Warn) -> tuple[dict[str, t.Any], storage_plan.HostState]:
    """Return what thin_pool_plan tells, and what it was decided by, of a pool for containerd."""
    spec = spec_of(options)
    names = options["devices"] or []
    if options["state"] == "absent":
        host = read(gather.without_rules(names), spec, family="")
        host = replace(host, **gather.with_members(host, spec))
        if host.docker.active:
            host = replace(host, docker=replace(host.docker, running=dockerd.running_containers()))
        plan = containerd_plan.plan_teardown(host, spec, stop_containers=options["stop_containers"])
        manager = None
    else:
        if not names:
            raise errors.RefusedError("devices is empty: name at least one block device for the pool")
        family = package_manager.read_family()
        host = read(names, spec, family)
        stake = spec.stake(host.lvm)
        if stake:
            warn(stake)
        spec = spec.with_zero(host.lvm)
        plan = containerd_plan.plan_setup(host, spec)
        _steps, changes = containerd_plan.configure(host, spec, "present")
        if changes:
            engine_config.check(host.configuration, changes, spec.runtimes, host.containerd)
        gather.rehearse(plan)
        manager = "apt" if family == "debian" else "dnf"
    if plan.warning:
        warn(plan.warning)
    containerd = host.containerd
    if containerd.active and not containerd.plugin:
        warn("containerd runs but does not answer ctr: whether its snapshotter works could not be verified")
    found = gather.plan_result(host, spec, plan, manager, containerd_plan.service(host), options)
    found["zero"] = spec.zero
    found["packages"]["docker"] = list(host.missing_docker_packages)
    told = {
        **found,
        "docker": {
            **gather.docker_result(host.docker, host.data, [str(path) for path in image_store.records(host.data)]),
            "aside": plan.aside,
        },
        "daemon": image_store.calls(
            host.daemon, spec.daemon_options, state=options["state"], keeps_feature=host.had_feature
        ),
        "containerd": {
            "installed": containerd.installed,
            "version": containerd.version,
            "active": containerd.active,
            "plugin": containerd.plugin or None,
            "config": containerd.config,
            "unit": containerd.layout.unit,
            "root_path": host.records.folder,
            "records": plan.records,
            "running": ["/".join(name) for name in host.records.tasks],
        },
    }
    return told, host
