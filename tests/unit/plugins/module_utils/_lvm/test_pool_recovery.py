# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lvcreate and lvconvert leave when they are killed, captured on a guest, and the way from there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_spec, thin_pools
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState

WISH = pool_spec.PoolSpec(
    vg="docker",
    name="thinpool",
    size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    profile="docker-thinpool",
    threshold=80,
)
CREATE = (
    "create thin pool docker/thinpool: data 2047 extents (8.00 GiB), metadata 25 extents (100.00 MiB), "
    "chunk size 512.00 KiB, zeroing off, profile docker-thinpool"
)
MAKE_SPARE = "make the missing spare for metadata repair, along with docker/devicemapper.containers.spare"
REMOVE_MAKER = "remove docker/devicemapper.containers.spare, which has done its work"


def left(captured, state: str) -> LvmState:
    return LvmState.parse(captured(f"{state}.json"))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(
            "interrupted_create_spare_visible",
            ["remove docker/lvol0, left by an interrupted command", CREATE],
            id="lvcreate-before-the-pool",
        ),
        pytest.param(
            "interrupted_create_look_alike",
            ["remove docker/thinpool, left by an interrupted lvcreate", CREATE],
            id="lvcreate-a-volume-of-the-pools-name",
        ),
        pytest.param(
            "interrupted_convert_spare_visible",
            [
                "remove docker/lvol0, left by an interrupted command",
                MAKE_SPARE,
                REMOVE_MAKER,
                "activate thin pool docker/thinpool",
            ],
            id="lvconvert-before-the-spare-is-hidden",
        ),
        pytest.param(
            "interrupted_convert_parts_active",
            [
                "deactivate docker/thinpool_tmeta, left active by an interrupted command",
                "deactivate docker/thinpool_tdata, left active by an interrupted command",
                "activate thin pool docker/thinpool",
            ],
            id="lvconvert-before-the-pool-is-active",
        ),
    ],
)
def test_an_interrupted_run_is_finished(captured, state, expected):
    steps, after = thin_pools.decide(left(captured, state), WISH)
    assert actions(steps) == expected
    assert thin_pools.decide(after, WISH) == ([], after)
    pool = after.volume("docker", "thinpool")
    assert (pool.type, pool.active, pool.monitored, pool.low_water_mark) == ("thin-pool", True, True, 3275)
    assert after.spare("docker").size == pool.metadata_size
    # Nothing is lost of the group but what the pool and its spare take.
    taken = (pool.size + pool.metadata_size + after.spare("docker").size) // 4194304
    assert after.group("docker").extents_free == 2559 - taken


def test_a_volume_that_may_be_somebodys_is_not_taken_for_a_left_one(captured):
    report = left(captured, "interrupted_create_spare_visible")
    stray = report.volume("docker", "lvol0")
    for other in (
        report.with_group(replace(report.group("docker"), tags=())),
        report.with_volume(replace(stray, open=True)),
        report.with_volume(replace(stray, size=stray.size + 4194304)),
        report.with_volume(replace(stray, profile="")),
        report.without(volume=("docker", "lvol0")).with_volume(replace(stray, name="data")),
    ):
        steps, _after = thin_pools.decide(other, WISH)
        assert actions(steps) == [CREATE]


def test_a_look_alike_without_the_tag_is_neither_converted_nor_removed(captured):
    report = left(captured, "interrupted_create_look_alike")
    bare = report.with_group(replace(report.group("docker"), tags=()))
    untagged = bare.with_volume(replace(bare.volume("docker", "thinpool"), tags=()))
    with pytest.raises(thin_pools.RefusedError, match="neither converted nor removed"):
        thin_pools.decide(untagged, WISH)


def test_a_left_volume_is_found_beside_somebodys(captured):
    report = left(captured, "interrupted_create_spare_visible")
    stray = report.volume("docker", "lvol0")
    others = report.with_volume(replace(stray, profile="")).with_volume(replace(stray, name="lvol1", uuid="1"))
    steps, after = thin_pools.decide(others, WISH)
    assert actions(steps) == ["remove docker/lvol1, left by an interrupted command", CREATE]
    assert after.volume("docker", "lvol0")


def test_a_left_volume_without_a_profile_may_be_somebodys(captured):
    report = left(captured, "interrupted_create_spare_visible")
    report = report.with_volume(replace(report.volume("docker", "lvol0"), profile=""))
    with pytest.raises(
        thin_pools.RefusedError, match="'lvremove --yes docker/lvol0'; else .* 'lvrename docker lvol0 NAME'"
    ):
        thin_pools.decide(report, replace(WISH, profile=""))


def with_maker(report: LvmState, **made) -> LvmState:
    """Return the report with the small pool in it that the spare is made along with, as lvcreate leaves it."""
    maker = replace(
        report.volume("docker", "thinpool"),
        name="devicemapper.containers.spare",
        uuid="maker",
        size=4194304,
        metadata_size=4194304,
        tags=("devicemapper.containers",),
        profile="",
        data_volume="devicemapper.containers.spare_tdata",
        metadata_volume="devicemapper.containers.spare_tmeta",
    )
    return report.with_volume(replace(maker, **made))


LEFT_MAKER = "remove docker/devicemapper.containers.spare, left by an interrupted command"


@pytest.mark.parametrize(
    ("spare", "made", "expected"),
    [
        pytest.param("lvol1_pmspare", {}, [LEFT_MAKER], id="made"),
        pytest.param("", {"type": "linear"}, [LEFT_MAKER, MAKE_SPARE, REMOVE_MAKER], id="half-made"),
        pytest.param("", None, [MAKE_SPARE, REMOVE_MAKER], id="not-begun"),
    ],
)
def test_a_spare_whose_mending_was_interrupted_is_mended(captured, spare, made, expected):
    report = left(captured, "interrupted_convert_spare_visible")
    stray = report.volume("docker", "lvol0")
    report = report.without(volume=("docker", "lvol0"))
    if spare:
        report = report.with_volume(replace(stray, name=spare, hidden=True, active=False))
    if made is not None:
        report = with_maker(report, **made)
    steps, after = thin_pools.decide(report, WISH)
    assert actions(steps) == [*expected, "activate thin pool docker/thinpool"]
    assert after.spare("docker").size == after.volume("docker", "thinpool").metadata_size
    assert thin_pools.decide(after, WISH) == ([], after)


def test_a_spare_that_is_missing_in_a_group_of_others_is_their_affair(captured):
    report = left(captured, "interrupted_convert_parts_active").without(volume=("docker", "lvol0_pmspare"))
    steps, _after = thin_pools.decide(report.with_group(replace(report.group("docker"), tags=())), WISH)
    assert MAKE_SPARE not in actions(steps)


def test_without_room_for_another_spare_a_pool_goes_without(captured):
    report = left(captured, "interrupted_convert_spare_visible")
    full = report.with_group(replace(report.group("docker"), extents_free=25))
    steps, after = thin_pools.decide(full, WISH)
    assert actions(steps) == [
        "remove docker/lvol0, left by an interrupted command",
        "activate thin pool docker/thinpool",
    ]
    assert thin_pools.decide(after, WISH) == ([], after)


def test_what_the_mending_left_goes_with_the_pool(captured):
    report = with_maker(left(captured, "interrupted_convert_parts_active"))
    report = report.with_group(replace(report.group("docker"), tags=("devicemapper.containers",)))
    steps, after = thin_pools.decide(report, WISH, state="absent")
    assert actions(steps) == [
        "remove docker/devicemapper.containers.spare, left by an interrupted command",
        "remove thin pool docker/thinpool",
    ]
    assert after.volumes_of("docker") == []


def test_plain_volumes_that_are_both_inactive_are_refused_with_one_command(captured):
    report = LvmState.parse(captured("data_and_metadata.json"))
    for volume in report.volumes_of("docker"):
        report = report.with_volume(replace(volume, active=False))
    spec = replace(WISH, size=Size.parse("95%VG"))
    with pytest.raises(thin_pools.RefusedError, match="run 'lvchange -ay docker/thinpool docker/thinpoolmeta'"):
        thin_pools.decide(report, spec)


@pytest.mark.parametrize("state", ["no_table", "inactive_table", "suspended"])
def test_a_volume_that_is_active_and_cannot_be_read_is_not_read_but_refused_with_a_command(captured, state):
    report = left(captured, f"interrupted_create_{state}")
    assert [volume.name for volume in thin_pools.convertible(report, WISH)] == ["thinpool"]
    told = "'dmsetup clear docker-thinpoolmeta && lvchange --refresh docker/thinpoolmeta'"
    with pytest.raises(thin_pools.RefusedError, match=f"docker/thinpoolmeta is active but .* run {told}"):
        thin_pools.decide(report, WISH, signatures={"thinpool": ""})


DROP = "drop what an interrupted command loaded for thin pool docker/thinpool and did not take into use"
REFRESH = "refresh thin pool docker/thinpool, which an interrupted command left"
MONITOR = "monitor thin pool docker/thinpool"


@pytest.mark.parametrize(
    ("state", "before", "after_growing"),
    [
        ("interrupted_refresh_suspended", [f"{REFRESH} suspended"], []),
        ("interrupted_extend_larger_tables", [DROP, f"{REFRESH} suspended"], []),
        ("interrupted_activate_no_table", [f"{REFRESH} without a table"], [MONITOR]),
        ("interrupted_activate_inactive_table", [DROP, f"{REFRESH} without a table"], [MONITOR]),
    ],
)
def test_a_pool_that_is_active_and_not_served_is_refreshed_before_it_is_grown(captured, state, before, after_growing):
    spec = replace(WISH, size=Size.parse("90%VG"))
    steps, after = thin_pools.decide(left(captured, state), spec)
    assert actions(steps) == [
        *before,
        "grow data of thin pool docker/thinpool from 2047 to 2303 extents (9.00 GiB)",
        *after_growing,
    ]
    assert " ".join(steps[len(before) - 1].command) == "lvchange --yes --refresh docker/thinpool"
    pool = after.volume("docker", "thinpool")
    assert (pool.live, pool.low_water_mark) == (True, 3684)
    assert thin_pools.decide(after, spec) == ([], after)


def test_a_pool_that_shall_not_be_active_is_not_refreshed(captured):
    report = left(captured, "interrupted_refresh_suspended")
    steps, _after = thin_pools.decide(report, replace(WISH, active=False))
    assert actions(steps) == ["deactivate thin pool docker/thinpool"]


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("interrupted_extend_larger_tables", {"docker-thinpool", "docker-thinpool_tdata"}),
        ("interrupted_activate_inactive_table", {"docker-thinpool"}),
    ],
)
def test_tables_that_were_loaded_and_not_used_are_dropped_where_they_are(captured, state, names):
    steps, after = thin_pools.decide(left(captured, state), WISH)
    assert steps[0].command[:2] == ("dmsetup", "clear")
    assert set(steps[0].command[2:]) == names
    assert not any(volume.inactive_table for volume in after.volumes)
    assert thin_pools.decide(after, WISH) == ([], after)


def test_a_table_that_was_loaded_and_not_used_is_dropped_from_a_pool_in_use_too(captured):
    report = left(captured, "pool")
    report = report.with_volume(replace(report.volume("docker", "thinpool"), low_water_mark=3889))
    report = report.with_volume(replace(report.volume("docker", "thinpool_tmeta"), inactive_table=True))
    steps, after = thin_pools.decide(report, WISH)
    assert [(step.action, " ".join(step.command)) for step in steps] == [(DROP, "dmsetup clear docker-thinpool_tmeta")]
    assert thin_pools.decide(after, WISH) == ([], after)
