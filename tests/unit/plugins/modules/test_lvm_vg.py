# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.modules import lvm_vg

VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240)
PVCREATE = "pvcreate --yes /dev/vdb"
VGCREATE_TEST = "vgcreate --test --yes"
VGCREATE = "vgcreate --yes --physicalextentsize 4194304b --addtag devicemapper.containers docker /dev/vdb"


def tagged(text: str, tags: str) -> str:
    """Return a captured report in which the group has tags."""
    document = json.loads(text)
    document["report"][0]["vg"][0]["vg_tags"] = tags
    return json.dumps(document)


def test_check_mode_only_reads_and_foretells(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST)
    result = run_module(lvm_vg, check=True, name="docker", devices=["/dev/vdb"])
    assert result["actions"] == ["create physical volume /dev/vdb", "create volume group docker on /dev/vdb"]
    assert result["volume_group"] == {
        "name": "docker",
        "devices": ["/dev/vdb"],
        "size": 10733223936,
        "free": 10733223936,
        "extent_size": 4194304,
        "extents": 2559,
        "extents_free": 2559,
        "tags": ["devicemapper.containers"],
    }
    assert commands.writing == []


def test_a_real_run_takes_the_steps_and_looks_again(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST)
    commands.expect(PVCREATE)
    commands.expect(VGCREATE)
    commands.expect("lvm fullreport", tagged(captured("group.json"), "devicemapper.containers,more"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"])
    assert commands.writing == [PVCREATE, VGCREATE]
    assert result["diff"]["before"] == {"volume_group": None}
    # What LVM says then counts, not what was foretold.
    assert result["volume_group"]["tags"] == ["devicemapper.containers", "more"]


def test_a_group_without_what_it_was_made_with_is_an_error(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST)
    commands.expect(PVCREATE)
    commands.expect(VGCREATE)
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"])
    assert result["msg"] == ("LVM's commands succeeded, and yet volume group docker has no tag devicemapper.containers")


def test_labels_are_taken_back_when_the_group_does_not_come_about(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST)
    commands.expect(PVCREATE)
    commands.expect(VGCREATE, stderr="  no such luck\n", rc=5)
    commands.expect("pvremove --yes /dev/vdb")
    assert run_module(lvm_vg, name="docker", devices=["/dev/vdb"])["msg"].endswith("no such luck")


@pytest.mark.parametrize("check", [True, False])
def test_what_lvm_would_refuse_is_refused_before_anything_is_written(run_module, commands, captured, disks, check):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST, stderr="  Devices have inconsistent logical block sizes (512 and 4096).\n", rc=5)
    result = run_module(lvm_vg, check=check, name="docker", devices=["/dev/vdb"])
    assert result["msg"] == (
        "LVM would refuse to create volume group docker on /dev/vdb: Devices have inconsistent logical block sizes "
        "(512 and 4096). Nothing was written"
    )
    assert commands.writing == []


def test_a_device_that_is_wiped_first_is_not_asked_about(run_module, commands, captured, disks):
    """LVM would try to wipe it for ever in its test mode (seen)."""
    disks(replace(VDB, signatures=(Signature("ext4", 0x438),)))
    commands.expect("lvm fullreport", captured("blank.json"))
    assert run_module(lvm_vg, check=True, name="docker", devices=["/dev/vdb"], wipe_signatures=True)["changed"]


def test_a_second_run_changes_nothing(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"], extent_size="4m")
    assert (result["changed"], result["actions"]) == (False, [])


def test_after_a_failure_no_further_step_is_taken(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(VGCREATE_TEST)
    commands.expect(PVCREATE, stderr="  Device /dev/vdb excluded by a filter.\n", rc=5)
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"])
    assert result["msg"] == f"{PVCREATE} failed with status 5: Device /dev/vdb excluded by a filter."
    assert result["rc"] == 5


def test_an_unknown_device_is_refused(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/no-such-device"])
    assert (result["failed"], result["msg"].split(":")[0]) == (True, "/dev/no-such-device does not exist on this host")


def test_a_size_that_is_none_is_refused_before_lvm_is_asked(run_module, commands):
    assert run_module(lvm_vg, name="docker", extent_size="big")["msg"].startswith("extent_size: 'big' is not a size")


def test_a_group_of_another_system_is_refused(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("foreign_group.json"))
    commands.expect("lvm systemid", "  system ID: this-host\n")
    commands.expect("dmsetup table", captured("pool.table"))
    result = run_module(lvm_vg, name="foreign", state="absent")
    assert result["msg"].startswith(
        "volume group foreign belongs to another system (system ID other-host; this host has the system ID this-host)."
    )
