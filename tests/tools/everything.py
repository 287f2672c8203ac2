# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run every check, each into a log of its own that is shown when the check fails.

Scenarios run two at a time; beside them, one at a time, what needs no guest. Where guests are emulated those scenarios
are left out that are about one role or playbook of its own, and would take another hour and more.

Usage: everything.py [SCENARIOS], which is "all" to leave none out
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor, wait

from environments import cores
from workshop import CACHE, ROOT, give_up

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One processor for each guest, of which a part is left over while a play is on its way or something is waited for: the
# other checks take that, and where nothing is left over the smaller share.
GUESTS_AT_A_TIME = 2
NICENESS = 5
HEARTBEAT = 60
LOGS = CACHE / "logs"
# Begun before the others, so that none of them is left to run alone at the end.
LONGEST = ("killed", "usage", "monitor", "default", "manual", "adopt", "refused")
# Left out where guests are emulated, unless all are asked for.
AT_LENGTH = (
    "containerd",
    "containerd_1_6",
    "docker_containerd",
    "docker_managed",
    "guides",
    "loop",
    "migrate",
    "two_hosts",
)
# These need both guests, so they come last, alone.
TWO_GUESTS = ("two_hosts",)
# Lines that say why: of pytest, Ansible and linters. Where only the end of an output is kept, they are in it.
WHY = re.compile(r"^(FAILED|ERROR) |^E  |fatal: |\[ERROR\]|^\S+:\d+:\d+: |Traceback")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def scenarios() -> list[str]:
    """Return the scenarios, first what takes longest, and last what runs alone."""
    found = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    return sorted(
        found, key=lambda name: (name in TWO_GUESTS, LONGEST.index(name) if name in LONGEST else len(LONGEST))
    )


def left_out(wanted: str) -> list[str]:
    """Return the scenarios that are not run here."""
    if wanted == "all":
        return []
    guest = [sys.executable, ROOT / "molecule" / "shared" / "guest.py", "accelerator"]
    accelerator = subprocess.run(guest, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return [] if accelerator == "kvm" else [name for name in scenarios() if name in AT_LENGTH]


def without_guests() -> Iterator[list[str]]:
    """Yield the arguments of make for each other check, first for what fails within seconds."""
    yield ["lint"]
    yield ["docs"]
    yield ["site"]
    yield ["galaxy"]
    yield ["page"]
    yield ["unit"]
    for core in cores():
        yield ["sanity", f"CORE={core}"]


def log_of(words: list[str]) -> Path:
    return LOGS / f"{'-'.join(words)}.log"


def check_alone(words: list[str], before: list[Future[bool]]) -> bool:
    wait(before)
    return check(words)


def check(words: list[str], *, niceness: int = 0) -> bool:
    start = time.monotonic()
    command = ["nice", f"--adjustment={niceness}", "make", "--no-print-directory", *words]
    tell(f"make {' '.join(words)}")
    with log_of(words).open("wb") as log:
        finished = subprocess.run(
            command, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    passed = finished.returncode == 0
    tell(f"make {' '.join(words)}: {'passed' if passed else 'FAILED'} after {time.monotonic() - start:.0f} s")
    return passed


def reasons(log: str) -> str:
    """Return the lines of a log that say why the check failed."""
    lines = [COLOUR.sub("", line) for line in log.splitlines()]
    # Molecule draws a line before what it passes on.
    lines = [re.sub(r"^\s*\u2502 ?", "", line).rstrip() for line in lines]
    return "\n".join([line[:300] for line in lines if WHY.search(line)][-30:])


def tell(text: str) -> None:
    # In one piece: two threads tell.
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def main() -> int:
    wanted = sys.argv[1] if sys.argv[1:] else ""
    if wanted not in ("", "all"):
        give_up(f"SCENARIOS is {wanted!r}; it can be all, or left out")
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(GUESTS_AT_A_TIME) as guests, ThreadPoolExecutor(1) as others:
        try:
            running = {others.submit(check, words, niceness=NICENESS): words for words in without_guests()}
            # Only now: on a new machine this takes a minute, since an image is built to try.
            missing = left_out(wanted)
            on_guests: list[Future[bool]] = []
            for scenario in scenarios():
                if scenario in missing:
                    continue
                words = ["molecule", f"SCENARIO={scenario}"]
                alone = scenario in TWO_GUESTS
                one = others.submit(check_alone, words, list(on_guests)) if alone else guests.submit(check, words)
                on_guests.append(one)
                running[one] = words
            while wait(running, timeout=HEARTBEAT).not_done:
                tell(f"running: {', '.join(' '.join(words) for one, words in running.items() if one.running())}")
        except BaseException:
            # Leaving the pools would otherwise start what is still queued.
            for pool in (guests, others):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    failed = [words for one, words in running.items() if not one.result()]
    for words in failed:
        log = log_of(words)
        print(f"\n===== make {' '.join(words)}: {log}\n{log.read_text(errors='replace')}")
    for words in failed:
        print(f"\nmake {' '.join(words)}:\n{reasons(log_of(words).read_text(errors='replace'))}")
    if missing:
        print(f"\nleft out, since guests are emulated here (make test SCENARIOS=all): {', '.join(missing)}")
    print(f"\n{len(running) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
