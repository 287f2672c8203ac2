# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_spec import PoolSpec

DEFAULTS = PoolSpec(
    vg="docker",
    name="thinpool",
    size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    profile="docker-thinpool",
    threshold=80,
)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"chunk_size": 65536}, id="smallest-chunk"),
        pytest.param({"chunk_size": 1024**3}, id="largest-chunk"),
        pytest.param({"metadata_size": Size.parse("2m")}, id="smallest-metadata"),
        pytest.param({"metadata_size": Size.parse("15.8g")}, id="largest-metadata"),
        pytest.param({"name": "my-pool_1.a+b"}, id="every-kind-of-letter"),
        pytest.param({"name": "tdata"}, id="reserved-only-with-an-underscore"),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(changes):
    replace(DEFAULTS, **changes).check()
