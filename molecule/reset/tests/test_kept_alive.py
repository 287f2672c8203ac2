# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pool that the role makes grows by itself, and what would keep it from coming back is refused."""

from __future__ import annotations

import seen


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
