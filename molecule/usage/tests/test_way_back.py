# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup made while containers run, and the way back by the guide's own commands after all was overwritten."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import tarfile

import pytest
import seen

GUIDE = "guides/backup.md"
DISK = "/dev/disk/by-id/virtio-data1"
CONTAINERS = ("small", "large", "middle")
ARCHIVE = "/var/backups/devicemapper.containers/docker-thinpool.tar.gz"


def sums(host) -> dict[str, str]:
    """Return the checksum of what each container wrote, read by itself after it is started again."""
    seen.root(host, f"docker start {' '.join(CONTAINERS)}")
    read = "docker exec {} /bin/busybox md5sum /filled"
    return {name: seen.root(host, read.format(name)).split()[0] for name in CONTAINERS}


@pytest.fixture(scope="module")
def written(host):
    return sums(host)


@pytest.fixture(scope="module")
def fetched(host, written, tmp_path_factory):
    """Return the archive on this machine, made while containers run."""
    folder = tmp_path_factory.mktemp("backups")
    variables = f"--extra-vars={json.dumps({'backup_dest': str(folder)})}"
    status, output = seen.run_playbook("devicemapper.containers.backup", "--check", "--diff", variables)
    assert status == 0, output
    with host.sudo():
        assert not host.file(ARCHIVE).exists
    status, output = seen.run_playbook("devicemapper.containers.backup", variables)
    assert status == 0, output
    return folder / "usage" / "docker-thinpool.tar.gz"


def test_backup_is_complete_and_kept_from_others(host, fetched):
    assert (fetched.stat().st_mode & 0o777, fetched.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with host.sudo():
        assert host.file(ARCHIVE).mode == 0o600
        assert host.file(ARCHIVE).sha256sum == hashlib.sha256(fetched.read_bytes()).hexdigest()
        assert host.file(os.path.dirname(ARCHIVE)).listdir() == [os.path.basename(ARCHIVE)]
    with tarfile.open(fetched) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        names = {member.name for member in archive if not member.isdir()}
    assert names == {"manifest.json", "SHA256SUMS", *(file["name"] for file in manifest["files"])}
    assert {"lvm/docker.conf", "lvm/docker-thinpool.profile", "thin/docker-thinpool.xml", "docker/daemon.json"} < names
    status = seen.root(host, "dmsetup status docker-thinpool").split()
    assert (manifest["pool"]["transaction_id"], manifest["pool"]["devices"]) == (int(status[3]), 8)
    assert status[6] == "-"
    assert len(seen.root(host, "docker ps --quiet").split()) == 3


def test_backup_is_made_while_containers_come_and_go(host, fetched):
    busy = "while true; do docker run --rm --network none busybox /bin/busybox true; sleep 5; done"
    seen.root(host, f"systemd-run --quiet --unit=busy sh -c '{busy}'")
    try:
        found = seen.run_module("thin_pool_backup", vg="docker", name="thinpool", dest="/var/backups/busy")
    finally:
        seen.root(host, "systemctl stop busy")
    assert found.get("changed"), found
    recorded = seen.root(
        host,
        f"tar -xzO -f {found['path']} docker/root/devicemapper/metadata/transaction-metadata",
    )
    # Docker is between two transactions, or has said that it begins one.
    assert json.loads(recorded)["open_transaction_id"] - found["manifest"]["pool"]["transaction_id"] in (0, 1)


def test_pool_that_must_be_checked_is_repaired_by_the_guide(host, written, fetched):
    seen.follow(host, GUIDE, "stop")
    mark_for_check(host)
    # thin_check finds nothing wrong with it, so LVM activates it; the kernel writes nothing all the same.
    seen.root(host, "lvchange --activate y docker/thinpool")
    refused = seen.run_module("thin_pool_backup", vg="docker", name="thinpool")
    assert "thin pool docker/thinpool is read-only, and its metadata must be checked (needs_check)" in refused["msg"]
    (pool,) = seen.run_module("lvm_thin_pool_info")["thin_pools"]
    assert pool["health"] == "critical"
    assert {"needs_check", "metadata_read_only"} <= {reason["kind"] for reason in pool["reasons"]}
    seen.follow(host, GUIDE, "stop")
    assert "damaged" not in seen.follow(host, GUIDE, "copy")
    seen.follow(host, GUIDE, "repair")
    assert "check needed" not in seen.follow(host, GUIDE, "activate")
    assert sums(host) == written
    seen.follow(host, GUIDE, "after the repair")
    assert_nothing_is_left_over(host)


def test_pool_is_restored_by_the_guide_after_all_that_describes_it_is_gone(host, written, fetched):
    seen.follow(host, GUIDE, "stop")
    start, _size = metadata_place(host)
    seen.root(host, f"dd if=/dev/zero of={DISK} bs=1M seek={start // seen.MIB} count=100 conv=fsync")
    seen.root(host, f"dd if=/dev/zero of={DISK} bs=512 count=2048 conv=fsync; pvscan --cache {DISK}; udevadm settle")
    seen.root(host, "rm -r /var/lib/docker/devicemapper/metadata/* /etc/docker/daemon.json /etc/lvm/backup/docker")
    with host.sudo():
        assert host.run("vgs docker").rc != 0
    seen.copy_to(fetched, "/root/docker-thinpool.tar.gz")
    seen.follow(host, GUIDE, "restore")
    assert sums(host) == written
    assert sorted(seen.root(host, "docker ps --all --format '{{.Names}}'").split()) == sorted(CONTAINERS)
    assert seen.run_container(host, "echo it runs") == "it runs\n"
    status, output = seen.run_playbook(
        "devicemapper.containers.direct_lvm", "--extra-vars=" + json.dumps({"direct_lvm_devices": [DISK]})
    )
    assert status == 0, output
    seen.assert_pool_is_kept_alive(host)
    seen.follow(host, GUIDE, "afterwards")
    assert_nothing_is_left_over(host)


def test_restored_pool_is_sound(host):
    seen.follow(host, GUIDE, "stop")
    seen.root(host, "lvchange --yes --activate y docker/thinpool_tmeta && thin_check /dev/docker/thinpool_tmeta")
    seen.root(host, "lvchange --activate n docker/thinpool_tmeta && lvchange --activate y docker/thinpool")
    seen.root(host, "systemctl start docker.service && docker start small")


def assert_nothing_is_left_over(host) -> None:
    """See the pool's own volumes alone; LVM numbers a new spare as it likes."""
    names = {re.sub("lvol[0-9]+_", "", name) for name in seen.volumes(host)}
    assert names == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "pmspare"}


def metadata_place(host) -> tuple[int, int]:
    """Return where on the disk the pool's metadata begins, and its size, in bytes."""
    text = seen.root(host, "lvs --all --noheadings --options seg_pe_ranges docker/thinpool_tmeta")
    first, last = (int(number) for number in re.fullmatch(r"\s*\S+:(\d+)-(\d+)\s*", text).groups())
    start = int(seen.root(host, f"pvs --noheadings --units b --nosuffix --options pe_start {DISK}"))
    return start + first * 4 * seen.MIB, (last - first + 1) * 4 * seen.MIB


def mark_for_check(host) -> None:
    """Do what the kernel does when it could not write metadata: set a flag in the superblock (dm-thin-metadata.c)."""
    start, _size = metadata_place(host)
    text = seen.root(host, f"dd if={DISK} bs=4096 skip={start // 4096} count=1 status=none | od -An -v -tx1")
    block = bytearray(bytes.fromhex("".join(text.split())))
    assert struct.unpack_from("<Q", block, 32)[0] == 27022010  # THIN_SUPERBLOCK_MAGIC
    struct.pack_into("<I", block, 4, 1)  # THIN_METADATA_NEEDS_CHECK_FLAG
    struct.pack_into("<I", block, 0, crc32c(bytes(block[4:])) ^ 160774)  # SUPERBLOCK_CSUM_XOR
    octal = "".join(f"\\{byte:03o}" for byte in block)
    target = f"dd of={DISK} bs=4096 seek={start // 4096} count=1 conv=notrunc,fsync status=none"
    seen.root(host, f"printf '{octal}' | {target}")


def crc32c(text: bytes) -> int:
    """Return the kernel's checksum of metadata blocks: Castagnoli's polynomial, begun with all ones, not inverted."""
    found = 0xFFFFFFFF
    for byte in text:
        found ^= byte
        for _bit in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found
