# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a disk without a signature; a sparse file stands for the disk."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import time

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import disk_contents

MIB = 1024 * 1024
SIZE = 8 * 1024 * MIB
NOISE = random.Random(20).randbytes(4 * MIB) if hasattr(random.Random, "randbytes") else os.urandom(4 * MIB)


@pytest.fixture
def disk(tmp_path):
    """Return a function that makes a disk of a size with these bytes at these places, and returns its path."""

    def make(contents=None, size=SIZE):
        path = tmp_path / "disk"
        with open(path, "wb") as file:
            file.truncate(size)
            for offset, written in (contents or {}).items():
                file.seek(offset)
                file.write(written)
        assert path.stat().st_size == size
        return str(path)

    return make


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("etc/passwd")
        member.size = 100
        archive.addfile(member, io.BytesIO(b"x" * 100))
    return file.getvalue()


# An InnoDB file on a raw device: pages of 16 KiB, of which the first has a checksum and mostly zeros.
INNODB = b"\x5f\x1e\xa3\x01" + bytes(12) + b"\x00\x00\x00\x08" + bytes(16 * 1024 - 20)


@pytest.mark.parametrize("rotational", [False, True])
@pytest.mark.parametrize(
    ("contents", "at"),
    [
        pytest.param({0: tar()}, 0, id="tar"),
        pytest.param({0: gzip.compress(NOISE)}, 0, id="gzip"),
        pytest.param({0: NOISE}, 0, id="plain-dm-crypt"),
        pytest.param({0: INNODB}, 0, id="innodb"),
        pytest.param({MIB: NOISE}, MIB, id="a-partition-without-its-table"),
        pytest.param({MIB - 1: b"\x01"}, MIB - 4096, id="one-byte-in-the-first-mib"),
        pytest.param({16 * MIB: b"x" * 4096}, 16 * MIB, id="behind-a-boot-area"),
        pytest.param({SIZE - 1: b"\x01"}, SIZE - 4096, id="the-last-byte"),
        pytest.param({SIZE - MIB: b"\x01"}, SIZE - MIB, id="the-last-mib"),
        pytest.param({SIZE // 2: b"\x01"}, SIZE // 2, id="in-the-middle"),
        pytest.param({0: bytes(2048) + b"\xff" * 2048}, 0, id="zeros-and-ones-in-one-block"),
    ],
)
def test_what_has_no_signature_is_found(disk, contents, at, rotational):
    found = disk_contents.describe(disk(contents), SIZE, rotational=rotational)
    assert found == f"data without a known signature (seen at byte {at})"


@pytest.mark.parametrize("shift", range(13))
def test_where_partitions_and_volumes_begin_is_looked_at(disk, shift):
    assert disk_contents.describe(disk({MIB << shift: b"\x01"}), SIZE)


@pytest.mark.parametrize("seed", range(40))
def test_what_fills_a_thirtieth_of_the_disk_is_found_wherever_it_is(disk, seed):
    chance = random.Random(seed)
    size = 64 * MIB + chance.randrange(0, 4096) * 512
    length = size // 31 + 4096
    start = chance.randrange(0, size - length)
    assert disk_contents.describe(disk({start: b"\xa5" * length}, size), size)


@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB + 512, 3 * MIB - 512, SIZE])
@pytest.mark.parametrize("rotational", [False, True])
def test_zeros_are_blank(disk, size, rotational):
    assert disk_contents.describe(disk(size=size), size, rotational=rotational) == ""


@pytest.mark.parametrize("size", [2 * MIB, 5 * MIB + 512])
def test_ones_are_blank_as_discarded_flash_memory_reads(disk, size):
    assert disk_contents.describe(disk({0: b"\xff" * size}, size), size) == ""


def test_blocks_of_zeros_among_ones_are_blank(disk):
    contents = {0: b"\xff" * 4096 + bytes(4096) + b"\xff" * (3 * MIB - 8192)}
    assert disk_contents.describe(disk(contents, 3 * MIB), 3 * MIB) == ""


@pytest.mark.parametrize("size", [2 * MIB, 2 * MIB + 512, 5 * MIB - 512, 300 * MIB])
def test_what_is_erased_is_blank_by_either_look(disk, size):
    path = disk({offset: NOISE[: min(4 * MIB, size - offset)] for offset in range(0, size, 4 * MIB)}, size)
    assert disk_contents.describe(path, size)
    disk_contents.erase(path)
    assert [disk_contents.describe(path, size, rotational=turns) for turns in (False, True)] == ["", ""]
    assert os.stat(path).st_size == size


@pytest.mark.parametrize("size", [2 * MIB, 5 * MIB - 512])
@pytest.mark.parametrize(
    "offsets", [[0x438], [0x1FE, 0x200, -0x200], [0x10040], [-4096, 4096], [0, 4095, 4096, -1], [1536 * 1024 + 3]]
)
def test_an_erasure_that_is_cut_off_leaves_a_signature_or_a_blank_disk(disk, monkeypatch, size, offsets):
    path = disk({offset: NOISE[: min(4 * MIB, size - offset)] for offset in range(0, size, 4 * MIB)}, size)
    signatures = [offset % size for offset in offsets]
    with open(path, "rb") as file:
        whole = file.read()
    pwrite, states = os.pwrite, []

    def written(*words):
        done = pwrite(*words)
        with open(path, "rb") as file:
            now = file.read()
        intact = [
            at
            for at in signatures
            if now[at] == whole[at] and now[at // 4096 * 4096 :][:8] == whole[at // 4096 * 4096 :][:8]
        ]
        states.append((bool(intact), disk_contents.describe(path, size) == ""))
        return done

    monkeypatch.setattr(os, "pwrite", written)
    disk_contents.erase(path, signatures)
    assert all(has_signature or is_blank for has_signature, is_blank in states)
    assert (len(states) > 2, states[-1]) == (True, (False, True))


@pytest.mark.parametrize("size", [2 * MIB, 7 * MIB + 512, SIZE, 2**50])
def test_every_look_is_within_the_disk_and_a_disk_that_turns_is_looked_at_in_fewer_of_them(size):
    all_of_them, few = disk_contents.spans(size), disk_contents.spans(size, rotational=True)
    assert all(offset >= 0 and offset + length <= size and length > 0 for offset, length in all_of_them)
    assert set(few) <= set(all_of_them)
    assert sum(length for _offset, length in all_of_them) <= 6 * MIB
    assert len(few) <= 16


def test_a_disk_that_cannot_be_read_is_not_blank(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        disk_contents.describe(str(tmp_path / "absent"), SIZE)


def test_a_look_takes_few_milliseconds(disk):
    path = disk()
    durations = []
    for _look in range(5):
        started = time.monotonic()
        assert disk_contents.describe(path, SIZE) == ""
        durations.append(time.monotonic() - started)
    assert min(durations) < 0.05
