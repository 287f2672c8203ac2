# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import extent_moves
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.modules import lvm_pv_replace

GIB = 1024**3
OLD, NEW = (BlockDevice(path, path, size=GIB) for path in ("/dev/ubdb", "/dev/ubdc"))
TEST = "pvmove --test /dev/ubdb /dev/ubdc"
KEEP_OFF = "pvchange --yes --allocatable n /dev/ubdb"


def expect_state(commands, captured, state="two_disks", text=None):
    commands.expect("lvm fullreport", text or captured(f"{state}.json"))
    commands.expect("dmsetup table", captured(f"{state}.table"))


def emptied(text):
    """Return a captured report in which nothing lies on the old disk, and nothing new may."""
    document = json.loads(text.replace("/dev/ubdb:", "/dev/ubdc:"))
    for row in document["report"][0]["pv"]:
        if row["pv_name"] == OLD.path:
            row.update(pv_pe_alloc_count="0", pv_allocatable="")
    return json.dumps(document)


def without_old(text):
    document = json.loads(emptied(text))
    (group,) = document["report"][0]["vg"]
    group.update(vg_extent_count="255", vg_free_count="101")
    document["report"][0]["pv"] = [row for row in document["report"][0]["pv"] if row["pv_name"] != OLD.path]
    return json.dumps(document)


def test_check_mode_only_reads_and_foretells(run_module, commands, captured, disks):
    disks(OLD, NEW)
    expect_state(commands, captured)
    commands.expect(TEST)
    result = run_module(lvm_pv_replace, check=True, vg="docker", old=OLD.path)
    assert result["actions"] == [
        "keep new extents off /dev/ubdb",
        "move 154 extents (616.00 MiB) of lvol0_pmspare, thinpool_tdata, thinpool_tmeta from /dev/ubdb to /dev/ubdc",
        "remove /dev/ubdb from volume group docker",
        "remove physical volume /dev/ubdb",
    ]
    assert (result["volume_group"]["devices"], result["volume_group"]["extents_free"]) == (["/dev/ubdc"], 101)
    assert result["extents_left"] == 0
    assert commands.writing == []


@pytest.mark.parametrize("check", [True, False])
def test_what_lvm_would_refuse_is_refused_before_anything_is_written(run_module, commands, captured, disks, check):
    disks(OLD, NEW)
    expect_state(commands, captured)
    commands.expect(TEST, stderr="  All data on source PV skipped.\n", rc=5)
    result = run_module(lvm_pv_replace, check=check, vg="docker", old=OLD.path)
    assert result["msg"].startswith("LVM would refuse to move 154 extents")
    assert commands.writing == []


def test_a_real_run_takes_the_steps_and_looks_again(run_module, commands, captured, disks, monkeypatch):
    disks(OLD, NEW)
    moves = []
    monkeypatch.setattr(extent_moves, "move", lambda *what: moves.append(what))
    monkeypatch.setattr(lvm_pv_replace.physical_volumes.disk_contents, "erase", moves.append)
    expect_state(commands, captured)
    commands.expect(TEST)
    commands.expect(KEEP_OFF)
    commands.expect("vgreduce --yes docker /dev/ubdb")
    commands.expect("pvremove --yes /dev/ubdb")
    expect_state(commands, captured, text=without_old(captured("two_disks.json")))
    result = run_module(lvm_pv_replace, vg="docker", old=OLD.path)
    assert result["changed"]
    assert moves == [("docker", "/dev/ubdb", ["/dev/ubdc"], 154), "/dev/ubdb"]


def test_what_still_lies_there_is_an_error(run_module, commands, captured, disks, monkeypatch):
    disks(OLD, NEW)
    monkeypatch.setattr(extent_moves, "move", lambda *_what: None)
    expect_state(commands, captured)
    commands.expect(TEST)
    commands.expect(KEEP_OFF)
    expect_state(commands, captured)
    result = run_module(lvm_pv_replace, vg="docker", old=OLD.path, percent=90)
    assert result["msg"] == "LVM's commands succeeded, and yet /dev/ubdb still holds 154 extents, not 25"


def test_a_pool_that_is_not_monitored_any_more_is_an_error(run_module, commands, captured, disks, monkeypatch):
    disks(OLD, NEW)
    monkeypatch.setattr(extent_moves, "move", lambda *_what: None)
    expect_state(commands, captured)
    commands.expect(TEST)
    commands.expect(KEEP_OFF)
    unwatched = emptied(captured("two_disks.json")).replace('"monitored"', '"not monitored"')
    expect_state(commands, captured, text=unwatched)
    commands.expect("lvmconfig")
    result = run_module(lvm_pv_replace, vg="docker", old=OLD.path, percent=90)
    assert "thin pool docker/thinpool is not monitored" in result["msg"]


def test_a_second_run_changes_nothing_though_the_old_disk_is_gone(run_module, commands, captured, disks):
    disks(NEW)
    expect_state(commands, captured, text=without_old(captured("two_disks.json")))
    result = run_module(lvm_pv_replace, vg="docker", old="/dev/disk/by-id/gone", new=NEW.path)
    assert (result["changed"], result["actions"]) == (False, [])


def test_a_name_that_is_no_disk_is_no_disk_that_is_gone(run_module, commands, captured):
    expect_state(commands, captured)
    result = run_module(lvm_pv_replace, vg="docker", old="/dev/disk/by-id/typo")
    assert result["msg"].startswith("/dev/disk/by-id/typo does not exist on this host")


def test_an_interrupted_move_is_gone_on_with(run_module, commands, captured, disks):
    disks(OLD, NEW)
    expect_state(commands, captured, state="moving")
    result = run_module(lvm_pv_replace, check=True, vg="docker", old=OLD.path)
    assert result["actions"][0] == "end the interrupted move of extents away from /dev/ubdb"


def test_an_interrupted_move_is_aborted(run_module, commands, captured, disks):
    disks(OLD, NEW)
    expect_state(commands, captured, state="moving")
    commands.expect("pvmove --config global/use_lvmpolld=0 --abort /dev/ubdb")
    commands.expect("pvchange --yes --allocatable y /dev/ubdb")
    expect_state(commands, captured)
    result = run_module(lvm_pv_replace, vg="docker", old=OLD.path, interrupted="abort")
    assert (result["changed"], result["extents_left"]) == (True, 154)
