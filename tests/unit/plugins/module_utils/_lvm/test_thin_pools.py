# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import thin_pools
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG, LogicalVolume
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import PoolSpec

EXTENT = 4194304
GIB = 1024**3
DEFAULTS = PoolSpec(
    vg="docker",
    name="thinpool",
    size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    profile="docker-thinpool",
    threshold=80,
)
MANUAL = replace(DEFAULTS, size=Size.parse("95%VG"))
BARE = PoolSpec(vg="docker", name="thinpool")  # asks for nothing but a pool that is active and monitored


def as_it_is(report):
    return report


def in_our_group(report):
    group = report.group("docker")
    return report.with_group(replace(group, tags=(OWNER_TAG,)))


def with_volume(name="thinpool", **changes):
    """Return what changes fields of one volume in a report."""
    return lambda report: report.with_volume(replace(report.volume("docker", name), **changes))


def without_volume(name):
    """Return what takes a plain volume out of a report and gives its extents back."""

    def change(report):
        group = report.group("docker")
        freed = report.volume("docker", name).size // EXTENT
        return report.without(volume=("docker", name)).with_group(
            replace(group, extents_free=group.extents_free + freed)
        )

    return change


def with_data_of_metadata_size(report):
    """Return what an lvcreate that was killed leaves: a plain volume with the pool's name and the metadata's size."""
    volume, group = report.volume("docker", "thinpool"), report.group("docker")
    return report.with_volume(replace(volume, size=25 * EXTENT)).with_group(replace(group, extents_free=2559 - 25))


CREATE = (
    "create thin pool docker/thinpool: data 2047 extents (8.00 GiB), metadata 25 extents (100.00 MiB), "
    "chunk size 512.00 KiB, zeroing off, profile docker-thinpool",
    "lvcreate --yes --type thin-pool --name thinpool --extents 2047 --poolmetadatasize "
    "104857600b --poolmetadataspare y "
    "--chunksize 524288b --zero n --metadataprofile docker-thinpool --addtag devicemapper.containers docker",
)
CREATE_PLAIN = (
    "create thin pool docker/thinpool: data 2047 extents (8.00 GiB), metadata 25 extents (100.00 MiB), "
    "chunk size 512.00 KiB, zeroing off",
    "lvcreate --yes --type thin-pool --name thinpool --extents 2047 --poolmetadatasize "
    "104857600b --poolmetadataspare y "
    "--chunksize 524288b --zero n --addtag devicemapper.containers docker",
)
CONVERT = (
    "convert docker/thinpool and docker/thinpoolmeta to a thin pool: data 2431 extents (9.50 GiB), "
    "metadata 25 extents (100.00 MiB), chunk size 512.00 KiB, zeroing off, profile docker-thinpool",
    "lvconvert --yes --type thin-pool --poolmetadata docker/thinpoolmeta --chunksize 524288b --zero n "
    "--metadataprofile docker-thinpool docker/thinpool",
)
ATTACH = (
    "attach profile docker-thinpool to thin pool docker/thinpool",
    "lvchange --yes --metadataprofile docker-thinpool docker/thinpool",
)
REFRESH = (
    "refresh thin pool docker/thinpool, so that the kernel's low water mark is 3889 chunks",
    "lvchange --yes --refresh docker/thinpool",
)
MONITOR = ("monitor thin pool docker/thinpool", "lvchange --yes --monitor y docker/thinpool")
UNMONITOR = ("no longer monitor thin pool docker/thinpool", "lvchange --yes --monitor n docker/thinpool")
ACTIVATE = ("activate thin pool docker/thinpool", "lvchange --yes --activate y docker/thinpool")
DEACTIVATE = ("deactivate thin pool docker/thinpool", "lvchange --yes --activate n docker/thinpool")
ERROR_WHEN_FULL = (
    "make thin pool docker/thinpool error writes when it is full",
    "lvchange --yes --errorwhenfull y docker/thinpool",
)
GROW_METADATA = (
    "grow metadata of thin pool docker/thinpool from 25 to 51 extents (204.00 MiB)",
    "lvextend --yes --poolmetadatasize +109051904b docker/thinpool",
)
GROW_DATA = (
    "grow data of thin pool docker/thinpool from 2431 to 4094 extents (15.99 GiB)",
    "lvextend --yes --extents 4094 docker/thinpool",
)

# What becomes of a state: the sentences that a user reads, and the commands behind them.
CASES = [
    pytest.param("group", as_it_is, DEFAULTS, [CREATE], id="create"),
    pytest.param("group", as_it_is, replace(DEFAULTS, profile=None), [CREATE_PLAIN], id="create-without-profile"),
    pytest.param("group", as_it_is, replace(DEFAULTS, profile=""), [CREATE_PLAIN], id="create-with-no-profile"),
    pytest.param(
        "group",
        as_it_is,
        replace(BARE, size=Size.parse("1g")),
        [
            (
                "create thin pool docker/thinpool: data 256 extents (1.00 GiB), metadata 25 extents (100.00 MiB), "
                "chunk size 512.00 KiB, zeroing off",
                "lvcreate --yes --type thin-pool --name thinpool --extents 256 --poolmetadatasize 104857600b "
                "--poolmetadataspare y --chunksize 524288b --zero n --addtag devicemapper.containers docker",
            )
        ],
        id="create-with-only-a-size",
    ),
    pytest.param(
        "group",
        as_it_is,
        replace(BARE, size=Size.parse("1g"), metadata_size=Size.parse("2m"), chunk_size=65536, zero=True),
        [
            (
                "create thin pool docker/thinpool: data 256 extents (1.00 GiB), metadata 1 extents (4.00 MiB), "
                "chunk size 64.00 KiB, zeroing on",
                "lvcreate --yes --type thin-pool --name thinpool --extents 256 --poolmetadatasize 4194304b "
                "--poolmetadataspare y --chunksize 65536b --zero y --addtag devicemapper.containers docker",
            )
        ],
        id="create-with-smallest-chunks-and-zeroing",
    ),
    pytest.param(
        "group",
        as_it_is,
        replace(DEFAULTS, when_full="error", monitor=False),
        [CREATE, ERROR_WHEN_FULL, UNMONITOR],
        id="create-that-errors-and-is-not-monitored",
    ),
    pytest.param("group", as_it_is, replace(DEFAULTS, active=False), [CREATE, DEACTIVATE], id="create-inactive"),
    pytest.param("data_and_metadata", as_it_is, MANUAL, [CONVERT], id="convert-the-manuals-volumes"),
    pytest.param("data_and_metadata", as_it_is, DEFAULTS, [CONVERT], id="convert-what-is-larger-than-wished"),
    pytest.param(
        "data_and_metadata",
        as_it_is,
        replace(MANUAL, size=Size.parse("96%VG")),
        [
            CONVERT,
            (
                "grow data of thin pool docker/thinpool from 2431 to 2456 extents (9.59 GiB)",
                "lvextend --yes --extents 2456 docker/thinpool",
            ),
        ],
        id="convert-and-grow",
    ),
    pytest.param(
        "data_volume",
        as_it_is,
        MANUAL,
        [
            (
                "create volume docker/thinpoolmeta of 25 extents (100.00 MiB)",
                "lvcreate --yes --wipesignatures y --name thinpoolmeta --extents 25 docker",
            ),
            CONVERT,
        ],
        id="convert-with-the-metadata-missing",
    ),
    pytest.param(
        "data_and_metadata",
        without_volume("thinpool"),
        MANUAL,
        [
            (
                "create volume docker/thinpool of 2431 extents (9.50 GiB)",
                "lvcreate --yes --wipesignatures y --name thinpool --extents 2431 docker",
            ),
            CONVERT,
        ],
        id="convert-with-the-data-missing",
    ),
    pytest.param(
        "data_volume",
        lambda report: in_our_group(with_data_of_metadata_size(report)),
        DEFAULTS,
        [("remove docker/thinpool, left by an interrupted lvcreate", "lvremove --yes docker/thinpool"), CREATE],
        id="resume-an-interrupted-lvcreate",
    ),
    pytest.param(
        "data_volume",
        lambda report: in_our_group(with_data_of_metadata_size(report)),
        replace(DEFAULTS, size=Size.parse("100%FREE")),
        [
            ("remove docker/thinpool, left by an interrupted lvcreate", "lvremove --yes docker/thinpool"),
            (
                CREATE[0].replace("2047 extents (8.00 GiB)", "2509 extents (9.80 GiB)"),
                CREATE[1].replace("2047", "2509"),
            ),
        ],
        id="resume-with-all-that-is-free",
    ),
    pytest.param("data_and_metadata", as_it_is, replace(MANUAL, chunk_size=None), [CONVERT], id="convert-by-default"),
    pytest.param("pool_without_profile", as_it_is, MANUAL, [ATTACH, REFRESH], id="attach-and-arm"),
    pytest.param("pool_not_armed", as_it_is, MANUAL, [REFRESH], id="arm"),
    pytest.param("pool_not_monitored", as_it_is, MANUAL, [MONITOR], id="monitor"),
    pytest.param("pool", as_it_is, replace(MANUAL, monitor=False), [UNMONITOR], id="no-longer-monitor"),
    pytest.param("pool", as_it_is, replace(MANUAL, active=False), [DEACTIVATE], id="deactivate"),
    pytest.param("pool_inactive", as_it_is, MANUAL, [ACTIVATE], id="activate"),
    pytest.param(
        "pool_inactive",
        as_it_is,
        replace(MANUAL, monitor=False),
        [ACTIVATE, UNMONITOR],
        id="activate-and-not-monitor",
    ),
    pytest.param("pool", as_it_is, replace(MANUAL, when_full="error"), [ERROR_WHEN_FULL], id="error-when-full"),
    pytest.param(
        "pool",
        as_it_is,
        replace(MANUAL, zero=True),
        [("switch zeroing of thin pool docker/thinpool on", "lvchange --yes --zero y docker/thinpool")],
        id="zeroing",
    ),
    pytest.param(
        "pool",
        as_it_is,
        replace(MANUAL, profile=""),
        [("detach the profile of thin pool docker/thinpool", "lvchange --yes --detachprofile docker/thinpool")],
        id="detach",
    ),
    pytest.param(
        "pool",
        as_it_is,
        replace(MANUAL, profile="later", threshold=90),
        [
            (
                "attach profile later to thin pool docker/thinpool",
                "lvchange --yes --metadataprofile later docker/thinpool",
            ),
            (
                "refresh thin pool docker/thinpool, so that the kernel's low water mark is 1944 chunks",
                "lvchange --yes --refresh docker/thinpool",
            ),
        ],
        id="another-profile",
    ),
    pytest.param(
        "pool",
        as_it_is,
        replace(MANUAL, threshold=100),
        [
            (
                "refresh thin pool docker/thinpool, so that the kernel's low water mark is 0 chunks",
                "lvchange --yes --refresh docker/thinpool",
            )
        ],
        id="a-threshold-of-100-disarms",
    ),
    pytest.param("pool_and_second_disk", as_it_is, DEFAULTS, [GROW_METADATA, GROW_DATA], id="grow-with-a-second-disk"),
    pytest.param(
        "pool_and_second_disk",
        with_volume(health="out_of_data"),
        DEFAULTS,
        [GROW_METADATA, GROW_DATA],
        id="grow-a-full-pool",
    ),
    pytest.param(
        "pool_and_second_disk", as_it_is, replace(DEFAULTS, metadata_size=None), [GROW_DATA], id="grow-data-alone"
    ),
    pytest.param(
        "pool_and_second_disk", as_it_is, replace(DEFAULTS, size=None), [GROW_METADATA], id="grow-metadata-alone"
    ),
    pytest.param(
        "pool_and_second_disk",
        with_volume(profile="", low_water_mark=0),
        DEFAULTS,
        [
            GROW_METADATA,
            GROW_DATA,
            ATTACH,
            (
                "refresh thin pool docker/thinpool, so that the kernel's low water mark is 6550 chunks",
                "lvchange --yes --refresh docker/thinpool",
            ),
        ],
        id="grow-and-attach",
    ),
    pytest.param(
        "pool_and_second_disk",
        with_volume(data_percent=92.0),
        replace(DEFAULTS, size=None, metadata_size=None),
        [
            (
                "extend thin pool docker/thinpool by its profile now: 92.00 percent of it are in use",
                "lvextend --yes --use-policies docker/thinpool",
            )
        ],
        id="overdue-with-a-second-disk",
    ),
    pytest.param(
        "pool_and_second_disk",
        with_volume(data_percent=99.0),
        DEFAULTS,
        [GROW_METADATA, GROW_DATA],
        id="no-longer-overdue-once-it-is-grown",
    ),
]
SATISFIED = [
    pytest.param("pool", with_volume(data_percent=92.0), MANUAL, id="overdue-without-room"),
    pytest.param(
        "pool_and_second_disk",
        with_volume(data_percent=80.0),
        replace(DEFAULTS, size=None, metadata_size=None),
        id="not-due-at-the-threshold-itself",
    ),
    pytest.param("pool", as_it_is, MANUAL, id="as-wished"),
    pytest.param("pool", as_it_is, DEFAULTS, id="larger-than-wished"),
    pytest.param(
        "pool", as_it_is, replace(MANUAL, size=Size.parse("1g"), metadata_size=Size.parse("2m")), id="never-shrinks"
    ),
    pytest.param("pool", as_it_is, BARE, id="nothing-asked"),
    pytest.param("pool_in_use_by_docker", as_it_is, replace(DEFAULTS, threshold=52), id="extended-by-itself"),
    pytest.param("pool_inactive", as_it_is, replace(MANUAL, active=False), id="inactive-as-wished"),
    pytest.param("pool_not_monitored", as_it_is, replace(MANUAL, monitor=False), id="not-monitored-as-wished"),
    pytest.param("pool_and_second_disk", as_it_is, BARE, id="grows-only-when-told"),
    pytest.param("pool", with_volume(when_full="error"), MANUAL, id="when-full-left-alone"),
]


@pytest.mark.parametrize(("state", "change", "spec", "expected"), CASES)
def test_a_wish_becomes_steps(report, state, change, spec, expected):
    steps, _after = thin_pools.decide(change(report(state)), spec)
    assert [(step.action, " ".join(step.command)) for step in steps] == expected


@pytest.mark.parametrize(("state", "change", "spec", "expected"), CASES)
def test_what_is_foretold_needs_nothing_more(report, state, change, spec, expected):
    steps, after = thin_pools.decide(change(report(state)), spec)
    assert steps
    again, still = thin_pools.decide(after, spec)
    assert actions(again) == []
    assert still == after


@pytest.mark.parametrize(("state", "change", "spec"), SATISFIED)
def test_a_pool_as_wished_is_left_alone(report, state, change, spec):
    before = change(report(state))
    assert thin_pools.decide(before, spec) == ([], before)


def test_an_inactive_pool_is_activated(report):
    steps, after = thin_pools.decide(report("pool_inactive"), MANUAL)
    assert [(step.action, " ".join(step.command)) for step in steps] == [ACTIVATE]
    pool = after.volume("docker", "thinpool")
    # activation/monitoring=1: activating monitors.
    assert (pool.active, pool.monitored, pool.low_water_mark) == (True, True, 3889)
    assert thin_pools.decide(after, MANUAL) == ([], after)


def told(pool):
    """Return what a foretold pool can be held to: all but what LVM or the kernel make up."""
    return {
        "size": pool.size,
        "metadata_size": pool.metadata_size,
        "chunk_size": pool.chunk_size,
        "zero": pool.zero,
        "discards": pool.discards,
        "when_full": pool.when_full,
        "profile": pool.profile,
        "active": pool.active,
        "monitored": pool.monitored,
        "low_water_mark": pool.low_water_mark,
        "attributes": pool.attributes,
        "data_percent": pool.data_percent,
        "data_volume": pool.data_volume,
        "metadata_volume": pool.metadata_volume,
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param("group", "pool", id="created"),
        pytest.param("data_volume", "pool", id="converted-from-one-volume"),
        pytest.param("data_and_metadata", "pool", id="converted"),
        pytest.param("pool_without_profile", "pool", id="attached"),
        pytest.param("pool_not_armed", "pool", id="armed"),
        pytest.param("pool_not_monitored", "pool", id="monitored"),
    ],
)
def test_the_foretold_pool_is_the_one_that_was_captured(report, state, expected):
    _steps, after = thin_pools.decide(report(state), MANUAL)
    real = report(expected)
    assert told(after.volume("docker", "thinpool")) == told(real.volume("docker", "thinpool"))
    assert after.group("docker").extents_free == real.group("docker").extents_free == 78
    assert after.spare("docker").size == real.spare("docker").size
    assert after.volume("docker", "thinpoolmeta") is None


def test_a_foretold_pool_carries_the_tag_only_where_it_was_made_here(report):
    _steps, created = thin_pools.decide(report("group"), MANUAL)
    _steps, converted = thin_pools.decide(report("data_and_metadata"), MANUAL)
    assert created.volume("docker", "thinpool").tags == (OWNER_TAG,)
    assert converted.volume("docker", "thinpool").tags == ()


# Data, metadata and free extents once a pool is made on an empty group of 2559; the spare is as large as the metadata.
@pytest.mark.parametrize(
    ("size", "metadata_size", "expected"),
    [
        pytest.param("80%VG", "1%VG", (2047, 25, 462), id="the-defaults"),
        pytest.param("95%VG", "1%VG", (2431, 25, 78), id="the-manual"),
        pytest.param("100%FREE", "1%VG", (2509, 25, 0), id="all-that-is-free"),
        pytest.param("60%FREE", "1%VG", (1505, 25, 1004), id="a-share-of-what-is-free"),
        pytest.param("100%FREE", "1%FREE", (2509, 25, 0), id="both-of-what-is-free"),
        pytest.param("100%FREE", "2m", (2557, 1, 0), id="smallest-metadata"),
        pytest.param("1g", "0.01%VG", (256, 1, 2301), id="a-share-too-small-for-metadata"),
        pytest.param("5g", "99m", (1280, 25, 1229), id="rounded-up"),
    ],
)
def test_a_pool_gets_its_share_and_keeps_it(report, size, metadata_size, expected):
    spec = replace(DEFAULTS, size=Size.parse(size), metadata_size=Size.parse(metadata_size))
    _steps, after = thin_pools.decide(report("group"), spec)
    pool = after.volume("docker", "thinpool")
    found = (pool.size // EXTENT, pool.metadata_size // EXTENT, after.group("docker").extents_free)
    assert found == expected
    assert found[0] + 2 * found[1] + found[2] == 2559
    assert thin_pools.decide(after, spec)[0] == []


def test_a_share_of_a_large_group_stops_at_the_largest_metadata(report):
    found = report("group")
    large = found.with_group(replace(found.group("docker"), extents=1000000, extents_free=1000000))
    _steps, after = thin_pools.decide(large, DEFAULTS)
    assert after.volume("docker", "thinpool").metadata_size == 4048 * EXTENT  # 15.81 GiB; 1 % would be 39 GiB
    assert thin_pools.decide(after, DEFAULTS)[0] == []


def test_all_that_is_free_follows_a_second_disk(report):
    spec = replace(DEFAULTS, size=Size.parse("100%FREE"))
    steps, after = thin_pools.decide(report("pool_and_second_disk"), spec)
    # 5118 without twice the 51 extents that metadata and spare have then.
    assert steps[-1].action.startswith("grow data of thin pool docker/thinpool from 2431 to 5016 extents")
    assert after.group("docker").extents_free == 0
    assert thin_pools.decide(after, spec)[0] == []


def test_all_that_is_free_is_stable_where_lvm_did_not_grow_the_spare(report):
    """Up to 2.03.16 the spare stays small when metadata grows; its room stays free."""
    spec = replace(DEFAULTS, size=Size.parse("100%FREE"))
    _steps, after = thin_pools.decide(report("pool_and_second_disk"), spec)
    spare, group = after.spare("docker"), after.group("docker")
    as_2_03_16 = after.with_volume(replace(spare, size=25 * EXTENT)).with_group(replace(group, extents_free=26))
    assert thin_pools.decide(as_2_03_16, spec)[0] == []


@pytest.mark.parametrize(
    ("state", "spec"),
    [
        pytest.param("group", DEFAULTS, id="create"),
        pytest.param("data_volume", MANUAL, id="convert"),
        pytest.param("data_and_metadata", replace(MANUAL, size=Size.parse("96%VG")), id="convert-and-grow"),
        pytest.param("pool_and_second_disk", DEFAULTS, id="grow"),
        pytest.param("pool_and_second_disk", replace(DEFAULTS, size=Size.parse("100%FREE")), id="grow-to-all"),
    ],
)
def test_the_foretold_extents_add_up(report, state, spec):
    _steps, after = thin_pools.decide(report(state), spec)
    pool, group, spare = after.volume("docker", "thinpool"), after.group("docker"), after.spare("docker")
    assert (pool.size + pool.metadata_size + spare.size) // EXTENT + group.extents_free == group.extents


@pytest.mark.parametrize(
    ("profile", "mark"),
    [
        pytest.param(None, 6550, id="left-alone"),  # the attached one's 80 arms the new table
        pytest.param("docker-thinpool", 6550, id="the-same"),
        pytest.param("", 0, id="detached"),
    ],
)
def test_growing_arms_the_pool_by_the_attached_profile(report, profile, mark):
    spec = replace(DEFAULTS, profile=profile)
    _steps, after = thin_pools.decide(report("pool_and_second_disk"), spec)
    assert after.volume("docker", "thinpool").low_water_mark == mark


def test_growing_arms_the_pool_for_its_new_size(report):
    _steps, after = thin_pools.decide(report("pool_and_second_disk"), DEFAULTS)
    assert after.volume("docker", "thinpool").low_water_mark == 6550  # 20 percent of 32752 chunks


def test_a_grown_pool_leaves_room_for_its_spare(report):
    _steps, after = thin_pools.decide(report("pool_and_second_disk"), DEFAULTS)
    # 2637 free; 1663 more of data, 26 of metadata and 26 of the spare that newer LVMs grow with it.
    assert after.group("docker").extents_free == 922


@pytest.mark.parametrize(
    ("state", "change", "spec", "message"),
    [
        pytest.param("blank", as_it_is, DEFAULTS, r"volume group docker does not exist: .*lvm_vg", id="no-group"),
        pytest.param("group", as_it_is, BARE, "thin pool docker/thinpool does not exist: set size", id="no-size"),
        pytest.param(
            "group",
            as_it_is,
            replace(DEFAULTS, size=Size.parse("100%VG")),
            r"docker/thinpool cannot have 100%VG \(2559 extents\) of data and 25 extents of metadata: "
            r"that takes 2609 more "
            r"extents \(10.19 GiB\), LVM's spare .* included, and volume group docker has 2559 free \(10.00 GiB\)\. "
            "Lower size or metadata_size, or add a device",
            id="all-of-the-group-with-no-room-for-metadata",
        ),
        pytest.param(
            "pool",
            as_it_is,
            replace(MANUAL, size=Size.parse("12g")),
            r"cannot have 12g \(3072 extents\) of data .* takes 641 more extents .* has 78 free",
            id="no-room-to-grow",
        ),
        pytest.param(
            "data_and_metadata",
            as_it_is,
            replace(MANUAL, size=Size.parse("99%VG")),
            r"cannot have 99%VG \(2533 extents\) .* takes 102 more extents .* has 78 free",
            id="no-room-to-convert-and-grow",
        ),
        pytest.param(
            "group",
            as_it_is,
            replace(DEFAULTS, size=Size.parse("4m"), chunk_size=8 * 1024**2),
            "docker/thinpool would be smaller than one chunk of 8.00 MiB: raise size",
            id="smaller-than-a-chunk",
        ),
        pytest.param(
            "pool",
            as_it_is,
            replace(MANUAL, chunk_size=65536),
            "docker/thinpool has chunks of 512.00 KiB, and .* cannot be changed to 64.00 KiB: set chunk_size to 512k",
            id="another-chunk-size",
        ),
        pytest.param(
            "data_volume",
            as_it_is,
            DEFAULTS,
            "docker/thinpool is a plain volume of 9.50 GiB, and not of the size .* neither converted nor removed.*"
            "'lvremove docker/thinpool'.*another name",
            id="a-volume-of-another-size",
        ),
        pytest.param(
            "data_and_metadata",
            without_volume("thinpool"),
            replace(MANUAL, metadata_size=Size.parse("2%VG")),
            "docker/thinpoolmeta is a plain volume of 100.00 MiB, and not of the size",
            id="metadata-of-another-size",
        ),
        pytest.param(
            "data_volume",
            with_data_of_metadata_size,
            DEFAULTS,
            "docker/thinpool is a plain volume of 100.00 MiB, .* neither converted nor removed",
            id="like-an-interrupted-lvcreate-but-not-ours",
        ),
        pytest.param(
            "data_and_metadata",
            with_volume(active=False),
            MANUAL,
            "docker/thinpool is not active, .* run 'lvchange -ay docker/thinpool'",
            id="convert-an-inactive-volume",
        ),
        pytest.param(
            "data_and_metadata",
            with_volume("thinpoolmeta", open=True),
            MANUAL,
            "docker/thinpoolmeta is in use .* not converted",
            id="convert-a-mounted-volume",
        ),
        pytest.param(
            "data_and_metadata",
            with_volume(type="raid1"),
            MANUAL,
            "docker/thinpool is a volume of type raid1, not a plain one: choose another name",
            id="convert-a-mirror",
        ),
        pytest.param(
            "data_and_metadata",
            lambda report: report.with_group(replace(report.group("docker"), extents_free=10)),
            MANUAL,
            r"docker/thinpool cannot have .* takes 25 more extents .*LVM's spare .* included, .* has 10 free",
            id="no-room-for-the-spare-of-a-conversion",
        ),
        pytest.param(
            "group",
            lambda report: report.with_group(replace(report.group("docker"), extent_size=1024**3)),
            replace(DEFAULTS, size=Size.parse("100g"), metadata_size=Size.parse("15.8g")),
            "metadata_size of docker/thinpool is 16.00 GiB in whole extents of 1.00 GiB, more than the 15.8g",
            id="metadata-too-large-in-whole-extents",
        ),
        pytest.param(
            "pool_and_second_disk",
            with_volume(check_needed=True),
            DEFAULTS,
            r"docker/thinpool is not well \(its metadata needs a check\) and cannot grow: see lvmthin",
            id="grow-a-pool-that-needs-a-check",
        ),
        pytest.param(
            "pool_and_second_disk",
            with_volume(health="metadata_read_only"),
            DEFAULTS,
            r"docker/thinpool is not well \(metadata_read_only\)",
            id="grow-a-read-only-pool",
        ),
        pytest.param(
            "pool_in_use_by_docker",
            as_it_is,
            replace(DEFAULTS, threshold=52, active=False),
            "docker/thinpool is in use: stop Docker or containerd",
            id="deactivate-in-use",
        ),
    ],
)
def test_a_wish_that_cannot_or_must_not_be_is_refused(report, state, change, spec, message):
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(change(report(state)), spec)
    assert re.search(message, str(refusal.value))


@pytest.mark.parametrize(
    ("group", "message"),
    [
        pytest.param("exported_group", "ex is exported", id="exported"),
        pytest.param("foreign_group", "other-host", id="foreign"),
    ],
)
def test_a_pool_is_not_made_in_a_group_of_others(report, group, message):
    name = {"exported_group": "ex", "foreign_group": "foreign"}[group]
    with pytest.raises(RefusedError, match=message):
        thin_pools.decide(report(group), replace(DEFAULTS, vg=name))


def test_a_pool_is_made_in_a_group_with_the_hosts_system_id(report):
    found = replace(report("foreign_group"), system_id="other-host")
    steps, _after = thin_pools.decide(found, replace(DEFAULTS, vg="foreign"))
    assert actions(steps)[0].startswith("create thin pool foreign/thinpool")


def test_metadata_too_small_for_a_pool_is_not_converted(report):
    found = with_volume("thinpoolmeta", size=1024**2)(report("data_and_metadata"))
    small_extents = found.with_group(
        replace(found.group("docker"), extent_size=1024**2, extents=10236, extents_free=500)
    )
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(small_extents, replace(MANUAL, metadata_size=None))
    assert str(refusal.value).startswith("docker/thinpoolmeta has 1.00 MiB, too little for a pool's metadata (2 MiB)")
    assert "'lvextend -L 2m docker/thinpoolmeta'" in str(refusal.value)


def test_what_a_volume_holds_is_not_destroyed(report):
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(
            report("data_and_metadata"), MANUAL, signatures={"thinpool": "ext4 at 0x438", "thinpoolmeta": ""}
        )
    assert str(refusal.value).startswith("docker/thinpool holds ext4 at 0x438: converting it would destroy that.")
    assert "wipefs --all /dev/docker/thinpool" in str(refusal.value)


def test_an_interrupted_lvcreate_that_holds_something_is_not_removed(report):
    left = in_our_group(with_data_of_metadata_size(report("data_volume")))
    with pytest.raises(RefusedError, match="holds xfs at 0x0"):
        thin_pools.decide(left, DEFAULTS, signatures={"thinpool": "xfs at 0x0"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"chunk_size": 65535}, "chunk_size of docker/thinpool must be .* 64k to 1g, not 64.00 KiB .65535", id="odd"
        ),
        pytest.param({"chunk_size": 32768}, r"64k to 1g, not 32.00 KiB \(32768 bytes\)", id="chunk-too-small"),
        pytest.param({"chunk_size": 2 * 1024**3}, "64k to 1g, not 2.00 GiB", id="chunk-too-large"),
        pytest.param({"chunk_size": 0}, "64k to 1g, not 0 B", id="no-chunk"),
        pytest.param(
            {"metadata_size": Size.parse("1m")},
            "metadata_size of docker/thinpool must be 2m to 15.8g, not 1.00 MiB",
            id="small",
        ),
        pytest.param(
            {"metadata_size": Size.parse("16g")}, "must be 2m to 15.8g, not 16.00 GiB: LVM would use", id="large"
        ),
        pytest.param({"name": "-pool"}, "'-pool' is not a name for a thin pool", id="hyphen-first"),
        pytest.param(
            {"name": "thin pool"}, "'thin pool' is not a name for a thin pool: LVM allows letters", id="blank"
        ),
        pytest.param({"name": "docker/thinpool"}, "'docker/thinpool' is not a name", id="slash"),
        pytest.param({"name": ""}, "'' is not a name", id="empty"),
        pytest.param({"name": ".."}, "'..' is not a name", id="dots"),
        pytest.param({"name": "a" * 128}, "at most 127", id="long"),
        pytest.param({"name": "a" * 115}, "too long together: the kernel allows 127", id="long-together"),
        pytest.param({"name": "snapshot1"}, "LVM keeps such names", id="reserved-beginning"),
        pytest.param({"name": "pvmove0"}, "LVM keeps such names", id="reserved-pvmove"),
        pytest.param(
            {"name": "pool_tdata"},
            "'pool_tdata' is not a name for a thin pool: LVM keeps such names",
            id="reserved-part",
        ),
        pytest.param(
            {"metadata_name": "pool_tmeta"}, "'pool_tmeta' is not a name for a pool metadata volume", id="metadata-name"
        ),
        pytest.param({"metadata_name": "thinpool"}, "needs a name of its own, not 'thinpool'", id="same-name-twice"),
    ],
)
def test_what_lvm_forbids_or_would_change_is_refused_first(report, changes, message):
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(report("group"), replace(DEFAULTS, **changes))
    assert re.search(message, str(refusal.value))


def test_a_pool_of_one_chunk_is_made(report):
    steps, _after = thin_pools.decide(report("group"), replace(DEFAULTS, size=Size.parse("8m"), chunk_size=8 * 1024**2))
    assert steps[0].action.startswith("create thin pool docker/thinpool: data 2 extents (8.00 MiB)")


def test_the_metadata_volume_is_found_under_another_name(report):
    found = report("data_and_metadata")
    volume = found.volume("docker", "thinpoolmeta")
    renamed = found.without(volume=("docker", "thinpoolmeta")).with_volume(replace(volume, name="meta"))
    steps, after = thin_pools.decide(renamed, replace(MANUAL, metadata_name="meta"))
    assert steps[0].action.startswith("convert docker/thinpool and docker/meta to a thin pool")
    assert "docker/meta" in steps[0].command
    assert after.volume("docker", "meta") is None


@pytest.mark.parametrize(
    ("state", "names"),
    [
        pytest.param("group", [], id="nothing"),
        pytest.param("data_volume", ["thinpool"], id="one"),
        pytest.param("data_and_metadata", ["thinpool", "thinpoolmeta"], id="both"),
        pytest.param("pool", [], id="a-pool-already"),
    ],
)
def test_what_would_be_converted_is_looked_at(report, state, names):
    assert [volume.name for volume in thin_pools.convertible(report(state), MANUAL)] == names


def test_an_inactive_volume_cannot_be_looked_at(report):
    found = with_volume("thinpoolmeta", active=False)(report("data_and_metadata"))
    assert [volume.name for volume in thin_pools.convertible(found, MANUAL)] == ["thinpool"]


REMOVE = ("remove thin pool docker/thinpool", "lvremove --yes docker/thinpool")


@pytest.mark.parametrize(
    ("state", "change", "expected"),
    [
        pytest.param("blank", as_it_is, [], id="no-group"),
        pytest.param("group", as_it_is, [], id="no-pool"),
        pytest.param("pool", with_volume(tags=(OWNER_TAG,)), [REMOVE], id="tagged-pool"),
        pytest.param("pool", in_our_group, [REMOVE], id="in-our-group"),
        pytest.param("pool_in_use_by_docker", with_volume(open=False), [REMOVE], id="once-docker-is-stopped"),
    ],
)
def test_a_pool_of_ours_is_removed(report, state, change, expected):
    steps, after = thin_pools.decide(change(report(state)), BARE, state="absent")
    assert [(step.action, " ".join(step.command)) for step in steps] == expected
    assert after.volume("docker", "thinpool") is None
    assert thin_pools.decide(after, BARE, state="absent")[0] == []


@pytest.mark.parametrize("state", ["pool", "pool_inactive", "pool_in_use_by_docker", "pool_and_second_disk"])
def test_a_removed_pool_gives_everything_back(report, state):
    ours = in_our_group(with_volume(open=False)(report(state)))
    _steps, after = thin_pools.decide(ours, BARE, state="absent")
    assert after.volumes_of("docker") == []
    assert after.group("docker").extents_free == after.group("docker").extents


def test_the_spare_stays_with_another_pool(report):
    ours = in_our_group(report("pool"))
    pool = ours.volume("docker", "thinpool")
    other = replace(pool, name="other", data_volume="other_tdata", metadata_volume="other_tmeta", uuid="other")
    _steps, after = thin_pools.decide(ours.with_volume(other), BARE, state="absent")
    assert after.spare("docker").size == 25 * EXTENT
    assert after.group("docker").extents_free == 2559 - 25


@pytest.mark.parametrize(
    ("state", "change", "message"),
    [
        pytest.param(
            "pool", as_it_is, "was not made by this collection .*lvchange --addtag devicemapper.containers", id="no-tag"
        ),
        pytest.param("pool", with_volume(tags=("mine",)), "is not removed; if it may go, say so", id="another-tag"),
        pytest.param(
            "pool_in_use_by_docker", as_it_is, "docker/thinpool is in use: stop Docker or containerd first", id="in-use"
        ),
        pytest.param(
            "data_volume",
            in_our_group,
            "^docker/thinpool is a volume of type linear, not a thin pool, .*'lvremove docker/thinpool'",
            id="no-pool",
        ),
    ],
)
def test_a_pool_of_others_or_in_use_is_not_removed(report, state, change, message):
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(change(report(state)), BARE, state="absent")
    assert re.search(message, str(refusal.value))


def with_thin_volumes(*names, pool="thinpool"):
    """Return what puts LVM thin volumes into a pool, as 'lvcreate --thin' makes them."""

    def change(report):
        for name in names:
            volume = LogicalVolume(vg="docker", name=name, type="thin", size=EXTENT, pool=pool)
            report = report.with_volume(volume)
        return in_our_group(report)

    return change


def test_a_pool_that_holds_thin_volumes_is_not_removed(report):
    with pytest.raises(RefusedError) as refusal:
        thin_pools.decide(with_thin_volumes("a", "b")(report("pool")), BARE, state="absent")
    assert str(refusal.value) == (
        "thin pool docker/thinpool holds LVM thin volumes, which this collection never makes: a, b. Remove them first "
        "if they may go"
    )


def test_thin_volumes_of_another_pool_are_in_nobodys_way(report):
    steps, _after = thin_pools.decide(with_thin_volumes("a", pool="other")(report("pool")), BARE, state="absent")
    assert actions(steps) == ["remove thin pool docker/thinpool"]


def in_extents_of(size, number=4):
    """Return what makes the captured group one of so many extents of this size."""

    def change(report):
        group = report.group("docker")
        return report.with_group(replace(group, extent_size=size, extents=number, extents_free=number))

    return change


# LVM uses 15.8125g of a pool's metadata, so an extent of 16g cannot hold them and two of 8g are too many.
@pytest.mark.parametrize(
    ("extent", "metadata_size", "message"),
    [
        pytest.param(
            16 * GIB,
            "1%VG",
            "^volume group docker has extents of 16.00 GiB, larger than the metadata of a thin pool may be",
            id="share-of-large-extents",
        ),
        pytest.param(16 * GIB, "100m", "make it with smaller extents", id="bytes-of-large-extents"),
        pytest.param(
            8 * GIB,
            "9g",
            "^metadata_size of docker/thinpool is 16.00 GiB in whole extents of 8.00 GiB, more than the 15.8g",
            id="rounded-up-too-far",
        ),
    ],
)
def test_extents_that_metadata_do_not_fit_into_are_refused(report, extent, metadata_size, message):
    spec = replace(DEFAULTS, size=Size.parse("1g"), metadata_size=Size.parse(metadata_size), chunk_size=1024**2)
    with pytest.raises(RefusedError, match=message):
        thin_pools.decide(in_extents_of(extent)(report("group")), spec)


@pytest.mark.parametrize(("extent", "metadata_size"), [(8 * GIB, "8g"), (8 * GIB, "50%VG"), (4 * GIB, "12g")])
def test_as_much_metadata_as_extents_hold_is_taken(report, extent, metadata_size):
    spec = replace(DEFAULTS, size=Size.parse("1g"), metadata_size=Size.parse(metadata_size), chunk_size=1024**2)
    _steps, after = thin_pools.decide(in_extents_of(extent, 9)(report("group")), spec)
    assert after.volume("docker", "thinpool").metadata_size == extent * (15 * GIB // extent)


THIN = LogicalVolume(vg="docker", name="vm-1", type="thin", size=GIB, pool="thinpool")


@pytest.mark.parametrize("spec", [BARE, DEFAULTS])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda lvm: lvm.with_volume(replace(THIN, name="vm-2")).with_volume(THIN),
            r"docker/thinpool holds LVM thin volumes \(vm-1, vm-2\)",
            id="thin-volumes",
        ),
        pytest.param(with_volume(transaction_id=3), "has the transaction id 3 in LVM", id="had-thin-volumes"),
    ],
)
def test_a_pool_of_lvms_own_thin_volumes_is_refused(report, spec, change, message):
    with pytest.raises(RefusedError, match=message):
        thin_pools.decide(change(report("pool")), spec)


def test_thin_volumes_in_another_pool_are_no_matter(report):
    lvm = report("pool").with_volume(replace(THIN, pool="other"))
    assert thin_pools.decide(lvm, BARE)[0] == []


def test_a_pool_that_skips_activation_is_refused_where_it_shall_be_active(report):
    lvm = with_volume(skips_activation=True)(report("pool_inactive"))
    with pytest.raises(RefusedError, match="'lvchange --setactivationskip n docker/thinpool' if it may be active"):
        thin_pools.decide(lvm, BARE)
    assert thin_pools.decide(lvm, replace(BARE, active=False))[0] == []


@pytest.mark.parametrize("state", ["pool", "pool_inactive", "group"])
def test_where_lvm_monitors_nothing_a_pool_to_be_monitored_is_refused(report, state):
    with pytest.raises(RefusedError, match="activation/monitoring=0"):
        thin_pools.decide(report(state), replace(DEFAULTS, can_monitor=False))


def test_where_lvm_monitors_nothing_a_pool_that_need_not_be_is_as_wished(report):
    assert thin_pools.decide(report("pool_not_monitored"), replace(BARE, monitor=False, can_monitor=False))[0] == []


@pytest.mark.parametrize(
    ("change", "asked"), [(as_it_is, False), (with_volume("thinpool_tdata", is_linear=False), True)]
)
def test_growth_is_asked_about_where_figures_do_not_settle_it(report, change, asked):
    spec = replace(BARE, size=Size.parse("12g"), metadata_size=Size.parse("200m"))
    steps, _after = thin_pools.decide(change(report("pool_and_second_disk")), spec)
    grown = [step for step in steps if step.command[0] == "lvextend"]
    assert len(grown) == 2
    assert [step.rehearsal for step in grown] == [step.command if asked else () for step in grown]


def test_an_overdue_extension_that_lvm_would_refuse_is_left(report):
    lvm = with_volume(data_percent=92.0)(report("pool_and_second_disk"))
    spec = replace(BARE, threshold=80, percent=20)
    assert len(thin_pools.decide(lvm, spec)[0]) == 1
    assert thin_pools.decide(lvm, replace(spec, can_extend=False))[0] == []


@pytest.mark.parametrize(("attributes", "asked"), [("wz--n-", False), ("wz--c-", True)])
def test_a_new_pool_is_asked_about_where_figures_do_not_settle_it(report, attributes, asked):
    lvm = report("group")
    lvm = lvm.with_group(replace(lvm.group("docker"), attributes=attributes))
    (step,), _after = thin_pools.decide(lvm, DEFAULTS)
    without_profile = tuple(word for word in step.command if word not in ("--metadataprofile", "docker-thinpool"))
    assert step.rehearsal == (without_profile if asked else ())
