# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools that others made, taken over: the same pool, the same data in it, and kept alive from now on."""

from __future__ import annotations

import json

import seen

# Pools with data in them that no Docker knows of.
SETUP_SCRIPT = {"vg": "docker-vg", "name": "docker-pool"}
BY_HAND = {"vg": "my.data-1", "name": "con_tainers"}
DM_NAMES = {"docker-vg": "docker--vg-docker--pool", "my.data-1": "my.data--1-con_tainers"}


def pool(host, vg, name):
    fields = "lv_uuid,lv_size,chunk_size,lv_profile,seg_monitor,lv_tags,zero"
    report = json.loads(root(host, f"lvs --units b --nosuffix --reportformat json -o {fields} {vg}/{name}"))
    return report["report"][0]["lv"][0]


def root(host, command):
    return seen.root(host, command)


def assert_data_is_kept(host, vg):
    root(host, f"echo 3 > /proc/sys/vm/drop_caches; sha256sum --check /root/{DM_NAMES[vg]}.sha256")


def test_pool_that_docker_made_is_the_one_it_runs_on(host):
    assert root(host, "lvs --noheadings -o lv_uuid docker/thinpool") == root(host, "cat /root/docker.uuid")
    info = seen.docker_info(host)
    assert info["Driver"] == "devicemapper"
    assert info["storage"]["Pool Name"] == "docker-thinpool"
    # 95 percent of 2559 extents: nothing was grown or made smaller.
    assert seen.pool_extents(host)[0] == 2431


def test_what_docker_leaves_out_is_put_right(host):
    seen.assert_pool_is_kept_alive(host)


def test_options_of_dockers_own_set_up_gave_way(host):
    document = json.loads(root(host, "cat /etc/docker/daemon.json"))
    assert "dm.thinpooldev=/dev/mapper/docker-thinpool" in document["storage-opts"]
    assert not any(option.startswith("dm.directlvm_device=") for option in document["storage-opts"])
    assert "dm.basesize=4G" in document["storage-opts"]


def test_images_and_containers_are_all_there(host):
    assert root(host, "docker image inspect --format '{{ .Id }}' busybox") == root(host, "cat /root/docker.image")
    assert root(host, "docker cp writer:/data - | sha256sum") == root(host, "cat /root/docker.sha256")
    assert root(host, "docker start --attach writer && docker run --rm --network none busybox /bin/busybox echo on")


def test_it_is_not_removed_since_it_was_not_made_here(host):
    status, output = seen.run_playbook("shared/reset.yml")
    assert status != 0
    assert "docker/thinpool was not made by this collection" in output
    assert "lvchange --addtag devicemapper.containers docker/thinpool" in output
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"


def test_pool_of_container_storage_setup_is_armed_and_left_alone_otherwise(host):
    before = pool(host, **SETUP_SCRIPT)
    found = seen.run_module("lvm_thin_pool", **SETUP_SCRIPT, profile="docker-vg--docker-pool", chunk_size="512k")
    assert found["actions"] == [
        "refresh thin pool docker-vg/docker-pool, so that the kernel's low water mark is "
        f"{int(before['lv_size']) // 524288 * 40 // 100} chunks"
    ]
    assert not seen.run_module("lvm_thin_pool", **SETUP_SCRIPT, profile="docker-vg--docker-pool")["changed"]
    assert pool(host, **SETUP_SCRIPT) == before
    assert_data_is_kept(host, "docker-vg")


def test_pool_made_by_hand_grows_with_its_data(host):
    before = pool(host, **BY_HAND)
    refused = seen.run_module("lvm_thin_pool", **BY_HAND, size="2g", chunk_size="512k")
    assert "has chunks of 64.00 KiB, and the chunk size of a pool cannot be changed to 512.00 KiB" in refused["msg"]
    assert pool(host, **BY_HAND) == before
    seen.run_module("lvm_profile", name="tank")
    grown = seen.run_module(
        "lvm_thin_pool", **BY_HAND, size="2g", metadata_size="16m", chunk_size="64k", profile="tank"
    )
    assert grown["actions"][0] == "grow data of thin pool my.data-1/con_tainers from 128 to 256 extents (2.00 GiB)"
    after = pool(host, **BY_HAND)
    assert after == {**before, "lv_size": str(2 * 1024**3), "lv_profile": "tank"}
    assert_data_is_kept(host, "my.data-1")
    assert not seen.run_module("lvm_thin_pool", **BY_HAND, size="2g", profile="tank")["changed"]


def test_nothing_of_it_is_removed_without_the_tag(host):
    for found in (SETUP_SCRIPT, BY_HAND):
        refused = seen.run_module("lvm_thin_pool", **found, state="absent")
        assert f"'lvchange --addtag devicemapper.containers {found['vg']}/{found['name']}'" in refused["msg"]
        assert pool(host, **found)
