# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Points in time as users and log files write them, in seconds since 1970."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

# systemd.time(7), "Parsing time spans"; M is months, m is minutes.
_UNITS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
    "M": 2629800, "month": 2629800, "months": 2629800,
    "y": 31557600, "year": 31557600, "years": 31557600,
}  # fmt: skip
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?P<fraction>[.,]\d+)?)?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
)


def iso_seconds(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, now: float) -> float | None:
    """Return a point in time, in seconds since 1970: journalctl's words, ISO 8601 or a number; None if it is none.

    journalctl learned ISO 8601 with "T" and zones only in systemd 254.
    """
    text = text.strip()
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        # By the calendar, not by 24 hours: the day before a change of the clocks is longer or shorter.
        midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=1 if text == "yesterday" else 0)).timestamp()
    if re.fullmatch(r"@?\d+(\.\d+)?", text):
        return float(text.lstrip("@"))
    match = _MOMENT.fullmatch(text)
    if match:
        return _from_iso(match)
    if text.startswith("-"):
        span = _span(text[1:])
    elif text.endswith(" ago"):
        span = _span(text[: -len(" ago")])
    else:
        return None
    return None if span is None else now - span


def _span(text: str) -> float | None:
    text, seconds = text.strip(), 0.0
    if not text or _SPAN.sub("", text):
        return None
    for number, unit in _SPAN.findall(text):
        if unit not in _UNITS:
            return None
        seconds += float(number) * _UNITS[unit]
    return seconds


def _from_iso(match: re.Match[str]) -> float | None:
    clock = match["clock"] or "00:00"
    zone = match["zone"] or ""
    try:
        # Without a zone it is the host's own time, as for journalctl.
        found = datetime.strptime(
            f"{match['day']} {clock}", f"%Y-%m-%d {'%H:%M:%S' if clock.count(':') > 1 else '%H:%M'}"
        )
        if zone in ("Z", "UTC"):
            found = found.replace(tzinfo=timezone.utc)
        elif zone:
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            found = found.replace(tzinfo=timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes)))
        return found.timestamp() + float("0" + (match["fraction"] or ".0").replace(",", "."))
    except (ValueError, OverflowError):  # February 30th
        return None


def iso_microseconds(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
