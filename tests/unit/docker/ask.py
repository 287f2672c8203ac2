# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask the dockerd of this machine which keys its configuration may have, and which of them stand against each flag.

Prints JSON: ``keys``, those that it takes, and ``flags``, for each flag the keys that keep it from starting. Words on
the command line are asked for too: some keys are in the program for no other reason than to be taken.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile

# What flags of each type take, as dockerd --help names the types.
VALUES = {
    "bytes": "64M",
    "int": "5",
    "ip": "192.0.2.1",
    "ipSlice": "192.0.2.1",
    "list": "a=b",
    "map": "a=true",
    "mapmap": "bridge=a=b",
    "pool-options": "base=192.0.2.0/24,size=24",
    "runtime": "a=/bin/true",
    "string": "a",
    "ulimit": "nofile=5",
}
# What is more particular than its type.
PARTICULAR = {
    "--authorization-plugin": "a",
    "--cdi-spec-dir": "/a",
    "--dns": "192.0.2.1",
    "--dns-search": "example.org",
    "--host": "unix:///a",
    "--host-gateway-ip": "192.0.2.1",
    "--insecure-registry": "example.org",
    "--log-level": "info",
    "--registry-mirror": "https://example.org",
}
UNKNOWN = "don't match any configuration option: "
BOTH = "are specified both as a flag and in the configuration file: "


# Not in the help of each version that takes them.
HIDDEN = {"--graph": "string", "--network-diagnostic-port": "int", "--oom-score-adjust": "int"}
# dockerd has been given this one, and ends at it in a file: so it never starts, --validate or not, which 20.10 lacks.
ENDING = "config-file"
UNKNOWN = "don't match any configuration option: "
BOTH = "are specified both as a flag and in the configuration file: "


def answer_to(document: dict, *flags: str) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({ENDING: "0", **document}, file)
        file.flush()
        command = ["dockerd", "--config-file", file.name, *flags]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def candidates() -> set[str]:
    """Return every word in the program that may be a key: those that its JSON is told to have."""
    with open(shutil.which("dockerd") or "", "rb") as file:
        return {word.decode() for word in re.findall(rb'json:"([a-z][a-z0-9-]+)[,"]', file.read())}


def ask(*more: str) -> dict:
    text = subprocess.run(["dockerd", "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    flags = re.findall(r"(?m)^\s+(?:(-\w), )?(--[a-z0-9-]+)(?: (\S+))?  ", text)
    flags = [flag for flag in flags if flag[1] not in ("--help", "--version", "--validate", "--config-file")]
    flags += [("", name, kind) for name, kind in HIDDEN.items() if name not in text]
    words = candidates() | set(more) | {name[2:] for _short, name, _kind in flags}
    refused = answer_to(dict.fromkeys(words, "0")).partition(UNKNOWN)[2].strip().split(", ")
    keys = sorted(words.difference(refused, [ENDING, "validate", "help", "version"]))
    found = {}
    for short, name, kind in flags:
        value = PARTICULAR.get(name, VALUES.get(kind, "true"))
        answer = answer_to(dict.fromkeys(keys, "0"), f"{name}={value}")
        if "unknown flag" in answer:
            continue
        if BOTH not in answer:
            raise SystemExit(f"{name}={value}: {answer[:300]}")
        clashes = re.findall(r"(?:: |, )([a-z][a-z0-9-]*): \(from flag: ", f": {answer.partition(BOTH)[2]}")
        for spelled in (short, name):
            if spelled:
                found[spelled] = [clash for clash in clashes if clash != ENDING]
    return {"keys": keys, "flags": dict(sorted(found.items()))}


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:]), indent=1))
