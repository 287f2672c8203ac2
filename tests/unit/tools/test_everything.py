# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make test` leaves no scenario out, runs them with the oldest and the newest ansible-core, and lists them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The tools are scripts that import each other by their folder. They run on newer Pythons than modules do.
if sys.version_info < (3, 11):
    pytest.skip("the tools need a newer Python", allow_module_level=True)
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import environments  # noqa: E402
import everything  # noqa: E402

SCENARIOS = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}


def test_every_scenario_is_run_once():
    run = [words[1] for words in everything.on_guests()]
    assert sorted(run) == sorted(f"SCENARIO={name}" for name in SCENARIOS)


def test_what_takes_long_begins_first_and_exists():
    assert set(everything.LONGEST) <= SCENARIOS
    assert everything.scenarios()[: len(everything.LONGEST)] == list(everything.LONGEST)


def test_scenarios_are_run_with_the_oldest_core_and_the_newest():
    known = environments.known_cores("molecule")
    run = [words[2] for words in everything.on_guests()]
    for core in (known[0], known[-1]):
        assert run.count(f"CORE={core}") >= len(SCENARIOS) // 2


@pytest.mark.parametrize(
    ("works", "scenario", "guest"),
    [
        ("uml", "killed", "bookworm on User-Mode Linux"),
        ("tcg", "killed", "bookworm on an emulated machine"),
        ("kvm", "default", "bookworm on KVM"),
        ("tcg", "newest_kernel", "forky on an emulated machine"),
    ],
)
def test_list_names_the_release_and_what_it_runs_on(works, scenario, guest, monkeypatch):
    monkeypatch.setenv("GUEST_ACCEL", works)
    assert everything.guest_of(scenario) == guest


@pytest.mark.parametrize(("scenario", "real"), [("default", True), ("newest_kernel", True), ("killed", False)])
def test_list_asks_for_a_machine_that_boots_as_hardware_does_where_a_scenario_wants_one(scenario, real, monkeypatch):
    asked = []

    def answer(command, **_options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "tcg\n")

    monkeypatch.setattr(everything.subprocess, "run", answer)
    everything.guest_of(scenario)
    assert ["--real" in command for command in asked] == [real]


def test_a_wrong_word_is_refused():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tools" / "everything.py"), "all"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "LIST is 'all'; it can be yes, or left out" in done.stderr
