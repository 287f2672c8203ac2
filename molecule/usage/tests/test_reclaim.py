# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container has deleted comes back, and a device of nobody's, while another container writes.

Before the other tests of this scenario, which count the containers: it leaves none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import seen

POOL = {"vg": "docker", "name": "thinpool"}
CHUNK = 512 * 1024
GONE, ORPHAN = 300, 30  # MiB
NUMBER = 4242
PAGE = "guides/reclaim.md"
RUN = "docker run -d --network none --stop-signal KILL --name"


def used(host) -> int:
    """Return the bytes of the pool that are in use, after what became free was committed."""
    seen.root(host, "sleep 2")
    chunks = seen.root(host, "dmsetup status --noflush docker-thinpool").split()[5].partition("/")[0]
    return int(chunks) * CHUNK


def is_done(host, name: str) -> bool:
    with host.sudo():
        return host.run(f"docker exec {name} /bin/busybox test -e /done").rc == 0


@pytest.fixture(scope="module", autouse=True)
def containers(host):
    """Have a container that has deleted much, one that goes on writing, and a device that nobody has on record."""
    guests = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory", "guests.yml")
    (seen.reader() / "inventory.yml").write_text(guests.read_text(encoding="utf-8"), encoding="utf-8")
    seen.root(host, seen.IMPORT_IMAGE)
    delete = (
        "test -e /done || { mkdir /sums && dd if=/dev/urandom of=/kept bs=1M count=50 && "
        "sha256sum /kept > /sums/kept && "
        f"dd if=/dev/zero of=/gone bs=1M count={GONE} && sync && rm /gone && sync && touch /done; }}; sleep 1000000"
    )
    # A sum is there only while its file is whole, whenever the container is killed.
    write = (
        "mkdir -p /sums; i=0; while :; do rm -f /sums/$i; sync; dd if=/dev/urandom of=/w$i bs=1M count=4 conv=fsync; "
        "sha256sum /w$i > /sum; sync; mv /sum /sums/$i; sync; touch /done; i=$(((i + 1) % 6)); sleep 1; done"
    )
    for name, script in (("deleter", delete), ("writer", write)):
        seen.root(host, f"{RUN} {name} busybox /bin/sh -c '{script}'")
    for name in ("deleter", "writer"):
        seen.wait_until(180, lambda name=name: is_done(host, name), f"{name} is ready")
    seen.root(
        host,
        f"dmsetup message docker-thinpool 0 'create_thin {NUMBER}' && dmsetup create nobodys --table "
        f"'0 {ORPHAN * 2048} thin /dev/mapper/docker-thinpool {NUMBER}' && "
        f"dd if=/dev/urandom of=/dev/mapper/nobodys bs=1M count={ORPHAN} oflag=direct status=none",
    )
    yield
    seen.root(host, "docker rm --force deleter writer")


def reclaim(**options) -> dict:
    found = seen.run_module("thin_pool_reclaim", **POOL, **options)
    assert "reclaimable" in found, found
    return found


def test_check_mode_tells_the_bytes_that_come_back(host):
    before = used(host)
    told = seen.follow(host, PAGE, "ask")
    assert re.search(r"docker/thinpool: \S+ MiB in use, (29\d|30\d)\.\d\d MiB can come back", told), told
    assert f"device {NUMBER} is on nobody's record and holds {ORPHAN}.00 MiB: it is active as nobodys" in told.replace(
        "; it", ": it"
    )
    assert used(host) >= before - 8 * seen.MIB


def test_a_device_that_is_active_is_not_removed(host):
    found = reclaim(trim=False, remove_orphans=True)
    (orphan,) = found["orphans"]
    assert (orphan["device_id"], orphan["dm_name"], orphan["removed"]) == (NUMBER, "nobodys", False)
    assert not found["changed"]
    seen.root(host, "dmsetup remove nobodys")


def test_what_was_deleted_comes_back_while_others_write(host):
    before = used(host)
    assert "came back" in seen.follow(host, PAGE, "reclaim")
    after = used(host)
    assert before - after == pytest.approx(GONE * seen.MIB, abs=24 * seen.MIB)  # the other one writes
    # The disks of this guest take discards of 32 KiB.
    (stop,) = reclaim(trim=False)["stops"]
    assert stop["kind"] == "disks_take_none"


def test_a_second_run_has_nothing_to_do_for_who_deleted_nothing(host):
    (deleter,) = [one for one in reclaim()["containers"] if one["owner"] and one["owner"]["name"] == "deleter"]
    assert (deleter["reclaimable"], deleter["why_not"]) == (0, None)


def test_a_device_of_nobodys_is_shown_and_removed_where_that_is_asked_for(host):
    assert reclaim(trim=False)["orphans"] == [
        {"device_id": NUMBER, "exclusive": ORPHAN * seen.MIB, "dm_name": None, "removed": False}
    ]
    before = used(host)
    found = reclaim(trim=False, remove_orphans=True)
    assert [one["removed"] for one in found["orphans"]] == [True]
    assert before - used(host) == pytest.approx(ORPHAN * seen.MIB, abs=8 * seen.MIB)
    assert reclaim(trim=False, remove_orphans=True)["orphans"] == []


def test_what_shares_with_a_device_of_nobodys_keeps_all_of_it(host):
    """A snapshot of a container's device that no engine knows of, as one that was made by hand."""
    words = "{{.GraphDriver.Data.DeviceId}} {{.GraphDriver.Data.DeviceName}}"
    number, device = seen.root(host, f"docker inspect --format '{words}' deleter").split()
    seen.root(
        host,
        f"dmsetup suspend {device} && dmsetup message docker-thinpool 0 'create_snap {NUMBER} {number}'; "
        f"dmsetup resume {device}",
    )
    assert [one["removed"] for one in reclaim(trim=False, remove_orphans=True)["orphans"]] == [True]


@pytest.mark.parametrize("name", ["deleter", "writer"])
def test_nothing_that_lives_was_touched(host, name):
    """Read from the pool and not from memory: the container was killed, and its filesystem unmounted."""
    check = "for one in /sums/*; do sha256sum -c $one; done"
    told = seen.root(host, f"docker restart --time 0 {name} && docker exec {name} /bin/busybox sh -c '{check}'")
    assert "OK" in told
    assert "FAILED" not in told
