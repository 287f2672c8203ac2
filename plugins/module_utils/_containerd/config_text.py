# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Tables put into a text of TOML and taken out of it, every other byte left as it is."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import toml

# Of a file that is made beside those that are there.
MARK = "# Kept by the Ansible collection devicemapper.containers: the pool of containerd's devmapper snapshotter.\n"
# Above each table that containerd has by itself, but only as long as no file has one beside it.
RESTATED = "# containerd's own, kept by the collection devicemapper.containers since something stands beside it.\n"
# What a text had not, so that it can be given back as it was.
_VERSION = " # kept by the collection devicemapper.containers"
_NO_END = "# The line above had no end: kept by the collection devicemapper.containers.\n"


class Table(t.NamedTuple):
    """A table to be written: its header, which may be one more of an array, and its keys."""

    path: toml.Path
    keys: t.Mapping[str, t.Any]
    is_array: bool = False
    is_restated: bool = False


def table_of(values: t.Mapping[str, t.Any], path: toml.Path) -> dict[str, t.Any] | None:
    """Return the table at a path; None where there is none."""
    found: t.Any = values
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def header(path: toml.Path) -> str:
    bare = (part if toml.is_bare(part) else toml.basic_string(part) for part in path)
    return f"[{'.'.join(bare)}]"


def value(given: t.Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, (list, tuple)):
        return f"[{', '.join(value(one) for one in given)}]"
    return str(given) if isinstance(given, (int, float)) else toml.basic_string(given)


def newline_of(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def appended(text: str | None, tables: t.Sequence[Table], version: int) -> str:
    """Return a text with tables behind all else, and the version in one that says nothing yet; None where none is."""
    newline = newline_of(text or "")
    if text is None:
        text = f"{MARK}version = {version}\n"
    elif text and not text.endswith("\n"):
        text = f"{text}{newline}{_NO_END.rstrip()}{newline}"
    if not toml.parse(text).statements:
        text += f"version = {version}{_VERSION}{newline}"
    return text + "".join(_written(table, newline) for table in tables)


def _written(table: Table, newline: str) -> str:
    """Return a table's lines, a blank one before them."""
    lines = ["", *([RESTATED.rstrip()] if table.is_restated else [])]
    lines.append(f"[{header(table.path)}]" if table.is_array else header(table.path))
    lines += (f"  {key} = {value(given)}" for key, given in table.keys.items())
    return newline.join([*lines, ""])


def with_keys(text: str, path: toml.Path, keys: t.Mapping[str, t.Any]) -> str:
    """Return a text with keys of a table set where they stand, or behind its last one."""
    document = toml.parse(text)
    entries = [entry for entry in document.entries if entry.table == path]
    opening = next(statement for statement in document.headers if statement.path == path)
    there = {entry.key[0]: entry for entry in entries}
    edits: list[tuple[int, int, str]] = []
    added = []
    for key, given in keys.items():
        entry = there.get(key)
        if entry is None:
            added.append(key)
        elif entry.value != given or isinstance(entry.value, bool) != isinstance(given, bool):
            edits.append((entry.value_start, entry.value_end, value(given)))
    if added:
        last = entries[-1] if entries else opening
        line = text[last.start : last.end]
        indent = re.match(r"[ \t]*", line)
        blanks = (indent[0] if indent else "") + ("" if entries else "  ")
        newline = newline_of(line)
        lines = "".join(f"{blanks}{key} = {value(keys[key])}{newline}" for key in added)
        edits.append((last.end, last.end, lines if line.endswith("\n") else newline + lines))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def without(text: str, path: toml.Path) -> str:
    """Return a text without a table and those in it; and without what was restated, where it was so for this one."""
    text = _cut(text, [found for found in toml.parse(text).statements if _is_in(found, path)])
    document = toml.parse(text)
    parent = path[:-1]
    others = [found for found in document.headers if _is_in(found, parent) and found.path != parent]
    marked = [found.path for found in others if _is_marked(text, found) and not found.is_array]
    if all(any(_is_in(found, kept) for kept in marked) for found in others):
        text = _cut(text, [found for found in document.statements if any(_is_in(found, kept) for kept in marked)])
    return text


class Element(t.NamedTuple):
    """One table of an array."""

    statements: tuple[toml.Header | toml.Entry, ...]  # its header, and all that is in it
    values: toml.Values
    is_restated: bool


def elements(text: str, path: toml.Path) -> list[Element]:
    """Return the tables of an array that have a header each."""
    document = toml.parse(text)
    found: list[list[toml.Header | toml.Entry]] = []
    for statement in document.statements:
        if isinstance(statement, toml.Header) and statement.path == path:
            found.append([])
        if found and _is_in(statement, path):
            found[-1].append(statement)
    values: t.Any = table_of(document.values, path[:-1]) or {}
    return [
        Element(tuple(statements), one, _is_marked(text, statements[0]))
        for statements, one in zip(found, values.get(path[-1], ()))
    ]


def without_elements(text: str, gone: t.Sequence[Element]) -> str:
    """Return a text without some tables of an array."""
    return _cut(text, [statement for element in gone for statement in element.statements])


def _is_in(statement: toml.Header | toml.Entry, path: toml.Path) -> bool:
    table = statement.path if isinstance(statement, toml.Header) else statement.table
    return table[: len(path)] == path


def _is_marked(text: str, statement: toml.Header | toml.Entry) -> bool:
    """Whether the line above a header says that the table is restated."""
    return text[: statement.start].replace("\r\n", "\n").endswith(RESTATED)


def _cut(text: str, statements: t.Sequence[toml.Header | toml.Entry]) -> str:
    """Return a text without statements; above a header the mark goes too, and a blank line, as appended() made them."""
    for statement in reversed(statements):
        start = statement.start
        if isinstance(statement, toml.Header):
            if _is_marked(text, statement):
                start -= len(RESTATED) + (1 if text[:start].endswith("\r\n") else 0)
            blank = re.search(r"(?<=\n)\r?\n\Z", text[:start])
            start = blank.start() if blank else start
        text = text[:start] + text[statement.end :]
    return text


def given_back(text: str) -> str | None:
    """Return a text without what stands in it for the sake of tables that are gone; None where nothing is left."""
    newline = newline_of(text)
    statements = toml.parse(text).statements
    if len(statements) == 1 and text[: statements[0].end].rstrip("\r\n").endswith(_VERSION):
        text = text[: statements[0].start] + text[statements[0].end :]
    end = _NO_END.rstrip() + newline
    if text.endswith(newline + end):
        text = text[: -len(newline + end)]
    is_ours = MARK in text and re.fullmatch(r"\s*(version = [0-9]+)?\s*", text.replace(MARK, ""))
    return None if is_ours else text
