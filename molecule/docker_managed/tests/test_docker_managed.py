# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool that Docker made: as Docker makes it, put right, kept over a reboot, refused other wishes, taken apart."""

from __future__ import annotations

import json

import pytest
import seen

DISK = "/dev/disk/by-id/virtio-data1"
COMMON = {
    "direct_lvm_managed_by": "docker",
    "direct_lvm_devices": [DISK],
    "direct_lvm_docker_packages": ["docker.io"],
}
RECORD = "/var/lib/docker/devicemapper/setup-config.json"


def run(playbook: str, *words: str, **variables) -> tuple[int, str]:
    return seen.run_playbook(playbook, *words, "--extra-vars=" + json.dumps({**COMMON, **variables}))


def sequence(host) -> str:
    return seen.root(host, "vgs --noheadings -o vg_seqno docker")


def test_docker_made_the_pool_as_it_was_told(host):
    found = seen.volumes(host)
    assert set(found) == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"}
    assert seen.pool_extents(host) == (2047, 25)
    record = json.loads(seen.root(host, f"cat {RECORD}"))
    device = seen.root(host, f"readlink -f {DISK}").strip()
    assert record == {
        "Device": device,
        "ThinpPercent": 80,
        "ThinpMetaPercent": 1,
        "AutoExtendPercent": 20,
        "AutoExtendThreshold": 80,
    }
    options = json.loads(seen.root(host, "cat /etc/docker/daemon.json"))["storage-opts"]
    assert f"dm.directlvm_device={device}" in options
    assert not any(option.startswith("dm.thinpooldev=") for option in options)


def test_what_docker_leaves_out_is_put_right(host):
    seen.assert_pool_is_kept_alive(host)
    assert seen.low_water_mark(host) == 3275
    assert seen.root(host, "vgs --noheadings -o vg_tags docker").strip() == "devicemapper.containers"
    assert "thin-pool-docker-thinpool.conf" in seen.root(host, "systemctl show --property=DropInPaths docker")


def test_docker_runs_on_it(host):
    info = seen.docker_info(host)
    assert (info["Driver"], info["storage"]["Pool Name"]) == ("devicemapper", "docker-thinpool")
    assert info["storage"]["Udev Sync Supported"] == "true"
    assert not info["storage"].get("Data loop file")
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_pool_that_fills_past_the_threshold_grows_by_itself(host):
    seen.fill(host, 6700, "filler")
    seen.wait_until(120, lambda: seen.pool_extents(host)[0] == 2457, "data grows from 2047 to 2457 extents")


def test_reboot_brings_all_back_and_nothing_is_left_to_do(host):
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert seen.is_kept(host, "filler")
    status, output = run("devicemapper.containers.direct_lvm")
    assert (status, "changed=0" in output) == (0, True), output


# What Docker cannot do or change, and the words for it.
@pytest.mark.parametrize(
    ("playbook", "variables", "words"),
    [
        ("direct_lvm", {"direct_lvm_data_size": "95%VG"}, "Docker made its pool with data_size 80%VG, and would not"),
        (
            "direct_lvm",
            {"direct_lvm_autoextend_percent": 30, "direct_lvm_chunk_size": "64k"},
            "Docker's own pool has chunks of 512.00 KiB, not of 64.00 KiB",
        ),
        (
            "direct_lvm",
            {"direct_lvm_devices": [DISK, "/dev/disk/by-id/virtio-data2"]},
            "Docker makes a pool on one device, not on 2",
        ),
        ("grow", {}, "is a way of Docker's, and with engine: none Docker is left alone: set managed_by: collection"),
    ],
)
def test_what_docker_cannot_do_is_refused(host, playbook, variables, words):
    before = sequence(host)
    status, output = run(f"devicemapper.containers.{playbook}", **variables)
    assert status != 0
    assert words in output
    assert "changed=0" in output
    assert (sequence(host), seen.docker_info(host)["Driver"]) == (before, "devicemapper")


def test_it_is_taken_apart_as_check_mode_foretells(host):
    seen.root(host, "docker rm filler")
    for mode in (["--check", "--diff"], []):
        status, output = run("shared/reset.yml", *mode)
        assert status == 0, output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    with host.sudo():
        for path in ("/etc/docker/daemon.json", RECORD, "/etc/lvm/profile/docker-thinpool.profile"):
            assert not host.file(path).exists


def test_docker_itself_refuses_a_link_to_the_disk(host):
    """Why it is given the kernel's name."""
    wish = {"storage-driver": "devicemapper", "storage-opts": [f"dm.directlvm_device={DISK}"]}
    seen.root(host, f"echo '{json.dumps(wish)}' > /etc/docker/daemon.json")
    since = seen.now(host)
    with host.sudo():
        assert host.run("systemctl reset-failed docker; systemctl start docker").rc != 0
    log = seen.root(host, f"journalctl --unit docker --since '{since}' --output cat")
    assert f"{DISK} is not available for use with devicemapper" in log
    seen.root(host, "systemctl stop docker docker.socket; systemctl reset-failed docker; rm /etc/docker/daemon.json")
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""


# What an interrupted attempt of Docker's leaves, and the commands that the refusal names.
@pytest.mark.parametrize(
    ("left", "words"),
    [
        (f"pvcreate {DISK}", "is a physical volume already, as Docker leaves it where it was interrupted"),
        (
            f"pvcreate {DISK}; vgcreate docker {DISK}; lvcreate -y -n thinpool docker -l 80%VG",
            "volume group docker with thinpool is there and no pool",
        ),
    ],
)
def test_an_interrupted_attempt_is_refused_and_its_commands_clear_it(host, left, words):
    seen.root(host, left)
    status, output = run("devicemapper.containers.direct_lvm")
    assert status != 0
    assert words in output
    assert "changed=0" in output
    sentence = next(line for line in output.splitlines() if words in line)
    commands = [part for part in sentence.split("'") if part.startswith(("lvremove", "vgremove", "pvremove"))]
    for command in commands:
        seen.root(host, command.replace("lvremove", "lvremove --yes"))
    assert commands
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
