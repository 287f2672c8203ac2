# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure writes to thin volumes beside the same to a linear volume; runs on a host whose disk may be overwritten.

For each size of chunks, with and without zeroing: the first writes to a new volume, the same writes again, and again
after a snapshot was taken. Prints JSON: "linear", or pool and phase -> rounds of {"small": writes per second, "large":
bytes per second, "taken": bytes that the small writes took in the pool}.

Usage: chunks.py DISK ROUNDS
"""

from __future__ import annotations

import json
import subprocess
import sys

GROUP = "bench"
KIB, MIB = 1024, 1024 * 1024
CHUNKS = (64 * KIB, 256 * KIB, 512 * KIB, MIB)
# What a container's log or database does: little, here and there. 16 MiB in all, all over a gibibyte.
SMALL = ("--rw=randwrite", "--bs=4k", "--size=1g", "--io_size=16m", "--randseed=1")
# What the unpacking of an image does.
LARGE = ("--rw=write", "--bs=1m", "--size=256m")


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def write(volume: str, job: tuple[str, ...]) -> dict[str, float]:
    # Directly, one write at a time: what is compared is the way of one write through the device mapper.
    options = ("--name=write", "--direct=1", "--ioengine=psync", "--output-format=json", f"--filename=/dev/{volume}")
    return json.loads(run("fio", *options, *job))["jobs"][0]["write"]


def used(pool: str) -> float:
    percent, size = run(
        "lvs", "--noheadings", "--units=b", "--nosuffix", "--options=data_percent,lv_size", pool
    ).split()
    return float(percent) / 100 * float(size)


def on_thin(chunk: int, zero: bool) -> dict[str, dict[str, float]]:
    pool, volume = f"{GROUP}/pool", f"{GROUP}/volume"
    options = [f"--chunksize={chunk // KIB}k", f"--zero={'y' if zero else 'n'}", "--poolmetadatasize=64m", "--size=4g"]
    # A discard would hand blocks of the disk back to the machine that emulates it, which then has to find new ones.
    run("lvcreate", "--yes", "--type=thin-pool", "--discards=nopassdown", "--name=pool", *options, GROUP)
    run("lvcreate", "--yes", "--thin", "--virtualsize=2g", "--name=volume", pool)
    found = {}
    for phase in ("first write", "rewrite", "write after a snapshot"):
        if phase == "write after a snapshot":
            run("lvcreate", "--yes", "--snapshot", "--name=image", volume)
        before = used(pool)
        small = write(volume, SMALL)["iops"]
        taken = used(pool) - before
        large = write(volume, (*LARGE, "--offset=1g"))["bw_bytes"]
        found[phase] = {"small": small, "large": large, "taken": taken}
    run("lvremove", "--yes", pool)
    return found


def on_linear() -> dict[str, float]:
    run("lvcreate", "--yes", "--wipesignatures=n", "--size=4g", "--name=volume", GROUP)
    found = {"small": write(f"{GROUP}/volume", SMALL)["iops"]}
    found["large"] = write(f"{GROUP}/volume", (*LARGE, "--offset=1g"))["bw_bytes"]
    run("lvremove", "--yes", f"{GROUP}/volume")
    return found


def main() -> None:
    disk, rounds = sys.argv[1], int(sys.argv[2])
    run("pvcreate", "--yes", disk)
    run("vgcreate", GROUP, disk)
    # Everything that is measured lies on blocks that the emulated disk has already.
    run("lvcreate", "--yes", "--wipesignatures=n", "--size=5g", "--name=all", GROUP)
    run("dd", "if=/dev/zero", f"of=/dev/{GROUP}/all", "bs=4M", "count=1280", "oflag=direct", "status=none")
    run("lvremove", "--yes", f"{GROUP}/all")
    found: dict[str, list[dict[str, float]]] = {}
    for _round in range(rounds):
        found.setdefault("linear", []).append(on_linear())
        for chunk in CHUNKS:
            for zero in (False, True):
                pool = f"{chunk // KIB}K, {'zeroed' if zero else 'not zeroed'}"
                for phase, figures in on_thin(chunk, zero).items():
                    found.setdefault(f"{pool}: {phase}", []).append(figures)
    run("vgremove", "--yes", GROUP)
    run("pvremove", "--yes", disk)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
