# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where guests are kept, how commands are run, and how a thing is built once however many ask for it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, Sequence

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devicemapper.containers"
GUESTS = Path(os.environ.get("GUEST_DIR") or CACHE / "guests").absolute()
KEY = CACHE / "ssh_key"


class GuestError(Exception):
    """Something that the person at the terminal must know; shown without a traceback."""


def say(text: str) -> None:
    """Report what takes its time; standard output belongs to what a caller reads."""
    print(text, file=sys.stderr, flush=True)


def run(argv: Sequence[object], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; its own last words are the error when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd, env=env
        )
    except FileNotFoundError as error:
        raise GuestError(f"{words[0]} is not installed; molecule/shared/README.md names the packages") from error
    if done.returncode:
        raise GuestError(f"{words[0]} failed with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def key_of(*parts: object) -> str:
    """Name a thing after everything it was made from, so that another recipe never finds the old result."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time through; the kernel frees the lock when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unmount_below(folder: Path) -> None:
    """Unmount what a killed build left: /dev/pts and others of this machine, which must not be deleted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounts if path.startswith(f"{folder}/")), reverse=True):
        run(["umount", path])


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return the folder, built if it is not there yet; a killed build leaves nothing that looks finished."""
    if folder.is_dir():
        return folder
    with lock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            scratch = folder.with_name(folder.name + ".building")
            unmount_below(scratch)
            if scratch.is_dir():
                shutil.rmtree(scratch)
            scratch.mkdir()
            build(scratch)
            scratch.rename(folder)
    return folder
