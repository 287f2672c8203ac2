# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.modules import lvm_pv

VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240)
MADE = {"device": "/dev/vdb", "vg": None, "size": 10737418240}


def test_check_mode_only_reads(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    result = run_module(lvm_pv, check=True, devices=["/dev/vdb"])
    assert (result["changed"], result["actions"]) == (True, ["create physical volume /dev/vdb"])
    assert result["physical_volumes"] == [MADE]
    assert result["diff"]["before"] == {"physical_volumes": []}
    assert commands.writing == []


def test_a_real_run_takes_the_steps_and_looks_again(run_module, commands, captured, disks):
    disks(BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240, signatures=(Signature("ext4", 0x438),)))
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --yes /dev/vdb")
    commands.expect("lvm fullreport", captured("bare_physical_volume.json"))
    result = run_module(lvm_pv, devices=["/dev/vdb"], wipe_signatures=True)
    assert result["actions"] == ["wipe signatures of /dev/vdb: ext4 at 0x438", "create physical volume /dev/vdb"]
    assert result["physical_volumes"] == [MADE]
    assert commands.writing == ["pvcreate --yes /dev/vdb"]


def test_a_second_run_changes_nothing(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("bare_physical_volume.json"))
    result = run_module(lvm_pv, devices=["/dev/vdb"])
    assert (result["changed"], result["actions"], "diff" in result) == (False, [], False)


def test_a_failure_is_told_with_command_and_status(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    commands.expect(
        "pvcreate --yes /dev/vdb", stderr="  Cannot use /dev/vdb: device is rejected by filter config\n", rc=5
    )
    result = run_module(lvm_pv, devices=["/dev/vdb"])
    assert (result["failed"], result["rc"], result["cmd"]) == (True, 5, ["pvcreate", "--yes", "/dev/vdb"])
    assert result["msg"].endswith("failed with status 5: Cannot use /dev/vdb: device is rejected by filter config")


@pytest.mark.parametrize("check", [True, False])
def test_what_lvm_would_refuse_is_refused_before_anything_is_written(run_module, commands, captured, disks, check):
    vdc = replace(VDB, name="/dev/vdc", path="/dev/vdc")
    disks(VDB, vdc)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    why = "  TEST MODE: Metadata will NOT be updated.\n  Cannot use /dev/vdc: device is rejected by filter config\n"
    commands.expect("pvcreate --test --yes /dev/vdc", stderr=why, rc=5)
    result = run_module(lvm_pv, check=check, devices=["/dev/vdb", "/dev/vdc"])
    assert result["msg"] == (
        "LVM would refuse to create physical volume /dev/vdc: Cannot use /dev/vdc: device is rejected by filter "
        "config. Nothing was written"
    )
    assert commands.writing == []


def test_a_label_is_taken_back_when_the_next_one_fails(run_module, commands, captured, disks):
    disks(VDB, replace(VDB, name="/dev/vdc", path="/dev/vdc"))
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    commands.expect("pvcreate --test --yes /dev/vdc")
    commands.expect("pvcreate --yes /dev/vdb")
    commands.expect("pvcreate --yes /dev/vdc", stderr="  Input/output error\n", rc=5)
    commands.expect("pvremove --yes /dev/vdb")
    result = run_module(lvm_pv, devices=["/dev/vdb", "/dev/vdc"])
    assert result["msg"].endswith("Input/output error")


def test_a_label_that_does_not_come_about_is_an_error(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    commands.expect("pvcreate --yes /dev/vdb")
    commands.expect("lvm fullreport", captured("blank.json"))
    result = run_module(lvm_pv, devices=["/dev/vdb"])
    assert result["msg"] == "LVM's commands succeeded, and yet /dev/vdb is no physical volume that LVM lists"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "/dev/no-such-device",
            "/dev/no-such-device does not exist on this host: see 'lsblk' and 'ls -l /dev/disk/by-id'",
        ),
        ("/dev/null", "/dev/null is not a block device: see 'lsblk' for those of this host"),
    ],
)
def test_an_unknown_device_is_refused(run_module, commands, captured, device, message):
    commands.expect("lvm fullreport", captured("blank.json"))
    result = run_module(lvm_pv, devices=[device])
    assert (result["failed"], result["msg"]) == (True, message)


def test_a_host_without_lvm_is_refused(run_module, commands, monkeypatch):
    monkeypatch.setattr(lvm_pv.lvm_state.process, "find", lambda program: None)
    assert run_module(lvm_pv, devices=["/dev/vdb"])["msg"].startswith("LVM is not installed on this host: install")


def test_a_disk_that_changes_after_it_was_looked_at_is_left_alone(run_module, commands, captured, disks, monkeypatch):
    there = disks(VDB)

    def formatted_meanwhile(report, devices, **options):
        there["/dev/vdb"] = replace(VDB, signatures=(Signature("xfs", 0),))
        return decide(report, devices, **options)

    decide = lvm_pv.physical_volumes.decide
    monkeypatch.setattr(lvm_pv.physical_volumes, "decide", formatted_meanwhile)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    result = run_module(lvm_pv, devices=["/dev/vdb"])
    assert result["failed"]
    assert "/dev/vdb changed after it was looked at and is left alone" in result["msg"]
    assert "it holds xfs at 0x0" in result["msg"]
    assert commands.writing == []


def test_a_second_run_waits_and_then_says_who_is_in_the_way(run_module, commands, disks, lock, monkeypatch):
    disks(VDB)
    monkeypatch.setattr(lvm_pv.module_frame.process, "TIMEOUT", 0.5)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = run_module(lvm_pv, devices=["/dev/vdb"])
    assert result["failed"]
    assert f"{lock} is locked by another process" in result["msg"]
    assert "nothing was changed" in result["msg"]
    assert commands.ran == []


def test_check_mode_waits_for_nobody(run_module, commands, captured, disks, lock, monkeypatch):
    monkeypatch.setattr(lvm_pv.module_frame.process, "TIMEOUT", 0)
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run_module(lvm_pv, check=True, devices=["/dev/vdb"])["changed"]
