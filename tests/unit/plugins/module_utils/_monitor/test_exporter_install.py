# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import errors
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import exporter_install, release
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.exporter_install import (
    ExporterSpec,
    InstalledExporter,
    decide,
)

WISH = ExporterSpec(textfile_dir="/srv/metrics", settings={"pools": ["docker/thinpool"]})
THERE = decide(InstalledExporter(), WISH)[1]
RELOAD, FIRST = "tell systemd of its changed files", "write the metrics for the first time"


def changed(path, text="something else"):
    return replace(THERE, files={**THERE.files, path: text})


def program(name):
    return next(path for path in THERE.files if path.endswith(f"/{name}.py"))


@pytest.mark.parametrize(
    ("current", "spec", "expected"),
    [
        pytest.param(THERE, WISH, [], id="there"),
        pytest.param(
            changed(program("lvm_state")),
            WISH,
            [f"write {program('lvm_state')}", FIRST],
            id="older-version-of-the-collection",
        ),
        pytest.param(
            changed(f"{exporter_install.PROGRAM}/old.py"),
            WISH,
            [FIRST, f"remove {exporter_install.PROGRAM}/old.py"],
            id="file-that-is-no-longer-used",
        ),
        pytest.param(
            THERE,
            replace(WISH, interval=30),
            [f"write {exporter_install.TIMER}", RELOAD, "start thin-pool-monitor.timer anew", FIRST],
            id="other-interval",
        ),
        pytest.param(
            THERE,
            replace(WISH, textfile_dir="/srv/other"),
            [
                "remove /srv/metrics/thin_pool.prom",
                f"write {exporter_install.CONFIGURATION}",
                f"write {exporter_install.SERVICE}",
                RELOAD,
                FIRST,
            ],
            id="other-folder",
        ),
        pytest.param(
            THERE,
            replace(WISH, settings={"pools": []}),
            [f"write {exporter_install.CONFIGURATION}", FIRST],
            id="settings",
        ),
        pytest.param(replace(THERE, needs_reload=True), WISH, [RELOAD, FIRST], id="interrupted-before-the-reload"),
        pytest.param(
            replace(THERE, active=False), WISH, ["enable thin-pool-monitor.timer and start it", FIRST], id="stopped"
        ),
        pytest.param(
            replace(THERE, enabled=False), WISH, ["enable thin-pool-monitor.timer and start it", FIRST], id="disabled"
        ),
        pytest.param(replace(THERE, metrics=False), WISH, [FIRST], id="no-metrics-yet"),
        pytest.param(InstalledExporter(), None, [], id="not-there"),
        pytest.param(
            THERE,
            None,
            [
                "stop thin-pool-monitor.timer and disable it",
                "stop thin-pool-monitor.service",
                "remove /srv/metrics/thin_pool.prom",
                f"remove {exporter_install.TIMER}",
                f"remove {exporter_install.SERVICE}",
                f"remove {exporter_install.CONFIGURATION}",
                RELOAD,
                f"remove {exporter_install.PROGRAM}, {exporter_install.STATE}, {exporter_install.CACHE}",
            ],
            id="taken-away",
        ),
        pytest.param(
            InstalledExporter(folders=(exporter_install.STATE,)),
            None,
            [f"remove {exporter_install.STATE}"],
            id="rest-of-a-removal",
        ),
    ],
)
def test_steps(current, spec, expected):
    steps, after = decide(current, spec)
    assert [step.action for step in steps] == expected
    assert after == (decide(InstalledExporter(), spec)[1] if spec else InstalledExporter())
    assert decide(after, spec)[0] == []


def test_first_installation_ends_with_a_run():
    steps = [step.action for step in decide(InstalledExporter(), WISH)[0]]
    assert steps[-3:] == [RELOAD, "enable thin-pool-monitor.timer and start it", FIRST]
    assert all(step.startswith("write /") for step in steps[:-3])


def test_program_runs_by_itself(tmp_path):
    """It is the collection's own code and needs nothing beside it, not even Ansible."""
    spec = replace(WISH, textfile_dir=str(tmp_path))
    for path, text in exporter_install.wanted_files(spec).items():
        target = Path(f"{tmp_path}/root{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(exporter_install.STATE, str(tmp_path)), encoding="utf-8")
    configuration = f"{tmp_path}/root{exporter_install.CONFIGURATION}"
    command = [
        sys.executable,
        "-S",
        "-m",
        "ansible_collections.devicemapper.containers.plugins.module_utils._monitor.exporter",
    ]
    # No program of this machine: what is missing must be told and not be an error.
    environment = {"PYTHONPATH": f"{tmp_path}/root{exporter_install.PROGRAM}", "PATH": "/nowhere"}
    done = subprocess.run([*command, configuration], check=False, env=environment, cwd="/", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert 'thin_pool_present{vg="docker",pool="thinpool"} 0' in (tmp_path / "thin_pool.prom").read_text()


@pytest.mark.parametrize(("usage_interval", "release_reserve"), [(0, False), (900, False), (0, True)])
def test_the_unit_may_do_little(tmp_path, usage_interval, release_reserve):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    path = tmp_path / "thin-pool-monitor.service"
    spec = replace(WISH, usage_interval=usage_interval, release_reserve=release_reserve)
    path.write_text(exporter_install._service(spec), encoding="utf-8")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze looks at no files")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_configuration_is_what_the_program_reads():
    text = exporter_install.wanted_files(WISH)[exporter_install.CONFIGURATION]
    assert json.loads(text) == {
        "textfile_dir": "/srv/metrics",
        "state_dir": "/var/lib/thin-pool-monitor",
        "timeout": 30,
        "usage_interval": 0,
        "usage_timeout": 600,
        "pools": ["docker/thinpool"],
    }


SHOWN = """UnitFileState={enabled}
ActiveState={active}
NeedDaemonReload=no

UnitFileState=static
ActiveState=inactive
NeedDaemonReload={reload}
"""


@pytest.fixture
def paths(monkeypatch, tmp_path):
    """Put everything below a folder of the test's."""
    for name in ("PROGRAM", "CONFIGURATION", "SERVICE", "TIMER", "STATE", "CACHE"):
        monkeypatch.setattr(exporter_install, name, f"{tmp_path}{getattr(exporter_install, name)}")
    return tmp_path


@pytest.mark.parametrize(
    ("enabled", "active", "reload"), [("enabled", "active", "no"), ("disabled", "inactive", "yes")]
)
def test_what_is_there_is_read(commands, paths, enabled, active, reload):
    metrics = paths / "metrics"
    metrics.mkdir()
    spec = replace(WISH, textfile_dir=str(metrics))
    after = decide(InstalledExporter(), spec)[1]
    for path, text in after.files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    (metrics / "thin_pool.prom").touch()
    commands.expect("systemctl show", SHOWN.format(enabled=enabled, active=active, reload=reload))
    found = exporter_install.read()
    assert found == replace(
        after,
        folders=(exporter_install.PROGRAM,),
        enabled=enabled == "enabled",
        active=active == "active",
        needs_reload=reload == "yes",
    )


def test_a_blank_host_has_nothing(commands, paths):
    commands.expect("systemctl show", SHOWN.format(enabled="", active="inactive", reload="no"))
    assert exporter_install.read() == InstalledExporter()


def test_a_host_without_systemd_is_refused(monkeypatch, paths):
    monkeypatch.setattr(exporter_install.process, "find", lambda program: None)
    with pytest.raises(errors.RefusedError, match="there is no systemd"):
        exporter_install.read()


def test_only_the_usage_needs_more_of_the_system_to_be_writable():
    plain, more = (
        exporter_install.wanted_files(replace(WISH, usage_interval=seconds))[exporter_install.SERVICE]
        for seconds in (0, 900)
    )
    assert "ReadWritePaths=/srv/metrics -/run/lock -/run/lvm\n" in plain
    assert "ReadWritePaths=/srv/metrics /run\n" in more
    assert "StateDirectory=thin-pool-monitor devicemapper.containers\n" in more


def test_only_where_it_is_allowed_is_there_what_releases_a_reserve():
    plain, more = (exporter_install.wanted_files(replace(WISH, release_reserve=allowed)) for allowed in (False, True))
    assert {path for path in more if path not in plain} == {
        f"{exporter_install.PROGRAM}/{release.__name__.replace('.', '/')}.py",
    }
    assert "DeviceAllow=block-* r\n" in plain[exporter_install.SERVICE]
    assert "ExecStartPre" not in plain[exporter_install.SERVICE]
    assert "DeviceAllow=block-* rw\n" in more[exporter_install.SERVICE]
    first, second = [line for line in more[exporter_install.SERVICE].splitlines() if line.startswith("ExecStart")]
    assert first.startswith("ExecStartPre=-+/")
    assert first.endswith(f" -m {release.__name__} {exporter_install.CONFIGURATION}")
    assert second == next(
        line for line in plain[exporter_install.SERVICE].splitlines() if line.startswith("ExecStart=")
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"textfile_dir": 1}'])
def test_a_damaged_configuration_is_written_anew(text):
    current = changed(exporter_install.CONFIGURATION, text)
    assert [step.action for step in decide(replace(current, metrics=False), WISH)[0]][-2:] == [
        f"write {exporter_install.CONFIGURATION}",
        FIRST,
    ]
