# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import timestamps

pytestmark = pytest.mark.usefixtures("zone")

NOW = 1795428000.0  # 2026-11-23T10:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("today", NOW - 11 * 3600),
        ("yesterday", NOW - 35 * 3600),
        ("-1h", NOW - 3600),
        ("-1h 30min", NOW - 5400),
        ("-90", NOW - 90),
        ("2 days ago", NOW - 172800),
        ("1 M ago", NOW - 2629800),
        ("@1795428000.5", NOW + 0.5),
        ("1795428000", NOW),
        ("2026-11-23", NOW - 11 * 3600),
        ("2026-11-23 11:00", NOW),
        ("2026-11-23 11:00:00", NOW),
        ("2026-11-23 10:00:00 UTC", NOW),
        ("2026-11-23T10:00:00.250000Z", NOW + 0.25),
        ("2026-11-23T12:30:00+02:30", NOW),
        ("2026-11-23 05:00:00-0500", NOW),
        ("2026-02-30", None),
        ("tomorrow-ish", None),
        ("-", None),
        ("-1 fortnight", None),
        ("", None),
    ],
)
def test_a_point_in_time_is_understood(text, expected):
    assert timestamps.parse_time(text, NOW) == expected


def test_yesterday_is_by_the_calendar():
    # The clocks went back on 25 October 2026 in Berlin: that day has 25 hours.
    noon = timestamps.parse_time("2026-10-26 12:00", NOW)
    assert noon - timestamps.parse_time("yesterday", noon) == (12 + 25) * 3600


def test_a_time_that_is_returned_can_be_given_back():
    assert timestamps.parse_time(timestamps.iso_microseconds(NOW + 0.123456), 0.0) == pytest.approx(
        NOW + 0.123456, abs=1e-6
    )
