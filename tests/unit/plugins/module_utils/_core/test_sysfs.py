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


def test_the_sectors_of_a_disk_and_of_its_partitions_are_known(tmp_path, monkeypatch):
    queue = tmp_path / "devices" / "sda" / "queue"
    queue.mkdir(parents=True)
    (queue / "logical_block_size").write_text("4096\n", encoding="utf-8")
    (queue.parent / "sda1").mkdir()
    links = tmp_path / "class"
    links.mkdir()
    (links / "sda").symlink_to(queue.parent)
    (links / "sda1").symlink_to(queue.parent / "sda1")
    monkeypatch.setattr(sysfs, "BLOCK", str(links))
    assert [sysfs.sector_size(f"/dev/{name}") for name in ("sda", "sda1", "sdb")] == [4096, 4096, 0]
