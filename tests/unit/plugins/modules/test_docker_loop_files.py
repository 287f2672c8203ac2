# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    dockerd,
    loop_files,
)
from ansible_collections.devicemapper.containers.plugins.modules import docker_loop_files

MIB = 1024**2
# Those of the captured pool, in bytes; whose devices it lies on makes no difference to what dmsetup says.
DATA, METADATA = 19914752 * 512, 25600 * 4096
AS_IT_IS = {"data_size": f"{DATA}", "metadata_size": f"{METADATA}"}
LARGER = {"data_size": f"{DATA + 512 * MIB}", "metadata_size": f"{METADATA}"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a data root with both files, sparse, which no device stands on."""
    monkeypatch.setattr(loop_files, "SYS", str(tmp_path / "sys"))
    folder = tmp_path / "docker" / "devicemapper" / "devicemapper"
    folder.mkdir(parents=True)
    for name, size in (("data", DATA), ("metadata", METADATA)):
        with open(folder / name, "wb") as file:
            file.truncate(size)
    return tmp_path / "docker"


@pytest.fixture
def running(root, tmp_path, commands, captured):
    """Let the captured pool run on them; return a function that expects what is asked of it."""
    pool, _colon, table = captured("pool_not_armed.table").partition(": ")

    def write(name, text):
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    for device, name, size in (("loop3", "data", DATA), ("loop1", "metadata", METADATA)):
        write(f"{device}/loop/backing_file", f"{root}/devicemapper/devicemapper/{name}\n")
        write(f"{device}/size", f"{size // 512}\n")
        write(f"{device}/holders/dm-0", "")
    write("loop0/size", "0\n")
    write("dm-0/dm/name", f"{pool}\n")
    write("dm-0/dm/suspended", "0\n")

    def ask(suspended=False):
        write("dm-0/dm/suspended", f"{int(suspended)}\n")
        commands.expect(f"dmsetup table {pool}", table)
        commands.expect("dmsetup status --noflush --target thin-pool", captured("pool_not_armed.status"))
        return pool

    return ask


def test_a_running_pool_is_read_in_two_processes(run_module, commands, root, running):
    pool = running()
    result = run_module(docker_loop_files, data_root=str(root), **AS_IT_IS)
    assert (result["changed"], result["actions"], commands.writing) == (False, [], [])
    folder = f"{root}/devicemapper/devicemapper"
    assert result["loop_files"] == {
        "data": {
            "path": f"{folder}/data",
            "size": DATA,
            "device": "/dev/loop3",
            "device_size": DATA,
            "pool_size": DATA,
        },
        "metadata": {
            "path": f"{folder}/metadata",
            "size": METADATA,
            "device": "/dev/loop1",
            "device_size": METADATA,
            "pool_size": METADATA,
        },
        "pool": pool,
        "suspended": False,
    }


def test_check_mode_foretells_and_leaves_it_alone(run_module, commands, root, running):
    running()
    result = run_module(docker_loop_files, check=True, data_root=str(root), **LARGER)
    assert len(result["actions"]) == 5
    assert result["diff"]["before"]["data"]["pool_size"] == DATA
    assert result["diff"]["after"]["data"]["pool_size"] == result["loop_files"]["data"]["pool_size"] == DATA + 512 * MIB
    assert commands.writing == []


def test_a_pool_that_was_left_suspended_is_resumed(run_module, commands, root, running):
    pool = running(suspended=True)
    commands.expect(f"dmsetup resume {pool}")
    running(suspended=True)
    result = run_module(docker_loop_files, data_root=str(root), **AS_IT_IS)
    assert result["actions"] == [f"resume pool {pool}, which was left suspended"]
    assert commands.writing == [f"dmsetup resume {pool}"]


def test_files_of_a_docker_that_is_stopped_are_grown_alone(run_module, commands, root):
    folder = f"{root}/devicemapper/devicemapper"
    commands.expect(f"truncate --no-create --size={DATA + 512 * MIB} {folder}/data")
    result = run_module(docker_loop_files, data_root=str(root), **LARGER)
    assert result["actions"] == [f"grow {folder}/data from 9.50 GiB to 10.00 GiB"]
    assert result["loop_files"]["pool"] is None


def test_files_that_are_not_there_are_dockers_to_make(run_module, commands, tmp_path):
    result = run_module(docker_loop_files, data_root=str(tmp_path / "nothing"))
    assert (result["changed"], result["loop_files"]["data"]["size"]) == (False, 0)


def test_files_are_found_where_docker_keeps_its_data(run_module, commands, root, monkeypatch, tmp_path):
    daemon = tmp_path / "daemon.json"
    daemon.write_text(json.dumps({"data-root": str(root)}), encoding="utf-8")
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(daemon))
    monkeypatch.setattr(dockerd, "read_unit", dict)
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", "/nonexistent")
    result = run_module(docker_loop_files, **AS_IT_IS)
    assert result["loop_files"]["data"]["path"] == f"{root}/devicemapper/devicemapper/data"
