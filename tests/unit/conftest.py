# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the collection importable under its full name from any checkout, and run modules and playbooks as users do."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FULL_NAME = ("ansible_collections", "devicemapper", "containers")
CALLBACKS = Path(__file__).resolve().parent / "callbacks"

Outcomes = t.Dict[str, t.List[t.Dict[str, t.Any]]]


def pytest_configure(config: pytest.Config) -> None:
    if ROOT.parts[-3:] == FULL_NAME:
        sys.path.insert(0, str(ROOT.parents[2]))
        return
    folder = tempfile.TemporaryDirectory(prefix="collection-")
    config.add_cleanup(folder.cleanup)
    link = Path(folder.name, *FULL_NAME)
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    sys.path.insert(0, folder.name)


@contextlib.contextmanager
def given(arguments: dict[str, t.Any]) -> Iterator[None]:
    """Let the next AnsibleModule find these arguments and no warnings of others."""
    from ansible.module_utils.common import warnings
    from ansible.module_utils.testing import patch_module_args

    warnings._global_warnings.clear()
    with patch_module_args(arguments):
        yield


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    """Return a function that runs a module's main() with options and returns what the module printed.

    Only the process is spared, nothing is replaced: run_module(lvm_vg, name="docker", devices=["/dev/vdb"]).
    """

    def run(module: ModuleType, *, check: bool = False, diff: bool = True, **options: t.Any) -> dict[str, t.Any]:
        with given({**options, "_ansible_check_mode": check, "_ansible_diff": diff}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="session")
def ansible_playbook(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ansible-playbook with arguments, and with no settings but the given ones."""
    compiled = tmp_path_factory.mktemp("compiled")

    def run(folder: Path, *arguments: str, cwd: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        (folder / "ansible.cfg").touch()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": next(path for path in sys.path if Path(path, *FULL_NAME).exists()),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_FORKS": "4",
            "COMPILED_TEMPLATES": str(compiled),
            "LC_ALL": "C.UTF-8",
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", *arguments],
            check=False,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def play(ansible_playbook, tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[str, dict], Outcomes]:
    """Return a function that runs a playbook in check mode, on this machine under the names of made-up hosts.

    It gets the playbook's text and each host's variables, and returns by host the tasks that ran and what was said.
    """

    def run(playbook: str, hosts: dict[str, dict[str, t.Any]]) -> Outcomes:
        folder = tmp_path_factory.mktemp("play")
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        for name, text in (
            ("hosts.json", json.dumps({"all": {"hosts": hosts, "vars": common}})),
            ("play.yml", playbook),
        ):
            (folder / name).write_text(text, encoding="utf-8")
        command = ["--check", "-i", "hosts.json", "play.yml"]
        ran = ansible_playbook(folder, *command, cwd=folder, ANSIBLE_STDOUT_CALLBACK="outcomes")
        found: Outcomes = {}
        for line in ran.stdout.splitlines():
            if line.startswith("{"):
                outcome = json.loads(line)
                found.setdefault(outcome["host"], []).append(outcome)
        assert sorted(found) == sorted(hosts), f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
        return found

    return run
