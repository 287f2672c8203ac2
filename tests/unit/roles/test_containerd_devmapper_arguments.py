# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every variable of the role containerd_devmapper, refused before any module of ours runs."""

from __future__ import annotations

import importlib.util
import typing as t
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROLE = Path(__file__).resolve().parents[3] / "roles" / "containerd_devmapper"
NO_BOOLEAN = "not a valid boolean"
LEFT_OUT = "left out"

# A variable (without the role's prefix), a wrong value, and words of what is said. What the plan looks at has more of
# them in its own tests (test_bad_input.py).
WRONG: list[tuple[str, t.Any, str]] = [
    ("devices", LEFT_OUT, "devices is empty: name at least one block device"),
    ("vg", "a/b", "'a/b' is not a name for a volume group"),
    ("pool", "-x", "'-x' is not a name for a thin pool"),
    ("data_size", "10X", "'10X' is not a size"),
    ("metadata_size", "50%PVS", "'50%PVS' is not a share that LVM knows here"),
    ("chunk_size", "80%VG", "'80%VG' is not a size"),
    ("zero", "maybe", NO_BOOLEAN),
    ("autoextend_threshold", "abc", "to int"),
    ("autoextend_percent", "abc", "to int"),
    ("autoextend_room", "gone", "must be one of: warn, fail, ignore"),
    ("wipe_signatures", "maybe", NO_BOOLEAN),
    ("destroy_contents", "maybe", NO_BOOLEAN),
    ("resize_devices", "perhaps", NO_BOOLEAN),
    ("reserve", "-1g", "'-1g' is not a size"),
    ("packages", {"name": "containerd"}, "to a list"),
    ("root_path", "lib/containerd", "must be the whole path of a folder"),
    ("root_path", "/a\nb", "must be the whole path of a folder"),
    ("base_image_size", "10", "is not a size"),
    ("base_image_size", "10%VG", "is not a size"),
    ("base_image_size", "", "is not a size"),
    ("discard_blocks", "maybe", NO_BOOLEAN),
    ("async_remove", "maybe", NO_BOOLEAN),
    ("fs_type", "zfs", "must be one of: ext4, xfs, ext2"),
    ("runtimes", "kata", "unable to convert to dict"),
    ("runtimes", [{"name": "kata"}], "missing required arguments: runtime_type"),
    (
        "runtimes",
        [{"name": "kata", "runtime_type": "io.containerd.kata.v2", "snapshotter": "x"}],
        "runtimes.snapshotter. Supported parameters",
    ),
    ("preset", "k8s", "must be one of: , k3s, rke2, k0s, microk8s, flintlock"),
    ("unit", "k3s", "must be the name of a service"),
    *((name, "run/x", "must be a whole path") for name in ("socket", "binary", "config", "root", "drop_in")),
    ("docker", "maybe", NO_BOOLEAN),
    ("daemon_options", ["debug"], "dict"),
    ("existing_data", "remove", "must be one of: refuse, backup"),
    ("state", "latest", "must be one of: present, absent"),
    ("stop_containers", "maybe", NO_BOOLEAN),
    ("monitor", "maybe", NO_BOOLEAN),
]
PLAYBOOK = """
- hosts: wrong*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.containerd_devmapper
"""
# What only looks at the variables: argument_specs' check, and the plan.
HARMLESS = {
    "ansible.builtin.validate_argument_spec",
    "ansible.builtin.include_role",
    "devicemapper.containers.thin_pool_plan",
}


@pytest.fixture(scope="module")
def outcomes(play: t.Callable) -> dict[str, list[dict[str, str]]]:
    """Return for each row, by its place, the tasks that ran and what was said."""
    hosts = {}
    for place, row in enumerate(WRONG):
        # Variables of the other role, which must not get in here.
        hosts[f"wrong{place}"] = {
            "direct_lvm_devices": ["wrong"],
            "direct_lvm_vg": "-wrong",
            "containerd_devmapper_devices": ["/nowhere/disk"],
            f"containerd_devmapper_{row[0]}": row[1],
        }
        if row[1] is LEFT_OUT:
            del hosts[f"wrong{place}"][f"containerd_devmapper_{row[0]}"]
    return play(PLAYBOOK, hosts)


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[f"{row[0]}-{ascii(row[1])}" for row in WRONG])
def test_a_wrong_variable_is_refused_before_anything_is_done(outcomes, place):
    variable, _value, says = WRONG[place]
    ran = outcomes[f"wrong{place}"]
    assert {task["action"] for task in ran} <= HARMLESS
    said = " ".join(task["said"] for task in ran)
    assert f"containerd_devmapper_{variable}" in said
    assert says in said, said


def test_every_variable_of_the_role_has_its_wrong_values():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    assert sorted({f"containerd_devmapper_{row[0]}" for row in WRONG}) == sorted(options)


def test_defaults_are_those_that_are_described():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    with open(ROLE / "defaults" / "main.yml", encoding="utf-8") as file:
        defaults = yaml.safe_load(file)
    described = [(name, option["default"]) for name, option in options.items() if "default" in option]
    assert list(defaults.items()) == described
