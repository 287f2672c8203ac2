# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Where Docker's thin pool comes from, as far as Docker's part of the plan asks: here one that is made beforehand.

The other two ways are pools that Docker makes, on a disk (pool_by_docker) or on files (pool_on_loop).
"""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import data_root
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER, DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Info
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
        DockerHostState,
        DockerSpec,
    )

# What says where the pool comes from, and so is the role's business and not that of storage_opts.
NAMING = ("dm.thinpooldev", "dm.directlvm_device", "dm.datadev", "dm.metadatadev")


class PoolGiven:
    """A pool that is made before Docker starts, and named to it (dm.thinpooldev)."""

    # Of the storage options, those that the role sets from its own variables, and from which.
    own_options: t.Mapping[str, str] = {"dm.thinpooldev": "vg and pool"}
    # Whether a drop-in of Docker's unit sees to it that the pool is active.
    has_drop_in = True

    def __init__(self, host: DockerHostState, spec: DockerSpec) -> None:
        self.host = host
        self.spec = spec

    @property
    def made_when(self) -> str:
        """When the pool's stages are taken: before Docker is stopped, while it is stopped, or once it is started."""
        return "stopped"

    @property
    def name(self) -> str:
        """What containers run on, in words."""
        return str(self.spec.pool_name)

    @property
    def options(self) -> tuple[str, ...]:
        """The storage options that put Docker on the pool."""
        return (f"dm.thinpooldev={self.spec.pool_name.device}",)

    @property
    def is_new(self) -> bool:
        """Whether the pool is yet to be made, so that Docker must start anew on it."""
        return storage_plan.is_new(self.host, self.spec)

    def problems(self) -> list[str]:
        """Return what of the spec cannot be, this way of making a pool given."""
        return []

    def is_named(self, daemon: DaemonJson) -> bool:
        """Whether daemon.json puts Docker on the pool."""
        return daemon.driver == DRIVER and _named_pool(daemon) == self.spec.dm_name

    def is_ours(self, daemon: DaemonJson) -> bool:
        """Whether daemon.json says, in whichever way, that what Docker keeps is of this pool."""
        made = MADE_BY_DOCKER if daemon.option("dm.directlvm_device") else ""
        named = _named_pool(daemon) or made
        return daemon.driver == DRIVER and named == self.spec.dm_name

    def is_used(self, info: Info) -> bool:
        """Whether the running daemon is on the pool."""
        return (info.driver, info.pool_name) == (DRIVER, self.spec.dm_name)

    def plan_setup(self, refusals: list[str]) -> storage_plan.PoolStages:
        known = self.is_named(self.host.daemon) or self.host.boot_text is not None
        is_docker = self.spec.engine == "docker"
        return storage_plan.plan_setup(
            self.host, self.spec, refusals, in_use=known or not is_docker, names_all=is_docker
        )

    def plan_teardown(self, refusals: list[str], *, engine_stops: bool) -> storage_plan.PoolStages:
        return storage_plan.plan_teardown(self.host, self.spec, refusals, engine_stops=engine_stops)

    def conflicts(self, *, switching: bool) -> list[str]:
        """Return what in Docker's data does not fit the pool. An inactive pool cannot be asked, and is left alone."""
        if not self.is_new and self.host.pool_status is None:
            return []
        return data_root.conflicts(self.host.data, self._status, switching=switching)

    def of_another_pool(self) -> list[str]:
        """Return what of that is mended by moving aside the records alone that Docker has of a pool."""
        if not self.is_new and self.host.pool_status is None:
            return []
        return data_root.of_another_pool(self.host.data, self._status)

    @property
    def _status(self) -> PoolStatus | None:
        return None if self.is_new else self.host.pool_status

    def unusable(self, data: DockerData) -> list[str]:
        """Return why Docker cannot use a pool that is there, whatever becomes of its data."""
        return [] if self.is_new else data_root.unusable(data, self.host.pool_status)

    def records(self) -> list[str]:
        """Return the paths of what Docker keeps of the pool's images and containers."""
        return data_root.of_pool(self.host.data, self.host.pool_status)

    def needs_restart(self, before: DaemonJson, after: DaemonJson) -> bool:
        """Whether Docker must be started anew for a changed daemon.json to count."""
        return before.known != after.known

    def start_words(self, after: LvmState) -> str:
        """Return what else is to be told of Docker's start, in the sentence of that step."""
        return ""


def _named_pool(daemon: DaemonJson) -> str:
    return (daemon.option("dm.thinpooldev") or "").rpartition("/")[2]


# The only pool that Docker makes on a disk (moby, daemon/graphdriver/devmapper/device_setup.go setupDirectLVM()).
MADE_BY_DOCKER = "docker-thinpool"


def without_lvm(*stages: storage_plan.Stage) -> tuple[storage_plan.Stage, ...]:
    """Return a part's stages with those of LVM that take no steps."""
    given = {stage.name: stage for stage in stages}
    names = ("physical_volumes", "volume_group", "profile", "thin_pool", "reserve")
    return tuple(given.get(name) or storage_plan.Stage(name, [], "", None, None) for name in names)
