# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures of docs/performance.md are those that were measured, and ratios stand the right way round."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[3] / "tests" / "tools" / "bench"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


chunks, report = load("chunks"), load("report")


def cells(text: str, first: str) -> list[list[str]]:
    """Return the cells of each row of a table that begins so."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row[1:] for row in rows if row[0] == first]


def test_what_measuring_costs_is_left_out_but_for_time():
    measured = report.Cost(seconds=9.5, processor=7.5, modules=2, programs=25, bytes=3000)
    nothing = report.Cost(seconds=1.5, processor=0.5, modules=1, programs=10, bytes=1000)
    assert measured.less(nothing) == report.Cost(9.5, 7.5, 1, 15, 2000)


def test_costs_and_how_many_times_as_much():
    manual = report.Cost(20, 10, 0, 130, 1024)
    peer = report.Cost(60, 30, 11, 110, 1024 * 1600)
    ours = report.Cost(20, 5, 1, 10, 1024 * 800)
    found = {"manual": {"first": manual, "disk": manual}}
    found.update(peer=dict.fromkeys(report.RUNS, peer), ours=dict.fromkeys(report.RUNS, ours))
    text = report.peers(found)
    assert cells(text, "first run: the manual's commands, typed over one ssh connection") == [
        ["20.0 s", "10.0 s", "-", "130", "1 KiB"]
    ]
    assert cells(text, "second run, nothing to do: `direct_lvm`") == [["20.0 s", "5.0 s", "1", "10", "800 KiB"]]
    assert cells(text, "second run, nothing to do") == [["3.0", "6.0", "11.0", "11.0", "2.0"]]


def test_processor_time_is_that_of_one_host():
    spent = {"2 guests": report.Spent(9, 3), "50": report.Spent(30, 20)}
    text = report.fleet({"peer": spent, "ours": {name: report.Spent(6, 1) for name in spent}})
    assert cells(text, "2 virtual machines") == [["9.0 s", "1.50 s", "6.0 s", "0.50 s"]]
    assert cells(text, "50 stand-ins") == [["30.0 s", "0.40 s", "6.0 s", "0.02 s"]]


def test_writes_are_parts_of_what_a_linear_volume_does():
    phases = {"first write": 100, "rewrite": 400, "write after a snapshot": 50}
    pool = {
        # The middle round counts.
        f"64K, zeroed: {phase}": [
            {"small": of * speed, "large": of * speed, "taken": 64 * report.MIB} for of in (1, 0.1, 10)
        ]
        for phase, speed in phases.items()
    }
    text = report.chunks({"linear": 3 * [{"small": 400, "large": 200}], **pool})
    assert cells(text, "64K, zeroed") == [
        ["0.25", "1.00", "0.12"],
        ["0.50", "2.00", "0.25"],
        ["64 MiB", "64 MiB", "64 MiB"],
    ]
    assert "the middle one of 3 rounds" in text


def test_every_pool_that_is_measured_is_in_the_tables(monkeypatch, capsys):
    answers = {"fio": '{"jobs": [{"write": {"iops": 300, "bw_bytes": 600}}]}', "lvs": "50 1024"}
    monkeypatch.setattr(chunks, "run", lambda *words: answers.get(words[0], ""))
    monkeypatch.setattr(sys, "argv", ["chunks.py", "/dev/vdb", "2"])
    chunks.main()
    text = report.chunks(json.loads(capsys.readouterr().out))
    for size in ("64K", "256K", "512K", "1024K"):
        for zeroing in ("zeroed", "not zeroed"):
            assert cells(text, f"{size}, {zeroing}") == [["1.00"] * 3, ["1.00"] * 3, ["0 MiB"] * 3]
