# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The frame around every module: steps taken or told, errors turned into a failed result."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    files,
    locks,
    process,
    systemd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step, actions, take_steps

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

State = t.Dict[str, t.Any]


class ManagedRunner:
    """The host that a module runs on, as what takes steps."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self.backups: list[str] = []

    def run(self, *command: str) -> str:
        return process.run(*command)

    def write(self, change: files.Write) -> None:
        backup = files.carry_out(self._module, change)
        if backup:
            self.backups.append(backup)


def run(module: AnsibleModule, work: t.Callable[[], State], *, only_reads: bool = False) -> t.NoReturn:
    """End the module with the result of its work, or with the error that a person can act on."""
    try:
        with contextlib.ExitStack() as held:
            if not (only_reads or module.check_mode):
                # As long as a command may take: the other run is waited for, or its command has its own error by then.
                lock = held.enter_context(locks.locked(locks.RUN, process.TIMEOUT, create=True))
                held.enter_context(process.inherit_lock(lock))
            found = work()
        module.exit_json(**found)
    except errors.RefusedError as refusal:
        module.fail_json(msg=str(refusal))
    except process.ProcessError as error:
        module.fail_json(**systemd.with_journal(error).as_result())
    raise AssertionError("unreachable")


def carry_out(module: AnsibleModule, steps: t.Sequence[Step]) -> list[str]:
    """Take the steps, or in check mode only tell them; return the paths of backups made on the way."""
    host = ManagedRunner(module)
    if not module.check_mode:
        take_steps(steps, host)
    return host.backups


def result(steps: t.Sequence[Step], before: t.Any, after: t.Any, header: str, **state: t.Any) -> State:
    """Return what every changing module returns; ``before`` and ``after`` are dictionaries or texts."""
    changed = bool(steps)
    found: State = {"changed": changed, "actions": actions(steps), **state}
    if changed:
        found["diff"] = {"before_header": header, "after_header": header, "before": before, "after": after}
    return found
