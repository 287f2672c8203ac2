# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Docker on two files of its data root, attached to loop devices (loop-lvm): for trying, not for production."""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, loop_files
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DRIVER, DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.loop_files import LoopFiles
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_given import (
    NAMING,
    PoolGiven,
    without_lvm,
)

_SIZES = ("dm.loopdatasize", "dm.loopmetadatasize")


class PoolOnLoop(PoolGiven):
    """The way that Docker takes where it is given no pool."""

    own_options = {
        **dict.fromkeys(NAMING, "the choice of loop files"),
        **dict(zip(_SIZES, ("loop_data_size", "loop_metadata_size"))),
    }
    has_drop_in = False

    @property
    def made_when(self) -> str:
        return "before"  # a pool that runs grows while it does, whether Docker is started anew afterwards or not

    @property
    def name(self) -> str:
        return f"the loop files in {loop_files.directory(self.host.data.root)}"

    @property
    def options(self) -> tuple[str, ...]:
        sizes = (self.spec.loop_data_size, self.spec.loop_metadata_size)
        return tuple(f"{key}={daemon_json.words(size)}" for key, size in zip(_SIZES, sizes))

    @property
    def is_new(self) -> bool:
        return not self._files.exist

    @property
    def _files(self) -> LoopFiles:
        return t.cast(LoopFiles, self.host.loop_files)  # read for this way alone

    def problems(self) -> list[str]:
        named = [key for key in NAMING if daemon_json.storage_option(self.host.daemon.keys, key)]
        if not named:
            return []
        return [
            f"{daemon_json.DEFAULT_PATH} puts Docker on a pool ({', '.join(named)}), and this would take it off: take "
            "that apart first (playbook reset), or the option out of the file if there is no such pool"
        ]

    def is_named(self, daemon: DaemonJson) -> bool:
        named = any(daemon.option(key) for key in NAMING)
        return daemon.driver == DRIVER and not named

    def is_ours(self, daemon: DaemonJson) -> bool:
        # Docker takes this way by itself too; what this collection set up says so in daemon.json.
        return self.is_named(daemon) and daemon.option(_SIZES[0]) is not None

    def is_used(self, info: Info) -> bool:
        # What 'docker info' shows of loop files, and of nothing else (moby, devmapper/driver.go Status()).
        return info.driver == DRIVER and bool(info.status.get("Data loop file"))

    def plan_setup(self, refusals: list[str]) -> storage_plan.PoolStages:
        sizes = {"data_size": self.spec.loop_data_size, "metadata_size": self.spec.loop_metadata_size}
        files = self._files
        steps, after = storage_plan.attempt(refusals, lambda: loop_files.decide(files, **sizes), ([], files))
        header = "loop files"
        stage = storage_plan.Stage(
            "loop_files", steps, header, loop_files.as_result(files), loop_files.as_result(after)
        )
        return storage_plan.PoolStages((*without_lvm(), stage), self.host.lvm, warning=self._warning())

    def _warning(self) -> str:
        """Return what is to be told in any case."""
        words = (
            "loop-lvm is for trying Docker's devicemapper driver and not for production: every write goes through a "
            "file system and a loop device, and is slow. Use the role direct_lvm there"
        )
        free, size = self._files.free, self.spec.loop_data_size + self.spec.loop_metadata_size
        if free < size:
            words += (
                f". The files take room only as they fill. They may come to {human(size)}, and the file system under "
                f"{self.host.data.root} has {human(free)} left: once that is full, what containers write is lost"
            )
        return words

    def plan_teardown(self, refusals: list[str], *, engine_stops: bool) -> storage_plan.PoolStages:
        if self._files.exist and not self.is_ours(self.host.daemon):
            refusals.append(
                f"{self.name} were not set up here, since {daemon_json.DEFAULT_PATH} does not name driver "
                f"{DRIVER} and {_SIZES[0]}, and are not removed: run the role with state present first, or remove them"
            )
        if self._files.pool and not engine_stops:
            refusals.append(
                f"pool {self._files.pool.name} runs on {self.name} although Docker does not: start Docker and stop it "
                "again ('systemctl start docker', 'systemctl stop docker'), which takes it down"
            )
        return storage_plan.PoolStages(without_lvm(), self.host.lvm)

    def conflicts(self, *, switching: bool) -> list[str]:
        return data_root.conflicts(self.host.data, None, switching=switching, on_loop_files=True)

    def of_another_pool(self) -> list[str]:
        return data_root.of_another_pool(self.host.data, None, on_loop_files=True)

    def unusable(self, data: DockerData) -> list[str]:
        status = self._files.pool.status if self._files.pool else None
        return data_root.unusable(data, status) if status and status.has_failed else []

    def records(self) -> list[str]:
        return data_root.of_driver(self.host.data)

    def needs_restart(self, before: DaemonJson, after: DaemonJson) -> bool:
        # The sizes of a pool that runs are changed while it does. The file only says them to the next start.
        if self._files.pool is None:
            return before.known != after.known
        return _without_sizes(before.known) != _without_sizes(after.known)


def _without_sizes(document: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    options = [option for option in document.get(daemon_json.OPTIONS, []) if option.partition("=")[0] not in _SIZES]
    return {**document, daemon_json.OPTIONS: options}
