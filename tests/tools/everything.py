# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run every check, each into a log of its own that is shown when the check fails.

Three at a time: two scenarios beside what needs no guest, and three of them when that is done.

Usage: everything.py [yes], which lists what would run, one a line, with the kind of guest of a scenario
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

from environments import cores, known_cores
from workshop import CACHE, ROOT, give_up, tracked

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

GUESTS = {"kvm": "KVM", "uml": "User-Mode Linux", "tcg": "an emulated machine"}
# One more than processors: a scenario leaves a part of one over while it waits for something. What needs no guest gets
# the smaller share.
LANES = 3
NICENESS = 5
HEARTBEAT = 60
LOGS = CACHE / "logs"
# Begun before the others, so that none of them is left to run alone at the end.
LONGEST = (
    *("default", "killed", "newest_kernel", "docker_28", "configurations", "replace_disk", "monitor", "containerd"),
    *("containerd_2_1", "usage", "field", "loop"),
)
# Lines that say why: of pytest, Ansible and linters. Where only the end of an output is kept, they are in it.
WHY = re.compile(r"^(FAILED|ERROR) |^E  |fatal: |\[ERROR\]|^\S+:\d+:\d+: |Traceback")
RUNNING: set[str] = set()
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def scenarios() -> list[str]:
    """Return the scenarios, first what takes longest."""
    found = sorted(path.parent.name for path in tracked("molecule/*/molecule.yml"))
    return sorted(found, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))


def core_of(scenario: str) -> str:
    """Return the ansible-core that runs a scenario: the oldest one and the newest one take turns."""
    known = known_cores("molecule")
    return (known[0], known[-1])[sorted(scenarios()).index(scenario) % 2]


def guest_of(scenario: str) -> str:
    """Return the release of a scenario's guest, and what it runs on here."""
    text = (ROOT / "molecule" / scenario / "molecule.yml").read_text()
    real = ["--real"] if re.search(r"^ +real: true$", text, re.MULTILINE) else []
    guest = [sys.executable, ROOT / "molecule" / "shared" / "guest.py", "accelerator", *real]
    accelerator = subprocess.run(guest, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    releases = sorted(set(re.findall(r"^ +release: (.+)", text, re.MULTILINE)))
    return f"{', '.join(releases)} on {GUESTS[accelerator]}"


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


class Finished(t.NamedTuple):
    """How a check ended."""

    passed: bool
    seconds: float

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'} after {self.seconds:.0f} s"


def check(words: list[str], *, niceness: int = 0) -> Finished:
    start = time.monotonic()
    name = " ".join(words)
    command = ["nice", f"--adjustment={niceness}", "make", "--no-print-directory", *words]
    tell(f"make {name}")
    RUNNING.add(name)
    # Molecule folds what it passes on at the width of the terminal, and a line that says why is worth having whole.
    variables = {**os.environ, "COLUMNS": "400"} if words[0] == "molecule" else None
    with log_of(words).open("wb") as log:
        finished = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    done = Finished(finished.returncode == 0, time.monotonic() - start)
    RUNNING.discard(name)
    tell(f"make {name}: {done}")
    return done


def reasons(log: str) -> str:
    """Return the lines of a log that say why the check failed."""
    lines = [COLOUR.sub("", line) for line in log.splitlines()]
    # Molecule draws a line before what it passes on.
    lines = [re.sub(r"^\s*\u2502 ?", "", line).rstrip() for line in lines]
    return "\n".join([line[:400] for line in lines if WHY.search(line)][-30:])


def tell(text: str) -> None:
    # In one piece: two threads tell.
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def on_guests() -> Iterator[list[str]]:
    """Yield the arguments of make for each scenario."""
    for scenario in scenarios():
        yield ["molecule", f"SCENARIO={scenario}", f"CORE={core_of(scenario)}"]


def show() -> None:
    for words in without_guests():
        print(f"make {' '.join(words)}")
    for words in on_guests():
        print(f"make {' '.join(words)}: {guest_of(words[1].partition('=')[2])}")


def lane(
    first: Iterable[list[str]], guests: queue.SimpleQueue[list[str]], done: dict[str, Finished], ended: Event
) -> None:
    """Run some checks that need no guest, then one scenario after the other, until there is none left or all ends."""
    for words in first:
        if not ended.is_set():
            done[" ".join(words)] = check(words, niceness=NICENESS)
    while not ended.is_set():
        try:
            words = guests.get_nowait()
        except queue.Empty:
            return
        done[" ".join(words)] = check(words)


def run() -> dict[str, Finished]:
    """Run everything, and return how each check ended, by its arguments of make."""
    guests: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    for words in on_guests():
        guests.put(words)
    done: dict[str, Finished] = {}
    ended = Event()
    with ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, first, guests, done, ended) for first in [without_guests(), *[()] * (LANES - 1)]]
        try:
            while wait(lanes, timeout=HEARTBEAT).not_done:
                tell(f"{len(done)} done, running: {', '.join(sorted(RUNNING))}")
        except BaseException:
            # Leaving the pool would otherwise wait for what is not begun yet.
            ended.set()
            raise
    for one in lanes:
        one.result()
    return done


def main() -> int:
    wanted = sys.argv[1] if sys.argv[1:] else ""
    if wanted not in ("", "yes"):
        give_up(f"LIST is {wanted!r}; it can be yes, or left out")
    if wanted:
        show()
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    done = run()
    failed = [name for name, one in done.items() if not one.passed]
    for name in failed:
        log = log_of(name.split())
        print(f"\n===== make {name}: {log}\n{log.read_text(errors='replace')}")
    for name in failed:
        print(f"\nmake {name}:\n{reasons(log_of(name.split()).read_text(errors='replace'))}")
    # What takes longest comes last, where it is seen.
    print()
    for name, one in sorted(done.items(), key=lambda item: item[1].seconds):
        print(f"make {name}: {one}")
    print(f"\n{len(done) - len(failed)} passed, {len(failed)} failed, in {(time.monotonic() - start) / 60:.0f} min")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
