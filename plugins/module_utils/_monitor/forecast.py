# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""How long a pool has got: from how it grew, as the exporter has kept it, and from what it can still become. Pure."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human

HISTORY = "/var/lib/thin-pool-monitor/state.json"  # where the exporter keeps it
HOUR, DAY = 3600, 86400
# A minute apart for an hour, a quarter of an hour apart for a day before that: some 170 points at most.
_FINE, _COARSE = 55, 14 * 60
_OLDEST = HOUR + DAY
# For each window how much time its points must span before it says anything, and for how long up to now it must have
# gone on: an image that was pulled half an hour ago fills nothing. A day has its nights.
_WINDOWS = ((HOUR, 10 * 60, 15 * 60), (DAY, 6 * HOUR, DAY))
_FEWEST = 5  # points

WARNING, CRITICAL = DAY, 4 * HOUR  # from how little time left on it is a reason

# Seconds since 1970, and the bytes of data and of metadata that were in use.
Point = t.Tuple[float, float, float]


@dataclass(frozen=True)
class Forecast:
    """What becomes of one half of a pool if it goes on as it did."""

    part: str  # data or metadata
    seconds: float  # from when it was asked until nothing is left of what it can become
    rate: float  # bytes a second
    window: int  # seconds that the rate is from

    @property
    def severity(self) -> str:
        """How bad it is; empty where there is time."""
        return "critical" if self.seconds < CRITICAL else "warning" if self.seconds < WARNING else ""

    @property
    def words(self) -> str:
        return f"in about {in_words(self.seconds)} at {human(round(self.rate * HOUR))}/h"


def in_words(seconds: float) -> str:
    """Return a span of time for a person, in the largest unit that it has two of."""
    for unit, length in (("days", DAY), ("h", HOUR), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def read(path: str, pool: str) -> list[Point]:
    """Return what the exporter has kept of a pool; nothing where it has not run, or left no such thing."""
    kept = files.load(path).get("history")
    return valid(kept.get(pool)) if isinstance(kept, dict) else []


def valid(rows: t.Any) -> list[Point]:
    """Return rows as points, in their order; none where they are not."""
    try:
        points = [(float(at), float(data), float(metadata)) for at, data, metadata in rows]
    except (TypeError, ValueError):
        return []
    is_right = all(math.isfinite(number) for point in points for number in point)
    return points if is_right and points == sorted(points, key=lambda point: point[0]) else []


def keep(points: t.Iterable[Point], new: Point) -> list[Point]:
    """Return the points to keep, with a new one: the older, the fewer."""
    found: list[Point] = []
    for point in [*(one for one in points if new[0] - _OLDEST <= one[0] < new[0]), new]:
        apart = _FINE if point[0] > new[0] - HOUR else _COARSE
        if not found or point[0] - found[-1][0] >= apart:
            found.append(point)
    return found


def of(points: t.Sequence[Point], part: str, room: float, now: float) -> Forecast | None:
    """Return when a half has used up the bytes that it can have more, by the faster growth of hour and day.

    What has slowed down within the hour counts as it is now. None where too little is known, or it does not grow.
    """
    column = 1 if part == "data" else 2
    rates = []
    for window, least, lately in _WINDOWS:
        within = [(point[0], point[column]) for point in points if now - window <= point[0] <= now]
        if len(within) >= _FEWEST and within[-1][0] - within[0][0] >= least:
            late = [one for one in within if one[0] >= now - lately]
            rates.append((min(_slope(one) for one in (within, late) if len(one) >= _FEWEST), window))
    rate, window = max(rates, default=(0.0, 0))
    return Forecast(part, max(room, 0.0) / rate, rate, window) if rate > 0 else None


def _slope(points: t.Sequence[tuple[float, float]]) -> float:
    """Return the growth a second that fits points best (least squares)."""
    middle, level = (sum(point[at] for point in points) / len(points) for at in (0, 1))
    spread = sum((at - middle) ** 2 for at, _value in points)
    return sum((at - middle) * (value - level) for at, value in points) / spread


def attainable(extents: int, free: int, percent: int) -> int:
    """Return how many extents a pool comes to by itself: all or nothing at each step, and rounded up, as LVM does."""
    step = -(-extents * percent // 100)
    while 0 < step <= free:
        extents, free = extents + step, free - step
        step = -(-extents * percent // 100)
    return extents
