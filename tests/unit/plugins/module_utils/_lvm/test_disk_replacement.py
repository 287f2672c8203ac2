# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import disk_replacement, extent_moves
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    PhysicalVolume,
)

GIB = 1024**3
B, C, D = (BlockDevice(path, path, size=GIB) for path in ("/dev/ubdb", "/dev/ubdc", "/dev/ubdd"))
KEEP_OFF = "keep new extents off /dev/ubdb"
MOVE = "move 154 extents (616.00 MiB) of lvol0_pmspare, thinpool_tdata, thinpool_tmeta from /dev/ubdb to /dev/ubdc"
OUT = [
    "remove /dev/ubdb from volume group docker",
    "remove physical volume /dev/ubdb",
]
# A device that is in no group: LVM does not say that its extents may be taken.
LABELLED = {
    **{"pv_name": D.path, "pv_uuid": "pPMlcJ", "vg_name": "", "pv_size": GIB, "dev_size": GIB, "pe_start": 1024**2},
    **dict.fromkeys(("pv_pe_count", "pv_pe_alloc_count"), 0),
    **dict.fromkeys(("pv_in_use", "pv_missing", "pv_duplicate", "pv_allocatable"), ""),
}
END = "end the interrupted move of extents away from /dev/ubdb"


def as_it_is(lvm):
    return lvm


def with_device(path, **changes):
    return lambda lvm: lvm.with_device(replace(lvm.device(path), **changes))


def with_group(**changes):
    return lambda lvm: lvm.with_group(replace(lvm.group("docker"), **changes))


def decide(lvm, **options):
    return disk_replacement.decide(lvm, **{"vg": "docker", "old": B, **options})


@pytest.mark.parametrize(
    ("state", "change", "wish", "expected"),
    [
        pytest.param("two_disks", as_it_is, {}, [KEEP_OFF, MOVE, *OUT], id="onto-the-others"),
        pytest.param("two_disks", as_it_is, {"new": C}, [KEEP_OFF, MOVE, *OUT], id="onto-one-of-the-group"),
        pytest.param(
            "two_disks",
            as_it_is,
            {"new": D},
            [
                "create physical volume /dev/ubdd",
                "add /dev/ubdd to volume group docker",
                KEEP_OFF,
                MOVE.replace("/dev/ubdc", "/dev/ubdd"),
                *OUT,
            ],
            id="onto-a-new-one",
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {"new": replace(D, signatures=(Signature("gpt", 512),)), "wipe_signatures": True},
            [
                "wipe signatures of /dev/ubdd: gpt at 0x200",
                "create physical volume /dev/ubdd",
                "add /dev/ubdd to volume group docker",
                KEEP_OFF,
                MOVE.replace("/dev/ubdc", "/dev/ubdd"),
                *OUT,
            ],
            id="onto-one-that-is-wiped",
        ),
        pytest.param(
            "two_disks",
            lambda lvm: lvm.with_device(PhysicalVolume.from_row(LABELLED)),
            {"new": D},
            ["add /dev/ubdd to volume group docker", KEEP_OFF, MOVE.replace("/dev/ubdc", "/dev/ubdd"), *OUT],
            id="killed-when-the-new-one-had-its-label",
        ),
        pytest.param(
            "two_disks",
            lambda lvm: lvm.with_volume(LogicalVolume(vg="docker", name="pvmove0", type="error", size=4 * 1024**2)),
            {"old": D, "new": C},
            ["remove docker/pvmove0, left by an interrupted pvmove"],
            id="killed-before-lvm-removed-its-volume",
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {"percent": 50},
            # 127 of its 255 extents may stay.
            [KEEP_OFF, MOVE.replace("154 extents (616.00 MiB)", "27 extents (108.00 MiB)")],
            id="half-of-it",
        ),
        pytest.param("two_disks", as_it_is, {"percent": 30}, [KEEP_OFF], id="so-much-is-free-already"),
        pytest.param(
            "two_disks", with_device("/dev/ubdb", allocatable=False), {}, [MOVE, *OUT], id="begun-and-nothing-moved"
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {"old": C},
            [f"keep new extents off {C.path}", *(word.replace("ubdb", "ubdc") for word in OUT)],
            id="one-on-which-nothing-lies",
        ),
        pytest.param("two_disks", as_it_is, {"old": D}, [], id="not-in-the-group-any-more"),
        pytest.param("two_disks", as_it_is, {"old": D, "new": C}, [], id="not-any-more-and-its-heir-is"),
        pytest.param("two_disks", as_it_is, {"interrupted": "abort"}, [], id="nothing-to-abort"),
        pytest.param(
            "two_disks",
            with_device("/dev/ubdb", allocatable=False),
            {"interrupted": "abort"},
            ["let volumes use /dev/ubdb again"],
            id="aborted-between-two-pieces",
        ),
        pytest.param(
            "two_disks",
            with_device("/dev/ubdb", vg="", extents_used=0, in_use=False),
            {},
            ["remove physical volume /dev/ubdb"],
            id="killed-before-its-label-went",
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {
                "old": C,
                "percent": 50,
                "left_over": [extent_moves.LeftOver("docker-pvmove1", ("docker-thinpool_tdata",))],
            },
            [
                "drop what an interrupted pvmove loaded for docker-thinpool_tdata and did not take into use",
                "remove docker-pvmove1, left by an interrupted pvmove",
                f"keep new extents off {C.path}",
            ],
            id="killed-before-lvm-knew-of-it",
        ),
        pytest.param(
            "moving",
            as_it_is,
            {},
            [END, MOVE, *OUT],
            id="killed-while-the-kernel-copied",
        ),
        pytest.param(
            "moving",
            as_it_is,
            {"interrupted": "abort"},
            [END, "let volumes use /dev/ubdb again"],
            id="aborted-while-the-kernel-copied",
        ),
    ],
)
def test_steps(report, state, change, wish, expected):
    steps, _after = decide(change(report(state)), **wish)
    assert actions(steps) == expected


def test_the_state_after_is_the_group_without_the_disk(report):
    lvm = report("two_disks")
    _steps, after = decide(lvm, new=D)
    group = after.group("docker")
    assert after.device("/dev/ubdb") is None
    assert {device.device: device.extents_used for device in after.devices_of("docker")} == {
        "/dev/ubdc": 0,
        "/dev/ubdd": 154,
    }
    assert (group.extents, group.extents_free) == (510, 510 - 154)
    # And from there nothing is to be done.
    assert decide(after, new=D)[0] == []


def test_lvm_is_asked_where_it_can_be(report):
    def asked(**wish):
        return [step.rehearsal for step in decide(report("two_disks"), **wish)[0] if step.rehearsal]

    assert asked() == [("pvmove", "/dev/ubdb", "/dev/ubdc")]
    assert asked(new=D) == [("vgextend", "--yes", "docker", "/dev/ubdd")]


@pytest.mark.parametrize(
    ("state", "change", "wish", "message"),
    [
        pytest.param("blank", as_it_is, {}, "volume group docker does not exist", id="no-group"),
        pytest.param("two_disks", with_group(attributes="wzx-n-"), {}, "is exported", id="exported"),
        pytest.param("two_disks", with_group(missing_devices=1), {}, "misses 1 of its devices", id="a-lost-disk"),
        pytest.param("two_disks", as_it_is, {"new": B}, "old and new are the same device, /dev/ubdb", id="itself"),
        pytest.param("two_disks", as_it_is, {"percent": 0}, "percent must be from 1 to 100, not 0", id="no-percent"),
        pytest.param("two_disks", as_it_is, {"percent": 101}, "percent must be from 1 to 100, not 101", id="too-many"),
        pytest.param(
            "two_disks",
            as_it_is,
            {"old": D, "new": BlockDevice("/dev/ubde", "/dev/ubde", size=GIB)},
            "/dev/ubdd is not in volume group docker, and neither is /dev/ubde.*playbook grow",
            id="neither-is-in-it",
        ),
        pytest.param(
            "two_disks",
            with_device("/dev/ubdb", vg="other", vg_uuid="x"),
            {},
            "/dev/ubdb belongs to volume group other, not to docker",
            id="of-another-group",
        ),
        pytest.param(
            "two_disks",
            with_device("/dev/ubdc", extents_used=102),
            {},
            r"/dev/ubdb holds 154 extents \(616.00 MiB\), and the other devices of volume group docker have 153 free "
            "that LVM may use: name in new a device",
            id="one-extent-too-few",
        ),
        pytest.param(
            "two_disks",
            with_device("/dev/ubdc", allocatable=False),
            {},
            "have 0 free that LVM may use",
            id="free-and-not-to-be-used",
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {"new": replace(D, size=GIB // 2)},
            "/dev/ubdd has 127 free that LVM may use: choose a larger one",
            id="a-smaller-one",
        ),
        pytest.param(
            "two_disks",
            as_it_is,
            {"new": replace(D, signatures=(Signature("ext4", 0x438),))},
            "/dev/ubdd is not blank: it holds ext4",
            id="a-new-one-that-holds-something",
        ),
        pytest.param(
            "moving",
            as_it_is,
            {"old": C},
            "extents are being moved away from /dev/ubdb of volume group docker",
            id="while-another-is-emptied",
        ),
    ],
)
def test_what_must_not_be_is_refused(report, state, change, wish, message):
    with pytest.raises(RefusedError, match=message):
        decide(change(report(state)), **wish)


def test_the_only_disk_is_not_taken_out(report):
    lvm = report("two_disks").without(device="/dev/ubdc")
    with pytest.raises(RefusedError, match="have 0 free that LVM may use: name in new a device"):
        decide(lvm)
