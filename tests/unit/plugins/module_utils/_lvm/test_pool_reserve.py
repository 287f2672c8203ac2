# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a group and a pool to room that is kept for it, and from there to a pool that has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_reserve, thin_pools
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_reserve import TAG, decide
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import PoolSpec

MIB = 1024**2
EXTENT = 4 * MIB
GROUP = VolumeGroup(name="docker", extent_size=EXTENT, extents=1000, extents_free=180, tags=(OWNER_TAG,))
POOL = LogicalVolume(
    vg="docker", name="thinpool", type="thin-pool", size=800 * EXTENT, metadata_size=10 * EXTENT, chunk_size=MIB // 2
)
KEPT = LogicalVolume(
    vg="docker",
    name="thinpool_reserve",
    type="linear",
    size=50 * EXTENT,
    tags=(OWNER_TAG, TAG),
    attributes="-wi-------",
)
BARE = LvmState(groups=(GROUP,), volumes=(POOL,))
WITH = LvmState(groups=(replace(GROUP, extents_free=130),), volumes=(POOL, KEPT))

MAKE = (
    "lvcreate --yes --type linear --name thinpool_reserve --extents 50 --activate n --zero n --wipesignatures n "
    "--addtag devicemapper.containers --addtag devicemapper.containers.reserve docker"
)
REMOVE = "lvremove --yes docker/thinpool_reserve"


def commands(steps):
    return [" ".join(step.command) for step in steps]


@pytest.mark.parametrize(
    ("lvm", "state", "size", "is_full", "expected", "reserve", "pool", "free"),
    [
        pytest.param(BARE, "present", "5%VG", False, [MAKE], 50, 800, 130, id="kept"),
        pytest.param(WITH, "present", "5%VG", False, [], 50, 800, 130, id="kept-already"),
        pytest.param(WITH, "present", "1%VG", False, [], 50, 800, 130, id="never-shrinks"),
        pytest.param(
            *(WITH, "present", "8%VG", False),
            ["lvextend --yes --extents 80 docker/thinpool_reserve"],
            *(80, 800, 100),
            id="more-is-wished",
        ),
        pytest.param(
            *(WITH, "present", "100%FREE", False),
            ["lvextend --yes --extents 180 docker/thinpool_reserve"],
            *(180, 800, 0),
            id="a-share-of-what-is-free-counts-its-own",
        ),
        pytest.param(
            *(WITH, "released", None, True),
            [REMOVE, "lvextend --yes --extents +50 docker/thinpool"],
            *(0, 850, 130),
            id="released-to-a-full-pool",
        ),
        pytest.param(
            *(WITH, "released", None, False),
            [REMOVE, "lvextend --yes --extents +50 docker/thinpool"],
            *(0, 850, 130),
            id="released-before-it-is-full",
        ),
        pytest.param(BARE, "released", None, False, [], 0, 800, 180, id="released-already"),
        pytest.param(
            *(BARE, "released", None, True),
            ["lvextend --yes --extents +180 docker/thinpool"],
            *(0, 980, 0),
            id="killed-between-the-two",
        ),
        pytest.param(
            LvmState(groups=(replace(GROUP, extents_free=0),), volumes=(POOL,)),
            *("released", None, True, [], 0, 800, 0),
            id="nothing-is-left",
        ),
        pytest.param(WITH, "absent", None, False, [REMOVE], 0, 800, 180, id="absent"),
        pytest.param(BARE, "absent", None, False, [], 0, 800, 180, id="absent-already"),
    ],
)
def test_each_state_leads_to_each_wish(lvm, state, size, is_full, expected, reserve, pool, free):
    wish = Size.parse(size) if size else None
    steps, after = decide(lvm, "docker", "thinpool", state=state, size=wish, is_full=is_full)
    assert commands(steps) == expected
    kept = pool_reserve.find(after, "docker", "thinpool")
    assert (kept.size if kept else 0) // EXTENT == reserve
    assert after.volume("docker", "thinpool").size // EXTENT == pool
    assert after.group("docker").extents_free == free
    again = [] if state == "released" and is_full else expected
    if again != expected or not expected:
        return
    assert decide(after, "docker", "thinpool", state=state, size=wish)[0] == []


def test_a_reserve_that_could_not_be_given_is_kept_again():
    steps, _after = decide(WITH, "docker", "thinpool", state="released")
    assert " ".join(steps[0].undo) == MAKE


def test_lvm_is_asked_before_a_reserve_is_made():
    (step,), _after = decide(BARE, "docker", "thinpool", state="present", size=Size.parse("5%VG"))
    assert step.rehearsal == step.command


@pytest.mark.parametrize("state", ["present", "released", "absent"])
@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (
            replace(KEPT, tags=(OWNER_TAG,)),
            "docker/thinpool_reserve is somebody's .* 'lvrename docker thinpool_reserve",
        ),
        (replace(KEPT, tags=()), "is somebody's"),
        (replace(KEPT, active=True, open=True), "docker/thinpool_reserve is in use"),
        (replace(KEPT, is_linear=False), "is in use, and so is no reserve"),
    ],
    ids=["another-tag", "no-tag", "open", "another-type"],
)
def test_a_volume_that_is_not_ours_is_never_touched(state, volume, says):
    lvm = LvmState(groups=(GROUP,), volumes=(POOL, volume))
    with pytest.raises(RefusedError, match=says):
        decide(lvm, "docker", "thinpool", state=state, size=Size.parse("5%VG"))


@pytest.mark.parametrize(
    ("lvm", "state", "says"),
    [
        (LvmState(), "present", "there is no thin pool docker/thinpool"),
        (LvmState(groups=(GROUP,)), "released", "there is no thin pool docker/thinpool"),
        (LvmState(groups=(GROUP,), volumes=(replace(POOL, type="linear"),)), "present", "there is no thin pool"),
        (BARE, "present", "50%VG cannot be kept .* takes 500 more extents .* has 180 free .* Lower it"),
        (LvmState(groups=(replace(GROUP, attributes="wzx-n-"),), volumes=(POOL,)), "present", "exported"),
    ],
    ids=["no-group", "no-pool", "another-volume", "no-room", "exported"],
)
def test_what_cannot_be_is_refused(lvm, state, says):
    with pytest.raises(RefusedError, match=says):
        decide(lvm, "docker", "thinpool", state=state, size=Size.parse("50%VG"))


def test_a_pool_that_goes_takes_its_reserve_with_it():
    spec = PoolSpec(vg="docker", name="thinpool")
    steps, after = thin_pools.decide(WITH, spec, state="absent")
    assert actions(steps) == [
        "remove docker/thinpool_reserve, which was kept for the pool",
        "remove thin pool docker/thinpool",
    ]
    assert (list(after.volumes), after.group("docker").extents_free) == ([], 130 + 50 + 810)


def test_a_reserve_of_somebody_elses_stays_where_the_pool_goes():
    lvm = LvmState(groups=(GROUP,), volumes=(POOL, replace(KEPT, tags=())))
    steps, _after = thin_pools.decide(lvm, PoolSpec(vg="docker", name="thinpool"), state="absent")
    assert actions(steps) == ["remove thin pool docker/thinpool"]
