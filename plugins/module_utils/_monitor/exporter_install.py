# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The exporter on a host: its program, its units and what it leaves; what to do to put it there or to take it away.

The program is the collection's own code, the same files that a module comes with. So nothing is written twice, and the
host's metrics and the module's verdict cannot differ.
"""

from __future__ import annotations

import ast
import functools
import glob
import importlib.util
import json
import os
import sys
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import exporter, release

PROGRAM = "/usr/local/lib/devicemapper.containers"
CONFIGURATION = "/etc/thin-pool-monitor.json"
UNIT = "thin-pool-monitor"
SERVICE = f"/etc/systemd/system/{UNIT}.service"
TIMER = f"/etc/systemd/system/{UNIT}.timer"
STATE = f"/var/lib/{UNIT}"
CACHE = f"/var/cache/{UNIT}"

MEMORY_MAX = "512M"  # several times what it takes with thousands of containers
USAGE_TIMEOUT = 600  # seconds for each pool: thin_ls takes minutes for a large one

# The package of every room, which this file's own is one of.
_PACKAGE = __name__.rpartition(".")[0].rpartition(".")[0]


@dataclass(frozen=True)
class ExporterSpec:
    """The exporter as it shall be."""

    textfile_dir: str = ""
    interval: int = 60  # seconds
    timeout: int = 30  # seconds
    usage_interval: int = 0  # seconds
    release_reserve: bool = False
    settings: dict[str, t.Any] = field(default_factory=dict)  # what else the program's configuration has


@dataclass(frozen=True)
class InstalledExporter:
    """What is there of it."""

    files: t.Mapping[str, str] = field(default_factory=dict)  # text by path
    folders: tuple[str, ...] = ()  # of these: PROGRAM, STATE, CACHE
    metrics: bool = False  # whether the file is there that it writes
    enabled: bool = False
    active: bool = False
    needs_reload: bool = False

    @property
    def textfile_dir(self) -> str:
        """Where it writes to now, empty where that is not known."""
        try:
            return str(json.loads(self.files[CONFIGURATION])["textfile_dir"])
        except (KeyError, TypeError, ValueError):
            return ""


def read() -> InstalledExporter:
    """Return what is there: one process."""
    if not process.find("systemctl"):
        raise RefusedError("there is no systemd on this host, whose timer would write the metrics")
    # That of a unit which is not there is "not-found", and the exit status is 0 all the same.
    shown = process.run("systemctl", "show", f"{UNIT}.timer", f"{UNIT}.service", "--property", _PROPERTIES)
    timer, _blank, service = shown.partition("\n\n")
    texts = {}
    for path in (SERVICE, TIMER, CONFIGURATION, *glob.glob(f"{PROGRAM}/**/*.py", recursive=True)):
        text = files.read(path)
        if text is not None:
            texts[path] = text
    found = InstalledExporter(
        files=texts,
        folders=tuple(folder for folder in (PROGRAM, STATE, CACHE) if os.path.isdir(folder)),
        enabled="UnitFileState=enabled" in timer,
        active="ActiveState=active" in timer,
        needs_reload="NeedDaemonReload=yes" in timer + service,
    )
    folder = found.textfile_dir
    return replace(found, metrics=bool(folder) and os.path.exists(metrics(folder)))


_PROPERTIES = "ActiveState,UnitFileState,NeedDaemonReload"


def decide(current: InstalledExporter, spec: ExporterSpec | None) -> tuple[list[Step], InstalledExporter]:
    """Return the steps that put it there as wished, or take it away where nothing is wished, and what is there then."""
    return _take_away(current) if spec is None else _put_there(current, spec)


def _put_there(current: InstalledExporter, spec: ExporterSpec) -> tuple[list[Step], InstalledExporter]:
    wanted = wanted_files(spec)
    steps = []
    moved = current.textfile_dir not in ("", spec.textfile_dir)
    if moved:
        steps.append(_removal(metrics(current.textfile_dir)))
    unused = [_removal(path) for path in sorted(current.files) if path not in wanted]
    changed = [path for path, text in wanted.items() if current.files.get(path) != text]
    steps += [Step(f"write {path}", write=Write(path, wanted[path])) for path in changed]
    units = [path for path in changed if path in (SERVICE, TIMER)]
    if units or current.needs_reload:
        steps.append(_reload())
    if not (current.enabled and current.active):
        steps.append(
            Step(f"enable {UNIT}.timer and start it", ("systemctl", "enable", "--now", "--quiet", f"{UNIT}.timer"))
        )
    elif TIMER in changed:
        steps.append(Step(f"start {UNIT}.timer anew", ("systemctl", "restart", f"{UNIT}.timer")))
    if steps or unused or not current.metrics:
        # Waits for its end: what does not work fails here and not unseen.
        steps.append(Step("write the metrics for the first time", ("systemctl", "start", f"{UNIT}.service")))
    # Last: a run that was under way needs what its unit named when it began.
    return [*steps, *unused], InstalledExporter(
        files=wanted, folders=(PROGRAM, STATE, CACHE), metrics=True, enabled=True, active=True, needs_reload=False
    )


def _take_away(current: InstalledExporter) -> tuple[list[Step], InstalledExporter]:
    steps = []
    if current.enabled or current.active:
        steps.append(
            Step(f"stop {UNIT}.timer and disable it", ("systemctl", "disable", "--now", "--quiet", f"{UNIT}.timer"))
        )
    if SERVICE in current.files:
        # A run that is under way would write again what is removed.
        steps.append(Step(f"stop {UNIT}.service", ("systemctl", "stop", f"{UNIT}.service")))
    if current.metrics:
        steps.append(_removal(metrics(current.textfile_dir)))
    steps += [_removal(path) for path in (TIMER, SERVICE, CONFIGURATION) if path in current.files]
    if SERVICE in current.files or TIMER in current.files or current.needs_reload:
        steps.append(_reload())
    if current.folders:
        steps.append(
            Step(f"remove {', '.join(current.folders)}", ("rm", "--recursive", "--force", "--", *current.folders))
        )
    return steps, InstalledExporter()


def _removal(path: str) -> Step:
    return Step(f"remove {path}", write=Write(path, None))


def _reload() -> Step:
    return Step("tell systemd of its changed files", ("systemctl", "daemon-reload"))


def metrics(folder: str) -> str:
    return os.path.join(folder, exporter.FILE)


# --- The files --------------------------------------------------------------------------------------------------------


def wanted_files(spec: ExporterSpec) -> dict[str, str]:
    """Return the text of every file by its path."""
    configuration = {
        "textfile_dir": spec.textfile_dir,
        "state_dir": STATE,
        "timeout": spec.timeout,
        "usage_interval": spec.usage_interval,
        "usage_timeout": USAGE_TIMEOUT,
        **spec.settings,
    }
    program = sources(exporter.__name__)
    if spec.release_reserve:
        program = {**program, **sources(release.__name__)}
    return {
        **{f"{os.path.join(PROGRAM, *name.split('.'))}.py": text for name, text in program.items()},
        CONFIGURATION: json.dumps(configuration, indent=4, sort_keys=True) + "\n",
        SERVICE: _service(spec),
        TIMER: _timer(spec),
    }


def sources(name: str, found: dict[str, str] | None = None) -> dict[str, str]:
    """Return the source of a module of the rooms and of all that it imports from there, by their full names.

    A module is sent to the host as an archive that Python imports from, and every loader can tell the source.
    """
    found = {} if found is None else found
    found[name], imports = _source(name)
    for imported in imports:
        if imported not in found:
            sources(imported, found)
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=None)
def _source(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the source of a module of the rooms, and what it imports from there."""
    found = importlib.util.find_spec(name)
    text = found.loader.get_source(name) if found and found.loader and hasattr(found.loader, "get_source") else None
    if text is None:
        raise RefusedError(f"the source of {name} is not to be had from {found}")
    imports: list[str] = []
    for node in ast.walk(ast.parse(text)):
        parent = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and parent.startswith(f"{_PACKAGE}."):
            is_room = parent.count(".") == _PACKAGE.count(".") + 1
            imports += [f"{parent}.{alias.name}" for alias in node.names] if is_room else [parent]
    return text, tuple(imports)


def interpreter() -> str:
    """Return the Python that runs this: by the name that outlives an upgrade, where that is the same one."""
    usual = "/usr/bin/python3"
    return usual if os.path.realpath(usual) == os.path.realpath(sys.executable) else sys.executable


_HEAD = "# Kept by the Ansible collection devicemapper.containers (module thin_pool_exporter).\n"


def _service(spec: ExporterSpec) -> str:
    # A metadata snapshot has a lock in /run and is written down in a folder of its own (metadata_snapshot).
    locks = "/run" if spec.usage_interval else "-/run/lock -/run/lvm"
    usage_state = f" {os.path.basename(metadata_snapshot.MARKS)}" if spec.usage_interval else ""
    # LVM changes the group, which takes all that root may do, as the plus says (systemd.service(5)). What is limited by
    # the service's cgroup is so for every program of it, and LVM writes to disks. Whatever comes of it, metrics follow.
    first = f"ExecStartPre=-+{interpreter()} -m {release.__name__} {CONFIGURATION}\n" if spec.release_reserve else ""
    disks = "rw" if spec.release_reserve else "r"
    return f"""{_HEAD}[Unit]
Description=Write metrics of thin pools for node_exporter
Wants=dm-event.socket
After=dm-event.socket

[Service]
Type=oneshot
Environment=PYTHONPATH={PROGRAM} PYTHONPYCACHEPREFIX={CACHE}
{first}ExecStart={interpreter()} -m {exporter.__name__} {CONFIGURATION}
# The program limits each of its steps itself; this is for what neither it nor a signal can end.
TimeoutStartSec={3 * spec.timeout + 30 + (7200 if spec.usage_interval else 0)}
TimeoutStopSec=5
StateDirectory={UNIT}{usage_state}
CacheDirectory={UNIT}
# Reads LVM, which takes its locks, and the journal; writes one file.
ProtectSystem=strict
ReadWritePaths={spec.textfile_dir} {locks}
ProtectHome=yes
PrivateTmp=yes
UMask=0077
# Asks the device mapper, for which root alone is not enough, and reads disks, as LVM does for its labels.
CapabilityBoundingSet=CAP_SYS_ADMIN
DevicePolicy=closed
DeviceAllow=/dev/mapper/control rw
DeviceAllow=block-* {disks}
PrivateNetwork=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX AF_NETLINK
NoNewPrivileges=yes
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Whatever somebody else's files and logs make it read, the host keeps its memory.
MemoryMax={MEMORY_MAX}
TasksMax=64
"""


def _timer(spec: ExporterSpec) -> str:
    return f"""{_HEAD}[Unit]
Description=Write metrics of thin pools for node_exporter every {spec.interval} seconds

[Timer]
OnActiveSec=10
OnUnitActiveSec={spec.interval}
AccuracySec=1

[Install]
WantedBy=timers.target
"""
