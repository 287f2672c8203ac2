# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The whole way from a host with a blank disk to Docker on a thin pool, planned.

Every stage decides as its own module does, on the state that the stages before it are planned to leave. Those of the
pool stand in storage_plan; here is what Docker takes before and behind them.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager, storage_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_by_docker import PoolByDocker
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_given import PoolGiven
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_on_loop import PoolOnLoop
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import (
    Plan,
    Stage,
)

_AWAY = (
    "The playbook migrate carries images over. Or save what is needed ('docker save'), then set existing_data: backup, "
    "which moves {root} aside, or remove it"
)


_STORAGE: dict[str, type[PoolGiven]] = {"collection": PoolGiven, "docker": PoolByDocker, "loop": PoolOnLoop}


def storage_of(host: DockerHostState, spec: DockerSpec) -> PoolGiven:
    """Return where Docker's pool is to come from."""
    return _STORAGE[spec.managed_by](host, spec)


def storage_opts(host: DockerHostState, spec: DockerSpec) -> tuple[str, ...]:
    """Return all entries for Docker's storage-opts."""
    return (*storage_of(host, spec).options, *spec.storage_opts)


def plan_setup(host: DockerHostState, spec: DockerSpec) -> Plan:
    """Return the whole plan; everything that speaks against it is refused at once."""
    refusals: list[str] = []
    attempt = functools.partial(storage_plan.attempt, refusals)

    storage = storage_of(host, spec)
    docker_wanted = spec.wants_docker(host.docker)
    attempt(lambda: _check_docker(host, spec), None)
    refusals += attempt(storage.problems, [])
    pool = storage.plan_setup(refusals)
    daemon_steps, daemon = attempt(
        lambda: (
            daemon_json.decide(
                host.daemon,
                storage_driver="devicemapper",
                storage_opts=storage_opts(host, spec),
                options=spec.daemon_options,
                flags=host.docker.flags,
                version=host.docker.version,
            )
            if spec.engine == "docker"
            else ([], host.daemon)
        ),
        ([], host.daemon),
    )
    boot = _boot_stage(host, spec, "present")
    replaced = storage.is_new
    switching = not storage.is_named(host.daemon) or _runs_on_other_storage(host.docker, storage)
    conflicts = attempt(lambda: storage.conflicts(switching=switching) if docker_wanted else [], [])
    aside = data_root.places(
        host.data.root, _aside(storage, host, spec, conflicts) if docker_wanted else (), host.moment
    )
    if conflicts and spec.existing_data == "refuse":
        refusals += [f"{conflict}. {_AWAY.format(root=host.data.root)}" for conflict in conflicts]
    elif host.data.root in aside and not host.data.is_movable:
        refusals.append(
            f"{host.data.root} is a mount point or a symbolic link and cannot be moved aside as a whole: move its "
            "content away"
        )
    if docker_wanted and not replaced:
        # What is moved aside takes the pool's records with it.
        data = replace(host.data, has_records=False, base_size=0) if aside else host.data
        refusals += storage.unusable(data)
        attempt(lambda: daemon_json.check_base(daemon, data.base_size), None)
    if refusals or pool.lvm is None:
        raise RefusedErrors(dict.fromkeys(refusals))

    reconfigured = bool(daemon_steps) and storage.needs_restart(host.daemon, daemon)
    restart = reconfigured or replaced or bool(aside) or _runs_on_other_storage(host.docker, storage)
    starts = docker_wanted and (not host.docker.active or restart or not host.docker.enabled)
    start = f"start Docker and enable it{storage.start_words(pool.lvm)}"
    plan = Plan(lvm=pool.lvm, extension=pool.extension, warning=pool.warning, aside=aside)

    def add_pool(when: str) -> None:
        if when == storage.made_when:
            pool.add_to(plan, boot)

    plan.add("packages", storage_plan.install(host.missing_packages))
    add_pool("before")
    plan.add("docker_stop", [dockerd.STOP] if host.docker.active and restart else [])
    plan.add("docker_data", [data_root.move_aside(*places) for places in aside.items()])
    add_pool("stopped")
    plan.add("daemon", daemon_steps, host.daemon.path, *daemon_json.shown(host.daemon, daemon))
    plan.add("docker_packages", storage_plan.install(host.missing_docker_packages))
    plan.add("docker_start", [Step(start, dockerd.START)] if starts else [])
    add_pool("started")
    return plan


def plan_teardown(host: DockerHostState, spec: DockerSpec, *, stop_containers: bool = False) -> Plan:
    """Return the way back: everything gone that this collection made, and Docker stopped but installed.

    Whatever is not there any more is passed over, so that a run that was interrupted can be finished.
    """
    refusals: list[str] = []
    attempt = functools.partial(storage_plan.attempt, refusals)

    storage = storage_of(host, spec)
    attempt(lambda: host.daemon.keys, {})
    configured = storage.is_ours(host.daemon)
    runs_on_it = host.docker.active and (configured if host.docker.info is None else storage.is_used(host.docker.info))
    if runs_on_it and not stop_containers:
        refusals += _check_containers(host.docker, storage.name)

    pool = storage.plan_teardown(refusals, engine_stops=runs_on_it)
    records = storage.records() if configured else []
    daemon_steps, daemon = attempt(
        lambda: (
            daemon_json.decide(
                host.daemon,
                state="absent",
                storage_driver="devicemapper",
                storage_opts=storage_opts(host, spec),
                options=spec.daemon_options,
            )
            if configured
            else ([], host.daemon)
        ),
        ([], host.daemon),
    )
    if refusals or pool.lvm is None:
        raise RefusedErrors(dict.fromkeys(refusals))

    stop = runs_on_it and bool(pool.takes("thin_pool") or records or daemon_steps)
    running = host.docker.running or ()
    plan = Plan(lvm=pool.lvm, records=records)
    plan.add("containers", [_stop_containers(running)] if stop and running else [])
    plan.add("docker_stop", [dockerd.STOP] if stop else [])
    pool.add_to(plan, _boot_stage(host, spec, "absent"))
    # Before daemon.json, which is what tells that they are of this pool.
    plan.add("docker_data", [data_root.remove(path) for path in records])
    plan.add("daemon", daemon_steps, host.daemon.path, *daemon_json.shown(host.daemon, daemon))
    return plan


def _stop_containers(names: t.Sequence[str]) -> Step:
    return Step(
        f"stop containers {', '.join(names)}",
        ("docker", "container", "stop", *names),
        undo=("docker", "container", "start", *names),
    )


def service(host: DockerHostState, spec: DockerSpec) -> str | None:
    """Return the engine's unit that waits for the pool; None where systemd does not run, or no engine is looked at."""
    has_one = spec.engine == "docker" and host.docker.unit and storage_of(host, spec).has_drop_in
    return dockerd.SERVICE if has_one else None


def _boot_stage(host: DockerHostState, spec: DockerSpec, state: str) -> Stage:
    return storage_plan.boot_stage(
        host.boot_text, service(host, spec), spec, state, needs_reload=host.docker.needs_reload
    )


def _check_containers(docker: Docker, name: str) -> list[str]:
    """Return what speaks against stopping Docker: containers that run, or that nobody can ask for."""
    remedy = "Stop them, or set stop_containers: true"
    if docker.running is None:
        return [
            f"Docker runs but does not answer on {dockerd.SOCKET}, so whether containers run on {name} is not known. "
            f"{remedy}"
        ]
    if docker.running:
        return [f"containers run on {name}: {', '.join(docker.running)}. {remedy}"]
    return []


def find_data_root(daemon: DaemonJson, spec: DockerSpec, flags: t.Sequence[str]) -> str:
    """Return where Docker will keep its data, with the options that are wished."""
    return data_root.find_root(daemon, flags, spec.daemon_options)


def needed_packages(
    family: str, spec: DockerSpec, daemon: DaemonJson, docker_wanted: bool, find: t.Callable[[str], t.Any]
) -> list[str]:
    """Return the packages beside Docker's own that the host needs; ``find`` tells whether a program is there."""
    packages = list((package_manager.LOOP if spec.managed_by == "loop" else package_manager.STORAGE)[family])
    if docker_wanted:
        option = daemon_json.storage_option({daemon_json.OPTIONS: list(spec.storage_opts)}, "dm.fs")
        filesystem = option or daemon_json.storage_option(daemon.keys, "dm.fs")
        # Without dm.fs Docker takes xfs if it can and ext4 otherwise, so either program does.
        if filesystem in package_manager.MKFS and not find(f"mkfs.{filesystem}"):
            packages.append(package_manager.MKFS[filesystem])
        elif not filesystem and not find("mkfs.xfs") and not find("mkfs.ext4"):
            packages.append(package_manager.MKFS["ext4"])
    return packages


def _check_docker(host: DockerHostState, spec: DockerSpec) -> None:
    dockerd.check(host.docker)
    given = {option.partition("=")[0] for option in spec.storage_opts}
    twice = [
        f"{key} is set by this role, from {of}"
        for key, of in _STORAGE[spec.managed_by].own_options.items()
        if key in given
    ]
    if twice:
        raise RefusedErrors(f"storage_opts: {sentence}: leave it out" for sentence in twice)
    engine = package_manager.engine(host.missing_docker_packages)
    for candidate in host.candidates:
        # One that the package lists do not know is asked for again once they are fresh, still before any disk is
        # touched.
        if candidate.package == engine and candidate.version:
            dockerd.check_version(dockerd.parse_version(candidate.version), f"package {engine} ({candidate.version})")
    info = host.docker.info
    override = daemon_json.storage_option({daemon_json.OPTIONS: list(spec.storage_opts)}, "dm.override_udev_sync_check")
    if info and info.driver == "devicemapper" and info.status.get("Udev Sync Supported") == "false" and not override:
        raise RefusedError(
            f"{host.docker.path} runs without udev synchronisation ('docker info': Udev Sync Supported: false) and "
            "will lose devices: install a dynamically linked Docker, from the distribution's or Docker's packages"
        )


def _runs_on_other_storage(docker: Docker, storage: PoolGiven) -> bool:
    """Whether the running daemon was started with other settings than its file has now."""
    return docker.info is not None and not storage.is_used(docker.info)


def _aside(storage: PoolGiven, host: DockerHostState, spec: DockerSpec, conflicts: list[str]) -> list[str]:
    """Return the paths of Docker's data that are moved aside."""
    if spec.existing_data == "keep":
        return data_root.of_driver(host.data) if storage.of_another_pool() else []
    return [host.data.root] if conflicts and spec.existing_data == "backup" else []
