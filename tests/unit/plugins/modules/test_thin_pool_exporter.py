# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import exporter_install
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_exporter

BLANK = "UnitFileState=\nActiveState=inactive\nNeedDaemonReload=no\n\nActiveState=inactive\nNeedDaemonReload=no\n"
THERE = BLANK.replace("UnitFileState=\nActiveState=inactive", "UnitFileState=enabled\nActiveState=active", 1)


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Put everything below a folder of the test's, and return it with an empty folder for the metrics."""
    for name in ("PROGRAM", "CONFIGURATION", "SERVICE", "TIMER", "STATE", "CACHE"):
        monkeypatch.setattr(exporter_install, name, f"{tmp_path}{getattr(exporter_install, name)}")
    (tmp_path / "metrics").mkdir()
    return tmp_path


def files_of(folder):
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def test_it_is_put_there_and_taken_away(run_module, commands, host):
    options = {"textfile_dir": str(host / "metrics"), "pools": ["docker/thinpool"]}
    commands.expect("systemctl show", BLANK)
    planned = run_module(thin_pool_exporter, check=True, **options)
    assert (planned["changed"], files_of(host)) == (True, [])

    commands.expect("systemctl show", BLANK)
    commands.expect("systemctl daemon-reload")
    commands.expect("systemctl enable --now --quiet thin-pool-monitor.timer")
    commands.expect("systemctl start thin-pool-monitor.service")
    result = run_module(thin_pool_exporter, **options)
    assert result["actions"] == planned["actions"]
    assert result["diff"] == planned["diff"]
    assert result["path"] == str(host / "metrics" / "thin_pool.prom")
    assert files_of(host) == sorted(result["diff"]["after"]["files"])
    (host / "metrics" / "thin_pool.prom").touch()

    commands.expect("systemctl show", THERE)
    assert run_module(thin_pool_exporter, **options)["changed"] is False

    commands.expect("systemctl show", THERE)
    commands.expect("systemctl disable --now --quiet thin-pool-monitor.timer")
    commands.expect("systemctl stop thin-pool-monitor.service")
    commands.expect("systemctl daemon-reload")
    commands.expect(f"rm --recursive --force -- {exporter_install.PROGRAM}")
    removed = run_module(thin_pool_exporter, state="absent")
    assert removed["path"] is None
    assert [path for path in files_of(host) if not path.startswith(exporter_install.PROGRAM)] == []
    assert os.listdir(host / "metrics") == []


def test_a_first_run_that_fails_is_told(run_module, commands, host):
    commands.expect("systemctl show", BLANK)
    commands.expect("systemctl daemon-reload")
    commands.expect("systemctl enable")
    commands.expect("systemctl start", stderr="Job for thin-pool-monitor.service failed.", rc=1)
    commands.expect("journalctl --no-pager --output=cat --lines=5 --unit=thin-pool-monitor.service", "no such folder\n")
    result = run_module(thin_pool_exporter, textfile_dir=str(host / "metrics"))
    assert "Job for thin-pool-monitor.service failed." in result["msg"]
    assert result["msg"].endswith("The last lines of its journal: no such folder")


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(run_module, commands, host, mode):
    """The parent of the folder, too: who may rename it may put a link in its place."""
    for folder in (host / "metrics", host / "shared" / "metrics"):
        folder.mkdir(parents=True, exist_ok=True)
    (host / "metrics").chmod(mode)
    (host / "shared").chmod(0o777)
    for folder, intruded in ((host / "metrics", host / "metrics"), (host / "shared" / "metrics", host / "shared")):
        result = run_module(thin_pool_exporter, textfile_dir=str(folder))
        assert result["msg"].startswith(f"textfile_dir: {intruded} may be written to by everybody, who could put")
        assert "dpkg-statoverride" in result["msg"]
    assert files_of(host) == []
