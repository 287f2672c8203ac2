# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of one host is no matter of the others: left out, refused, not there, one by one, taken apart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import seen
import testinfra

DISK = "/dev/disk/by-id/virtio-data1"
SCENARIO = Path(__file__).resolve().parents[1]


def guest(name: str):
    return testinfra.get_host(
        f"ansible://{name}", ansible_inventory=f"{os.environ['MOLECULE_EPHEMERAL_DIRECTORY']}/inventory"
    )


@pytest.fixture(scope="module")
def east():
    return guest("two-east")


@pytest.fixture(scope="module")
def west():
    return guest("two-west")


def recap(output: str) -> dict[str, dict[str, int]]:
    """Return Ansible's counts for each host."""
    counts = {}
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, colon, numbers = line.partition(":")
        if colon:
            counts[name.strip()] = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", numbers)}
    return counts


def traces(host) -> str:
    """Return what any run that does something to a host would change."""
    return seen.root(
        host,
        "vgs --noheadings -o vg_name,vg_seqno; systemctl show --property MainPID,ActiveEnterTimestamp docker; "
        "sha256sum /etc/docker/* /etc/lvm/profile/*",
    )


def test_each_run_shows_how_the_pools_are(east, west):
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm")
    assert status == 0, output
    lines = re.findall(r"^(two-\w+): (\S+): (\w+), data [\d.]+ % of ", output, re.MULTILINE)
    assert set(lines) == {
        ("two-east", "docker-east/thin-pool-1", "OK"),
        ("two-west", "west/docker", "OK"),
    }
    assert not [counts for counts in recap(output).values() if counts["changed"]], output


def test_metrics_are_written_where_that_is_asked_for_alone(east, west):
    seen.root(west, "systemctl start thin-pool-monitor.service")
    assert 'thin_pool_health{vg="west",pool="docker",health="ok"} 1' in seen.root(west, "cat /run/thin_pool.prom")
    assert seen.root(west, "systemctl is-active thin-pool-monitor.timer").strip() == "active"
    assert seen.root(east, "systemctl list-timers --all --no-legend thin-pool-monitor.timer") == ""


def test_a_reset_that_is_limited_to_one_host_leaves_the_other_alone(east, west):
    before = traces(east)
    status, output = seen.run_playbook("devicemapper.containers.reset", "--limit=two-west")
    assert status == 0, output
    assert list(recap(output)) == ["two-west"]
    assert traces(east) == before
    assert json.loads(seen.root(west, "vgs --reportformat json"))["report"] == [{"vg": []}]


def test_a_host_that_is_refused_and_one_that_is_gone_leave_the_third_right(east, west):
    status, output = seen.run_playbook("devicemapper.containers.reset", "--limit=two-east")
    assert status == 0, output
    seen.root(west, f"mkfs.ext4 -q {DISK} && sync")
    written = f"awk '{{ print $7, $14 }}' /sys/block/$(basename $(readlink -f {DISK}))/stat"
    before = seen.root(west, written)
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", f"--inventory={SCENARIO}/nobody.ini")
    assert status != 0
    counts = recap(output)
    assert counts["two-gone"]["unreachable"] == 1
    assert (counts["two-west"]["failed"], counts["two-west"]["changed"]) == (1, 0)
    assert (counts["two-east"]["failed"], counts["two-east"]["changed"] > 0) == (0, True)
    assert "is not blank: it holds ext4" in output
    assert seen.root(west, written) == before
    assert seen.docker_info(east)["storage"]["Pool Name"] == "docker--east-thin--pool--1"


def test_one_host_after_the_other(east, west):
    seen.root(west, f"blkdiscard --zeroout {DISK}")
    before = traces(east)
    status, output = seen.run_playbook("two_hosts/rolling.yml")
    assert status == 0, output
    counts = recap(output)
    assert counts["two-east"]["changed"] == 0
    assert traces(east) == before
    assert counts["two-west"]["changed"] > 0
    assert seen.docker_info(west)["storage"]["Pool Name"] == "west-docker"
    assert [seen.run_container(host, "echo it runs") for host in (east, west)] == ["it runs\n"] * 2


def test_both_are_taken_apart_as_check_mode_foretells(east, west):
    for options in (["--check", "--diff"], []):
        status, output = seen.run_playbook("shared/reset.yml", *options)
        assert status == 0, output
    for host in (east, west):
        assert json.loads(seen.root(host, "vgs --reportformat json"))["report"] == [{"vg": []}]
        assert seen.root(host, "wipefs --no-act /dev/disk/by-id/virtio-data*") == ""
        assert not host.service("docker").is_running
