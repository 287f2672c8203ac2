# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import areas
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.areas import Area


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        pytest.param("/dev/vdb:2-151", [("/dev/vdb", 2, 150)], id="linear"),
        pytest.param("/dev/vdb:7-7", [("/dev/vdb", 7, 1)], id="one-extent"),
        pytest.param("/dev/vdb:0-1 /dev/vdc:4-5", [("/dev/vdb", 0, 2), ("/dev/vdc", 4, 2)], id="two-devices"),
        pytest.param(["/dev/vdb:0-1", "/dev/vdc:4-5"], [("/dev/vdb", 0, 2), ("/dev/vdc", 4, 2)], id="json-std"),
        pytest.param("/dev/disk/a:b:3-4", [("/dev/disk/a:b", 3, 2)], id="a-colon-in-the-name"),
        pytest.param("thinpool_tdata:0-149", [], id="on-another-volume"),
        pytest.param("[unknown]:0-9 /dev/vdc:0-9", [("/dev/vdc", 0, 10)], id="a-device-is-missing"),
        pytest.param("", [], id="nothing"),
        pytest.param(None, [], id="null"),
    ],
)
def test_what_a_segment_lies_on_is_read(ranges, expected):
    found = areas.of_segment({"seg_pe_ranges": ranges, "seg_start_pe": "5"})
    assert found == tuple(Area(device, first, extents, 5) for device, first, extents in expected)


def test_reports_without_the_field_know_of_no_areas():
    assert areas.of_segment({}) == ()


def test_a_range_is_written_as_lvm_wants_it():
    assert Area("/dev/vdb", 2, 150, 0).range == "/dev/vdb:2-151"
