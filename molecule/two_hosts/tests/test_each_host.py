# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each host has its own wish, and nothing of the other's."""

from __future__ import annotations

import json

import pytest
import seen

GIB = 1024 * seen.MIB


@pytest.fixture
def name(host) -> str:
    return seen.root(host, "hostname").strip()


def test_pool_is_the_hosts_own(host, name):
    found = seen.volumes(host)
    pool = {"two-east": "thin-pool-1", "two-west": "docker"}[name]
    assert set(found) == {pool, f"{pool}_tdata", f"{pool}_tmeta", "lvol0_pmspare"}
    # 80 percent of the 511 extents of a disk of 2 GiB, rounded down; what is asked for, to the byte.
    size, chunk = {"two-east": (408 * 4 * seen.MIB, 512), "two-west": (2 * GIB, 64)}[name]
    assert int(found[pool]["lv_size"]) == size
    assert found[pool]["chunk_size"] == str(chunk * 1024)
    assert found[pool]["seg_monitor"] == "monitored"
    assert found[pool]["lv_profile"] == {"two-east": "docker--east-thin--pool--1", "two-west": "west-docker"}[name]


def test_group_is_on_the_hosts_own_disks(host, name):
    vg, disks = {"two-east": ("docker-east", "1"), "two-west": ("west", "2")}[name]
    found = seen.root(host, "vgs --noheadings -o vg_name,vg_tags,pv_count").split()
    assert found == [vg, "devicemapper.containers", disks]


def test_docker_runs_on_it_with_the_hosts_own_options(host, name):
    info = seen.docker_info(host)
    pool, filesystem, size = {
        "two-east": ("docker--east-thin--pool--1", "ext4", "4.295GB"),
        "two-west": ("west-docker", "xfs", "6.442GB"),
    }[name]
    assert info["storage"]["Pool Name"] == pool
    assert info["storage"]["Backing Filesystem"] == filesystem
    assert info["storage"]["Base Device Size"] == size
    daemon = json.loads(seen.root(host, "cat /etc/docker/daemon.json"))
    assert daemon.get("log-opts") == {"two-east": None, "two-west": {"max-size": "5m"}}[name]


def test_profile_has_the_hosts_own_threshold(host, name):
    profile = {"two-east": "docker--east-thin--pool--1", "two-west": "west-docker"}[name]
    keys = "activation/thin_pool_autoextend_threshold activation/thin_pool_autoextend_percent"
    threshold, percent = {"two-east": (80, 20), "two-west": (70, 10)}[name]
    assert seen.root(host, f"lvmconfig --metadataprofile {profile} {keys}").splitlines() == [
        f"thin_pool_autoextend_threshold={threshold}",
        f"thin_pool_autoextend_percent={percent}",
    ]


def test_container_runs(host, name):
    assert seen.run_container(host, f"echo on {name}") == f"on {name}\n"
