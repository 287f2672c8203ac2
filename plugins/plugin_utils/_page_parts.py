# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What the page of a fleet is made of: a card for each pool, and what stands on it, in the words of the page."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import forecast

# From bad to good, and what the page calls them.
VERDICTS = {"critical": "Critical", "unknown": "Not known", "warning": "Warning", "ok": "OK"}
ORDER = list(VERDICTS)


@dataclass(frozen=True)
class Gauge:
    """How full one half of a pool is, against its limits."""

    part: str  # Data or Metadata
    percent: float | None
    size: int | None
    warning: int | None
    critical: int | None
    threshold: int | None  # None: not known, or never extended
    needed: int | None  # bytes that the next extension takes
    possible: bool | None  # whether that can be made
    has_room: bool = True  # whether the group has what it takes, be it refused for another reason

    @property
    def level(self) -> str:
        if self.percent is None:
            return "unknown"
        if self.critical is not None and self.percent >= self.critical:
            return "critical"
        return "warning" if self.warning is not None and self.percent >= self.warning else "ok"

    @property
    def of_size(self) -> str:
        return "" if self.size is None else human(self.size)

    @property
    def width(self) -> float:
        return min(max(self.percent or 0.0, 0.0), 100.0)

    @property
    def sentence(self) -> str:
        """All of it for those who do not see the bar."""
        words = ["not known" if self.percent is None else f"{self.percent:.2f} percent"]
        if self.size is not None:
            words[0] += f" of {self.of_size}"
        words += [f"extended above {self.threshold}"] if self.threshold is not None else []
        words += [f"warning from {self.warning}"] if self.warning is not None else []
        words += [f"critical from {self.critical}"] if self.critical is not None else []
        return ", ".join(words)


@dataclass(frozen=True)
class Holder:
    """One device of a pool, by its owner."""

    name: str
    kind: str
    images: str
    exclusive: str
    mapped: str
    percent: float | None = None  # of the pool's size, what its removal would give back
    is_orphan: bool = False


@dataclass(frozen=True)
class Happening:
    """The events of one kind, and where they are on the time line."""

    number: int
    kind: str
    level: str  # trouble, warning or notice
    severity: str
    count: int
    first: str
    last: str
    message: str
    named: bool
    start: float | None = None  # in percent of the width; None: not on the line
    end: float | None = None
    lane: int = 0


@dataclass(frozen=True)
class TimeLine:
    """What happened to a pool, the latest last."""

    happenings: tuple[Happening, ...]
    ticks: tuple[tuple[float, str, str], ...]  # place, text, text-anchor

    @property
    def lanes(self) -> int:
        return 1 + max((one.lane for one in self.happenings), default=0)

    @property
    def is_drawn(self) -> bool:
        return any(one.end is not None for one in self.happenings)

    @property
    def sentence(self) -> str:
        return "; ".join(f"{one.number}: {one.kind}, {one.last}" for one in self.happenings)


@dataclass(frozen=True)
class TimeLeft:
    """When one half of a pool is full, if it grows as it did."""

    part: str  # data or metadata
    seconds: float
    level: str  # critical, warning or ok
    words: str

    @property
    def short(self) -> str:
        return forecast.in_words(self.seconds)


@dataclass(frozen=True)
class Why:
    """One thing that is wrong, and what helps."""

    verdict: str
    message: str
    command: str = ""
    guide: str = ""


@dataclass(frozen=True)
class Card:
    """What there is to say of one pool, or of a host as a whole where ``pool`` is empty."""

    host: str
    pool: str
    verdict: str
    sentence: str
    command: str = ""  # what helps, to be copied
    guide: str = ""
    reasons: tuple[Why, ...] = ()  # what else is wrong
    gauges: tuple[Gauge, ...] = ()
    vg: str = ""
    free: int | None = None  # bytes in the volume group
    autoextends: bool | None = None
    holders: tuple[Holder, ...] = ()
    devices: int = 0  # how many there are
    no_holders: str = ""  # why they could not be told
    orphans: str = ""  # the command that tells of those that nobody has on record
    times_left: tuple[TimeLeft, ...] = ()  # the shortest first
    time_line: TimeLine | None = None
    asked: str = ""
    asked_at: float | None = None  # seconds since 1970, by the host's clock
    age: str = ""  # of the answer, when the page was written
    was_asked: bool = True
    id: str = ""

    @property
    def has_more(self) -> bool:
        """Whether there is something to unfold."""
        return bool(self.reasons or self.time_line or self.holders or self.no_holders)

    @property
    def has_orphans(self) -> bool:
        return any(holder.is_orphan for holder in self.holders)

    @property
    def fullness(self) -> float:
        """How near to its end, where that is not known as near as can be."""
        known = [gauge.percent for gauge in self.gauges if gauge.percent is not None]
        return max(known, default=float("inf"))

    @property
    def danger(self) -> tuple:
        """The sorting key: those in most danger first, hosts that did not answer before others not known."""
        return (
            ORDER.index(self.verdict),
            self.was_asked,
            -self.fullness,
            all(gauge.possible is not False for gauge in self.gauges),
            self.host,
            self.pool,
        )
