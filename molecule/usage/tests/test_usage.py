# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds how much of a pool: three containers that wrote 50, 200 and 100 MiB, asked for in every situation."""

from __future__ import annotations

import time
import typing as t

import pytest
import seen
from vm import kinds

WRITTEN = {"small": 50, "large": 200, "middle": 100}
CHUNK = 512 * 1024
POOL = {"vg": "docker", "name": "thinpool"}
# Beside what it writes, each container's filesystem writes to its journal and its own records.
FILESYSTEM = 8 * seen.MIB
SLOW = "/usr/local/sbin/thin_ls"
PARENT = "/run/thin_ls.parent"


@pytest.fixture(scope="module", autouse=True)
def containers(host):
    seen.root(host, seen.IMPORT_IMAGE)
    for name, mebibytes in WRITTEN.items():
        # Once: to be started again must not take as long again.
        write = f"dd if=/dev/urandom of=/filled bs=2M count={mebibytes // 2} oflag=direct && sync && touch /done"
        script = f"test -e /done || {{ {write}; }} && sleep 1000000"
        # No init in it passes a signal on to sleep: by the usual one, Docker would wait 10 s at every stop.
        options = f"--name {name} --network none --stop-signal KILL"
        seen.root(host, f"docker run -d {options} busybox /bin/sh -c '{script}'")
    for name in WRITTEN:
        seen.wait_until(180, lambda name=name: is_done(host, name), f"{name} has written")


def is_done(host, name: str) -> bool:
    with host.sudo():
        return host.run(f"docker exec {name} /bin/busybox test -e /done").rc == 0


def usage(**options) -> dict:
    """Return what the module tells of the pool."""
    found = seen.run_module("thin_pool_usage_info", **POOL, **options)
    assert "thin_pools" in found, found
    return found["thin_pools"][0]


def by_name(pool: dict, kind: str = "container") -> dict[str, dict]:
    return {row["owner"]["name"]: row for row in pool["devices"] if row["owner"] and row["owner"]["kind"] == kind}


def held_root(host) -> str:
    """Return the kernel's word for the metadata snapshot: its block, or a hyphen."""
    return seen.root(host, "dmsetup status docker-thinpool").split()[6]


def thin_ls(host) -> dict[int, tuple[int, ...]]:
    """Return mapped, exclusive and shared bytes of each device, by hand."""
    message = "dmsetup message docker-thinpool 0"
    command = "thin_ls --no-headers --format DEV,MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES -m"
    listed = f"{command} /dev/mapper/docker-thinpool_tmeta"
    text = seen.root(host, f"{message} reserve_metadata_snap && {listed}; {message} release_metadata_snap")
    rows = ([int(word) for word in line.split()] for line in text.splitlines())
    return {row[0]: tuple(row[1:]) for row in rows}


def assert_told(pool: dict) -> None:
    """See each container named with what it wrote, the one that wrote most first."""
    told = by_name(pool)
    assert list(told) == ["large", "middle", "small"]
    for name, mebibytes in WRITTEN.items():
        assert 0 <= told[name]["exclusive"] - mebibytes * seen.MIB <= FILESYSTEM, (name, told[name])
        assert told[name]["exclusive"] % CHUNK == 0


def test_containers_are_named_with_what_they_wrote(host):
    pool = usage()
    assert_told(pool)
    assert {name: row["owner"]["images"] for name, row in by_name(pool).items()} == dict.fromkeys(WRITTEN, ["busybox"])
    assert all(row["dm_name"] for row in by_name(pool).values())
    assert pool["unowned"] == {"devices": 0, "exclusive": 0}
    assert pool["records"] == ["/var/lib/docker"]
    assert held_root(host) == "-"


def test_image_base_and_layers_between_are_named(host):
    pool = usage()
    assert list(by_name(pool, "image_layer")) == ["busybox:latest"]
    assert list(by_name(pool, "base")) == ["base"]
    assert sorted(by_name(pool, "container_init")) == sorted(WRITTEN)


def while_unchanged(look: t.Callable[[], object], ask: t.Callable[[], dict]) -> tuple[object, dict]:
    """Return what a look and a question told while nothing changed: idle containers' filesystems write now and then."""
    for _attempt in range(5):
        before, answer, after = look(), ask(), look()
        if before == after:
            break
    return after, answer


def test_figures_are_those_of_thin_ls(host):
    seen.root(host, "sync")
    by_hand, pool = while_unchanged(lambda: thin_ls(host), usage)
    told = {row["device_id"]: (row["mapped"], row["exclusive"], row["shared"]) for row in pool["devices"]}
    assert told == by_hand
    assert pool["used"] == int(seen.root(host, "dmsetup status docker-thinpool").split()[5].split("/")[0]) * CHUNK


def test_most_come_first_and_sums_count_all():
    whole, first = while_unchanged(usage, lambda: usage(limit=1))
    assert [row["owner"]["name"] for row in first["devices"]] == ["large"]
    assert (first["total"], first["exclusive"]) == (whole["total"], whole["exclusive"])
    assert whole["total"] == len(whole["devices"]) == 8


def test_device_that_nobody_owns_is_told_so(host):
    seen.root(host, "dmsetup message docker-thinpool 0 'create_thin 4242'")
    try:
        pool = usage()
    finally:
        seen.root(host, "dmsetup message docker-thinpool 0 'delete 4242'")
    assert [row["device_id"] for row in pool["devices"] if row["owner"] is None] == [4242]
    assert pool["unowned"] == {"devices": 1, "exclusive": 0}


def test_two_at_once_wait_for_each_other(host):
    running = [seen.start_module("thin_pool_usage_info", **POOL) for _each in range(2)]
    outputs = [one.communicate()[0] for one in running]
    assert [one.returncode for one in running] == [0, 0], outputs
    assert held_root(host) == "-"


def test_snapshot_of_somebody_else_is_left_alone(host):
    seen.root(host, "dmsetup message docker-thinpool 0 reserve_metadata_snap")
    try:
        root = held_root(host)
        found = seen.run_module("thin_pool_usage_info", **POOL)
        assert found["msg"].startswith(
            f"somebody else holds a snapshot of the metadata of thin pool docker/thinpool (metadata block {root})"
        )
        assert held_root(host) == root
    finally:
        seen.root(host, "dmsetup message docker-thinpool 0 release_metadata_snap")
    assert_told(usage())


@pytest.fixture
def slow(host):
    """Let thin_ls wait first, and write down which process started it."""

    def make(seconds: int) -> None:
        script = f"#!/bin/sh\\necho $PPID > {PARENT}.new && mv {PARENT}.new {PARENT}\\nsleep {seconds}\\n"
        seen.root(host, f"printf '{script}exec /usr/sbin/thin_ls \"$@\"\\n' > {SLOW} && chmod 755 {SLOW}")

    yield make
    seen.root(host, f"rm -f {SLOW} {PARENT}")


def interrupted(host, signal: str) -> None:
    """Send a signal to the module while thin_ls runs."""
    running = seen.start_module("thin_pool_usage_info", **POOL)
    with host.sudo():
        seen.wait_until(120, lambda: host.file(PARENT).exists, "thin_ls was started")
    assert held_root(host) != "-"
    seen.root(host, f"kill -{signal} $(cat {PARENT}) && rm {PARENT}")
    running.communicate()
    assert running.returncode != 0


def test_killed_run_is_waited_for_and_its_snapshot_released(host, slow):
    slow(20)
    interrupted(host, "KILL")
    root = held_root(host)
    assert root != "-"
    began = time.monotonic()
    seen.root(host, f"rm {SLOW}")
    pool = usage()
    # The thin_ls of the killed run was at work, and the snapshot must not be released under it.
    assert time.monotonic() - began > 5
    assert_told(pool)
    assert held_root(host) == "-"
    with host.sudo():
        assert not host.file("/var/lib/devicemapper.containers").exists


def test_run_that_is_asked_to_end_releases_its_snapshot(host, slow):
    slow(20)
    interrupted(host, "TERM")
    seen.wait_until(20, lambda: held_root(host) == "-", "the snapshot is released")


def test_power_cut_leaves_a_snapshot_that_is_known_as_ours(host, slow):
    slow(1000)
    running = seen.start_module("thin_pool_usage_info", **POOL)
    with host.sudo():
        seen.wait_until(120, lambda: host.file(PARENT).exists, "thin_ls was started")
    root = held_root(host)
    assert root != "-"
    seen.root(host, f"rm {SLOW}")
    seen.root(host, "sync")
    machine = kinds.guest_named("usage")
    machine.kill()
    running.kill()
    machine.restart()
    seen.wait_until(300, lambda: is_up(host), "its boot has ended")
    assert held_root(host) == root
    pool = usage()
    assert held_root(host) == "-"
    assert set(by_name(pool)) == set(WRITTEN)


def is_up(host) -> bool:
    try:
        return host.run("systemctl is-system-running").stdout.strip() in ("running", "degraded")
    except RuntimeError:  # testinfra's word for an ssh that found nobody
        return False


def test_names_are_found_when_dockerd_is_down(host):
    seen.stop_docker(host)
    try:
        pool = usage()
        assert list(by_name(pool)) == ["large", "middle", "small"]
        assert pool["unowned"]["devices"] == 0
    finally:
        seen.root(host, "systemctl start docker.service")
