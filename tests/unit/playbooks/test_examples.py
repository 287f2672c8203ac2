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


def test_every_example_of_every_module_is_run_on_a_guest():
    plays = yaml.safe_load((ROOT / "molecule/examples/converge.yml").read_text(encoding="utf-8"))
    run = plays[1]["vars"]["in_order"]
    there = [name for path in sorted((ROOT / "plugins/modules").glob("*.py")) for name in examples(path)]
    assert sorted(run) == sorted(there)
