# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every variable of the role direct_lvm: refused before anything is looked at.

Types and choices on the controller, names and sizes by the plan, whose own tests have more of them (test_bad_input.py).

One run of ansible-playbook for all rows, each of which is a host of the inventory with one wrong variable.
"""

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
LEFT_OUT = "left out"

# What argument_specs says of a type or a choice, and what the role says of the rest.
NO_INTEGER = "to int"
NO_BOOLEAN = "not a valid boolean"
NO_LIST = "to a list"
NO_DICTIONARY = "dict"
# A variable, a wrong value, and words of what is said.
WRONG: list[tuple[str, t.Any, str]] = [
    ("direct_lvm_devices", LEFT_OUT, "direct_lvm_devices is empty: name at least one block device"),
    ("direct_lvm_devices", [], "direct_lvm_devices is empty"),
    ("direct_lvm_devices", {"first": "/dev/vdb"}, NO_LIST),
    ("direct_lvm_vg", "-x", "direct_lvm_vg: '-x' is not a name for a volume group"),
    ("direct_lvm_pool", "..", "direct_lvm_pool: '..' is not a name for a thin pool"),
    ("direct_lvm_data_size", "10X", "direct_lvm_data_size: '10X' is not a size"),
    ("direct_lvm_metadata_size", "50%PVS", "direct_lvm_metadata_size: '50%PVS' is not a share that LVM knows here"),
    ("direct_lvm_chunk_size", "80%VG", "direct_lvm_chunk_size: '80%VG' is not a size"),
    ("direct_lvm_zero", "maybe", NO_BOOLEAN),
    ("direct_lvm_autoextend_threshold", "abc", NO_INTEGER),
    ("direct_lvm_autoextend_threshold", 80.5, NO_INTEGER),
    ("direct_lvm_autoextend_threshold", "", NO_INTEGER),
    ("direct_lvm_autoextend_percent", "abc", NO_INTEGER),
    ("direct_lvm_autoextend_room", "gone", "must be one of: warn, fail, ignore"),
    ("direct_lvm_wipe_signatures", "maybe", NO_BOOLEAN),
    ("direct_lvm_destroy_contents", "maybe", NO_BOOLEAN),
    ("direct_lvm_resize_devices", "perhaps", NO_BOOLEAN),
    ("direct_lvm_reserve", "5%", "direct_lvm_reserve: '5%' is not a share that LVM knows here"),
    ("direct_lvm_reserve", "10X", "direct_lvm_reserve: '10X' is not a size"),
    ("direct_lvm_reserve", 0, "direct_lvm_reserve: '0' is not a size"),
    ("direct_lvm_managed_by", "loop", "must be one of: collection, docker"),
    ("direct_lvm_docker_packages", {"name": "docker.io"}, NO_LIST),
    ("direct_lvm_storage_opts", {"dm.fs": "xfs"}, NO_LIST),
    ("direct_lvm_daemon_options", "debug", NO_DICTIONARY),
    ("direct_lvm_daemon_options", ["debug"], NO_DICTIONARY),
    ("direct_lvm_existing_data", "remove", "must be one of: refuse, backup, keep"),
    ("direct_lvm_state", "latest", "must be one of: present, absent"),
    ("direct_lvm_stop_containers", "maybe", NO_BOOLEAN),
    ("direct_lvm_monitor", "maybe", NO_BOOLEAN),
]

# In check mode and with a disk that is nowhere, so that what is wrongly let through cannot do any harm either.
PLAYBOOK = """
- hosts: wrong*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.direct_lvm
"""


def in_short(row: tuple) -> str:
    return f"{row[0]}-{ascii(row[1])[:30]}"


@pytest.fixture(scope="module")
def outcomes(play: t.Callable) -> dict[str, list[dict[str, str]]]:
    """Return for each row, by its place, the tasks that ran and what was said."""
    hosts = {}
    for place, row in enumerate(WRONG):
        hosts[f"wrong{place}"] = {"direct_lvm_devices": ["/nowhere/disk"], row[0]: row[1]}
        if row[1] is LEFT_OUT:
            del hosts[f"wrong{place}"][row[0]]
    hosts["wrong-twice"] = {"direct_lvm_vg": "-x", "direct_lvm_data_size": "10X"}
    return play(PLAYBOOK, hosts)


# What only looks at the variables: argument_specs' check, and the plan.
HARMLESS = {
    "ansible.builtin.validate_argument_spec",
    "ansible.builtin.include_role",
    "devicemapper.containers.thin_pool_plan",
}


@pytest.mark.parametrize("place", [pytest.param(place, id=in_short(row)) for place, row in enumerate(WRONG)])
def test_a_wrong_variable_is_refused_before_anything_is_done(outcomes, place):
    variable, _value, says = WRONG[place]
    tasks = outcomes[f"wrong{place}"]
    assert {task["action"] for task in tasks} <= HARMLESS
    said = "\n".join(task["said"] for task in tasks)
    assert variable in said
    assert says.format(variable=variable) in said


def test_all_that_is_wrong_is_told_at_once(outcomes):
    (said,) = (task["said"] for task in outcomes["wrong-twice"] if task["said"])
    assert [reason.partition(":")[0] for reason in said.splitlines()] == ["direct_lvm_vg", "direct_lvm_data_size"]


def test_every_variable_of_the_role_has_its_wrong_values():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    assert sorted({row[0] for row in WRONG}) == sorted(options)
