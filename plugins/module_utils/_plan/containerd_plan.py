# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The whole way from a host with a blank disk to containerd on a thin pool, planned, and the way back.

As docker_plan does it for Docker; the stages of the pool are the same, and stand in storage_plan.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    config_diff,
    constants,
    containerd_config,
    containerd_daemon,
    containerd_metadata,
    cri_runtimes,
    engine_config,
    image_store,
    version_1,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SNAPSHOTTER
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import (
    ContainerdConfig,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_metadata import (
    ContainerdMetadata,
    Name,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import Runtime
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.layouts import Layout
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager, storage_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import (
    Plan,
    Stage,
)

LEASE = "devicemapper.containers"
# What the packages of containerd are called: Debian's and Ubuntu's, and Docker's.
PACKAGES = ("containerd", "containerd.io")


@dataclass(frozen=True)
class ContainerdSpec(storage_plan.StorageSpec):
    """What the role's variables ask for."""

    settings: SnapshotterSettings  # the pool's name among them is this pool's
    runtimes: tuple[Runtime, ...] = ()  # of Kubernetes, on the snapshotter
    packages: tuple[str, ...] = ()  # containerd's and Docker's
    layout: Layout = Layout()
    docker: bool = False  # whether Docker is put on containerd's image store
    daemon_options: t.Mapping[str, t.Any] = field(default_factory=dict)
    existing_data: str = "refuse"  # or backup

    @property
    def hands_devices_over(self) -> list[str]:
        """Through what virtual machines get the pool's devices as a whole."""
        named = [f"handler {runtime.name}" for runtime in self.runtimes if runtime.hands_device_over]
        return [*named, *(["flintlock"] if self.layout.hands_devices_over else [])]

    def with_zero(self, lvm: LvmState) -> ContainerdSpec:
        """Return the spec with zeroing for a pool that is yet to be made, where nobody says it."""
        if self.zero is not None or lvm.volume(self.vg, self.pool):
            return self
        return replace(self, zero=bool(self.hands_devices_over))

    def stake(self, lvm: LvmState) -> str:
        """Return what is at stake where a pool that is there gives virtual machines chunks as they were left."""
        pool = lvm.volume(self.vg, self.pool)
        if pool is None or not pool.is_pool or pool.zero or self.zero or not self.hands_devices_over:
            return ""
        return (
            f"{', '.join(self.hands_devices_over)}: whoever is in a virtual machine reads its whole device, and "
            f"zeroing of {self.vg}/{self.pool} is off, so that parts of a chunk that it did not write hold what a "
            "container before it left there. Set zero: true, which counts for what is written from then on"
        )

    @property
    def docker_packages(self) -> tuple[str, ...]:
        """Those that bring dockerd, which starts as soon as it is installed, and so come last."""
        return tuple(package for package in self.packages if package_manager.engine([package])) if self.docker else ()

    @property
    def first_packages(self) -> tuple[str, ...]:
        return tuple(package for package in self.packages if package not in self.docker_packages)

    def wants_containerd(self, containerd: Containerd) -> bool:
        """Whether there is a containerd to look after, or will be."""
        return containerd.installed or bool(self.first_packages)


@dataclass(frozen=True)
class ContainerdHostState(storage_plan.HostState):
    """What was read of the host; the packages that bring containerd are among those that are missing."""

    containerd: Containerd = Containerd()
    configuration: ContainerdConfig = ContainerdConfig(constants.CONFIG)
    records: ContainerdMetadata = ContainerdMetadata()
    boot_text: str | None = None
    docker: Docker = Docker()
    daemon: DaemonJson = DaemonJson()
    data: DockerData = DockerData()
    had_feature: bool = False  # whether Docker was on containerd's store before it was put on the pool
    missing_docker_packages: tuple[str, ...] = ()
    configured_at: float | None = None  # when the newest file of the configuration was written; seconds since 1970
    now: float = 0.0
    moment: str = ""  # UTC, %Y%m%dT%H%M%SZ; in the name of what is moved aside


def plan_setup(host: ContainerdHostState, spec: ContainerdSpec) -> Plan:
    """Return the whole plan; everything that speaks against it is refused at once."""
    refusals: list[str] = []
    attempt = functools.partial(storage_plan.attempt, refusals)

    attempt(lambda: _check_containerd(host, spec), None)
    in_use = host.configuration.pool_name == spec.dm_name or host.boot_text is not None
    pool = storage_plan.plan_setup(host, spec, refusals, in_use=in_use)
    steps, changes = attempt(lambda: configure(host, spec, "present"), ([], []))
    is_new = storage_plan.is_new(host, spec)
    refusals += containerd_metadata.conflicts(host.records, host.pool_status, is_new=is_new)
    if host.pool_status and host.pool_status.has_failed:
        refusals.append(
            "the pool has failed (kernel mode Fail or Error) and cannot be read: see 'dmsetup status', the kernel log "
            f"and lvmthin(7), 'Metadata check and repair'. Leave {host.records.folder} where it is, a repaired pool "
            "needs it"
        )
    daemon_steps, daemon, conflicts = [], host.daemon, []
    if spec.docker:
        attempt(lambda: _check_docker(host, spec), None)
        daemon_steps, daemon = attempt(
            lambda: image_store.decide(
                host.daemon, spec.daemon_options, flags=host.docker.flags, version=host.docker.version
            ),
            ([], host.daemon),
        )
        conflicts = attempt(lambda: image_store.leftovers(host.data, host.daemon, host.docker), [])
        if conflicts and spec.existing_data == "refuse":
            refusals += [f"{conflict}. {image_store.AWAY.format(root=host.data.root)}" for conflict in conflicts]
        elif conflicts and not host.data.is_movable:
            refusals.append(
                f"{host.data.root} is a mount point or a symbolic link and cannot be moved aside as a whole: move its "
                "content away"
            )
    if refusals or pool.lvm is None:
        raise RefusedErrors(dict.fromkeys(refusals))

    docker = host.docker if spec.docker else Docker()
    restart = bool(daemon_steps or conflicts) or is_new or not image_store.is_used_by(docker)
    aside = data_root.places(host.data.root, [host.data.root] if conflicts else (), host.moment)
    plan = Plan(lvm=pool.lvm, extension=pool.extension, warning=pool.warning, aside=aside)
    plan.add("packages", storage_plan.install(host.missing_packages))
    plan.add("docker_stop", [dockerd.STOP] if docker.active and restart else [])
    plan.add("docker_data", [data_root.move_aside(*places) for places in aside.items()])
    pool.add_to(plan, _boot_stage(host, spec, "present"))
    if steps and spec.wants_containerd(host.containerd):
        steps.append(Step(containerd_daemon.RESTART))
    _add_configuration(plan, steps, changes)
    plan.add("containerd_start", [] if steps else _start(host, spec, is_new))
    plan.add("daemon", daemon_steps, host.daemon.path, *daemon_json.shown(host.daemon, daemon))
    plan.add("docker_packages", storage_plan.install(host.missing_docker_packages))
    stopped = not docker.active or restart or not docker.enabled
    plan.add("docker_start", [Step("start Docker and enable it", dockerd.START)] if spec.docker and stopped else [])
    return plan


def plan_teardown(host: ContainerdHostState, spec: ContainerdSpec, *, stop_containers: bool = False) -> Plan:
    """Return the way back: everything gone that this collection made, and containerd running without the snapshotter.

    Whatever is not there any more is passed over, so that a run that was interrupted can be finished.
    """
    refusals: list[str] = []
    attempt = functools.partial(storage_plan.attempt, refusals)

    configured = host.configuration.pool_name == spec.dm_name
    records = host.records if configured else ContainerdMetadata(active=host.records.active)
    uses_store = image_store.is_configured(host.daemon)
    if host.docker.active:  # it tells its containers by their names, and stops them itself
        records = replace(records, tasks=tuple(task for task in records.tasks if task[0] != containerd_metadata.MOBY))
    running = [*map("/".join, records.tasks), *((host.docker.running or ()) if configured and uses_store else ())]
    if running and not stop_containers:
        refusals.append(
            f"containers run on {spec.vg}/{spec.pool}: {', '.join(running)}. Stop them, or set stop_containers: true"
        )
    # The snapshotter's devices keep the pool open, and are removed before it.
    pool = storage_plan.plan_teardown(host, spec, refusals, engine_stops=configured or bool(records.active))
    steps, changes = attempt(lambda: configure(host, spec, "absent"), ([], []))
    daemon_steps, daemon = attempt(
        lambda: (
            image_store.decide(host.daemon, spec.daemon_options, state="absent", keeps_feature=host.had_feature)
            if configured and uses_store
            else ([], host.daemon)
        ),
        ([], host.daemon),
    )
    if refusals or pool.lvm is None:
        raise RefusedErrors(dict.fromkeys(refusals))

    unit = host.containerd.layout.unit
    works = host.containerd.active and host.containerd.plugin == "ok"
    paths = records.paths if configured else []
    stop = host.containerd.active and bool(pool.takes("thin_pool") or paths or steps)
    plan = Plan(lvm=pool.lvm, records=paths)
    plan.add("docker_stop", [dockerd.STOP] if stop and uses_store and host.docker.active else [])
    plan.add("containers", _stop_containers(records, host.containerd.layout.ctr) if stop and works else [])
    plan.add("snapshots", _remove_snapshots(records, host.containerd.layout.ctr) if stop and works else [])
    plan.add("containerd_stop", [_stop(unit)] if stop else [])
    plan.add("devices", _remove_devices(records))
    pool.add_to(plan, _boot_stage(host, spec, "absent"))
    plan.add("records", [data_root.remove(path) for path in paths])
    _add_configuration(plan, steps, changes)
    # Docker's own records of containers, which were on the pool; its volumes and networks stay.
    plan.add("docker_data", [data_root.remove(str(path)) for path in image_store.records(host.data)] if paths else [])
    plan.add("daemon", daemon_steps, host.daemon.path, *daemon_json.shown(host.daemon, daemon))
    plan.add(
        "containerd_start",
        [Step("start containerd without the snapshotter", ("systemctl", "start", unit))] if stop else [],
    )
    return plan


def configure(
    host: ContainerdHostState, spec: ContainerdSpec, state: str
) -> tuple[list[Step], list[containerd_config.Change]]:
    """Return the steps in containerd's configuration, and how its files change."""
    cri_runtimes.check(spec.runtimes)
    containerd = host.containerd
    if not containerd.installed:
        containerd = replace(containerd, version=_candidate_version(host))
    return engine_config.decide(_expected(host), spec.settings, spec.runtimes, containerd, state=state)


def _candidate_version(host: ContainerdHostState) -> str:
    """Return the version of the containerd that is about to be installed; empty where nobody knows."""
    found = (containerd_daemon.bare_version(candidate.version) for candidate in _candidates(host))
    return next(found, "")


def _candidates(host: ContainerdHostState) -> list[package_manager.Candidate]:
    """Return the packages among the missing ones that bring containerd, as they can be had."""
    names = [(candidate, candidate.package.partition("=")[0].partition("/")[0]) for candidate in host.candidates]
    return [candidate for candidate, name in names if name in PACKAGES and candidate.version]


def _expected(host: ContainerdHostState) -> containerd_config.ContainerdConfig:
    """Return the configuration as it is, or as the package that is about to be installed brings it."""
    configuration = host.configuration
    brings_file = any(candidate.package.startswith("containerd.io") for candidate in _candidates(host))
    if configuration.main or not brings_file:
        return configuration
    text = version_1.PACKAGED
    return containerd_config.after(configuration, [containerd_config.Change(configuration.path, None, text)])


def _by_namespace(names: t.Iterable[Name]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for namespace, name in names:
        found.setdefault(namespace, []).append(name)
    return found


def _stop_containers(records: ContainerdMetadata, ctr: tuple[str, ...]) -> list[Step]:
    return [
        Step(
            f"stop containers {', '.join(names)} of namespace {namespace}",
            (*ctr, "--namespace", namespace, "tasks", "delete", "--force", *names),
        )
        for namespace, names in _by_namespace(records.tasks).items()
    ]


def _remove_snapshots(records: ContainerdMetadata, ctr: tuple[str, ...]) -> list[Step]:
    """Return the steps that make containerd forget the snapshots; what it would remember it would not make again.

    Containers go last: their snapshots would be collected as garbage at some moment, and could not be named then.
    """
    steps = []
    for namespace, keys in _by_namespace(records.keys).items():
        command = (*ctr, "--namespace", namespace, "snapshots", "--snapshotter", SNAPSHOTTER, "delete", *keys)
        steps.append(Step(f"remove {len(keys)} snapshots of namespace {namespace}", command))
    for namespace, names in _by_namespace(records.containers).items():
        command = (*ctr, "--namespace", namespace, "containers", "delete", "--keep-snapshot", *names)
        steps.append(Step(f"remove containers {', '.join(names)} of namespace {namespace}", command))
    for namespace, keys in _by_namespace(records.stuck).items():
        steps += _release(records, namespace, len(keys), ctr)
    return steps


def _release(records: ContainerdMetadata, namespace: str, number: int, ctr: tuple[str, ...]) -> list[Step]:
    """Return the steps that leave snapshots to garbage collection: nothing holds them, and the end of a lease waits."""
    ctr = (*ctr, "--namespace", namespace)
    steps = [
        Step(
            f"let image content {digest} of namespace {namespace} be unpacked anew",
            (*ctr, "content", "label", digest, f"{name}="),
        )
        for space, digest, name in records.labels
        if space == namespace
    ]
    leases = [lease for space, lease in records.leases if space == namespace]
    collected = f"have {number} snapshots of namespace {namespace} collected as garbage"
    steps.append(Step(f"take a lease in namespace {namespace}", (*ctr, "leases", "create", "--id", LEASE)))
    steps.append(Step(collected, (*ctr, "leases", "delete", "--sync", *leases, LEASE)))
    return steps


def _remove_devices(records: ContainerdMetadata) -> list[Step]:
    return [Step(f"remove device {name}", ("dmsetup", "remove", "--retry", name)) for name in records.active]


def _add_configuration(plan: Plan, steps: t.Sequence[Step], changes: t.Sequence[containerd_config.Change]) -> None:
    plan.add("configuration", steps)
    plan.diff += [config_diff.difference(change) for change in changes]


def _stop(unit: str) -> Step:
    return Step("stop containerd", ("systemctl", "stop", unit), undo=("systemctl", "start", unit))


def _restart(action: str, unit: str) -> Step:
    return Step(action, ("sh", "-ec", 'systemctl enable --quiet "$1"; exec systemctl restart "$1"', "sh", unit))


def _start(host: ContainerdHostState, spec: ContainerdSpec, is_changed: bool) -> list[Step]:
    """Return the step that starts containerd anew, where it does not run with what its configuration says."""
    containerd, unit = host.containerd, host.containerd.layout.unit
    if not spec.wants_containerd(containerd):
        return []
    if not containerd.active:
        return [_restart("start containerd and enable it", unit)]
    works = containerd.plugin in ("", "ok") and containerd.has_open(host.records.folder, spec.dm_name)
    if is_changed or not works or _is_older(host):
        return [_restart("restart containerd", unit)]
    return [] if containerd.enabled else [_restart("start containerd and enable it", unit)]


def _is_older(host: ContainerdHostState) -> bool:
    """Whether containerd was started before its configuration was written, as by a run that was interrupted."""
    if host.containerd.started is None or host.configured_at is None:
        return False
    # A file from the future says nothing, as after the clock was set back, and another start would not help.
    return host.containerd.started + 1 < host.configured_at <= host.now


def service(host: ContainerdHostState) -> str | None:
    """Return containerd's unit, which waits for the pool; None where systemd does not run."""
    return host.containerd.layout.unit if host.containerd.unit else None


def _boot_stage(host: ContainerdHostState, spec: ContainerdSpec, state: str) -> Stage:
    return storage_plan.boot_stage(
        host.boot_text, service(host), spec, state, needs_reload=host.containerd.needs_reload
    )


def needed_packages(
    family: str, spec: ContainerdSpec, containerd_wanted: bool, find: t.Callable[[str], t.Any]
) -> list[str]:
    """Return the packages beside containerd's own that the host needs; ``find`` tells whether a program is there."""
    packages = list(package_manager.STORAGE[family])
    filesystem = spec.settings.fs_type or "ext4"
    if containerd_wanted and not find(f"mkfs.{filesystem}"):
        packages.append(package_manager.MKFS["xfs" if filesystem == "xfs" else "ext4"])
    return packages


def _check_containerd(host: ContainerdHostState, spec: ContainerdSpec) -> None:
    containerd_daemon.check(host.containerd)
    layout = host.containerd.layout
    main = host.configuration.main
    if layout.drop_in and main is None:
        raise RefusedError(
            f"{host.configuration.path} is not there: it is generated when {layout.unit} starts for the first time, so "
            "start that"
        )
    if layout.drop_in.endswith(".toml.d") and main and f"{layout.drop_in}/*.toml" not in host.configuration.patterns:
        raise RefusedError(
            f"{main.path} is generated and does not import {layout.drop_in}/*.toml, in which the pool would be named: "
            "upgrade to a release that does, or write that as imports into its template, before 'template \"base\"'"
        )
    if spec.docker and not layout.is_systems:
        raise RefusedError("docker: Docker finds the system's containerd alone, and not the one of this layout")
    if spec.settings.fs_type == "ext2" and host.containerd.version.startswith("1.6"):
        raise RefusedError(
            f"{host.containerd.path} is containerd {host.containerd.version}, which knows fs_type ext4 and xfs alone: "
            "choose one of these, or upgrade it to 1.7"
        )
    if not host.containerd.installed and not spec.first_packages:
        raise RefusedError(
            "there is no containerd on this host, and none in packages: name the package that brings it, containerd or "
            "containerd.io"
        )
    for candidate in _candidates(host):
        name = candidate.package.partition("=")[0].partition("/")[0]
        version = containerd_daemon.bare_version(candidate.version)
        containerd_daemon.check_version(version, f"package {name} ({candidate.version})")


def _check_docker(host: ContainerdHostState, spec: ContainerdSpec) -> None:
    if not host.docker.installed and not spec.docker_packages:
        raise RefusedError(
            "there is no Docker on this host, and none in packages: name the package that brings it, docker.io or "
            "docker-ce, or leave Docker out (docker: false)"
        )
    image_store.check(host.docker)
    engine = package_manager.engine(host.missing_docker_packages)
    for candidate in host.candidates:
        if candidate.package == engine and candidate.version:
            version = dockerd.parse_version(candidate.version)
            image_store.check_version(version, f"package {engine} ({candidate.version})")
