# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy, Profile

PATH = "/etc/lvm/profile/docker-thinpool.profile"
MANUAL = "activation {\n  thin_pool_autoextend_threshold=80\n  thin_pool_autoextend_percent=20\n}\n"
ABSENT = Profile(PATH)
WRITE = f"write profile {PATH}: thin_pool_autoextend_threshold 80, thin_pool_autoextend_percent 20"
RESTART = "restart dmeventd, which keeps profiles in memory"


def values(profile):
    return profile.value(profiles.THRESHOLD), profile.value(profiles.PERCENT)


CASES = [
    pytest.param(ABSENT, [WRITE], id="no-file"),
    pytest.param(Profile(PATH, ""), [WRITE], id="empty-file"),
    pytest.param(Profile(PATH, MANUAL.replace("80", "70")), [WRITE], id="another-threshold"),
    pytest.param(Profile(PATH, MANUAL.replace("20", "30")), [WRITE], id="another-percentage"),
    pytest.param(
        Profile(PATH, MANUAL.replace("  thin_pool_autoextend_percent=20\n", "")), [WRITE], id="one-setting-alone"
    ),
    pytest.param(Profile(PATH, MANUAL.replace("=80", "=eighty")), [WRITE], id="no-number"),
    pytest.param(Profile(PATH, MANUAL.replace("  thin", "# thin")), [WRITE], id="commented-out"),
    pytest.param(
        Profile(PATH, MANUAL.replace("80", "70"), dmeventd_running=True),
        [WRITE, RESTART],
        id="under-a-running-dmeventd",
    ),
    pytest.param(
        Profile(PATH, MANUAL, dmeventd_running=True, dmeventd_stale=True),
        [RESTART],
        id="changed-since-dmeventd-started",
    ),
]


@pytest.mark.parametrize(("current", "expected"), CASES)
def test_a_wish_becomes_steps(current, expected):
    steps, after = profiles.decide(current, threshold=80, percent=20)
    assert actions(steps) == expected
    assert values(after) == (80, 20)


@pytest.mark.parametrize(("current", "expected"), CASES)
def test_what_is_foretold_needs_nothing_more(current, expected):
    _steps, after = profiles.decide(current, threshold=80, percent=20)
    assert profiles.decide(after, threshold=80, percent=20) == ([], after)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MANUAL, id="the-manuals"),
        pytest.param(
            "activation/thin_pool_autoextend_threshold=80\nactivation/thin_pool_autoextend_percent=20", id="flat"
        ),
        pytest.param(MANUAL.replace("=", " = ") + "# ours\n", id="blanks-and-a-comment"),
        pytest.param(MANUAL.replace("=80", "=80 # percent").replace("=20", "=20#"), id="a-comment-behind-a-value"),
    ],
)
def test_a_profile_as_wished_is_left_alone(text):
    profile = Profile(PATH, text, dmeventd_running=True)
    assert profiles.decide(profile, threshold=80, percent=20) == ([], profile)


def test_a_new_file_is_checked_by_lvm_under_its_name():
    (step,), after = profiles.decide(ABSENT, threshold=70, percent=30)
    assert (step.write.path, step.write.text) == (PATH, after.text)
    assert step.write.validate == ("lvmconfig", "--validate", "--metadataprofile", "{name}")
    assert after.text.endswith(
        "activation {\n\tthin_pool_autoextend_threshold=70\n\tthin_pool_autoextend_percent=30\n}\n"
    )


def test_dmeventd_takes_over_what_it_monitors_when_it_is_restarted():
    steps, _after = profiles.decide(Profile(PATH, MANUAL, dmeventd_stale=True), threshold=80, percent=20)
    assert [(step.command, step.remedy) for step in steps] == [(("dmeventd", "-R"), ("vgchange", "--monitor", "y"))]


def test_other_settings_of_a_profile_stay():
    text = "# by hand\nallocation {\n  thin_pool_zero = 0\n}\n" + MANUAL
    _steps, after = profiles.decide(Profile(PATH, text), threshold=75, percent=25)
    assert after.text == text.replace("=80", "=75").replace("=20", "=25")


def test_a_comment_behind_a_value_stays():
    text = MANUAL.replace("=80", "=80 # percent")
    _steps, after = profiles.decide(Profile(PATH, text), threshold=75, percent=20)
    assert after.text == text.replace("=80 # percent", "=75 # percent")


def test_settings_of_vdo_pools_are_not_overwritten():
    text = "activation {\n\tvdo_pool_autoextend_threshold=70\n}\n"
    with pytest.raises(RefusedError, match="has settings of its own .*vdo_pool_autoextend_threshold=70"):
        profiles.decide(Profile(PATH, text), threshold=80, percent=20)


@pytest.mark.parametrize("threshold", [50, 99, 100])
@pytest.mark.parametrize("percent", [1, 100])
def test_the_ends_of_the_ranges_are_allowed(threshold, percent):
    _steps, after = profiles.decide(ABSENT, threshold=threshold, percent=percent)
    assert values(after) == (threshold, percent)


@pytest.mark.parametrize(
    ("threshold", "percent", "message"),
    [
        pytest.param(
            49, 20, "thin_pool_autoextend_threshold must be 50 to 99 .*or 100 to switch .* off, not 49", id="low"
        ),
        pytest.param(101, 20, "thin_pool_autoextend_threshold .* not 101", id="high"),
        pytest.param(80, 0, "thin_pool_autoextend_percent must be 1 to 100 .*, not 0", id="nothing-to-add"),
        pytest.param(80, 101, "thin_pool_autoextend_percent must be 1 to 100 .*, not 101", id="more-than-doubled"),
        pytest.param(80, -5, "thin_pool_autoextend_percent .* not -5", id="negative"),
    ],
)
def test_a_value_that_lvm_would_take_as_another_is_refused(threshold, percent, message):
    with pytest.raises(RefusedError, match=message):
        profiles.decide(ABSENT, threshold=threshold, percent=percent)


def test_a_file_with_other_settings_alone_is_not_overwritten():
    with pytest.raises(RefusedError) as refusal:
        profiles.decide(Profile(PATH, "allocation {\n  thin_pool_zero = 0\n}\n"), threshold=80, percent=20)
    assert re.search(
        f"^{PATH} has settings of its own .*thin_pool_zero = 0.* add the two .*or name another", str(refusal.value)
    )


def test_a_profile_is_removed():
    steps, after = profiles.decide(Profile(PATH, MANUAL), threshold=80, percent=20, state="absent")
    assert actions(steps) == [f"remove profile {PATH}"]
    assert (steps[0].write.path, steps[0].write.text) == (PATH, None)
    assert profiles.decide(after, threshold=80, percent=20, state="absent") == ([], after)


def test_a_profile_in_use_is_not_removed():
    with pytest.raises(RefusedError) as refusal:
        profiles.decide(
            Profile(PATH, MANUAL), threshold=80, percent=20, state="absent", used_by=["docker/thinpool", "a/b"]
        )
    assert str(refusal.value).startswith(f"{PATH} is attached to docker/thinpool, a/b: ")
    assert "'lvchange --detachprofile docker/thinpool'" in str(refusal.value)


@pytest.mark.parametrize("name", ["", "-x", "a/b", "../x", "a b", "x" * 128])
def test_a_name_that_would_leave_the_directory_is_refused(name):
    with pytest.raises(RefusedError, match="is not a name for a profile"):
        profiles.read(name, directory="/etc/lvm/profile")


def test_a_profile_is_read_from_the_directory_that_lvm_reports(commands, no_dmeventd, tmp_path):
    (tmp_path / "docker-thinpool.profile").write_text(MANUAL, encoding="utf-8")
    commands.expect("lvmconfig --typeconfig full config/profile_dir", f'profile_dir="{tmp_path}"\n')
    found = profiles.read("docker-thinpool")
    assert found == Profile(f"{tmp_path}/docker-thinpool.profile", MANUAL)


def test_a_profile_is_looked_for_at_the_usual_place_where_lvm_names_none(commands):
    commands.expect("lvmconfig", "")
    assert profiles.profile_directory() == "/etc/lvm/profile"


@pytest.mark.parametrize(
    ("later", "stale"),
    [
        pytest.param(1, False, id="started-after-the-change"),
        pytest.param(0, False, id="started-at-the-change"),
        pytest.param(-1, True, id="started-before-the-change"),
    ],
)
def test_a_dmeventd_that_read_an_older_file_is_noticed(monkeypatch, tmp_path, later, stale):
    path = tmp_path / "docker-thinpool.profile"
    path.write_text(MANUAL, encoding="utf-8")
    os.utime(path, (1000, 1000))  # as a copy that keeps the time of modification
    monkeypatch.setattr(profiles, "_dmeventd_started", lambda: path.stat().st_ctime_ns + later)
    found = profiles.read("docker-thinpool", directory=str(tmp_path))
    assert found == Profile(str(path), MANUAL, dmeventd_running=True, dmeventd_stale=stale)


def test_without_a_dmeventd_no_profile_is_stale(no_dmeventd, tmp_path):
    (tmp_path / "docker-thinpool.profile").write_text(MANUAL, encoding="utf-8")
    found = profiles.read("docker-thinpool", directory=str(tmp_path))
    assert (found.dmeventd_running, found.dmeventd_stale) == (False, False)


def test_the_policy_is_lvms_own_word(commands):
    commands.expect(
        "lvmconfig --typeconfig full --metadataprofile docker-thinpool activation/thin_pool_autoextend_threshold "
        "activation/thin_pool_autoextend_percent global/thin_check_executable",
        'thin_pool_autoextend_threshold=80\nthin_pool_autoextend_percent=25\nthin_check_executable="/bin/sh"\n',
    )
    assert profiles.policy("docker-thinpool") == Policy(80, 25)


@pytest.mark.parametrize(("program", "missing"), [("/nowhere/thin_check", "/nowhere/thin_check"), ("", "")])
def test_a_check_that_is_not_there_is_told(commands, program, missing):
    commands.expect("lvmconfig", f'thin_check_executable="{program}"\n')
    assert profiles.policy("docker-thinpool").missing_thin_check == missing


def test_a_profile_whose_file_is_gone_protects_nothing(commands):
    commands.expect("lvmconfig", stderr="x.profile: stat failed: No such file or directory", rc=5)
    assert profiles.policy("x") == Policy(100, 20, found=False)


def test_a_failing_lvmconfig_is_told_with_its_words(commands):
    commands.expect("lvmconfig", stderr="  Configuration option unknown.\n", rc=5)
    with pytest.raises(
        process.ProcessError, match="^lvmconfig .* failed with status 5: Configuration option unknown.$"
    ):
        profiles.profile_directory()


@pytest.mark.parametrize(
    ("settings", "can_monitor", "may_write"),
    [
        ("", True, True),
        ("monitoring=1\nmetadata_read_only=0\n", True, True),
        ("monitoring=0\n", False, True),
        ("metadata_read_only=1\n", True, False),
    ],
)
def test_what_lvm_does_not_do_on_this_host_is_known(commands, settings, can_monitor, may_write):
    commands.expect("lvmconfig --typeconfig full", settings)
    found = profiles.policy("")
    assert (found.can_monitor, found.may_write) == (can_monitor, may_write)
