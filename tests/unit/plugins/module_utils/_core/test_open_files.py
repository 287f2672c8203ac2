# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import open_files

OPEN = "import os, sys; os.open(sys.argv[1], int(sys.argv[2])); print(flush=True); input()"


@pytest.fixture
def held(tmp_path):
    """Return a function that has another process hold a file open with flags, and returns the process' number."""
    started = []

    def hold(path, flags=os.O_RDONLY):
        command = [sys.executable, "-c", OPEN, str(path), str(flags)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1].pid

    yield hold
    for process in started:
        process.communicate(b"\n")


def test_a_removed_file_that_is_still_open_is_found(tmp_path, held):
    path = tmp_path / "a"
    path.touch()
    held(path)
    assert not open_files.have_removed(str(path))
    path.unlink()
    assert open_files.have_removed(str(path))
    assert not open_files.have_removed(str(tmp_path / "b"))


def test_who_writes_to_a_device_is_told_by_name_and_number(tmp_path, held, monkeypatch):
    """A file stands for the device, since none is to be had here."""
    path = tmp_path / "disk"
    path.touch()
    real = os.stat

    def status(name, **options):
        found = real(name, **options)
        is_it = stat.S_ISREG(found.st_mode) and os.path.samestat(found, real(path))
        return os.stat_result([0o060600, *found[1:]], {"st_rdev": 7 if is_it else 0}) if is_it else found

    monkeypatch.setattr(open_files.os, "stat", status)
    held(path, os.O_RDONLY)
    assert open_files.writers_of(7) == []
    writers = sorted([held(path, os.O_RDWR), held(path, os.O_WRONLY)])
    with open("/proc/self/comm", encoding="utf-8") as file:
        name = file.read().strip()
    assert open_files.writers_of(7) == [f"{name} (process {pid})" for pid in writers]
    assert open_files.writers_of(8) == []
