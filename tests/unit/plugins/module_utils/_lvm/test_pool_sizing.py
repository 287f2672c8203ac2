# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_sizing
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import PoolSpec


# Data needed, metadata needed, free; whether each is possible.
@pytest.mark.parametrize(
    ("state", "percent", "expected"),
    [
        pytest.param("pool", 20, (487, 12, 78, False, True), id="the-manual"),  # seen: 487 needed, 78 available
        pytest.param("pool", 3, (73, 2, 78, True, True), id="the-largest-that-fits"),
        pytest.param("pool", 4, (98, 4, 78, False, True), id="one-more"),
        pytest.param("pool", 100, (2431, 52, 78, False, True), id="doubled"),
        pytest.param("pool_and_second_disk", 20, (487, 12, 2637, True, True), id="with-a-second-disk"),
    ],
)
def test_the_next_automatic_extension_is_reckoned(report, state, percent, expected):
    found = report(state)
    extension = pool_sizing.auto_extension(
        found.group("docker"), found.volume("docker", "thinpool"), found.spare("docker"), percent
    )
    assert (
        extension.data_needed,
        extension.metadata_needed,
        extension.free,
        extension.data_possible,
        extension.metadata_possible,
    ) == expected


def test_without_a_spare_the_extension_makes_one(report):
    found = report("pool")
    extension = pool_sizing.auto_extension(found.group("docker"), found.volume("docker", "thinpool"), None, 20)
    assert extension.metadata_needed == 6 + 31


def test_metadata_that_does_not_fit_is_told(report):
    found = report("pool")
    group = replace(found.group("docker"), extents_free=11)
    extension = pool_sizing.auto_extension(group, found.volume("docker", "thinpool"), found.spare("docker"), 20)
    assert (extension.data_possible, extension.metadata_possible) == (False, False)


@pytest.mark.parametrize(("missing", "extended"), [(0, True), (1, False)])
def test_an_overdue_extension_comes_where_there_is_exactly_enough_room(report, missing, extended):
    found = report("pool_and_second_disk")
    group, pool = found.group("docker"), replace(found.volume("docker", "thinpool"), data_percent=92.0)
    spec = PoolSpec("docker", "thinpool", threshold=80, percent=20)
    growth = -(-pool.size // group.extent_size * 20 // 100)
    steps, after = pool_sizing.overdue_extension(pool, spec, group, pool, free=growth - missing)
    assert bool(steps) is extended
    assert after.size == pool.size + (growth * group.extent_size if extended else 0)


@pytest.mark.parametrize(
    ("percent", "threshold", "due"),
    [(80.0, 80, False), (80.01, 80, True), (100.0, 100, False), (100.01, 100, False), (99.5, 99, True)],
)
def test_an_extension_is_overdue_above_the_threshold(report, percent, threshold, due):
    found = report("pool_and_second_disk")
    pool = replace(found.volume("docker", "thinpool"), data_percent=percent)
    spec = PoolSpec("docker", "thinpool", threshold=threshold, percent=20)
    steps, _after = pool_sizing.overdue_extension(pool, spec, found.group("docker"), pool, free=10**6)
    assert bool(steps) is due
