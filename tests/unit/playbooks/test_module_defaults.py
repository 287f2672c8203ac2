# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules whose options mean the same take them by the same name, so that they are given to all of a group at once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GROUPS = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
SHARED = {"thin_pool": {"vg", "name"}, "thin_pool_events": {"pools", "since", "log_path"}}

GUIDE = (ROOT / "docs/guides/monitor.md").read_text(encoding="utf-8")


def options(module: str) -> set[str]:
    """Return the names that a module takes options by, aliases too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / f"plugins/modules/{module}.py").read_text(encoding="utf-8"))):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg == "argument_spec" and isinstance(keyword.value, ast.Dict):
                for key, value in zip(keyword.value.keys, keyword.value.values):
                    if key is not None:
                        found.add(ast.literal_eval(key))
                        found.update(alias for alias in aliases(value))
    return found


def aliases(option: ast.expr) -> list[str]:
    if not isinstance(option, ast.Dict):
        return []
    given = {ast.literal_eval(key): value for key, value in zip(option.keys, option.values) if key is not None}
    return ast.literal_eval(given["aliases"]) if "aliases" in given else []


@pytest.mark.parametrize("group", SHARED)
def test_the_members_of_a_group_share_its_options(group: str) -> None:
    assert {module: SHARED[group] - options(module) for module in GROUPS[group]} == dict.fromkeys(GROUPS[group], set())


def test_every_module_is_in_the_group_of_all() -> None:
    assert sorted(GROUPS["devicemapper"]) == sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


def test_what_is_given_to_a_group_reaches_its_modules(play) -> None:
    (example,) = re.findall(r"```yaml\n(- hosts: all\n.*?module_defaults:.*?)```", GUIDE, re.DOTALL)
    ends = """
    - ansible.builtin.debug:
        msg: "{{ compared.checks | map(attribute='wanted') | join(' ') }}"
    - ansible.builtin.debug:
        msg: "{{ checked.pools | map(attribute='name') | join(' ') }} {{ checked.since is none }}"
"""
    outcomes = play(f"{example.rstrip()}{ends}", {"host": {}})["host"]
    assert [outcome["said"] for outcome in outcomes if outcome["failed"]] == []
    compared, checked = (outcome["told"] for outcome in outcomes[-2:])
    assert "my--vg-images" in compared
    assert checked == "images False"
