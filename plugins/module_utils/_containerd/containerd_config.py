# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The devmapper snapshotter's section of containerd's configuration, and every other byte of it left as it is.

How containerd reads its files: cmd/containerd/server/config/config.go (services/server/config/config.go in 1.x).
"""

from __future__ import annotations

import fnmatch
import glob
import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    config_text,
    toml,
    version_1,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.config_text import Table, header
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import (
    PLUGIN,
    ROOT,
    SECTION,
    STATE,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    ORDER,
    VERSIONS,
    SnapshotterSettings,
    check,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step

# Of a file that is made beside those that are there; any name does that the main file imports.
DROP_IN = "thin-pool.toml"


@dataclass(frozen=True)
class Source:
    """One file of the configuration."""

    path: str
    text: str
    document: toml.Document


@dataclass(frozen=True)
class ContainerdConfig:
    """The files that containerd reads, the main one first; it may be missing."""

    path: str
    sources: tuple[Source, ...] = ()
    patterns: tuple[str, ...] = ()  # whole paths that the main file imports
    # The file of ours where the main one is generated: neither that nor what else is generated is written to.
    drop_in: str = ""

    @property
    def main(self) -> Source | None:
        return self.sources[0] if self.sources and self.sources[0].path == self.path else None

    def may_change(self, source: Source) -> bool:
        """Whether a file is written by hand, as far as the place tells."""
        return not self.drop_in or os.path.dirname(source.path) == os.path.dirname(self.drop_in)

    def text_of(self, path: str) -> str | None:
        return next((source.text for source in self.sources if source.path == path), None)

    def _last(self, key: str, otherwise: str) -> str:
        named = [source.document.values.get(key) for source in self.sources]
        return next((str(value) for value in reversed(named) if value), otherwise)

    @property
    def root(self) -> str:
        """Where containerd keeps its data."""
        return self._last("root", ROOT)

    @property
    def state(self) -> str:
        """Where containerd keeps what does not outlive a boot."""
        return self._last("state", STATE)

    @property
    def holders(self) -> list[Source]:
        """The files that have the section."""
        return [source for source in self.sources if _section_of(source) is not None]

    @property
    def holder(self) -> str | None:
        """The path of the file that has the section."""
        return self.holders[0].path if self.holders else None

    def section(self) -> dict[str, t.Any]:
        """Return the section's keys as they are now; of several sections, nothing can be said."""
        return dict(_section_of(self.holders[0]) or {}) if len(self.holders) == 1 else {}

    @property
    def pool_name(self) -> str:
        return str(self.section().get("pool_name") or "")

    def version(self, otherwise: int) -> int:
        """Return the version that the main file says, or that of one that is made anew."""
        if self.main and version_1.is_old(self.main.document):
            return 2  # which it is converted to
        named = self.main.document.values.get("version") if self.main else None
        return named if isinstance(named, int) and not isinstance(named, bool) else otherwise

    @property
    def root_path(self) -> str:
        """Where the snapshotter keeps its databases."""
        return str(self.section().get("root_path") or f"{self.root}/{PLUGIN}")


@dataclass(frozen=True)
class Change:
    """One file as it is and as it will be; None where there is or will be none."""

    path: str
    before: str | None
    after: str | None


class Part(t.Protocol):
    """Something in the configuration of a plugin beside the snapshotter's section, set or taken out with it."""

    @property
    def name(self) -> str:
        """What sentences call it."""

    def problems(self, source: Source) -> list[str]:
        """Return where a file has it written in a way that its lines cannot be told from those of others."""

    def change(self, current: ContainerdConfig, version: int) -> Change | None:
        """Return the file that changes; None where nothing is to be done."""


@dataclass(frozen=True)
class Section:
    """A table in the configuration of a plugin, and keys for it; with none, it is to be taken out.

    ``beside`` are tables that containerd has by itself as long as no file has any beside them: they are written along
    with the first one.
    """

    path: toml.Path
    keys: t.Mapping[str, t.Any]
    beside: tuple[Table, ...] = ()
    label: str = ""  # of what it is a part of; empty: it is called by its header

    @property
    def name(self) -> str:
        return self.label or header(self.path)

    def problems(self, source: Source) -> list[str]:
        return _check_shape(source, self.path)

    def change(self, current: ContainerdConfig, version: int) -> Change | None:
        holder = plugin_holder(current, self.path[:2])
        if self.keys:
            return _set(current, holder, self, version)
        return removed(holder, self.path) if holder and _table_of(holder, self.path) is not None else None


def plugin_holder(current: ContainerdConfig, plugin: toml.Path) -> Source | None:
    """Return the file that has a plugin's configuration.

    In another one it would take the place of all that the plugin has there: containerd 1.x replaces the plugin as a
    whole by what is imported (services/server/config/config.go, mergeConfig).
    """
    holders = [source for source in current.sources if _table_of(source, plugin) is not None]
    if current.drop_in:  # containerd 2.x joins what stands in several, and 1.x is found out (effective)
        holders = [source for source in holders if source.path == current.drop_in]
    if len(holders) > 1:
        raise _scattered(holders, header(plugin))
    return holders[0] if holders else None


def read(path: str, drop_in: str = "") -> ContainerdConfig:
    """Return the files that containerd would read, in its order: each file's imports behind all that came before.

    ``drop_in`` is a folder for a file of ours where the main one is generated.
    """
    ours = f"{drop_in}/{DROP_IN}" if drop_in else ""
    found: list[Source] = []
    patterns: list[str] = []
    pending = [path]
    seen: set[str] = set()
    while pending:
        file = pending.pop(0)
        if file in seen:
            continue
        seen.add(file)
        text = files.read(file, exact=True)
        if text is None:  # containerd would say so of an import, and starts without the main file
            continue
        document = parse(text, file)
        found.append(Source(file, text, document))
        for pattern in imports(document, file):
            # containerd 1.6 takes relative patterns from the folder that it was started in, later ones from the file's.
            if file == path and os.path.isabs(pattern):
                patterns.append(pattern)
            whole = os.path.normpath(os.path.join(os.path.dirname(file), pattern))
            pending += sorted(glob_files(whole)) if "*" in whole else [whole]
        if not pending and ours not in ("", *seen):  # k0s imports it by its name from the next start on
            pending.append(ours)
    return ContainerdConfig(path, tuple(found), tuple(patterns), ours)


def glob_files(pattern: str) -> list[str]:
    """Return the files that a pattern of imports means; Go's matches hidden files too (path/filepath, Match)."""
    folder, name = os.path.split(pattern)
    return [
        os.path.join(parent, entry)
        for parent in (glob.glob(folder) if "*" in folder else [folder])
        if os.path.isdir(parent)
        for entry in sorted(os.listdir(parent))
        if fnmatch.fnmatchcase(entry, name)
    ]


def parse(text: str, path: str) -> toml.Document:
    try:
        return toml.parse(text)
    except toml.TomlError as error:
        raise RefusedError(
            f"{path}, line {error.line}: not valid TOML ({error.reason}), so containerd would not start with it: "
            "correct it first"
        ) from error


def imports(document: toml.Document, path: str) -> list[str]:
    """Return what a file imports."""
    named = document.values.get("imports") or []
    if not isinstance(named, list) or not all(isinstance(pattern, str) for pattern in named):
        raise RefusedError(f"{path}: imports must be an array of strings: correct it first")
    return [os.path.normpath(pattern) for pattern in named]


def _section_of(source: Source) -> dict[str, t.Any] | None:
    return _table_of(source, SECTION)


def _table_of(source: Source, path: toml.Path) -> dict[str, t.Any] | None:
    return config_text.table_of(source.document.values, path)


def decide(
    current: ContainerdConfig,
    wanted: SnapshotterSettings,
    *,
    state: str = "present",
    version: int = VERSIONS[0],
    others: t.Sequence[Part] = (),
    backup: bool = False,
) -> tuple[list[Step], list[Change]]:
    """Return the steps that set the section's keys, or take the section out, and the files that change.

    ``version`` is that of a configuration that is made anew. ``others`` are further parts, for which the same goes.
    With state absent, a section that names another pool stays, and the others with it.
    """
    now = upgraded(current) if state == "present" else current
    holders = now.holders
    if state == "absent" and not holders:
        return [], []
    names: dict[str, list[str]] = {current.path: ["version 2 with whole names of plugins"]} if now != current else {}
    check_sources(now, others)
    if len(holders) > 1:
        raise _scattered(holders, header(SECTION))
    if holders and not now.may_change(holders[0]):
        raise RefusedError(
            f"{holders[0].path} is generated and has a section {header(SECTION)}: take it out of what that is made of"
        )
    change = _snapshotter(now, wanted, state, version)
    if state == "absent" and change is None:
        return [], []
    if change:
        names.setdefault(change.path, []).extend([header(SECTION)] if state == "absent" else changed_keys(change))
        now = after(now, [change])
    for part in others:
        change = part.change(now, version)
        if change:
            named = names.setdefault(change.path, [])
            named += [part.name] if part.name not in named else []
            now = after(now, [change])
    changes = []
    for path in names:
        text = now.text_of(path)
        if state == "absent":
            text = config_text.given_back(version_1.given_back(text or ""))
        changes.append(Change(path, current.text_of(path), text))
    return [_step(current, change, names[change.path], state, backup) for change in changes], changes


def upgraded(current: ContainerdConfig) -> ContainerdConfig:
    """Return a configuration of version 1 as one of version 2, and any other as it is."""
    main = current.main
    if main is None or current.drop_in or not version_1.is_old(main.document):
        return current
    return after(current, [Change(main.path, main.text, version_1.converted(main.text, main.path))])


def _scattered(holders: t.Sequence[Source], what: str) -> RefusedError:
    return RefusedError(
        f"{' and '.join(holder.path for holder in holders)} have a section {what} each, which containerd 1.x "
        "and 2.x put together in different ways: leave one of them"
    )


def _snapshotter(current: ContainerdConfig, wanted: SnapshotterSettings, state: str, version: int) -> Change | None:
    holder = current.holders[0] if current.holders else None
    if state == "absent":
        named = (_section_of(holder) or {}).get("pool_name") if holder else None
        if holder is None or wanted.pool_name not in (None, named):
            return None
        return removed(holder, SECTION)
    change = _set(current, holder, Section(SECTION, wanted.given()), version)
    if change is not None and change.after is not None:
        _check_section(toml.parse(change.after).values["plugins"][PLUGIN], change.path)
    return change


def _step(current: ContainerdConfig, change: Change, names: t.Sequence[str], state: str, backup: bool) -> Step:
    # One sentence for a file that is there and one that is not: a package may bring it between foretelling and doing.
    what = f"take {', '.join(names)} out of" if state == "absent" else f"set {', '.join(names)} in"
    # What is imported by *.toml would be imported before it counts.
    write = Write(change.path, change.after, backup=backup, keeps_suffix=change.path == current.path)
    return Step(f"remove {change.path}" if change.after is None else f"{what} {change.path}", write=write)


def changed_keys(change: Change) -> list[str]:
    """Return the keys of the section that differ between the two texts."""

    def section(text: str | None) -> dict[str, t.Any]:
        plugins = toml.parse(text or "").values.get("plugins", {})
        return t.cast(t.Dict[str, t.Any], plugins.get(PLUGIN, {}))

    before, after = section(change.before), section(change.after)
    return [
        key for key in {**before, **after} if before.get(key) != after.get(key) or (key in before) != (key in after)
    ]


def check_sources(current: ContainerdConfig, others: t.Sequence[Part] = ()) -> None:
    """Refuse files that containerd reads in a way that is not known here, or with the snapshotter switched off."""
    problems = []
    for source in current.sources:
        problems += _check_version(source, source.path == current.path)
        problems += _check_shape(source, SECTION)
        for part in others:
            problems += part.problems(source)
        disabled = source.document.values.get("disabled_plugins") or []
        if isinstance(disabled, list) and PLUGIN in disabled:
            line = next(entry.line for entry in source.document.entries if entry.path == ("disabled_plugins",))
            problems.append(f"{source.path}, line {line}: disabled_plugins switches {PLUGIN} off: take it out there")
    if problems:
        raise RefusedErrors(dict.fromkeys(problems))


def _check_version(source: Source, is_main: bool) -> list[str]:
    entry = next((entry for entry in source.document.entries if entry.path == ("version",)), None)
    if entry is None and (not is_main or not source.document.statements):
        return []  # an import goes by the main file's, and in an empty file there is nothing to misread
    version = entry.value if entry else None
    if isinstance(version, int) and not isinstance(version, bool) and version in VERSIONS:
        return []
    where = f"{source.path}, line {entry.line}" if entry else source.path
    if version in (None, 0, 1) and not isinstance(version, bool):
        return [
            f"{where}: a configuration of version 1 (which one without a version is) names plugins otherwise than this "
            'module: write "version = 2" at its top and every plugin by its whole name, such as '
            "io.containerd.grpc.v1.cri for cri"
        ]
    return [f"{where}: version {version!r} is none of {', '.join(map(str, VERSIONS))}, which this module knows"]


def _check_shape(source: Source, section: toml.Path) -> list[str]:
    """Return where a section is written in a way that its lines cannot be told from those of others."""
    problems = []
    remedy = f"write it as a section of its own, {header(section)} with a line for each key"
    for statement in source.document.statements:
        path = statement.path
        common = min(len(path), len(section))
        if path[:common] != section[:common]:
            continue
        where = f"{source.path}, line {statement.line}"
        if isinstance(statement, toml.Header):
            if statement.is_array and len(path) <= len(section):
                problems.append(f"{where}: an array of tables is not what containerd wants there: {remedy}")
        elif len(path) <= len(section):
            problems.append(f"{where}: the section, or all plugins, in braces on one line: {remedy}")
        elif statement.table != section and statement.table[: len(section)] != section:
            problems.append(f"{where}: the section by dotted keys: {remedy}")
        elif statement.table == SECTION and path[2] not in ORDER and path[2].lower() in ORDER:
            problems.append(
                f"{where}: {path[2]} is read as {path[2].lower()} by some versions of containerd: write that"
            )
    if not problems and _table_of(source, section) is not None:
        headers = [header for header in source.document.headers if header.path == section]
        if not headers:
            line = next(header.line for header in source.document.headers if header.path[: len(section)] == section)
            problems.append(
                f"{source.path}, line {line}: a table in {header(section)}, which has no header itself: {remedy}"
            )
    return problems


def _check_section(section: t.Mapping[str, t.Any], path: str) -> None:
    """Refuse a section that lacks what the snapshotter does not start without (plugins/snapshots/devmapper/config.go),
    or has values that nobody gave here and that it would not take."""
    lacking = [key for key in ("pool_name", "base_image_size") if not section.get(key)]
    if lacking:
        raise RefusedError(f"{path}: the section would have no {' and no '.join(lacking)}: set {' and '.join(lacking)}")
    texts = {key: section[key] for key in ORDER if isinstance(section.get(key), str) and section[key]}
    try:
        check(
            SnapshotterSettings(
                **{key: value for key, value in texts.items() if key not in ("async_remove", "discard_blocks")}
            )
        )
    except RefusedErrors as refusal:
        raise RefusedErrors(f"{path}: {reason}" for reason in refusal.reasons) from refusal


def _set(current: ContainerdConfig, holder: Source | None, section: Section, version: int) -> Change | None:
    """Set keys of a section where it stands, or make it, in the file of its plugin where there is one."""
    tables = [Table(section.path, section.keys)]
    if holder and _table_of(holder, section.path) is not None:
        after = config_text.with_keys(holder.text, section.path, section.keys)
        return Change(holder.path, holder.text, after) if after != holder.text else None
    if not (holder and _table_of(holder, section.path[:-1])):
        tables[:0] = section.beside
    return added(current, holder, tables, version)


def added(current: ContainerdConfig, holder: Source | None, tables: t.Sequence[Table], version: int) -> Change:
    """Add tables to a file, or where none is theirs, to one of ours that is imported, or to the main one."""
    if holder:
        return Change(holder.path, holder.text, config_text.appended(holder.text, tables, version))
    main = current.main
    if main and current.drop_in:
        version = main.document.values.get("version", version)
        text = current.text_of(current.drop_in)
        return Change(current.drop_in, text, config_text.appended(text, tables, version))
    place = next((_drop_in(pattern) for pattern in current.patterns if _drop_in(pattern)), "") if main else ""
    if main and place:
        there = next((source for source in current.sources if source.path == place), None)
        named = main.document.values.get("version", version)
        return Change(
            place, there.text if there else None, config_text.appended(there.text if there else None, tables, named)
        )
    return Change(
        current.path, main.text if main else None, config_text.appended(main.text if main else None, tables, version)
    )


def _drop_in(pattern: str) -> str:
    """Return the path of a file of ours that the pattern imports; empty where it imports no folder's files."""
    folder, name = os.path.split(pattern)
    return f"{folder}/{DROP_IN}" if "*" in name and "*" not in folder and fnmatch.fnmatchcase(DROP_IN, name) else ""


def removed(holder: Source, section: toml.Path) -> Change:
    """Take a table out of a file."""
    return Change(holder.path, holder.text, config_text.without(holder.text, section))


def after(current: ContainerdConfig, changes: t.Sequence[Change]) -> ContainerdConfig:
    """Return the configuration as the changes leave it."""
    sources = {source.path: source for source in current.sources}
    for change in changes:
        if change.after is None:
            sources.pop(change.path, None)
        else:
            sources[change.path] = Source(change.path, change.after, toml.parse(change.after))
    ordered = sorted(sources.values(), key=lambda source: source.path != current.path)
    return replace(current, sources=tuple(ordered))
