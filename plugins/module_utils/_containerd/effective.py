# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""containerd's configuration as containerd itself reads it: files, imports and its own values put together.

It is asked (``containerd config dump``), since what it makes of a file differs: 1.x loses the built-in tables of a map
as soon as a file has one of its own, and 2.x reads keys of version 2 only beside others (plugins/cri, ConfigMigration).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import SECTION
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors

Values = t.Dict[str, t.Any]


def read(path: str, program: str = "containerd") -> Values:
    """Return the configuration of a main file, or containerd's own where there is no such file or it is not taken."""
    if os.path.exists(path):
        with contextlib.suppress(process.ProcessError):
            return dump(path, program)
    with contextlib.suppress(process.ProcessError, toml.TomlError):
        return toml.parse(process.run(program, "config", "default", timeout=60)).values
    return {}


def dump(path: str, program: str = "containerd") -> Values:
    """Return the configuration of a main file. Raises ProcessError where containerd does not take it."""
    text = process.run(program, "--config", path, "config", "dump", timeout=60)
    try:
        return toml.parse(text).values
    except toml.TomlError as error:
        raise process.ProcessError(f"what '{program} config dump' printed is not TOML ({error})", (program,)) from error


def dump_of(texts: t.Sequence[str], program: str = "containerd") -> Values:
    """Return the configuration of files that are not there yet, the main one first, in containerd's order.

    Each gets a file in a folder that root alone may read, and the first imports the others.
    """
    with tempfile.TemporaryDirectory(prefix="devicemapper-containers-") as folder:
        paths = [os.path.join(folder, f"{number}.toml") for number in range(len(texts))]
        for number, (path, text) in enumerate(zip(paths, texts)):
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(_importing(text, paths[1:] if number == 0 else []))
        return dump(paths[0], program)


def _importing(text: str, paths: t.Sequence[str]) -> str:
    """Return a text that imports these files and no others."""
    named = f"[{', '.join(toml.basic_string(path) for path in paths)}]"
    for entry in toml.parse(text).entries:
        if entry.path == ("imports",):
            return text[: entry.value_start] + named + text[entry.value_end :]
    return f"imports = {named}\n{text}" if paths else text


def differences(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], path: toml.Path = ()) -> list[Difference]:
    """Return the keys whose values differ; tables are looked into, and one that is not there is an empty one."""
    found: list[Difference] = []
    for key in {**before, **after}:
        was, will = before.get(key), after.get(key)
        tables = [one for one in (was, will) if isinstance(one, dict)]
        if len(tables) == 2 or (tables and None in (was, will)):
            found += differences(was or {}, will or {}, (*path, key))
        elif was != will or isinstance(was, bool) != isinstance(will, bool):
            found.append(Difference((*path, key), was, will))
    return found


class Difference(t.NamedTuple):
    """A key with its two values; None where there is none."""

    path: toml.Path
    before: t.Any
    after: t.Any


def check(
    before: t.Mapping[str, t.Any],
    texts: t.Sequence[str],
    handlers: t.Collection[str],
    path: str,
    program: str = "containerd",
) -> None:
    """Have containerd read files that are not there yet, the main one first, and refuse what nobody asked for.

    ``before`` is what it makes of those that are there, ``handlers`` are the handlers that are set or taken out.
    """
    after = dump_of(texts, program) if texts else {}
    strange = [found.path for found in differences(before, after) if not _is_asked_for(found.path, handlers)]
    if before and texts and strange:
        raise RefusedErrors(
            f"{path}: containerd would read {'.'.join(found)} otherwise than now, though nobody asks for that. "
            "2.x heeds some keys of CRI not in version 1, and in version 2 only beside handlers: save what 'containerd "
            "config migrate' prints in its place, which is what it reads now, or take the key out"
            for found in strange
        )


def _is_asked_for(path: toml.Path, handlers: t.Collection[str]) -> bool:
    if path[:2] == SECTION or path[-1] == "unpack_config":
        return True
    if path[0] in ("version", "imports", "disabled_plugins", "required_plugins"):  # of another version, or of a copy
        return True
    return any(name in ("runtimes", "runtime_platforms") and below in handlers for name, below in zip(path, path[1:]))
