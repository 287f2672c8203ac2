# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.modules import lvm_vg

VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240)
PVCREATE = "pvcreate --yes /dev/vdb"
VGCREATE = "vgcreate --yes --physicalextentsize 4194304b --addtag devicemapper.containers docker /dev/vdb"


def test_check_mode_only_reads_and_foretells(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
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
    commands.expect(PVCREATE)
    commands.expect(VGCREATE)
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"])
    assert commands.writing == [PVCREATE, VGCREATE]
    assert result["diff"]["before"] == {"volume_group": None}
    assert result["volume_group"]["tags"] == []  # what LVM says then counts, not what was foretold


def test_a_second_run_changes_nothing(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_vg, name="docker", devices=["/dev/vdb"], extent_size="4m")
    assert (result["changed"], result["actions"]) == (False, [])


def test_after_a_failure_no_further_step_is_taken(run_module, commands, captured, disks):
    disks(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
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
    assert result["msg"] == "volume group foreign belongs to another system (system ID other-host)"
