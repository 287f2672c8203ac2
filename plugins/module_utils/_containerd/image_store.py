# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Docker 25 and later on containerd's image store, with the devmapper snapshotter as its storage driver.

moby, daemon/daemon.go: with the feature on, storage-driver is the name of a snapshotter. From 29 on the feature is the
default, but an old folder of a graph driver comes before it unless the feature is named (daemon/image_store_choice.go).
"""

from __future__ import annotations

import contextlib
import glob
import os
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.constants import (
    SNAPSHOTTER,
    SNAPSHOTTER_TYPE,
    SOCKET,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker

FEATURE = "containerd-snapshotter"
AWAY = (
    "Save what is needed of it ('docker save'), then set existing_data: backup, which moves {root} aside, or remove it"
)


def check_version(version: str, source: str) -> None:
    """Refuse a Docker that has its own devicemapper driver."""
    if not version:
        raise RefusedError(
            f"{source}: its version could not be found out, and so not whether it can use containerd's store"
        )
    if int(version.split(".")[0]) < dockerd.FIRST_WITHOUT_DRIVER:
        raise RefusedError(
            f"{source} is Docker {version}, whose way to a thin pool is its own devicemapper driver: use the role "
            f"direct_lvm, or Docker {dockerd.FIRST_WITHOUT_DRIVER} or later"
        )


def check(docker: Docker) -> None:
    """Refuse an installed Docker that cannot use the system's containerd."""
    if not docker.installed:
        return
    check_version(docker.version, docker.path)
    if docker.unit == "masked":
        raise RefusedError("docker.service is masked, so Docker cannot be started: run 'systemctl unmask docker'")
    named = [value for value in _values(docker.flags, "--containerd") if _real(value) != SOCKET]
    if named:
        raise RefusedError(
            f"dockerd is started with --containerd {named[-1]}, another containerd than the system's, whose "
            f"configuration this role writes: start it with --containerd={SOCKET} ('systemctl edit docker')"
        )


def _values(flags: t.Sequence[str], name: str) -> list[str]:
    found = []
    words = iter(flags)
    for word in words:
        key, equals, value = word.partition("=")
        if key == name:
            found.append(value if equals else next(words, ""))
    return found


def _real(path: str) -> str:
    return path[len("/var") :] if path.startswith("/var/run/") else path


def decide(
    daemon: DaemonJson,
    options: t.Mapping[str, t.Any],
    *,
    state: str = "present",
    flags: t.Sequence[str] = (),
    version: str = "",
    keeps_feature: bool = False,
) -> tuple[list[Step], DaemonJson]:
    """Return the steps that put the feature and the driver into daemon.json, or take them out, and how it is then."""
    if "features" in options:
        raise RefusedError(
            "daemon_options: features is set by this role, which keeps those that are there: leave it out"
        )
    after = daemon
    for call in calls(daemon, options, state=state, keeps_feature=keeps_feature):
        _steps, after = daemon_json.decide(
            after, flags=flags if call["state"] == "present" else (), version=version, **call
        )
    if after.text == daemon.text:
        return [], daemon
    keys = [daemon_json.DRIVER, "features", *options]
    verb = "remove" if after.text is None else "change" if daemon.text is not None else "write"
    return [Step(f"{verb} {daemon.path}: {', '.join(keys)}", write=Write(daemon.path, after.text))], after


def calls(
    daemon: DaemonJson, options: t.Mapping[str, t.Any], *, state: str = "present", keeps_feature: bool = False
) -> list[dict[str, t.Any]]:
    """Return the options of docker_daemon, for one call after the other; other features are kept.

    ``keeps_feature`` tells that the feature was on before, and stays on.
    """
    features = dict(daemon.keys.get("features") or {})
    if state == "present":
        features = {**features, FEATURE: True}
        return [{"storage_driver": SNAPSHOTTER, "options": {**options, "features": features}, "state": "present"}]
    others = {name: value for name, value in features.items() if name != FEATURE}
    removed = {"storage_driver": SNAPSHOTTER, "options": {**options}, "state": "absent"}
    if keeps_feature:
        return [removed]
    if others:
        return [removed, {"options": {"features": others}, "state": "present"}]
    return [{**removed, "options": {**options, "features": features}}]


def had_feature(path: str = daemon_json.DEFAULT_PATH) -> bool:
    """Whether Docker was on containerd's store before it was put on the pool, as the copy of that moment tells."""
    copies = sorted(glob.glob(f"{glob.escape(path)}.*~"), key=os.path.getmtime, reverse=True)
    for copy in copies:
        with contextlib.suppress(RefusedError):
            daemon = DaemonJson.of(files.read(copy), copy)
            if not is_configured(daemon):
                return (daemon.keys.get("features") or {}).get(FEATURE) is True
    return False


def is_configured(daemon: DaemonJson) -> bool:
    """Whether daemon.json puts Docker on the snapshotter."""
    features = daemon.keys.get("features")
    is_on = isinstance(features, dict) and features.get(FEATURE) is True
    return is_on and daemon.driver == SNAPSHOTTER


def is_used_by(docker: Docker) -> bool:
    """Whether the running daemon is on the snapshotter, as far as it says."""
    if docker.info is None:
        return True
    return (docker.info.driver, docker.info.status.get("driver-type")) == (SNAPSHOTTER, SNAPSHOTTER_TYPE)


def leftovers(data: DockerData, daemon: DaemonJson, docker: Docker) -> list[str]:
    """Return what Docker would no longer show on containerd's store: images and containers of graph drivers."""
    if is_configured(daemon) and is_used_by(docker):
        return []
    drivers = sorted({*data.images, *data.containers} - {SNAPSHOTTER})
    there = [
        f"{data.images.get(driver, 0)} images and {len(data.containers.get(driver, ()))} containers of driver {driver}"
        for driver in drivers
        if data.images.get(driver) or data.containers.get(driver)
    ]
    if not there:
        return []
    return [f"{data.root} holds {', '.join(there)}, which Docker no longer shows once it uses containerd's image store"]


def records(data: DockerData) -> list[str]:
    """Return the paths of what Docker keeps of containers on the snapshotter, worthless without the pool."""
    return [f"{data.root}/containers/{container}" for container in data.containers.get(SNAPSHOTTER, ())]
