# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import loop_files
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.loop_files import (
    LoopFile,
    LoopFiles,
    LoopPool,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

MIB, GIB = 1024**2, 1024**3
FOLDER = "/var/lib/docker/devicemapper/devicemapper"
POOL = "docker-254:0-131108-pool"


def table(size):
    return f"0 {size // 512} thin-pool 7:1 7:0 128 32768 1 skip_block_zeroing "


def status(metadata_size, **changes):
    return replace(PoolStatus("rw", 3, 12, metadata_size // 4096, 100, 32768), **changes)


RUNNING = LoopFiles(
    LoopFile(f"{FOLDER}/data", 2 * GIB, "/dev/loop0", 2 * GIB),
    LoopFile(f"{FOLDER}/metadata", 16 * MIB, "/dev/loop1", 16 * MIB),
    LoopPool(POOL, table(2 * GIB), status=status(16 * MIB)),
    free=4 * GIB,
)
STOPPED = LoopFiles(LoopFile(f"{FOLDER}/data", 2 * GIB), LoopFile(f"{FOLDER}/metadata", 16 * MIB))
AS_THEY_ARE = {"data_size": 2 * GIB, "metadata_size": 16 * MIB}
LARGER = {"data_size": 3 * GIB, "metadata_size": 32 * MIB}

GROW_DATA = [
    f"grow {FOLDER}/data from 2.00 GiB to 3.00 GiB",
    f"write the size of {FOLDER}/data through to the disk",
    "let /dev/loop0 be as large as its file, 3.00 GiB",
]
GROW_METADATA = [
    f"grow {FOLDER}/metadata from 16.00 MiB to 32.00 MiB",
    f"write the size of {FOLDER}/metadata through to the disk",
    "let /dev/loop1 be as large as its file, 32.00 MiB",
]
TAKE = [f"load a table of 3.00 GiB for pool {POOL}", f"let pool {POOL} go on with it"]


def data(**changes):
    return replace(RUNNING, data=replace(RUNNING.data, **changes))


def pool(**changes):
    return replace(RUNNING, pool=replace(RUNNING.pool, **changes))


# The state, which may be what an interrupted run left; the wish; the steps.
CASES = [
    pytest.param(RUNNING, AS_THEY_ARE, [], id="as-wished"),
    pytest.param(RUNNING, {"data_size": GIB, "metadata_size": 8 * MIB}, [], id="never-smaller"),
    pytest.param(STOPPED, AS_THEY_ARE, [], id="stopped-as-wished"),
    pytest.param(STOPPED, LARGER, [GROW_DATA[0], GROW_METADATA[0]], id="stopped"),
    pytest.param(
        LoopFiles(LoopFile(f"{FOLDER}/data"), LoopFile(f"{FOLDER}/metadata")), LARGER, [], id="docker-makes-them"
    ),
    pytest.param(RUNNING, LARGER, [*GROW_DATA, *GROW_METADATA, *TAKE], id="running"),
    pytest.param(RUNNING, {**LARGER, "metadata_size": 16 * MIB}, [*GROW_DATA, *TAKE], id="data-alone"),
    pytest.param(
        RUNNING,
        {**LARGER, "data_size": 2 * GIB},
        [*GROW_METADATA, f"load a table of 2.00 GiB for pool {POOL}", TAKE[1]],
        id="metadata-alone",
    ),
    pytest.param(
        data(size=3 * GIB), {**LARGER, "metadata_size": 2 * MIB}, [*GROW_DATA[1:], *TAKE], id="killed-after-the-file"
    ),
    pytest.param(
        data(size=3 * GIB),
        AS_THEY_ARE,
        [*GROW_DATA[1:], *TAKE],
        id="killed-after-the-file-and-forgotten",
    ),
    pytest.param(data(size=3 * GIB, device_size=3 * GIB), AS_THEY_ARE, TAKE, id="killed-after-the-device"),
    # A table that is loaded and not in use does not show in these values, and is loaded again.
    pytest.param(
        replace(data(size=3 * GIB, device_size=3 * GIB), pool=replace(RUNNING.pool, suspended=True)),
        AS_THEY_ARE,
        TAKE,
        id="killed-while-suspended",
    ),
    pytest.param(
        pool(suspended=True), AS_THEY_ARE, [f"resume pool {POOL}, which was left suspended"], id="left-suspended"
    ),
    pytest.param(
        pool(suspended=True), LARGER, [*GROW_DATA, *GROW_METADATA, *TAKE], id="left-suspended-and-to-be-grown"
    ),
    pytest.param(
        pool(status=status(8 * MIB)),
        AS_THEY_ARE,
        [f"load a table of 2.00 GiB for pool {POOL}", TAKE[1]],
        id="metadata-not-taken",
    ),
    pytest.param(pool(status=None), AS_THEY_ARE, [], id="no-status"),
    pytest.param(
        pool(status=PoolStatus("fail"), suspended=True),
        AS_THEY_ARE,
        [f"resume pool {POOL}, which was left suspended"],
        id="failed-and-suspended",
    ),
]


@pytest.mark.parametrize(("current", "spec", "expected"), CASES)
def test_files_become_as_large_as_wished(current, spec, expected):
    assert actions(loop_files.decide(current, **spec)[0]) == expected


@pytest.mark.parametrize(("current", "spec", "expected"), CASES)
def test_what_is_foretold_needs_nothing_more(current, spec, expected):
    after = loop_files.decide(current, **spec)[1]
    assert loop_files.decide(after, **spec) == ([], after)


@pytest.mark.parametrize("stop", range(9))
def test_a_run_that_is_killed_after_any_step_is_finished_by_the_next(stop):
    """Each step is carried out on the values, as the kernel does it."""
    steps, after = loop_files.decide(RUNNING, **LARGER)
    now = RUNNING
    loaded = now.pool.table
    for step in steps[:stop]:
        program, *words = step.command
        for name in ("data", "metadata"):
            file = getattr(now, name)
            if program == "truncate" and words[-1] == file.path:
                now = replace(now, **{name: replace(file, size=int(words[1].partition("=")[2]))})
            elif program == "losetup" and words[-1] == file.device:
                now = replace(now, **{name: replace(file, device_size=file.size)})
        if program == "dmsetup" and words[0] == "reload":
            loaded = words[-1]
        elif program == "dmsetup":
            now = replace(now, pool=replace(now.pool, table=loaded, status=status(now.metadata.device_size)))
    rest, finished = loop_files.decide(now, **LARGER)
    assert actions(rest)[-1:] == actions(steps)[-1:] if stop < len(steps) else rest == []
    assert finished == after


def test_commands_are_those_of_the_manual_without_its_suspension():
    steps, _after = loop_files.decide(RUNNING, **LARGER)
    assert [" ".join(step.command) for step in steps] == [
        f"truncate --no-create --size={3 * GIB} {FOLDER}/data",
        f"sync {FOLDER}/data",
        "losetup --set-capacity /dev/loop0",
        f"truncate --no-create --size={32 * MIB} {FOLDER}/metadata",
        f"sync {FOLDER}/metadata",
        "losetup --set-capacity /dev/loop1",
        f"dmsetup reload {POOL} --table 0 {3 * GIB // 512} thin-pool 7:1 7:0 128 32768 1 skip_block_zeroing",
        f"dmsetup resume {POOL}",
    ]


@pytest.mark.parametrize(
    "unwell", [status(16 * MIB, mode="ro"), status(16 * MIB, needs_check=True), PoolStatus("fail"), PoolStatus("error")]
)
def test_a_pool_that_is_not_well_does_not_grow(unwell):
    with pytest.raises(RefusedError, match=f"^pool {POOL} is not well .*thin_check"):
        loop_files.decide(pool(status=unwell), **LARGER)


def test_a_full_pool_grows():
    full = status(16 * MIB, mode="out_of_data_space", data_used=32768)
    assert actions(loop_files.decide(pool(status=full), **LARGER)[0])[-2:] == TAKE


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**LARGER, "data_size": 32768}, "the data file cannot have 32.00 KiB, less than one chunk: is the unit"),
        ({**LARGER, "metadata_size": MIB}, "the metadata file must have 2m to 15.8g, not 1.00 MiB"),
        ({**LARGER, "metadata_size": 16 * GIB}, "the metadata file must have 2m to 15.8g, not 16.00 GiB"),
    ],
)
def test_sizes_that_no_pool_has_are_refused(spec, message):
    for current in (RUNNING, STOPPED):
        with pytest.raises(RefusedError, match=message):
            loop_files.decide(current, **spec)


def test_metadata_beyond_what_the_kernel_uses_is_left_alone():
    file = replace(RUNNING.metadata, size=20 * GIB, device_size=20 * GIB)
    # dm-space-map-metadata.h DM_SM_METADATA_MAX_BLOCKS
    current = replace(RUNNING, metadata=file, pool=replace(RUNNING.pool, status=status(255 * ((1 << 14) - 64) * 4096)))
    assert loop_files.decide(current, **AS_THEY_ARE)[0] == []


@pytest.mark.parametrize(("text", "size"), [("2g", 2 * GIB), ("1", 65536), ("65537", 131072), ("0.1g", 107413504)])
def test_a_size_is_whole_chunks(text, size):
    assert loop_files.parse_size(text) == size


def test_a_view_shows_what_lags():
    shown = loop_files.as_result(data(size=3 * GIB))
    assert (shown["data"]["size"], shown["data"]["device_size"], shown["data"]["pool_size"]) == (
        3 * GIB,
        2 * GIB,
        2 * GIB,
    )
    assert (shown["metadata"]["pool_size"], shown["pool"], shown["suspended"]) == (16 * MIB, POOL, False)
    assert loop_files.as_result(STOPPED)["data"]["device"] is None
