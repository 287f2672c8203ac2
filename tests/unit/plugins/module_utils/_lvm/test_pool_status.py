# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

PASSES_DOWN = {"discards": "discard_passdown", "when_full": "queue"}
POOL = PoolStatus("rw", 0, 2571, 25600, 0, 19448, **PASSES_DOWN)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param("blank", {}, id="no-devices"),
        pytest.param("pool", {"docker-thinpool": POOL}, id="pool"),
        pytest.param(
            "pool_in_use_by_docker",
            {"docker-thinpool": PoolStatus("rw", 16, 2584, 25600, 486, 19656, **PASSES_DOWN)},
            id="in-use",
        ),
    ],
)
def test_a_captured_status_is_read(captured, state, expected):
    assert pool_status.parse(captured(f"{state}.status")) == expected


# The words behind "thin-pool" as the kernel's thin-provisioning.rst lists them, put in place of the captured ones.
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("Fail", PoolStatus("fail"), id="failed"),
        pytest.param("Error", PoolStatus("error"), id="error"),
        pytest.param(
            "16 2584/25600 19656/19656 - out_of_data_space discard_passdown queue_if_no_space - 1024",
            PoolStatus("out_of_data_space", 16, 2584, 25600, 19656, 19656, **PASSES_DOWN),
            id="out-of-data-space",
        ),
        pytest.param(
            "16 2584/25600 19656/19656 - out_of_data_space ignore_discard error_if_no_space - 1024",
            PoolStatus(
                "out_of_data_space", 16, 2584, 25600, 19656, 19656, discards="ignore_discard", when_full="error"
            ),
            id="out-of-data-space-for-a-minute",
        ),
        pytest.param(
            "16 25600/25600 486/19656 - ro discard_passdown queue_if_no_space needs_check 1024",
            PoolStatus("ro", 16, 25600, 25600, 486, 19656, needs_check=True, **PASSES_DOWN),
            id="needs-check",
        ),
        pytest.param(
            "16 2584/25600 486/19656 1234 rw no_discard_passdown error_if_no_space - 1024",
            PoolStatus(
                *("rw", 16, 2584, 25600, 486, 19656),
                held_root=1234,
                discards="no_discard_passdown",
                when_full="error",
            ),
            id="metadata-snapshot",
        ),
        pytest.param(
            "16 2584/25600 486/19656 - rw discard_passdown queue_if_no_space",
            PoolStatus("rw", 16, 2584, 25600, 486, 19656, **PASSES_DOWN),
            id="older-kernel",
        ),
        pytest.param(
            "16 2584/25600 486/19656 - rw",
            PoolStatus("rw", 16, 2584, 25600, 486, 19656),
            id="a-kernel-that-tells-no-more",
        ),
    ],
)
def test_a_pool_in_trouble_is_read(captured, words, expected):
    line = captured("pool_in_use_by_docker.status")
    start = line[: line.index("thin-pool ") + len("thin-pool ")]
    assert pool_status.parse(f"{start}{words} \n") == {"docker-thinpool": expected}


def test_each_pool_is_told_apart(captured):
    other = captured("pool.status").replace("docker-thinpool:", "my--vg-pool-tpool:")
    found = pool_status.parse(captured("pool_in_use_by_docker.status") + other)
    assert {name: status.transaction_id for name, status in found.items()} == {
        "docker-thinpool": 16,
        "my--vg-pool-tpool": 0,
    }


def test_the_kernel_is_asked_without_a_flush(captured, commands):
    commands.expect("dmsetup status --noflush --target thin-pool", captured("pool.status"))
    assert pool_status.read() == {"docker-thinpool": POOL}


def test_a_pool_with_volumes_of_lvm_is_run_by_another_device():
    status = PoolStatus("rw")
    for name in ("docker-thinpool-tpool", "docker-thinpool"):
        assert pool_status.find({name: status}, "docker-thinpool") == (name, status)
    assert pool_status.find({"other": status}, "docker-thinpool") == ("docker-thinpool", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("60\n", 60, id="as-the-kernel-has-it"),
        pytest.param("0\n", 0, id="for-ever"),
        pytest.param("never\n", None, id="no-number"),
        pytest.param(None, None, id="no-such-module"),
    ],
)
def test_how_long_writes_to_a_full_pool_wait_is_the_kernels_word(monkeypatch, tmp_path, text, expected):
    monkeypatch.setattr(pool_status, "NO_SPACE_TIMEOUT", str(tmp_path))
    if text is not None:
        (tmp_path / "no_space_timeout").write_text(text, encoding="ascii")
    assert pool_status.no_space_timeout() == expected
