# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import snapshotter_settings
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param(SnapshotterSettings(pool_name="vg/pool"), "not 'vg/pool': did you mean vg-pool?", id="volume"),
        pytest.param(
            SnapshotterSettings(pool_name="my-vg/thin-pool"),
            "did you mean my--vg-thin--pool?",
            id="volume-with-hyphens",
        ),
        pytest.param(SnapshotterSettings(pool_name="/dev/mapper/a-b"), "did you mean a-b?", id="path"),
        pytest.param(SnapshotterSettings(pool_name="/dev/vg/pool"), "did you mean vg-pool?", id="path-of-a-volume"),
        pytest.param(SnapshotterSettings(pool_name=""), "not ''", id="empty"),
        pytest.param(SnapshotterSettings(pool_name="x" * 128), "pool_name must be", id="too-long"),
        pytest.param(
            SnapshotterSettings(pool_name="my-vg-pool"),
            "no thin pool my-vg-pool, but there is my--vg-pool",
            id="not-doubled",
        ),
        pytest.param(SnapshotterSettings(root_path="lib"), "root_path must be the whole path", id="relative"),
        pytest.param(SnapshotterSettings(root_path="/a/../b"), "root_path must be the whole path", id="dots"),
        pytest.param(SnapshotterSettings(base_image_size="10GX"), "base_image_size: '10GX' is not a size", id="unit"),
        pytest.param(SnapshotterSettings(base_image_size="10"), "at least 1MB. Is the unit missing?", id="no-unit"),
        pytest.param(
            SnapshotterSettings(base_image_size="200MB", fs_type="xfs"), "at least 300MB with fs_type xfs", id="xfs"
        ),
        pytest.param(
            SnapshotterSettings(fs_type="btrfs"), "fs_type must be ext4, xfs, ext2, not 'btrfs'", id="filesystem"
        ),
        pytest.param(SnapshotterSettings(fs_options="a b"), "fs_options must be extended options", id="options"),
    ],
)
def test_wrong_settings_are_refused(spec, says):
    with pytest.raises(RefusedErrors) as refusal:
        snapshotter_settings.check(spec, ["my--vg-pool", "other"])
    assert says in str(refusal.value)


@pytest.mark.parametrize("name", ["my--vg-pool", "contd-thin-pool", "not-there-yet"])
def test_a_pool_that_is_there_or_of_no_volume_group_may_be_named(name):
    snapshotter_settings.check(SnapshotterSettings(pool_name=name), ["my--vg-pool", "contd-thin-pool"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GB", 10 * 1024**3),
        ("10 GiB", 10 * 1024**3),
        ("10g", 10 * 1024**3),
        ("1.5T", 3 * 1024**4 // 2),
        ("8192MB", 8 * 1024**3),
    ],
)
def test_sizes_are_read_as_containerd_reads_them(text, size):
    assert snapshotter_settings.size_in_bytes(text) == size
