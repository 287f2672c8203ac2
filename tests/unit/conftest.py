# Copyright (c) 2026, The devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the collection importable under its full name from any checkout, and run modules as Ansible would."""

from __future__ import annotations

import contextlib
import json
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
    """Let the next AnsibleModule find these arguments and no warnings of others, on every supported ansible-core."""
    from ansible.module_utils.common import warnings

    warnings._global_warnings.clear()
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # before ansible-core 2.19
        from ansible.module_utils import basic

        with pytest.MonkeyPatch.context() as patch:
            text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
            patch.setattr(basic, "_ANSIBLE_ARGS", text)
            yield
    else:
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
