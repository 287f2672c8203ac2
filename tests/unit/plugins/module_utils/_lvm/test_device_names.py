# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName


@pytest.mark.parametrize(
    ("vg", "lv", "name"),
    [
        pytest.param("docker", "thinpool", "docker-thinpool", id="plain"),
        pytest.param("my-vg", "thin-pool", "my--vg-thin--pool", id="hyphens-doubled"),
        pytest.param("a--b", "c", "a----b-c", id="two-hyphens"),
        pytest.param("a-", "b", "a---b", id="hyphen-at-the-end-of-the-group"),
        pytest.param("a", "b-", "a-b--", id="hyphen-at-the-end-of-the-volume"),
        pytest.param("a_b.c+d", "e", "a_b.c+d-e", id="other-letters-stay"),
    ],
)
def test_a_name_is_joined_and_split_again(vg, lv, name):
    assert device_names.join(vg, lv) == name
    assert PoolName.of_device(name) == (vg, lv)


def test_the_layer_above_a_pool_stands_for_the_pool():
    assert PoolName.of_device("my--vg-thinpool-tpool") == ("my-vg", "thinpool")
    assert PoolName.of_device("docker-my--tpool-tpool") == ("docker", "my-tpool")


@pytest.mark.parametrize("lv", ["tpool", "my-tpool"])
def test_a_pool_named_like_the_layer_is_split(lv):
    assert PoolName.of_device(device_names.join("docker", lv)) == ("docker", lv)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("docker-thinpool-tpool-tpool", id="two-layers"),
        pytest.param("docker", id="no-volume"),
        pytest.param("docker-253:1-271-pool", id="dockers-own-pool-on-loop-files"),
        pytest.param("a-b-c", id="three-parts"),
        pytest.param("-a", id="no-group"),
        pytest.param("my--vg", id="only-a-doubled-hyphen"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_name_that_is_no_volume_of_lvms_is_not_split(name):
    assert PoolName.of_device(name) is None


@pytest.mark.parametrize("name", ["docker", "docker/", "/thinpool", "a/b/c", "a b/c", "../x"])
def test_wrong_names_are_refused(name):
    with pytest.raises(RefusedError):
        PoolName.parse(name)


def test_a_pools_name_has_four_forms():
    name = PoolName.parse("my-vg/thin-pool")
    assert name == PoolName("my-vg", "thin-pool") == PoolName.of("my-vg/thin-pool")
    assert str(name) == f"{name}" == "my-vg/thin-pool"
    assert (name.dm_name, name.device) == ("my--vg-thin--pool", "/dev/mapper/my--vg-thin--pool")
    assert PoolName.of_device(name.dm_name) == name
