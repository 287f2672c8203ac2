# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._core import sysfs


def test_what_a_file_says_is_read_without_its_end_of_line(tmp_path):
    (tmp_path / "ro").write_text("1\n", encoding="utf-8")
    assert sysfs.attribute(str(tmp_path), "ro") == "1"
    assert sysfs.attribute(str(tmp_path), "absent") is None
    assert sysfs.attribute(str(tmp_path / "absent"), "ro") is None


def test_what_is_no_folder_has_no_names_in_it(tmp_path):
    (tmp_path / "file").touch()
    assert sysfs.listdir(str(tmp_path)) == ["file"]
    assert sysfs.listdir(str(tmp_path / "file")) == []
    assert sysfs.listdir(str(tmp_path / "absent")) == []
