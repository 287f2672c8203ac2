# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Runtime handlers of Kubernetes (CRI) whose containers are on the devmapper snapshotter.

The keys are those of containerd's internal/cri/config/config.go (pkg/cri/config in 1.7). containerd 2.x unpacks images
by a map of its own from handlers to snapshotters. What it makes by itself of a configuration of version 2 lacks it: its
migration reads a key "snapshot" and writes one "runtime_platform", which nobody has (plugins/cri/images/plugin.go).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import config_text, toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.config_text import Table
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SNAPSHOTTER
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import (
    ContainerdConfig,
    Section,
    upgraded,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors

# Of configurations of version 2, and of later ones.
_CRI = ("plugins", "io.containerd.grpc.v1.cri")
_RUNTIME = ("plugins", "io.containerd.cri.v1.runtime")
_IMAGES = ("plugins", "io.containerd.cri.v1.images")
# What RuntimeClass takes as a handler: a label of DNS (kubernetes.io, Runtime Class).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# A name that containerd finds the shim's program by, such as io.containerd.kata.v2, or the program's path.
_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+|/[!-~]+")


# The option of a module that spells them.
OPTION = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "name": {"type": "str", "required": True},
        "runtime_type": {"type": "str", "required": True},
        "runtime_path": {"type": "str"},
        "pod_annotations": {"type": "list", "elements": "str"},
        "privileged_without_host_devices": {"type": "bool"},
        "options": {"type": "dict", "default": {}},
    },
}


# Those that mount a container's filesystem on the host, so that nobody in it reads what it did not write. Any other
# may hand the device to a virtual machine, as those of Kata Containers and Firecracker do.
_MOUNTING = ("io.containerd.runc.v1", "io.containerd.runc.v2", "io.containerd.runsc.v1")


@dataclass(frozen=True)
class Runtime:
    """A handler as it is asked for; None leaves a key as it is."""

    name: str
    runtime_type: str
    runtime_path: str | None = None
    pod_annotations: t.Sequence[str] | None = None
    privileged_without_host_devices: bool | None = None
    options: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def hands_device_over(self) -> bool:
        """Whether whoever is in a container may read its device as a whole."""
        return self.runtime_type not in _MOUNTING

    def keys(self) -> dict[str, t.Any]:
        """Return the keys of the handler's own section."""
        found = {
            "runtime_type": self.runtime_type,
            "runtime_path": self.runtime_path,
            "pod_annotations": None if self.pod_annotations is None else list(self.pod_annotations),
            "privileged_without_host_devices": self.privileged_without_host_devices,
            "snapshotter": SNAPSHOTTER,
        }
        return {key: value for key, value in found.items() if value is not None}


def of(given: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Runtime, ...]:
    """Return the handlers that a module's options spell."""
    return tuple(Runtime(**runtime) for runtime in given)


def check(runtimes: t.Sequence[Runtime]) -> None:
    """Refuse what Kubernetes or containerd would not take."""
    problems = []
    names = [runtime.name for runtime in runtimes]
    problems += [f"runtimes: {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
    for runtime in runtimes:
        where = f"runtimes: {runtime.name!r}"
        if not _NAME.fullmatch(runtime.name):
            problems.append(
                f"{where} is no name for a handler: at most 63 lower case letters, digits and hyphens, as RuntimeClass "
                "takes them"
            )
        if not _TYPE.fullmatch(runtime.runtime_type):
            problems.append(
                f"{where}: runtime_type must be a name such as io.containerd.kata.v2, or the path of a shim, not "
                f"{runtime.runtime_type!r}"
            )
        if runtime.runtime_path is not None and not re.fullmatch(r"/[!-~]+", runtime.runtime_path):
            problems.append(f"{where}: runtime_path must be the whole path of a program, not {runtime.runtime_path!r}")
        problems += [
            f"{where}: options: {key} must be a text, a number or true or false, not {value!r}"
            for key, value in runtime.options.items()
            if not isinstance(value, (str, bool, int)) or not re.fullmatch(r"[A-Za-z0-9_-]+", str(key))
        ]
    if problems:
        raise RefusedErrors(problems)


def parts(
    runtimes: t.Sequence[Runtime],
    configuration: ContainerdConfig,
    *,
    version: int,
    containerd: str,
    effective: t.Mapping[str, t.Any],
    state: str = "present",
) -> list[Section]:
    """Return the sections that are set, or taken out.

    ``version`` is that of a configuration that is made anew, ``containerd`` that of the program, and ``effective`` what
    it makes of the configuration by now; both are empty where it is yet to be installed.
    """
    configuration = upgraded(configuration) if state == "present" else configuration
    if runtimes and state == "present":
        _check_program(containerd)
        _check_layers(configuration)
    plugin = _CRI if configuration.version(version) == 2 else _RUNTIME
    is_first = containerd.partition(".")[0] == "1"
    handlers = (*plugin, "containerd", "runtimes")
    maps_images = configuration.version(version) > 2 or (containerd != "" and not is_first)
    # 2.x puts its own handlers beside those of a file, 1.x has the ones or the others (pelletier/go-toml 2 and 1).
    in_files = any(config_text.table_of(source.document.values, handlers) for source in configuration.sources)
    own = config_text.table_of(effective, handlers) or {} if is_first and not in_files else {}
    found = []
    for runtime in runtimes:
        path = (*handlers, runtime.name)
        images = (*_IMAGES, "runtime_platforms", runtime.name)
        # Its tables are named otherwise in each version of a configuration, which a package may be yet to bring.
        label = f"handler {runtime.name}"
        if state == "absent":
            found += [Section(path, {}, label=label), Section(images, {}, label=label)]
            continue
        theirs, *below = _tables(path, own.get(runtime.name, {}))
        others = (table for name in own if name != runtime.name for table in _tables((*handlers, name), own[name]))
        found.append(Section(path, {**theirs.keys, **runtime.keys()}, (*others, *below), label))
        if runtime.options:
            found.append(Section((*path, "options"), runtime.options, label=label))
        if maps_images:
            found.append(Section(images, {"snapshotter": SNAPSHOTTER}, label=label))
    return found


def _tables(path: toml.Path, values: t.Mapping[str, t.Any]) -> list[Table]:
    """Return a table and those in it, as they are written when containerd no longer has them by itself."""
    keys = {key: value for key, value in values.items() if not isinstance(value, dict)}
    found = [Table(path, keys, is_restated=True)]
    for key, value in values.items():
        if isinstance(value, dict):
            found += _tables((*path, key), value)
    return found


def _check_program(containerd: str) -> None:
    if containerd.startswith("1.6"):
        raise RefusedError(
            f"runtimes: containerd {containerd} has one snapshotter for all handlers of Kubernetes; each can have its "
            "own from 1.7 on: upgrade it, or leave runtimes out"
        )


def _check_layers(configuration: ContainerdConfig) -> None:
    """Refuse a setting with which no image can be unpacked for a handler after it was for another snapshotter."""
    for source in configuration.sources:
        for entry in source.document.entries:
            is_of_cri = entry.path[:2] in (_CRI, _IMAGES)
            if is_of_cri and entry.path[-1] == "discard_unpacked_layers" and entry.value is True:
                raise RefusedError(
                    f"{source.path}, line {entry.line}: discard_unpacked_layers throws an image's layers away once "
                    "they are unpacked onto the default snapshotter, so that a handler's could no longer be unpacked "
                    "onto the pool: set it to false there, or leave runtimes out"
                )
