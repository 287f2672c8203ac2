# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the unit tests with every ansible-core that the Pythons here can run, and on the oldest Python of managed hosts.

And the rulebooks, by ansible-rulebook.

Usage: units.py [CORE [PYTEST ARGUMENTS]]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from collection import copied
from environments import cores, environment, interpreter_for
from workshop import give_up, say

OLDEST_TARGET = "target-3.8"
# Tests that one release of ansible-core is enough for: they feed parsers for a fixed time.
ONCE = ("tests/unit/fuzz",)
# And those that a release between the oldest and the newest says nothing new of, nor its Python: what they test imports
# nothing of Ansible (tests/unit/plugins/module_utils/test_imports.py).
BOTH_ENDS = (
    "tests/unit/docs",
    "tests/unit/extensions",
    "tests/unit/tools",
    *(
        f"tests/unit/plugins/module_utils/_{room}"
        for room in ("lvm", "docker", "containerd", "contents", "plan", "monitor")
    ),
)
MEMORY = "/dev/shm"
NEEDED = 2**30  # bytes, several times what a run leaves until its end


def memory() -> str | None:
    """Return a folder in memory for the tests' files, 150 000 in a run, where there is room for them.

    Containers often get a small /dev/shm from which no program can be started (Docker: 64 MiB, noexec).
    """
    try:
        there = os.statvfs(MEMORY)
    except FileNotFoundError:
        return None
    usable = there.f_bavail * there.f_frsize >= NEEDED and not there.f_flag & os.ST_NOEXEC
    return MEMORY if usable and os.access(MEMORY, os.W_OK) else None


def pytest(tree: Path, name: str, *arguments: str, **extra: str) -> bool:
    """Run tests of a copy of the collection, so that they see what others will, and nothing else that lies about."""
    python = environment(name) / "bin" / "python"
    say(f"pytest, {name}")
    command = [str(python), "-m", "pytest", "--quiet", *arguments]
    with tempfile.TemporaryDirectory(prefix="units-", dir=memory()) as folder:
        variables = {**os.environ, "TMPDIR": folder, **extra}
        return subprocess.run(command, check=False, cwd=tree, env=variables, stdin=subprocess.DEVNULL).returncode == 0


def left_out(core: str, usable: list[str]) -> list[str]:
    """Return pytest's options that leave out what the other releases of ansible-core try."""
    folders = () if core == usable[0] else ONCE if core == usable[-1] else (*ONCE, *BOTH_ENDS)
    return [f"--ignore={folder}" for folder in folders]


def on_oldest_target(tree: Path, core: str) -> bool:
    """Run the plugins' tests with what a managed host is sent of Ansible: module_utils, and nothing else."""
    if interpreter_for(OLDEST_TARGET) is None:
        say("Python 3.8 left out: not found here")
        return True
    library = next((environment(f"core-{core}") / "lib").glob("python3.*/site-packages/ansible/module_utils"))
    with tempfile.TemporaryDirectory() as folder:
        ansible = Path(folder, "ansible")
        ansible.mkdir()
        (ansible / "__init__.py").touch()
        (ansible / "module_utils").symlink_to(library)
        (ansible / "release.py").symlink_to(library.parent / "release.py")
        return pytest(tree, OLDEST_TARGET, "tests/unit/plugins", PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1")


def rulebooks(tree: Path) -> bool:
    if interpreter_for("rulebook") is None:
        say("rulebooks left out: no Python here that ansible-rulebook runs on")
        return True
    return pytest(tree, "rulebook", "tests/rulebook")


if __name__ == "__main__":
    wanted = sys.argv[1] if sys.argv[1:] else ""
    usable = cores(wanted)
    with copied() as copy:
        chosen = sys.argv[2:]
        passed = [pytest(copy, f"core-{core}", *(chosen or ["tests/unit", *left_out(core, usable)])) for core in usable]
        if not wanted:
            passed.append(on_oldest_target(copy, usable[0]))
            passed.append(rulebooks(copy))
    if not all(passed):
        give_up("unit tests failed")
    say("unit tests passed")
