# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write


class Module:
    """What writing needs of an AnsibleModule."""

    def atomic_move(self, new, path):
        there = os.path.exists(path)
        os.replace(new, path)
        if not there:
            os.chmod(path, 0o644)  # as Ansible's does with a new file, by the umask


def test_a_file_is_read(tmp_path):
    (tmp_path / "a").write_text("Köln\n", encoding="utf-8")
    assert files.read(str(tmp_path / "a")) == "Köln\n"


def test_no_file_has_no_text(tmp_path):
    assert files.read(str(tmp_path / "absent" / "a")) is None


def test_what_is_no_readable_text_is_refused(tmp_path):
    (tmp_path / "bytes").write_bytes(b"ab\xff")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        (".", "is a directory, not a file: move it away"),
        ("bytes", r"is not UTF-8 text \(byte 2\): correct it or move it away"),
        ("loop", "cannot be read: Too many levels"),
    ):
        with pytest.raises(RefusedError, match=message) as refusal:
            files.read(str(tmp_path / name))
        assert str(refusal.value).startswith(str(tmp_path / name))


def test_a_new_file_gets_its_mode_and_its_directory(tmp_path):
    path = tmp_path / "docker" / "daemon.json"
    assert files.carry_out(Module(), Write(str(path), "{}\n", mode=0o600)) is None
    assert path.read_text(encoding="utf-8") == "{}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["daemon.json"]


def test_a_file_is_removed(tmp_path):
    path = tmp_path / "a"
    path.touch()
    files.carry_out(Module(), Write(str(path), None))
    assert not path.exists()


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    files.carry_out(Module(), Write(str(link), "new"))
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"


def test_text_that_is_not_accepted_does_not_take_the_place_of_the_old(tmp_path):
    path = tmp_path / "x.profile"
    path.write_text("old", encoding="utf-8")
    check = "import sys, glob; [name] = glob.glob(sys.argv[1]); sys.exit(open(name).read() != 'good')"
    validate = (sys.executable, "-c", check, f"{tmp_path}/{{name}}.profile")
    with pytest.raises(process.ProcessError, match="failed with status 1"):
        files.carry_out(Module(), Write(str(path), "bad", validate=validate))
    assert path.read_text(encoding="utf-8") == "old"
    files.carry_out(Module(), Write(str(path), "good", validate=validate))
    assert path.read_text(encoding="utf-8") == "good"
    assert os.listdir(tmp_path) == ["x.profile"]


def test_what_a_killed_run_left_beside_a_file_is_gone_after_the_next(tmp_path):
    path = tmp_path / "x.profile"
    (tmp_path / ".x.ansible-new.profile").write_text("half", encoding="utf-8")
    files.carry_out(Module(), Write(str(path), "whole"))
    assert path.read_text(encoding="utf-8") == "whole"
    assert os.listdir(tmp_path) == ["x.profile"]
