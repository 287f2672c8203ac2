# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role with its defaults: a pool that Docker uses and that comes back after a reboot. See also reset."""

from __future__ import annotations

import seen


def test_pool_is_laid_out_as_the_manual_does_it(host):
    found = seen.volumes(host)
    assert set(found) == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"}
    # 80 and 1 percent of 2559 extents, rounded down, and LVM's spare as large as the metadata.
    assert seen.pool_extents(host) == (2047, 25)
    assert int(found["lvol0_pmspare"]["lv_size"]) == 25 * 4 * seen.MIB
    assert found["thinpool"]["segtype"] == "thin-pool"
    assert found["thinpool"]["chunk_size"] == str(512 * 1024)
    assert found["thinpool"]["zero"] == ""


def test_pool_is_kept_alive(host):
    seen.assert_pool_is_kept_alive(host)
    assert seen.low_water_mark(host) == 3275


def test_group_is_marked_as_ours_and_the_other_disk_left_alone(host):
    groups = seen.root(host, "vgs --noheadings -o vg_name,vg_tags,pv_name").split()
    disk = seen.root(host, "readlink -f /dev/disk/by-id/virtio-data1").strip()
    assert groups == ["docker", "devicemapper.containers", disk]
    assert seen.root(host, "wipefs --no-act /dev/disk/by-id/virtio-data2") == ""


def test_docker_runs_on_the_pool(host):
    info = seen.docker_info(host)
    assert info["Driver"] == "devicemapper"
    assert info["storage"]["Pool Name"] == "docker-thinpool"
    assert info["storage"]["Udev Sync Supported"] == "true"
    assert info["storage"]["Deferred Removal Enabled"] == "true"
    assert info["storage"]["Deferred Deletion Enabled"] == "true"
    assert not info["storage"].get("Data loop file")


def test_container_runs(host):
    assert seen.run_container(host, "echo it runs") == "it runs\n"
    seen.fill(host, 100, "filler")


def test_reboot_brings_pool_monitoring_and_docker_back(host):
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert seen.is_kept(host, "filler")
    assert seen.run_container(host, "echo it runs again") == "it runs again\n"
