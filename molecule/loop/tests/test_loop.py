# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker on loop files: grown while a container writes, full, interrupted, rebooted, refused, and taken away."""

from __future__ import annotations

import json

import seen

GIB, MIB = 1024**3, 1024**2
FOLDER = "/var/lib/docker/devicemapper/devicemapper"
COMMON = {
    "loop_lvm_docker_packages": ["docker.io"],
    "loop_lvm_storage_opts": ["dm.basesize=640M", "dm.min_free_space=0%"],
}


def options(**variables) -> str:
    return "--extra-vars=" + json.dumps({**COMMON, **variables})


def sizes(host) -> dict[str, tuple[int, int]]:
    """Return what the kernel's pool and the files themselves have of data and metadata, in bytes."""
    status = seen.root(host, "dmsetup status --target thin-pool").split()
    table = seen.root(host, "dmsetup table --target thin-pool").split()
    files = [int(size) for size in seen.root(host, f"stat --format %s {FOLDER}/data {FOLDER}/metadata").split()]
    return {"data": (files[0], int(table[2]) * 512), "metadata": (files[1], int(status[5].partition("/")[2]) * 4096)}


def pool(host) -> str:
    return seen.docker_info(host)["storage"]["Pool Name"]


def is_suspended(host) -> bool:
    return "SUSPENDED" in seen.root(host, f"dmsetup info {pool(host)}")


def main_process(host) -> str:
    return seen.root(host, "systemctl show --property=MainPID --value docker")


def lines(host) -> int:
    return int(seen.root(host, "docker exec writer /bin/busybox wc -l /sums").split()[0])


def grow(data: str, metadata: str = "16m") -> dict:
    return seen.run_module("docker_loop_files", data_size=data, metadata_size=metadata)


def test_docker_names_its_loop_files(host):
    info = seen.docker_info(host)
    assert info["Driver"] == "devicemapper"
    assert info["storage"]["Data loop file"] == f"{FOLDER}/data"
    assert info["storage"]["Metadata loop file"] == f"{FOLDER}/metadata"
    assert info["storage"]["Udev Sync Supported"] == "true"
    assert info["storage"]["Base Device Size"] == "671.1MB"
    assert sizes(host) == {"data": (GIB, GIB), "metadata": (16 * MIB, 16 * MIB)}


def test_container_runs(host):
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_every_run_warns_of_it():
    status, output = seen.run_playbook("shared/loop_lvm.yml", "--check", options(loop_lvm_data_size="2g"))
    assert status == 0, output
    assert "not for production" in output


def test_files_grow_while_a_container_writes(host):
    # Each file is noted once it is written, and all of them are read again at the end.
    script = "i=0; while [ ! -e /stop ]; do dd if=/dev/urandom of=/f$i bs=64k count=4 conv=fsync 2>/dev/null; "
    script += "sha256sum /f$i >> /sums; i=$((i+1)); done; sleep 100000"
    seen.root(host, f"docker run -d --name writer --network none busybox /bin/sh -c '{script}'")
    process = main_process(host)
    larger = options(loop_lvm_data_size="2g", loop_lvm_metadata_size="32m")
    for mode in (["--check", "--diff"], []):
        status, output = seen.run_playbook("shared/loop_lvm.yml", *mode, larger)
        assert status == 0, output
    assert "stop Docker" not in output
    assert sizes(host) == {"data": (2 * GIB, 2 * GIB), "metadata": (32 * MIB, 32 * MIB)}
    assert not is_suspended(host)
    assert main_process(host) == process
    before = lines(host)
    seen.wait_until(60, lambda: lines(host) > before, "it goes on writing")
    seen.root(host, "docker exec writer /bin/busybox touch /stop && sleep 2; echo 3 > /proc/sys/vm/drop_caches")
    checked = seen.root(host, "docker exec writer /bin/busybox sha256sum -c /sums")
    assert checked.count(": OK") == len(checked.splitlines()) > before
    status, output = seen.run_playbook("shared/loop_lvm.yml", larger)
    assert (status, "changed=0" in output) == (0, True), output


def test_what_an_interrupted_run_left_is_finished(host):
    name = pool(host)
    data = seen.root(host, f"losetup --noheadings --output NAME --associated {FOLDER}/data").strip()
    metadata = seen.root(host, f"losetup --noheadings --output NAME --associated {FOLDER}/metadata").strip()
    ends = ["load a table", "let pool"]

    seen.root(host, f"truncate --size=2100M {FOLDER}/data")  # killed after the file
    assert [action.split(" of ")[0] for action in grow("2g")["actions"][2:]] == [
        ends[0],
        f"{ends[1]} {name} go on with it",
    ]
    assert sizes(host)["data"] == (2100 * MIB, 2100 * MIB)

    seen.root(host, f"truncate --size=2200M {FOLDER}/data && losetup --set-capacity {data}")  # after the device
    assert len(grow("2g")["actions"]) == 2
    assert sizes(host)["data"] == (2200 * MIB, 2200 * MIB)

    seen.root(host, f"truncate --size=64M {FOLDER}/metadata && losetup --set-capacity {metadata}")
    assert len(grow("2g")["actions"]) == 2
    assert sizes(host)["metadata"] == (64 * MIB, 64 * MIB)

    table = seen.root(host, f"dmsetup table {name}").split()
    table[1] = str(2300 * MIB // 512)
    seen.root(host, f"truncate --size=2300M {FOLDER}/data && losetup --set-capacity {data}")
    seen.root(host, f"dmsetup reload {name} --table '{' '.join(table)}'")  # after the table was loaded
    assert len(grow("2g")["actions"]) == 2
    assert sizes(host)["data"] == (2300 * MIB, 2300 * MIB)

    seen.root(host, f"dmsetup suspend {name}")  # the manual's way, given up half-way
    assert grow("2g")["actions"] == [f"resume pool {name}, which was left suspended"]
    assert not is_suspended(host)
    assert grow("2g")["actions"] == []
    assert seen.root(host, "docker exec writer /bin/busybox sha256sum -c /sums").count(": OK") > 0


def test_a_full_pool_grows_and_its_writers_go_on(host):
    # Together they write more than the pool holds, and only once the last of them was made. Directly: pages that cannot
    # be written would soon hold up every other writer of the guest, until the kernel gives up after 60 s.
    fillers = [f"filler{number}" for number in range(5)]
    write = "dd if=/dev/zero of=/filled bs=1M count=520 oflag=direct conv=fsync && echo kept > /kept"
    script = f"sleep 60; {write}; sleep 100000"
    for filler in fillers:
        seen.root(host, f"docker run -d --name {filler} --network none busybox /bin/sh -c '{script}'")
    seen.wait_until(
        300,
        lambda: "out_of_data_space" in seen.root(host, "dmsetup status --noflush --target thin-pool"),
        "the pool is full",
    )
    grown = grow("4g")
    assert grown["changed"], grown
    assert " rw " in seen.root(host, "dmsetup status --noflush --target thin-pool")
    done = " && ".join(f"docker exec {filler} /bin/busybox cat /kept" for filler in fillers)
    with host.sudo():
        seen.wait_until(120, lambda: host.run(done).rc == 0, "all of them have written to the end")
    seen.root(host, f"docker rm --force {' '.join(fillers)}")


def test_reboot_brings_docker_back_on_the_grown_files(host):
    seen.reboot(host)
    assert seen.docker_info(host)["storage"]["Data loop file"] == f"{FOLDER}/data"
    assert sizes(host)["data"] == (4 * GIB, 4 * GIB)
    seen.root(host, "docker start writer")
    assert seen.root(host, "docker exec writer /bin/busybox sha256sum -c /sums").count(": OK") > 0


def test_a_pool_on_a_disk_is_refused_beside_them(host):
    disk = '--extra-vars={"direct_lvm_devices": ["/dev/disk/by-id/virtio-data1"]}'
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", disk)
    assert status != 0
    assert "holds the loop files of loop-lvm mode, whose images no other pool has" in output
    assert "changed=0" in output
    assert seen.root(host, "wipefs --no-act /dev/disk/by-id/virtio-data1") == ""


def test_a_smaller_base_device_is_refused_before_the_restart(host):
    process = main_process(host)
    smaller = options(loop_lvm_storage_opts=["dm.basesize=500M"])
    status, output = seen.run_playbook("devicemapper.containers.loop_lvm", smaller)
    assert status != 0
    assert "dm.basesize is 500.00 MiB, and the base device that all images are made from has 640.00 MiB" in output
    assert (main_process(host), "changed=0" in output) == (process, True)


def test_taking_it_away_is_refused_while_a_container_runs(host):
    seen.root(host, "docker volume create kept && echo here > /var/lib/docker/volumes/kept/_data/file")
    status, output = seen.run_playbook("devicemapper.containers.loop_lvm", options(loop_lvm_state="absent"))
    assert status != 0
    assert f"containers run on the loop files in {FOLDER}: writer. Stop them, or set stop_containers: true" in output
    assert seen.root(host, "docker ps --format '{{.Names}}'") == "writer\n"


def test_it_is_taken_away_as_check_mode_foretells(host):
    away = options(loop_lvm_state="absent", loop_lvm_stop_containers=True)
    for mode in (["--check", "--diff"], []):
        status, output = seen.run_playbook("shared/loop_lvm.yml", *mode, away)
        assert status == 0, output
    assert seen.root(host, "losetup --list --noheadings") == ""
    assert "pool" not in seen.root(host, "dmsetup ls")
    with host.sudo():
        for path in ("/etc/docker/daemon.json", "/var/lib/docker/devicemapper", "/var/lib/docker/image/devicemapper"):
            assert not host.file(path).exists
        assert host.file("/var/lib/docker/containers").listdir() == []
    assert not host.service("docker").is_running
    assert seen.root(host, "cat /var/lib/docker/volumes/kept/_data/file") == "here\n"
    status, output = seen.run_playbook("devicemapper.containers.loop_lvm", options(loop_lvm_state="absent"))
    assert (status, "changed=0" in output) == (0, True), output
