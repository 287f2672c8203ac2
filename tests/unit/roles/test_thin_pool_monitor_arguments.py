# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role thin_pool_monitor with the verdicts of made-up hosts, and with wrong variables. No module of ours runs."""

from __future__ import annotations

import importlib.util
import typing as t
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROLE = Path(__file__).resolve().parents[3] / "roles" / "thin_pool_monitor"
NO_INTEGER = "to int"
LIMITS = ("data_warning", "data_critical", "metadata_warning", "metadata_critical")

# A variable (without the role's prefix), a wrong value, and words of what is said.
WRONG: list[tuple[str, t.Any, str]] = [
    ("pools", ["thinpool"], "must be names such as docker/thinpool"),
    ("pools", ["docker/thinpool", "a/b/c"], "must be names such as docker/thinpool"),
    ("pools", {"docker": "thinpool"}, "to a list"),
    *((limit, "many", NO_INTEGER) for limit in LIMITS),
    *((limit, 101, "percent") for limit in LIMITS),
    *((limit, 0, "percent") for limit in LIMITS),
    ("since", ["-1h"], "must be a point in time such as -1h"),
    ("since", "", "must be a point in time such as -1h"),
    ("log_path", "messages", "must be a whole path"),
    ("fail_on", "ok", "must be one of: warning, unknown, critical, never"),
    ("repair", "perhaps", "not a valid boolean"),
    ("textfile_dir", "metrics", "must be a whole path"),
    ("interval", 9, "must be 10 to 86400 seconds"),
    ("interval", "often", NO_INTEGER),
    ("timeout", 0, "must be 1 to 600 seconds"),
    ("timeout", "soon", NO_INTEGER),
    ("usage_interval", 59, "must be 60 to 86400 seconds, or 0"),
    ("usage_interval", "daily", NO_INTEGER),
    ("release_reserve", "perhaps", "not a valid boolean"),
    ("release_reserve", True, "is done by the timer that thin_pool_monitor_textfile_dir asks for"),
    ("release_reserve", True, "thin_pool_monitor_interval must be 30 seconds or less"),
    ("state", "latest", "must be one of: present, absent"),
]

ORDER = ("ok", "warning", "unknown", "critical")
# fail_on, verdict
VERDICTS = [(fail_on, verdict) for fail_on in (*ORDER[1:], "never") for verdict in ORDER]

# The wrong ones last, because a run ends once no host is left.
PLAYBOOK = """
- hosts: judged*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.thin_pool_monitor
        tasks_from: tell

- hosts: wrong*
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: devicemapper.containers.thin_pool_monitor
"""
# The role's own checks; the first is argument_specs'.
HARMLESS = {"ansible.builtin.validate_argument_spec", "ansible.builtin.include_role", "ansible.builtin.assert"}


def checked(verdict: str) -> dict[str, t.Any]:
    """Return what the check says of a host with a pool that is well and another one."""
    return {
        "verdict": verdict,
        "lines": [],
        "reasons": [],
        "pools": [
            {"verdict": "ok", "sentence": "docker/well is well"},
            {"verdict": verdict, "sentence": f"docker/other is {verdict}"},
        ],
    }


@pytest.fixture(scope="module")
def outcomes(play: t.Callable) -> dict[str, list[dict[str, str]]]:
    """Return for each host the tasks that ran and what was said."""
    hosts = {f"wrong{place}": {f"thin_pool_monitor_{row[0]}": row[1]} for place, row in enumerate(WRONG)}
    for fail_on, verdict in VERDICTS:
        hosts[f"judged-{fail_on}-{verdict}"] = {
            "thin_pool_monitor_fail_on": fail_on,
            "__thin_pool_monitor_check": checked(verdict),
        }
    return play(PLAYBOOK, hosts)


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[f"{row[0]}-{row[1]}" for row in WRONG])
def test_a_wrong_variable_is_refused_before_any_module_runs(outcomes, place):
    variable, _value, says = WRONG[place]
    ran = outcomes[f"wrong{place}"]
    assert {task["action"] for task in ran} <= HARMLESS
    said = " ".join(task["said"] for task in ran)
    assert f"thin_pool_monitor_{variable}" in said
    assert says in said, said


@pytest.mark.parametrize(("fail_on", "verdict"), VERDICTS)
def test_role_fails_from_the_asked_verdict_on(outcomes, fail_on, verdict):
    said = [task["said"] for task in outcomes[f"judged-{fail_on}-{verdict}"] if task["said"]]
    if fail_on != "never" and ORDER.index(verdict) >= ORDER.index(fail_on):
        assert said == [f"{verdict.upper()}: docker/other is {verdict}"]
    else:
        assert said == []


def test_every_variable_of_the_role_has_its_wrong_values():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    assert sorted({f"thin_pool_monitor_{row[0]}" for row in WRONG}) == sorted(options)


def test_defaults_are_those_that_are_described():
    with open(ROLE / "meta" / "argument_specs.yml", encoding="utf-8") as file:
        options = yaml.safe_load(file)["argument_specs"]["main"]["options"]
    with open(ROLE / "defaults" / "main.yml", encoding="utf-8") as file:
        defaults = yaml.safe_load(file)
    assert list(defaults.items()) == [(name, option["default"]) for name, option in options.items()]
