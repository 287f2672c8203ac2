# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError


def test_a_lock_is_held_by_one_alone_and_given_back(tmp_path):
    path = str(tmp_path / "lock")
    with locks.locked(path, 0, create=True), pytest.raises(RefusedError) as refusal, locks.locked(path, 0):
        pass
    assert str(refusal.value).startswith(f"{path} is locked by another process for more than 0 seconds")
    assert f"'lsof {path}'" in str(refusal.value)
    with locks.locked(path, 0):
        pass


def test_a_lock_is_given_back_after_a_failure(tmp_path):
    path = str(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), locks.locked(path, 0, create=True):
        raise ZeroDivisionError
    with locks.locked(path, 0):
        pass


def test_a_lock_that_is_given_back_in_time_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waited = []

        def sleep(seconds):
            waited.append(seconds)
            if len(waited) == 3:
                fcntl.flock(other, fcntl.LOCK_UN)

        monkeypatch.setattr(locks.time, "sleep", sleep)
        with locks.locked(str(path), 10):
            assert len(waited) == 3


def test_a_reader_of_the_file_holds_nobody_up(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with path.open(), locks.locked(str(path), 0):
        pass


def test_a_lock_that_is_made_is_nobody_elses(tmp_path):
    path = tmp_path / "lock"
    with locks.locked(str(path), 0, create=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_device_is_never_made(tmp_path):
    with pytest.raises(RefusedError, match="No such file"), locks.locked(str(tmp_path / "vdb"), 0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(RefusedError, match="symbolic links"), locks.locked(str(tmp_path / "lock"), 0, create=True):
        pass
    assert not (tmp_path / "target").exists()


def test_a_lock_that_is_removed_while_it_is_held_has_no_second_holder(tmp_path):
    path = tmp_path / "lock"
    script = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        path.unlink()
        with pytest.raises(RefusedError, match="is locked by another process"), locks.locked(str(path), 0, create=True):
            pytest.fail("there are two holders")
        holder.communicate(b"\n")
    with locks.locked(str(path), 0, create=True):
        pass


def test_a_lock_that_is_removed_while_it_is_waited_for_is_no_longer_it(tmp_path, monkeypatch):
    """The holder is gone, and with it the file: who comes next makes another, and must find this one holding that."""
    path = tmp_path / "lock"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def sleep(seconds):
            path.unlink()
            fcntl.flock(other, fcntl.LOCK_UN)

        monkeypatch.setattr(locks.time, "sleep", sleep)
        with locks.locked(str(path), 10, create=True) as descriptor:
            assert os.path.samestat(os.fstat(descriptor), path.stat())
            with pytest.raises(RefusedError), locks.locked(str(path), 0, create=True):
                pytest.fail("there are two holders")


def test_what_is_neither_file_nor_device_is_no_lock_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(RefusedError, match="it is no regular file"), locks.locked(str(tmp_path / "lock"), 0):
        pytest.fail("it was locked")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError), locks.locked(str(tmp_path / "link"), 0, create=True):
        pytest.fail("it was locked")
    assert not (tmp_path / "elsewhere").exists()
