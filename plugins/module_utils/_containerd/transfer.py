# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What containerd's transfer service may unpack onto: an entry of its configuration for the devmapper snapshotter.

ctr and nerdctl of 2.x have it unpack what they pull and import, and from 2.1 on CRI does. It knows the snapshotters of
``unpack_config`` and no others; the default one is there only as long as no entry is (plugins/transfer/plugin.go).
containerd 1.x has the service, and nothing that asks it to unpack.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import config_text, toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.config_text import Element, Table
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SNAPSHOTTER
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import (
    Change,
    ContainerdConfig,
    Source,
    added,
    plugin_holder,
)

PLUGIN = ("plugins", "io.containerd.transfer.v1.local")
PATH = (*PLUGIN, "unpack_config")
# An operating system alone means the processor that containerd was built for (containerd/platforms, Parse).
_OURS = {"platform": "linux", "snapshotter": SNAPSHOTTER}
# What containerd has by itself (defaultUnpackConfig), from the version on.
_BUILT_IN: tuple[tuple[tuple[int, int], dict[str, t.Any]], ...] = (
    ((2, 0), {"platform": "linux", "snapshotter": "overlayfs", "differ": "walking"}),
    ((2, 3), {"platform": "linux(+erofs)", "snapshotter": "erofs", "differ": "erofs", "optional": True}),
)


def parts(containerd: str, *, unusable: t.Container[str] = (), state: str = "present") -> list[UnpackEntry]:
    """Return the part of the configuration that lets images be unpacked onto the snapshotter.

    ``containerd`` is the program's version; ``unusable`` are the snapshotters that do not work on this host, which the
    service would not start with.
    """
    if state == "absent":
        return [UnpackEntry(is_wanted=False)]
    major, minor = (int(part) for part in containerd.split(".")[:2]) if containerd else (0, 0)
    if major < 2:
        return []
    built_in = tuple(
        entry for since, entry in _BUILT_IN if since <= (major, minor) and entry["snapshotter"] not in unusable
    )
    return [UnpackEntry(built_in)]


@dataclass(frozen=True)
class UnpackEntry:
    """The snapshotter's entry, and those that containerd has by itself and loses with it."""

    built_in: tuple[dict[str, t.Any], ...] = ()
    is_wanted: bool = True

    @property
    def name(self) -> str:
        return f"[{config_text.header(PATH)}]"

    def problems(self, source: Source) -> list[str]:
        problems = []
        for statement in source.document.statements:
            path = statement.path
            where = f"{source.path}, line {statement.line}: unpack_config of {PLUGIN[1]}"
            if isinstance(statement, toml.Header):
                if path == PATH and not statement.is_array:
                    problems.append(f"{where} is an array of tables: write [{config_text.header(PATH)}]")
            elif path == PATH and not isinstance(statement.value, list):
                problems.append(f"{where} must be an array of tables, not {statement.value!r}")
            elif path == PLUGIN[: len(path)] or (path[: len(PLUGIN)] == PLUGIN and len(statement.table) < len(PLUGIN)):
                problems.append(
                    f"{source.path}, line {statement.line}: {PLUGIN[1]}, or all plugins, in braces or by dotted keys: "
                    f"write it as a section of its own, {config_text.header(PLUGIN)} with a line for each key"
                )
        return problems

    def change(self, current: ContainerdConfig, version: int) -> Change | None:
        holder = plugin_holder(current, PLUGIN)
        there = config_text.elements(holder.text, PATH) if holder else []
        if not self.is_wanted:
            return _without(holder, there) if holder else None
        values = (holder and config_text.table_of(holder.document.values, PLUGIN)) or {}
        if any(entry.get("snapshotter") == SNAPSHOTTER for entry in values.get("unpack_config", ())):
            return None
        ours = Table(PATH, _OURS, is_array=True)
        if holder and "unpack_config" in values and not there:
            return _in_brackets(holder)
        if there:
            return added(current, holder, [ours], version)
        restated = [Table(PATH, entry, is_array=True, is_restated=True) for entry in self.built_in]
        return added(current, holder, [*restated, ours], version)


def _without(holder: Source, there: t.Sequence[Element]) -> Change | None:
    """Take the snapshotter's entry out, and those that stand there for its sake alone."""
    gone = [element for element in there if element.values.get("snapshotter") == SNAPSHOTTER]
    if not gone:
        return None
    others = [element for element in there if element not in gone]
    if all(element.is_restated for element in others):
        gone = list(there)
    return Change(holder.path, holder.text, config_text.without_elements(holder.text, gone))


def _in_brackets(holder: Source) -> Change:
    """Add the snapshotter's entry to an array that stands in brackets, behind what is in it."""
    entry = next(entry for entry in holder.document.entries if entry.path == PATH)
    new = "{" + ", ".join(f"{key} = {config_text.value(given)}" for key, given in _OURS.items()) + "}"
    end = entry.value_end - 1
    for joint in ("", ", "):  # nothing is needed in an empty array, and behind a last comma
        text = f"{holder.text[:end]}{joint}{new}{holder.text[end:]}"
        try:
            toml.parse(text)
        except toml.TomlError:
            continue
        return Change(holder.path, holder.text, text)
    raise AssertionError("an array that was read takes one more")
