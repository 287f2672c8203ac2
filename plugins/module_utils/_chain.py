# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The whole way from a host with a blank disk to Docker on a thin pool, foretold.

Every link decides as its own module does, on the state that the links before it are foretold to leave.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils import (
    _boot,
    _daemon_json,
    _dm_name,
    _docker,
    _docker_data,
    _lvm,
    _package,
    _physical_volume,
    _profile,
    _thin_pool,
    _view,
    _volume_group,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._block_device import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._docker_data import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import Report
from ansible_collections.devicemapper.containers.plugins.module_utils._package import Candidate
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import Refused, Step, Unwanted, actions
from ansible_collections.devicemapper.containers.plugins.module_utils._pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._profile import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._size import Size, human

_AWAY = (
    "The playbook migrate carries images over. Or save what is needed ('docker save'), then set existing_data: backup, "
    "which moves {root} aside, or remove it"
)


@dataclass(frozen=True)
class Wish:
    """What the role's variables ask for."""

    vg: str
    pool: str
    data_size: Size
    metadata_size: Size
    chunk_size: int  # bytes
    zero: bool
    autoextend_threshold: int  # percent
    autoextend_percent: int
    autoextend_room: str  # warn, fail, ignore
    wipe_signatures: bool
    docker_packages: tuple[str, ...]
    storage_opts: tuple[str, ...]
    daemon_options: t.Mapping[str, t.Any]
    existing_data: str = "refuse"  # or backup, keep
    engine: str = "docker"  # or none: the pool alone

    @property
    def dm_name(self) -> str:
        return _dm_name.join(self.vg, self.pool)

    @property
    def profile(self) -> str:
        """The profile is named like the pool's device, as the manual does."""
        return self.dm_name

    @property
    def all_storage_opts(self) -> tuple[str, ...]:
        return (f"dm.thinpooldev=/dev/mapper/{self.dm_name}", *self.storage_opts)

    def wants_docker(self, docker: Docker) -> bool:
        """Whether there is a Docker to look after, or will be."""
        return self.engine == "docker" and (docker.installed or bool(self.docker_packages))

    def pool_wish(self) -> _thin_pool.Wish:
        return _thin_pool.Wish(
            vg=self.vg,
            name=self.pool,
            size=self.data_size,
            metadata_size=self.metadata_size,
            chunk_size=self.chunk_size,
            zero=self.zero,
            profile=self.profile,
            threshold=self.autoextend_threshold,
            percent=self.autoextend_percent,
        )


@dataclass(frozen=True)
class Host:
    """What was read of the host."""

    report: Report
    devices: tuple[BlockDevice, ...]
    signatures: t.Mapping[str, str]  # of plain volumes that would be converted
    profile: Profile
    daemon_text: str | None
    boot_text: str | None
    docker: Docker
    data: DockerData
    pool_status: PoolStatus | None
    missing_packages: tuple[str, ...]
    missing_docker_packages: tuple[str, ...]
    candidates: tuple[Candidate, ...]  # of every missing package
    missing_thin_check: str = ""


@dataclass
class Chain:
    """The steps of every link, in the order in which they are taken, and what will be there then."""

    links: dict[str, list[Step]] = field(default_factory=dict)
    diff: list[dict[str, t.Any]] = field(default_factory=list)
    extension: _thin_pool.AutoExtension | None = None
    warning: str = ""
    report: Report = Report()
    records: list[str] = field(default_factory=list)  # paths of Docker's records that go with the pool
    aside: list[str] = field(default_factory=list)  # paths of Docker's data that are moved aside

    @property
    def actions(self) -> list[str]:
        return [sentence for steps in self.links.values() for sentence in actions(steps)]

    def add(
        self, link: str, steps: t.Sequence[Step], header: str = "", before: t.Any = None, after: t.Any = None
    ) -> None:
        self.links[link] = list(steps)
        if steps and header:
            self.diff.append({"before_header": header, "after_header": header, "before": before, "after": after})


def _attempt(refusals: list[str], decide: t.Callable[[], t.Any], otherwise: t.Any) -> t.Any:
    """Return what is decided; where it is refused, note the reasons and go on with something else."""
    try:
        return decide()
    except Unwanted as refusal:
        refusals.extend(refusal.reasons)
    except Refused as refusal:
        refusals.append(str(refusal))
    return otherwise


def foretell(host: Host, wish: Wish) -> Chain:
    """Return the whole chain; everything that speaks against it is refused at once."""
    refusals: list[str] = []
    attempt = functools.partial(_attempt, refusals)

    docker_wanted = wish.wants_docker(host.docker)
    attempt(lambda: _check_docker(host, wish), None)
    attempt(lambda: wish.pool_wish().check(), None)
    if host.missing_thin_check and not set(host.missing_packages) & _package.THIN_CHECK:
        refusals.append(_lvm.no_thin_check(wish.pool_wish().full_name, host.missing_thin_check))

    volumes, report = attempt(
        lambda: _physical_volume.decide(
            host.report,
            [device for device in host.devices if _is_new(host.report, device)],
            wipe_signatures=wish.wipe_signatures,
        ),
        ([], None),
    )
    group_steps, grouped = attempt(
        # Where devices were refused it decides on the report as it is, for the reasons that only it knows.
        lambda: _volume_group.decide(report or host.report, name=wish.vg, devices=host.devices),
        ([], None),
    )
    profile_steps, profile = attempt(
        lambda: _profile.decide(host.profile, threshold=wish.autoextend_threshold, percent=wish.autoextend_percent),
        ([], host.profile),
    )
    pool_steps, after = attempt(
        lambda: _thin_pool.decide(grouped, wish.pool_wish(), signatures=host.signatures) if grouped else ([], None),
        ([], None),
    )
    daemon_steps, daemon_text = attempt(
        lambda: (
            _daemon_json.decide(
                host.daemon_text,
                _daemon_json.DEFAULT_PATH,
                storage_driver="devicemapper",
                storage_opts=wish.all_storage_opts,
                options=wish.daemon_options,
                flags=host.docker.flags,
            )
            if wish.engine == "docker"
            else ([], None)
        ),
        ([], None),
    )
    boot_steps, boot_text = _boot_link(host, wish, "present")
    chain = Chain()
    if after:
        chain.report = after
        chain.extension, shortage = _room(after, wish)
        if shortage and wish.autoextend_room == "fail":
            refusals.append(shortage)
        elif wish.autoextend_room == "warn":
            chain.warning = shortage
    was_pool = host.report.volume(wish.vg, wish.pool)
    replaced = was_pool is None or not was_pool.is_pool
    conflicts, aside = attempt(lambda: _conflicts(host, wish, replaced) if docker_wanted else ([], []), ([], []))
    if conflicts and wish.existing_data == "refuse":
        refusals += [f"{conflict}. {_AWAY.format(root=host.data.root)}" for conflict in conflicts]
    elif host.data.root in aside and not host.data.is_movable:
        refusals.append(
            f"{host.data.root} is a mount point or a symbolic link and cannot be moved aside as a whole: move its "
            "content away"
        )
    if docker_wanted and not replaced:
        # What is moved aside takes the pool's records with it.
        data = replace(host.data, has_records=False) if aside else host.data
        refusals += _docker_data.unusable(data, host.pool_status)
    if refusals or not after:
        raise Unwanted(dict.fromkeys(refusals))

    restart = bool(daemon_steps) or replaced or bool(aside) or _runs_on_other_storage(host.docker, wish)
    paths = [device.path for device in host.devices]
    chain.add("packages", _install(host.missing_packages))
    chain.add("docker_stop", [Step("stop Docker")] if host.docker.active and restart else [])
    chain.aside = aside
    chain.add("docker_data", [Step(f"move {path} aside") for path in aside])
    chain.add(
        "physical_volumes",
        volumes,
        "physical volumes",
        {"physical_volumes": _view.physical_volumes(host.report, paths)},
        {"physical_volumes": _view.physical_volumes(t.cast(Report, report), paths)},
    )
    chain.add(
        "volume_group",
        group_steps,
        f"volume group {wish.vg}",
        {"volume_group": _view.volume_group(host.report, wish.vg)},
        {"volume_group": _view.volume_group(t.cast(Report, grouped), wish.vg)},
    )
    chain.add("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or "")
    chain.add(
        "thin_pool",
        pool_steps,
        f"thin pool {wish.vg}/{wish.pool}",
        {"thin_pool": _view.pool(was_pool)},
        {"thin_pool": _view.pool(after.volume(wish.vg, wish.pool))},
    )
    chain.add("boot", boot_steps, _boot_path(wish), host.boot_text or "", boot_text or "")
    chain.add("daemon", daemon_steps, _daemon_json.DEFAULT_PATH, host.daemon_text or "", daemon_text or "")
    chain.add("docker_packages", _install(host.missing_docker_packages))
    stopped = not host.docker.active or restart or not host.docker.enabled
    chain.add("docker_start", [Step("start Docker and enable it")] if docker_wanted and stopped else [])
    return chain


def take_apart(host: Host, wish: Wish, *, stop_containers: bool = False) -> Chain:
    """Return the way back: everything gone that this collection made, and Docker stopped but installed.

    Whatever is not there any more is passed over, so that a run that was interrupted can be finished.
    """
    refusals: list[str] = []
    attempt = functools.partial(_attempt, refusals)

    configured = attempt(lambda: _is_configured(host.daemon_text, wish), False)
    runs_on_it = host.docker.active and (
        configured if host.docker.info is None else not _runs_on_other_storage(host.docker, wish)
    )
    if runs_on_it and not stop_containers:
        refusals += _check_containers(host.docker, wish)

    pool = host.report.volume(wish.vg, wish.pool)
    group = host.report.group(wish.vg)
    # Docker's own devices keep the pool open, and go when Docker is stopped.
    closed = host.report.with_volume(replace(pool, open=False)) if pool and runs_on_it else host.report
    pool_steps, without_pool = attempt(lambda: _thin_pool.decide(closed, wish.pool_wish(), state="absent"), ([], None))
    if without_pool is None:
        raise Unwanted(refusals)  # what stands on it would only repeat that it stays
    # A pool of ours in somebody else's group leaves that group, and its disks, as they are.
    keeps_group = bool(group and not group.is_ours and pool_steps)
    group_steps, without_group = attempt(
        lambda: ([], without_pool) if keeps_group else _volume_group.decide(without_pool, name=wish.vg, state="absent"),
        ([], None),
    )
    volume_steps, after = attempt(
        lambda: (
            ([], without_group)
            if keeps_group or without_group is None
            else _physical_volume.decide(without_group, host.devices, state="absent")
        ),
        ([], None),
    )
    profile_steps, profile = attempt(lambda: _remove_profile(host.profile, wish, without_pool), ([], host.profile))
    records = _docker_data.of_pool(host.data, host.pool_status) if configured else []
    daemon_steps, daemon_text = attempt(
        lambda: (
            _daemon_json.decide(
                host.daemon_text,
                _daemon_json.DEFAULT_PATH,
                state="absent",
                storage_driver="devicemapper",
                storage_opts=wish.all_storage_opts,
                options=wish.daemon_options,
            )
            if configured
            else ([], host.daemon_text)
        ),
        ([], None),
    )
    if refusals or after is None:
        raise Unwanted(dict.fromkeys(refusals))

    boot_steps, _text = _boot_link(host, wish, "absent")
    stop = runs_on_it and bool(pool_steps or records or daemon_steps)
    running = host.docker.running or ()
    paths = [device.path for device in host.devices]
    chain = Chain(report=after, records=records)
    chain.add("containers", [Step(f"stop containers {', '.join(running)}")] if stop and running else [])
    chain.add("docker_stop", [Step("stop Docker")] if stop else [])
    chain.add(
        "thin_pool",
        pool_steps,
        f"thin pool {wish.vg}/{wish.pool}",
        {"thin_pool": _view.pool(pool)},
        {"thin_pool": None},
    )
    chain.add(
        "volume_group",
        group_steps,
        f"volume group {wish.vg}",
        {"volume_group": _view.volume_group(host.report, wish.vg)},
        {"volume_group": None},
    )
    chain.add(
        "physical_volumes",
        volume_steps,
        "physical volumes",
        {"physical_volumes": _view.physical_volumes(host.report, paths)},
        {"physical_volumes": _view.physical_volumes(after, paths)},
    )
    chain.add("profile", profile_steps, host.profile.path, host.profile.text or "", profile.text or "")
    chain.add("boot", boot_steps, _boot_path(wish), host.boot_text or "", "")
    # Before daemon.json, which is what tells that they are of this pool.
    chain.add("docker_data", [Step(f"remove {path}") for path in records])
    chain.add("daemon", daemon_steps, _daemon_json.DEFAULT_PATH, host.daemon_text or "", daemon_text or "")
    return chain


def _boot_path(wish: Wish) -> str:
    return _boot.path(_docker.SERVICE, wish.vg, wish.pool)


def _boot_link(host: Host, wish: Wish, state: str) -> tuple[list[Step], str | None]:
    """Return the steps about the engine's drop-in; none where systemd does not run, or no engine is looked after."""
    if wish.engine != "docker" or not host.docker.unit:
        return [], host.boot_text
    return _boot.decide(
        host.boot_text,
        service=_docker.SERVICE,
        vg=wish.vg,
        pool=wish.pool,
        state=state,
        needs_reload=host.docker.needs_reload,
    )


def _is_configured(daemon_text: str | None, wish: Wish) -> bool:
    """Whether daemon.json puts Docker on the pool."""
    document = _daemon_json.parse(daemon_text, _daemon_json.DEFAULT_PATH)
    device = _daemon_json.storage_option(document, "dm.thinpooldev") or ""
    return (document.get(_daemon_json.DRIVER), device.rpartition("/")[2]) == ("devicemapper", wish.dm_name)


def _check_containers(docker: Docker, wish: Wish) -> list[str]:
    """Return what speaks against stopping Docker: containers that run, or that nobody can ask for."""
    remedy = "Stop them, or set stop_containers: true"
    if docker.running is None:
        return [
            f"Docker runs but does not answer on {_docker.SOCKET}, so whether containers run on {wish.vg}/{wish.pool} "
            f"is not known. {remedy}"
        ]
    if docker.running:
        return [f"containers run on {wish.vg}/{wish.pool}: {', '.join(docker.running)}. {remedy}"]
    return []


def _remove_profile(profile: Profile, wish: Wish, report: Report) -> tuple[list[Step], Profile]:
    """Return the step that removes the pool's profile; one with other settings too is an administrator's, and stays."""
    if profile.others:
        return [], profile
    used_by = [volume.full_name for volume in report.volumes if volume.is_pool and volume.profile == wish.profile]
    return _profile.decide(
        profile,
        threshold=wish.autoextend_threshold,
        percent=wish.autoextend_percent,
        state="absent",
        used_by=used_by,
    )


def data_root(daemon_text: str | None, wish: Wish, flags: t.Sequence[str]) -> str:
    """Return where Docker will keep its data, with the options that are wished."""
    return _docker_data.find_root(daemon_text, flags, wish.daemon_options)


def needed_packages(
    family: str, wish: Wish, daemon_text: str | None, docker_wanted: bool, find: t.Callable[[str], t.Any]
) -> list[str]:
    """Return the packages beside Docker's own that the host needs; ``find`` tells whether a program is there."""
    packages = list(_package.STORAGE[family])
    if docker_wanted:
        document = _daemon_json.parse(daemon_text, _daemon_json.DEFAULT_PATH)
        option = _daemon_json.storage_option({_daemon_json.OPTIONS: list(wish.storage_opts)}, "dm.fs")
        filesystem = option or _daemon_json.storage_option(document, "dm.fs")
        # Without dm.fs Docker takes xfs if it can and ext4 otherwise, so either program does.
        if filesystem in _package.MKFS and not find(f"mkfs.{filesystem}"):
            packages.append(_package.MKFS[filesystem])
        elif not filesystem and not find("mkfs.xfs") and not find("mkfs.ext4"):
            packages.append(_package.MKFS["ext4"])
    return packages


def _is_new(report: Report, device: BlockDevice) -> bool:
    """Whether the device becomes a physical volume first; a member of a group is the next link's business."""
    volume = report.device(device.path)
    return volume is None or not volume.vg


def _install(packages: t.Sequence[str]) -> list[Step]:
    return [Step(f"install packages {', '.join(packages)}")] if packages else []


def _check_docker(host: Host, wish: Wish) -> None:
    _docker.check(host.docker)
    if "dm.thinpooldev" in {option.partition("=")[0] for option in wish.storage_opts}:
        raise Refused("storage_opts: dm.thinpooldev is set by this role, from vg and pool: leave it out")
    engine = _package.engine(host.missing_docker_packages)
    for candidate in host.candidates:
        # One that the package lists do not know is asked for again once they are fresh, still before any disk is
        # touched.
        if candidate.package == engine and candidate.version:
            _docker.check_version(_docker.parse_version(candidate.version), f"package {engine} ({candidate.version})")
    info = host.docker.info
    override = _daemon_json.storage_option(
        {_daemon_json.OPTIONS: list(wish.storage_opts)}, "dm.override_udev_sync_check"
    )
    if info and info.driver == "devicemapper" and info.status.get("Udev Sync Supported") == "false" and not override:
        raise Refused(
            f"{host.docker.path} runs without udev synchronisation ('docker info': Udev Sync Supported: false) and "
            "will lose devices: install a dynamically linked Docker, from the distribution's or Docker's packages"
        )


def _runs_on_other_storage(docker: Docker, wish: Wish) -> bool:
    """Whether the running daemon was started with other settings than its file has now."""
    return docker.info is not None and (docker.info.driver, docker.info.pool_name) != ("devicemapper", wish.dm_name)


def _conflicts(host: Host, wish: Wish, replaced: bool) -> tuple[list[str], list[str]]:
    """Return what in Docker's data does not fit the pool, and the paths that are moved aside for that.

    An inactive pool cannot be asked, and so is left alone.
    """
    if not replaced and host.pool_status is None:
        return [], []
    status = None if replaced else host.pool_status
    conflicts = _docker_data.conflicts(
        host.data,
        status,
        switching=not _is_configured(host.daemon_text, wish) or _runs_on_other_storage(host.docker, wish),
    )
    if wish.existing_data == "keep":
        return conflicts, _docker_data.records(host.data) if _docker_data.of_another_pool(host.data, status) else []
    return conflicts, [host.data.root] if conflicts and wish.existing_data == "backup" else []


def _room(after: Report, wish: Wish) -> tuple[_thin_pool.AutoExtension | None, str]:
    """Return what the next automatic extension takes, and what to say where the group does not have it."""
    group, pool = after.group(wish.vg), after.volume(wish.vg, wish.pool)
    if group is None or pool is None or wish.autoextend_threshold >= 100:
        return None, ""
    extension = _thin_pool.auto_extension(group, pool, after.spare(wish.vg), wish.autoextend_percent)
    if extension.data_possible and extension.metadata_possible:
        return extension, ""
    lacking = [
        f"{needed} extents ({human(needed * group.extent_size)}) of {what}"
        for what, needed, possible in (
            ("data", extension.data_needed, extension.data_possible),
            ("metadata", extension.metadata_needed, extension.metadata_possible),
        )
        if not possible
    ]
    largest = extension.free * 100 // (pool.size // group.extent_size)
    return extension, (
        f"thin pool {wish.vg}/{wish.pool} cannot be extended automatically: the next {wish.autoextend_percent} "
        f"percent take {' and '.join(lacking)}, and volume group {wish.vg} has {extension.free} free "
        f"({human(extension.free * group.extent_size)}). Add a device, make data_size smaller"
        + (f", or set autoextend_percent to {largest} or less" if largest else "")
    )
