# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases of bbolt, as containerd 1.7 wrote them."""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt

CAPTURED = Path(__file__).resolve().parents[3] / "containerd" / "1.7.24" / "records"
PAGE = 4096
CHECKSUM = 16 + 56  # where it stands in a page that says what the database is


@pytest.fixture(params=sorted(path.name for path in CAPTURED.iterdir()))
def content(request):
    return gzip.decompress((CAPTURED / request.param).read_bytes())


def spoilt(content, *pages):
    """Return the database with a bit of the checksum of these pages changed."""
    found = bytearray(content)
    for page in pages:
        found[page * PAGE + CHECKSUM] ^= 1
    return bytes(found)


def test_a_database_is_read_with_the_number_of_its_last_commit(content, tmp_path):
    commit, tree = bbolt.parse(content)
    assert commit > 0
    assert tree
    path = tmp_path / "some.db"
    path.write_bytes(content)
    assert bbolt.last_commit(str(path)) == commit
    assert bbolt.read(str(path)) == tree


def test_a_commit_whose_checksum_is_wrong_does_not_count(content):
    last, _tree = bbolt.parse(content)
    newest = last % 2  # the two are written in turn
    commit, tree = bbolt.parse(spoilt(content, newest))
    assert commit == last - 1
    assert isinstance(tree, dict)


def test_nothing_is_made_of_a_database_without_a_checksum_that_is_right(content):
    with pytest.raises(bbolt.DamagedError, match="no page at the beginning"):
        bbolt.parse(spoilt(content, 0, 1))


@pytest.mark.parametrize("content", [b"", b"no database", bytes(2 * PAGE)])
def test_what_is_no_database_is_said_so(content, tmp_path):
    path = tmp_path / "some.db"
    path.write_bytes(content)
    assert bbolt.last_commit(str(path)) == 0
    with pytest.raises(bbolt.DamagedError):
        bbolt.read(str(path))


def test_one_that_changes_while_it_is_read_is_read_again(content, tmp_path, monkeypatch):
    path = tmp_path / "some.db"
    path.write_bytes(content)
    commits = [-1, -2, bbolt.parse(content)[0]]
    monkeypatch.setattr(bbolt, "last_commit", lambda path: commits.pop(0))
    assert bbolt.read(str(path)) == bbolt.parse(content)[1]
    assert commits == []


def test_one_that_never_rests_is_given_up(content, tmp_path, monkeypatch):
    path = tmp_path / "some.db"
    path.write_bytes(content)
    monkeypatch.setattr(bbolt, "last_commit", lambda path: -1)
    with pytest.raises(bbolt.DamagedError, match="changes faster than it can be read"):
        bbolt.read(str(path))


# --- Databases that were made to be read for ever ---------------------------------------------------------------------


def database(*pages, root=2):
    """Return a database of such pages, the third and later ones, with a head that is right."""
    found = bytearray((2 + len(pages)) * PAGE)
    meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 0, 2 + len(pages), 7)
    for number in (0, 1):
        struct.pack_into("<QHHI", found, number * PAGE, number, 4, 0, 0)
        found[number * PAGE + 16 : number * PAGE + 16 + len(meta)] = meta
        struct.pack_into("<Q", found, number * PAGE + CHECKSUM, bbolt._fnv(meta))
    for number, page in enumerate(pages, 2):
        found[number * PAGE : number * PAGE + len(page)] = page
    return bytes(found)


def branch(*pages):
    return struct.pack("<QHHI", 0, 1, len(pages), 0) + b"".join(struct.pack("<IIQ", 0, 0, page) for page in pages)


def leaf(*elements):
    """Return a page of elements, each flags, key and value; they stand behind all heads."""
    heads, bodies = b"", b""
    for index, (flags, key, value) in enumerate(elements):
        offset = (len(elements) - index) * 16 + len(bodies)
        heads += struct.pack("<IIII", flags, offset, len(key), len(value))
        bodies += key + value
    return struct.pack("<QHHI", 0, 2, len(elements), 0) + heads + bodies


def test_a_database_that_is_made_so_is_read():
    assert bbolt.parse(database(leaf((0, b"a", b"1"), (0, b"b", b"")))) == (7, {b"a": b"1", b"b": b""})
    inner = struct.pack("<QQ", 3, 0)
    assert bbolt.parse(database(leaf((1, b"x", inner)), leaf((0, b"a", b"1"))))[1] == {b"x": {b"a": b"1"}}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(database(branch(2)), id="itself"),
        pytest.param(database(branch(3), branch(2)), id="each-other"),
        pytest.param(database(branch(3, 3, 3), branch(4, 4, 4), leaf((0, b"a", b""))), id="the-same-twice"),
        pytest.param(database(branch(*[3] * 250), branch(*[4] * 250), branch(*[5] * 250), leaf()), id="fan-out"),
        pytest.param(database(branch(0)), id="the-head"),
        pytest.param(database(branch(2**63)), id="far-away"),
        pytest.param(database(leaf(), root=2**64 - 1), id="root-far-away"),
        pytest.param(database(leaf((1, b"x", struct.pack("<QQ", 2, 0)))), id="a-bucket-in-itself"),
        pytest.param(database(leaf((1, b"x", b""))), id="a-bucket-without-a-head"),
        pytest.param(database(struct.pack("<QHHI", 0, 2, 65535, 0)), id="elements-without-end"),
        pytest.param(
            database(struct.pack("<QHHI", 0, 2, 1, 0) + struct.pack("<IIII", 0, 16, 2**31, 2**31)), id="a-long-key"
        ),
    ],
)
def test_one_that_leads_around_is_damaged_and_read_in_no_time(content):
    started = time.process_time()
    with pytest.raises(bbolt.DamagedError):
        bbolt.parse(content)
    assert time.process_time() - started < 1


def test_elements_that_lie_in_each_other_are_not_copied_for_ever():
    """Each element has all of the file behind it as its value."""
    count = 200
    heads = b"".join(struct.pack("<IIII", 0, 16 * (count - index), 0, 500_000) for index in range(count))
    page = struct.pack("<QHHI", 0, 2, count, 0) + heads
    content = database(page) + bytes(600_000)
    started = time.process_time()
    with pytest.raises(bbolt.DamagedError, match="beyond the end"):
        bbolt.parse(content)
    assert time.process_time() - started < 1


def test_what_is_no_file_is_no_database(tmp_path):
    os.mkfifo(tmp_path / "some.db")
    for look in (bbolt.read, bbolt.last_commit):
        with pytest.raises(OSError, match="not a regular file"):
            look(str(tmp_path / "some.db"))
