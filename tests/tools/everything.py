# Copyright (c) 2026, The devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run every check, two at a time, each into a log of its own that is shown when the check fails.

Usage: everything.py
"""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from collection import install
from environments import cores
from workshop import CACHE, ROOT, TOOLS

if t.TYPE_CHECKING:
    from collections.abc import Iterator

# One processor for each guest: on a machine with two, a third check would only slow down the other two.
AT_A_TIME = 2
HEARTBEAT = 60
LOGS = CACHE / "logs"


def tool(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(TOOLS / script), *arguments]


def checks() -> Iterator[tuple[str, list[str]]]:
    """Yield name and command of each check: what fails within seconds first, then what takes longest."""
    yield "lint", tool("lint.py")
    yield "docs", tool("lint.py", "docs")
    yield "unit", tool("units.py")
    for scenario in sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        yield f"molecule-{scenario}", tool("guests.py", "molecule", "test", "--scenario-name", scenario)
    for core in cores():
        yield f"sanity-{core}", tool("sanity.py", core)


def check(name: str, command: list[str]) -> bool:
    start = time.monotonic()
    tell(f"{name} ...")
    with open(LOGS / f"{name}.log", "wb") as log:
        finished = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    passed = finished.returncode == 0
    tell(f"{name} {'passed' if passed else 'FAILED'} after {time.monotonic() - start:.0f} s")
    return passed


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    LOGS.mkdir(parents=True, exist_ok=True)
    install()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        names = {pool.submit(check, name, command): name for name, command in checks()}
        waiting = set(names)
        while waiting:
            waiting = wait(waiting, timeout=HEARTBEAT, return_when=FIRST_COMPLETED).not_done
            running = [names[one] for one in waiting if one.running()]
            if running:
                tell(f"running: {', '.join(running)}")
    failed = sorted(name for one, name in names.items() if not one.result())
    for name in failed:
        print(f"\n===== {name}: {LOGS / name}.log =====\n{(LOGS / f'{name}.log').read_text(errors='replace')}")
    print(f"\n{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
