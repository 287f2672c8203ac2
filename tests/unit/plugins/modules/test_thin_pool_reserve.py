# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_reserve

POOL = {"vg": "docker", "name": "thinpool"}
EXTENT = 4194304
TAGS = "devicemapper.containers,devicemapper.containers.reserve"


@pytest.fixture
def host(captured):
    """Return a function that gives LVM's report of the manual's pool, with so many of its 78 free extents kept."""

    def report(reserve=0, more=0):
        document = json.loads(captured("pool.json"))
        for element in document["report"]:
            for row in element.get("vg", []):
                row["vg_free_count"] = str(int(row["vg_free_count"]) - reserve - more)
            rows = element.get("seg", [])
            for pool in [row for row in rows if row["lv_name"] == "thinpool"]:
                kept = {**dict.fromkeys(pool, ""), "vg_name": "docker", "lv_uuid": "reserve", "segtype": "linear"}
                kept.update(lv_name="thinpool_reserve", lv_size=str(reserve * EXTENT), lv_tags=TAGS)
                kept.update(lv_attr="-wi-------", lv_kernel_major="-1", lv_kernel_minor="-1")
                rows += [kept] if reserve else []
                pool["lv_size"] = str(int(pool["lv_size"]) + more * EXTENT)
        return json.dumps(document)

    return report


def test_room_is_kept_after_lvm_was_asked(run_module, commands, host, table):
    commands.expect("lvm fullreport", host())
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("lvcreate --test --yes --type linear --name thinpool_reserve --extents 50")
    result = run_module(thin_pool_reserve, check=True, size="200m", **POOL)
    assert result["actions"] == [
        "keep docker/thinpool_reserve: 200.00 MiB for thin pool docker/thinpool in an emergency"
    ]
    assert (result["changed"], result["reserve"], result["free"]) == (True, 50 * EXTENT, 28 * EXTENT)


def test_what_is_kept_stays(run_module, commands, host, table):
    commands.expect("lvm fullreport", host(reserve=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    result = run_module(thin_pool_reserve, size="200m", **POOL)
    assert (result["changed"], result["reserve"]) == (False, 50 * EXTENT)


def full(captured, words="out_of_data_space discard_passdown queue_if_no_space -"):
    line = captured("pool.status")
    return f"{line[: line.index('thin-pool ')]}thin-pool 0 2571/25600 19448/19448 - {words} 1024\n"


def test_it_is_given_to_the_pool_that_is_full(run_module, commands, host, table, captured):
    commands.expect("lvm fullreport", host(reserve=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", full(captured))
    commands.expect("lvremove --yes docker/thinpool_reserve")
    commands.expect("lvextend --yes --extents +50 docker/thinpool")
    commands.expect("lvm fullreport", host(more=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    result = run_module(thin_pool_reserve, state="released", **POOL)
    assert result["actions"] == [
        "remove the reserve docker/thinpool_reserve",
        "give thin pool docker/thinpool the 200.00 MiB that was kept for it",
    ]
    assert (result["reserve"], result["size"]) == (0, (2431 + 50) * EXTENT)


def test_an_extension_that_had_no_effect_is_told(run_module, commands, host, table, captured):
    commands.expect("lvm fullreport", host(reserve=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", full(captured))
    commands.expect("lvremove --yes docker/thinpool_reserve")
    commands.expect("lvextend --yes --extents +50 docker/thinpool")
    commands.expect("lvm fullreport", host())
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    result = run_module(thin_pool_reserve, state="released", **POOL)
    assert "LVM's commands succeeded, and yet volume docker/thinpool has" in result["msg"]


def test_a_pool_that_cannot_be_extended_has_its_reserve_again(run_module, commands, host, table, captured):
    commands.expect("lvm fullreport", host(reserve=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", full(captured))
    commands.expect("lvremove --yes docker/thinpool_reserve")
    commands.expect("lvextend --yes --extents +50 docker/thinpool", rc=5, stderr="no")
    commands.expect("lvcreate --yes --type linear --name thinpool_reserve --extents 50")
    assert "failed with status 5" in run_module(thin_pool_reserve, state="released", **POOL)["msg"]


@pytest.mark.parametrize(
    "words",
    ["ro discard_passdown queue_if_no_space -", "rw discard_passdown queue_if_no_space needs_check"],
    ids=["read-only", "needs-check"],
)
def test_a_reserve_is_not_spent_on_a_pool_whose_metadata_is_sick(run_module, commands, host, table, captured, words):
    commands.expect("lvm fullreport", host(reserve=50))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect("dmsetup status", full(captured, words))
    result = run_module(thin_pool_reserve, state="released", **POOL)
    assert "does not want room for its data" in result["msg"]
    assert commands.writing == []
