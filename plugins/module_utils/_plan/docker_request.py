# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What is asked of Docker's part of the plan: the role's variables, and what was read of the host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.loop_files import LoopFiles
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan


@dataclass(frozen=True)
class DockerSpec(storage_plan.StorageSpec):
    """What the role's variables ask for."""

    docker_packages: tuple[str, ...]
    storage_opts: tuple[str, ...]
    daemon_options: t.Mapping[str, t.Any]
    existing_data: str = "refuse"  # or backup, keep
    engine: str = "docker"  # or none: the pool alone
    managed_by: str = "collection"  # docker, loop: who makes the pool
    loop_data_size: int = 0  # bytes
    loop_metadata_size: int = 0

    def wants_docker(self, docker: Docker) -> bool:
        """Whether there is a Docker to look after, or will be."""
        return self.engine == "docker" and (docker.installed or bool(self.docker_packages))


@dataclass(frozen=True)
class DockerHostState(storage_plan.HostState):
    """What was read of the host."""

    daemon: DaemonJson = DaemonJson()
    boot_text: str | None = None
    docker: Docker = Docker()
    data: DockerData = DockerData()
    missing_docker_packages: tuple[str, ...] = ()
    loop_files: LoopFiles | None = None  # looked at where they are wished
    moment: str = ""  # UTC, %Y%m%dT%H%M%SZ; in the name of what is moved aside
