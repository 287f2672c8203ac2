# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every variable of the playbook migrate: refused before any module of ours runs."""

from __future__ import annotations

import importlib.util
import re
import typing as t
from pathlib import Path

import pytest

# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[3]

LEFT_OUT = "left out"
NO_DRIVER = "migrate_to must be devicemapper or overlay2"
NO_PATH = "migrate_directory must be the whole path of a directory"

WRONG: list[tuple[str, t.Any, str]] = [
    *(("migrate_to", value, NO_DRIVER) for value in (LEFT_OUT, "", "overlay", "loop-lvm", ["overlay2"], "Overlay2")),
    *(("migrate_directory", value, NO_PATH) for value in ("", "images", "/", "~/images", 7)),
    *(
        (variable, value, f"{variable} must be true or false, not '{value}'")
        for variable in ("migrate_stop_containers", "migrate_remove_old")
        for value in ("perhaps", "", 2)
    ),
]


def in_short(row: tuple) -> str:
    return f"{row[0]}-{ascii(row[1])[:30]}"


@pytest.fixture(scope="module")
def outcomes(play):
    hosts = {}
    for place, (variable, value, _says) in enumerate(WRONG):
        variables = {"migrate_to": "overlay2", variable: value}
        hosts[f"wrong{place}"] = {name: given for name, given in variables.items() if given is not LEFT_OUT}
    return play("- import_playbook: devicemapper.containers.migrate\n", hosts)


@pytest.mark.parametrize("place", [pytest.param(place, id=in_short(row)) for place, row in enumerate(WRONG)])
def test_a_wrong_variable_is_refused_before_any_host_is_asked(outcomes, place):
    (task,) = outcomes[f"wrong{place}"]
    assert task["action"] == "ansible.builtin.assert"
    assert WRONG[place][2] in task["said"]


def test_every_variable_of_the_playbook_has_its_wrong_values():
    text = (ROOT / "playbooks" / "migrate.yml").read_text(encoding="utf-8")
    assert {row[0] for row in WRONG} == set(re.findall(r"(?<!_)\bmigrate_\w+", text))
