# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in

PATH = "/etc/systemd/system/docker.service.d/thin-pool-docker-thin--pool.conf"
WRITE = f"write {PATH}, so that docker.service starts with its pool active"
REMOVE = f"remove {PATH}"
RELOAD = "tell systemd of its changed files"
TEXT = boot_drop_in.text("docker", "thin-pool")


def decide(current, **options):
    steps, after = boot_drop_in.decide(current, service="docker.service", vg="docker", pool="thin-pool", **options)
    return actions(steps), after


@pytest.mark.parametrize(
    ("current", "options", "expected"),
    [
        pytest.param(None, {}, [WRITE, RELOAD], id="not-there"),
        pytest.param("[Unit]\n", {}, [WRITE, RELOAD], id="another-text"),
        pytest.param(TEXT, {}, [], id="there"),
        pytest.param(TEXT, {"needs_reload": True}, [RELOAD], id="systemd-was-not-told"),
        pytest.param(None, {"needs_reload": True}, [WRITE, RELOAD], id="not-there-and-systemd-was-not-told"),
        pytest.param(TEXT, {"state": "absent"}, [REMOVE, RELOAD], id="to-be-removed"),
        pytest.param(None, {"state": "absent"}, [], id="removed"),
        pytest.param(None, {"state": "absent", "needs_reload": True}, [], id="nobodys-business"),
    ],
)
def test_the_drop_in_is_made_and_removed(current, options, expected):
    found, after = decide(current, **options)
    assert found == expected
    assert after == (None if "state" in options else TEXT)


def test_the_pool_is_activated_and_watched_before_the_start():
    lines = TEXT.splitlines()
    assert lines.index("[Service]") < len(lines) - 2
    assert "lvchange --activate y docker/thin-pool" in lines[-2]
    assert "lvchange --monitor y docker/thin-pool" in lines[-1]


# What LVM's commands say by their exit status, and what is then to be seen: volumes by the selection of lvs.
@pytest.mark.parametrize(
    ("status", "seen", "line", "starts", "said"),
    [
        pytest.param(0, "lv_active=active", -2, True, "", id="active"),
        pytest.param(0, "seg_monitor=monitored", -2, False, "is not active", id="skipped"),
        pytest.param(5, "lv_active=active", -2, False, "is not active", id="failed"),
        pytest.param(0, "seg_monitor=monitored", -1, True, "", id="watched"),
        pytest.param(0, "lv_active=active", -1, False, "activation/monitoring", id="not-watched"),
        pytest.param(5, "seg_monitor=monitored", -1, False, "dmeventd does not watch", id="cannot-be-watched"),
    ],
)
def test_the_service_starts_only_on_a_pool_that_is_seen(tmp_path, monkeypatch, status, seen, line, starts, said):
    monkeypatch.setattr(boot_drop_in, "PATIENCE", 1)
    for program, script in (("lvchange", f"exit {status}"), ("lvs", f'case "$*" in *{seen}*) echo x;; esac')):
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / program).chmod(0o755)
    command = boot_drop_in.text("docker", "thin-pool").splitlines()[line].partition("=")[2].replace("$$", "$")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, env={"PATH": path})
    assert (ran.returncode == 0, said in ran.stderr) == (starts, True)
    assert starts or "docker/thin-pool" in ran.stderr
