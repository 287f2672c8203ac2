# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""containerd on a pool of its own: containers run there, it grows by itself, and comes back after a reboot."""

from __future__ import annotations

import json
import re

import seen

POOL = "containerd-thinpool"
FOLDER = "/var/lib/containerd/io.containerd.snapshotter.v1.devmapper"
DISK = "/dev/disk/by-id/virtio-data1"
MORE = "/dev/disk/by-id/virtio-data3"
ROLE = (
    "devicemapper.containers.containerd_devmapper",
    "--extra-vars=" + json.dumps({"containerd_devmapper_devices": [DISK]}),
)
# A list that lacks a disk of the group is refused: each leaves it by the playbook replace_disk.
BOTH = (ROLE[0], "--extra-vars=" + json.dumps({"containerd_devmapper_devices": [DISK, MORE]}))
PACKAGED = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""


def state(host) -> str:
    """Return the snapshotter's state in the running containerd."""
    (line,) = re.findall(r"snapshotter\.v1\s+devmapper\s.*", seen.root(host, "ctr plugins ls"))
    return line.split()[-1]


def process(host) -> str:
    return seen.root(host, "systemctl show --property MainPID --value containerd").strip()


def run(host, name: str, command: str, options: str = "--rm") -> str:
    seen.root(host, seen.IMPORT_ARCHIVE)
    return seen.root(host, f"{seen.CTR_RUN} {options} {seen.BUSYBOX} {name} /bin/sh -c '{command}'")


def test_pool_is_laid_out_and_kept_alive(host):
    assert set(seen.volumes(host)) == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"}
    assert seen.pool_extents(host) == (2047, 25)
    seen.assert_pool_is_kept_alive(host, POOL)


def test_configuration_has_the_packages_text_and_the_section(host):
    text = seen.root(host, "cat /etc/containerd/config.toml")
    assert text.startswith(PACKAGED)
    assert f'pool_name = "{POOL}"' in text[len(PACKAGED) :]


def test_snapshotter_works(host):
    assert state(host) == "ok"
    assert f"{FOLDER}/{POOL}.db" in seen.root(host, f"ls -l /proc/{process(host)}/fd")


def test_container_runs_on_the_pool(host):
    assert run(host, "first", 'busybox mount | busybox grep " / "; echo it runs').splitlines()[-1] == "it runs"
    run(host, "kept", "echo kept > /kept", "")
    listed = seen.root(host, "ctr snapshots --snapshotter devmapper ls").split()
    assert "kept" in listed
    assert f"{POOL}-snap-" in seen.root(host, "dmsetup table --target thin")


def test_pool_that_fills_past_the_threshold_grows_by_itself(host):
    since = seen.now(host)
    run(host, "filler", "busybox dd if=/dev/zero of=/filled bs=1M count=6700 conv=fsync", "")
    seen.wait_until(120, lambda: seen.pool_extents(host)[0] == 2457, "data grows from 2047 to 2457 extents")
    assert "(2047 extents) to" in seen.journal(host, since)
    seen.assert_pool_is_kept_alive(host, POOL)


def test_usage_names_the_container_that_fills_it(host):
    found = seen.run_module("thin_pool_usage_info", vg="containerd", name="thinpool", limit=1)
    (pool,) = found["thin_pools"]
    assert (pool["devices"][0]["owner"]["engine"], pool["devices"][0]["owner"]["name"]) == ("containerd", "filler")
    assert pool["devices"][0]["exclusive"] > 6600 * seen.MIB


def test_a_disk_that_is_added_makes_it_larger_while_a_container_writes(host):
    run(host, "writer", "while busybox date >> /dates; do busybox sleep 1; done", "--detach")
    pid, before = process(host), seen.pool_extents(host)[0]
    more = {"containerd_devmapper_devices": [DISK, MORE], "containerd_devmapper_data_size": "80%VG"}
    status, output = seen.run_playbook(ROLE[0], f"--extra-vars={json.dumps(more)}")
    assert status == 0, output
    assert seen.pool_extents(host)[0] > before
    assert process(host) == pid
    assert "RUNNING" in seen.root(host, "ctr tasks ls")
    seen.assert_pool_is_kept_alive(host, POOL)
    seen.root(host, "ctr tasks delete --force writer && ctr containers delete writer")


def test_monitoring_watches_it(host):
    status, output = seen.run_playbook("devicemapper.containers.monitor")
    assert status == 0, output
    assert "containerd/thinpool" in output
    (pool,) = seen.run_module("thin_pool_check_info")["pools"]
    assert (pool["vg"], pool["name"], pool["verdict"]) == ("containerd", "thinpool", "ok")


def test_dockers_pool_fits_beside_it(host):
    disk = '--extra-vars={"direct_lvm_devices": ["/dev/disk/by-id/virtio-data2"]}'
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", disk)
    assert status == 0, output
    assert seen.root(host, "vgs --noheadings -o vg_name").split() == ["containerd", "docker"]
    status, output = seen.run_playbook(*ROLE)
    assert status != 0
    assert "devicemapper.containers.replace_disk" in output
    status, output = seen.run_playbook(*BOTH)
    assert status == 0, output
    assert "changed=0" in output
    status, output = seen.run_playbook("devicemapper.containers.reset")
    assert status == 0, output
    assert seen.root(host, "vgs --noheadings -o vg_name").split() == ["containerd"]
    assert state(host) == "ok"


def test_reboot_brings_the_pool_back_before_containerd(host):
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host, POOL)
    assert state(host) == "ok"
    assert seen.root(host, "ctr containers ls --quiet").split() == ["filler", "kept"]
    assert seen.kept_in_snapshot(host, "kept") == "kept\n"
