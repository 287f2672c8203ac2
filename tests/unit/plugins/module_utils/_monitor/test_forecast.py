# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a pool's growth, and what is said of its future by that."""

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    exporter,
    exporter_install,
    forecast,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.forecast import DAY, HOUR, Forecast

NOW = 1795435200.0
MIB, GIB = 1024**2, 1024**3


def history(*spans, every=60):
    """Return points up to now: for each span, its seconds and how many bytes of data a second came in it."""
    points, used = [], 10 * GIB
    at = NOW - sum(seconds for seconds, _rate in spans)
    for seconds, rate in spans:
        for _step in range(seconds // every):
            at, used = at + every, used + rate * every
            points = forecast.keep(points, (at, used, used / 100))
    return points


@pytest.mark.parametrize(
    ("spans", "room", "seconds", "window"),
    [
        pytest.param([(HOUR, MIB)], 3600 * MIB, HOUR, HOUR, id="an-hour-of-even-growth"),
        pytest.param([(20 * 60, MIB)], 3600 * MIB, HOUR, HOUR, id="twenty-minutes"),
        pytest.param([(DAY, MIB)], 3600 * MIB, HOUR, DAY, id="a-day-of-even-growth"),
        pytest.param([(DAY, 0), (HOUR, MIB)], 3600 * MIB, HOUR, HOUR, id="it-has-just-begun"),
        pytest.param([(DAY - HOUR, MIB), (HOUR, 0)], 3600 * MIB, HOUR, DAY, id="it-rests-for-an-hour"),
        pytest.param([(HOUR, MIB)], 0, 0, HOUR, id="nothing-is-left"),
        pytest.param([(HOUR, MIB)], -GIB, 0, HOUR, id="less-than-nothing-is-left"),
    ],
)
def test_when_it_is_full_is_by_the_faster_growth(spans, room, seconds, window):
    found = forecast.of(history(*spans), "data", room, NOW)
    assert found.seconds == pytest.approx(seconds, rel=0.2)
    assert found.window == window


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([], id="nothing-is-known"),
        pytest.param(history((5 * 60, MIB)), id="too-short"),
        pytest.param(history((HOUR, MIB), every=900)[:4], id="too-few"),
        pytest.param(history((HOUR, 0)), id="it-does-not-grow"),
        pytest.param(history((HOUR, -MIB)), id="it-shrinks"),
        pytest.param([(at + DAY, data, metadata) for at, data, metadata in history((HOUR, MIB))], id="from-the-future"),
    ],
)
def test_nothing_is_said_where_too_little_is_known_or_nothing_grows(points):
    assert forecast.of(points, "data", GIB, NOW) is None


def test_what_came_at_once_and_has_ended_is_no_growth():
    """As an image that was pulled, or a pool that was full and was given room."""
    assert forecast.of(history((30 * 60, 100 * MIB), (20 * 60, 0)), "data", GIB, NOW) is None


def test_what_slows_down_counts_as_it_is_now():
    found = forecast.of(history((40 * 60, 100 * MIB), (20 * 60, MIB)), "data", GIB, NOW)
    assert found.rate == pytest.approx(MIB, rel=0.05)


def test_metadata_has_a_forecast_of_its_own():
    found = forecast.of(history((HOUR, MIB)), "metadata", 36 * MIB, NOW)
    assert (found.part, found.seconds) == ("metadata", pytest.approx(HOUR, rel=0.01))


def test_what_is_kept_is_bounded_whatever_the_interval():
    for every in (10, 60, 600):
        points = history((2 * DAY, MIB), every=every)
        assert len(points) <= 180
        assert points[-1][0] - points[0][0] >= DAY
        assert points == sorted(points)
    assert points[-1][0] == NOW


def test_a_clock_that_was_set_back_starts_anew():
    points = history((HOUR, MIB))
    assert forecast.keep(points, (NOW - 2 * DAY, 1, 1)) == [(NOW - 2 * DAY, 1, 1)]


@pytest.mark.parametrize(
    ("seconds", "severity", "words"),
    [
        (30, "critical", "in about 30 s at 1.00 GiB/h"),
        (3 * HOUR, "critical", "in about 3 h at 1.00 GiB/h"),
        (4 * HOUR, "warning", "in about 4 h at"),
        (23 * HOUR, "warning", "in about 23 h at"),
        (DAY, "", "in about 24 h at"),
        (9 * DAY, "", "in about 9 days at"),
        (40 * 60, "critical", "in about 40 min at"),
    ],
)
def test_a_day_is_a_warning_and_four_hours_are_critical(seconds, severity, words):
    found = Forecast("data", seconds, GIB / HOUR, HOUR)
    assert found.severity == severity
    assert words in found.words


@pytest.mark.parametrize(
    ("extents", "free", "percent", "expected"),
    [
        pytest.param(1000, 0, 20, 1000, id="no-room"),
        pytest.param(1000, 199, 20, 1000, id="all-or-nothing"),
        pytest.param(1000, 200, 20, 1200, id="once"),
        pytest.param(1000, 500, 20, 1440, id="twice-and-a-rest"),
        pytest.param(2047, 462, 20, 2457, id="the-defaults-on-ten-gib"),
        pytest.param(1000, 500, 0, 1000, id="no-step"),
    ],
)
def test_what_it_comes_to_by_itself_is_step_by_step(extents, free, percent, expected):
    assert forecast.attainable(extents, free, percent) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        '{"history": []}',
        '{"history": {"a/b": 7}}',
        '{"history": {"a/b": [[1, 2]]}}',
        '{"history": {"a/b": [["x", 2, 3]]}}',
        '{"history": {"a/b": [[2, 1, 1], [1, 1, 1]]}}',
        '{"history": {"a/b": [[NaN, 1, 1]]}}',
        '{"history": {"a/b": [[1e999, 1, 1]]}}',
    ],
)
def test_a_history_that_is_none_is_none(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text, encoding="utf-8")
    assert forecast.read(str(path), "a/b") == []
    assert forecast.read(str(tmp_path / "absent"), "a/b") == []


def test_a_history_is_read_as_it_was_kept(tmp_path):
    points = history((HOUR, MIB))
    (tmp_path / "state.json").write_text(json.dumps({"history": {"a/b": points}}), encoding="utf-8")
    assert forecast.read(str(tmp_path / "state.json"), "a/b") == points


def test_it_is_read_where_the_exporter_keeps_it():
    assert f"{exporter_install.STATE}/{exporter.STATE}" == forecast.HISTORY
