# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/performance.md, from what bench.py measured."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

WAYS = {
    "manual": "the manual's commands, typed over one ssh connection",
    "peer": "the usual role: `lvg`, `lvol` and commands",
    "ours": "`direct_lvm`",
}
RUNS = {"first": "first run", "converged": "second run, nothing to do", "disk": "a disk was added"}
MIB = 1024 * 1024
ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run took: wall time and the host's processor time, in seconds; module calls and programs started on the
    host; bytes on its network.
    """

    seconds: float
    processor: float
    modules: int
    programs: int
    bytes: int

    def less(self, other: Cost) -> Cost:
        """Return what is left without what measuring itself adds: its own module calls, programs and bytes."""
        return dataclasses.replace(
            self,
            modules=self.modules - other.modules,
            programs=self.programs - other.programs,
            bytes=self.bytes - other.bytes,
        )


@dataclasses.dataclass(frozen=True)
class Spent:
    """Seconds on the controller: wall time, and processor time of all its processes."""

    wall: float
    processor: float


Peers = t.Dict[str, t.Dict[str, Cost]]
Fleet = t.Dict[str, t.Dict[str, Spent]]
Chunks = t.Dict[str, t.List[t.Dict[str, float]]]


def table(head: list[str], rows: list[list[str]]) -> str:
    # Figures stand at the right, under each other.
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times(more: float, less: float) -> str:
    return f"{more / less:.1f}" if less else "-"


def peers(found: Peers) -> str:
    """Return the section on one host."""
    rows = [
        [
            f"{text}: {WAYS[way]}",
            f"{cost.seconds:.1f} s",
            f"{cost.processor:.1f} s",
            str(cost.modules) if way != "manual" else "-",
            str(cost.programs),
            f"{cost.bytes / 1024:.0f} KiB",
        ]
        for run, text in RUNS.items()
        for way in WAYS
        for cost in [found[way].get(run)]
        if cost
    ]
    ratios = [
        [
            text,
            times(found["peer"][run].seconds, found["ours"][run].seconds),
            times(found["peer"][run].processor, found["ours"][run].processor),
            times(found["peer"][run].modules, found["ours"][run].modules),
            times(found["peer"][run].programs, found["ours"][run].programs),
            times(found["peer"][run].bytes, found["ours"][run].bytes),
        ]
        for run, text in RUNS.items()
    ]
    head = ["", "wall time", "processor time", "module calls", "programs started", "network"]
    return f"""\
## One host

{table(head, rows)}

How many times as much the usual role takes as `direct_lvm`:

{table(head, ratios)}

All three make the same pool on one virtual machine, one after the other in each of {ROUNDS} rounds, and it is blank
again before each; a figure is that of the middle round. The packages are there before. The usual role is
`tests/tools/bench/peer.yml`: the modules of `community.general`, everything else a command behind a condition, no
facts gathered, and one question to Docker at its end. It does less than `direct_lvm`: it looks at no disk before it
takes it, does not resume what was interrupted, leaves the metadata as small as it was when a disk is added, and has
nothing that activates the pool at a boot. Both run with the same ansible-core, over ssh with pipelining. The
processor time is that of the whole virtual machine. Module calls are counted on the host by the `sudo` that each
begins with, programs by the kernel's process events, and the network by the counters of its interface, in both
directions, with the connection itself.

Not compared: the storage role of linux-system-roles and container-storage-setup, which come neither with the package
`ansible` of PyPI, from which `community.general` is taken here, nor with Debian.
"""


def fleet(found: Fleet) -> str:
    """Return the section on many hosts."""
    rows = [
        [
            "2 virtual machines" if name == "2 guests" else f"{name} stand-in{'s' if number_of(name) > 1 else ''}",
            *(
                text
                for way in ("peer", "ours")
                for spent in [found[way][name]]
                for text in (f"{spent.wall:.1f} s", f"{spent.processor / number_of(name):.2f} s")
            ),
        ]
        for name in found["ours"]
    ]
    head = ["hosts", "usual role", "processor time per host", "`direct_lvm`", "processor time per host"]
    return f"""\
## Many hosts, nothing to do

{table(head, rows)}

The stand-ins are hosts behind a connection that gives at once the answers that a virtual machine gave to the same
play: what is left is the work of the machine that runs Ansible, with 20 forks. The processor time is that of all
its processes, divided by the hosts. `direct_lvm` checks every variable of each host before the host is asked, which
the usual role does not. What its fewer calls save the hosts is seen on the virtual machines alone.
"""


def number_of(name: str) -> int:
    return int(name.split()[0])


def chunks(found: Chunks) -> str:
    """Return the section on how fast a pool is."""
    rounds = len(found["linear"])
    middle = {
        name: {figure: statistics.median(one[figure] for one in several) for figure in several[0]}
        for name, several in found.items()
    }
    linear = middle["linear"]
    of_rounds = f"Each figure is the middle one of {rounds} rounds." if rounds > 1 else "It was one round."
    phases = ("first write", "rewrite", "write after a snapshot")
    pools = list(dict.fromkeys(name.partition(": ")[0] for name in found if name != "linear"))

    def rows(cell: t.Callable[[dict[str, float]], str]) -> list[list[str]]:
        return [[pool, *(cell(middle[f"{pool}: {phase}"]) for phase in phases)] for pool in pools]

    head = ["chunks", *phases]
    small = table(head, rows(lambda one: f"{one['small'] / linear['small']:.2f}"))
    large = table(head, rows(lambda one: f"{one['large'] / linear['large']:.2f}"))
    taken = table(head, rows(lambda one: f"{one['taken'] / MIB:.0f} MiB"))
    return f"""\
## The pool itself: size of chunks and zeroing

Small writes, as a part of what a linear volume on the same disk does in the same time:

{small}

Large writes, in the same way:

{large}

What the small writes, 16 MiB in all, took from the pool:

{taken}

Small writes are 4096 of 4 KiB each, at random places of 1 GiB; large ones are 1 MiB each, 256 of them in a row.
Both go to the disk directly, one at a time, by fio. The second time they go to the same places, and the third time
too, after a snapshot was taken: as a container writes to files of its image. {of_rounds} The disk is
a file, so these are ratios between ways through the device mapper, and no figures of a disk: a spinning disk pays
more for every place it must go to, and a fast one less for every chunk that is copied.
"""


RUN_BY = {"kvm": "with KVM", "uml": "on User-Mode Linux", "tcg": "with emulated processors"}


def page(sections: list[str], accelerator: str, versions: dict[str, str]) -> str:
    """Return the whole page."""
    machines = f"virtual machines of Debian 12 {RUN_BY[accelerator]}"
    names = " and ".join(f"{name} {version}" for name, version in versions.items())
    return f"""\
# How fast it is

Written by `make bench`, which measured all of this on {machines},
with {names}. Compare figures of one table with each other, and with nothing
else: what counts is how many things are done.

{chr(10).join(sections)}"""
