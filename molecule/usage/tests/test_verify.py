# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook verify on a host with three containers: all as wished, not as wished, Docker down; and its advice."""

from __future__ import annotations

import json
import re

import pytest
import seen

PLAYBOOK = "devicemapper.containers.verify"
DISK = "/dev/disk/by-id/virtio-data1"
SLOW = "/usr/local/sbin/lsblk"
CONTAINERS = ("large", "middle", "small")
LIMITS = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}


def verify(*options: str, **variables) -> tuple[int, list[str], str]:
    """Run the playbook, and return its status, the lines that it told, and all that it printed."""
    given = json.dumps({"direct_lvm_devices": [DISK], **variables})
    status, output = seen.run_playbook(PLAYBOOK, f"--extra-vars={given}", *options)
    told = re.search(r"Tell what was seen\].*?=> (\{.*?^\})", output, re.DOTALL | re.MULTILINE)
    assert told, output
    return status, json.loads(told[1])["msg"], output


def by_word(lines: list[str], word: str) -> dict[str, str]:
    """Return the lines that begin with OK, MISMATCH or ADVICE, by the name behind that word."""
    found = (re.fullmatch(rf"{word} +([^:]+): (.*)", line, re.DOTALL) for line in lines)
    return {match[1]: match[2] for match in found if match}


def start_containers(host) -> None:
    seen.root(host, f"docker start {' '.join(CONTAINERS)}")


@pytest.fixture(scope="module", autouse=True)
def _containers(host):
    seen.root(host, "systemctl start docker.service")
    start_containers(host)
    # What counts is what a container wrote since it was started.
    seen.root(host, "docker exec large /bin/busybox dd if=/dev/zero of=/more bs=4M count=50 oflag=direct")


@pytest.fixture(scope="module")
def well(host):
    status, lines, output = verify()
    assert status == 0, output
    return lines, output


def test_everything_matches(host, well):
    lines, output = well
    fine = by_word(lines, "OK")
    assert by_word(lines, "MISMATCH") == {}
    assert list(fine) == [
        "devices",
        "pool",
        "docker",
        "Storage Driver",
        "Pool Name",
        "Pool Blocksize",
        "Data loop file",
        "Udev Sync Supported",
        "metadata",
        "mounts",
        "role",
    ]
    assert fine["devices"] == seen.root(host, f"readlink --canonicalize {DISK}").strip()
    assert fine["Pool Name"] == "docker-thinpool"
    assert fine["Pool Blocksize"] == seen.docker_info(host)["storage"]["Pool Blocksize"]
    assert "containers: 3" in fine["metadata"]
    assert "of containers large, middle, small" in fine["mounts"]
    assert re.search(r"changed=0 .*failed=0", output)


def test_the_tree_is_that_of_lsblk(host, well):
    lines, _output = well
    disk = seen.root(host, f"basename $(readlink --canonicalize {DISK})").strip()
    tree = lines[: [line.startswith("OK") for line in lines].index(True)]
    names = set(seen.root(host, f"lsblk --noheadings --list --output NAME /dev/{disk}").split())
    assert tree[0].split() == [disk, "10.00", "GiB", "disk"]
    for name in names:
        shown = re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1...", name)
        assert any(re.search(rf"(^|\W){re.escape(shown)} ", line) for line in tree), (name, tree)
    for name in CONTAINERS:
        mounted = seen.root(host, f"docker inspect --format '{{{{.GraphDriver.Data.DeviceName}}}}' {name}").strip()
        shown = re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1...", mounted)
        assert any(shown in line and line.endswith(f"container {name}") for line in tree), (name, tree)


def test_what_docker_says_is_told(host, well):
    lines, _output = well
    storage = seen.docker_info(host)["storage"]
    assert any(f"Backing Filesystem: {storage['Backing Filesystem']}" in line for line in lines)
    assert any(re.match(r"Data Space Used: \S+ of " + re.escape(storage["Data Space Total"]), line) for line in lines)


def test_the_manuals_advice_is_given(host, well):
    lines, _output = well
    advice = by_word(lines, "ADVICE")
    assert "among them large, middle, small," in advice["logs"]
    assert "max-size" in advice["logs"]
    disk = seen.root(host, f"basename $(readlink --canonicalize {DISK})").strip()
    rotational = seen.root(host, f"cat /sys/block/{disk}/queue/rotational").strip()
    assert ("rotational" in advice) == (rotational == "1"), advice
    # 512 MiB of memory for each container.
    assert "memory" not in advice


def test_who_writes_much_into_its_layer_is_named(host, well):
    lines, _output = well
    heavy = [line for line in lines if line.startswith("ADVICE    volumes: ")]
    assert heavy, lines
    assert heavy[0].startswith("ADVICE    volumes: container large (busybox) wrote 2")
    assert "and has no volume" in heavy[0]
    assert not any("container small" in line for line in heavy)


def test_it_changes_nothing_and_does_the_same_in_check_mode(host, well):
    before = seen.root(host, "stat --format '%n %Y %s' /etc/docker/daemon.json /etc/lvm/backup/docker")
    status, lines, output = verify("--check", "--diff")
    assert status == 0, output
    assert by_word(lines, "OK").keys() == by_word(well[0], "OK").keys()
    assert re.search(r"changed=0 .*failed=0", output)
    assert seen.root(host, "stat --format '%n %Y %s' /etc/docker/daemon.json /etc/lvm/backup/docker") == before


def test_other_chunks_than_wished_are_told_and_fail():
    status, lines, output = verify(direct_lvm_chunk_size="1M")
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert list(mismatches) == ["Pool Blocksize", "role"]
    assert mismatches["Pool Blocksize"].startswith("524.3kB; wanted: 1.049MB. A pool keeps the chunks")
    assert "chunk" in mismatches["role"]
    assert re.search(r"failed=1 ", output)


def test_another_option_of_the_driver_than_it_runs_with_is_told_and_fails():
    status, lines, _output = verify(direct_lvm_storage_opts=["dm.min_free_space=20%", "dm.use_deferred_removal=true"])
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert list(mismatches) == ["Thin Pool Minimum Free Space (dm.min_free_space)", "role"]
    assert mismatches["Thin Pool Minimum Free Space (dm.min_free_space)"].startswith("10%; wanted: 20%")
    assert "left to do: " in mismatches["role"]
    assert "/etc/docker/daemon.json" in mismatches["role"]


def test_a_mismatch_need_not_fail_and_is_no_change_in_check_mode():
    status, lines, output = verify("--check", direct_lvm_autoextend_percent=10, direct_lvm_verify_fail_on="never")
    assert status == 0, output
    assert list(by_word(lines, "MISMATCH")) == ["role"]
    assert re.search(r"changed=0 .*failed=0", output)


def test_a_pool_of_another_name_is_not_there():
    status, lines, _output = verify(direct_lvm_pool="other")
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert mismatches["pool"].startswith("no docker-other; wanted: docker-other on docker-other_tdata")
    assert mismatches["Pool Name"].startswith("docker-thinpool; wanted: docker-other. Docker runs on other storage")


def test_a_mount_that_is_lost_is_told(host):
    device = seen.root(host, "docker inspect --format '{{.GraphDriver.Data.DeviceName}}' small").strip()
    point = seen.root(host, f"findmnt --noheadings --output TARGET /dev/mapper/{device} | head -n 1").strip()
    seen.root(host, f"umount --lazy {point}")
    try:
        status, lines, _output = verify()
    finally:
        seen.root(host, f"mount /dev/mapper/{device} {point}")
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert list(mismatches) == ["mounts"]
    assert "of containers large, middle, and none of containers small, which run" in mismatches["mounts"]


def test_a_program_that_does_not_end_does_not_stop_it(host):
    """lsblk waits for ever, as it may where a disk no longer answers."""
    seen.root(host, f"printf '#!/bin/sh\\nexec sleep 1000\\n' > {SLOW} && chmod 755 {SLOW}")
    try:
        status, lines, _output = verify()
    finally:
        seen.root(host, f"rm {SLOW}")
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert list(mismatches) == ["devices", "pool"]
    assert "had not ended after 30 seconds" in mismatches["pool"]
    assert by_word(lines, "OK")["Pool Name"] == "docker-thinpool"


def test_docker_that_is_down_is_told_and_the_rest_is_shown(host):
    seen.stop_docker(host)
    try:
        status, lines, _output = verify()
    finally:
        seen.root(host, "systemctl start docker.service")
        start_containers(host)
    assert status != 0
    mismatches = by_word(lines, "MISMATCH")
    assert list(mismatches) == ["docker", "role"]
    assert "and does not run" in mismatches["docker"]
    assert "start Docker" in mismatches["role"]
    assert list(by_word(lines, "OK")) == ["devices", "pool", "metadata", "mounts"]
    assert any("docker-thinpool" in line and line.endswith("lvm") for line in lines)


def test_with_limits_there_is_no_advice_on_logs(host):
    daemon = seen.root(host, "cat /etc/docker/daemon.json")
    seen.root(host, f"docker stop --time 1 {' '.join(CONTAINERS)}")
    limited = json.dumps({"direct_lvm_devices": [DISK], "direct_lvm_daemon_options": LIMITS})
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", f"--extra-vars={limited}")
    assert status == 0, output
    try:
        seen.root(host, "docker run -d --name bounded --network none busybox /bin/sh -c 'sleep 1000000'")
        status, lines, output = verify(direct_lvm_daemon_options=LIMITS)
        assert status == 0, output
        assert by_word(lines, "OK")["Logging Driver"] == "json-file"
        assert "of containers bounded" in by_word(lines, "OK")["mounts"]
        assert "logs" not in by_word(lines, "ADVICE")
        # Those that were made before keep what they were made with.
        seen.root(host, "docker start small")
        _status, lines, _output = verify(direct_lvm_daemon_options=LIMITS)
        advice = by_word(lines, "ADVICE")["logs"]
        assert advice.startswith("what small print goes by log driver json-file without a limit")
        assert "Make them again" in advice
    finally:
        seen.root(host, "docker rm --force bounded")
        taken = seen.run_module("docker_daemon", state="absent", options=LIMITS)
        seen.stop_docker(host)
        seen.root(host, "systemctl start docker.service")
        start_containers(host)
    assert taken.get("changed"), taken
    assert json.loads(seen.root(host, "cat /etc/docker/daemon.json")) == json.loads(daemon)
