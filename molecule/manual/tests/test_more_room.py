# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pool that could not grow gets a second disk while a container writes, and outlives the worst reboot."""

from __future__ import annotations

import json

import pytest
import seen

DISKS = ["/dev/disk/by-id/virtio-data1", "/dev/disk/by-id/virtio-data2"]
# One file a second, each with its checksum; three hundred of them are 300 MiB.
WRITER = (
    "i=0; while [ $i -lt 300 ]; do dd if=/dev/urandom of=/f$i bs=1M count=1 conv=fsync 2>/dev/null; "
    "md5sum /f$i >> /sums; i=$((i+1)); done; echo done >> /end; sleep 100000"
)


def grow(playbook="shared/grow.yml", **variables):
    """Run the playbook grow in check mode and for real; shared/grow.yml holds the one to what the other foretold."""
    wish = "--extra-vars=" + json.dumps({"direct_lvm_devices": DISKS, **variables})
    for run in (["shared/grow.yml", "--check", "--diff"], [playbook]):
        status, output = seen.run_playbook(*run, wish)
        assert status == 0, output
    return output


def health(host):
    (pool,) = seen.run_module("lvm_thin_pool_info")["thin_pools"]
    return pool["health"], {reason["kind"]: reason["message"] for reason in pool["reasons"]}


def docker_process(host):
    return seen.root(host, "systemctl show docker --property=MainPID,ExecMainStartTimestamp,NRestarts")


@pytest.fixture(scope="module")
def process(host):
    """Start the writer, and return dockerd's process as it is before anything grows."""
    seen.root(host, f"docker run -d --name writer --network none busybox /bin/sh -c '{WRITER}'")
    return docker_process(host)


def test_verdict_is_critical_with_dmeventds_own_figures(host, process):
    word, reasons = health(host)
    assert word == "critical"
    assert "takes 487 extents" in reasons["data_extension_impossible"]
    assert "has 78 free" in reasons["data_extension_impossible"]


def test_overdue_extension_is_made_at_once_when_a_disk_is_added(host, process):
    # Not held to what was foretold: dmeventd tries again at its own times, and may have been faster this once.
    wish = {"direct_lvm_data_size": "1g", "direct_lvm_metadata_size": "4m"}
    output = grow("devicemapper.containers.grow", **wish)
    assert "extend thin pool docker/thinpool by its profile now" in output
    assert seen.pool_extents(host)[0] == 2918
    assert float(seen.volumes(host)["thinpool"]["data_percent"]) < 80


def test_pool_grows_to_its_share_of_both_disks(host, process):
    grow()
    # 80 and 1 percent of 5118 extents, and the spare as large as the metadata.
    assert seen.pool_extents(host) == (4094, 51)
    assert int(seen.volumes(host)["lvol0_pmspare"]["lv_size"]) == 51 * 4 * seen.MIB
    seen.assert_pool_is_kept_alive(host)
    assert health(host) == ("ok", {})


def test_docker_was_not_restarted_and_the_writer_lost_nothing(host, process):
    assert docker_process(host) == process
    seen.wait_until(
        300, lambda: host.run("sudo docker exec writer /bin/busybox cat /end").rc == 0, "the writer has written all"
    )
    checked = seen.root(host, "docker exec writer /bin/busybox md5sum -c /sums")
    assert checked.count(": OK\n") == 300
    assert seen.is_kept(host, "filler")


def test_a_second_run_of_grow_finds_nothing_to_do(host):
    wish = json.dumps({"direct_lvm_devices": DISKS})
    status, output = seen.run_playbook("devicemapper.containers.grow", f"--extra-vars={wish}")
    assert status == 0, output
    assert "changed=0" in output


def test_docker_starts_on_a_pool_that_dmeventd_no_longer_watches(host):
    seen.root(host, "pkill --signal KILL dmeventd; sleep 1; systemctl restart docker")
    assert seen.volumes(host)["thinpool"]["seg_monitor"] == "monitored"


def test_reboot_without_any_help_of_lvm_brings_pool_monitoring_and_docker_back(host):
    seen.root(host, "vgchange --setautoactivation n docker && systemctl disable lvm2-monitor.service")
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    started = "systemctl show docker --property=NRestarts --value"
    assert seen.root(host, started) == "0\n"
    assert seen.is_kept(host, "filler")
    assert seen.run_container(host, "echo it runs again") == "it runs again\n"
    seen.root(host, "vgchange --setautoactivation y docker && systemctl enable lvm2-monitor.service")
