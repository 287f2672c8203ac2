# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the module thin_pool_plan foretells of a pool for containerd, or for Docker with it."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils import (
    _boot,
    _containerd,
    _containerd_chain,
    _containerd_config,
    _containerd_records,
    _containerd_runtime,
    _containerd_store,
    _daemon_json,
    _docker,
    _docker_data,
    _errors,
    _file,
    _foretold,
    _package,
    _pool_chain,
    _process,
)

# The options of thin_pool_plan that are for the snapshotter.
SNAPSHOTTER = ("root_path", "base_image_size", "discard_blocks", "async_remove", "fs_type")


def wish_of(options: dict[str, t.Any]) -> _containerd_chain.Wish:
    """Return the wish that the options spell."""
    pool = _pool_chain.Wish(**_foretold.pool_options(options))
    _foretold.check(pool)
    settings = _containerd_config.Settings(pool_name=pool.dm_name, **{key: options[key] for key in SNAPSHOTTER})
    return _containerd_chain.Wish(
        **_foretold.pool_options(options),
        settings=settings,
        runtimes=_containerd_runtime.of(options["runtimes"]),
        packages=tuple(options["packages"]),
        docker=options["docker"],
        daemon_options=options["daemon_options"],
        existing_data=options["existing_data"],
    )


def read(names: list, wish: _containerd_chain.Wish, family: str) -> _containerd_chain.Host:
    """Return what the host is like; without a ``family`` of distributions, packages are not asked for."""
    report = _foretold.read_report()
    containerd = _containerd.read()
    configuration = _containerd_config.read(containerd.config)
    folder = wish.settings.root_path or configuration.root_path
    daemon_text = _file.read(_daemon_json.DEFAULT_PATH)
    # On the way back, what daemon.json says tells whether Docker is on the pool.
    looks_at_docker = wish.docker or (not family and _containerd_store.is_configured(daemon_text))
    docker = _docker.read() if looks_at_docker else _docker.Docker()
    root = _docker_data.find_root(daemon_text, docker.flags, wish.daemon_options)
    missing: list = []
    if family:
        needed = _containerd_chain.needed_packages(family, wish, wish.wants_containerd(containerd), _process.find)
        if wish.docker and family == "debian" and _package.needs_apparmor(_process.find):
            needed.append("apparmor")
        missing = _package.missing(family, [*needed, *wish.packages])
    return _containerd_chain.Host(
        **_foretold.storage(report, names, wish),
        missing_packages=tuple(package for package in missing if package not in wish.docker_packages),
        missing_docker_packages=tuple(package for package in missing if package in wish.docker_packages),
        candidates=tuple(_package.candidates(family, missing)) if missing else (),
        docker=docker,
        daemon_text=daemon_text,
        data=_docker_data.read(root) if looks_at_docker else _docker_data.DockerData(),
        containerd=containerd,
        configuration=configuration,
        records=_containerd_records.read(
            folder,
            wish.dm_name,
            configuration.root,
            configuration.state,
            has_docker=_containerd_store.is_configured(daemon_text),
        ),
        boot_text=_file.read(_boot.path(_containerd.SERVICE, wish.vg, wish.pool)),
        configured_at=max((os.stat(source.path).st_mtime for source in configuration.sources), default=None),
        now=time.time(),
    )


def foretell(options: dict[str, t.Any], warn: _foretold.Warn) -> dict[str, t.Any]:
    """Return what thin_pool_plan tells of a pool for containerd."""
    wish = wish_of(options)
    names = options["devices"] or []
    if options["state"] == "absent":
        host = read(names, wish, family="")
        host = replace(host, **_foretold.with_members(host, wish))
        if host.docker.active:
            host = replace(host, docker=replace(host.docker, running=_docker.running_containers()))
        chain = _containerd_chain.take_apart(host, wish, stop_containers=options["stop_containers"])
        manager = None
    else:
        if not names:
            raise _errors.Refused("devices is empty: name at least one block device for the pool")
        family = _package.read_family()
        host = read(names, wish, family)
        chain = _containerd_chain.foretell(host, wish)
        manager = "apt" if family == "debian" else "dnf"
    if chain.warning:
        warn(chain.warning)
    containerd = host.containerd
    if containerd.active and not containerd.plugin:
        warn("containerd runs but does not answer ctr: whether its snapshotter works could not be verified")
    found = _foretold.told(host, wish, chain, manager, _containerd.SERVICE)
    found["packages"]["docker"] = list(host.missing_docker_packages)
    return {
        **found,
        "docker": _foretold.told_docker(
            host.docker, host.data, [str(path) for path in _containerd_store.records(host.data)]
        ),
        "daemon": _containerd_store.calls(host.daemon_text, wish.daemon_options, state=options["state"]),
        "commands": {
            link: [list(step.command) for step in steps]
            for link, steps in chain.links.items()
            if link in ("containers", "snapshots", "devices")
        },
        "containerd": {
            "installed": containerd.installed,
            "version": containerd.version,
            "active": containerd.active,
            "plugin": containerd.plugin or None,
            "config": containerd.config,
            "root_path": host.records.folder,
            "records": chain.records,
            "running": ["/".join(name) for name in host.records.tasks],
        },
    }
