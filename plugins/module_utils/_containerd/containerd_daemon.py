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
from dataclasses import dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import constants, effective
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SERVICE
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.layouts import Layout
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

# Where the kernel shows processes; another folder in tests.
PROC = "/proc"
# How often it is asked after a start, a second apart: a unit that starts it as one of several things may be up before.
ATTEMPTS = 30

# The sentence of the step in which all of containerd is looked at; the same whether it runs already or not.
RESTART = "restart containerd, and see that every plugin works that did"

# What Docker, CRI and ctr need every one of; of the other types a host may have what does not load, and needs it not.
_ESSENTIAL = (
    "io.containerd.content.v1",
    "io.containerd.event.v1",
    "io.containerd.gc.v1",
    "io.containerd.lease.v1",
    "io.containerd.metadata.v1",
    "io.containerd.runtime.v2",
    "io.containerd.service.v1",
)


@dataclass(frozen=True)
class Plugin:
    """One plugin of the running containerd."""

    type: str
    id: str
    error: str = ""  # why it does not work; empty where it does

    @property
    def uri(self) -> str:
        """The name that configurations have for it."""
        return f"{self.type}.{self.id}"

    @property
    def is_skipped(self) -> bool:
        """Whether it found by itself that it is not for this host (ctr plugins ls says skip)."""
        return "skip plugin" in self.error


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
    plugins: tuple[Plugin, ...] = ()  # all that the running one has; empty for the same reasons
    # Its configuration as it reads it, with its own values for what no file has; empty where it cannot say.
    effective: t.Mapping[str, t.Any] = field(default_factory=dict)
    open_files: frozenset[str] = frozenset()  # databases that the running process has open
    started: float | None = None  # seconds since 1970
    layout: Layout = Layout()  # with the unit that there is

    @property
    def installed(self) -> bool:
        return bool(self.path)

    @property
    def config_version(self) -> int:
        """The version of a configuration that it takes without converting it."""
        major, minor = (int(part) for part in self.version.split(".")[:2]) if self.version else (0, 0)
        return 2 if major < 2 else 3 if (major, minor) < (2, 3) else 4

    @property
    def unusable_snapshotters(self) -> set[str]:
        """Those that are switched off, or that the running one says do not work."""
        disabled = self.effective.get("disabled_plugins", ())
        kind = f"{constants.SNAPSHOTTER_TYPE}."
        off = {uri[len(kind) :] for uri in disabled if uri.startswith(kind)}
        return off | {
            plugin.id for plugin in self.plugins if plugin.type == constants.SNAPSHOTTER_TYPE and plugin.error
        }

    def has_open(self, folder: str, pool: str) -> bool:
        """Whether the running snapshotter works with a pool's devices, and so with the pool.

        It opens metadata.db only when the first snapshot is asked for (snapshots/storage/metastore.go).
        """
        return f"{folder}/{pool}.db" in self.open_files


def read(layout: Layout = Layout()) -> Containerd:  # noqa: B008  # a frozen value
    """Return what there is of containerd: up to four processes, and one for each further unit that it may have."""
    path = process.find(layout.binary) or ""
    for name in layout.units:
        unit = systemd.read_unit(name)
        if unit.get("LoadState") == "loaded" or len(layout.units) == 1:
            layout = replace(layout, units=(name,))
            break
    active = unit.get("ActiveState") in ("active", "activating", "reloading")
    pid = _process(unit.get("MainPID", "0")) if active else "0"
    config = layout.config or config_path(systemd.flags(unit))
    found = effective.read(config, layout.binary) if path else {}
    plugins = ask(layout) if active and process.find(layout.ctr[0]) else ()
    return Containerd(
        path=path,
        version=read_version(layout.binary) if path else "",
        has_plugin=constants.PLUGIN in found.get("plugins", {}) if found else True,
        unit=unit.get("LoadState", ""),
        active=active,
        enabled=unit.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "indirect", "generated"),
        needs_reload=unit.get("NeedDaemonReload") == "yes",
        config=config,
        plugin=state_of(plugins) if plugins else "",
        plugins=plugins,
        effective=found,
        open_files=_open_files(pid) if active else frozenset(),
        started=_started(pid) if active else None,
        layout=layout,
    )


def configured(path: str, layout: Layout = Layout()) -> Containerd:  # noqa: B008  # a frozen value
    """Return what there is of containerd that its configuration depends on: up to three processes."""
    if not process.find(layout.binary):
        return Containerd(layout=layout)
    answers = os.path.exists(layout.socket) and process.find(layout.ctr[0])
    return Containerd(
        version=read_version(layout.binary),
        effective=effective.read(path, layout.binary),
        plugins=ask(layout) if answers else (),
        config=path,
        layout=layout,
    )


def read_version(program: str = "containerd") -> str:
    return parse_version(process.run(program, "--version", timeout=60))


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


def ask(layout: Layout = Layout()) -> tuple[Plugin, ...]:  # noqa: B008  # a frozen value
    """Return the plugins of the running containerd; none where that does not answer."""
    words = (*layout.ctr, "--connect-timeout", "30s", "plugins", "ls", "--detailed")
    try:
        return parse_plugins(process.run(*words, timeout=60))
    except process.ProcessError:
        return ()


def ask_started(layout: Layout) -> tuple[Plugin, ...]:
    """Return the plugins of a containerd that is starting; none where it does not answer in time."""
    for attempt in range(ATTEMPTS):
        plugins = ask(layout)
        if plugins:
            return plugins
        time.sleep(1 if attempt + 1 < ATTEMPTS else 0)
    return ()


def parse_plugins(text: str) -> tuple[Plugin, ...]:
    """Return what ``ctr plugins ls --detailed`` prints."""
    found = []
    for block in re.split(r"\n\s*\n(?=Type:)", text):
        named = re.search(r"(?m)^Type:[ \t]+(\S+)[ \t]*\nID:[ \t]+(\S+)[ \t]*$", block)
        error = re.search(r"(?ms)^Error:.*?Message:\s+(.*?)\s*\Z", block)
        if named:
            found.append(Plugin(named[1], named[2], re.sub(r"\s+", " ", error[1]) if error else ""))
    return tuple(found)


def start(service: str) -> None:
    """Start containerd, or start it anew, now and at every boot."""
    process.run("systemctl", "enable", service)
    process.run("systemctl", "restart", service)


def state_of(plugins: t.Sequence[Plugin], uri: str = constants.PLUGIN) -> str:
    """Return ok, or the error, of one of them."""
    return next((plugin.error or "ok" for plugin in plugins if plugin.uri == uri), "it is not there")


def lost(before: t.Sequence[Plugin], after: t.Sequence[Plugin]) -> list[str]:
    """Return what worked before and does not any more, each with the reason."""
    return [
        f"{plugin.uri} ({state_of(after, plugin.uri)})"
        for plugin in before
        if not plugin.error and state_of(after, plugin.uri) != "ok"
    ]


def broken(plugins: t.Sequence[Plugin]) -> list[str]:
    """Return what does not work and without which nothing else does, each with the reason."""
    return [
        f"{plugin.uri} ({plugin.error})"
        for plugin in plugins
        if plugin.type in _ESSENTIAL and plugin.error and not plugin.is_skipped
    ]


def _process(pid: str) -> str:
    """Return the process that is containerd: the unit's own, or the child of one that starts it, as k3s does."""

    def name_and_parent(number: str) -> tuple[str, str]:
        try:
            with open(f"{PROC}/{number}/stat", encoding="utf-8", errors="replace") as file:
                before, _bracket, rest = file.read().rpartition(")")
        except OSError:
            return "", ""
        return before.partition("(")[2], rest.split()[1]

    if name_and_parent(pid)[0].startswith("containerd") or not os.path.isdir(PROC):
        return pid
    others = (number for number in os.listdir(PROC) if number.isdecimal())
    return next((number for number in others if name_and_parent(number) == ("containerd", pid)), pid)


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
    hurt = broken(containerd.plugins)
    # With containerd 2.x nothing works beside a snapshotter that has an error: what is to be mended here comes first.
    ours = next((plugin for plugin in containerd.plugins if plugin.uri == constants.PLUGIN), None)
    if hurt and not (ours and ours.error and not ours.is_skipped):
        raise RefusedError(
            f"containerd runs without {', '.join(hurt)}, and nothing works on a pool without: see 'journalctl -u "
            "containerd', mend it, and restart containerd"
        )
    if containerd.unit == "masked":
        unit = containerd.layout.unit
        name = unit.rpartition(".")[0]
        raise RefusedError(f"{unit} is masked, so it cannot be started: run 'systemctl unmask {name}'")


def check_version(version: str, source: str) -> None:
    """Refuse what is older than the configuration that is known here."""
    if not version:
        raise RefusedError(f"{source}: its version could not be found out, and so not whether it has the snapshotter")
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < (1, 6):
        raise RefusedError(
            f"{source} is containerd {version}; the devmapper snapshotter is supported from 1.6 on: upgrade it"
        )
