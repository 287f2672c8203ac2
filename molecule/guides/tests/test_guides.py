# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reader follows the pages: a first pool, a full pool and each way out of it, and the way back to blank disks.

The tests are one story, in their order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import seen
import yaml

FIRST = "index.md"
FULL = "guides/full_pool.md"
NODE = "node1.example.org"
FULL_WORD = "out_of_data_space"
# An image with something of its own in it, and a container that wrote and has ended: what the guide removes first.
IMPORT_JOB = """
set -e
d=$(mktemp -d) && mkdir $d/bin && cp /bin/busybox $d/bin/ && ln -s busybox $d/bin/sh
dd if=/dev/urandom of=$d/own bs=1M count=30 status=none
tar -C $d -c . | docker import - import-image
docker run --name import-job --network none import-image \
  /bin/sh -c 'dd if=/dev/zero of=/filled bs=1M count=%d conv=fsync'
"""


def yaml_of(page: str, word: str) -> str:
    """Return the first piece of YAML of a page with a word in it."""
    text = (seen.DOCS / page).read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if word in block)


def own(name: str) -> Path:
    """Return a file of variables of the reader's host."""
    folder = seen.reader() / "host_vars" / NODE
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


@pytest.fixture(scope="module", autouse=True)
def _inventory():
    """Write the inventory of the first page; how the guest is reached stands beside it."""
    shutil.rmtree(seen.reader())  # of an earlier run
    (seen.reader() / "inventory.yml").write_text(yaml_of(FIRST, "# inventory.yml"), encoding="utf-8")
    guests = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory", "guests.yml").read_text(encoding="utf-8")
    ((_name, way),) = json.loads(guests)["all"]["hosts"].items()
    own("way.yml").write_text(json.dumps(way), encoding="utf-8")


def mebibytes(host) -> tuple[int, int]:
    """Return how many mebibytes the pool has, and how many of them are used."""
    pool = seen.volumes(host)["thinpool"]
    size = int(pool["lv_size"]) // seen.MIB
    return size, int(size * float(pool["data_percent"]) / 100)


def up_to(host, percent: int) -> int:
    """Return what is to be written until so much of the pool is used."""
    size, used = mebibytes(host)
    return size * percent // 100 - used


def kernel(host, since: str) -> str:
    return seen.root(host, f"journalctl --no-pager --output=cat --since '{since}' _TRANSPORT=kernel")


def mode(host) -> str:
    """Return the word in the kernel's status of the pool, as the guide explains it."""
    return next(
        word
        for word in seen.root(host, "dmsetup status --noflush docker-thinpool").split()[3:]
        if word in ("rw", "ro", FULL_WORD, "Fail")
    )


def start_writer(host, name: str, count: int) -> None:
    script = f"dd if=/dev/zero of=/filled bs=1M count={count} conv=fsync && echo kept > /kept"
    seen.root(host, f"docker run --detach --name {name} --network none busybox /bin/sh -c '{script}'")


def test_check_tells_every_step_and_changes_nothing(host):
    told = seen.follow(host, FIRST, "see what would happen")
    assert "create" in told
    assert "thin pool docker/thinpool" in told
    with host.sudo():
        assert host.run("vgs docker").rc != 0
        assert host.run("wipefs --no-act /dev/disk/by-id/virtio-data1").stdout == ""


def test_first_pool_is_there_and_docker_on_it(host):
    seen.follow(host, FIRST, "let it happen")
    # 80 and 1 percent of 255 extents.
    assert seen.pool_extents(host) == (204, 2)
    assert "MISMATCH" not in seen.follow(host, FIRST, "see it")
    told = seen.follow(host, FIRST, "see it on the host")
    assert "Storage Driver: devicemapper" in told
    assert "Pool Name: docker-thinpool" in told


def test_reference_is_there(host):
    assert "devicemapper.containers.lvm_thin_pool " in seen.follow(host, FIRST, "reference")
    assert "IT FAILS; add a disk before" in seen.follow(host, "sizing.md", "calculator")


def test_pool_is_looked_after(host):
    seen.root(host, "lvchange --monitor n docker/thinpool")
    seen.follow(host, "guides/monitor.md", "repair")
    seen.assert_pool_is_kept_alive(host)
    seen.follow(host, "guides/report.md", "report")
    assert f"<bdi>{NODE}</bdi>" in (seen.reader() / "report.html").read_text(encoding="utf-8")
    seen.follow(host, "guides/backup.md", "make")
    assert (seen.reader() / "backups" / NODE / "docker-thinpool.tar.gz").stat().st_size > 0
    seen.follow(host, "guides/monitor.md", "take away")


def test_extension_that_has_no_room_is_told(host):
    seen.root(host, seen.IMPORT_IMAGE)
    seen.root(host, IMPORT_JOB % (up_to(host, 85) - 30))
    # A fifth of 204 extents, rounded up: there is room once.
    seen.wait_until(60, lambda: seen.pool_extents(host)[0] == 245, "the first extension")
    since = seen.now(host)
    seen.fill(host, up_to(host, 92), "kept")
    seen.wait_until(60, lambda: "Failed command for docker-thinpool." in seen.journal(host, since), "it fails")
    lines = seen.journal(host, since)
    assert re.search(r"WARNING: Thin pool docker-thinpool data is now \d+\.\d\d% full\.", lines)
    assert re.search(r"Insufficient free space: 49 extents needed, but only \d+ available", lines)
    assert "reached low water mark for data device: sending event." in kernel(host, since)
    with host.sudo():
        refused = host.run("docker run --rm --network none busybox /bin/busybox true")
    assert re.search(
        r"Thin Pool has \d+ free data blocks which is less than minimum required \d+ free data blocks", refused.stderr
    )
    told = seen.follow(host, FULL, "ask", fails=True)
    assert "CRITICAL" in told
    assert "cannot be extended: that takes 49 extents" in told
    assert "Failed command for docker-thinpool." in seen.follow(host, FULL, "look")


def test_what_the_group_has_left_is_taken(host):
    free = int(seen.volumes(host)["thinpool"]["vg_free_count"])
    assert 0 < free < 49
    seen.follow(host, FULL, "what is left")
    assert seen.pool_extents(host)[0] == 245 + free // 2


def test_disk_is_added_by_the_playbook(host):
    own("devices.yml").write_text(yaml_of(FULL, "virtio-data2"), encoding="utf-8")
    seen.follow(host, FULL, "grow")
    # 80 percent of 510 extents.
    assert seen.pool_extents(host)[0] == 408
    seen.assert_pool_is_kept_alive(host)


def test_full_pool_with_a_disk_within_the_minute_loses_nothing(host):
    since = seen.now(host)
    # It extends itself once more, by 82 extents.
    _size, used = mebibytes(host)
    start_writer(host, "paused", 490 * 4 - used + 40)
    seen.wait_until(180, lambda: mode(host) == FULL_WORD, "the pool is full")
    assert "switching pool to out-of-data-space (queue IO) mode" in seen.follow(host, FULL, "look")
    seen.follow(host, FULL, "add a disk")
    assert seen.root(host, "docker wait paused") == "0\n"
    assert seen.is_kept(host, "paused")
    assert "error IO" not in kernel(host, since)
    assert "switching pool to write mode" in kernel(host, since)
    assert "paused" in seen.follow(host, FULL, "afterwards")
    assert seen.volumes(host)["thinpool"]["lv_attr"][8] == "-"
    devices = yaml.safe_load(own("devices.yml").read_text(encoding="utf-8"))
    devices["direct_lvm_devices"].append("/dev/disk/by-id/virtio-data3")
    own("devices.yml").write_text(json.dumps(devices), encoding="utf-8")
    seen.follow(host, FULL, "share")
    seen.assert_pool_is_kept_alive(host)


def test_full_pool_without_room_fails_writes_and_removals_help(host):
    since = seen.now(host)
    assert "check needed" not in seen.follow(host, FULL, "metadata")
    seen.root(host, "docker run --detach --name bystander --network none busybox /bin/sh -c 'sleep 1000000'")
    size, used = mebibytes(host)
    start_writer(host, "failed", size - used + 40)
    seen.wait_until(180, lambda: mode(host) == FULL_WORD, "the pool is full")
    assert seen.volumes(host)["thinpool"]["lv_attr"][8] == "D"
    seen.wait_until(120, lambda: "(error IO) mode" in kernel(host, since), "writes fail")
    assert seen.root(host, "timeout 120 docker wait failed") == "1\n"
    assert "No space left on device" in seen.root(host, "docker logs failed 2>&1")
    assert re.search(r"XFS \(dm-\d+\): Failing async write|writeback error on inode", kernel(host, since))
    told = seen.follow(host, FULL, "who")
    assert "import-job" in told
    assert "failed" in told
    seen.follow(host, FULL, "free")
    seen.wait_until(60, lambda: "switching pool to write mode" in kernel(host, since).partition("error IO")[2], "room")
    assert mode(host) == "rw"
    assert mebibytes(host)[1] < size * 9 // 10
    # Those that wrote nothing meanwhile are as they were; the one whose writes failed can be removed.
    assert seen.root(host, "docker exec bystander /bin/busybox sh -c 'echo fine > /word && cat /word'") == "fine\n"
    assert seen.is_kept(host, "kept")
    assert seen.is_kept(host, "paused")
    seen.root(host, "docker rm failed && docker stop --time 1 bystander")
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_all_is_taken_apart(host):
    seen.follow(host, "guides/uninstall.md", "reset")
    for serial in ("data1", "data2", "data3"):
        assert seen.root(host, f"wipefs --no-act /dev/disk/by-id/virtio-{serial}") == ""
    seen.follow(host, "guides/uninstall.md", "start")
    assert seen.docker_info(host)["Images"] == 0
