# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role direct_lvm makes of made-up hosts when it verifies them, and wrong variables. No module of ours runs."""

from __future__ import annotations

import importlib.util
import typing as t
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROLE = Path(__file__).resolve().parents[3] / "roles" / "direct_lvm"

# A variable, a wrong value, and words of what is said.
WRONG: list[tuple[str, t.Any, str]] = [
    ("direct_lvm_verify_fail_on", "advice", "must be one of: mismatch, never"),
    ("direct_lvm_verify_fail_on", "", "must be one of: mismatch, never"),
    ("direct_lvm_state", "absent", "direct_lvm_state is absent, and what is to be gone cannot be verified"),
    ("direct_lvm_state", "latest", "must be one of: present, absent"),
    ("direct_lvm_devices", [], "direct_lvm_devices is empty: name at least one block device"),
    ("direct_lvm_storage_opts", {"dm.fs": "xfs"}, "to a list"),
]

OTHER_POOL = "MISMATCH  Pool Name: docker-other; wanted: docker-thinpool. Run the playbook direct_lvm"
REFUSED = "chunk_size of docker/thinpool cannot be changed"
# What the lines of the module say, what the plan says, and what the role says of both where it fails.
JUDGED: dict[str, tuple[list[str], dict[str, t.Any], list[str]]] = {
    "well": (["OK        docker: 20.10.24, and answers"], {"actions": []}, []),
    "module": (["OK        docker: runs", OTHER_POOL], {"actions": []}, [OTHER_POOL]),
    "plan": (
        ["OK        docker: runs"],
        {"actions": ["start Docker", "extend docker/thinpool"]},
        ["MISMATCH  role: left to do: start Docker; extend docker/thinpool. Run the playbook direct_lvm"],
    ),
    "refusal": (
        [OTHER_POOL],
        {"failed": True, "msg": REFUSED},
        [OTHER_POOL, f"MISMATCH  role: it would refuse this host: {REFUSED}"],
    ),
    "silence": ([], {}, ["MISMATCH  role: it would refuse this host: no reason was given"]),
}

# The wrong ones last, because a run ends once no host is left.
PLAYBOOK = """
- hosts: judged*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.direct_lvm
        tasks_from: verify_tell

- hosts: wrong*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.direct_lvm
        tasks_from: verify_host
"""
# argument_specs' check, what only looks, and what tells of it.
HARMLESS = {
    "ansible.builtin.validate_argument_spec",
    "ansible.builtin.include_role",
    "ansible.builtin.debug",
    "ansible.builtin.assert",
    "devicemapper.containers.docker_devicemapper_info",
    "devicemapper.containers.thin_pool_plan",
}


@pytest.fixture(scope="module")
def outcomes(play: t.Callable) -> dict[str, list[dict[str, str]]]:
    """Return for each host the tasks that ran and what was said."""
    hosts = {
        f"wrong{place}": {"direct_lvm_devices": ["/nowhere/disk"], row[0]: row[1]} for place, row in enumerate(WRONG)
    }
    for name, (checks, plan, _says) in JUDGED.items():
        lines = {"tree": ["vdb"], "docker": [], "checks": checks, "advice": ["ADVICE    logs: no limit"]}
        for fail_on in ("mismatch", "never"):
            hosts[f"judged-{name}-{fail_on}"] = {
                "direct_lvm_verify_fail_on": fail_on,
                "__direct_lvm_seen": {"lines": lines},
                "__direct_lvm_plan": plan,
            }
    return play(PLAYBOOK, hosts)


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[f"{row[0]}-{row[1]}" for row in WRONG])
def test_a_wrong_variable_is_refused_and_nothing_is_done(outcomes, place):
    variable, _value, says = WRONG[place]
    ran = outcomes[f"wrong{place}"]
    assert {task["action"] for task in ran} <= HARMLESS
    said = " ".join(task["said"] for task in ran)
    assert variable in said
    assert says in said, said


@pytest.mark.parametrize("name", JUDGED)
def test_what_does_not_match_fails_with_all_of_it(outcomes, name):
    says = JUDGED[name][2]
    ran = outcomes[f"judged-{name}-mismatch"]
    assert [task["said"] for task in ran if task["said"]] == (["\n".join(says)] if says else [])
    # All is told first.
    assert [task["action"].rpartition(".")[2] for task in ran][-2:] == ["debug", "assert"]


@pytest.mark.parametrize("name", JUDGED)
def test_it_need_not_fail(outcomes, name):
    assert [task["said"] for task in outcomes[f"judged-{name}-never"] if task["said"]] == []


def test_its_variables_are_those_of_the_role_and_how_to_fail():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        specs = yaml.safe_load(file)["argument_specs"]
    assert specs["verify_host"]["options"].keys() - specs["main"]["options"].keys() == {"direct_lvm_verify_fail_on"}
    assert specs["main"]["options"].keys() <= specs["verify_host"]["options"].keys()
    with open(ROLE / "defaults" / "main.yml", encoding="utf-8") as file:
        defaults = yaml.safe_load(file)
    described = {
        name: option["default"] for name, option in specs["verify_host"]["options"].items() if "default" in option
    }
    assert defaults == described
