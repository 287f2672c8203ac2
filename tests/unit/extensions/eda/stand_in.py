# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder of programs that stand in for a host's: journalctl on a file of captured lines, dmsetup, ssh, sudo.

As a program, it is that journalctl: stand_in.py FOLDER ARGUMENTS
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import typing as t
from pathlib import Path

BOOTS = ("246c8a49c8a44ea6a4e0104c5018b2a9", "5f60718293a4b5c6d7e8f90a1b2c3d4e")
NAMES = "253 2 ev--a-thin--pool\n253 5 ev--a-mp\n"


class Host:
    """The programs and what they tell; a test writes to the journal and looks at what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        self.boot = BOOTS[0]
        (folder / "entries").touch()
        (folder / "names").write_text(NAMES)
        self._program("journalctl", f'exec "{sys.executable}" "{__file__}" "{folder}" "$@"')
        self._program("dmsetup", f'echo "$@" >> "{folder}/asked"; cat "{folder}/names"')
        # What comes before the last word, and what the shell of that host does with that; its PATH is that host's.
        shell = f"s#PATH=/usr/local/sbin#PATH={self.programs}:/usr/local/sbin#"
        self._program(
            "ssh",
            f'echo "$@" >> "{folder}/connections"\n'
            f'[ ! -e "{folder}/down" ] || {{ echo "ssh: no route" >&2; exit 255; }}\n'
            f'for command; do :; done; exec sh -c "$(echo "$command" | sed "{shell}")"',
        )
        self._program(
            "sudo", f'[ "$1" = --non-interactive ] || exit 1; shift; echo "$1" >> "{folder}/as_root"; exec "$@"'
        )

    def _program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def write(self, *rows: str) -> None:
        """Append rows as journalctl prints them."""
        with open(self.folder / "entries", "a", encoding="utf-8") as file:
            file.write("".join(f"{row}\n" for row in rows))

    def entries(self) -> list[dict[str, t.Any]]:
        return entries(self.folder)

    def say(self, message: str, *, after: float = 60, **fields: t.Any) -> str:
        """Append a line, some seconds after the newest one, and return its cursor."""
        last = self.entries()[-1:]
        number = int(place(last[0])["i"], 16) + 1 if last else 1
        clock = int(last[0]["__REALTIME_TIMESTAMP"]) + int(after * 1e6) if last else int(time.time() * 1e6)
        monotonic = 1 if not last or last[0]["_BOOT_ID"] != self.boot else int(place(last[0])["m"], 16) + 7
        cursor = f"s=c3;i={number:x};b={self.boot};m={monotonic:x};t={clock:x};x=1"
        record = {
            "__CURSOR": cursor,
            "__REALTIME_TIMESTAMP": str(clock),
            "_BOOT_ID": self.boot,
            "_COMM": "dmeventd",
            "_PID": "577",
            "MESSAGE": message,
            **fields,
        }
        self.write(json.dumps(record))
        return cursor

    def running(self) -> list[int]:
        """Return the journalctls that run, by the files that each leaves."""
        found = [int(path.name) for path in (self.folder / "running").glob("*")]
        return [pid for pid in found if Path(f"/proc/{pid}").exists() and is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def entries(folder: Path) -> list[dict[str, t.Any]]:
    text = (folder / "entries").read_text(encoding="utf-8")
    return [json.loads(row) for row in text[: text.rfind("\n") + 1].splitlines()]


def place(entry: dict[str, t.Any]) -> dict[str, str]:
    return dict(part.split("=", 1) for part in entry["__CURSOR"].split(";"))


def journalctl(folder: Path, words: list[str]) -> None:
    """Print what journalctl prints; all entries are of one sequence, and match but for those of sshd."""
    options = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
    if "--output-fields" in options and (folder / "old").exists():
        raise SystemExit("journalctl: unrecognized option '--output-fields=MESSAGE'")
    (folder / "running").mkdir(exist_ok=True)
    (folder / "running" / str(os.getpid())).touch()
    with open(folder / "asked", "a") as file:
        file.write(" ".join(words) + "\n")
    written, seen = 0, 0
    while True:
        known = entries(folder)
        boots = list(dict.fromkeys(entry["_BOOT_ID"] for entry in known))
        if "--list-boots" in options:
            print("\n".join(f"{number - len(boots) + 1:>3} {boot} Mon" for number, boot in enumerate(boots)))
            return
        found, seen = known[seen:], len(known)
        if "--cursor" in options:
            start = place({"__CURSOR": options["--cursor"]})["i"]
            found = [entry for entry in found if int(place(entry)["i"], 16) >= int(start, 16)]
        if "--boot" in options:
            found = [entry for entry in found if entry["_BOOT_ID"] == boots[-1]]
        if "--since" in options:
            found = [e for e in found if int(e["__REALTIME_TIMESTAMP"]) >= float(options["--since"][1:]) * 1e6]
        if "+" in words:
            found = [entry for entry in found if entry.get("_COMM") != "sshd"]
        elif any(word.startswith("_BOOT_ID=") for word in words):
            found = [entry for entry in found if f"_BOOT_ID={entry['_BOOT_ID']}" in words]
        if "--lines" in options:
            count = int(options["--lines"])
            found = found[:count] if "--cursor" in options else found[-count:]
        for entry in found:
            sys.stdout.write(f"{json.dumps(entry)}\n")
            sys.stdout.flush()
            written += 1
            if "--follow" in options or "+" in words:
                (folder / "written").write_text(str(written))
        if "--follow" not in options:
            return
        if (folder / "end").exists():
            (folder / "end").unlink()
            return
        waiting = select.poll()
        waiting.register(1, select.POLLERR)
        if waiting.poll(20):  # nobody reads any more
            return


if __name__ == "__main__":
    journalctl(Path(sys.argv[1]), sys.argv[2:])
