# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_daemon
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


def captured_of(name: str, release: str = "1.7.24") -> str:
    return (CAPTURED / release / name).read_text(encoding="utf-8")


@pytest.fixture
def asked(commands):
    """Return what has containerd asked for its version and for what it makes of files, as they are and as they will be.

    What it makes of them here is its own default, whatever they say.
    """

    def expect(release: str = "1.7.24", *, path: str = "", will: str | None = None) -> None:
        commands.expect("containerd --version", captured_of("version.txt", release))
        what = f"containerd --config {path} config dump" if path else "containerd config default"
        commands.expect(what, captured_of("default.toml", release))
        if will != "":
            text = captured_of("default.toml", release)
            commands.expect("containerd --config /", text if will is None else will)

    return expect


def test_check_mode_writes_nothing_and_shows_what_would_be_there(run_module, pools, asked, there):
    asked(path=there)
    result = run_module(containerd_devmapper, check=True, path=str(there), backup=True, **WISH)
    assert result["actions"] == [f"set pool_name, base_image_size, discard_blocks in {there}"]
    assert result["devmapper"] == {"pool_name": "docker-thinpool", "base_image_size": "10GB", "discard_blocks": True}
    assert (result["path"], result["diff"][0]["before"]) == (str(there), "")
    assert 'pool_name = "docker-thinpool"' in result["diff"][0]["after"]
    assert "bin_dir" not in result["diff"][0]["after"]
    assert there.read_text(encoding="utf-8") == PACKAGED
    assert os.listdir(there.parent) == ["config.toml"]


def test_a_real_run_replaces_the_file_and_keeps_a_copy(run_module, pools, asked, there):
    asked(path=there)
    result = run_module(containerd_devmapper, path=str(there), backup=True, **WISH)
    assert there.read_text(encoding="utf-8") == PACKAGED + result["diff"][0]["after"]
    assert there.stat().st_mode & 0o777 == 0o640
    assert Path(result["backup_files"][0]).read_text(encoding="utf-8") == PACKAGED


def test_a_file_that_containerd_does_not_take_never_counts(run_module, commands, pools, asked, there):
    asked(path=there, will="")
    commands.expect("containerd --config", stderr="containerd: toml: cannot decode\n", rc=1)
    result = run_module(containerd_devmapper, path=str(there), **WISH)
    assert (result["failed"], result["rc"], result["msg"].split(": ")[-1]) == (True, 1, "cannot decode")
    assert there.read_text(encoding="utf-8") == PACKAGED
    assert os.listdir(there.parent) == ["config.toml"]


def test_what_containerd_would_do_beside_what_is_asked_is_refused(run_module, pools, asked, there):
    asked(
        path=there, will=captured_of("default.toml").replace('snapshotter = "overlayfs"', 'snapshotter = "native"', 1)
    )
    result = run_module(containerd_devmapper, check=True, path=str(there), **WISH)
    assert "plugins.io.containerd.grpc.v1.cri.containerd.snapshotter otherwise than now" in result["msg"]
    assert there.read_text(encoding="utf-8") == PACKAGED


def test_a_second_run_changes_nothing(run_module, commands, pools, asked, there, captured):
    asked(path=there)
    run_module(containerd_devmapper, path=str(there), **WISH)
    text = there.read_text(encoding="utf-8")
    commands.expect(STATUS, captured("pool.status"))
    asked(path=there, will="")
    result = run_module(containerd_devmapper, path=str(there), backup=True, restart=True, **WISH)
    assert (result["changed"], "diff" in result, "backup_files" in result) == (False, False, False)
    assert there.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("release", "version"), [("1.6.20", 2), ("1.7.24", 2), ("2.0.9", 3), ("2.1.9", 3), ("2.3.4", 4)]
)
def test_a_file_that_is_made_has_the_version_of_this_containerd(run_module, pools, asked, path, release, version):
    asked(release)
    run_module(containerd_devmapper, path=str(path), **WISH)
    assert f"\nversion = {version}\n" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644


PLUGINS = "Type:    io.containerd.grpc.v1\nID:      cri\n"
WITHOUT_CRI = f"{PLUGINS}Error:\n         Code:     Unknown\n         Message:  no runc\n"
START = ("systemctl enable containerd.service", "systemctl restart containerd.service")


@pytest.fixture
def socket(tmp_path):
    (tmp_path / "containerd.sock").touch()
    return str(tmp_path / "containerd.sock")


@pytest.fixture
def running(commands, socket, monkeypatch):
    """Return what has containerd asked for its plugins."""
    monkeypatch.setattr(containerd_daemon, "ATTEMPTS", 1)
    command = f"ctr --address {socket} --connect-timeout 30s plugins ls --detailed"
    return lambda text, rc=0: commands.expect(command, text, rc=rc)


def test_containerd_is_restarted_with_it(run_module, commands, pools, asked, there, running, socket):
    asked(path=there, will="")
    running(PLUGINS)
    commands.expect("containerd --config /", captured_of("default.toml"))
    for command in START:
        commands.expect(command)
    running(PLUGINS)
    result = run_module(containerd_devmapper, path=str(there), restart=True, layout={"socket": socket}, **WISH)
    assert result["actions"][1:] == ["restart containerd, and see that every plugin works that did"]
    assert "devmapper" in there.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (
            lambda commands, running: running(WITHOUT_CRI),
            "containerd does without io.containerd.grpc.v1.cri (no runc); its devmapper snapshotter says: it is not "
            "there. ",
        ),
        (lambda commands, running: running("", rc=1), "containerd does not answer. "),
        (None, "containerd does not start (systemctl restart containerd.service failed with status 1: "),
    ],
    ids=["without-cri", "silent", "not-started"],
)
def test_where_something_does_not_work_any_more_the_file_is_put_back(
    run_module, commands, pools, asked, there, running, socket, after, says
):
    asked(path=there, will="")
    running(PLUGINS)
    commands.expect("containerd --config /", captured_of("default.toml"))
    commands.expect(START[0])
    commands.expect(START[1], rc=0 if after else 1)
    if after:
        after(commands, running)
    for command in START:
        commands.expect(command)
    result = run_module(containerd_devmapper, path=str(there), restart=True, layout={"socket": socket}, **WISH)
    assert (result["failed"], f"with what was written to {there} {says}" in result["msg"]) == (True, True)
    assert result["msg"].endswith("and containerd runs with it again: see 'journalctl -u containerd'")
    assert there.read_text(encoding="utf-8") == PACKAGED


def test_a_file_that_was_not_there_is_removed_again(run_module, commands, pools, asked, path, running, socket):
    asked("2.1.9", will="")
    running(PLUGINS)
    commands.expect("containerd --config /", captured_of("default.toml", "2.1.9"))
    for command in START:
        commands.expect(command)
    running(WITHOUT_CRI)
    for command in START:
        commands.expect(command)
    result = run_module(containerd_devmapper, path=str(path), restart=True, layout={"socket": socket}, **WISH)
    assert result["failed"]
    assert not path.exists()


def test_without_containerd_the_file_is_prepared(run_module, commands, monkeypatch, path):
    monkeypatch.setattr(containerd_devmapper.process, "find", lambda program: None)
    result = run_module(containerd_devmapper, path=str(path), **WISH)
    assert result["changed"]
    assert "\nversion = 2\n" in path.read_text(encoding="utf-8")


def test_a_name_whose_hyphens_are_not_doubled_is_refused(run_module, commands, captured, there):
    commands.expect(STATUS, captured("pool.status").replace("docker-thinpool", "my--vg-thinpool"))
    result = run_module(containerd_devmapper, path=str(there), pool_name="my-vg-thinpool")
    assert "there is no thin pool my-vg-thinpool, but there is my--vg-thinpool" in result["msg"]


def test_taking_it_out_leaves_the_file_as_it_was(run_module, pools, asked, there):
    asked(path=there)
    run_module(containerd_devmapper, path=str(there), **WISH)
    asked(path=there)
    result = run_module(containerd_devmapper, path=str(there), pool_name="docker-thinpool", state="absent")
    assert (result["changed"], result["path"], result["devmapper"]) == (True, None, {})
    assert there.read_text(encoding="utf-8") == PACKAGED
