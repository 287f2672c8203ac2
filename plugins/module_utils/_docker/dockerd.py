# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Docker on the managed host: which one, how it is started, and what the running daemon says of its storage."""

from __future__ import annotations

import http.client
import json
import mmap
import re
import socket
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step

_Answer = t.TypeVar("_Answer")

SERVICE = "docker.service"
# Its socket too, which would start it again on the first question.
STOP = Step("stop Docker", ("systemctl", "stop", "docker.socket", SERVICE), undo=("systemctl", "start", SERVICE))
START = ("systemctl", "enable", "--now", SERVICE)
SOCKET = "/run/docker.sock"
# The driver was removed in 25.0 (docker/cli, docs/deprecated.md; moby pull request 43637).
FIRST_WITHOUT_DRIVER = 25
# The first that keeps its images and their layers where data_root looks for them (moby, image/fs.go).
FIRST_KNOWN = (1, 10)
# How the names of the driver's functions begin, which Go keeps in every program for its stack traces.
_DRIVER_FUNCTIONS = b"graphdriver/devmapper."
_NEWER = (
    "Use Docker 20.10 to 24, or the role containerd_devmapper, which gives the pool to containerd's devmapper "
    "snapshotter, and that to newer Docker through its containerd image store"
)


@dataclass(frozen=True)
class Info:
    """What ``docker info`` says of the storage; None of it is known while the daemon does not answer."""

    driver: str = ""
    status: t.Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    root: str = ""  # where it keeps its data
    log_driver: str = ""  # of containers that name none

    @property
    def pool_name(self) -> str:
        return self.status.get("Pool Name", "")


@dataclass(frozen=True)
class Image:
    """An image that has a name or is used by no other."""

    id: str  # sha256:, a digest over its configuration, which has the digests of its layers
    references: tuple[str, ...] = ()  # NAME:TAG
    digests: tuple[str, ...] = ()  # NAME@sha256:, as its registry knows it
    size: int = 0  # bytes of its layers, those that it shares with others too


@dataclass(frozen=True)
class Container:
    """A container, with all that ``docker inspect`` says of it."""

    id: str
    name: str
    image: str
    running: bool
    inspected: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Docker:
    """Docker as it is installed and running."""

    path: str = ""  # of dockerd; empty: not installed
    version: str = ""
    static: bool = False
    lacks_driver: bool = False  # it was built without
    unit: str = ""  # systemd's LoadState of docker.service: loaded, not-found, masked, ...
    active: bool = False
    enabled: bool = False
    needs_reload: bool = False  # systemd has not read the unit's files since they changed
    flags: tuple[str, ...] = ()  # dockerd's command line in the unit
    info: Info | None = None
    running: tuple[str, ...] | None = None  # names of the containers that run; None: not asked, or no answer

    @property
    def installed(self) -> bool:
        return bool(self.path)


def read() -> Docker:
    """Return what there is of Docker: two processes, and one question to the running daemon's socket."""
    path = process.find("dockerd") or ""
    unit = read_unit()
    active = unit.get("ActiveState") in ("active", "activating", "reloading")
    return Docker(
        path=path,
        version=parse_version(process.run("dockerd", "--version")) if path else "",
        static=bool(path) and _is_static(path),
        lacks_driver=bool(path) and _lacks_driver(path),
        unit=unit.get("LoadState", ""),
        active=active,
        enabled=unit.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "indirect", "generated"),
        needs_reload=unit.get("NeedDaemonReload") == "yes",
        flags=systemd.flags(unit),
        info=info() if active else None,
    )


def parse_version(text: str) -> str:
    """Return the version in ``dockerd --version`` or in a package's: 20.10.24 of 20.10.24+dfsg1-1+b3, 24 of 5:24.*."""
    match = re.search(r"(?:\d+:)?(\d+(?:\.\d+)*)", text)
    return match[1] if match else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, which order versions."""
    return tuple(int(number) for number in version.split(".")[:2])


def check_version(version: str, source: str) -> None:
    """Refuse a Docker without the devicemapper driver."""
    if not version:
        raise RefusedError(
            f"{source}: its version could not be found out, and so not whether it has the devicemapper driver"
        )
    if numbers(version)[0] >= FIRST_WITHOUT_DRIVER:
        raise RefusedError(
            f"{source} is Docker {version}, which has no devicemapper driver (removed in 25.0). {_NEWER}"
        )
    if numbers(version) < FIRST_KNOWN:
        raise RefusedError(
            f"{source} is version {version}, and this collection knows Docker from 1.10 on. In Debian and Ubuntu the "
            "package docker is another program altogether, and Docker is docker.io"
        )


def check(docker: Docker) -> None:
    """Refuse an installed Docker that cannot use a thin pool."""
    if not docker.installed:
        return
    check_version(docker.version, docker.path)
    if docker.static:
        raise RefusedError(
            f"{docker.path} is a static build, and those have no devicemapper driver since 17.10: install Docker "
            "from the distribution's or Docker's packages"
        )
    if docker.lacks_driver:
        raise RefusedError(
            f"{docker.path} (Docker {docker.version}) was built without the devicemapper driver: none of its functions "
            f"is in the program. Install Docker from the distribution's or Docker's packages. {_NEWER}"
        )
    if docker.unit == "masked":
        raise RefusedError("docker.service is masked, so Docker cannot be started: run 'systemctl unmask docker'")


def read_unit() -> dict[str, str]:
    """Return systemd's properties of Docker's unit; empty where systemd does not run."""
    return systemd.read_unit(SERVICE)


def _is_static(path: str) -> bool:
    """Whether an ELF program names no interpreter, the loader of shared libraries (elf(5), PT_INTERP)."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF" or head[4] != 2:  # a wrapper script, or a 32-bit program: not for us to say
            return False
        order: t.Literal["little", "big"] = "little" if head[5] == 1 else "big"
        offset, size, count = (int.from_bytes(head[a:b], order) for a, b in ((32, 40), (54, 56), (56, 58)))
        file.seek(offset)
        table = file.read(size * count)
    return not any(int.from_bytes(table[at : at + 4], order) == 3 for at in range(0, len(table), size))


def _lacks_driver(path: str) -> bool:
    """Whether a program that Go made has none of the driver's functions; what is no program is not for us to say.

    A version alone does not tell: those who build Docker may leave the driver out (exclude_graphdriver_devicemapper),
    and static builds always do. Their names are found near the beginning, in milliseconds.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
            return program.find(_DRIVER_FUNCTIONS) < 0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def info(path: str = SOCKET) -> Info | None:
    """Return what the running daemon says of itself (Docker Engine API, GET /info), None where it does not answer."""
    return _ask(path, "/info", parse_info)


def running_containers(path: str = SOCKET) -> tuple[str, ...] | None:
    """Return the names of the containers that run (GET /containers/json), None where the daemon does not answer."""
    return _ask(path, "/containers/json", parse_containers)


def images(path: str = SOCKET) -> tuple[Image, ...] | None:
    """Return the images (GET /images/json), None where the daemon does not answer."""
    return _ask(path, "/images/json", parse_images)


def containers(path: str = SOCKET) -> tuple[Container, ...] | None:
    """Return all containers (GET /containers/json, GET /containers/ID/json), None where the daemon does not answer.

    One that went meanwhile is left out.
    """
    ids = _ask(path, "/containers/json?all=1", lambda text: [container["Id"] for container in json.loads(text)])
    if ids is None:
        return None
    found = (_ask(path, f"/containers/{container}/json", parse_container) for container in ids)
    return tuple(container for container in found if container)


def _ask(path: str, question: str, parse: t.Callable[[str], _Answer]) -> _Answer | None:
    """Return the daemon's answer, None where it gives none that is understood.

    Asked on its socket, as the client does: that may not be installed, and costs more than the answer.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", question)
        response = connection.getresponse()
        return parse(response.read().decode("utf-8")) if response.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def parse_info(text: str) -> Info:
    """Return the storage part of the API's answer."""
    answer = json.loads(text)
    return Info(
        driver=answer.get("Driver", ""),
        status=dict(answer.get("DriverStatus") or []),
        version=answer.get("ServerVersion", ""),
        root=answer.get("DockerRootDir", ""),
        log_driver=answer.get("LoggingDriver", ""),
    )


def parse_containers(text: str) -> tuple[str, ...]:
    """Return a name of each container: its own, not those that links of other containers give it (/other/alias)."""
    return tuple(
        sorted(
            next((name[1:] for name in container.get("Names") or [] if name.count("/") == 1), container["Id"][:12])
            for container in json.loads(text)
        )
    )


def parse_images(text: str) -> tuple[Image, ...]:
    """Return the images, by their ids; an image without a name has none, or two words in brackets."""
    return tuple(
        Image(
            id=image["Id"],
            references=tuple(sorted(name for name in image.get("RepoTags") or () if "<none>" not in name)),
            digests=tuple(sorted(name for name in image.get("RepoDigests") or () if "<none>" not in name)),
            size=image.get("Size", 0),
        )
        for image in sorted(json.loads(text), key=lambda image: image["Id"])
    )


def parse_container(text: str) -> Container:
    """Return a container from what ``docker inspect`` says of it; one that is paused runs too."""
    answer = json.loads(text)
    state = answer.get("State") or {}
    return Container(
        id=answer["Id"],
        name=answer.get("Name", "").lstrip("/") or answer["Id"][:12],
        image=(answer.get("Config") or {}).get("Image") or answer.get("Image", ""),
        running=bool(state.get("Running") or state.get("Restarting")),
        inspected=answer,
    )
