# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases of bbolt, as containerd 1.7 wrote them."""

from __future__ import annotations

import gzip
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
