# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import profiles
from ansible_collections.devicemapper.containers.plugins.modules import lvm_profile

MANUAL = "activation {\n  thin_pool_autoextend_threshold=80\n  thin_pool_autoextend_percent=20\n}\n"


@pytest.fixture
def directory(commands, no_dmeventd, tmp_path):
    """Return the directory that LVM reports first."""
    commands.expect("lvmconfig --typeconfig full config/profile_dir", f'profile_dir="{tmp_path}"\n')
    return tmp_path


def sentence(directory, threshold=80, percent=20):
    return (
        f"write profile {directory}/docker-thinpool.profile: thin_pool_autoextend_threshold {threshold}, "
        f"thin_pool_autoextend_percent {percent}"
    )


def test_check_mode_writes_nothing(run_module, commands, directory):
    result = run_module(lvm_profile, check=True, name="docker-thinpool")
    assert (result["changed"], result["actions"]) == (True, [sentence(directory)])
    assert result["profile_path"] == f"{directory}/docker-thinpool.profile"
    assert (result["diff"]["before"], list(directory.iterdir())) == ("", [])
    assert "thin_pool_autoextend_threshold=80" in result["diff"]["after"]


def test_a_real_run_has_lvm_check_the_file_before_it_counts(run_module, commands, directory):
    commands.expect("lvmconfig --validate --metadataprofile .docker-thinpool.ansible-new")
    result = run_module(lvm_profile, name="docker-thinpool", thin_pool_autoextend_threshold=70)
    path = directory / "docker-thinpool.profile"
    assert result["actions"] == [sentence(directory, 70)]
    assert "thin_pool_autoextend_threshold=70" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(directory.iterdir()) == [path]


def test_a_second_run_changes_nothing(run_module, commands, directory):
    (directory / "docker-thinpool.profile").write_text(MANUAL, encoding="utf-8")
    assert not run_module(lvm_profile, name="docker-thinpool")["changed"]


def test_a_file_that_lvm_does_not_take_is_not_left_behind(run_module, commands, directory):
    path = directory / "docker-thinpool.profile"
    path.write_text(MANUAL, encoding="utf-8")
    commands.expect("lvmconfig --validate", stderr="  Configuration setting unknown.\n", rc=5)
    result = run_module(lvm_profile, name="docker-thinpool", thin_pool_autoextend_percent=30)
    assert (result["failed"], result["rc"]) == (True, 5)
    assert result["msg"].endswith("failed with status 5: Configuration setting unknown.")
    assert (path.read_text(encoding="utf-8"), list(directory.iterdir())) == (MANUAL, [path])


def test_a_running_dmeventd_is_restarted_after_the_change(run_module, commands, directory, monkeypatch):
    monkeypatch.setattr(profiles, "_dmeventd_started", lambda: 0.0)
    (directory / "docker-thinpool.profile").write_text(MANUAL, encoding="utf-8")
    commands.expect("lvmconfig --validate")
    commands.expect("dmeventd -R")
    result = run_module(lvm_profile, name="docker-thinpool", thin_pool_autoextend_percent=30)
    assert result["actions"][1:] == ["restart dmeventd, which keeps profiles in memory"]
    assert commands.writing == ["dmeventd -R"]


def test_a_profile_that_no_pool_uses_is_removed(run_module, commands, captured, directory):
    path = directory / "docker-thinpool.profile"
    path.write_text(MANUAL, encoding="utf-8")
    commands.expect("lvm fullreport", captured("group.json"))
    result = run_module(lvm_profile, name="docker-thinpool", state="absent")
    assert (result["actions"], path.exists()) == ([f"remove profile {path}"], False)


def test_a_profile_in_use_stays(run_module, commands, captured, directory):
    path = directory / "docker-thinpool.profile"
    path.write_text(MANUAL, encoding="utf-8")
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table", captured("pool.table"))
    result = run_module(lvm_profile, name="docker-thinpool", state="absent")
    assert result["msg"].startswith(f"{path} is attached to docker/thinpool: ")
    assert path.exists()


def test_only_pools_are_named_as_users_of_a_profile(run_module, commands, captured, table, directory):
    """An lvcreate with --metadataprofile attaches it to the hidden volumes too (seen in the captured report)."""
    (directory / "docker-thinpool.profile").write_text(MANUAL, encoding="utf-8")
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table", table("pool_in_use_by_docker"))
    result = run_module(lvm_profile, name="docker-thinpool", state="absent")
    assert "is attached to docker/thinpool: " in result["msg"]
    assert "'lvchange --detachprofile docker/thinpool'" in result["msg"]


def test_a_threshold_out_of_range_is_refused(run_module, commands, directory):
    result = run_module(lvm_profile, name="docker-thinpool", thin_pool_autoextend_threshold=30)
    assert result["msg"].startswith("thin_pool_autoextend_threshold must be 50 to 99")
    assert list(directory.iterdir()) == []
