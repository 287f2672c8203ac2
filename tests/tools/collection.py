# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the collection where Ansible and its tools look for one, below a folder ansible_collections.

Usage: collection.py build FOLDER   make the archive in FOLDER and print its path
       collection.py install        install the archive, as users do, and print the path for ANSIBLE_COLLECTIONS_PATH
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from environments import core_for, environment
from workshop import CACHE, ROOT, only_one, tracked_files

if t.TYPE_CHECKING:
    from collections.abc import Iterator

NAME = Path("ansible_collections", "devicemapper", "containers")


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """Lend a copy of what git tracks, tests and all.

    For tools that must run inside such a folder, that write to it, or that would look at every file that lies about.
    """
    with tempfile.TemporaryDirectory(prefix="copy-") as folder:
        tree = Path(folder, NAME)
        for name in tracked_files():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
        yield tree


def build(folder: Path) -> Path:
    """Return the archive, built from a copy: a checkout may hold what is no part of it."""
    with copied() as tree:
        ansible_galaxy("build", "--force", "--output-path", str(folder), str(tree))
    return max(folder.glob("devicemapper-containers-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def install() -> Path:
    """Return a folder with the installed collection, one for each state of the checkout.

    Never changed once made: a run that began with one state keeps it while the checkout is being worked on.
    """
    state = hashlib.sha256()
    for name in tracked_files():
        path = ROOT / name
        state.update(f"{name}\0{path.lstat().st_mode}\0".encode())
        state.update(os.readlink(path).encode() if path.is_symlink() else path.read_bytes())
    folder = CACHE / "installed" / state.hexdigest()[:16]
    with only_one(folder):
        if not folder.exists():
            new = Path(f"{folder}.new")
            shutil.rmtree(new, ignore_errors=True)
            archive = build(new)
            # --force: without it nothing is installed where another path that Ansible looks at holds the same version.
            ansible_galaxy("install", "--force", "--collections-path", str(new), str(archive))
            new.rename(folder)
            remove_old(folder.parent)
    return folder


def remove_old(folder: Path, days: int = 7) -> None:
    """Remove the installed collections of states that have been left behind long ago."""
    for path in folder.iterdir():
        if path.is_dir() and time.time() - path.stat().st_mtime > days * 86400:
            shutil.rmtree(path, ignore_errors=True)


def ansible_galaxy(command: str, *arguments: str) -> None:
    program = environment(f"molecule-{core_for('molecule', '')}") / "bin" / "ansible-galaxy"
    subprocess.run(
        [str(program), "collection", command, *arguments], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )


if __name__ == "__main__":
    print(build(Path(sys.argv[2])) if sys.argv[1] == "build" else install())
