# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the module thin_pool_plan foretells of a pool for Docker, or for nobody."""

from __future__ import annotations

import time
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils import (
    _boot,
    _chain,
    _daemon_json,
    _docker,
    _docker_data,
    _docker_request,
    _errors,
    _file,
    _foretold,
    _loop_files,
    _package,
    _process,
    _size,
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


def wish_of(options: dict[str, t.Any]) -> _docker_request.Wish:
    """Return the wish that the options spell."""
    params = {key: options[key] for key in DOCKER}
    for name in ("loop_data_size", "loop_metadata_size"):
        params[name] = _size.option(name, _loop_files.parse_size, params[name])
    params["docker_packages"] = tuple(params["docker_packages"])
    params["storage_opts"] = tuple(params["storage_opts"])
    wish = _docker_request.Wish(**_foretold.pool_options(options), **params)
    _foretold.check(wish)
    if wish.managed_by != "collection" and wish.engine != "docker":
        raise _errors.Refused(
            f"managed_by: {wish.managed_by} is a way of Docker's, and with engine: {wish.engine} Docker is left alone: "
            "set managed_by: collection"
        )
    return wish


def names_of(options: dict[str, t.Any], wish: _docker_request.Wish) -> list:
    """Return the devices that are given; a pool on files has none."""
    return [] if wish.managed_by == "loop" else options["devices"] or []


def read(names: list, wish: _docker_request.Wish, family: str) -> _docker_request.Host:
    """Return what the host is like; without a ``family`` of distributions, packages are not asked for."""
    on_loop = wish.managed_by == "loop"
    report = None if on_loop else _foretold.read_report()
    looks_at_docker = wish.engine == "docker"
    daemon_text = _file.read(_daemon_json.DEFAULT_PATH) if looks_at_docker else None
    docker = _docker.read() if looks_at_docker else _docker.Docker()
    data = _docker_data.read(_chain.find_data_root(daemon_text, wish, docker.flags)) if looks_at_docker else None
    missing, missing_docker = missing_packages(family, wish, daemon_text, docker) if family else ([], [])
    return _docker_request.Host(
        **_foretold.storage(report, names, wish),
        daemon_text=daemon_text,
        boot_text=_file.read(_boot.path(_docker.SERVICE, wish.vg, wish.pool)) if looks_at_docker else None,
        docker=docker,
        data=data or _docker_data.DockerData(),
        missing_packages=tuple(missing),
        missing_docker_packages=tuple(missing_docker),
        candidates=tuple(_package.candidates(family, [*missing, *missing_docker])) if family else (),
        loop_files=_loop_files.read(data.root) if data and on_loop else None,
    )


def missing_packages(family: str, wish: _docker_request.Wish, daemon_text: str | None, docker: _docker.Docker) -> tuple:
    """Return the packages that the storage and those that Docker needs and the host lacks."""
    docker_wanted = wish.wants_docker(docker)
    storage = _chain.needed_packages(family, wish, daemon_text, docker_wanted, _process.find)
    if docker_wanted and family == "debian" and _package.needs_apparmor(_process.find):
        storage.append("apparmor")
    engine = wish.docker_packages if docker_wanted else ()
    lacking = set(_package.missing(family, [*storage, *engine]))
    return [package for package in storage if package in lacking], [package for package in engine if package in lacking]


def to_it(options: dict[str, t.Any], wish: _docker_request.Wish, warn: _foretold.Warn) -> tuple:
    names = names_of(options, wish)
    if not names and wish.managed_by != "loop":
        raise _errors.Refused("devices is empty: name at least one block device for the pool")
    family = _package.read_family()
    host = read(names, wish, family)
    chain = _chain.foretell(host, wish)
    if chain.warning:
        warn(chain.warning)
    if host.docker.active and host.docker.info is None:
        warn(f"Docker runs but does not answer on {_docker.SOCKET}: which storage it uses could not be verified")
    return host, chain, "apt" if family == "debian" else "dnf"


def from_it(options: dict[str, t.Any], wish: _docker_request.Wish) -> tuple:
    host = read(names_of(options, wish), wish, family="")
    host = replace(host, **_foretold.with_members(host, wish))
    if host.docker.active:
        host = replace(host, docker=replace(host.docker, running=_docker.running_containers()))
    chain = _chain.take_apart(host, wish, stop_containers=options["stop_containers"])
    return host, chain, None


def foretell(options: dict[str, t.Any], warn: _foretold.Warn) -> dict[str, t.Any]:
    """Return what thin_pool_plan tells of a pool for Docker, or for nobody."""
    wish = wish_of(options)
    host, chain, manager = from_it(options, wish) if options["state"] == "absent" else to_it(options, wish, warn)
    found = _foretold.told(host, wish, chain, manager, _docker.SERVICE)
    found["packages"]["docker"] = list(host.missing_docker_packages)
    return {
        **found,
        "storage_opts": list(_chain.storage_opts(host, wish)),
        "loop_files": _loop_files.view(host.loop_files) if host.loop_files else None,
        "docker": {
            **_foretold.told_docker(host.docker, host.data, chain.records),
            "makes_pool": manager is not None and _chain.storage_of(host, wish).moment == "started",
            "aside": _docker_data.places(host.data.root, chain.aside, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())),
        },
    }
