# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.modules import containerd_devmapper

CAPTURED = Path(__file__).resolve().parents[2] / "containerd"
PACKAGED = (CAPTURED / "1.7.24" / "packaged.toml").read_text(encoding="utf-8")
WISH = {"pool_name": "docker-thinpool", "discard_blocks": True}
STATUS = "dmsetup status --noflush --target thin-pool"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "containerd" / "config.toml"


@pytest.fixture
def there(path):
    path.parent.mkdir()
    path.write_text(PACKAGED, encoding="utf-8")
    path.chmod(0o640)
    return path


@pytest.fixture
def pools(commands, captured):
    commands.expect(STATUS, captured("pool.status"))


def test_check_mode_writes_nothing_and_shows_what_would_be_there(run_module, commands, pools, there):
    result = run_module(containerd_devmapper, check=True, path=str(there), backup=True, **WISH)
    assert result["actions"] == [f"set pool_name, base_image_size, discard_blocks in {there}"]
    assert result["devmapper"] == {"pool_name": "docker-thinpool", "base_image_size": "10GB", "discard_blocks": True}
    assert (result["path"], result["diff"][0]["before"]) == (str(there), "")
    assert 'pool_name = "docker-thinpool"' in result["diff"][0]["after"]
    assert "bin_dir" not in result["diff"][0]["after"]
    assert there.read_text(encoding="utf-8") == PACKAGED
    assert os.listdir(there.parent) == ["config.toml"]


def test_a_real_run_has_containerd_read_the_file_first(run_module, commands, pools, there):
    commands.expect(f"containerd --config {there.parent}/.config.ansible-new-")
    result = run_module(containerd_devmapper, path=str(there), backup=True, **WISH)
    assert there.read_text(encoding="utf-8") == PACKAGED + result["diff"][0]["after"]
    assert there.stat().st_mode & 0o777 == 0o640
    assert Path(result["backup_files"][0]).read_text(encoding="utf-8") == PACKAGED


def test_a_file_that_containerd_does_not_take_never_counts(run_module, commands, pools, there):
    commands.expect("containerd --config", stderr="containerd: toml: cannot decode\n", rc=1)
    result = run_module(containerd_devmapper, path=str(there), **WISH)
    assert (result["failed"], result["rc"], result["msg"].split(": ")[-1]) == (True, 1, "cannot decode")
    assert there.read_text(encoding="utf-8") == PACKAGED
    assert os.listdir(there.parent) == ["config.toml"]


def test_a_second_run_changes_nothing(run_module, commands, pools, there, captured):
    commands.expect("containerd --config")
    run_module(containerd_devmapper, path=str(there), **WISH)
    text = there.read_text(encoding="utf-8")
    commands.expect(STATUS, captured("pool.status"))
    result = run_module(containerd_devmapper, path=str(there), backup=True, **WISH)
    assert (result["changed"], "diff" in result, "backup_files" in result) == (False, False, False)
    assert there.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("release", "version"), [("1.6.20", 2), ("1.7.24", 2), ("2.0.9", 3), ("2.1.9", 3)])
def test_a_file_that_is_made_has_the_version_of_this_containerd(run_module, commands, pools, path, release, version):
    commands.expect("containerd --version", (CAPTURED / release / "version.txt").read_text(encoding="utf-8"))
    commands.expect("containerd --config")
    run_module(containerd_devmapper, path=str(path), **WISH)
    assert f"\nversion = {version}\n" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644


def test_without_containerd_the_file_is_prepared(run_module, commands, monkeypatch, path):
    monkeypatch.setattr(containerd_devmapper.process, "find", lambda program: None)
    result = run_module(containerd_devmapper, path=str(path), **WISH)
    assert result["changed"]
    assert "\nversion = 2\n" in path.read_text(encoding="utf-8")


def test_a_name_whose_hyphens_are_not_doubled_is_refused(run_module, commands, captured, there):
    commands.expect(STATUS, captured("pool.status").replace("docker-thinpool", "my--vg-thinpool"))
    result = run_module(containerd_devmapper, path=str(there), pool_name="my-vg-thinpool")
    assert "there is no thin pool my-vg-thinpool, but there is my--vg-thinpool" in result["msg"]


def test_taking_it_out_leaves_the_file_as_it_was(run_module, commands, pools, there):
    commands.expect("containerd --config")
    run_module(containerd_devmapper, path=str(there), **WISH)
    commands.expect("containerd --config")
    result = run_module(containerd_devmapper, path=str(there), pool_name="docker-thinpool", state="absent")
    assert (result["changed"], result["path"], result["devmapper"]) == (True, None, {})
    assert there.read_text(encoding="utf-8") == PACKAGED
