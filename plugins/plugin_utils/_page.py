# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The page of a fleet: what the hosts answered in, cards sorted by danger, one HTML file out. Pure.

Names and messages come from the hosts and may hold anything. The template escapes all that it is given
(``autoescape``), and what no HTML file may hold is replaced before (``clean``), so neither is left to its author.
The page's few lines of script are the template's own, and its policy runs no others: it names them by their hash.
Neither is the form of an answer relied on: what is of another type than it should be is not known, so much of each list
and text is shown, and a host whose answer makes no sense at all has a card that says so.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import typing as t
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import forecast, remedies
from ansible_collections.devicemapper.containers.plugins.plugin_utils import _untrusted as untrusted
from ansible_collections.devicemapper.containers.plugins.plugin_utils._page_parts import (
    ORDER,
    VERDICTS,
    Card,
    Gauge,
    Happening,
    Holder,
    TimeLeft,
    TimeLine,
    Why,
)

TEMPLATE = Path(__file__).with_name("page.html.j2")

_TROUBLE = ("error", "critical", "emergency")
# What a holder is, in words; of thin_pool_usage_info's kinds.
_KINDS = {
    "container": "container",
    "container_init": "layer below a container",
    "image_layer": "image layer",
    "base": "base of all images",
    "snapshot": "snapshot",
    "volume": "LVM volume",
    "record": "record without a container",
}
# Of the width of a time line, in percent: its margins, so that marks at the ends are whole, and the room of a mark on
# the narrowest screen.
_MARGIN, _MARK = 4.0, 7.5
_LANES = 6

Answer = untrusted.Answer


# --- From answers to cards --------------------------------------------------------------------------------------------


_MOST_POOLS = 200  # of a host that are shown at most


def cards_of(host: str, check: t.Any, usage: t.Any) -> list[Card]:
    """Return the cards of one host: one for each pool, and one for what is wrong with all of it."""
    try:
        return _cards_of(host, check, usage)
    except Exception as error:
        # Of whichever kind: the page is of all hosts, and one of them has answered this.
        reason = f"what it answered makes no sense ({type(error).__name__})"
        return [Card(host, "", "unknown", reason, was_asked=False)]


def _cards_of(host: str, check: t.Any, usage: t.Any) -> list[Card]:
    pools = check.get("pools") if isinstance(check, t.Mapping) else None
    if not isinstance(pools, t.Sequence) or isinstance(pools, str):
        return [Card(host, "", "unknown", _why_not(check), was_asked=False)]
    asked = _minute(check.get("time"), seconds=True)
    cards = [_of_pool(host, pool, check, _usage_of(usage, pool), asked) for pool in untrusted.some(pools, _MOST_POOLS)]
    left_out = len(pools) - len(cards)
    cards = [replace(card, asked_at=_moment(check.get("time"))) for card in cards]
    if left_out:
        sentence = f"of {left_out} more things that it calls pools nothing is shown"
        cards.append(Card(host, "", "unknown", sentence, asked=asked))
    reasons = _reasons(host, check)
    if reasons or not cards:
        verdict = min((reason.verdict for reason in reasons), key=ORDER.index, default="unknown")
        sentence = reasons[0].message if reasons else "no thin pool was found"
        first = reasons[0] if reasons else Why(verdict, sentence)
        cards.append(Card(host, "", verdict, sentence, first.command, first.guide, reasons=reasons[1:], asked=asked))
    return cards


# What ansible-core 2.19 and later put before what a module or a connection said.
_PREFIX = re.compile(r"\A(?:(?:Task|Action|Module) failed: )+")


def _why_not(check: t.Any) -> str:
    """Return why a host gave no answer, as Ansible put it."""
    if not isinstance(check, t.Mapping) or not check:
        return "it was not asked: see what Ansible printed of it"
    message = _PREFIX.sub("", untrusted.text(check.get("msg")).strip())
    # A module that died without a word of its own leaves that in its output.
    crash = str(check.get("module_stderr") or check.get("exception") or "")[-untrusted.LONGEST :].strip().splitlines()
    if crash and "stdout/stderr" in message:
        message = f"{message.splitlines()[0]} ({crash[-1]})"
    start = "it cannot be reached" if check.get("unreachable") else "it was asked, and did not answer"
    return f"{start}: {message}" if message else start


def _reasons(host: str, of: Answer) -> tuple[Why, ...]:
    return tuple(
        Why(
            _verdict(reason.get("severity")),
            untrusted.text(reason.get("message")),
            untrusted.copyable(host, untrusted.text(reason.get("command"))),
            # Ours by the kind, and not what the host says: it becomes a link.
            remedies.guide(untrusted.text(reason.get("kind"))),
        )
        for reason in untrusted.some(of.get("reasons"))
    )


def _verdict(word: t.Any) -> str:
    return word if isinstance(word, str) and word in VERDICTS else "unknown"


def _of_pool(host: str, pool: Answer, check: Answer, usage: Answer | None, asked: str) -> Card:
    limits, autoextend = untrusted.answer(check.get("limits")), untrusted.answer(pool.get("autoextend"))
    extent, threshold = (
        untrusted.number(autoextend.get("extent_size")) or 0,
        untrusted.number(autoextend.get("threshold")),
    )
    threshold = 100 if threshold is None else threshold
    free = untrusted.number(autoextend.get("free"))

    def gauge(part: str) -> Gauge:
        name = part.lower()
        needed = untrusted.number(autoextend.get(f"{name}_needed"))
        possible = autoextend.get(f"{name}_possible")
        return Gauge(
            part,
            percent=untrusted.number(pool.get(f"{name}_percent")),
            size=untrusted.number(pool.get("size" if name == "data" else "metadata_size")),
            warning=untrusted.number(limits.get(f"{name}_warning")),
            critical=untrusted.number(limits.get(f"{name}_critical")),
            threshold=threshold if threshold < 100 else None,
            needed=None if needed is None else needed * extent,
            possible=possible if isinstance(possible, bool) else None,
            has_room=needed is None or free is None or needed <= free,
        )

    usage = untrusted.answer(usage)
    size = untrusted.number(pool.get("size"))
    reasons = _reasons(host, pool)
    devices = untrusted.some(usage.get("devices"))
    # LVM does not know a pool without a size: there is nothing to measure.
    gauges = () if size is None else (gauge("Data"), gauge("Metadata"))
    if not gauges or (threshold < 100 and any(half.needed is None for half in gauges)):
        free = None
    return Card(
        host=host,
        pool=untrusted.text(f"{pool.get('vg')}/{pool.get('name')}"),
        verdict=_verdict(pool.get("verdict")),
        sentence=untrusted.text(pool.get("sentence")),
        command=reasons[0].command if reasons else "",
        guide=reasons[0].guide if reasons else "",
        reasons=reasons[1:],
        gauges=gauges,
        vg=untrusted.text(pool.get("vg")),
        free=None if free is None else free * extent,
        autoextends=None if free is None else threshold < 100,
        holders=tuple(_holder(device, size) for device in devices),
        devices=int(untrusted.number(usage.get("total")) or len(devices)),
        no_holders=untrusted.text(usage.get("msg")),
        orphans=_orphans_of(host, pool.get("vg"), pool.get("name")),
        times_left=_times_left(pool.get("forecasts")),
        time_line=_time_line(untrusted.some(pool.get("events")), check.get("since"), check.get("time")),
        asked=asked,
    )


def _usage_of(usage: t.Any, pool: Answer) -> Answer | None:
    """Return what holds a pool, or a message why that is not known; nothing where nobody asked."""
    for result in untrusted.some(untrusted.answer(usage).get("results")):
        item = result.get("item")
        if isinstance(item, t.Mapping) and all(item.get(key) == pool.get(key) for key in ("vg", "name")):
            found = untrusted.some(result.get("thin_pools"), 1)
            if found:
                return t.cast(Answer, found[0])
            return None if result.get("skipped") else {"msg": _why_not(result)}
    return None


_LONGEST = 10 * 365 * forecast.DAY  # what is later than this is no forecast


def _times_left(forecasts: t.Any) -> tuple[TimeLeft, ...]:
    found = []
    for one in untrusted.some(forecasts, 2):
        part = one.get("part")
        seconds, rate = (untrusted.number(one.get(key)) for key in ("full_in", "rate"))
        if part in ("data", "metadata") and seconds is not None and rate is not None and 0 <= seconds < _LONGEST:
            told = forecast.Forecast(part, seconds, rate, 0)
            found.append(TimeLeft(part, seconds, told.severity or "ok", told.words))
    return tuple(sorted(found, key=lambda one: one.seconds))


def _orphans_of(host: str, vg: t.Any, name: t.Any) -> str:
    """Return the command that tells of devices on nobody's record, and changes nothing; empty for odd names."""
    if not untrusted.is_plain(host, vg, name):
        return ""
    of_pool = (f"reclaim_vg={vg}", f"reclaim_pool={name}")
    return f"{remedies.Whose(host).playbook('reclaim', *of_pool)} --check"


def _holder(device: Answer, size: float | None) -> Holder:
    owner = untrusted.answer(device.get("owner"))
    exclusive, mapped = (untrusted.number(device.get(key)) for key in ("exclusive", "mapped"))
    sizes = tuple("?" if number is None else human(number) for number in (exclusive, mapped))
    percent = None
    if exclusive is not None and size is not None and size > 0:
        percent = min(max(100 * exclusive / size, 0.0), 100.0)
    if not owner:
        return Holder(
            untrusted.text(f"device {device.get('device_id')}"), "nobody's", "", sizes[0], sizes[1], percent, True
        )
    kind = untrusted.text(owner.get("kind"))
    images = owner.get("images")
    return Holder(
        untrusted.text(owner.get("name") or owner.get("id") or f"device {device.get('device_id')}"),
        _KINDS.get(kind, kind),
        untrusted.text(", ".join(str(image) for image in images[: untrusted.MOST]))
        if isinstance(images, (list, tuple))
        else "",
        sizes[0],
        sizes[1],
        percent,
    )


# --- Time -------------------------------------------------------------------------------------------------------------


def _moment(text: t.Any) -> float | None:
    """Return a point in time as modules write it, None where it is not one."""
    try:
        return datetime.strptime(str(text)[:40], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None


def _minute(text: t.Any, *, seconds: bool = False) -> str:
    """Return a point in time for a person; what is none is returned as it is."""
    if _moment(text) is None:
        return untrusted.text(text)[:40]
    return str(text).replace("T", " ")[: 19 if seconds else 16]


def _time_line(events: t.Iterable[Answer], since: t.Any, until: t.Any) -> TimeLine | None:
    """Return what a person wants to know of: all but pieces of information, and that a pool came back."""
    told = [event for event in events if event.get("severity") != "info" or event.get("kind") == "recovered"]
    if not told:
        return None
    moments = [moment for event in told for moment in (_moment(event.get("first")), _moment(event.get("last")))]
    known = [moment for moment in moments if moment is not None]
    end = _moment(until) or max(known, default=0.0)
    # Where the period is not known, an hour, or as long as it takes to show all.
    start = _moment(since) or end
    start = start if start < end else min([*known, end - 3600])
    free = [0.0] * _LANES  # where each lane is free again

    def place(moment: float | None) -> float | None:
        if moment is None:
            return None
        share = min(max((moment - start) / (end - start), 0.0), 1.0)
        return round(_MARGIN + (100 - 2 * _MARGIN) * share, 2)

    found = []
    for number, event in enumerate(told, 1):
        last = place(_moment(event.get("last")))
        first = place(_moment(event.get("first"))) if event.get("first") else last
        lane = 0
        if last is not None:
            first = last if first is None else min(first, last)
            lane = next((lane for lane in range(_LANES) if free[lane] <= first), free.index(min(free)))
            free[lane] = last + _MARK
        severity = untrusted.text(event.get("severity"))
        found.append(
            Happening(
                number,
                untrusted.text(event.get("kind")).replace("_", " "),
                "trouble" if severity in _TROUBLE else "warning" if severity == "warning" else "notice",
                severity,
                int(untrusted.number(event.get("count")) or 1),
                _minute(event.get("first")),
                _minute(event.get("last"), seconds=True),
                untrusted.text(event.get("message")),
                bool(event.get("named", True)),
                first,
                last,
                lane,
            )
        )
    return TimeLine(tuple(found), _ticks(start, end))


def _ticks(start: float, end: float) -> tuple[tuple[float, str, str], ...]:
    whole = "%Y-%m-%d %H:%M"
    days = start // 86400 != end // 86400
    texts = (
        (_MARGIN, start, whole, "start"),
        (50.0, (start + end) / 2, "%m-%d %H:%M" if days else "%H:%M", "middle"),
        (100 - _MARGIN, end, "%m-%d %H:%M" if days else "%H:%M", "end"),
    )
    return tuple(
        (at, datetime.fromtimestamp(moment, timezone.utc).strftime(form), anchor) for at, moment, form, anchor in texts
    )


# --- From cards to the page -------------------------------------------------------------------------------------------

# What no HTML file may hold: controls, halves of surrogate pairs (which Ansible makes of bytes that are no UTF-8), and
# noncharacters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def clean(value: t.Any) -> t.Any:
    """Return what the template is about to write, without what no HTML file may hold; it is escaped after this."""
    if isinstance(value, Markup):  # the template's own
        return value
    return "" if value is None else _FORBIDDEN.sub("\ufffd", str(value))


def check(answers: t.Any, generated: t.Any, title: t.Any) -> None:
    """Raise ValueError, with the sentence for the user, where the page cannot be made of these."""
    if isinstance(answers, (str, t.Mapping)) or not isinstance(answers, t.Sequence):
        raise ValueError(f"the page needs a list with an entry for each host, not {answers!r:.80}")
    for answer in answers:
        if not isinstance(answer, (list, tuple)) or len(answer) != 3 or not isinstance(answer[0], str):
            raise ValueError(
                "the page needs for each host a list of its name, what thin_pool_check_info answered, and what "
                f"thin_pool_usage_info answered, not {answer!r:.80}"
            )
    if _moment(generated) is None:
        raise ValueError(
            f"'generated' must be the time at which the page is made, like 2026-11-23T10:00:00Z, not {generated!r:.80}"
        )
    if not isinstance(title, str) or not title.strip():
        raise ValueError(f"'title' must be a text, not {title!r:.80}")


_SCRIPT = re.compile("<script>(.*)</script>", re.DOTALL)


@functools.lru_cache(maxsize=None)
def _template() -> Template:
    environment = Environment(
        autoescape=True, finalize=clean, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["human"] = human
    text = TEMPLATE.read_text(encoding="utf-8")
    (script,) = _SCRIPT.findall(text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals["script_hash"] = f"sha256-{digest}"
    environment.globals["orphans_guide"] = f"{remedies.GUIDES}/reclaim.md#devices-that-nobody-has-on-record"
    return environment.from_string(text)


def _age(card: Card, written: float | None) -> str:
    """Return how old an answer is when the page is written; empty where a clock goes wrong, or it is not known."""
    if card.asked_at is None or written is None or written < card.asked_at:
        return ""
    return forecast.in_words(written - card.asked_at)


def render(answers: t.Iterable[t.Sequence[t.Any]], *, generated: str, title: str) -> str:
    """Return the page for what hosts answered: name, result of thin_pool_check_info, results of the usage."""
    by_host = {str(host): cards_of(str(host), check, usage) for host, check, usage in answers}
    unnumbered = sorted((card for cards in by_host.values() for card in cards), key=lambda card: card.danger)
    written = _moment(generated)
    cards = [replace(card, id=f"card{number}", age=_age(card, written)) for number, card in enumerate(unnumbered, 1)]
    groups = [(word, shown, [card for card in cards if card.verdict == word]) for word, shown in VERDICTS.items()]
    # The cards are sorted, so the first of a host is its worst.
    worst: dict[str, Card] = {}
    for card in cards:
        worst.setdefault(card.host, card)
    oldest = min((card for card in cards if card.age), key=lambda card: card.asked_at or 0, default=None)
    return _template().render(
        title=title,
        generated=_minute(generated, seconds=True),
        generated_iso=generated,
        oldest=oldest,
        words=VERDICTS,
        groups=groups,
        hosts=sorted(worst.items()),
        pools=sum(bool(card.pool) for card in cards),
        not_asked=sum(not card.was_asked for card in cards),
    )
