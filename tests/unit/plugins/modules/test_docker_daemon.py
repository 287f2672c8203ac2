# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.modules import docker_daemon

POOL = "dm.thinpooldev=/dev/mapper/docker-thinpool"
WISH = {"storage_driver": "devicemapper", "storage_opts": [POOL]}
WISHED = {"storage-driver": "devicemapper", "storage-opts": [POOL]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "docker" / "daemon.json"


@pytest.fixture
def there(path):
    """Let the file be there, with a key that is not ours and a mode of its own."""
    path.parent.mkdir()
    path.write_text('{"log-level": "warn"}', encoding="utf-8")
    path.chmod(0o640)
    return path


def test_check_mode_writes_nothing(run_module, commands, there):
    result = run_module(docker_daemon, check=True, path=str(there), backup=True, **WISH)
    assert result["actions"] == [f"change {there}: storage-driver, storage-opts"]
    assert result["daemon"] == {"log-level": "warn", **WISHED}
    assert json.loads(result["diff"]["before"]) == {}
    assert json.loads(result["diff"]["after"]) == WISHED
    assert there.read_text(encoding="utf-8") == '{"log-level": "warn"}'
    assert os.listdir(there.parent) == ["daemon.json"]


def test_no_result_and_no_diff_has_a_secret_of_the_file(run_module, commands, there):
    secrets = {
        "proxies": {"http-proxy": "http://me:s3cr3t@proxy:3128"},
        "log-opts": {"splunk-token": "s3cr3t", "tag": "x"},
    }
    there.write_text(json.dumps(secrets, indent=2), encoding="utf-8")
    wish = {"options": {"log-opts": {"splunk-token": "an0ther", "tag": "y"}}}
    for options in ({"check": True}, {}, {"check": True, "state": "absent"}):
        result = run_module(docker_daemon, path=str(there), backup=True, **wish, **options)
        assert result["changed"]
        assert "proxies" not in json.dumps(result["diff"])
        told = json.dumps({key: value for key, value in result.items() if key != "invocation"})
        assert "s3cr3t" not in told
        assert "an0ther" not in told
    assert json.loads(there.read_text(encoding="utf-8")) == {**secrets, **wish["options"]}


@pytest.mark.parametrize("indent", [2, 3, "\t"])
def test_a_file_keeps_its_indentation(run_module, commands, there, indent):
    there.write_text(json.dumps({"log-opts": {"tag": "x"}}, indent=indent) + "\n", encoding="utf-8")
    run_module(docker_daemon, path=str(there), **WISH)
    document = {"log-opts": {"tag": "x"}, **WISHED}
    assert there.read_text(encoding="utf-8") == json.dumps(document, indent=indent) + "\n"


def test_a_real_run_writes_the_file_and_its_directory(run_module, commands, path):
    result = run_module(docker_daemon, path=str(path), **WISH)
    assert (result["changed"], result["actions"]) == (True, [f"write {path}: storage-driver, storage-opts"])
    assert json.loads(path.read_text(encoding="utf-8")) == WISHED
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_changed_file_keeps_its_mode_and_a_copy(run_module, commands, there):
    result = run_module(docker_daemon, path=str(there), backup=True, **WISH)
    assert there.stat().st_mode & 0o777 == 0o640
    assert json.loads(there.read_text(encoding="utf-8")) == {"log-level": "warn", **WISHED}
    with open(result["backup_file"], encoding="utf-8") as file:
        assert file.read() == '{"log-level": "warn"}'


def test_a_second_run_changes_nothing(run_module, commands, there):
    run_module(docker_daemon, path=str(there), **WISH)
    text = there.read_text(encoding="utf-8")
    result = run_module(docker_daemon, path=str(there), backup=True, **WISH)
    assert (result["changed"], "diff" in result, "backup_file" in result) == (False, False, False)
    assert there.read_text(encoding="utf-8") == text


def test_a_file_that_is_no_json_stays_as_it_is(run_module, commands, there):
    there.write_text('{"log-level": warn}', encoding="utf-8")
    result = run_module(docker_daemon, path=str(there), **WISH)
    assert (result["failed"], result["msg"].split(" (")[0]) == (True, f"{there} is not valid JSON")
    assert there.read_text(encoding="utf-8") == '{"log-level": warn}'


def test_options_of_the_role_are_taken_out_again(run_module, commands, path):
    run_module(docker_daemon, path=str(path), **WISH)
    result = run_module(docker_daemon, path=str(path), state="absent", **WISH)
    assert (result["actions"], result["daemon"]) == ([f"remove {path}: storage-driver, storage-opts"], {})
    assert not path.exists()


def test_flags_of_the_unit_count_for_dockers_own_file(run_module, commands, there, monkeypatch, captured):
    text = (
        captured("docker_unit.txt")
        .replace("-H fd://", "--log-level=info")
        .replace("/etc/default/docker", "/nonexistent")
    )
    monkeypatch.setattr(dockerd, "read_unit", lambda: dict(line.split("=", 1) for line in text.splitlines()))
    assert run_module(docker_daemon, check=True, path=str(there), **WISH)["changed"]
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(there))
    result = run_module(docker_daemon, check=True, path=str(there), **WISH)
    assert result["msg"].startswith("dockerd's unit already sets --log-level (log-level); ")


def test_a_base_device_on_record_does_not_shrink(run_module, commands, monkeypatch, path, records):
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(path))
    monkeypatch.setattr(dockerd, "read_unit", dict)
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", str(records))
    refused = run_module(docker_daemon, path=str(path), storage_driver="devicemapper", storage_opts=["dm.basesize=5G"])
    assert refused["msg"].startswith("storage option dm.basesize is 5.00 GiB, and the base device that all images are")
    assert not path.exists()
    grown = run_module(docker_daemon, path=str(path), storage_driver="devicemapper", storage_opts=["dm.basesize=20G"])
    assert grown["changed"]
    taken_out = run_module(docker_daemon, path=str(path), storage_opts=["dm.basesize=5G"], state="absent")
    assert not taken_out.get("failed")
