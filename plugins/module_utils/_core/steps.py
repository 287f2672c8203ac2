# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What is going to be done: pure ``decide`` functions return steps, one loop takes them."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import ProcessError

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write


class LockableDevice(t.Protocol):
    """What a step writes to as it was found."""

    def locked(self) -> t.ContextManager[None]:
        """Keep others away from it, once it is seen to be as it was found."""


@dataclass(frozen=True)
class Step:
    """One thing to do: the sentence that a person reads, and the command or the file that does it.

    The sentence is the same whether the step is taken or only planned, so it stands in the imperative.
    A step that writes to a device as it was found carries what was found, which is held and looked at again first.
    A command that can fail half way, with harm to others, carries the command that makes up for that.
    What no single command does carries a function.
    A command that LVM can be asked about beforehand carries the words to ask with. One that is worth nothing when a
    later step of the same run fails carries what takes it back.
    """

    action: str
    command: tuple[str, ...] = ()
    write: Write | None = None
    device: LockableDevice | None = None
    remedy: tuple[str, ...] = ()
    work: t.Callable[[], None] | None = None
    rehearsal: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()


class StepRunner(t.Protocol):
    """What takes steps: the real host, or the recording one of a unit test."""

    def run(self, *command: str) -> str:
        """Run a command and return what it prints."""

    def write(self, change: Write) -> None:
        """Replace or remove a file."""


def actions(steps: t.Iterable[Step]) -> list[str]:
    """Return the sentences of the steps, as modules return them in ``actions``."""
    return [step.action for step in steps]


def take_steps(steps: t.Sequence[Step], host: StepRunner) -> None:
    """Take the steps in their order; the first failure without a remedy ends it, and a rerun decides anew."""
    taken: list[Step] = []
    try:
        for step in steps:
            _take(step, host)
            taken.append(step)
    except Exception:
        for step in reversed(taken):
            if step.undo:
                with contextlib.suppress(ProcessError):
                    host.run(*step.undo)
        raise


def _take(step: Step, host: StepRunner) -> None:
    with contextlib.ExitStack() as held:
        if step.device is not None:
            held.enter_context(step.device.locked())
        if step.write is not None:
            host.write(step.write)
        if step.command:
            try:
                host.run(*step.command)
            except ProcessError:
                if not step.remedy:
                    raise
                host.run(*step.remedy)
        if step.work is not None:
            step.work()
