# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    LogicalVolume,
    LvmState,
    VolumeGroup,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.obstacles import Obstacle
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import AutoExtension
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Line
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.pool_health import Limits, Pool
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.remedies import Whose
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.verdicts import (
    PoolSnapshot,
    Repair,
    history,
    names,
    of_host,
    of_pool,
)

MIB = 1024**2
NOON = 1795435200.0  # 2026-11-23T12:00:00Z
NAMES = {"253:2": "docker-thinpool"}
WELL = Pool(
    volume=LogicalVolume(
        vg="docker",
        name="thinpool",
        type="thin-pool",
        size=1000 * 4 * MIB,
        metadata_size=100 * MIB,
        chunk_size=MIB // 2,
        active=True,
        profile="docker-thinpool",
        when_full="queue",
        monitored=True,
        low_water_mark=1600,
        data_percent=20.0,
        metadata_percent=11.0,
    ),
    group=VolumeGroup(name="docker", extent_size=4 * MIB, extents=1400, extents_free=300),
    status=PoolStatus(mode="rw", data_used=1600, data_total=8000, metadata_used=2816, metadata_total=25600),
    policy=Policy(80, 20),
    extension=AutoExtension(data_needed=200, metadata_needed=12, free=300, extent_size=4 * MIB),
)
OWN = Policy(80, 20)

LOW = ("kernel", "device-mapper: thin: 253:2: reached low water mark for data device: sending event.")
SHORT = ("dmeventd", "Insufficient free space: 487 extents needed, but only 78 available")
FAILED = ("dmeventd", "Failed command for docker-thinpool.")
EXTENDED = (
    "dmeventd",
    "Size of logical volume docker/thinpool_tdata changed from 3.90 GiB (1000 extents) to 4.68 GiB (1200 extents).",
)
QUEUEING = ("kernel", "device-mapper: thin: 253:2: switching pool to out-of-data-space (queue IO) mode")
RECOVERED = ("kernel", "device-mapper: thin: 253:2: switching pool to write mode")
ERRORING = ("kernel", "device-mapper: thin: 253:2: switching pool to out-of-data-space (error IO) mode")
# Of a device that is not there any more, so that nobody knows which pool it was.
GONE = [(source, line.replace("253:2", "253:9")) for source, line in (QUEUEING, ERRORING)]
READ_ONLY = ("kernel", "device-mapper: thin: 253:2: switching pool to read-only mode")
CORRUPT = ("kernel", "device-mapper: thin metadata: couldn't read superblock")
KILLED = ("systemd", "dm-event.service: Main process exited, code=killed, status=9/KILL")
REFUSED = ("lvm", "Check of pool docker/thinpool failed (status:1). Manual repair required!")
ACTIVATED = ("lvm", '1 logical volume(s) in volume group "docker" now active')
HOOK = ("dmeventd", "Child 812 exited with status 3.")
HOOK_WELL = ("dmeventd", "Child 813 exited with status 0.")
LARGEST = ("dmeventd", "Reached maximum pool metadata size 15.81 GiB (4048 extents).")
OTHERS = ("dmeventd", "Failed command for docker-other.")


def past(*lines):
    """Return what the lines tell of the pool, one each second."""
    read = [Line(NOON + at, message, source, pid=577) for at, (source, message) in enumerate(lines)]
    return history(dm_events.events(read, NAMES), PoolName("docker", "thinpool"))


def volume(pool=WELL, **changes):
    return replace(pool, volume=replace(pool.volume, **changes))


def status(pool=WELL, **changes):
    return replace(pool, status=replace(pool.status, **changes))


DUE = status(data_used=6800)
NO_ROOM = replace(WELL.extension, free=100)


def kinds(verdict):
    return [f"{reason.severity} {reason.kind}" for reason in verdict.reasons]


@pytest.mark.parametrize(
    ("pool", "lines", "expected"),
    [
        pytest.param(WELL, [], [], id="well"),
        pytest.param(WELL, [LOW, EXTENDED], [], id="grew-by-itself"),
        pytest.param(WELL, [SHORT, FAILED], [], id="failed-and-emptied-since"),
        pytest.param(DUE, [SHORT, FAILED, EXTENDED], ["warning data_usage"], id="failed-and-extended-since"),
        pytest.param(
            DUE, [SHORT, FAILED], ["critical extension_failed", "warning data_usage"], id="failed-with-room-since"
        ),
        pytest.param(
            DUE, [EXTENDED, SHORT, FAILED], ["critical extension_failed", "warning data_usage"], id="fails-again"
        ),
        pytest.param(
            replace(DUE, extension=NO_ROOM),
            [SHORT, FAILED],
            ["critical data_extension_impossible", "warning data_usage"],
            id="failed-and-still-no-room",
        ),
        pytest.param(DUE, [OTHERS], ["warning data_usage"], id="anothers-failure"),
        pytest.param(WELL, [ERRORING], ["warning writes_failed"], id="was-full"),
        pytest.param(WELL, [READ_ONLY], ["warning writes_failed"], id="was-read-only"),
        pytest.param(
            status(mode="ro"), [READ_ONLY], ["critical metadata_read_only"], id="is-read-only-as-the-state-says"
        ),
        pytest.param(WELL, [CORRUPT], ["critical metadata_damaged"], id="damaged"),
        pytest.param(WELL, [KILLED], [], id="killed-and-monitored-again"),
        pytest.param(
            volume(monitored=False), [KILLED], ["critical dmeventd_failed", "warning not_monitored"], id="killed"
        ),
        pytest.param(volume(monitored=False), [], ["warning not_monitored"], id="not-monitored"),
        pytest.param(
            volume(active=False, monitored=False, low_water_mark=None),
            [ACTIVATED, REFUSED],
            ["critical activation_failed", "critical inactive"],
            id="refused",
        ),
        pytest.param(WELL, [REFUSED, ACTIVATED], [], id="refused-and-active-since"),
        pytest.param(WELL, [HOOK], ["warning hook_failed"], id="hook-failed"),
        pytest.param(WELL, [HOOK, HOOK_WELL], [], id="hook-failed-and-succeeded-since"),
        pytest.param(WELL, [LARGEST], ["warning metadata_max"], id="largest-metadata"),
    ],
)
def test_events_count_where_they_still_matter(pool, lines, expected):
    assert kinds(of_pool(pool, Limits(), past(*lines), None)) == expected


@pytest.mark.parametrize(
    ("pool", "lines", "expected"),
    [
        pytest.param(DUE, [FAILED, EXTENDED], ["warning data_usage"], id="extended-in-the-same-second"),
        pytest.param(
            volume(active=False, monitored=False, low_water_mark=None),
            [REFUSED, ACTIVATED],
            ["critical inactive"],
            id="activated-in-the-same-second",
        ),
    ],
)
def test_of_two_events_of_one_time_the_better_counts(pool, lines, expected):
    """Log files have whole seconds, and LVM first fails, then succeeds."""
    read = [Line(NOON, message, source, pid=577) for source, message in lines]
    happened = history(dm_events.events(read, NAMES), PoolName("docker", "thinpool"))
    assert kinds(of_pool(pool, Limits(), happened, None)) == expected


def test_failed_extension_is_told_with_the_reason_that_lvm_gave():
    verdict = of_pool(DUE, Limits(), past(SHORT, FAILED, SHORT, FAILED), None)
    assert "487 extents needed, but only 78 available" in verdict.sentence
    assert "lvextend --yes --use-policies docker/thinpool" in verdict.sentence
    assert "2026-11-23T12:00:03Z" in verdict.sentence
    assert verdict.past["vg_full"].count == 2


def test_well_pool_is_told_with_its_room():
    verdict = of_pool(WELL, Limits(), past(LOW, EXTENDED), None)
    assert verdict.sentence == (
        "docker/thinpool is well: its next extension takes 800.00 MiB, and 1.17 GiB are free in volume group docker"
    )
    assert verdict.lines[0] == (
        "docker/thinpool: OK, data 20.00 % of 3.91 GiB, metadata 11.00 % of 100.00 MiB, 1.17 GiB free in docker"
    )
    assert [line.split(": ")[0].strip() for line in verdict.lines[1:]] == [
        "2026-11-23T12:00:00Z data_low_water",
        "2026-11-23T12:00:01Z extended",
    ]


BARE = replace(volume(profile="", low_water_mark=0), policy=Policy(100, 20))


@pytest.mark.parametrize(
    ("pool", "own", "obstacles", "expected"),
    [
        pytest.param(WELL, None, [], None, id="well"),
        pytest.param(volume(monitored=False), None, [], Repair(monitor=True), id="not-monitored"),
        pytest.param(volume(low_water_mark=0), None, [], Repair(profile="docker-thinpool"), id="not-armed"),
        pytest.param(BARE, OWN, [], Repair(profile="docker-thinpool"), id="profile-detached"),
        pytest.param(BARE, None, [], None, id="no-profile-to-attach"),
        pytest.param(
            volume(BARE, monitored=False), OWN, [], Repair(monitor=True, profile="docker-thinpool"), id="both"
        ),
        pytest.param(replace(WELL, policy=Policy(100, 20)), None, [], None, id="profile-that-says-never"),
        pytest.param(
            volume(monitored=False), None, [Obstacle("name_twice", "docker is there twice")], None, id="obstacle"
        ),
        pytest.param(
            replace(volume(monitored=False), policy=Policy(80, 20, can_monitor=False)), None, [], None, id="no-monitor"
        ),
        pytest.param(
            status(volume(monitored=False), mode="out_of_data_space"), None, [], Repair(monitor=True), id="full"
        ),
        pytest.param(status(volume(low_water_mark=0), mode="out_of_data_space"), None, [], None, id="full-not-armed"),
        pytest.param(status(volume(monitored=False), needs_check=True), None, [], None, id="needs-check"),
        pytest.param(volume(active=False, monitored=False, low_water_mark=None), None, [], None, id="inactive"),
        pytest.param(
            volume(monitored=False), None, [Obstacle("device_missing", "it misses one")], None, id="device-missing"
        ),
    ],
)
def test_repair_is_only_what_is_safe(pool, own, obstacles, expected):
    assert of_pool(replace(pool, obstacles=tuple(obstacles)), Limits(), {}, own).repair == expected


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (OWN, "There is one, docker-thinpool: run 'lvchange --metadataprofile docker-thinpool docker/thinpool'"),
        (None, "there is no profile docker-thinpool that could be attached. Make one (module lvm_profile"),
    ],
)
def test_detached_profile_is_told_with_what_could_be_attached(own, says):
    assert says in of_pool(BARE, Limits(), {}, own).sentence


def snapshot(*pools, statuses=None, volumes=()):
    volumes = (*(pool.volume for pool in pools), *volumes)
    groups = tuple({pool.volume.vg: pool.group for pool in pools}.values())
    return PoolSnapshot(LvmState(groups=groups, volumes=volumes), statuses or {}, pools, {})


PLAIN = LogicalVolume(vg="docker", name="plain", type="linear", size=MIB)
RUNNING = {"docker-thinpool": WELL.status, "gone-pool": WELL.status, "docker-253:1-1835-pool": WELL.status}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param([], {"gone/pool": ["critical not_in_lvm"], "docker/thinpool": []}, id="found"),
        pytest.param([PoolName("docker", "thinpool")], {"docker/thinpool": []}, id="named"),
        pytest.param([PoolName("docker", "x")], {"docker/x": ["critical missing"]}, id="not-there"),
        pytest.param([PoolName("other", "x")], {"other/x": ["critical missing"]}, id="nor-its-group"),
        pytest.param([PoolName("docker", "plain")], {"docker/plain": ["critical no_pool"]}, id="no-pool"),
        pytest.param([PoolName("gone", "pool")], {"gone/pool": ["critical not_in_lvm"]}, id="only-in-the-kernel"),
    ],
)
def test_each_pool_has_a_verdict_the_worst_first(wanted, expected):
    found = of_host(snapshot(WELL, statuses=RUNNING, volumes=[PLAIN]), wanted, Limits(), lambda name: {})
    assert [(str(verdict.pool_name), kinds(verdict)) for verdict in found] == list(expected.items())
    assert all(verdict.sentence and verdict.lines for verdict in found)


def test_a_pool_with_a_layer_more_is_one_pool():
    assert names(snapshot(WELL, statuses={"docker-thinpool-tpool": WELL.status})) == [("docker", "thinpool")]


def test_events_without_a_pool_may_be_of_any():
    found = past(CORRUPT, KILLED)
    assert {kind: happened.named for kind, happened in found.items()} == {
        "metadata_corrupt": False,
        "daemon_failed": False,
    }


def test_history_goes_on_from_what_was_kept():
    before = past(SHORT, FAILED)
    later = [Line(NOON + 60, FAILED[1], "dmeventd", pid=577)]
    found = history(dm_events.events(later), PoolName("docker", "thinpool"), before)
    assert (found["autoextend_failed"].count, found["autoextend_failed"].last) == (2, NOON + 60)
    assert found["vg_full"] == before["vg_full"]


def test_a_pool_that_is_named_in_a_group_with_an_obstacle_is_told_of_that():
    group = replace(WELL.group, attributes="wzx-n-")
    found = PoolSnapshot(LvmState(groups=(group,)), {}, [], {})
    (verdict,) = of_host(found, [PoolName("docker", "x")], Limits(), lambda name: {})
    assert kinds(verdict) == ["critical exported"]


def test_what_enlarged_disks_have_is_told_with_the_figures():
    verdict = of_pool(replace(WELL, unused={"/dev/vdb": 512 * MIB}), Limits(), {}, None)
    assert verdict.health == "ok"
    assert verdict.lines[0].endswith("1.17 GiB free in docker, 512.00 MiB more on /dev/vdb, which was enlarged")


FULL = status(mode="out_of_data_space", data_used=8000, when_full="queue")
FAILING = status(FULL, when_full="error")


@pytest.mark.parametrize(
    ("pool", "lines", "waiting", "failing"),
    [
        pytest.param(FULL, [QUEUEING], NOON, 0, id="waiting"),
        pytest.param(FULL, [QUEUEING, RECOVERED, QUEUEING], NOON + 2, 0, id="full-again"),
        pytest.param(FULL, [QUEUEING, RECOVERED], 0, 0, id="the-line-of-this-time-is-not-there"),
        pytest.param(FULL, [], 0, 0, id="full-for-longer-than-was-read"),
        pytest.param(FAILING, [QUEUEING, ERRORING], 0, NOON + 1, id="failing"),
        pytest.param(FAILING, [QUEUEING], 0, NOON + 60, id="failing-by-the-timeout"),
        pytest.param(FAILING, [ERRORING, RECOVERED, QUEUEING], 0, NOON + 62, id="failing-again"),
        pytest.param(FAILING, [QUEUEING, ERRORING, *GONE], 0, NOON + 1, id="another-was-full-later-and-is-gone"),
        pytest.param(FULL, [*GONE, QUEUEING], NOON + 2, 0, id="another-was-full-before-and-is-gone"),
        pytest.param(WELL, [QUEUEING, ERRORING, RECOVERED], 0, 0, id="not-full-any-more"),
    ],
)
def test_since_when_writes_wait_or_fail_is_told_by_the_kernels_lines(pool, lines, waiting, failing):
    found = of_pool(replace(pool, no_space_timeout=60), Limits(), past(*lines), None).pool
    assert (found.waiting_since, found.failing_since) == (waiting, failing)


def test_what_helps_is_told_on_lines_of_its_own():
    whose = replace(FULL, whose=Whose("node1", "docker"), extension=NO_ROOM, no_space_timeout=60)
    lines = of_pool(whose, Limits(), past(QUEUEING), None).lines
    assert lines[1].startswith("    critical: docker/thinpool is full, and what is written to it waits since 2026")
    assert lines[2:4] == [
        "      run: ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1",
        "      see: https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides/full_pool.md",
    ]


def test_a_failed_extension_is_told_with_the_command_that_makes_it():
    verdict = of_pool(replace(DUE, whose=Whose("node1", "docker")), Limits(), past(SHORT, FAILED), None)
    assert verdict.reasons[0].command.endswith("'lvextend --yes --use-policies docker/thinpool'")
