# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_daemon
from ansible_collections.devicemapper.containers.plugins.module_utils._core import systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

CAPTURED = Path(__file__).resolve().parents[3] / "containerd"
RELEASES = sorted(path.name for path in CAPTURED.iterdir() if path.is_dir())
ASKED = sorted(path.parent.name for path in CAPTURED.glob("*/plugin_error.txt"))


def captured(release, name):
    return (CAPTURED / release / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("release", RELEASES)
def test_the_version_is_found(release):
    found = containerd_daemon.Containerd(version=containerd_daemon.parse_version(captured(release, "version.txt")))
    assert (found.version, found.config_version) == (
        release,
        4 if release.startswith("2.3") else 3 if release.startswith("2.") else 2,
    )


@pytest.mark.parametrize("release", ASKED)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plugin_error", "no such device"),
        ("plugin_not_configured", "devmapper not configured"),
        ("plugin_overlayfs", "ok"),
    ],
)
def test_the_state_of_the_snapshotter_is_found(release, name, expected):
    plugins = containerd_daemon.parse_plugins(captured(release, f"{name}.txt"))
    uri = plugins[0].uri
    assert containerd_daemon.state_of(plugins, uri).startswith(expected)
    assert plugins[0].is_skipped == ("not configured: skip" in plugins[0].error)


def test_a_snapshotter_that_is_not_listed_is_not_there():
    assert containerd_daemon.state_of(containerd_daemon.parse_plugins("")) == "it is not there"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "/etc/containerd/config.toml"),
        (("--config", "/a.toml"), "/a.toml"),
        (("-c=/a.toml", "--log-level", "debug"), "/a.toml"),
        (("--config=/b.toml", "--config=/a.toml"), "/a.toml"),
    ],
)
def test_the_configuration_is_the_one_of_the_unit(flags, expected):
    assert containerd_daemon.config_path(flags) == expected


@pytest.fixture
def process(monkeypatch, tmp_path):
    """Make a process of the test's own, with a database open that was started ten seconds ago."""
    (tmp_path / "7" / "fd").mkdir(parents=True)
    for number, target in enumerate(("/root/p.db", "/root/metadata.db", "/dev/null")):
        os.symlink(target, str(tmp_path / "7" / "fd" / str(number)))
    ticks = int((time.clock_gettime(time.CLOCK_BOOTTIME) - 10) * os.sysconf("SC_CLK_TCK"))
    fields = " ".join(["S", *["0"] * 18, str(ticks), "0"])
    (tmp_path / "7" / "stat").write_text(f"7 (a) b) {fields}\n", encoding="utf-8")
    monkeypatch.setattr(containerd_daemon, "PROC", str(tmp_path))


def test_containerd_is_read_in_four_processes(commands, monkeypatch, process):
    unit = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "MainPID": "7",
        "ExecStart": "{ path=/usr/bin/containerd ; argv[]=/usr/bin/containerd -c /x.toml ; ignore_errors=no ; }",
    }
    monkeypatch.setattr(systemd, "read_unit", lambda service: unit)
    commands.expect("containerd config default", captured("1.7.24", "default.toml"))
    commands.expect("ctr --connect-timeout 30s plugins ls --detailed", captured("1.7.24", "plugin_error.txt"))
    commands.expect("containerd --version", captured("1.7.24", "version.txt"))
    found = containerd_daemon.read()
    assert (found.path, found.version, found.has_plugin) == ("/usr/sbin/containerd", "1.7.24", True)
    assert (found.active, found.enabled, found.config, found.plugin) == (True, True, "/x.toml", "no such device")
    assert found.has_open("/root", "p")
    assert not found.has_open("/root", "q")
    assert abs(time.time() - 10 - found.started) < 2


def test_a_containerd_without_the_snapshotter_is_refused(commands, monkeypatch):
    monkeypatch.setattr(systemd, "read_unit", lambda service: {})
    text = captured("1.7.24", "default.toml").replace("v1.devmapper", "v1.other")
    commands.expect("containerd config default", text)
    commands.expect("containerd --version", captured("1.7.24", "version.txt"))
    with pytest.raises(RefusedError, match="was built without the devmapper snapshotter"):
        containerd_daemon.check(containerd_daemon.read())


ALL = """Type:          io.containerd.content.v1
ID:            content
Requires:
               io.containerd.event.v1
Error:
               Code:        Unknown
               Message:     no space left
                            on device

Type:          io.containerd.snapshotter.v1
ID:            zfs
Error:
               Code:        Unknown
               Message:     path must be a zfs filesystem: skip plugin

Type:          io.containerd.grpc.v1
ID:            cri
"""


def test_all_plugins_are_found_with_what_hinders_them():
    content, zfs, cri = containerd_daemon.parse_plugins(ALL)
    assert (content.uri, content.error) == ("io.containerd.content.v1.content", "no space left on device")
    assert (zfs.is_skipped, content.is_skipped, cri.error) == (True, False, "")
    assert containerd_daemon.broken((content, zfs, cri)) == [
        "io.containerd.content.v1.content (no space left on device)"
    ]


def test_a_host_on_which_more_than_the_snapshotter_is_broken_is_refused():
    plugins = containerd_daemon.parse_plugins(ALL)
    containerd = containerd_daemon.Containerd("/usr/bin/containerd", "1.7.24", plugin="ok", plugins=plugins)
    with pytest.raises(RefusedError, match=r"runs without io.containerd.content.v1.content \(no space left on device"):
        containerd_daemon.check(containerd)


def test_where_the_snapshotter_itself_is_what_hinders_the_others_it_may_be_mended():
    plugins = containerd_daemon.parse_plugins(ALL)
    ours = containerd_daemon.Plugin("io.containerd.snapshotter.v1", "devmapper", "no such pool")
    containerd = containerd_daemon.Containerd("/usr/bin/containerd", "2.1.9", plugins=(*plugins, ours))
    containerd_daemon.check(containerd)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (("", "", ""), []),
        (("", "", "no runc"), ["io.containerd.grpc.v1.cri (no runc)"]),
        (("", "", None), ["io.containerd.grpc.v1.cri (it is not there)"]),
        (("", "x", ""), []),
    ],
    ids=["all", "cri", "cri-gone", "one-that-did-not-work"],
)
def test_what_worked_and_does_not_any_more_is_found(after, expected):
    names = (("io.containerd.content.v1", "content"), ("io.containerd.snapshotter.v1", "zfs"))
    names = (*names, ("io.containerd.grpc.v1", "cri"))
    before = [containerd_daemon.Plugin(*name, error) for name, error in zip(names, ("", "skip plugin", ""))]
    now = [containerd_daemon.Plugin(*name, error) for name, error in zip(names, after) if error is not None]
    assert containerd_daemon.lost(before, now) == expected


def test_a_containerd_that_does_not_answer_says_nothing(commands):
    commands.expect("ctr", rc=1)
    assert containerd_daemon.ask() == ()


def test_a_containerd_that_is_starting_is_asked_again(commands, monkeypatch):
    monkeypatch.setattr(containerd_daemon.time, "sleep", lambda seconds: None)
    commands.expect("ctr", rc=1)
    commands.expect("ctr", ALL)
    assert len(containerd_daemon.ask_started(containerd_daemon.Layout())) == 3


def test_a_process_that_is_gone_has_nothing_open(monkeypatch, tmp_path):
    monkeypatch.setattr(containerd_daemon, "PROC", str(tmp_path))
    assert (containerd_daemon._open_files("9"), containerd_daemon._started("9")) == (frozenset(), None)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.7.24~ds1-6+deb13u1", "1.7.24"),
        ("1.7.27-1", "1.7.27"),
        ("5:2.1.5-1~debian", "2.1.5"),
        ("v2.0", "2.0"),
        ("x", ""),
    ],
)
def test_a_packages_version_is_found(version, expected):
    assert containerd_daemon.bare_version(version) == expected


@pytest.mark.parametrize("version", ["1.5.18", "1.4", ""])
def test_an_old_containerd_is_refused(version):
    with pytest.raises(RefusedError):
        containerd_daemon.check_version(version, "package containerd")


@pytest.mark.parametrize("version", ["1.6.0", "1.7.24", "2.0.9", "10.0"])
def test_a_newer_one_is_not(version):
    containerd_daemon.check_version(version, "package containerd")
