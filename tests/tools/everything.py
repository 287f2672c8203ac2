# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run every check, each into a log of its own that is shown when the check fails.

Scenarios run two at a time; beside them, one at a time, what needs no guest.

Usage: everything.py [yes], which lists what would run, one a line, with the kind of guest of a scenario
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor, wait

from environments import cores, known_cores
from workshop import CACHE, ROOT, give_up, tracked

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUESTS = {"kvm": "KVM", "uml": "User-Mode Linux", "tcg": "an emulated machine"}
# One processor for each guest, of which a part is left over while a play is on its way or something is waited for: the
# other checks take that, and where nothing is left over the smaller share.
GUESTS_AT_A_TIME = 2
NICENESS = 5
HEARTBEAT = 60
LOGS = CACHE / "logs"
# Begun before the others, so that none of them is left to run alone at the end.
LONGEST = ("default", "killed", "newest_kernel", "monitor", "usage", "loop", "containerd_2_1")
# Lines that say why: of pytest, Ansible and linters. Where only the end of an output is kept, they are in it.
WHY = re.compile(r"^(FAILED|ERROR) |^E  |fatal: |\[ERROR\]|^\S+:\d+:\d+: |Traceback")
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
    return f"{', '.join(sorted(set(re.findall('release: (.+)', text))))} on {GUESTS[accelerator]}"


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
    command = ["nice", f"--adjustment={niceness}", "make", "--no-print-directory", *words]
    tell(f"make {' '.join(words)}")
    with log_of(words).open("wb") as log:
        finished = subprocess.run(
            command, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    done = Finished(finished.returncode == 0, time.monotonic() - start)
    tell(f"make {' '.join(words)}: {done}")
    return done


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


def on_guests() -> Iterator[list[str]]:
    """Yield the arguments of make for each scenario."""
    for scenario in scenarios():
        yield ["molecule", f"SCENARIO={scenario}", f"CORE={core_of(scenario)}"]


def show() -> None:
    for words in without_guests():
        print(f"make {' '.join(words)}")
    for words in on_guests():
        print(f"make {' '.join(words)}: {guest_of(words[1].partition('=')[2])}")


def main() -> int:
    wanted = sys.argv[1] if sys.argv[1:] else ""
    if wanted not in ("", "yes"):
        give_up(f"LIST is {wanted!r}; it can be yes, or left out")
    if wanted:
        show()
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(GUESTS_AT_A_TIME) as guests, ThreadPoolExecutor(1) as others:
        start = time.monotonic()
        try:
            running = {others.submit(check, words, niceness=NICENESS): words for words in without_guests()}
            running |= {guests.submit(check, words): words for words in on_guests()}
            while wait(running, timeout=HEARTBEAT).not_done:
                tell(f"running: {', '.join(' '.join(words) for one, words in running.items() if one.running())}")
        except BaseException:
            # Leaving the pools would otherwise start what is still queued.
            for pool in (guests, others):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    done = {" ".join(words): one.result() for one, words in running.items()}
    failed = [words for one, words in running.items() if not one.result().passed]
    for words in failed:
        log = log_of(words)
        print(f"\n===== make {' '.join(words)}: {log}\n{log.read_text(errors='replace')}")
    for words in failed:
        print(f"\nmake {' '.join(words)}:\n{reasons(log_of(words).read_text(errors='replace'))}")
    # What takes longest comes last, where it is seen.
    print()
    for name, one in sorted(done.items(), key=lambda item: item[1].seconds):
        print(f"make {name}: {one}")
    print(f"\n{len(running) - len(failed)} passed, {len(failed)} failed, in {(time.monotonic() - start) / 60:.0f} min")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
