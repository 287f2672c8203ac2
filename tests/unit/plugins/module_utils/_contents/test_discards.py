# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stops discards on their way, by the kernel's words and the devices' limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import discards
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus


@pytest.fixture
def pool(report):
    return report("pool_in_use_by_docker").volume("docker", "thinpool")


@pytest.mark.parametrize(
    ("word", "setting", "most", "kinds", "says"),
    [
        pytest.param("discard_passdown", "passdown", "2199023255040", [], "", id="all-the-way"),
        pytest.param(
            "ignore_discard", "ignore", "0", ["ignored"], "'lvchange --discards passdown docker/thinpool'", id="ignored"
        ),
        pytest.param(
            "no_discard_passdown", "nopassdown", "1048576", ["not_passed_down"], "is set not to", id="as-it-is-set"
        ),
        pytest.param("no_discard_passdown", "passdown", "0", ["disks_take_none"], "take none", id="disks-take-none"),
        pytest.param(
            "no_discard_passdown",
            "passdown",
            "32768",
            ["disks_take_none"],
            "take 32.00 KiB at most, less than a chunk of 512.00 KiB",
            id="disks-take-too-little",
        ),
        pytest.param("no_discard_passdown", "passdown", None, ["disks_take_none"], "do not take them as", id="unclear"),
        pytest.param("", "passdown", None, [], "", id="a-kernel-that-does-not-tell"),
    ],
)
def test_what_stops_discards_is_named(monkeypatch, tmp_path, pool, word, setting, most, kinds, says):
    monkeypatch.setattr(discards, "NUMBERS", str(tmp_path))
    if most is not None:
        (tmp_path / "253:1" / "queue").mkdir(parents=True)
        (tmp_path / "253:1" / "queue" / "discard_max_bytes").write_text(f"{most}\n", encoding="ascii")
    found = discards.on_the_way(replace(pool, discards=setting), PoolStatus("rw", discards=word), "253:1")
    assert [stop.kind for stop in found] == kinds
    assert all(says in stop.message for stop in found)
    assert [stop.is_whole for stop in found] == [kind == "ignored" for kind in kinds]
