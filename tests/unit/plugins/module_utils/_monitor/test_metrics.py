# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, metrics
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.metrics import Sample


def test_samples_of_a_family_stand_together_below_their_help_and_type():
    text = metrics.render(
        [
            Sample("thin_pool_present", {"vg": "a", "pool": "x"}, True),
            Sample("thin_pool_monitor_duration_seconds", {}, 0.25),
            Sample("thin_pool_present", {"vg": "b", "pool": "y"}, False),
        ]
    )
    assert text == (
        "# HELP thin_pool_present Whether LVM knows the pool.\n"
        "# TYPE thin_pool_present gauge\n"
        'thin_pool_present{vg="a",pool="x"} 1\n'
        'thin_pool_present{vg="b",pool="y"} 0\n'
        "# HELP thin_pool_monitor_duration_seconds How long the last run took.\n"
        "# TYPE thin_pool_monitor_duration_seconds gauge\n"
        "thin_pool_monitor_duration_seconds 0.25\n"
    )


def test_label_values_are_escaped():
    text = metrics.render([Sample("thin_pool_info", {"profile": 'a"b\\c\nd'}, 1)])
    assert text.splitlines()[2] == r'thin_pool_info{profile="a\"b\\c\nd"} 1'


def test_sizes_are_written_as_whole_numbers():
    size = 16 * 1024**4
    text = metrics.render([Sample("thin_pool_data_size_bytes", {}, size)])
    assert text.splitlines()[2] == f"thin_pool_data_size_bytes {size}"


def test_names_follow_prometheus_rules():
    for name, (kind, words) in metrics.FAMILIES.items():
        assert re.fullmatch("thin_pool_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert not re.search(r"percent|_kb|_mb|milli", name)
        assert words.endswith(".")
        assert "\\" not in words
        assert "\n" not in words


def test_counters_that_are_there_from_the_start_are_kinds_of_events():
    assert {*metrics.FROM_THE_START, *metrics.WITHOUT_A_POOL} <= set(dm_events.KINDS)
