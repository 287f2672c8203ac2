# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker

DOCKER = Docker(path="/usr/sbin/dockerd", version="20.10.24", unit="loaded")
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("Docker version 24.0.9, build fca702d", "24.0.9", id="dockers-own"),
        pytest.param("5:24.0.7-1~debian.12~bookworm", "24.0.7", id="package-with-an-epoch"),
        pytest.param("26.1.5+dfsg1-9", "26.1.5", id="package"),
        pytest.param("3:1.13.1-210", "1.13.1", id="old-package"),
        pytest.param("Docker version dev", "", id="none"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_version_is_found(text, version):
    assert dockerd.parse_version(text) == version


def test_the_captured_version_is_found(captured):
    assert dockerd.parse_version(captured("dockerd_version.txt")) == "20.10.24"


@pytest.mark.parametrize("version", ["20.10.24", "24.0.9", "1.13.1", "1.10"])
def test_a_docker_with_the_driver_is_taken(version):
    dockerd.check(replace(DOCKER, version=version))


@pytest.mark.parametrize(
    ("docker", "message"),
    [
        pytest.param(
            replace(DOCKER, version="25.0.0"),
            r"^/usr/sbin/dockerd is Docker 25.0.0, which has no devicemapper driver \(removed in "
            r"25.0\)\. Use Docker 20.10 to 24, "
            "or the role containerd_devmapper",
            id="first-without-driver",
        ),
        pytest.param(replace(DOCKER, version="28.1.1"), "is Docker 28.1.1, which has no devicemapper", id="newer"),
        pytest.param(
            replace(DOCKER, version=""), "^/usr/sbin/dockerd: its version could not be found out", id="unknown"
        ),
        pytest.param(
            replace(DOCKER, static=True), "/usr/sbin/dockerd is a static build.*install Docker from", id="static"
        ),
        pytest.param(
            replace(DOCKER, version="24.0.9", lacks_driver=True),
            r"^/usr/sbin/dockerd \(Docker 24.0.9\) was built without the devicemapper driver.*Install Docker from",
            id="built-without",
        ),
        pytest.param(
            replace(DOCKER, version="1.6"), "is version 1.6, and .* knows Docker from 1.10 .* docker.io", id="too-old"
        ),
        pytest.param(replace(DOCKER, unit="masked"), "masked, .*run 'systemctl unmask docker'", id="masked"),
    ],
)
def test_a_docker_that_cannot_use_a_pool_is_refused(docker, message):
    with pytest.raises(RefusedError, match=message):
        dockerd.check(docker)


def test_no_docker_is_no_obstacle():
    dockerd.check(Docker())


def test_the_captured_answer_of_the_daemon_is_read(captured):
    info = dockerd.parse_info(captured("docker_info.json"))
    assert (info.driver, info.pool_name) == ("devicemapper", "docker-thinpool")
    assert info.status["Udev Sync Supported"] == "true"


def test_an_answer_without_a_status_is_read(captured):
    answer = {**json.loads(captured("docker_info.json")), "Driver": "vfs", "DriverStatus": None}
    info = dockerd.parse_info(json.dumps(answer))
    assert (info.driver, info.pool_name) == ("vfs", "")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("segments", "static"),
    [
        pytest.param((PT_LOAD, PT_INTERP, PT_DYNAMIC), False, id="dynamic"),
        pytest.param((PT_LOAD, PT_LOAD), True, id="static"),
        pytest.param((PT_LOAD, PT_DYNAMIC), True, id="static-pie"),
        pytest.param((PT_LOAD, PT_DYNAMIC, PT_INTERP), False, id="interpreter-last"),
    ],
)
def test_a_static_program_is_told_from_a_dynamic_one(tmp_path, elf, segments, static, order):
    path = tmp_path / "dockerd"
    path.write_bytes(elf(*segments, order=order))
    assert dockerd._is_static(str(path)) is static


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexec dockerd-real\n", b"", b"\x7fELF\x01" + bytes(60)])
def test_what_cannot_be_told_is_not_called_static(tmp_path, content):
    path = tmp_path / "dockerd"
    path.write_bytes(content)
    assert not dockerd._is_static(str(path))


DRIVER = b"github.com/docker/docker/daemon/graphdriver/devmapper.(*DeviceSet).initDevmapper\0"


@pytest.mark.parametrize(
    ("functions", "lacks"),
    [
        pytest.param(b"", True, id="none"),
        pytest.param(b"github.com/docker/docker/daemon/graphdriver/overlay2.Init\0", True, id="another-driver"),
        pytest.param(DRIVER, False, id="the-driver"),
    ],
)
def test_a_program_is_asked_for_the_drivers_functions(tmp_path, elf, functions, lacks):
    path = tmp_path / "dockerd"
    path.write_bytes(elf(PT_LOAD, PT_INTERP) + bytes(5000) + functions)
    assert dockerd._lacks_driver(str(path)) is lacks


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexec dockerd-real\n", b""])
def test_what_is_no_program_is_not_said_to_lack_the_driver(tmp_path, content):
    path = tmp_path / "dockerd"
    path.write_bytes(content)
    assert not dockerd._lacks_driver(str(path))


@pytest.fixture
def daemon(tmp_path):
    """Return a function that lets a socket answer requests, and returns the socket's path and what was asked."""

    def answer(*texts):
        path, asked = str(tmp_path / "docker.sock"), []
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(path)
        server.listen(1)

        def serve():
            with server:
                for text in texts:
                    connection, _address = server.accept()
                    with connection:
                        asked.append(connection.recv(4096).decode().splitlines()[0])
                        connection.sendall(text.encode())

        threading.Thread(target=serve, daemon=True).start()
        return path, asked

    return answer


def test_the_running_daemon_is_asked_on_its_socket(captured, daemon):
    body = captured("docker_info.json")
    path, asked = daemon(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    assert dockerd.info(path).pool_name == "docker-thinpool"
    assert asked == ["GET /info HTTP/1.1"]


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnot JSON",
        "nonsense\r\n",
        "",
    ],
)
def test_a_daemon_that_does_not_answer_well_says_nothing(daemon, text):
    path, _asked = daemon(text)
    assert dockerd.info(path) is None


def test_a_daemon_that_is_not_there_says_nothing(tmp_path):
    assert dockerd.info(str(tmp_path / "absent.sock")) is None


def whole(body):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"


def test_images_are_asked_for(captured, daemon):
    path, asked = daemon(whole(captured("docker_images.json")))
    app, base, nameless = dockerd.images(path)
    assert asked == ["GET /images/json HTTP/1.1"]
    assert app.id == "sha256:53fe4a48527a634fa5ed65e0932e5673ced53c1929037fe41d400a23422fc665"
    assert (app.references, app.digests, app.size) == (("app:1", "registry.example/team/app:latest"), (), 1982263)
    assert (base.references, nameless.references, nameless.digests) == (("base:latest",), (), ())


def test_containers_are_asked_for_one_by_one(captured, daemon):
    web, idle = (captured(f"docker_container_{name}.json") for name in ("web", "idle"))
    path, asked = daemon(whole(captured("docker_containers.json")), whole(web), whole(idle))
    found = dockerd.containers(path)
    assert [(one.name, one.image, one.running) for one in found] == [("web", "app:1", True), ("idle", "base", False)]
    assert found[0].inspected == json.loads(web)
    assert asked == ["GET /containers/json?all=1 HTTP/1.1"] + [
        f"GET /containers/{one.id}/json HTTP/1.1" for one in found
    ]


def test_a_container_that_went_meanwhile_is_left_out(captured, daemon):
    gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"
    path, _asked = daemon(
        whole(captured("docker_containers.json")), gone, whole(captured("docker_container_idle.json"))
    )
    assert [one.name for one in dockerd.containers(path)] == ["idle"]


def test_a_daemon_that_does_not_answer_has_neither_images_nor_containers(tmp_path):
    path = str(tmp_path / "absent.sock")
    assert (dockerd.images(path), dockerd.containers(path)) == (None, None)


# What the API says of a container: GET /containers/ID/json, state and names.
@pytest.mark.parametrize(
    ("state", "running"),
    [
        pytest.param({"Running": True, "Paused": True}, True, id="paused"),
        pytest.param({"Running": False, "Restarting": True}, True, id="restarting"),
        pytest.param({"Running": False, "Dead": True}, False, id="dead"),
        pytest.param(None, False, id="unknown"),
    ],
)
def test_a_container_runs_as_long_as_it_may_write(state, running):
    assert dockerd.parse_container(json.dumps({"Id": "c0ffee" * 10, "State": state})).running is running


@pytest.fixture
def host(monkeypatch, captured, commands, tmp_path, elf):
    """Make this machine look like the captured one: systemd runs, and a dynamic dockerd is installed."""
    program = tmp_path / "dockerd"
    program.write_bytes(elf(PT_LOAD, PT_INTERP) + DRIVER)
    monkeypatch.setattr(dockerd.process, "find", lambda name: str(program))
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(dockerd, "info", lambda: dockerd.parse_info(captured("docker_info.json")))
    return str(program)


def test_docker_is_read_in_two_processes(captured, commands, host):
    commands.expect(
        "systemctl show docker.service "
        "--property=LoadState,ActiveState,UnitFileState,NeedDaemonReload,ExecStart,Environment,EnvironmentFiles,MainPID",
        captured("docker_unit.txt").replace("/etc/default/docker", "/nonexistent"),
    )
    commands.expect("dockerd --version", captured("dockerd_version.txt"))
    found = dockerd.read()
    assert (found.path, found.version, found.static, found.unit) == (host, "20.10.24", False, "loaded")
    assert (found.active, found.enabled, found.installed, found.info.driver) == (True, True, True, "devicemapper")
    assert found.flags[0] == "-H"


def test_a_stopped_docker_is_not_asked(captured, commands, host):
    unit = captured("docker_unit.txt").replace("=active", "=inactive").replace("=enabled", "=disabled")
    commands.expect("systemctl show", unit.replace("/etc/default/docker", "/nonexistent"))
    commands.expect("dockerd --version", captured("dockerd_version.txt"))
    found = dockerd.read()
    assert (found.active, found.enabled, found.info) == (False, False, None)


def test_properties_that_systemd_says_twice_are_kept(commands, host):
    commands.expect(
        "systemctl show", "EnvironmentFiles=/a (ignore_errors=yes)\nEnvironmentFiles=/b (ignore_errors=no)\n"
    )
    assert dockerd.read_unit() == {"EnvironmentFiles": "/a (ignore_errors=yes)\n/b (ignore_errors=no)"}


def test_where_systemd_does_not_run_it_is_not_asked(monkeypatch, commands):
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert dockerd.read_unit() == {}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param([], (), id="none"),
        pytest.param(
            [{"Id": "b" * 64, "Names": ["/web"]}, {"Id": "a" * 64, "Names": ["/web/alias", "/db"]}],
            ("db", "web"),
            id="own-names",
        ),
        pytest.param([{"Id": "0123456789abcdef", "Names": None}], ("0123456789ab",), id="no-name"),
    ],
)
def test_running_containers_are_named(answer, expected):
    assert dockerd.parse_containers(json.dumps(answer)) == expected
