# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""containerd on the managed host: which one, how it is started, and whether its devmapper snapshotter works."""

from __future__ import annotations

import os
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import constants
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SERVICE
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

# Where the kernel shows processes; another folder in tests.
PROC = "/proc"


@dataclass(frozen=True)
class Containerd:
    """containerd as it is installed and running."""

    path: str = ""  # of the program; empty: not installed
    version: str = ""
    has_plugin: bool = True  # whether the devmapper snapshotter was built in
    unit: str = ""  # systemd's LoadState of containerd.service
    active: bool = False
    enabled: bool = False
    needs_reload: bool = False
    config: str = constants.CONFIG  # what the unit starts it with
    plugin: str = ""  # state of the running snapshotter: ok, or what is wrong; empty: not asked, or no answer
    open_files: frozenset[str] = frozenset()  # databases that the running process has open
    started: float | None = None  # seconds since 1970

    @property
    def installed(self) -> bool:
        return bool(self.path)

    @property
    def config_version(self) -> int:
        """The version of a configuration that it takes without converting it."""
        return 3 if self.version and int(self.version.partition(".")[0]) >= 2 else 2

    def has_open(self, folder: str, pool: str) -> bool:
        """Whether the running snapshotter works with a pool's devices, and so with the pool.

        It opens metadata.db only when the first snapshot is asked for (snapshots/storage/metastore.go).
        """
        return f"{folder}/{pool}.db" in self.open_files


def read() -> Containerd:
    """Return what there is of containerd: up to four processes."""
    path = process.find("containerd") or ""
    unit = systemd.read_unit(SERVICE)
    active = unit.get("ActiveState") in ("active", "activating", "reloading")
    pid = unit.get("MainPID", "0")
    return Containerd(
        path=path,
        version=read_version() if path else "",
        has_plugin=_has_plugin() if path else True,
        unit=unit.get("LoadState", ""),
        active=active,
        enabled=unit.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "indirect", "generated"),
        needs_reload=unit.get("NeedDaemonReload") == "yes",
        config=config_path(systemd.flags(unit)),
        plugin=_ask() if active and process.find("ctr") else "",
        open_files=_open_files(pid) if active else frozenset(),
        started=_started(pid) if active else None,
    )


def read_version() -> str:
    return parse_version(process.run("containerd", "--version", timeout=60))


def parse_version(text: str) -> str:
    """Return the version in ``containerd --version``: its name, its source, the version, the commit or package."""
    words = text.split()
    return bare_version(words[2]) if len(words) > 2 else ""


def bare_version(text: str) -> str:
    """Return the version in a program's or a package's: 1.7.24 of 1.7.24~ds1-6, of 1.7.24-1 and of v1.7.24."""
    match = re.match(r"(?:\d+:|v)?(\d+\.\d+(?:\.\d+)?)", text)
    return match[1] if match else ""


def configured_path() -> str:
    """Return the file that the unit starts containerd with: at most one process, systemctl."""
    return config_path(systemd.flags(systemd.read_unit(SERVICE)))


def config_path(flags: t.Sequence[str]) -> str:
    """Return the file that containerd is started with; the last flag counts."""
    found = constants.CONFIG
    words = iter(flags)
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("--config", "-config", "-c"):
            found = value if equals else next(words, found)
    return found


def _has_plugin() -> bool:
    """Whether the program knows the snapshotter, which may be left out when it is built (BUILDING.md, no_devmapper)."""
    return f'"{constants.PLUGIN}"' in process.run("containerd", "config", "default", timeout=60).replace("'", '"')


def _ask() -> str:
    """Return the state of the snapshotter in the running containerd; empty where that does not answer."""
    command = ("ctr", "--connect-timeout", "30s", "plugins", "ls", "--detailed", "id==devmapper")
    try:
        return parse_plugin(process.run(*command, timeout=60))
    except process.ProcessError:
        return ""


def parse_plugin(text: str) -> str:
    """Return ok, or the error, of the snapshotter in what ``ctr plugins ls --detailed`` prints."""
    for block in re.split(r"\n\s*\n(?=Type:)", text):
        if re.search(r"(?m)^Type:\s+io\.containerd\.snapshotter\.v1$", block):
            error = re.search(r"(?ms)^Error:.*?Message:\s+(.*?)\s*\Z", block)
            return re.sub(r"\s+", " ", error[1]) if error else "ok"
    return "it is not there"


def _open_files(pid: str) -> frozenset[str]:
    folder = f"{PROC}/{pid}/fd"
    found = set()
    try:
        for name in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError:  # closed meanwhile
                continue
            if target.endswith(".db"):
                found.add(target)
    except OSError:
        pass
    return frozenset(found)


def _started(pid: str) -> float | None:
    """Return when the process was started, by the clock as it is now (proc_pid_stat(5), field 22)."""
    try:
        with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def check(containerd: Containerd) -> None:
    """Refuse a containerd that cannot use a thin pool."""
    if not containerd.installed:
        return
    check_version(containerd.version, containerd.path)
    if not containerd.has_plugin:
        raise RefusedError(
            f"{containerd.path} was built without the devmapper snapshotter ('containerd config default' has no "
            f"{constants.PLUGIN}): install the distribution's or Docker's package"
        )
    if containerd.unit == "masked":
        raise RefusedError("containerd.service is masked, so it cannot be started: run 'systemctl unmask containerd'")


def check_version(version: str, source: str) -> None:
    """Refuse what is older than the configuration that is known here."""
    if not version:
        raise RefusedError(f"{source}: its version could not be found out, and so not whether it has the snapshotter")
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < (1, 6):
        raise RefusedError(
            f"{source} is containerd {version}; the devmapper snapshotter is supported from 1.6 on: upgrade it"
        )
