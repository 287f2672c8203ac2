# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import physical_volumes
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import Copy

GIB = 1024**3
VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10 * GIB)
VDC = BlockDevice("/dev/vdc", "/dev/vdc", size=10 * GIB)
EXT4 = replace(VDB, signatures=(Signature("ext4", 0x438),))
LABELLED = replace(VDB, signatures=(Signature("LVM2_member", 0x218),))
CREATE = ("create physical volume /dev/vdb", "pvcreate --yes /dev/vdb")


def as_it_is(report):
    return report


def on_a_disk_of(size):
    """Return what makes the disk under /dev/vdb larger, as a virtual machine's owner can."""
    return lambda report: report.with_device(replace(report.device("/dev/vdb"), device_size=size))


def with_device(**changes):
    return lambda report: report.with_device(replace(report.device("/dev/vdb"), **changes))


CASES = [
    pytest.param("blank", as_it_is, VDB, {}, [CREATE], id="blank-disk"),
    pytest.param(
        "blank",
        as_it_is,
        EXT4,
        {"wipe_signatures": True},
        [("wipe signatures of /dev/vdb: ext4 at 0x438", ""), CREATE],
        id="wiped-first",
    ),
    pytest.param(
        "group",
        on_a_disk_of(20 * GIB),
        VDB,
        {"resize": True},
        [("grow physical volume /dev/vdb to 20.00 GiB", "pvresize --yes /dev/vdb")],
        id="grown-disk",
    ),
    pytest.param(
        "bare_physical_volume",
        lambda report: report.with_device(replace(report.device("/dev/vdb"), device_size=20 * GIB)),
        VDB,
        {"resize": True},
        [("grow physical volume /dev/vdb to 20.00 GiB", "pvresize --yes /dev/vdb")],
        id="grown-disk-in-no-group",
    ),
    pytest.param(
        "bare_physical_volume",
        as_it_is,
        VDB,
        {"state": "absent"},
        [("remove physical volume /dev/vdb", "pvremove --yes /dev/vdb")],
        id="removed",
    ),
]


@pytest.mark.parametrize(("state", "change", "device", "spec", "expected"), CASES)
def test_a_wish_becomes_steps(report, state, change, device, spec, expected):
    steps, _after = physical_volumes.decide(change(report(state)), [device], **spec)
    assert [(step.action, " ".join(step.command)) for step in steps] == expected


@pytest.mark.parametrize(("state", "change", "device", "spec", "expected"), CASES)
def test_what_is_foretold_needs_nothing_more(report, state, change, device, spec, expected):
    _steps, after = physical_volumes.decide(change(report(state)), [device], **spec)
    assert physical_volumes.decide(after, [BlockDevice("/dev/vdb", "/dev/vdb")], **spec) == ([], after)


@pytest.mark.parametrize(
    ("state", "change", "spec"),
    [
        pytest.param("bare_physical_volume", as_it_is, {}, id="in-no-group"),
        pytest.param("group", as_it_is, {}, id="in-a-group"),
        pytest.param("pool", as_it_is, {"resize": True}, id="as-large-as-its-disk"),
        pytest.param("bare_physical_volume", as_it_is, {"resize": True}, id="in-no-group-as-large-as-its-disk"),
        pytest.param(
            "group", on_a_disk_of(10 * GIB + 1024**2 - 1), {"resize": True}, id="grown-by-less-than-an-extent"
        ),
        pytest.param("group", on_a_disk_of(20 * GIB), {}, id="grown-but-not-asked"),
        pytest.param("blank", as_it_is, {"state": "absent"}, id="absent-already"),
    ],
)
def test_what_is_as_wished_is_left_alone(report, state, change, spec):
    before = change(report(state))
    assert physical_volumes.decide(before, [VDB], **spec) == ([], before)


def test_the_foretold_physical_volume_is_the_one_that_was_captured(report):
    _steps, after = physical_volumes.decide(report("blank"), [VDB])
    real = report("bare_physical_volume").device("/dev/vdb")
    assert replace(after.device("/dev/vdb"), uuid=real.uuid) == real


def test_a_grown_disk_gives_its_group_the_extents_that_fit(report):
    _steps, after = physical_volumes.decide(on_a_disk_of(20 * GIB)(report("pool")), [VDB], resize=True)
    group, device = after.group("docker"), after.device("/dev/vdb")
    # 20 GiB without the first MiB hold 5119 extents of 4 MiB and a rest.
    assert (device.extents, device.size) == (5119, 5119 * 4194304)
    assert (group.extents, group.extents_free) == (5119, 78 + 2560)


def test_two_grown_disks_of_a_group_add_up(report):
    before = report("pool_and_second_disk")
    for path in ("/dev/vdb", "/dev/vdc"):
        before = before.with_device(replace(before.device(path), device_size=20 * GIB))
    steps, after = physical_volumes.decide(before, [VDB, VDC], resize=True)
    assert actions(steps) == [
        "grow physical volume /dev/vdb to 20.00 GiB",
        "grow physical volume /dev/vdc to 20.00 GiB",
    ]
    assert after.group("docker").extents == 2 * 5119


def test_a_removed_physical_volume_is_gone(report):
    _steps, after = physical_volumes.decide(report("bare_physical_volume"), [VDB], state="absent")
    assert after.device("/dev/vdb") is None


@pytest.mark.parametrize(
    ("state", "change", "device", "spec", "reason"),
    [
        pytest.param("blank", as_it_is, EXT4, {}, "/dev/vdb is not blank: it holds ext4 at 0x438.", id="signature"),
        pytest.param(
            "blank",
            as_it_is,
            replace(EXT4, obstacles=("is mounted at /srv",)),
            {"wipe_signatures": True},
            "/dev/vdb is mounted at /srv",
            id="mounted",
        ),
        pytest.param(
            "bare_physical_volume",
            with_device(in_use=True),
            VDB,
            {},
            "/dev/vdb is marked as used by a volume group whose metadata is missing here: bring the group's other ",
            id="of-a-lost-group",
        ),
        pytest.param(
            "bare_physical_volume",
            with_device(in_use=True),
            VDB,
            {"state": "absent", "wipe_signatures": True},
            "/dev/vdb is marked as used by a volume group",
            id="remove-of-a-lost-group",
        ),
        pytest.param(
            "group", with_device(missing=True), VDB, {}, "/dev/vdb is missing in LVM's view: see 'pvs'", id="missing"
        ),
        pytest.param(
            "group", with_device(duplicate=True), VDB, {}, "/dev/vdb is a duplicate in LVM's view", id="duplicate"
        ),
        pytest.param(
            "group",
            as_it_is,
            VDB,
            {"state": "absent"},
            "/dev/vdb belongs to volume group docker: remove it from the group first",
            id="remove-from-a-group",
        ),
    ],
)
def test_a_device_that_must_not_be_taken_is_refused(report, state, change, device, spec, reason):
    with pytest.raises(RefusedErrors) as refusal:
        physical_volumes.decide(change(report(state)), [device], **spec)
    (found,) = refusal.value.reasons
    assert found.startswith(reason)


def test_every_reason_of_every_device_is_told_at_once(report):
    devices = [
        replace(EXT4, obstacles=("is swap in use: see 'swapoff /dev/vdb'",)),
        replace(VDC, obstacles=("is read-only",)),
    ]
    with pytest.raises(RefusedErrors) as refusal:
        physical_volumes.decide(report("blank"), devices)
    assert [reason.split(":")[0] for reason in refusal.value.reasons] == [
        "/dev/vdb is swap in use",
        "/dev/vdb is not blank",
        "/dev/vdc is read-only",
    ]


def test_only_what_is_no_physical_volume_yet_is_looked_into(report, monkeypatch):
    looked_into = []
    monkeypatch.setattr(
        physical_volumes.block_devices, "resolve", lambda names: {"/dev/vdb": "/dev/vdb", "/dev/vdd": "/dev/x"}
    )
    monkeypatch.setattr(
        physical_volumes.block_devices, "examine", lambda name, **_options: looked_into.append(name) or VDC
    )
    devices = physical_volumes.examine(report("group"), ["/dev/vdb", "/dev/x"])
    assert looked_into == ["/dev/x"]
    assert devices == [BlockDevice("/dev/vdb", "/dev/vdb"), VDC]


# A captured state, a change of it, the device, the group it is for, whether signatures may be wiped, and the reasons.
@pytest.mark.parametrize(
    ("state", "change", "device", "group", "wipe", "expected"),
    [
        pytest.param("blank", as_it_is, VDB, "", False, [], id="blank"),
        pytest.param("blank", as_it_is, EXT4, "", False, ["/dev/vdb is not blank"], id="signature"),
        pytest.param("blank", as_it_is, EXT4, "", True, [], id="signature-that-may-go"),
        pytest.param(
            "blank",
            as_it_is,
            replace(EXT4, obstacles=("is read-only", "is removable")),
            "docker",
            False,
            ["/dev/vdb is read-only", "/dev/vdb is removable", "/dev/vdb is not blank"],
            id="everything",
        ),
        pytest.param("bare_physical_volume", as_it_is, VDB, "", False, [], id="physical-volume"),
        pytest.param("bare_physical_volume", as_it_is, VDB, "docker", False, [], id="physical-volume-for-a-group"),
        pytest.param("bare_physical_volume", as_it_is, LABELLED, "docker", False, [], id="physical-volume-alone"),
        pytest.param(
            "bare_physical_volume",
            as_it_is,
            replace(VDB, signatures=(*LABELLED.signatures, *EXT4.signatures)),
            "docker",
            True,
            ["/dev/vdb is a physical volume in no group, and holds ext4 at 0x438 too"],
            id="physical-volume-and-more",
        ),
        # As it was found before its signature was wiped and the label made.
        pytest.param("bare_physical_volume", as_it_is, EXT4, "docker", False, [], id="physical-volume-of-this-run"),
        pytest.param(
            "group", as_it_is, VDB, "", False, ["/dev/vdb belongs to volume group docker: choose another"], id="member"
        ),
        pytest.param("group", as_it_is, VDB, "docker", False, [], id="member-already"),
        pytest.param(
            "group",
            as_it_is,
            VDB,
            "other",
            True,
            ["/dev/vdb belongs to volume group docker, not to other: choose another device"],
            id="member-of-another",
        ),
        pytest.param(
            "bare_physical_volume",
            with_device(in_use=True),
            VDB,
            "docker",
            True,
            ["/dev/vdb is marked as used by a volume group whose metadata is missing here"],
            id="of-a-lost-group",
        ),
        pytest.param(
            "group",
            with_device(duplicate=True),
            VDB,
            "other",
            False,
            ["/dev/vdb belongs to volume group docker, not to other", "/dev/vdb is a duplicate in LVM's view"],
            id="duplicate-of-another",
        ),
        pytest.param(
            "group", with_device(missing=True), VDB, "docker", False, ["/dev/vdb is missing in LVM's view"], id="lost"
        ),
        pytest.param(
            "bare_physical_volume",
            as_it_is,
            replace(VDB, obstacles=("is read-only",)),
            "docker",
            False,
            ["/dev/vdb is read-only"],
            id="physical-volume-that-cannot-be-written",
        ),
    ],
)
def test_every_reason_against_taking_a_device_is_told(report, state, change, device, group, wipe, expected):
    found = physical_volumes.refusals(change(report(state)), device, group=group, wipe_signatures=wipe)
    assert [reason[: len(start)] for reason, start in zip(found, expected)] == expected
    assert len(found) == len(expected)


def test_each_step_that_writes_carries_the_device_as_it_will_be_found():
    wiping, creating = physical_volumes.initialise(EXT4)
    assert (wiping.command, wiping.device) == ((), EXT4)
    assert (creating.command[0], creating.device) == ("pvcreate", VDB)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"duplicates": (Copy("/dev/vdz", "UUID"),)}, "has the same physical volume on it as /dev/vdb", id="copy"
        ),
        pytest.param(
            {"given_up": (Copy("/dev/vdz", "docker"),)},
            "was given up by volume group docker ('vgreduce --removemissing') while it was away",
            id="given-up",
        ),
        pytest.param({"duplicates": (Copy("/dev/vdy", "UUID"),)}, "carries the label", id="another-copy"),
        pytest.param({"given_up": (Copy("/dev/vdy", "docker"),)}, "carries the label", id="another-was-given-up"),
    ],
)
def test_a_label_that_lvm_leaves_out_is_called_by_its_name(report, change, reason):
    lvm = report("group")
    lvm = replace(lvm.with_device(replace(lvm.device("/dev/vdb"), uuid="UUID")), **change)
    device = replace(LABELLED, name="/dev/vdz", path="/dev/vdz")
    (found,) = physical_volumes.refusals(lvm, device, wipe_signatures=True)
    assert reason in found


def test_a_device_of_another_group_of_the_same_name_is_not_taken(report):
    lvm = report("group")
    stranger = replace(lvm.device("/dev/vdb"), device="/dev/vdz", vg_uuid="other")
    lvm = replace(lvm, devices=(*lvm.devices, stranger))
    device = replace(LABELLED, name="/dev/vdz", path="/dev/vdz")
    (reason,) = physical_volumes.refusals(lvm, device, group="docker")
    assert "belongs to another volume group docker (UUID other)" in reason
    assert physical_volumes.refusals(lvm, LABELLED, group="docker") == []


def test_lvm_is_asked_about_a_device_that_is_not_wiped_first(report):
    (blank,), _after = physical_volumes.decide(report("blank"), [VDB])
    assert (blank.rehearsal, blank.undo) == (blank.command, ("pvremove", "--yes", "/dev/vdb"))
    (_wipe, wiped), _after = physical_volumes.decide(report("blank"), [EXT4], wipe_signatures=True)
    assert (wiped.rehearsal, wiped.undo) == ((), ("pvremove", "--yes", "/dev/vdb"))
