# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.modules import block_device_info

VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240)
EXT4 = Signature("ext4", 0x438)
MEMBER = Signature("LVM2_member", 0x218)
FREE = {
    "device": "/dev/vdb",
    "path": "/dev/vdb",
    "size": 10737418240,
    "free": True,
    "reasons": [],
    "signatures": [],
    "vg": None,
}


@pytest.fixture
def there(monkeypatch, disks):
    """Return a function that gives this machine block devices, by the names that a user has for them."""

    def give(*devices):
        by_name = {device.name: device for device in devices}
        disks(*devices)
        monkeypatch.setattr(block_devices, "examine", lambda name, **_options: by_name[name])
        monkeypatch.setattr(
            block_devices, "problem", lambda name: None if name in by_name else f"{name} does not exist on this host"
        )

    return give


def tell(run_module, *names, **options):
    result = run_module(block_device_info, devices=list(names), **options)
    assert result["changed"] is False
    return result["devices"]


@pytest.mark.parametrize("check", [True, False])
def test_a_blank_disk_is_free(run_module, commands, captured, there, check):
    there(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    assert tell(run_module, "/dev/vdb", check=check) == [FREE]


@pytest.mark.parametrize(
    ("state", "options", "command", "said"),
    [
        ("blank", {}, "pvcreate --test --yes /dev/vdd", "device is rejected by filter config"),
        ("blank", {"vg": "docker"}, "vgcreate --test --yes", "device is rejected by filter config"),
        ("group", {"vg": "docker"}, "vgextend --test --yes docker /dev/vdd", "inconsistent logical block sizes"),
    ],
)
def test_a_disk_that_lvm_would_refuse_is_not_free(run_module, commands, captured, there, state, options, command, said):
    there(replace(VDB, name="/dev/vdd", path="/dev/vdd"))
    commands.expect("lvm fullreport", captured(f"{state}.json"))
    commands.expect(command, stderr=f"  {said}\n", rc=5)
    (found,) = tell(run_module, "/dev/vdd", **options)
    assert found["free"] is False
    assert said in found["reasons"][0]


def test_a_name_that_is_none_for_a_group_is_refused(run_module, commands):
    assert "is not a name for a volume group" in run_module(block_device_info, devices=["/dev/vdb"], vg="-x")["msg"]


# A captured state, what the disk is like, and what differs from a free one; reasons by their beginnings.
@pytest.mark.parametrize(
    ("state", "changes", "expected", "reasons"),
    [
        pytest.param(
            "blank",
            {"signatures": (EXT4,)},
            {"signatures": ["ext4 at 0x438"]},
            ["/dev/vdb is not blank: it holds ext4 at 0x438."],
            id="signature",
        ),
        pytest.param(
            "blank",
            {"signatures": (EXT4,), "obstacles": ("is mounted at /srv", "is removable")},
            {"signatures": ["ext4 at 0x438"]},
            ["/dev/vdb is mounted at /srv", "/dev/vdb is removable", "/dev/vdb is not blank: it holds"],
            id="every-reason",
        ),
        pytest.param(
            "blank",
            {"signatures": (MEMBER,)},
            {"signatures": ["LVM2_member at 0x218"]},
            ["/dev/vdb carries the label of a physical volume that LVM does not list here"],
            id="label-that-lvm-does-not-list",
        ),
        pytest.param(
            "bare_physical_volume",
            {"signatures": (MEMBER,)},
            {"signatures": ["LVM2_member at 0x218"]},
            [],
            id="physical-volume",
        ),
        pytest.param(
            "group",
            {"signatures": (MEMBER,)},
            {"signatures": ["LVM2_member at 0x218"], "vg": "docker"},
            ["/dev/vdb belongs to volume group docker: choose another device"],
            id="member",
        ),
    ],
)
def test_what_is_known_of_a_disk_is_told(run_module, commands, captured, there, state, changes, expected, reasons):
    there(replace(VDB, **changes))
    commands.expect("lvm fullreport", captured(f"{state}.json"))
    (found,) = tell(run_module, "/dev/vdb")
    assert [reason[: len(start)] for reason, start in zip(found["reasons"], reasons)] == reasons
    assert found == {**FREE, "free": not reasons, "reasons": found["reasons"], **expected}
    assert len(found["reasons"]) == len(reasons)


def test_each_name_is_told_in_its_order(run_module, commands, captured, there):
    by_id = replace(VDB, name="/dev/disk/by-id/x")
    there(VDB, by_id)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    commands.expect("pvcreate --test --yes /dev/vdb")
    assert tell(run_module, "/dev/disk/by-id/x", "/dev/vdz", "/dev/vdb") == [
        {**FREE, "device": "/dev/disk/by-id/x"},
        {
            "device": "/dev/vdz",
            "path": None,
            "size": None,
            "free": False,
            "reasons": ["/dev/vdz does not exist on this host"],
            "signatures": [],
            "vg": None,
        },
        FREE,
    ]


def test_what_is_no_device_is_told_and_fails_nothing(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("blank.json"))
    found = tell(run_module, "/dev/null", "/dev/no-such-device", "vdb")
    assert [(device["free"], device["reasons"]) for device in found] == [
        (False, ["/dev/null is not a block device: see 'lsblk' for those of this host"]),
        (False, ["/dev/no-such-device does not exist on this host: see 'lsblk' and 'ls -l /dev/disk/by-id'"]),
        (False, ["'vdb' is not a device: write its whole path, best one under /dev/disk/by-id"]),
    ]


@pytest.mark.parametrize(("signatures", "free"), [((), True), ((MEMBER,), False)])
def test_a_host_without_lvm_answers_too(run_module, commands, there, monkeypatch, signatures, free):
    monkeypatch.setattr(block_device_info.process, "find", lambda program: None)
    there(replace(VDB, signatures=signatures))
    (found,) = tell(run_module, "/dev/vdb")
    assert found["free"] is free
    assert commands.ran == []


def test_nothing_is_waited_for_and_no_lock_made(run_module, commands, captured, there, lock):
    there(VDB)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("pvcreate --test --yes /dev/vdb")
    tell(run_module, "/dev/vdb")
    assert not lock.exists()


def test_a_failure_is_told_with_command_and_status(run_module, commands, there):
    commands.expect("lvm fullreport", stderr="  Failed to read devices.\n", rc=3)
    result = run_module(block_device_info, devices=["/dev/vdb"])
    assert (result["failed"], result["rc"]) == (True, 3)


# wipefs on a drive without a medium, util-linux 2.38.1.
def test_a_device_that_cannot_be_probed_is_told_and_hides_no_other(run_module, commands, captured, monkeypatch):
    def examine(name, **_options):
        block_devices.probe(name)
        return replace(VDB, name=name, path=name)

    monkeypatch.setattr(block_devices, "problem", lambda name: None)
    monkeypatch.setattr(block_devices, "examine", examine)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect("wipefs", stderr="wipefs: error: /dev/sr0: probing initialization failed: No medium found\n", rc=1)
    result = run_module(block_device_info, devices=["/dev/sr0"])
    assert [device["free"] for device in result["devices"]] == [False]
