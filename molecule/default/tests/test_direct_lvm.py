# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role with its defaults: a pool that Docker uses, that grows by itself and comes back after a reboot."""

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


def test_pool_that_fills_past_the_threshold_grows_by_itself(host):
    since = seen.now(host)
    seen.fill(host, 6700, "filler")
    # 20 percent of 2047 extents, rounded up.
    seen.wait_until(120, lambda: seen.pool_extents(host)[0] == 2457, "data grows from 2047 to 2457 extents")
    assert "(2047 extents) to" in seen.journal(host, since)
    assert float(seen.volumes(host)["thinpool"]["data_percent"]) < 80
    seen.assert_pool_is_kept_alive(host)


def test_threshold_that_is_lowered_counts_for_the_dmeventd_that_runs(host):
    # About 69 percent are in use and too little is free for another extension, so its attempt shows in the journal.
    since = seen.now(host)
    options = {"name": "docker-thinpool", "thin_pool_autoextend_percent": 20}
    lowered = seen.run_module("lvm_profile", thin_pool_autoextend_threshold=60, **options)
    assert lowered["actions"][1:] == ["restart dmeventd, which keeps profiles in memory"]
    sentence = "Insufficient free space: 492 extents needed, but only 52 available"
    seen.wait_until(60, lambda: sentence in seen.journal(host, since), sentence)
    assert seen.volumes(host)["thinpool"]["seg_monitor"] == "monitored"
    seen.run_module("lvm_profile", thin_pool_autoextend_threshold=80, **options)


def test_reboot_brings_pool_monitoring_and_docker_back(host):
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert seen.is_kept(host, "filler")
    assert seen.run_container(host, "echo it runs again") == "it runs again\n"


def test_pool_that_could_not_be_checked_at_the_next_boot_is_refused_and_told(host):
    disk = '--extra-vars={"direct_lvm_devices": ["/dev/disk/by-id/virtio-data1"]}'
    program = seen.root(host, "readlink -f /usr/sbin/thin_check").strip()
    seen.root(host, f"mv {program} {program}.away")
    try:
        status, output = seen.run_playbook("devicemapper.containers.direct_lvm", disk)
        (pool,) = seen.run_module("lvm_thin_pool_info")["thin_pools"]
    finally:
        seen.root(host, f"mv {program}.away {program}")
    assert status != 0
    assert "/usr/sbin/thin_check, with which LVM checks the metadata of docker/thinpool" in output
    assert "changed=0" in output
    assert "thin_check_missing" in [reason["kind"] for reason in pool["reasons"]]
