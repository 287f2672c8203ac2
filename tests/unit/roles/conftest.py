# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

# Prints a line for each task that ran on a host: which, and what it said where it failed.
CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "outcomes"

    def tell(self, outcome, failed):
        host, task, said = (getattr(outcome, name, None) or getattr(outcome, f"_{name}") for name in ATTRIBUTES)
        message = str(said.get("msg")) if failed else ""
        print(json.dumps({"host": host.get_name(), "action": task.action, "said": message}))

    def v2_runner_on_ok(self, outcome):
        self.tell(outcome, False)

    def v2_runner_on_failed(self, outcome, ignore_errors=False):
        self.tell(outcome, True)

    def v2_runner_item_on_failed(self, outcome):
        self.tell(outcome, True)

ATTRIBUTES = ("host", "task", "result")
"""

Outcomes = t.Dict[str, t.List[t.Dict[str, str]]]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[str, dict], Outcomes]:
    """Return a function that runs a playbook in check mode, on this machine under the names of made-up hosts.

    It gets the playbook's text and each host's variables, and returns by host the tasks that ran and what was said.
    """

    def run(playbook: str, hosts: dict[str, dict[str, t.Any]]) -> Outcomes:
        folder = tmp_path_factory.mktemp("play")
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        for name, text in (
            ("hosts.json", json.dumps({"all": {"hosts": hosts, "vars": common}})),
            ("play.yml", playbook),
            ("outcomes.py", CALLBACK),
            ("ansible.cfg", ""),
        ):
            (folder / name).write_text(text, encoding="utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": next(
                path for path in sys.path if Path(path, "ansible_collections/devicemapper/containers").exists()
            ),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_CALLBACK_PLUGINS": str(folder),
            "ANSIBLE_STDOUT_CALLBACK": "outcomes",
            "ANSIBLE_FORKS": "4",
            "LC_ALL": "C.UTF-8",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "--check", "-i", "hosts.json", "play.yml"]
        ran = subprocess.run(
            command, check=False, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        found: Outcomes = {}
        for line in ran.stdout.splitlines():
            if line.startswith("{"):
                outcome = json.loads(line)
                found.setdefault(outcome["host"], []).append(outcome)
        assert sorted(found) == sorted(hosts), f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
        return found

    return run
