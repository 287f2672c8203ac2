# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.
"""Disks by rule: which of a host's disks a rule means, and what speaks for and against each."""

from __future__ import annotations

import fnmatch
import re
import shlex
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human, option, parse_bytes

WORD = "disks"  # that a rule begins with; no path does
_TERM = re.compile(r"(?P<key>[a-z]+)(?P<sign>>=|<=|=)(?P<value>.+)", re.DOTALL)
_KNOWN = (
    "size>=SIZE, size<=SIZE, model=PATTERN, bus=NAME, rotational=yes or no, path=PATTERN, id=PATTERN, count=N, but=N"
)
_BUSES = ("ata", "mmc", "nvme", "scsi", "usb", "virtio", "xen")


@dataclass(frozen=True)
class Disk:
    """A whole disk of the host, as the kernel and udev know it."""

    path: str  # /dev/NAME
    size: int = 0  # bytes
    model: str = ""
    bus: str = ""  # empty: not known
    rotational: bool = False
    paths: tuple[str, ...] = ()  # names under /dev/disk/by-path
    ids: tuple[str, ...] = ()  # names under /dev/disk/by-id

    @property
    def order(self) -> tuple:
        """Larger disks come first; else what the place and the disk are called, which no boot changes."""
        return (-self.size, self.paths, self.ids, self.path)


@dataclass(frozen=True)
class Rule:
    """What is asked of a disk, and how many are taken of those that have it."""

    text: str
    smallest: int = 0  # bytes
    largest: int = 0  # 0: of any size
    patterns: tuple[tuple[str, str], ...] = ()  # model, path, id: each a pattern of the shell
    bus: str = ""
    rotational: bool | None = None
    count: int = 0  # 0: all
    but: int = 0  # how many blank ones are left

    def against(self, disk: Disk) -> list[str]:
        """Return what the rule has against a disk; empty where it means it."""
        reasons = []
        if disk.size < self.smallest:
            reasons.append(f"has {human(disk.size)}, and size>= wants {human(self.smallest)}")
        if 0 < self.largest < disk.size:
            reasons.append(f"has {human(disk.size)}, and size<= allows {human(self.largest)}")
        if self.bus and disk.bus != self.bus:
            reasons.append(f"is on the bus {disk.bus or '(not known)'}, not {self.bus}")
        if self.rotational is not None and disk.rotational != self.rotational:
            reasons.append("is said to turn by the kernel" if disk.rotational else "is said not to turn by the kernel")
        for key, pattern in self.patterns:
            names = {"model": (disk.model,), "path": disk.paths, "id": disk.ids}[key]
            if not any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names):
                reasons.append(f"has the {key} {', '.join(filter(None, names)) or '(none)'}, not {pattern}")
        return reasons


@dataclass
class Judgement:
    """Whether a disk is taken, and why, or why not."""

    disk: Disk
    taken: bool = False
    reasons: list[str] = field(default_factory=list)


def is_rule(text: str) -> bool:
    return text.split()[:1] == [WORD]


def parse(text: str) -> Rule:
    """Return a rule as it is written: "disks size>=100g bus=nvme but=1"."""
    try:
        words = shlex.split(text)[1:]
    except ValueError as error:
        raise RefusedError(f"{text!r} is no rule for disks: a quotation mark is open") from error
    found: dict[str, t.Any] = {"text": text}
    patterns: list[tuple[str, str]] = []
    seen = set()
    for word in words:
        term = _TERM.fullmatch(word)
        key = term["key"] + term["sign"] if term else ""
        if key in seen:
            raise RefusedError(f"{text!r} is no rule for disks: {key} stands in it twice")
        seen.add(key)
        if term is None or not _put(found, patterns, key, term["value"]):
            raise RefusedError(f"{text!r} is no rule for disks: {word!r} is none of {_KNOWN}")
    if found.get("count") and found.get("but"):
        raise RefusedError(f"{text!r} is no rule for disks: count and but exclude each other")
    return Rule(patterns=tuple(patterns), **found)


def _put(found: dict[str, t.Any], patterns: list[tuple[str, str]], key: str, value: str) -> bool:
    """Put a term of a rule among those found; return whether it is one."""
    if key in ("size>=", "size<="):
        found["smallest" if key == "size>=" else "largest"] = option(key, parse_bytes, value)
    elif key in ("model=", "path=", "id="):
        patterns.append((key[:-1], value))
    elif key == "bus=" and value in _BUSES:
        found["bus"] = value
    elif key == "rotational=" and value in ("yes", "no"):
        found["rotational"] = value == "yes"
    elif key in ("count=", "but=") and re.fullmatch("[1-9][0-9]{0,2}", value):
        found[key[:-1]] = int(value)
    else:
        return False
    return True


def resolve(
    rules: t.Sequence[Rule],
    disks: t.Iterable[Disk],
    *,
    members: t.Container[str],
    named: t.Container[str] = (),
    refusals: t.Callable[[Disk], list[str]],
) -> list[Judgement]:
    """Return every disk of the host, with whether the rules take it.

    ``members`` are the paths of the group's devices, which stay; ``named`` those that are named beside the rules.
    ``refusals`` tells why a disk may not be taken by anybody, and is asked of those alone that a rule means.
    """
    judged = {disk.path: Judgement(disk) for disk in sorted(disks, key=lambda disk: disk.order)}
    for judgement in judged.values():
        if judgement.disk.path in named:
            judgement.reasons.append("is named")
    known: dict[str, list[str]] = {}
    for rule in rules:
        meant, blank = [], []
        for judgement in judged.values():
            path = judgement.disk.path
            if judgement.taken or path in named:
                continue
            against = rule.against(judgement.disk)
            if not against and path in members:
                meant.append(judgement)
                judgement.reasons = ["is in the volume group"]
            elif not against:
                if path not in known:
                    known[path] = refusals(judgement.disk)
                against = known[path]
                if not against:
                    blank.append(judgement)
            judgement.reasons += [reason for reason in against if reason not in judgement.reasons]
        taken = _number(rule, len(meant), len(blank))
        for judgement in meant:
            judgement.taken = True
        for judgement in blank[:taken]:
            judgement.taken, judgement.reasons = True, ["is free, and as the rule wants it"]
        for judgement in blank[taken:]:
            judgement.reasons.append(
                f"is left, since but={rule.but} leaves that many" if rule.but else f"is more than count={rule.count}"
            )
    return list(judged.values())


def _number(rule: Rule, members: int, blank: int) -> int:
    """Return how many blank disks a rule takes; members of the group count first."""
    if rule.count:
        return max(0, min(blank, rule.count - members))
    return max(0, blank - rule.but)


def check(
    rules: t.Sequence[Rule], judged: t.Sequence[Judgement], *, vg: str, members: t.Collection[str], grows: bool
) -> None:
    """Refuse rules that take no disk, or too few, or others than those that are in the group already.

    ``grows`` tells that more disks were asked for.
    """
    taken = [judgement.disk.path for judgement in judged if judgement.taken]
    told = (
        "; ".join(f"{judgement.disk.path} {' and '.join(judgement.reasons)}" for judgement in judged) or "there is none"
    )
    words = " and ".join(repr(rule.text) for rule in rules)
    if not taken:
        raise RefusedError(f"no disk of this host is taken by {words}: {told}")
    wanted = sum(rule.count for rule in rules)
    if all(rule.count for rule in rules) and len(taken) < wanted and not members:
        raise RefusedError(f"{len(taken)} disks of this host are taken by {words}, not {wanted}: {told}")
    new = [path for path in taken if path not in members]
    if members and new and not grows:
        raise RefusedErrors(
            f"{path} is taken by {words} and was not when volume group {vg} was made: a disk that came is added by the "
            "playbook grow, which asks for it; else narrow the rule"
            for path in new
        )
