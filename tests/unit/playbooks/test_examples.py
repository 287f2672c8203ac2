# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenario that runs the modules' examples on a guest knows every one of them: told here, within a second."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]


def examples(path: Path) -> list[str]:
    """Return the names of the examples in a module's documentation."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return [task["name"] for task in yaml.safe_load(ast.literal_eval(node.value))]
    raise AssertionError(f"{path} has no examples")


PLAYS = yaml.safe_load((ROOT / "molecule/examples/converge.yml").read_text(encoding="utf-8"))
ELSEWHERE = PLAYS[0]["vars"]["elsewhere"]


def test_every_example_of_every_module_is_run_on_a_guest():
    modules = [path for path in sorted((ROOT / "plugins/modules").glob("*.py")) if path.stem not in ELSEWHERE]
    there = [name for path in modules for name in examples(path)]
    assert sorted(PLAYS[1]["vars"]["in_order"]) == sorted(there)


def test_only_modules_that_are_there_are_left_out():
    assert all((ROOT / "plugins/modules" / f"{module}.py").exists() for module in ELSEWHERE)
