# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names, results, volume_groups
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG

GIB = 1024**3
VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10 * GIB)
VDC = BlockDevice("/dev/vdc", "/dev/vdc", size=10 * GIB)
PV_VDB = ("create physical volume /dev/vdb", "pvcreate --yes /dev/vdb")
PV_VDC = ("create physical volume /dev/vdc", "pvcreate --yes /dev/vdc")
CREATE = (
    "create volume group docker on /dev/vdb",
    "vgcreate --yes --physicalextentsize 4194304b --addtag devicemapper.containers docker /dev/vdb",
)
EXTEND = ("add /dev/vdc to volume group docker", "vgextend --yes docker /dev/vdc")
REDUCE = ("remove /dev/vdc from volume group docker", "vgreduce --yes docker /dev/vdc")


def as_it_is(report):
    return report


def with_group(**changes):
    return lambda report: report.with_group(replace(report.group("docker"), **changes))


def with_sectors(size):
    return lambda report: report.with_device(replace(report.device("/dev/vdb"), sector_size=size))


CASES = [
    pytest.param("blank", as_it_is, {"devices": [VDB]}, [PV_VDB, CREATE], id="blank-disk"),
    pytest.param("bare_physical_volume", as_it_is, {"devices": [VDB]}, [CREATE], id="physical-volume-already"),
    pytest.param(
        "blank",
        as_it_is,
        {"devices": [VDB, VDC], "extent_size": 16 * 1024**2, "tags": ["team:web", OWNER_TAG]},
        [
            PV_VDB,
            PV_VDC,
            (
                "create volume group docker on /dev/vdb, /dev/vdc",
                "vgcreate --yes --physicalextentsize 16777216b --addtag devicemapper.containers --addtag "
                "team:web docker "
                "/dev/vdb /dev/vdc",
            ),
        ],
        id="two-disks-large-extents-and-a-tag",
    ),
    pytest.param(
        "blank",
        as_it_is,
        {"devices": [replace(VDB, signatures=(Signature("gpt", 512),))], "wipe_signatures": True},
        [("wipe signatures of /dev/vdb: gpt at 0x200", ""), PV_VDB, CREATE],
        id="wiped-first",
    ),
    pytest.param("group", as_it_is, {"devices": [VDB, VDC]}, [PV_VDC, EXTEND], id="second-disk"),
    pytest.param(
        "group",
        as_it_is,
        {"devices": [VDB], "tags": ["web", "db"]},
        [("tag volume group docker with web, db", "vgchange --yes --addtag web --addtag db docker")],
        id="tags",
    ),
    pytest.param(
        "pool_and_second_disk",
        as_it_is,
        {"devices": [VDB], "remove_unlisted": True},
        [REDUCE],
        id="remove-what-is-not-listed",
    ),
    pytest.param(
        "group",
        with_group(tags=(OWNER_TAG,)),
        {"state": "absent"},
        [("remove volume group docker", "vgremove docker")],
        id="remove",
    ),
]


@pytest.mark.parametrize(("state", "change", "spec", "expected"), CASES)
def test_a_wish_becomes_steps(report, state, change, spec, expected):
    steps, _after = volume_groups.decide(change(report(state)), name="docker", **spec)
    assert [(step.action, " ".join(step.command)) for step in steps] == expected


@pytest.mark.parametrize(("state", "change", "spec", "expected"), CASES)
def test_what_is_foretold_needs_nothing_more(report, state, change, spec, expected):
    _steps, after = volume_groups.decide(change(report(state)), name="docker", **spec)
    assert volume_groups.decide(after, name="docker", **spec) == ([], after)


@pytest.mark.parametrize(
    ("state", "change", "spec"),
    [
        pytest.param("group", as_it_is, {"devices": [VDB]}, id="as-wished"),
        pytest.param("group", as_it_is, {}, id="no-devices-named"),
        pytest.param("group", as_it_is, {"extent_size": 4194304}, id="extents-as-wished"),
        pytest.param("pool_and_second_disk", as_it_is, {"devices": [VDB]}, id="an-unlisted-device-stays"),
        pytest.param("pool_and_second_disk", as_it_is, {"remove_unlisted": True}, id="an-empty-list-removes-nothing"),
        pytest.param("group", with_group(tags=("a", "web")), {"tags": ["web"]}, id="other-tags-stay"),
        pytest.param("blank", as_it_is, {"state": "absent"}, id="absent-already"),
    ],
)
def test_a_group_as_wished_is_left_alone(report, state, change, spec):
    before = change(report(state))
    assert volume_groups.decide(before, name="docker", **spec) == ([], before)


@pytest.mark.parametrize("state", ["blank", "bare_physical_volume"])
def test_the_foretold_group_is_the_one_that_was_captured(report, state):
    _steps, after = volume_groups.decide(report(state), name="docker", devices=[VDB])
    real = report("group")
    assert results.volume_group(after, "docker") == {**results.volume_group(real, "docker"), "tags": [OWNER_TAG]}
    there = real.device("/dev/vdb")
    assert replace(after.device("/dev/vdb"), uuid=there.uuid, vg_uuid=there.vg_uuid) == there


def test_a_foretold_extension_is_the_one_that_was_captured(report):
    _steps, after = volume_groups.decide(report("pool"), name="docker", devices=[VDB, VDC])
    real = report("pool_and_second_disk")
    assert results.volume_group(after, "docker") == results.volume_group(real, "docker")
    assert after.device("/dev/vdc").extents == real.device("/dev/vdc").extents == 2559


def test_a_removed_device_takes_its_extents_along(report):
    _steps, after = volume_groups.decide(
        report("pool_and_second_disk"), name="docker", devices=[VDB], remove_unlisted=True
    )
    assert (after.group("docker").extents, after.group("docker").extents_free) == (2559, 78)
    # As LVM would report it: the device as a whole, without extents.
    device = after.device("/dev/vdc")
    assert (device.vg, device.in_use, device.extents, device.size) == ("", False, 0, device.device_size)


def test_a_removed_group_leaves_its_physical_volumes(report):
    ours = with_group(tags=(OWNER_TAG,))(report("group"))
    _steps, after = volume_groups.decide(ours, name="docker", state="absent")
    assert after.group("docker") is None
    # The captured physical volume in no group: the same device, before a group was made on it.
    real = report("bare_physical_volume").device("/dev/vdb")
    assert replace(after.device("/dev/vdb"), uuid=real.uuid) == real


@pytest.mark.parametrize(
    ("state", "change", "spec", "message"),
    [
        pytest.param(
            "blank", as_it_is, {}, "docker does not exist and no devices were given .*: set devices", id="no-devices"
        ),
        pytest.param(
            "foreign_group",
            as_it_is,
            {"devices": [VDB, VDC]},
            "^/dev/vdc belongs to volume group foreign, not to docker: choose another device$",
            id="device-of-another-group",
        ),
        pytest.param(
            "blank",
            as_it_is,
            {"devices": [replace(VDB, signatures=(Signature("xfs", 0),)), replace(VDC, obstacles=("is read-only",))]},
            "(?s)/dev/vdb is not blank: it holds xfs at 0x0.*\n/dev/vdc is read-only",
            id="several-reasons-at-once",
        ),
        pytest.param(
            "group",
            as_it_is,
            {"extent_size": 8 * 1024**2},
            "docker has extents of 4.00 MiB; they are not changed to 8.00 MiB here, .*: leave extent_size out",
            id="extents-of-another-size",
        ),
        pytest.param(
            "blank",
            as_it_is,
            {"devices": [VDB], "extent_size": 3 * 1024**2},
            "extent_size of volume group docker must be a power of 2 from 4k to 1t, not 3.00 MiB",
            id="extents-of-no-power-of-2",
        ),
        pytest.param(
            "blank", as_it_is, {"devices": [VDB], "extent_size": 2048}, "from 4k to 1t, not 2.00 KiB", id="tiny-extents"
        ),
        pytest.param(
            "group",
            with_group(attributes="wzx-n-"),
            {"devices": [VDB]},
            "docker is exported: if it is to be used here, 'vgimport",
            id="exported",
        ),
        pytest.param(
            "group", with_group(attributes="rz--n-"), {"devices": [VDB]}, "docker is read-only", id="read-only"
        ),
        pytest.param(
            "group",
            with_group(system_id="web2"),
            {"devices": [VDB]},
            "belongs to another system .system ID web2",
            id="foreign",
        ),
        pytest.param(
            "group",
            with_group(attributes="rzx-n-", missing_devices=1),
            {},
            "(?s)exported.*read-only.*misses 1 of its devices",
            id="several-obstacles-at-once",
        ),
        pytest.param(
            "group", with_group(attributes="wzx-n-"), {"state": "absent"}, "is exported", id="remove-exported"
        ),
        pytest.param(
            "pool",
            as_it_is,
            {"devices": [VDC], "remove_unlisted": True},
            "/dev/vdb still holds 2481 extents of volume group docker: .*devicemapper.containers.replace_disk",
            id="remove-a-device-in-use",
        ),
        pytest.param(
            "group",
            as_it_is,
            {"state": "absent"},
            "docker was not made by this collection .*tag devicemapper.containers.*vgchange --addtag "
            "devicemapper.containers docker",
            id="remove-without-the-tag",
        ),
        pytest.param(
            "pool_in_use_by_docker",
            as_it_is,
            {"state": "absent"},
            "docker still holds thinpool: remove them first",
            id="remove-full",
        ),
        pytest.param(
            "blank", as_it_is, {"devices": [VDB], "tags": ["a b"]}, "'a b' is not a tag that LVM allows", id="tag"
        ),
    ],
)
def test_a_wish_that_must_not_be_is_refused(report, state, change, spec, message):
    with pytest.raises(RefusedError) as refusal:
        volume_groups.decide(change(report(state)), name="docker", **spec)
    assert re.search(message, str(refusal.value))


@pytest.mark.parametrize("name", ["", "-docker", "a b", "docker/x", ".", "..", "dök", "a" * 128, "docker\n"])
def test_a_name_that_lvm_forbids_is_refused(report, name):
    with pytest.raises(RefusedError, match="is not a name for a volume group: LVM allows letters, digits") as refusal:
        volume_groups.decide(report("blank"), name=name, devices=[VDB])
    assert str(refusal.value).startswith(repr(name))


@pytest.mark.parametrize("name", ["docker", "a", "9", "_x", ".x", "+", "my-vg", "a" * 127])
def test_a_name_that_lvm_allows_is_taken(name):
    device_names.check_name("volume group", name)


def test_the_hosts_own_group_is_no_foreign_one(report):
    found = replace(report("foreign_group"), system_id="other-host")
    assert volume_groups.decide(found, name="foreign", devices=[VDC]) == ([], found)


def test_reasons_of_different_kinds_are_told_at_once(report):
    devices = [replace(VDB, signatures=(Signature("ext4", 0x438),)), VDC]
    foreign = report("foreign_group").without(device="/dev/vdb").without(group="docker")
    with pytest.raises(RefusedErrors) as refusal:
        volume_groups.decide(foreign, name="docker", devices=devices)
    assert [reason.split()[0] for reason in refusal.value.reasons] == ["/dev/vdb", "/dev/vdc"]


SMALL, LARGE = (replace(VDC, sector_size=size) for size in (512, 4096))
WIPED = replace(LARGE, signatures=(Signature("ext4", 0x438),))


@pytest.mark.parametrize(
    ("change", "device", "message"),
    [
        pytest.param(
            with_group(attributes="w--n-"),
            VDC,
            "docker is not resizeable, so /dev/vdc cannot be added to it: run 'vgchange --resizeable y docker'",
            id="not-resizeable",
        ),
        pytest.param(
            with_group(most_devices=1), VDC, "may have 1 devices at most, so /dev/vdc cannot be added", id="enough"
        ),
        pytest.param(
            with_sectors(512), WIPED, r"sectors of different sizes \(512 and 4096 bytes\) with /dev/vdc", id="sectors"
        ),
    ],
)
def test_a_device_that_the_group_would_not_take_is_refused_before_it_is_labelled(report, change, device, message):
    with pytest.raises(RefusedError, match=message):
        volume_groups.decide(change(report("group")), name="docker", devices=[VDB, device], wipe_signatures=True)


@pytest.mark.parametrize(
    ("change", "device"),
    [
        pytest.param(with_group(most_devices=2), VDC, id="one-more"),
        pytest.param(with_sectors(512), LARGE, id="lvm-is-asked-about-a-blank-one"),
        pytest.param(with_sectors(4096), WIPED, id="the-same-sectors"),
        pytest.param(as_it_is, WIPED, id="sectors-that-are-not-known"),
    ],
)
def test_a_device_that_the_group_may_take_is_taken(report, change, device):
    steps, _after = volume_groups.decide(
        change(report("group")), name="docker", devices=[VDB, device], wipe_signatures=True
    )
    assert steps[-1].command == ("vgextend", "--yes", "docker", "/dev/vdc")
    assert steps[-1].rehearsal == (() if device.signatures else steps[-1].command)
    assert [step.undo for step in steps[:-1] if step.command[:1] == ("pvcreate",)] == [
        ("pvremove", "--yes", "/dev/vdc")
    ]
    assert not any(step.rehearsal for step in steps[:-1])


def test_a_group_that_takes_no_more_devices_is_as_wished_with_those_that_it_has(report):
    lvm = with_group(attributes="w--n-")(report("group"))
    assert volume_groups.decide(lvm, name="docker", devices=[VDB])[0] == []


def test_every_enlarged_device_of_a_group_is_used_where_that_is_asked_for(report):
    lvm = report("pool_and_second_disk")
    for path in ("/dev/vdb", "/dev/vdc"):
        lvm = lvm.with_device(replace(lvm.device(path), device_size=20 * 1024**3))
    assert volume_groups.decide(lvm, name="docker", devices=[VDB])[0] == []
    steps, after = volume_groups.decide(lvm, name="docker", devices=[VDB], resize=True)
    assert [step.command for step in steps] == [("pvresize", "--yes", path) for path in ("/dev/vdb", "/dev/vdc")]
    assert after.group("docker").extents == 2 * 5119
    assert volume_groups.decide(after, name="docker", devices=[VDB], resize=True)[0] == []


def test_a_device_that_leaves_the_group_is_not_resized(report):
    lvm = report("pool_and_second_disk")
    lvm = lvm.with_device(replace(lvm.device("/dev/vdc"), device_size=20 * 1024**3))
    steps, _after = volume_groups.decide(lvm, name="docker", devices=[VDB], remove_unlisted=True, resize=True)
    assert [step.command[0] for step in steps] == ["vgreduce"]
