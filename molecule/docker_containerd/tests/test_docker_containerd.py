# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker 26 on the devmapper snapshotter: import, run, commit; it grows, outlives a reboot, and is taken off."""

from __future__ import annotations

import json

import seen

POOL = "containerd-thinpool"
DISK = "/dev/disk/by-id/virtio-data1"
DOCKER = "--extra-vars=" + json.dumps({"containerd_devmapper_devices": [DISK], "containerd_devmapper_docker": True})
ROLE = ("devicemapper.containers.containerd_devmapper", DOCKER)
ABSENT = ("shared/containerd_devmapper.yml", DOCKER, "--extra-vars=containerd_devmapper_state=absent")
STOP = "--extra-vars=containerd_devmapper_stop_containers=true"


def assert_docker_is_on_the_store(host) -> None:
    info = seen.docker_info(host)
    assert (info["Driver"], info["storage"]) == ("devmapper", {"driver-type": "io.containerd.snapshotter.v1"})


def test_docker_is_on_containerds_store(host):
    assert_docker_is_on_the_store(host)
    assert seen.root(host, "pgrep --exact containerd | wc -l").strip() == "1"
    seen.assert_pool_is_kept_alive(host, POOL)


def test_container_runs_and_is_committed(host):
    assert seen.run_container(host, "echo it runs") == "it runs\n"
    seen.root(host, "docker run --name changed --network none busybox /bin/sh -c 'echo kept > /kept'")
    seen.root(host, "docker commit changed changed")
    assert seen.root(host, "docker run --rm --network none changed /bin/busybox cat /kept") == "kept\n"
    assert f"{POOL}-snap-" in seen.root(host, "dmsetup table --target thin")


def test_pool_that_fills_past_the_threshold_grows_by_itself(host):
    seen.fill(host, 6700, "filler")
    seen.wait_until(120, lambda: seen.pool_extents(host)[0] == 2457, "data grows from 2047 to 2457 extents")
    seen.assert_pool_is_kept_alive(host, POOL)


def test_usage_names_dockers_container(host):
    (pool,) = seen.run_module("thin_pool_usage_info", vg="containerd", name="thinpool", limit=1)["thin_pools"]
    assert (pool["devices"][0]["owner"]["engine"], pool["devices"][0]["owner"]["name"]) == ("docker", "filler")


def test_reboot_brings_it_all_back(host):
    seen.reboot(host)
    assert_docker_is_on_the_store(host)
    assert seen.is_kept(host, "filler")
    assert seen.run_container(host, "echo it runs again") == "it runs again\n"


def test_reset_is_refused_while_a_container_runs(host):
    seen.root(host, "docker run -d --name web --network none busybox /bin/busybox sleep 100000")
    status, output = seen.run_playbook(*ABSENT)
    assert status != 0
    assert "containers run on containerd/thinpool: web. Stop them, or set stop_containers: true" in output
    assert seen.root(host, "docker ps --format '{{.Names}}'") == "web\n"


def test_reset_leaves_a_blank_disk_and_docker_stopped(host):
    for options in (["--check", "--diff", STOP], [STOP]):
        status, output = seen.run_playbook(*ABSENT, *options)
        assert status == 0, output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert not host.service("docker").is_running
    assert host.service("containerd").is_running
    with host.sudo():
        assert not host.file("/etc/docker/daemon.json").exists


def test_it_is_made_again_and_works(host):
    status, output = seen.run_playbook(*ROLE)
    assert status == 0, output
    assert_docker_is_on_the_store(host)
    # Images stayed, and are unpacked anew. That of a container's commit has a snapshot that containerd let go of late.
    assert seen.root(host, "docker run --rm --network none changed /bin/busybox cat /kept") == "kept\n"
    assert seen.run_container(host, "echo it runs once more") == "it runs once more\n"
