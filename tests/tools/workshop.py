# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scripts beside this one share: where things are, and how one of them stops."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path, PurePath

if t.TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devicemapper.containers"


def say(text: str) -> None:
    """Tell the person at the terminal; standard output belongs to results that other programs read."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def give_up(reason: str) -> t.NoReturn:
    raise SystemExit(f"error: {reason}")


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock beside path, so that of two processes that make the same thing the second finds it made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.lru_cache(maxsize=None)
def tracked_files() -> list[str]:
    """Return what git tracks of the checkout as it stands now; where it tracks nothing, all but what it would ignore.

    Other tools and people leave files in a checkout that are no part of it: what is said of those helps nobody.
    """
    found = git_lists("--cached")
    if not found:  # an archive that was unpacked
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True)
            return git_lists("--others", "--exclude-standard", at=(f"--git-dir={folder}", f"--work-tree={ROOT}"))
    others = git_lists("--others", "--exclude-standard")
    if others:
        say(f"left out, since git does not track it (git add): {', '.join(others)[:200]}")
    return found


def git_lists(*which: str, at: tuple[str, ...] = ()) -> list[str]:
    """Return the files of the checkout that git lists; none where there is no repository."""
    # Root working in a user's clone is normal here (sudo make test); git refuses that without safe.directory.
    command = ["git", "-c", "safe.directory=*", *at, "ls-files", "-z", *which]
    listed = subprocess.run(
        command, check=False, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    names = set(listed.stdout.split("\0"))
    return sorted(name for name in names if name and os.path.lexists(ROOT / name))


def tracked(pattern: str) -> list[Path]:
    """Return the paths of the tracked files that match a pattern as a whole."""
    return [ROOT / name for name in tracked_files() if PurePath("/", name).match(f"/{pattern}")]
