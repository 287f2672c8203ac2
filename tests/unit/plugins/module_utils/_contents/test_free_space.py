# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a filesystem has free and the pool holds for it, and how it is given back."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import free_space
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.free_space import (
    Extent,
    MountPlace,
    Window,
    free_extents,
    give_back,
    joined,
    opened,
    parse_mappings,
    reclaimable,
    windows,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import thin_devices

CHUNK = 512 * 1024
GIB = 1024**3


def test_the_chunks_of_each_device_are_as_many_as_thin_ls_counts(captured):
    found = parse_mappings(captured("three_containers.xml").encode().splitlines())
    counted = {device.device_id: device.mapped for device in thin_devices.parse(captured("three_containers.thin_ls"))}
    assert {number: sum(extent.length for extent in extents) for number, extents in found.items()} == counted
    assert all(extents == sorted(extents) for extents in found.values())


def test_mappings_that_lie_side_by_side_are_one():
    lines = [
        b'<device dev_id="7" mapped_blocks="5" transaction="0" creation_time="0" snap_time="0">',
        b'<single_mapping origin_block="4" data_block="9" time="0"/>',
        b'<range_mapping origin_begin="5" data_begin="70" length="3" time="0"/>',
        b'<single_mapping origin_block="1" data_block="2" time="0"/>',
    ]
    assert parse_mappings(lines) == {7: [Extent(1, 1), Extent(4, 4)]}


@pytest.mark.parametrize(
    ("free", "mapped", "expected"),
    [
        pytest.param([(0, 10 * CHUNK)], [(2, 3)], [(2, 3)], id="all-that-it-has-is-free"),
        pytest.param([(0, 10 * CHUNK)], [], [], id="it-has-nothing"),
        pytest.param([], [(0, 10)], [], id="nothing-is-free"),
        # A chunk of which a part is in use stays: dm-thin discards whole chunks.
        pytest.param([(CHUNK // 2, 2 * CHUNK)], [(0, 9)], [(1, 1)], id="only-whole-chunks"),
        pytest.param([(1, CHUNK - 1)], [(0, 9)], [], id="less-than-a-chunk"),
        pytest.param([(1, CHUNK)], [(0, 9)], [], id="a-chunk-that-lies-across-two"),
        pytest.param([(0, 2 * CHUNK), (4 * CHUNK, 2 * CHUNK)], [(1, 4)], [(1, 1), (4, 1)], id="a-hole-in-what-is-free"),
        pytest.param([(0, 8 * CHUNK)], [(1, 1), (3, 1), (7, 4)], [(1, 1), (3, 1), (7, 1)], id="holes-in-what-it-has"),
        pytest.param([(0, CHUNK), (CHUNK, CHUNK)], [(0, 2)], [(0, 2)], id="side-by-side"),
    ],
)
def test_what_comes_back_are_whole_chunks_that_are_free_and_held(free, mapped, expected):
    found = reclaimable([Extent(*one) for one in free], [Extent(*one) for one in mapped], CHUNK)
    assert found == [Extent(*one) for one in expected]


def test_what_comes_back_is_what_a_map_of_every_chunk_says():
    """Against the plainest way to say it, with extents that meet in every way."""
    for seed in range(200):
        numbers = [(seed * 7919 + at * 104729) % 97 for at in range(48)]
        free = joined(sorted({Extent(number * CHUNK // 3, CHUNK // 3) for number in numbers[:32]}))
        mapped = joined(sorted({Extent(number // 3, 1) for number in numbers[32:]}))
        bytes_free = {at for extent in free for at in range(extent.start * 3 // CHUNK, extent.end * 3 // CHUNK)}
        held = {at for extent in mapped for at in range(extent.start, extent.end)}
        expected = {at for at in held if {3 * at, 3 * at + 1, 3 * at + 2} <= bytes_free}
        free = joined(Extent(-(-extent.start // (CHUNK // 3)) * CHUNK // 3, extent.length) for extent in free)
        thirds = [Extent(round(extent.start * 3 / CHUNK), round(extent.length * 3 / CHUNK)) for extent in free]
        found = reclaimable(thirds, mapped, 3)
        assert {at for extent in found for at in range(extent.start, extent.end)} == expected


@pytest.mark.parametrize(
    ("chunks", "largest", "expected"),
    [
        pytest.param([(0, 4)], 4 * CHUNK, [(0, 4, 4)], id="one"),
        pytest.param([(0, 10)], 4 * CHUNK, [(0, 4, 4), (4, 4, 4), (8, 2, 2)], id="a-large-one-in-pieces"),
        pytest.param([(0, 1), (3, 1)], 4 * CHUNK, [(0, 4, 2)], id="near-ones-in-one"),
        pytest.param([(0, 1), (900, 1)], 4 * CHUNK, [(0, 1, 1), (900, 1, 1)], id="far-ones-apart"),
        pytest.param([(0, 3), (4, 3)], 4 * CHUNK, [(0, 3, 3), (4, 3, 3)], id="no-more-than-the-rate-at-one-go"),
        pytest.param([(5, 2)], CHUNK // 2, [(5, 1, 1), (6, 1, 1)], id="never-less-than-a-chunk"),
        pytest.param([], CHUNK, [], id="none"),
    ],
)
def test_it_is_gone_through_in_pieces(chunks, largest, expected):
    found = windows([Extent(*one) for one in chunks], CHUNK, largest)
    assert found == [Window(start * CHUNK, length * CHUNK, size * CHUNK) for start, length, size in expected]


# --- The kernel's calls -----------------------------------------------------------------------------------------------


def record(physical, length, owner=1, flags=0x10, last=False):
    return struct.pack("=IIQQQQ24x", 0xFD03, flags | (0x20 if last else 0), physical, owner, 0, length)


class Filesystem:
    """A filesystem that answers as include/uapi/linux/fsmap.h and fs.h say."""

    def __init__(self, *records):
        self.records, self.lows, self.trims = list(records), [], []

    def ioctl(self, _descriptor, request, buffer, _mutate):
        if request == 0xC0185879:
            start, length, smallest = struct.unpack("=QQQ", buffer)
            self.trims.append((start, length, smallest))
            buffer[:] = struct.pack("=QQQ", start, length // 2, smallest)
            return 0
        assert request == 0xC0C0583B
        wanted = struct.unpack_from("=IIII", buffer)[2]
        self.lows.append(struct.unpack_from("=IIQQQQ", buffer, 64)[2])
        assert struct.unpack_from("=IIQQQQ24s", buffer, 128)[2:6] == (2**64 - 1, 2**64 - 1, 2**64 - 1, 0)
        assert len(buffer) == 64 + (2 + wanted) * 64
        answer, self.records = self.records[:wanted], self.records[wanted:]
        struct.pack_into("=IIII", buffer, 0, 0, 0, wanted, len(answer))
        buffer[192 : 192 + 64 * len(answer)] = b"".join(answer)
        return 0


@pytest.fixture
def filesystem(monkeypatch):
    def make(*records):
        found = Filesystem(*records)
        monkeypatch.setattr(free_space.fcntl, "ioctl", found.ioctl)
        return found

    return make


def test_free_extents_are_those_that_the_filesystem_calls_free(filesystem):
    filesystem(
        record(0, 4096, owner=2),  # static metadata
        record(4096, 8192),
        record(12288, 4096),
        record(16384, 4096, owner=128, flags=0),  # inode 128
        record(20480, 4096, owner=1, flags=0),  # inode 1, which is no owner like "free"
        record(24576, 4096, last=True),
    )
    assert free_extents(3) == [Extent(4096, 12288), Extent(24576, 4096)]


def test_a_filesystem_with_many_extents_is_asked_more_than_once(filesystem, monkeypatch):
    monkeypatch.setattr(free_space, "_RECORDS", 2)
    asked = filesystem(*(record(number * 8192, 4096) for number in range(5)))
    assert [extent.start for extent in free_extents(3)] == [0, 8192, 16384, 24576, 32768]
    assert asked.lows == [0, 8192, 24576, 32768]


def test_each_range_is_given_back_at_no_more_than_the_rate(filesystem, monkeypatch):
    asked, slept = filesystem(), []
    monkeypatch.setattr(free_space.time, "sleep", slept.append)
    monkeypatch.setattr(free_space.time, "monotonic", lambda: 7.0)
    ranges = [Window(0, 4 * CHUNK, 4 * CHUNK), Window(GIB, CHUNK, CHUNK)]
    assert give_back(3, ranges, 2 * CHUNK) == 5 * CHUNK // 2
    assert asked.trims == [(0, 4 * CHUNK, 0), (GIB, CHUNK, 0)]
    assert slept == [2.0, 0.5]


def test_without_a_rate_nothing_is_waited_for(filesystem, monkeypatch):
    filesystem()
    monkeypatch.setattr(free_space.time, "sleep", lambda _seconds: pytest.fail("waited"))
    assert give_back(3, [Window(0, CHUNK, CHUNK)], 0) == CHUNK // 2


# --- Mounts -----------------------------------------------------------------------------------------------------------


def own_device(path):
    number = os.stat(path).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def test_mounts_are_found_in_every_namespace_once(monkeypatch, tmp_path):
    line = "36 35 253:4 / {point} {options} - xfs /dev/mapper/x rw\n"
    for process, namespace, text in (
        ("self", "mnt:[1]", "20 1 8:1 / / rw - ext4 /dev/vda1 rw\n"),
        ("1", "mnt:[1]", line.format(point="/never", options="rw")),
        ("70", "mnt:[2]", line.format(point="/var/lib/docker/m\\040t", options="rw,relatime")),
        ("71", "mnt:[2]", line.format(point="/again", options="rw")),
        ("80", "mnt:[3]", line.format(point="/", options="ro")),
    ):
        (tmp_path / process / "ns").mkdir(parents=True)
        (tmp_path / process / "ns" / "mnt").symlink_to(namespace)
        (tmp_path / process / "mountinfo").write_text(text, encoding="ascii")
    (tmp_path / "90").mkdir()  # has ended
    monkeypatch.setattr(free_space, "PROC", str(tmp_path))
    assert free_space.find_mounts({"253:4"}) == {
        "253:4": [
            MountPlace("253:4", f"{tmp_path}/70/root/var/lib/docker/m t", "/var/lib/docker/m t", "xfs"),
            MountPlace("253:4", f"{tmp_path}/80/root/", "/", "xfs", read_only=True),
        ]
    }


def test_only_a_place_that_leads_to_the_device_is_opened(tmp_path):
    """A container decides what its own paths lead to."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mounted")
    os.mkfifo(tmp_path / "fifo")
    right = MountPlace(own_device(tmp_path), str(tmp_path / "mounted"), "/", "ext4")
    others = [MountPlace(right.device, str(tmp_path / name), "/", "ext4") for name in ("absent", "link", "fifo")]
    with opened([*others, MountPlace("0:1", right.path, "/", "ext4"), right]) as (place, descriptor):
        assert place == right
        assert os.fstat(descriptor).st_ino == os.stat(right.path).st_ino
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(RefusedError), opened([MountPlace("0:1", right.path, "/", "ext4")]):
        pass
    with pytest.raises(RefusedError, match="No such file"), opened([others[0]]):
        pass


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOTTY, "does not tell"), (errno.EOPNOTSUPP, "takes no discards"), (errno.EROFS, "Read-only file system")],
)
def test_why_nothing_comes_back_is_told_in_words(number, says):
    assert says in free_space.why_not(OSError(number, os.strerror(number)))
