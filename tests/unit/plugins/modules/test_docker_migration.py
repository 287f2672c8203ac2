# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    dockerd,
    image_inventory,
    image_migration,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import (
    Container,
    Docker,
    Image,
    Info,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_inventory import Inventory
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_migration import (
    FreeSpace,
    MigrationState,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in
from ansible_collections.devicemapper.containers.plugins.modules import docker_migration

MIB = 1024**2
APP = Image(f"sha256:{'a' * 64}", ("app:1", "app:2"), (), 5 * MIB)
SAID = {"Id": "c0ffee", "Name": "/web", "State": {"Running": True}, "Config": {"Image": "app:1"}}
WEB = Container("c0ffee", "web", "app:1", True, SAID)
DAEMON = '{"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}'
DOCKER = Docker(path="/usr/sbin/dockerd", version="20.10.24", unit="loaded", active=True)
ON_POOL = replace(DOCKER, info=Info("devicemapper", {"Pool Name": "docker-thinpool"}))
ON_OVERLAY2 = replace(DOCKER, info=Info("overlay2"))


@pytest.fixture
def host(monkeypatch, tmp_path, commands):
    """Return a function that says what is found at each look, and a host whose files are in a folder."""
    daemon = tmp_path / "daemon.json"
    daemon.write_text(DAEMON, encoding="utf-8")
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(daemon))
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", str(tmp_path / "docker"))
    monkeypatch.setattr(dockerd, "read_unit", dict)
    monkeypatch.setattr(dockerd, "read", lambda: DOCKER)
    monkeypatch.setattr(dockerd, "containers", lambda: ())
    monkeypatch.setattr(boot_drop_in, "path", lambda service, vg, pool: f"{tmp_path}/{service}.d/{vg}-{pool}.conf")
    (tmp_path / "docker.migration").mkdir()
    looks: list = []
    monkeypatch.setattr(image_migration, "read", lambda spec, docker, text, root: looks.pop(0))

    def find(*found: MigrationState):
        looks[:] = found
        return tmp_path

    return find


def start(**changes) -> MigrationState:
    current = MigrationState(
        ON_POOL, DockerData(), (APP,), (WEB,), has_directory=True, layers=5 * MIB, room=FreeSpace(99 * MIB, 99 * MIB)
    )
    return replace(current, daemon=DaemonJson.of(DAEMON), **changes)


def arrived(*images: Image, verified: bool = False) -> MigrationState:
    known = Inventory("devicemapper", (APP,), (WEB,), verified)
    return start(
        docker=ON_OVERLAY2, images=images, containers=(), known=known, archives=frozenset([image_inventory.digest(APP)])
    )


def files(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_check_mode_counts_and_tells_all_of_it(run_module, host):
    folder = host(start())
    before = files(folder)
    result = run_module(docker_migration, check=True, storage_driver="overlay2", stop_containers=True)
    directory = f"{folder}/docker.migration"
    assert result["actions"] == [
        f"write {directory}/to-overlay2.json: 1 images, 1 containers",
        "save image app:1, app:2 (5.00 MiB)",
        "stop containers web",
        "stop Docker",
        f"change {folder}/daemon.json: storage-driver, storage-opts",
        "start Docker on overlay2",
    ]
    assert result["later"] == ["load image app:1, app:2 (5.00 MiB)"]
    assert result["bytes"] == {
        "archives": 5 * MIB,
        "layers": 5 * MIB,
        "directory_free": 99 * MIB,
        "root_free": 99 * MIB,
        "pool_free": None,
    }
    assert (result["on_target"], result["verified"], result["directory"]) == (False, False, directory)
    assert result["containers"] == [{"id": "c0ffee", "name": "web", "image": "app:1", "running": True}]
    assert (result["stopped"], result["containers_now"]) == (["web"], ["web"])
    assert result["diff"]["after"]["images"] == {APP.id: ["app:1", "app:2"]}
    assert files(folder) == before


def test_what_is_foretold_is_done(run_module, host, commands):
    folder = host(start())
    commands.expect("sh -c 'docker image save")
    commands.expect("docker container stop web")
    commands.expect("systemctl stop docker.socket docker.service")
    commands.expect("systemctl start docker.service")
    result = run_module(docker_migration, storage_driver="overlay2", stop_containers=True)
    assert result["changed"]
    assert json.loads((folder / "daemon.json").read_text()) == {"storage-driver": "overlay2"}
    inventory = folder / "docker.migration" / "to-overlay2.json"
    assert inventory.stat().st_mode & 0o777 == 0o600
    known = image_inventory.parse(inventory.read_text(), "x")
    assert (known.source, known.images, known.containers) == ("devicemapper", (APP,), (WEB,))


def test_to_a_pool_docker_is_left_to_the_role(run_module, host, commands):
    host(start(docker=ON_OVERLAY2))
    commands.expect("sh -c 'docker image save")
    commands.expect("docker container stop web")
    result = run_module(docker_migration, storage_driver="devicemapper", stop_containers=True, pool_size=100 * MIB)
    assert (result["on_target"], result["bytes"]["pool_free"]) == (False, 90 * MIB)


def test_docker_that_does_not_start_is_put_back(run_module, host, commands):
    folder = host(start(containers=()))
    commands.expect("sh -c 'docker image save")
    commands.expect("systemctl stop docker.socket docker.service")
    commands.expect("systemctl start docker.service", stderr="no overlay2", rc=1)
    commands.expect("systemctl stop docker.socket docker.service")
    commands.expect("systemctl reset-failed docker.service", rc=1)
    commands.expect("systemctl start docker.service")
    result = run_module(docker_migration, storage_driver="overlay2")
    assert result["failed"]
    assert result["msg"].startswith("Docker did not get to overlay2, and was started again as it was: systemctl start")
    assert (folder / "daemon.json").read_text() == DAEMON


def test_images_that_are_loaded_are_looked_at_before_that_is_noted(run_module, host, commands):
    folder = host(arrived(), arrived(APP))
    commands.expect("sh -c 'docker image load")
    result = run_module(docker_migration, storage_driver="overlay2")
    assert result["actions"][0] == "load image app:1, app:2 (5.00 MiB)"
    assert (result["on_target"], result["verified"]) == (True, True)
    known = image_inventory.parse((folder / "docker.migration" / "to-overlay2.json").read_text(), "x")
    assert known.verified


def test_images_that_are_not_there_after_all_are_told(run_module, host, commands):
    folder = host(arrived(), arrived(replace(APP, references=("app:1",))))
    commands.expect("sh -c 'docker image load")
    result = run_module(docker_migration, storage_driver="overlay2")
    assert result["msg"] == f"after all was loaded there is still to do: name image {'a' * 12} app:2"
    assert not (folder / "docker.migration" / "to-overlay2.json").exists()


def test_a_second_run_changes_nothing(run_module, host):
    host(arrived(APP, verified=True))
    result = run_module(docker_migration, storage_driver="overlay2")
    assert (result["changed"], result["actions"], result["verified"]) == (False, [], True)


def test_all_that_is_refused_is_told_and_nothing_is_written(run_module, host):
    folder = host(start(room=FreeSpace()))
    before = files(folder)
    result = run_module(docker_migration, storage_driver="overlay2")
    assert result["failed"]
    assert "0.00 B free" in result["msg"] or "0 B free" in result["msg"]
    assert "containers run: web" in result["msg"]
    assert files(folder) == before


def test_a_directory_that_others_may_write_to_is_refused(run_module, host, tmp_path):
    """Else another's archive would be loaded under a trusted name."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for directory in (shared, shared / "images"):
        result = run_module(docker_migration, storage_driver="overlay2", directory=str(directory))
        assert result["msg"].startswith(f"directory: {shared} may be written to by everybody, who could put")
