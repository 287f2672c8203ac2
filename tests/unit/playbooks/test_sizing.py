# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sizing: its figures are those that the modules decide by, and those in the page about sizes."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import sizes
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    lvm_state,
    pool_sizing,
    pool_spec,
    thin_pools,
)

# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
GROUP = "docker"
EXTENT = 4 * sizes.MIB


@pytest.fixture(scope="module")
def run(ansible_playbook: t.Callable) -> t.Callable[..., tuple[int, list[dict[str, t.Any]]]]:
    """Return a function that runs a playbook in a folder, and returns its status and what each task told."""

    def run(folder: Path, *arguments: str) -> tuple[int, list[dict[str, t.Any]]]:
        ran = ansible_playbook(folder, *arguments, cwd=folder, ANSIBLE_STDOUT_CALLBACK="outcomes")
        told = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        assert told, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
        return ran.returncode, told

    return run


# --- Figures ----------------------------------------------------------------------------------------------------------

# Sizes of disks, then the variables.
WISHES: list[dict[str, t.Any]] = [
    {"sizing_disk": "10g"},
    {"sizing_disk": "10g", "sizing_data_size": "95%VG"},
    {"sizing_disk": 10 * sizes.GIB, "sizing_data_size": "60%VG", "sizing_metadata_size": "128m"},
    {"sizing_disk": ["100g", "50G"], "sizing_data_size": "60 %vg"},
    {"sizing_disk": "1t,1t", "sizing_data_size": "50%VG", "sizing_autoextend_percent": "10"},
    {"sizing_disk": "2t", "sizing_data_size": "1.5t", "sizing_metadata_size": "1g", "sizing_chunk_size": "64k"},
    {"sizing_disk": "2t", "sizing_data_size": "1.5t", "sizing_metadata_size": "1860m", "sizing_chunk_size": "64k"},
    {"sizing_disk": "33.3g", "sizing_data_size": "12.34%VG", "sizing_metadata_size": "0.5%VG"},
    {"sizing_disk": "10t", "sizing_data_size": "70%VG", "sizing_autoextend_threshold": 50},
    {"sizing_disk": "100g", "sizing_data_size": "100%FREE"},
    {"sizing_disk": "300m", "sizing_data_size": "40%FREE", "sizing_metadata_size": "2m"},
    {"sizing_disk": "1g", "sizing_data_size": "4m", "sizing_autoextend_percent": 100},
    {"sizing_disk": "100g", "sizing_autoextend_threshold": "100"},
]


def decided(spec: dict[str, t.Any]) -> tuple[lvm_state.LogicalVolume, lvm_state.VolumeGroup]:
    """Return the pool and its group as the module lvm_thin_pool would make them on such disks."""
    disks = spec["sizing_disk"]
    disks = disks if isinstance(disks, list) else str(disks).split(",")
    # LVM leaves a mebibyte of each disk to its label and its metadata: 2559 extents on 10 GiB (seen).
    extents = sum((sizes.parse_bytes(str(disk)) - sizes.MIB) // EXTENT for disk in disks)
    group = lvm_state.VolumeGroup(name=GROUP, extent_size=EXTENT, extents=extents, extents_free=extents)
    pool = pool_spec.PoolSpec(
        vg=GROUP,
        name="thinpool",
        size=sizes.Size.parse(spec.get("sizing_data_size", "80%VG")),
        metadata_size=sizes.Size.parse(spec.get("sizing_metadata_size", "1%VG")),
        chunk_size=sizes.parse_bytes(spec.get("sizing_chunk_size", "512k")),
    )
    _steps, after = thin_pools.decide(lvm_state.LvmState(groups=(group,)), pool)
    made, left = after.volume(GROUP, "thinpool"), after.group(GROUP)
    assert made is not None
    assert left is not None
    return made, left


def extensions(pool: lvm_state.LogicalVolume, group: lvm_state.VolumeGroup, percent: int) -> tuple[list[int], int, int]:
    """Return the extents of the data after each automatic extension, what the next one would take, and what is free."""
    found: list[int] = []
    while True:
        next_one = pool_sizing.auto_extension(group, pool, None, percent)
        if not next_one.data_possible:
            return found, next_one.data_needed, next_one.free
        pool = replace(pool, size=pool.size + next_one.data_needed * EXTENT)
        group = replace(group, extents_free=group.extents_free - next_one.data_needed)
        found.append(pool.size // EXTENT)


def lines_of(answer: dict[str, t.Any]) -> str:
    assert not answer["failed"], answer["told"]
    return "\n".join(answer["told"])


def numbers(pattern: str, text: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize("place", range(len(WISHES)), ids=lambda place: "-".join(map(str, WISHES[place].values())))
def test_figures_are_those_that_the_modules_decide_by(answers, place):
    spec, text = WISHES[place], lines_of(answers["wish"][place])
    pool, group = decided(spec)
    assert numbers(r"^volume group: (\d+) extent", text) == [group.extents]
    assert numbers(r"^data: (\d+) extent", text) == [pool.size // EXTENT]
    assert numbers(r"which is (\d+) chunks", text) == [pool.size // pool.chunk_size]
    assert numbers(r"^metadata: (\d+) extent", text) == [pool.metadata_size // EXTENT]
    assert numbers(r"^free: (\d+) extent", text) == [group.extents_free]
    if str(spec.get("sizing_autoextend_threshold")) == "100":
        assert "automatic extension: off" in text
        assert "extension 1" not in text
        return
    extended, needed, free = extensions(pool, group, int(spec.get("sizing_autoextend_percent", 20)))
    assert numbers(r"extents?, (\d+) then", text) == extended[:5]
    assert numbers(r"would take (\d+) extent", text) == [needed]
    assert numbers(r"and (\d+) are free: IT FAILS", text) == [free]
    often = {0: "CAN NEVER HAPPEN", 1: "can happen once"}.get(len(extended), f"can happen {len(extended)} times")
    assert f"\nautomatic extension: {often}\n" in text


def test_advised_share_leaves_room_for_an_extension_and_the_next_larger_does_not(answers):
    manual = WISHES[1]
    (share,) = numbers(r"^advice: sizing_data_size of (\d+)%VG", lines_of(answers["wish"][1]))
    for percent, possible in ((share, True), (share + 1, False)):
        pool, group = decided({**manual, "sizing_data_size": f"{percent}%VG"})
        assert bool(extensions(pool, group, 20)[0]) is possible


# By hand, from the formulas in docs/sizing.md: 16 MiB are kept back of 1 GiB, and a tenth of 100 MiB.
@pytest.mark.parametrize(
    ("place", "says"),
    [
        (0, "metadata for 19656 chunks (after the extensions): 2.00 MiB by LVM's estimate, 4.52 MiB by"),
        (0, "metadata: ENOUGH, 90.00 MiB without what the kernel keeps back, 19.9 times"),
        (5, "metadata for 30199040 chunks (after the extensions): 1.80 GiB by LVM's estimate"),
        (5, "metadata: NOT ENOUGH, 1008.00 MiB without what the kernel keeps back; sizing_metadata_size of 1860m"),
        (6, "metadata: ENOUGH, 1.80 GiB without what the kernel keeps back, 1.0 times the larger of these"),
        (1, "metadata is extended above 80 % as well: that takes 6 extents, and as many for the spare; 78 are left"),
    ],
)
def test_metadata_is_weighed(answers, place, says):
    assert says in lines_of(answers["wish"][place])


# --- The page ---------------------------------------------------------------------------------------------------------

ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|\n ").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| \d+ [GT]iB \|", line)
]


def of_row(row: list[str]) -> dict[str, str]:
    """Return the variables that a row of worked examples is for."""
    names = ("sizing_disk", "sizing_data_size", "sizing_metadata_size", "sizing_chunk_size")
    return dict(zip(names, [row[0].replace(" GiB", "g").replace(" TiB", "t"), *row[1:4]]))


def test_worked_examples_of_the_page_are_what_the_playbook_tells(answers):
    assert len(ROWS) > 5
    for row, answer in zip(ROWS, answers["row"]):
        text = lines_of(answer)
        (data,) = re.findall(r"^data: \d+ extents? \((.*?)\)", text, re.MULTILINE)
        (metadata,) = re.findall(r"^metadata: \d+ extents? \((.*?)\)", text, re.MULTILINE)
        (first,) = re.findall(r"^extension 1: above 80 % \((.*?)\)", text, re.MULTILINE)
        (often,) = re.findall(r"^automatic extension: (?:can happen )?(.*)", text, re.MULTILINE)
        (enough,) = re.findall(r"^metadata: (ENOUGH|NOT ENOUGH)", text, re.MULTILINE)
        often = {"CAN NEVER HAPPEN": "never"}.get(often, often)
        assert row[4:] == [data, metadata, first, often, {"ENOUGH": "yes", "NOT ENOUGH": "no"}[enough]]


def test_output_in_the_page_is_what_the_playbook_prints(run, tmp_path):
    shown = r"```console\nansible-playbook devicemapper\.containers\.sizing (.*?)\n```\n\n```text\n(.*?)```"
    block = re.search(shown, PAGE, re.DOTALL)
    assert block is not None
    status, outcomes = run(tmp_path, "devicemapper.containers.sizing", *block[1].split())
    assert status == 0
    assert block[2].splitlines() == outcomes[-1]["told"]


# --- Wrong values -----------------------------------------------------------------------------------------------------

LEFT_OUT = "left out"
TOO_FAR = "chunks of 64.00 KiB can address 15.81 TiB of data at most, and not 80.00 TiB: raise sizing_chunk_size"
WRONG: list[tuple[str, t.Any, str]] = [
    *(
        ("sizing_disk", value, "sizing_disk must be the size of the disk, or a list with that of each, and not")
        for value in (LEFT_OUT, "", [], "10gb", "-10g", "80%VG", True, {"a": "1g"}, ["10g", ""], "10g,")
    ),
    *(("sizing_disk", value, "too few for data, metadata and LVM's spare") for value in (0, 10, "10", "9m")),
    *(
        ("sizing_data_size", value, "sizing_data_size must be a share such as 80%VG or 100%FREE, or a size, and not")
        for value in ("", "80%", "80%PVS", "most", ["80%VG"], True)
    ),
    *(("sizing_data_size", value, "is the unit missing, as in 10g?") for value in (0, "0%VG", 8, "512")),
    *(("sizing_data_size", value, "do not fit into a volume group of 2559 extents") for value in ("99%VG", "10g")),
    *(
        ("sizing_metadata_size", value, "sizing_metadata_size must be a share such as 1%VG, or a size, and not")
        for value in ("", "1%", "some", ["1%VG"])
    ),
    *(("sizing_metadata_size", value, "must be 2m to 15.8g, and not") for value in (0, "1m", "16g", 100)),
    *(("sizing_metadata_size", value, "do not fit into") for value in ("50%VG", "5g")),
    *(("sizing_chunk_size", value, "sizing_chunk_size must be a size such as") for value in ("", "1%VG", "big", None)),
    *(
        ("sizing_chunk_size", value, "must be a multiple of 64k from 64k to 1g, and not")
        for value in (0, "512", "32k", "100k", "2g", "64.5k")
    ),
    ("sizing_chunk_size", "64k", TOO_FAR),
    *(
        ("sizing_autoextend_threshold", value, "must be 50 to 99 percent, or 100 for never, not")
        for value in ("", 0, 49, 101, "80%", "high", 80.5, [80])
    ),
    *(
        ("sizing_autoextend_percent", value, "must be 1 to 100 percent, not")
        for value in ("", 0, -20, 101, "20%", "more", 2.5)
    ),
    *(
        ("sizing_thin_devices", value, "must be 0 to 16777215, the layers of images and the containers, not")
        for value in ("", -1, 16777216, 123456789, "many", 1.5)
    ),
]


def of_wrong(row: tuple[str, t.Any, str]) -> dict[str, t.Any]:
    variables = {"sizing_disk": "10g", row[0]: row[1]}
    if row[2] is TOO_FAR:
        variables["sizing_disk"] = "100t"
    return {name: given for name, given in variables.items() if given is not LEFT_OUT}


def test_a_wrong_variable_is_refused_and_named(answers):
    for (variable, value, says), answer in zip(WRONG, answers["wrong"]):
        assert answer["failed"], (variable, value, answer)
        assert says in answer["told"], (variable, value, answer)
        assert variable in answer["told"], (variable, value, answer)


def test_every_variable_of_the_playbook_has_its_wrong_values_and_its_row_in_the_page():
    text = (ROOT / "playbooks" / "sizing.yml").read_text(encoding="utf-8")
    variables = set(re.findall(r"(?<!_)\bsizing_\w+", text))
    assert {row[0] for row in WRONG} == variables
    assert set(re.findall(r"^\| `(sizing_\w+)` \|", PAGE, re.MULTILINE)) == variables


# --- One run for all of them ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(run: t.Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, t.Any]]]:
    """Return the playbook's answers to all tables, from one run.

    Each set of variables is a host's, so the play is made one of all hosts, which is all that is changed of it.
    """
    sets = {"wish": WISHES, "row": [of_row(row) for row in ROWS], "wrong": [of_wrong(row) for row in WRONG]}
    folder = tmp_path_factory.mktemp("sizing")
    text = (ROOT / "playbooks" / "sizing.yml").read_text(encoding="utf-8")
    assert text.count("hosts: localhost\n") == 1
    (folder / "sizing.yml").write_text(text.replace("hosts: localhost\n", "hosts: all\n"), encoding="utf-8")
    shutil.copytree(ROOT / "playbooks" / "templates", folder / "templates")
    hosts = {f"{name}{place}": one for name, some in sets.items() for place, one in enumerate(some)}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    _status, told = run(folder, "sizing.yml", "-i", "hosts.json")
    last = {outcome["host"]: outcome for outcome in told}
    assert set(last) == set(hosts)
    return {name: [last[f"{name}{place}"] for place in range(len(some))] for name, some in sets.items()}
