# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The program that gives full pools their reserve by itself, where that is allowed.

The timer of the exporter runs it before that. It is one process more while no pool is full, and is run as
``python3 -m ansible_collections.devicemapper.containers.plugins.module_utils._monitor.release CONFIGURATION``.
"""

from __future__ import annotations

import contextlib
import sys
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, locks, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions, take_steps
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_reserve, pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume, LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.exporter import ExporterConfig

SECONDS = 5  # that a module which changes something is waited for; it may wait for this program itself


class CommandRunner:
    """This host, as what takes steps."""

    def run(self, *command: str) -> str:
        return process.run(*command)

    def write(self, change: files.Write) -> None:
        raise AssertionError(f"no step of a release writes a file: {change.path}")


def main(path: str) -> int:
    wanted = ExporterConfig.read(path).pools
    try:
        statuses = pool_status.read()
        if not any(map(is_full, statuses.values())) or not full_with_reserve(lvm_state.read(), statuses):
            return 0
        with contextlib.ExitStack() as held:
            try:
                lock = held.enter_context(locks.locked(locks.RUN, SECONDS, create=True))
            except RefusedError as error:
                # Not a failure: where the unit was changed meanwhile, systemd would have forgotten that it may fail.
                sys.stdout.write(f"{error}; the next run tries again\n")
                return 0
            held.enter_context(process.inherit_lock(lock))
            return release(lvm_state.read(), pool_status.read(), wanted)
    except (RefusedError, process.ProcessError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def release(lvm: LvmState, statuses: t.Mapping[str, PoolStatus], wanted: t.Container[str]) -> int:
    """Give every full pool that is watched what is kept for it; return the exit status, 1 where one did not get it."""
    failed = 0
    for pool in full_with_reserve(lvm, statuses):
        if wanted and pool.full_name not in wanted:
            continue
        try:
            steps, _after = pool_reserve.decide(lvm, pool.vg, pool.name, state="released", is_full=True)
            take_steps(steps, CommandRunner())
        except (RefusedError, process.ProcessError) as error:
            sys.stderr.write(f"{pool.full_name}: {error}\n")
            failed = 1
        else:
            sys.stdout.write("".join(f"{action}\n" for action in actions(steps)))
    return failed


def full_with_reserve(lvm: LvmState, statuses: t.Mapping[str, PoolStatus]) -> list[LogicalVolume]:
    pools = [volume for volume in lvm.volumes if volume.is_pool and pool_reserve.find(lvm, volume.vg, volume.name)]
    found = ((pool, pool_status.find(statuses, pool.dm_name)[1]) for pool in pools)
    return [pool for pool, status in found if status is not None and is_full(status)]


def is_full(status: PoolStatus) -> bool:
    """Whether room for its data helps a pool; one whose metadata must be checked gets none from the kernel."""
    return status.mode == "out_of_data_space" and not status.needs_check


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
