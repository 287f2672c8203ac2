# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is moved, to where, and what is told of a disk that does not give its bytes back."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import extent_moves, lvm_state
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.areas import Area
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.extent_moves import UnreadablePlace

MIB = 1024 * 1024
OLD, NEW = "/dev/ubdb", "/dev/ubdc"


def moved(lvm, name, *areas):
    return lvm.with_volume(replace(lvm.volume("docker", name), areas=areas))


def test_what_lies_on_a_disk_is_read(report):
    found = extent_moves.lying_on(report("two_disks"), "docker", OLD)
    assert [(volume.name, area.first, area.extents, area.start) for volume, area in found] == [
        ("lvol0_pmspare", 0, 2, 0),
        ("thinpool_tdata", 2, 150, 0),
        ("thinpool_tmeta", 152, 2, 0),
    ]
    assert extent_moves.lying_on(report("two_disks"), "docker", NEW) == []


def test_a_move_that_was_interrupted_is_read(report):
    lvm = report("moving")
    moving = extent_moves.moving(lvm, "docker")
    assert (moving.name, moving.moves_from) == ("pvmove0", OLD)
    assert [(area.device, area.extents) for area in moving.areas] == [(OLD, 50), (NEW, 50)]
    # What is left of the volume beside it.
    data = [area for volume, area in extent_moves.lying_on(lvm, "docker", OLD) if volume.name == "thinpool_tdata"]
    assert [(area.first, area.extents, area.start) for area in data] == [(2, 50, 0), (102, 50, 100)]
    assert extent_moves.moving(report("two_disks"), "docker") is None


def test_a_device_that_lvm_knows_nothing_of_is_found(report, monkeypatch, tmp_path):
    monkeypatch.setattr(extent_moves, "BLOCK", str(tmp_path))
    (tmp_path / "vda").mkdir()
    for number, name in enumerate(("docker-pvmove0", "docker-pvmove0_mimage", "docker--pvmove0", "docker-thinpool")):
        folder = tmp_path / f"dm-{number}" / "dm"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
    assert extent_moves.left_over(report("two_disks"), "docker") == [("docker-pvmove0", ())]
    (tmp_path / "dm-0" / "holders" / "dm-3").mkdir(parents=True)
    assert extent_moves.left_over(report("two_disks"), "docker") == [("docker-pvmove0", ("docker-thinpool",))]
    assert extent_moves.left_over(report("moving"), "docker") == []


def test_the_kernels_count_is_read(captured):
    (copy,) = extent_moves.copies(captured("moving.status"), "docker")
    assert (copy.done, copy.total, copy.health, copy.failed) == (100, 100, "AA", False)
    # dm-raid1 on a disk with an error (seen).
    text = "docker-pvmove0: 98304 425984 mirror 2 254:0 98:48 47/104 1 SA 1 core\n"
    assert extent_moves.copies(text, "docker")[0].failed
    assert extent_moves.copies(text, "other") == []
    assert extent_moves.copies(text.replace("104", "9" * 5000), "docker") == []
    assert extent_moves.copies(text.replace("docker-pvmove0", "my--vg-pvmove0"), "my-vg") != []
    assert extent_moves.copies("No devices found\n", "docker") == []


def test_gaps_are_what_no_volume_lies_on(report):
    lvm = report("two_disks")
    assert extent_moves.gaps(lvm, lvm.device(OLD)) == [Area(OLD, 154, 101, 0)]
    assert extent_moves.gaps(lvm, lvm.device(NEW)) == [Area(NEW, 0, 255, 0)]
    lvm = moved(lvm, "thinpool_tmeta", Area(NEW, 10, 2, 0), Area(NEW, 250, 5, 2))
    assert extent_moves.gaps(lvm, lvm.device(NEW)) == [Area(NEW, 0, 10, 0), Area(NEW, 12, 238, 0)]


def piece(lvm, most=1000, without=(), onto=(NEW,)):
    volume, source, target = extent_moves.next_piece(lvm, "docker", OLD, onto, most=most, without=without)
    return volume.name, source.range, target.range


def test_pieces_are_of_one_volume_and_go_to_one_place(report):
    lvm = report("two_disks")
    assert piece(lvm) == ("lvol0_pmspare", "/dev/ubdb:0-1", "/dev/ubdc:0-1")
    lvm = moved(lvm, "lvol0_pmspare", Area(NEW, 0, 2, 0))
    assert piece(lvm) == ("thinpool_tdata", "/dev/ubdb:2-151", "/dev/ubdc:2-151")
    assert piece(lvm, most=64) == ("thinpool_tdata", "/dev/ubdb:2-65", "/dev/ubdc:2-65")
    # What an automatic extension took meanwhile is not given to another.
    lvm = moved(lvm, "thinpool_tmeta", Area(OLD, 152, 2, 0), Area(NEW, 12, 200, 2))
    assert piece(lvm) == ("thinpool_tdata", "/dev/ubdb:2-11", "/dev/ubdc:2-11")


def test_what_cannot_be_read_is_left(report):
    lvm = moved(report("two_disks"), "lvol0_pmspare", Area(NEW, 0, 2, 0))
    assert piece(lvm, without={2, 3}) == ("thinpool_tdata", "/dev/ubdb:4-151", "/dev/ubdc:2-149")
    assert piece(lvm, without={20}) == ("thinpool_tdata", "/dev/ubdb:2-19", "/dev/ubdc:2-19")
    assert piece(lvm, without=set(range(2, 152))) == ("thinpool_tmeta", "/dev/ubdb:152-153", "/dev/ubdc:2-3")
    assert extent_moves.next_piece(lvm, "docker", OLD, [NEW], most=9, without=set(range(2, 154))) is None


def test_room_that_is_gone_meanwhile_is_told(report):
    lvm = moved(report("two_disks"), "thinpool_tmeta", Area(OLD, 152, 2, 0), Area(NEW, 0, 255, 2))
    with pytest.raises(RefusedError, match=r"/dev/ubdc has no free extents any more.*playbook grow.*goes on"):
        extent_moves.next_piece(lvm, "docker", OLD, [NEW], most=9)


class Kernel:
    """LVM and the kernel of a group, as far as a move needs them: areas change when a copy is completed."""

    def __init__(self, lvm, monkeypatch, bad=(), broken=False, forgets=False):
        self.lvm, self.bad, self.broken, self.forgets = lvm, set(bad), broken, forgets
        self.commands = []
        self.copying = None
        self.polls = 0
        monkeypatch.setattr(lvm_state, "read", lambda: self.lvm)
        monkeypatch.setattr(extent_moves.process, "run", self.run)
        monkeypatch.setattr(extent_moves.process, "running", self.running)
        monkeypatch.setattr(extent_moves, "INTERVAL", 0)
        monkeypatch.setattr(extent_moves, "unreadable", self.unreadable)
        monkeypatch.setattr(extent_moves, "is_same", self.is_same)

    @contextlib.contextmanager
    def running(self, *command):
        self.commands.append(" ".join(command))
        source, target = (self.area(words) for words in command[-2:])
        (volume,) = (
            v
            for v, a in extent_moves.lying_on(self.lvm, "docker", OLD)
            if a.first <= source.first < a.first + a.extents
        )
        self.copying, self.polls = (volume.name, source, target), 0
        yield lambda: True

    @staticmethod
    def area(words):
        device, _colon, extents = words.partition(":")
        first, last = map(int, extents.split("-"))
        return Area(device, first, last - first + 1, 0)

    def run(self, *command, **_limits):
        if command[0] == "vgs":
            return ""
        if command[0] == "dmsetup":
            if not self.copying:
                return "No devices found\n"
            self.polls += 1
            _volume, source, _target = self.copying
            done = min(self.polls, 3)
            health = "AA"
            if not self.forgets or done < 3:
                health = "AS" if self.broken else health if self.is_same(None, source, None) else "SA"
            return f"docker-pvmove0: 0 8 mirror 2 98:16 98:32 {done}/3 1 {health} 1 core\n"
        self.commands.append(" ".join(command))
        if "--abort" not in command:
            self.complete()
        self.copying = None
        return ""

    def complete(self):
        name, source, target = self.copying
        volume = self.lvm.volume("docker", name)
        areas = []
        for area in volume.areas:
            if area.device != OLD or not area.first <= source.first < area.first + area.extents:
                areas.append(area)
                continue
            before, end = source.first - area.first, area.first + area.extents
            behind = end - source.first - source.extents
            if before:
                areas.append(area._replace(extents=before))
            areas.append(target._replace(start=area.start + before))
            if behind:
                areas.append(Area(OLD, end - behind, behind, area.start + area.extents - behind))
        self.lvm = self.lvm.with_volume(replace(volume, areas=tuple(areas)))

    def is_same(self, _lvm, source, _target):
        return not self.broken and not self.bad & set(range(source.first, source.first + source.extents))

    def unreadable(self, _lvm, volume, area):
        if area.device == NEW:
            return [UnreadablePlace(0, 4096, area.first, volume.name, 0)] if self.broken else []
        return [
            UnreadablePlace(MIB + number * 4 * MIB, 4096, number, volume.name, (number - 2) * 4 * MIB)
            for number in sorted(self.bad)
            if area.first <= number < area.first + area.extents and not self.broken
        ]

    @property
    def left(self):
        return [
            number
            for _v, a in extent_moves.lying_on(self.lvm, "docker", OLD)
            for number in range(a.first, a.first + a.extents)
        ]


def test_a_disk_is_emptied_piece_by_piece(report, monkeypatch):
    monkeypatch.setattr(extent_moves, "PIECE", 64 * 4 * MIB)
    kernel = Kernel(report("two_disks"), monkeypatch)
    extent_moves.move("docker", OLD, [NEW], 154)
    assert kernel.left == []
    assert [command.split()[-2] for command in kernel.commands if "+" in command] == [
        "/dev/ubdb:0-1",
        "/dev/ubdb:2-65",
        "/dev/ubdb:66-129",
        "/dev/ubdb:130-151",
        "/dev/ubdb:152-153",
    ]


def test_no_more_is_moved_than_was_to_be(report, monkeypatch):
    kernel = Kernel(report("two_disks"), monkeypatch)
    extent_moves.move("docker", OLD, [NEW], 10)
    assert kernel.left == list(range(10, 154))


@pytest.mark.parametrize("forgets", [False, True])
def test_a_copy_is_completed_only_when_all_of_it_arrived(report, monkeypatch, forgets):
    """LVM itself would complete it whatever the kernel says of the disks; and that forgets errors at the end (seen)."""
    kernel = Kernel(report("two_disks"), monkeypatch, bad={20, 30}, forgets=forgets)
    with pytest.raises(RefusedError) as refusal:
        extent_moves.move("docker", OLD, [NEW], 154)
    assert kernel.left == [20, 30]
    first, *places, advice = str(refusal.value).splitlines()
    assert first == (
        "/dev/ubdb does not give back 8.00 KiB in 2 places. Everything else that was to be moved is moved; 2 extents "
        "of it (20, 30) stay on /dev/ubdb, which volume group docker still needs"
    )
    assert places == [
        "4.00 KiB at byte 84934656 of /dev/ubdb: chunk 144 of the data of thin pool docker/thinpool, if an image or a "
        "container uses it (thin_dump(8))",
        "4.00 KiB at byte 126877696 of /dev/ubdb: chunk 224 of the data of thin pool docker/thinpool, if an image or a "
        "container uses it (thin_dump(8))",
    ]
    assert "'pvmove /dev/ubdb:20-20'" in advice


@pytest.mark.parametrize("forgets", [False, True])
def test_a_new_disk_that_fails_ends_it(report, monkeypatch, forgets):
    kernel = Kernel(report("two_disks"), monkeypatch, broken=True, forgets=forgets)
    with pytest.raises(RefusedError, match=r"/dev/ubdc does not keep what is written to it: extents /dev/ubdb:0-1"):
        extent_moves.move("docker", OLD, [NEW], 154)
    assert len(kernel.left) == 154
    assert kernel.commands[-1].endswith("--abort /dev/ubdb")


def test_a_disk_that_can_be_read_again_is_told_as_that(report, monkeypatch):
    kernel = Kernel(report("two_disks"), monkeypatch, bad={20})
    monkeypatch.setattr(extent_moves, "unreadable", lambda *_what: [])
    with pytest.raises(RefusedError, match="both can be read now"):
        extent_moves.move("docker", OLD, [NEW], 154)
    assert 20 in kernel.left


def test_a_disk_that_does_not_answer_has_an_end(report, monkeypatch):
    kernel = Kernel(report("two_disks"), monkeypatch)
    monkeypatch.setattr(extent_moves, "STALL", 0)
    stuck = "docker-pvmove0: 0 8 mirror 2 98:16 98:32 1/3 1 AA 1 core\n"
    monkeypatch.setattr(extent_moves.process, "run", lambda *_command, **_limits: stuck)
    with pytest.raises(RefusedError, match="nothing was copied away from /dev/ubdb for 0 seconds.*interrupted=abort"):
        extent_moves.move("docker", OLD, [NEW], 154)
    assert len(kernel.left) == 154


def test_a_copy_that_does_not_begin_has_an_end(report, monkeypatch):
    kernel = Kernel(report("two_disks"), monkeypatch)
    monkeypatch.setattr(extent_moves, "STALL", -1)
    monkeypatch.setattr(kernel, "run", None)
    monkeypatch.setattr(extent_moves.process, "run", lambda *_command, **_limits: "No devices found\n")
    with pytest.raises(RefusedError, match="nothing was copied away from /dev/ubdb"):
        extent_moves.move("docker", OLD, [NEW], 154)


@pytest.mark.parametrize("bad", [set(), {0}])
@pytest.mark.parametrize("meanwhile", ["vgs", "compared"])
def test_a_copy_that_lvm_completed_by_itself_is_no_error_but_of_a_bad_disk(report, monkeypatch, bad, meanwhile):
    kernel = Kernel(report("two_disks"), monkeypatch)
    run = kernel.run

    def complete(what):
        if what == meanwhile:
            kernel.bad = bad
            kernel.complete()
            kernel.copying = None

    def runs(*command, **limits):
        complete(command[0])
        return run(*command, **limits)

    def compares(*_what):
        complete("compared")
        return meanwhile != "compared"  # what is written after it was completed is on one of them

    monkeypatch.setattr(extent_moves.process, "run", runs)
    monkeypatch.setattr(extent_moves, "is_same", compares)
    with contextlib.ExitStack() as stack:
        if bad:
            words = "LVM completed the move of extents /dev/ubdb:0-1 .*\n4.00 KiB at byte 1048576 of /dev/ubdb"
            stack.enter_context(pytest.raises(RefusedError, match=words))
        extent_moves.move("docker", OLD, [NEW], 154)
    assert kernel.left == (list(range(2, 154)) if bad else [])


@pytest.mark.parametrize(("state", "is_told"), [("two_disks", False), ("moving", True)])
def test_a_copy_that_lvm_completes_before_us_is_no_error(report, monkeypatch, state, is_told):
    """And no reason to move the whole disk, which pvmove would do that is given its name."""
    left = report(state)
    kernel = Kernel(report("two_disks"), monkeypatch)
    run = kernel.run

    def is_too_late(*command, **limits):
        if command[0] == "pvmove" and "--abort" not in command:
            assert command[-1] == "/dev/ubdb:0-1"
            kernel.complete()
            kernel.copying = None
            if is_told:
                kernel.lvm = left
            raise process.ProcessError("No data to move for docker.", command, 5)
        return run(*command, **limits)

    monkeypatch.setattr(extent_moves.process, "run", is_too_late)
    with pytest.raises(process.ProcessError) if is_told else contextlib.nullcontext():
        extent_moves.move("docker", OLD, [NEW], 2)


@pytest.fixture
def two_files(report, monkeypatch, tmp_path):
    """Return a state whose two disks are files that hold the same, and those files."""
    lvm = report("two_disks")
    files = []
    for path in (OLD, NEW):
        files.append(tmp_path / path.rpartition("/")[2])
        files[-1].write_bytes(bytes(MIB) + b"data" * (8 * MIB))
        lvm = lvm.with_device(replace(lvm.device(path), device=str(files[-1])))
    monkeypatch.setattr(os, "O_DIRECT", 0)
    monkeypatch.setattr(extent_moves, "INTERVAL", 0)
    return lvm, files


def put(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "is_same"),
    [
        pytest.param(None, True, id="nothing-else"),
        pytest.param(MIB + 8 * MIB - 1, True, id="before-it"),
        pytest.param(MIB + 8 * MIB, False, id="its-first-byte"),
        pytest.param(MIB + 16 * MIB - 1, False, id="its-last-byte"),
        pytest.param(MIB + 16 * MIB, True, id="behind-it"),
    ],
)
def test_two_copies_are_compared(two_files, offset, is_same):
    lvm, (old, new) = two_files
    if offset is not None:
        put(new, offset, b"\0")
    assert extent_moves.is_same(lvm, Area(str(old), 2, 2, 0), Area(str(new), 2, 2, 0)) is is_same


def test_a_block_that_is_being_written_is_looked_at_again(two_files, monkeypatch):
    lvm, (old, new) = two_files
    put(old, MIB + 8 * MIB, b"new")
    looks = []

    def arrives(_seconds):
        looks.append(1)
        if len(looks) == 3:
            put(new, MIB + 8 * MIB, b"new")

    monkeypatch.setattr(extent_moves.time, "sleep", arrives)
    assert extent_moves.is_same(lvm, Area(str(old), 2, 2, 0), Area(str(new), 2, 2, 0))
    assert len(looks) == 3


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_a_device_that_ends_does_not_have_is_not_the_same(two_files, which):
    lvm, (old, new) = two_files
    for path in ([old], [new], [old, new])[which]:
        os.truncate(path, 10 * MIB)
    assert not extent_moves.is_same(lvm, Area(str(old), 2, 2, 0), Area(str(new), 2, 2, 0))


@pytest.mark.parametrize("which", [0, 1])
def test_what_cannot_be_read_is_not_the_same(two_files, monkeypatch, which):
    lvm, files = two_files
    preadv = os.preadv

    def fails(descriptor, buffers, offset):
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(files[which]) and offset > 10 * MIB:
            raise OSError(errno.EIO, "Input/output error")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", fails)
    old, new = (Area(str(path), 2, 2, 0) for path in files)
    assert not extent_moves.is_same(lvm, old, new)


def test_bytes_that_a_disk_does_not_give_back_are_found(report, monkeypatch, tmp_path):
    """A file stands for the disk; errors come as the kernel gives them."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(40 * MIB))
    lvm = report("two_disks")
    lvm = lvm.with_device(replace(lvm.device(OLD), device=str(disk)))
    begin = MIB + 6 * 4 * MIB  # extent 6
    lost = range(begin + 8192, begin + 16384)

    def preadv(_descriptor, buffers, offset):
        if offset < lost.stop and offset + len(buffers[0]) > lost.start:
            raise OSError(errno.EIO, "Input/output error")
        return len(buffers[0])

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "O_DIRECT", 0)
    found = extent_moves.unreadable(lvm, lvm.volume("docker", "thinpool_tdata"), Area(str(disk), 2, 8, 0))
    assert found == [UnreadablePlace(begin + 8192, 8192, 6, "thinpool_tdata", 4 * 4 * MIB + 8192)]


@pytest.mark.parametrize(
    ("volume", "within", "words"),
    [
        ("thinpool_tdata", 0, "chunk 0 of the data of thin pool docker/thinpool"),
        ("thinpool_tdata", 512 * 1024 - 4096, "chunks 0 to 1 of the data"),
        ("thinpool_tdata", -1, "data of thin pool docker/thinpool"),
        ("thinpool_tmeta", 0, "metadata of thin pool docker/thinpool, its record of which block is whose"),
        ("lvol0_pmspare", 0, "LVM's spare for metadata repair, which holds nothing"),
        ("home", 0, "volume docker/home"),
    ],
)
def test_whose_the_bytes_are_is_told(report, volume, within, words):
    (_first, place, _advice) = extent_moves.told(
        report("two_disks"), "docker", OLD, [UnreadablePlace(0, 8192, 5, volume, within)]
    )
    assert words in place
