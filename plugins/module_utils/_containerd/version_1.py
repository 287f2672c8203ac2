# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""A configuration of version 1, which one without a version is, written as version 2 with the same meaning.

Docker's package containerd.io brings such a file, with CRI switched off in it. Version 1 names plugins by their IDs,
version 2 by type and ID (v1Migrate in cmd/containerd/server/config/config.go; V1DisabledFilter in 1.x).
"""

from __future__ import annotations

import re

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.config_text import newline_of
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors

# What the package containerd.io brings, beside comments.
PACKAGED = 'disabled_plugins = ["cri"]\n'

_NAMES = {
    "aufs": "io.containerd.snapshotter.v1.aufs",
    "bolt": "io.containerd.metadata.v1.bolt",
    "btrfs": "io.containerd.snapshotter.v1.btrfs",
    "cgroups": "io.containerd.monitor.v1.cgroups",
    "cri": "io.containerd.grpc.v1.cri",
    "devmapper": "io.containerd.snapshotter.v1.devmapper",
    "linux": "io.containerd.runtime.v1.linux",
    "native": "io.containerd.snapshotter.v1.native",
    "opt": "io.containerd.internal.v1.opt",
    "otlp": "io.containerd.tracing.processor.v1.otlp",
    "overlayfs": "io.containerd.snapshotter.v1.overlayfs",
    "restart": "io.containerd.internal.v1.restart",
    "scheduler": "io.containerd.gc.v1.scheduler",
    "task": "io.containerd.runtime.v2.task",
    "tracing": "io.containerd.internal.v1.tracing",
    "zfs": "io.containerd.snapshotter.v1.zfs",
}
_IDS = {whole: name for name, whole in _NAMES.items()}
_LISTS = (("disabled_plugins",), ("required_plugins",))
_VERSION = "version = 2 # it had none: converted by the collection devicemapper.containers"
_QUOTED = re.compile(r"\"[^\"\\]*\"|'[^']*'")


def is_old(document: toml.Document) -> bool:
    """Whether a main file is of version 1; one that says nothing at all is of none."""
    version = document.values.get("version", 0)
    return bool(document.statements) and version in (0, 1) and not isinstance(version, bool)


def converted(text: str, path: str) -> str:
    """Return a text of version 1 as one of version 2; what cannot be converted for sure is refused."""
    document = toml.parse(text)
    problems = [problem for statement in document.statements for problem in _problems(statement, path)]
    if problems:
        raise RefusedErrors(problems)
    for statement in reversed(document.statements):
        start, end = statement.start, statement.end
        if isinstance(statement, toml.Entry):
            if statement.path == ("version",):
                text = f"{text[: statement.value_start]}2{text[statement.value_end :]}"
            elif statement.path in _LISTS:
                start, end = statement.value_start, statement.value_end
                text = text[:start] + _QUOTED.sub(_whole, text[start:end]) + text[end:]
        elif statement.path[:1] == ("plugins",) and len(statement.path) > 1:
            text = text[:start] + _renamed(text[start:end], statement.path[1], _NAMES[statement.path[1]]) + text[end:]
    if "version" not in document.values:
        first = document.statements[0].start
        text = f"{text[:first]}{_VERSION}{newline_of(text)}{text[first:]}"
    return text


def given_back(text: str) -> str:
    """Return a text that was converted as it was before."""
    document = toml.parse(text)
    first = document.statements[0] if document.statements else None
    if first is None or text[first.start : first.end].rstrip() != _VERSION:
        return text
    for statement in reversed(document.statements[1:]):
        start, end = statement.start, statement.end
        if isinstance(statement, toml.Entry) and statement.path in _LISTS:
            start, end = statement.value_start, statement.value_end
            text = text[:start] + _QUOTED.sub(_short, text[start:end]) + text[end:]
        elif isinstance(statement, toml.Header) and statement.path[:1] == ("plugins",) and len(statement.path) > 1:
            name = _IDS.get(statement.path[1])
            line = _renamed(text[start:end], statement.path[1], name) if name else text[start:end]
            text = text[:start] + line + text[end:]
    return text[: first.start] + text[first.end :]


def _problems(statement: toml.Header | toml.Entry, path: str) -> list[str]:
    where = f"{path}, line {statement.line}, in a configuration of version 1"
    advice = "Convert the file yourself: 'containerd config migrate' of containerd 2.x prints it"
    if isinstance(statement, toml.Entry):
        if statement.path == ("imports",) and statement.value:
            return [f"{where}: what is imported would have to be converted with it. {advice}"]
        if statement.path in _LISTS:
            names = statement.value if isinstance(statement.value, list) else [statement.value]
            return [f"{where}: there is no plugin {name!r}. {advice}" for name in names if name not in _NAMES]
        if statement.path[0] == "plugins" and len(statement.table) < 2:
            return [f"{where}: plugins in braces or by dotted keys. {advice}"]
        return []
    if statement.path[0] == "plugins" and len(statement.path) > 1 and statement.path[1] not in _NAMES:
        return [f"{where}: there is no plugin {statement.path[1]!r}. {advice}"]
    return []


def _whole(match: re.Match[str]) -> str:
    return f'"{_NAMES[match[0][1:-1]]}"'


def _short(match: re.Match[str]) -> str:
    return f'"{_IDS.get(match[0][1:-1], match[0][1:-1])}"'


def _renamed(line: str, old: str, new: str) -> str:
    """Return a header's line with another name of its plugin; what is in the line before it is brackets and plugins."""
    spelled = new if toml.is_bare(new) else f'"{new}"'
    return re.sub(rf"([\"']?){re.escape(old)}\1", lambda _match: spelled, line, count=1)
