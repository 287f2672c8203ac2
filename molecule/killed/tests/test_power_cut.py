# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power is cut while LVM converts or grows, and after the next boot a rerun ends as an undisturbed run does."""

from __future__ import annotations

import time

import pytest
import seen
from vm import kinds

MATRIX = "python3 /opt/killed/matrix.py"


@pytest.fixture(scope="module", autouse=True)
def _foreign_is_as_it_was(host):
    before = seen.root(host, f"{MATRIX} foreign")
    yield
    assert seen.root(host, f"{MATRIX} foreign") == before


# The operation, the program, which one of that name, and the part of its undisturbed time after which the power goes.
@pytest.mark.parametrize(
    ("operation", "program", "number", "part"),
    [
        ("convert", "lvconvert", 0, 0.3),
        ("convert", "lvconvert", 0, 0.6),
        ("convert", "lvconvert", 0, 0.85),
        ("grow", "lvextend", 0, 0.6),
        ("grow", "lvextend", 1, 0.4),
        ("grow", "lvextend", 1, 0.75),
    ],
)
def test_power_cut(host, operation, program, number, part):
    machine = kinds.guest_named("killed")
    console = machine.folder / "console.log"
    seconds = float(seen.root(host, f"{MATRIX} prepare {operation!r} {program} {number}"))
    said = console.stat().st_size
    seen.root(host, f"systemd-run --quiet {MATRIX} run {operation!r} {program} {number}")
    # The guest tells on its console, which is a file here: asking it over ssh would take longer than the program runs.
    end = time.monotonic() + 300  # on a busy machine
    while b"killed-matrix: " not in console.read_bytes()[said:]:
        assert time.monotonic() < end, console.read_bytes()[said:]
        time.sleep(0.01)
    time.sleep(seconds * part)
    machine.kill()
    machine.restart()
    seen.wait_until(300, lambda: is_up(host), "its boot has ended")
    print(operation, program, number, part, seen.root(host, f"{MATRIX} finish {operation!r}"))


def is_up(host) -> bool:
    try:
        return host.run("systemctl is-system-running").stdout.strip() in ("running", "degraded")
    except RuntimeError:  # testinfra's word for an ssh that found nobody
        return False
