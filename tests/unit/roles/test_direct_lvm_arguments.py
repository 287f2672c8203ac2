# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every variable of the role direct_lvm: refused on the controller, before any module of ours runs.

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
NO_NAME = "{variable} must be a name as LVM allows it"
NO_SIZE = "{variable} must be a size"

# A variable, a wrong value, and words of what is said.
WRONG: list[tuple[str, t.Any, str]] = [
    ("direct_lvm_devices", LEFT_OUT, "direct_lvm_devices is not set or empty: name at least one block device"),
    ("direct_lvm_devices", [], "direct_lvm_devices is not set or empty"),
    ("direct_lvm_devices", "", "direct_lvm_devices"),
    ("direct_lvm_devices", {"first": "/dev/vdb"}, NO_LIST),
    ("direct_lvm_devices", ["vdb"], "direct_lvm_devices must be whole paths, such as /dev/disk/by-id/..."),
    ("direct_lvm_devices", ["/dev/vdb", ""], "direct_lvm_devices must be whole paths"),
    *(
        (variable, value, NO_NAME)
        for variable in ("direct_lvm_vg", "direct_lvm_pool")
        for value in ("", "..", "-x", "a/b", "a\n", "pööl", "x" * 128)
    ),
    *(
        (variable, value, NO_SIZE)
        for variable in ("direct_lvm_data_size", "direct_lvm_metadata_size")
        for value in ("", "-1G", "10X", "1e3", "١٠G", "50%PVS", "80%VG\n")
    ),
    *(("direct_lvm_chunk_size", value, NO_SIZE) for value in ("", "10X", "80%VG", True)),
    ("direct_lvm_zero", "maybe", NO_BOOLEAN),
    ("direct_lvm_autoextend_threshold", "abc", NO_INTEGER),
    ("direct_lvm_autoextend_threshold", 80.5, NO_INTEGER),
    ("direct_lvm_autoextend_threshold", "", NO_INTEGER),
    *(
        ("direct_lvm_autoextend_threshold", value, "direct_lvm_autoextend_threshold must be 50 to 99 percent, or 100")
        for value in (0, 49, 101, -80)
    ),
    ("direct_lvm_autoextend_percent", "abc", NO_INTEGER),
    *(
        ("direct_lvm_autoextend_percent", value, "direct_lvm_autoextend_percent must be 1 to 100 percent")
        for value in (0, 101, -20)
    ),
    ("direct_lvm_autoextend_room", "gone", "must be one of: warn, fail, ignore"),
    ("direct_lvm_wipe_signatures", "maybe", NO_BOOLEAN),
    ("direct_lvm_destroy_contents", "maybe", NO_BOOLEAN),
    ("direct_lvm_resize_devices", "perhaps", NO_BOOLEAN),
    ("direct_lvm_managed_by", "loop", "must be one of: collection, docker"),
    ("direct_lvm_docker_packages", {"name": "docker.io"}, NO_LIST),
    ("direct_lvm_storage_opts", {"dm.fs": "xfs"}, NO_LIST),
    ("direct_lvm_daemon_options", "debug", NO_DICTIONARY),
    ("direct_lvm_daemon_options", ["debug"], NO_DICTIONARY),
    ("direct_lvm_existing_data", "remove", "must be one of: refuse, backup, keep"),
    ("direct_lvm_state", "latest", "must be one of: present, absent"),
    ("direct_lvm_stop_containers", "maybe", NO_BOOLEAN),
]

# What is unusual and right; only the role's own checks run on these.
RIGHT: list[tuple[str, t.Any]] = [
    ("direct_lvm_devices", "/dev/vdb"),
    ("direct_lvm_devices", "/dev/vdb,/dev/vdc"),
    ("direct_lvm_devices", ["/dev/vdb", "/dev/disk/by-id/x", "/dev/vdb"]),
    ("direct_lvm_vg", "my-vg.1+_"),
    ("direct_lvm_vg", 7),
    ("direct_lvm_pool", ".x"),
    ("direct_lvm_pool", "x" * 120),
    ("direct_lvm_data_size", "33.3 % free"),
    ("direct_lvm_data_size", " 1.5 g "),
    ("direct_lvm_data_size", 8589934592),
    ("direct_lvm_data_size", "100%FREE"),
    ("direct_lvm_metadata_size", "15.8G"),
    ("direct_lvm_chunk_size", 65536),
    ("direct_lvm_chunk_size", "1M"),
    ("direct_lvm_autoextend_threshold", "100"),
    ("direct_lvm_autoextend_percent", 100),
]

# In check mode and with a disk that is nowhere, so that what is wrongly let through cannot do any harm either.
# The wrong ones last, because a run ends once no host is left.
PLAYBOOK = """
- hosts: right*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.direct_lvm
        tasks_from: validate

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
    for kind, rows in (("wrong", WRONG), ("right", RIGHT)):
        for place, row in enumerate(rows):
            variables = {"direct_lvm_devices": ["/nowhere/disk"], row[0]: row[1]}
            if row[1] is LEFT_OUT:
                del variables[row[0]]
            hosts[f"{kind}{place}"] = variables
    hosts["wrong-twice"] = {"direct_lvm_vg": "-x", "direct_lvm_autoextend_percent": 0}
    return play(PLAYBOOK, hosts)


# The role's own checks; the first is argument_specs'.
HARMLESS = {"ansible.builtin.validate_argument_spec", "ansible.builtin.include_role", "ansible.builtin.assert"}


@pytest.mark.parametrize("place", [pytest.param(place, id=in_short(row)) for place, row in enumerate(WRONG)])
def test_a_wrong_variable_is_refused_before_any_module_runs(outcomes, place):
    variable, _value, says = WRONG[place]
    tasks = outcomes[f"wrong{place}"]
    assert {task["action"] for task in tasks} <= HARMLESS
    said = "\n".join(task["said"] for task in tasks)
    assert variable in said
    assert says.format(variable=variable) in said


def test_all_that_is_wrong_is_told_at_once(outcomes):
    (said,) = (task["said"] for task in outcomes["wrong-twice"] if task["said"])
    reasons = said.split("; ")
    assert [reason.split()[0] for reason in reasons] == [
        "direct_lvm_devices",
        "direct_lvm_vg",
        "direct_lvm_autoextend_percent",
    ]


@pytest.mark.parametrize("place", [pytest.param(place, id=in_short(row)) for place, row in enumerate(RIGHT)])
def test_an_unusual_variable_that_is_right_is_accepted(outcomes, place):
    tasks = outcomes[f"right{place}"]
    assert (tasks[-1]["action"], {task["said"] for task in tasks}) == ("ansible.builtin.assert", {""})


def test_every_variable_of_the_role_has_its_wrong_values():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    assert sorted({row[0] for row in WRONG}) == sorted(options)
