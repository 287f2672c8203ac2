# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scripts beside this one share: where things are, and how one of them stops."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import typing as t
from pathlib import Path

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


def tracked_files() -> list[str]:
    """Return what git would commit from the checkout as it stands now: known and new files, not the ignored ones."""
    # Root working in a user's clone is normal here (sudo make test); git refuses that without safe.directory.
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT)]
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and os.path.lexists(ROOT / name))
