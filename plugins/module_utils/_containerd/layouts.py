# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Where a containerd has what: the distribution's, and those that others bring along and configure."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SERVICE, SOCKET
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors

# The option of a module that spells one.
OPTION = {
    "type": "dict",
    "default": {},
    "options": {
        "preset": {"type": "str"},
        "unit": {"type": "str"},
        "socket": {"type": "str"},
        "binary": {"type": "str"},
        "config": {"type": "str"},
        "root": {"type": "str"},
        "drop_in": {"type": "str"},
    },
}
_PATH = re.compile(r"/[!-~]+")


@dataclass(frozen=True)
class Layout:
    """The places of one containerd."""

    units: tuple[str, ...] = (SERVICE,)  # of which the first counts that systemd knows
    socket: str = SOCKET
    binary: str = "containerd"
    config: str = ""  # the main file; empty: the one that the unit starts it with
    root: str = ""  # of its data; empty: as the configuration says
    # A folder whose files the main file imports, which is generated then and never written to.
    drop_in: str = ""
    hands_devices_over: bool = False  # to virtual machines, whatever handlers there are

    @property
    def unit(self) -> str:
        return self.units[0]

    @property
    def is_systems(self) -> bool:
        """Whether it is the one that Docker finds."""
        return self.socket == SOCKET

    @property
    def ctr(self) -> tuple[str, ...]:
        """The words that a command of ctr begins with; it comes with containerd."""
        folder = os.path.dirname(self.binary)
        program = os.path.join(folder, "ctr") if folder and process.find(os.path.join(folder, "ctr")) else "ctr"
        return (program,) if self.is_systems else (program, "--address", self.socket)


def _of_rancher(name: str, *units: str) -> Layout:
    folder = f"/var/lib/rancher/{name}"
    return Layout(
        units=units,
        socket="/run/k3s/containerd/containerd.sock",
        binary=f"{folder}/data/current/bin/containerd" if name == "k3s" else f"{folder}/bin/containerd",
        config=f"{folder}/agent/etc/containerd/config.toml",
        root=f"{folder}/agent/containerd",
        drop_in=f"{folder}/agent/etc/containerd/config-v3.toml.d",
    )


# As their documentation says, and not tried with their programs (molecule/another_containerd has a stand-in).
PRESETS = {
    "k3s": _of_rancher("k3s", "k3s.service", "k3s-agent.service"),
    "rke2": _of_rancher("rke2", "rke2-server.service", "rke2-agent.service"),
    "k0s": Layout(
        units=("k0sworker.service", "k0scontroller.service"),
        socket="/run/k0s/containerd.sock",
        binary="/var/lib/k0s/bin/containerd",
        config="/etc/k0s/containerd.toml",
        root="/var/lib/k0s/containerd",
        drop_in="/etc/k0s/containerd.d",
    ),
    # The template, of which MicroK8s makes the file at each start.
    "microk8s": Layout(
        units=("snap.microk8s.daemon-containerd.service",),
        socket="/var/snap/microk8s/common/run/containerd.sock",
        binary="/snap/microk8s/current/bin/containerd",
        config="/var/snap/microk8s/current/args/containerd-template.toml",
        root="/var/snap/microk8s/common/var/lib/containerd",
    ),
    # As hack/scripts/provision.sh installs it.
    "flintlock": Layout(
        binary="/usr/local/bin/containerd", config="/etc/containerd/config.toml", hands_devices_over=True
    ),
}


def _is_right(key: str, value: str) -> bool:
    if key == "unit":
        return systemd.is_service(value)
    return bool(_PATH.fullmatch(value)) and ".." not in value.split("/")


def of(given: t.Mapping[str, str | None]) -> Layout:
    """Return the layout that a module's option spells."""
    named = {key: value for key, value in given.items() if value}
    preset = named.pop("preset", "")
    layout = PRESETS.get(preset, Layout())
    problems = [f"layout: preset must be {', '.join(PRESETS)}, not {preset!r}"] if preset not in ("", *PRESETS) else []
    problems += [
        f"layout: {key} must be {'the name of a service' if key == 'unit' else 'a whole path'}, not {value!r}"
        for key, value in named.items()
        if not _is_right(key, value)
    ]
    if problems:
        raise RefusedErrors(problems)
    if "unit" in named:
        layout = replace(layout, units=(named.pop("unit"),))
    return replace(layout, **t.cast(t.Dict[str, t.Any], named))
