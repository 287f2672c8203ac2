# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's commands, each in a process that is forked from one which has imported Ansible.

Half of the time of a short command is that import, and a scenario starts some fifty of them.
"""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import tempfile
import typing as t
from unittest import mock

COMMANDS = {"ansible": "ansible.cli.adhoc", "ansible-playbook": "ansible.cli.playbook"}
CONTEXT = multiprocessing.get_context("forkserver")
# What the commands import once they run.
CONTEXT.set_forkserver_preload(
    [
        *COMMANDS.values(),
        *(f"ansible.executor.{name}" for name in ("module_common", "playbook_executor", "task_queue_manager")),
        *(f"ansible.plugins.{name}" for name in ("action.normal", "callback.default", "connection.ssh")),
        *(f"ansible.plugins.{name}" for name in ("become.sudo", "shell.sh", "strategy.linear")),
    ]
)


def run(words: list[str], variables: t.Mapping[str, str], *, only_output: bool = False) -> tuple[int, str]:
    """Run a command with more variables of the environment, the same ones each time; return status and output.

    With its output goes what it complains of, unless that is wanted ``only_output``.
    """
    # Ansible reads its settings when it is imported.
    with mock.patch.dict(os.environ, variables):
        multiprocessing.forkserver.ensure_running()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        process = CONTEXT.Process(target=_become, args=(words, output.name, only_output))
        process.start()
        process.join()
        return t.cast(int, process.exitcode), output.read()


def _become(words: list[str], output: str, only_output: bool) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    for number in (1,) if only_output else (1, 2):
        os.dup2(descriptor, number)
    importlib.import_module(COMMANDS[words[0]]).main(words)
