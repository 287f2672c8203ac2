# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ansible-test sanity, without containers, with every ansible-core that the Pythons here can run.

Usage: sanity.py [CORE]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from collection import copied
from environments import cores, environment, interpreter_links, linked
from workshop import CACHE, TOOLS, give_up, only_one, say

# The releases of pip that the supported cores ask for: 2.19, and 2.20 and later.
PIP_RELEASES = ("24_2", "25_2")
# 2.22.0rc1 takes a state of dill's repository, for the sake of Python 3.15, from a server that networks with a package
# index alone do not reach.
DILL = re.compile(r"^dill @ https:.*$", re.MULTILINE)
DILL_RELEASED = "dill==0.4.1"
# The slowest tests. What they look at, habits and imports, depends little on the core; what a core itself asks of
# modules and documentation is asked with each.
NEWEST = ("pylint",)
BOTH_ENDS = ("import",)


def home(core: str) -> Path:
    """Return a home folder for ansible-test: its environments stay there, and no collection of the user's is in it."""
    folder = CACHE / "sanity" / core
    cache = folder / ".ansible" / "test" / "cache"
    for release in PIP_RELEASES:
        linked(TOOLS / "get_pip.py", cache, f"get_pip_{release}.py")
    pips = CACHE / "pips"
    pips.mkdir(exist_ok=True)
    linked(pips, cache)
    # ansible-test empties the environment: a user's choice of package index reaches its pip through this file alone.
    settings = Path.home() / ".config" / "pip"
    if settings.exists() and not (folder / ".config").exists():
        (folder / ".config").mkdir()
        (folder / ".config" / "pip").symlink_to(settings)
    return folder


def take_releases(folder: Path) -> None:
    """Have ansible-test, as installed in an environment, ask nothing but the package index."""
    for path in folder.glob("lib/*/site-packages/ansible_test/_data/requirements/sanity.pylint.txt"):
        text = path.read_text()
        if DILL.search(text):
            path.write_text(DILL.sub(DILL_RELEASED, text))


def left_out(core: str, usable: list[str]) -> list[str]:
    """Return the options that leave out what other cores of those here try."""
    names = () if core == usable[-1] else NEWEST if core == usable[0] else (*NEWEST, *BOTH_ENDS)
    return [word for name in names for word in ("--skip-test", name)]


def sanity(core: str) -> bool:
    programs = environment(f"core-{core}") / "bin"
    path = os.pathsep.join([str(programs), str(interpreter_links()), os.environ["PATH"]])
    command = ["ansible-test", "sanity", "--local", "--color", "no", *left_out(core, cores())]
    say(f"{' '.join(command)}, ansible-core {core}")
    # Its environments are made without a lock: two runs with one home folder would spoil them for each other.
    with copied() as tree, only_one(CACHE / "sanity" / core):
        take_releases(programs.parent)
        finished = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            check=False,
            cwd=tree,
            env={**os.environ, "PATH": path, "HOME": str(home(core))},
            stdin=subprocess.DEVNULL,
        )
    return finished.returncode == 0


if __name__ == "__main__":
    failed = [core for core in cores(*sys.argv[1:]) if not sanity(core)]
    if failed:
        give_up(f"sanity failed with ansible-core {', '.join(failed)}")
    say("sanity passed")
