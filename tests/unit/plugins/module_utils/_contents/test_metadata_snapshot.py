# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.metadata_snapshot import Mark
from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

TAKE = "dmsetup message docker-thinpool 0 reserve_metadata_snap"
RELEASE = "dmsetup message docker-thinpool 0 release_metadata_snap"
UUID = "the-uuid"


@pytest.fixture
def marks(monkeypatch, tmp_path) -> Path:
    """Keep locks and marks of the machine that runs the tests out of them; return the folder of marks."""
    monkeypatch.setattr(metadata_snapshot, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(metadata_snapshot, "MARKS", str(tmp_path / "marks"))
    return tmp_path / "marks"


@pytest.fixture
def pool(report):
    return replace(report("pool_in_use_by_docker").volume("docker", "thinpool"), uuid=UUID)


@pytest.fixture
def status(captured):
    """Return a function that writes the captured status with another block in the place of the snapshot's."""
    line = captured("pool_in_use_by_docker.status")
    assert " - rw " in line
    return lambda root="-": line.replace(" - rw ", f" {root} rw ")


@pytest.fixture
def info(captured):
    return captured("metadata_snapshot.info")


def mark(marks: Path, written: Mark) -> None:
    marks.mkdir()
    (marks / "docker-thinpool.json").write_text(written.text, encoding="utf-8")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(Mark(UUID, 17), True, id="ours"),
        pytest.param(Mark(UUID), True, id="killed-just-when-it-was-taken"),
        pytest.param(Mark(UUID, 18), False, id="another-since"),
        pytest.param(Mark("other", 17), False, id="a-pool-that-had-the-name-before"),
    ],
)
def test_a_snapshot_is_ours_if_it_was_marked(written, expected):
    assert Mark.parse(written.text) == written
    assert written.covers(UUID, 17) is expected


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"pool": "x", "root": "y"}', "null", '{"pool": "x"}'])
def test_a_mark_that_cannot_be_read_marks_nothing(text):
    assert Mark.parse(text) is None


def test_a_snapshot_is_taken_marked_and_released(commands, marks, pool, status, info):
    commands.expect("dmsetup status", status())
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    with metadata_snapshot.held(pool) as snapshot:
        assert json.loads((marks / "docker-thinpool.json").read_text()) == {"pool": UUID, "root": 17}
        assert snapshot.target == "docker-thinpool"
        assert snapshot.metadata_path == "/dev/mapper/docker-thinpool_tmeta"
        assert snapshot.status.held_root == 17
        assert snapshot.devices["docker-thinpool"].open_count > 0
        commands.expect(RELEASE)
    assert not marks.exists()


def test_it_is_released_when_what_reads_it_fails(commands, marks, pool, status, info):
    commands.expect("dmsetup status", status())
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    commands.expect("thin_ls", rc=1)
    commands.expect(RELEASE)
    with pytest.raises(process.ProcessError, match="thin_ls"), metadata_snapshot.held(pool):
        process.run("thin_ls")
    assert not marks.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_is_released_when_the_program_is_asked_to_end(commands, marks, pool, status, info, number):
    before = signal.getsignal(number)
    commands.expect("dmsetup status", status())
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    commands.expect(RELEASE)
    with pytest.raises(SystemExit), metadata_snapshot.held(pool):
        os.kill(os.getpid(), number)
    assert not marks.exists()
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("root", [17, None])
def test_what_a_killed_run_left_is_released_first(commands, marks, pool, status, info, root):
    mark(marks, Mark(UUID, root))
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    commands.expect(RELEASE)
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(18))
    commands.expect("dmsetup info", info)
    with metadata_snapshot.held(pool) as snapshot:
        assert snapshot.status.held_root == 18
        commands.expect(RELEASE)


@pytest.mark.parametrize(
    ("written", "open_count"),
    [
        pytest.param(None, 1, id="not-marked"),
        pytest.param(Mark(UUID, 16), 1, id="another"),
        pytest.param(Mark("other", 17), 1, id="another-pool"),
        pytest.param(Mark(UUID, 17), 2, id="ours-that-somebody-reads"),
        pytest.param(Mark(UUID), 2, id="perhaps-ours-that-somebody-reads"),
    ],
)
def test_a_snapshot_of_others_is_left_alone(commands, marks, pool, status, info, written, open_count):
    if written:
        mark(marks, written)
    commands.expect("dmsetup status", status(17))
    line = next(line for line in info.splitlines() if line.startswith("docker-thinpool_tmeta "))
    commands.expect("dmsetup info", info.replace(line, f"{line.rpartition(' ')[0]} {open_count}"))
    says = r"somebody else holds .* docker/thinpool \(metadata block 17\)"
    with pytest.raises(RefusedError, match=says), metadata_snapshot.held(pool):
        pytest.fail("it was taken")
    assert not any("message" in command for command in commands.ran)


def test_somebody_who_was_faster_is_left_alone(commands, marks, pool, status):
    commands.expect("dmsetup status", status())
    commands.expect(
        TAKE, rc=1, stderr="device-mapper: message ioctl on docker-thinpool failed: Device or resource busy"
    )
    commands.expect("dmsetup status", status(17))
    with pytest.raises(RefusedError, match="somebody else holds"), metadata_snapshot.held(pool):
        pytest.fail("it was taken")
    assert not marks.exists()


def test_a_message_that_fails_is_told(commands, marks, pool, status):
    commands.expect("dmsetup status", status())
    commands.expect(TAKE, rc=1, stderr="Operation not supported")
    commands.expect("dmsetup status", status())
    with pytest.raises(process.ProcessError, match="not supported"), metadata_snapshot.held(pool):
        pytest.fail("it was taken")
    assert not marks.exists()


def test_a_mark_stays_as_long_as_the_snapshot_may_be_there(commands, marks, pool, status, info):
    commands.expect("dmsetup status", status())
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    with pytest.raises(process.ProcessError, match="release"), metadata_snapshot.held(pool):
        commands.expect(RELEASE, rc=1)
    assert Mark.parse((marks / "docker-thinpool.json").read_text()) == Mark(UUID, 17)


def test_marks_of_other_pools_stay(commands, marks, pool, status, info):
    marks.mkdir()
    (marks / "docker-other.json").write_text(Mark("other", 3).text)
    commands.expect("dmsetup status", status())
    commands.expect(TAKE)
    commands.expect("dmsetup status", status(17))
    commands.expect("dmsetup info", info)
    with metadata_snapshot.held(pool):
        commands.expect(RELEASE)
    assert [path.name for path in marks.iterdir()] == ["docker-other.json"]


def test_another_reader_is_waited_for(monkeypatch, marks, pool, tmp_path):
    monkeypatch.setattr(process, "TIMEOUT", 0)
    other = locks.locked(str(tmp_path / "lock"), 0, create=True)
    with other, pytest.raises(RefusedError, match="is locked by another process"), metadata_snapshot.held(pool):
        pytest.fail("it was taken")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(None, "is not active.*lvchange --activate y docker/thinpool", id="inactive"),
        pytest.param(PoolStatus("fail"), "has failed", id="failed"),
        pytest.param(PoolStatus("ro"), "is read-only: ", id="read-only"),
        pytest.param(PoolStatus("ro", needs_check=True), r"must be checked \(needs_check\)", id="needs-check"),
        pytest.param(PoolStatus("rw"), "^$", id="well"),
        pytest.param(PoolStatus("out_of_data_space"), "^$", id="full"),
    ],
)
def test_what_speaks_against_a_snapshot(pool, found, expected):
    assert re.search(expected, metadata_snapshot.obstacle(pool, found))
