# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every variable of the role loop_lvm: refused before any module of ours runs."""

from __future__ import annotations

import importlib.util
import typing as t
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROLE = Path(__file__).resolve().parents[3] / "roles" / "loop_lvm"

# A variable (without the role's prefix), a wrong value, and words of what is said.
WRONG: list[tuple[str, t.Any, str]] = [
    *(
        (size, value, f"loop_lvm_{size}: {value!r} is not a size")
        for size in ("data_size", "metadata_size")
        for value in ("10X", "80%VG")
    ),
    ("docker_packages", {"name": "docker.io"}, "to a list"),
    ("storage_opts", {"dm.fs": "xfs"}, "to a list"),
    ("daemon_options", "debug", "dict"),
    ("existing_data", "remove", "must be one of: refuse, backup"),
    ("state", "latest", "must be one of: present, absent"),
    ("stop_containers", "maybe", "not a valid boolean"),
]
PLAYBOOK = """
- hosts: wrong*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.loop_lvm
"""
# What only looks at the variables: argument_specs' check, and the plan.
HARMLESS = {
    "ansible.builtin.validate_argument_spec",
    "ansible.builtin.include_role",
    "devicemapper.containers.thin_pool_plan",
}


@pytest.fixture(scope="module")
def outcomes(play: t.Callable) -> dict[str, list[dict[str, str]]]:
    """Return for each host the tasks that ran and what was said."""
    hosts = {f"wrong{place}": {f"loop_lvm_{row[0]}": row[1]} for place, row in enumerate(WRONG)}
    return play(PLAYBOOK, hosts)


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[f"{row[0]}-{ascii(row[1])}" for row in WRONG])
def test_a_wrong_variable_is_refused_before_anything_is_done(outcomes, place):
    variable, _value, says = WRONG[place]
    ran = outcomes[f"wrong{place}"]
    assert {task["action"] for task in ran} <= HARMLESS
    said = " ".join(task["said"] for task in ran)
    assert f"loop_lvm_{variable}" in said
    assert says in said, said


def options() -> dict[str, dict[str, t.Any]]:
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        return yaml.safe_load(file)["argument_specs"]["main"]["options"]


def test_every_variable_of_the_role_has_its_wrong_values():
    assert sorted({f"loop_lvm_{row[0]}" for row in WRONG}) == sorted(options())


def test_defaults_are_those_that_are_described():
    with open(ROLE / "defaults" / "main.yml", encoding="utf-8") as file:
        defaults = yaml.safe_load(file)
    assert list(defaults.items()) == [(name, option["default"]) for name, option in options().items()]
