# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What imports what: from a room only what lies in it or below it, and nothing in a circle."""

from __future__ import annotations

import ast
import functools
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4] / "plugins"
PACKAGE = "ansible_collections.devicemapper.containers.plugins.module_utils"
LONGEST = 500  # lines
# From the ground up.
ROOMS = ("_core", "_lvm", "_docker", "_containerd", "_contents", "_plan", "_monitor")

Imports = t.Dict[str, t.AbstractSet[str]]  # "room.module" -> those that it imports


@functools.lru_cache(maxsize=None)
def imported(text: str) -> frozenset[str]:
    """Return what of the rooms a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            _package, _dot, name = (node.module or "").partition(f"{PACKAGE}.")
            found |= {name} if "." in name else {f"{name}.{alias.name}".strip(".") for alias in node.names}
    return frozenset(found)


def modules() -> Imports:
    folder = ROOT / "module_utils"
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): imported(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.py")
    }


def upward(imports: Imports) -> list[str]:
    """Return the imports that lead to a higher room."""
    floor = {room: number for number, room in enumerate(ROOMS)}
    return [
        f"{name} imports {other}"
        for name, others in sorted(imports.items())
        for other in sorted(others)
        if floor[name.partition(".")[0]] < floor[other.partition(".")[0]]
    ]


def in_circles(imports: Imports) -> set[str]:
    """Return what lies in a circle, or between two: what is left when those are taken out that end or begin a way."""
    left = dict(imports)
    while True:
        free = {
            name for name in left if not left[name] & set(left) or not any(name in others for others in left.values())
        }
        if not free:
            return set(left)
        left = {name: others for name, others in left.items() if name not in free}


def test_every_file_lies_in_a_room_and_every_import_leads_to_one():
    imports = modules()
    assert {name.partition(".")[0] for name in imports} == set(ROOMS)
    assert all(name.count(".") == 1 for name in imports)
    assert set().union(*imports.values()) - set(imports) == set()


def test_imports_lead_downward():
    assert upward(modules()) == []


def test_nothing_is_imported_in_a_circle():
    assert in_circles(modules()) == set()


def test_no_two_files_of_the_rooms_have_one_name():
    names = [name.rpartition(".")[2] for name in modules()]
    assert sorted(names) == sorted(set(names))


def test_rooms_above_the_first_import_nothing_of_ansible():
    """So that their tests say the same with every ansible-core (tests/tools/units.py)."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "module_utils").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("from ansible.", "import ansible.", "import ansible "))
    }
    assert {name.split("/")[1] for name in found} == {"_core"}


def test_no_two_types_of_the_rooms_have_one_name():
    named: dict[str, list[str]] = {}
    for path in (ROOT / "module_utils").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, []).append(path.stem)
    assert {name: places for name, places in named.items() if len(places) > 1} == {}


@pytest.mark.parametrize("folder", ["module_utils", "plugin_utils"])
def test_a_file_is_read_at_one_go(folder):
    lengths = {path.name: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_modules_and_filters_import_from_the_rooms_alone():
    known = set(modules())
    for path in (path for path in ROOT.rglob("*.py") if "module_utils" not in path.parts):
        assert imported(path.read_text(encoding="utf-8")) - known == set(), path


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        pytest.param({"_core.a": {"_lvm.b"}, "_lvm.b": set()}, ["_core.a imports _lvm.b"], id="up"),
        pytest.param({"_core.a": set(), "_lvm.b": {"_core.a"}, "_lvm.c": {"_lvm.b"}}, [], id="down-and-beside"),
    ],
)
def test_an_import_that_leads_upward_is_noticed(imports, expected):
    assert upward(imports) == expected


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        pytest.param({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}, {"a", "b", "c"}, id="circle"),
        pytest.param({"a": {"a"}}, {"a"}, id="itself"),
        pytest.param({"a": {"b", "c"}, "b": {"c"}, "c": set()}, set(), id="none"),
    ],
)
def test_a_circle_is_noticed(imports, expected):
    assert in_circles(imports) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"from {PACKAGE}._core import errors, steps", {"_core.errors", "_core.steps"}),
        (f"from {PACKAGE}._core.steps import Step, actions", {"_core.steps"}),
        (f"if TYPE_CHECKING:\n    from {PACKAGE}._lvm.lvm_state import LvmState", {"_lvm.lvm_state"}),
        (f"def read():\n    from {PACKAGE} import _old", {"_old"}),
        ("import os", set()),
    ],
)
def test_imports_are_read(line, expected):
    assert imported(line) == expected
