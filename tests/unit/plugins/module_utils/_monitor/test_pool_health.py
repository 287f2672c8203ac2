# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume, VolumeGroup
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.obstacles import Obstacle
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import AutoExtension
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.judgement import judge
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.pool_health import (
    Limits,
    Pool,
    worst,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.remedies import Whose

MIB = 1024**2
WELL = Pool(
    volume=LogicalVolume(
        vg="docker",
        name="thinpool",
        type="thin-pool",
        size=1000 * 4 * MIB,
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
    status=PoolStatus(mode="rw", data_used=1600, data_total=8000, metadata_used=704, metadata_total=6400),
    policy=Policy(80, 20),
    extension=AutoExtension(data_needed=200, metadata_needed=12, free=300, extent_size=4 * MIB, metadata_growth=6),
    whose=Whose("node1", "docker"),
    no_space_timeout=60,
)


def volume(**changes):
    return replace(WELL, volume=replace(WELL.volume, **changes))


def status(**changes):
    return replace(WELL, status=replace(WELL.status, **changes))


def short(**changes):
    return replace(WELL, extension=replace(WELL.extension, **changes))


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        pytest.param(WELL, [], id="well"),
        pytest.param(status(data_used=6000), ["warning data_usage"], id="data-to-be-watched"),
        pytest.param(status(data_used=7200), ["critical data_usage"], id="data-in-danger"),
        pytest.param(status(metadata_used=4800), ["warning metadata_usage"], id="metadata-to-be-watched"),
        pytest.param(status(metadata_used=5760), ["critical metadata_usage"], id="metadata-in-danger"),
        pytest.param(short(free=100), ["warning data_extension_impossible"], id="no-room"),
        pytest.param(short(metadata_needed=301), ["warning metadata_extension_impossible"], id="no-room-for-metadata"),
        pytest.param(
            replace(short(free=100), status=replace(WELL.status, data_used=6500)),
            ["critical data_extension_impossible", "warning data_usage"],
            id="no-room-when-it-is-due",
        ),
        pytest.param(volume(monitored=False), ["warning not_monitored"], id="not-monitored"),
        pytest.param(volume(low_water_mark=0), ["warning not_armed"], id="not-armed"),
        pytest.param(
            replace(WELL, policy=Policy(100, 20, found=False)), ["warning profile_missing"], id="profile-without-a-file"
        ),
        pytest.param(
            replace(WELL, policy=Policy(80, 20, missing_thin_check="/usr/sbin/thin_check")),
            ["warning thin_check_missing"],
            id="nothing-to-check-it-with",
        ),
        pytest.param(
            replace(volume(profile="", low_water_mark=0), policy=Policy(100, 20)),
            ["warning no_autoextend"],
            id="no-profile",
        ),
        pytest.param(replace(WELL, policy=Policy(100, 20)), ["warning no_autoextend"], id="profile-that-says-never"),
        pytest.param(volume(active=False, monitored=False, low_water_mark=None), ["critical inactive"], id="inactive"),
        pytest.param(volume(suspended=True), ["critical suspended"], id="suspended"),
        pytest.param(
            volume(attributes="twi-d-t---", low_water_mark=None, data_percent=None, metadata_percent=None),
            ["critical inactive"],
            id="without-a-table",
        ),
        pytest.param(status(mode="fail"), ["critical failed"], id="failed"),
        pytest.param(volume(health="failed"), ["critical failed"], id="failed-as-lvm-says"),
        pytest.param(status(mode="ro"), ["critical metadata_read_only"], id="read-only"),
        pytest.param(
            status(mode="ro", needs_check=True), ["critical metadata_read_only", "critical needs_check"], id="aborted"
        ),
        pytest.param(volume(check_needed=True), ["critical needs_check"], id="needs-check-as-lvm-says"),
        pytest.param(
            status(mode="out_of_data_space", data_used=8000), ["critical out_of_data", "critical data_usage"], id="full"
        ),
        *(
            pytest.param(replace(WELL, obstacles=(Obstacle(kind, "in its way"),)), [f"critical {kind}"], id=kind)
            for kind in ("device_missing", "duplicate", "exported", "foreign", "name_twice", "read_only", "shared")
        ),
        pytest.param(
            replace(short(free=100), obstacles=(Obstacle("exported", "in its way"),)),
            ["critical exported"],
            id="an-obstacle-says-by-itself-that-there-is-no-room",
        ),
        pytest.param(short(data_refusal="no"), ["warning data_extension_impossible"], id="lvm-refuses-data"),
        pytest.param(
            short(metadata_refusal="no"), ["warning metadata_extension_impossible"], id="lvm-refuses-metadata"
        ),
        pytest.param(short(metadata_needed=301, spare_is_left=True), [], id="lvm-leaves-the-spare"),
        pytest.param(replace(WELL, shrunk=("/dev/vdb",)), ["critical device_shrunk"], id="a-device-shrank"),
        pytest.param(replace(WELL, given_up=("/dev/vdc",)), ["warning device_given_up"], id="a-device-was-given-up"),
        pytest.param(replace(WELL, unused={"/dev/vdb": 4 * MIB}), [], id="a-disk-was-enlarged"),
        pytest.param(
            replace(volume(profile=""), group=replace(WELL.group, profile="of-the-group")), [], id="the-groups-profile"
        ),
        pytest.param(replace(WELL, status=None), ["unknown no_status"], id="no-answer"),
        pytest.param(
            replace(volume(data_percent=None, metadata_percent=None), status=PoolStatus(mode="rw")),
            ["unknown data_unknown", "unknown metadata_unknown"],
            id="no-figures",
        ),
        pytest.param(
            replace(volume(monitored=False, data_percent=None, metadata_percent=None), status=PoolStatus(mode="fail")),
            ["critical failed", "warning not_monitored"],
            id="failed-without-figures",
        ),
    ],
)
def test_each_state_has_its_own_verdict(pool, expected):
    assert [f"{reason.severity} {reason.kind}" for reason in judge(pool, Limits())] == expected


def test_limits_are_those_that_are_set():
    pool = status(data_used=4000)
    assert [reason.severity for reason in judge(pool, Limits(data_warning=50, data_critical=51))] == ["warning"]
    assert [reason.severity for reason in judge(pool, Limits(data_warning=40, data_critical=50))] == ["critical"]


def test_the_kernels_figures_are_taken_before_lvms():
    pool = replace(status(data_used=7999), volume=replace(WELL.volume, data_percent=3.0))
    assert (pool.data_percent, pool.metadata_percent) == (99.99, 11.0)


def test_a_shortage_is_told_with_its_figures():
    (reason,) = judge(short(data_needed=487, free=78), Limits())
    assert reason.message == (
        "the data of docker/thinpool cannot be extended: that takes 487 extents (1.90 GiB), and volume group docker "
        "has 78 free (312.00 MiB): add a device (direct_lvm_devices) and run the playbook grow"
    )
    assert reason.command == "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1"


@pytest.mark.parametrize(
    ("severities", "expected"),
    [([], "ok"), (["warning"], "warning"), (["warning", "unknown"], "unknown"), (["critical", "unknown"], "critical")],
)
def test_the_worst_counts(severities, expected):
    assert worst(severities) == expected


@pytest.mark.parametrize("changes", [{"suspended": True}, {"attributes": "twi-i-t---"}], ids=["suspended", "no-table"])
def test_what_was_loaded_and_not_used_is_dropped_before_a_pool_is_refreshed(changes):
    parts = {"data_volume": "thinpool_tdata", "metadata_volume": "thinpool_tmeta"}
    assert judge(volume(**parts, **changes), Limits())[0].message.endswith(
        "'dmsetup clear docker-thinpool docker-thinpool_tdata docker-thinpool_tmeta && lvchange --refresh "
        "docker/thinpool'"
    )


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        pytest.param(volume(active=False), "run 'lvchange --activate y docker/thinpool'", id="plain"),
        pytest.param(
            replace(volume(active=False), active_parts=("docker/thinpool_tmeta",)),
            "Run 'lvchange --activate n docker/thinpool_tmeta && lvchange --activate y docker/thinpool'",
            id="its-metadata-is-active",
        ),
        pytest.param(
            volume(active=False, skips_activation=True),
            "'lvchange --setactivationskip n docker/thinpool && lvchange --activate y docker/thinpool'",
            id="it-skips-activation",
        ),
        pytest.param(
            replace(volume(active=False), obstacles=(Obstacle("exported", "in its way"),)),
            "see to its volume group first",
            id="its-group-is-exported",
        ),
        pytest.param(
            replace(short(data_refusal="no suitable extents"), not_allocatable=("/dev/vdc",)),
            "LVM says 'no suitable extents', though volume group docker has 300 free (1.17 GiB): let LVM use all "
            "devices ('pvchange --allocatable y /dev/vdc')",
            id="a-device-may-not-be-allocated-from",
        ),
        pytest.param(short(data_refusal="2 more required"), "as many as the pool's data has stripes", id="stripes"),
        pytest.param(
            replace(short(free=100), unused={"/dev/vdb": 512 * MIB}),
            "let LVM use the 512.00 MiB more of enlarged devices ('pvresize /dev/vdb'",
            id="a-disk-was-enlarged",
        ),
        pytest.param(short(free=100), ": add a device (direct_lvm_devices) and run the playbook grow", id="no-room"),
        pytest.param(
            replace(volume(monitored=False), policy=Policy(80, 20, can_monitor=False)),
            "activation/monitoring=0",
            id="lvm-monitors-nothing",
        ),
    ],
)
def test_advice_is_what_lvm_does_in_that_state(pool, says):
    assert any(says in reason.message for reason in judge(pool, Limits()))


def full(when_full="queue", **changes):
    return replace(status(mode="out_of_data_space", data_used=8000, when_full=when_full), **changes)


NO_ROOM = {"extension": replace(WELL.extension, free=100)}
NOON = 1795435200.0  # 2026-11-23T12:00:00Z
GROW = "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1"
EXTEND = (
    "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args "
    "'lvextend --yes --use-policies docker/thinpool'"
)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        pytest.param(WELL, "ok", id="well"),
        pytest.param(full("queue"), "waiting", id="the-first-minute"),
        # LVM's own setting is still "queue".
        pytest.param(full("error"), "failing", id="after-it"),
        pytest.param(full(""), "", id="a-kernel-that-does-not-tell"),
        pytest.param(status(mode="ro"), "failing", id="read-only"),
        pytest.param(status(mode="fail"), "failing", id="failed"),
        pytest.param(volume(suspended=True), "waiting", id="suspended"),
        pytest.param(replace(WELL, status=None), "", id="no-answer"),
        pytest.param(volume(active=False), "", id="inactive"),
    ],
)
def test_what_becomes_of_writes_is_the_kernels_word(pool, expected):
    assert pool.writes == expected


@pytest.mark.parametrize(
    ("pool", "says", "command"),
    [
        pytest.param(
            full("queue", waiting_since=NOON, **NO_ROOM),
            "docker/thinpool is full, and what is written to it waits since 2026-11-23T12:00:00Z, and fails at "
            "2026-11-23T12:01:00Z. Nothing is lost yet: add a device (direct_lvm_devices) and run the playbook grow",
            GROW,
            id="waiting",
        ),
        pytest.param(
            full("queue", no_space_timeout=0),
            "docker/thinpool is full, and what is written to it waits, for as long as it takes (no_space_timeout is 0)"
            ". Nothing is lost yet: its volume group has room, so run 'lvextend --yes --use-policies docker/thinpool'",
            EXTEND,
            id="waiting-for-ever-with-room",
        ),
        pytest.param(
            full("error", policy=Policy(100, 20)),
            "its volume group has room, so run 'lvextend --yes --extents +200 docker/thinpool'",
            EXTEND.replace("--use-policies", "--extents +200"),
            id="never-extended-by-itself-with-room",
        ),
        pytest.param(
            full("error", policy=Policy(100, 20), extension=replace(WELL.extension, free=30, data_needed=0)),
            "its volume group has room, so run 'lvextend --yes --extents +30 docker/thinpool'",
            EXTEND.replace("--use-policies", "--extents +30"),
            id="never-extended-by-itself-with-little-room",
        ),
        pytest.param(
            full("queue", policy=Policy(100, 20), reserve=512 * MIB),
            "Nothing is lost yet: give it the 512.00 MiB that are kept for it (playbook release_reserve)",
            GROW.replace("grow", "release_reserve") + " -e release_vg=docker -e release_pool=thinpool",
            id="never-extended-by-itself-with-a-reserve",
        ),
        pytest.param(
            full("queue", no_space_timeout=None, **NO_ROOM), "waits, and fails after a minute. Nothing", GROW, id="old"
        ),
        pytest.param(
            full("error", failing_since=NOON, **NO_ROOM),
            "docker/thinpool is full, and what is written to it fails since 2026-11-23T12:00:00Z. Filesystems on it "
            "lose what they cannot write, and may turn read-only (ext4) or shut down (xfs). Make room: add a device "
            "(direct_lvm_devices) and run the playbook grow. Then look at each container that wrote meanwhile, and "
            "restart what complains",
            GROW,
            id="failing",
        ),
        pytest.param(
            full("error", whose=Whose("node1", "containerd"), **NO_ROOM),
            "Make room: add a device (containerd_devmapper_devices) and run the playbook grow with "
            "thin_pool_engine=containerd. Then",
            f"{GROW} -e thin_pool_engine=containerd",
            id="containerds",
        ),
        pytest.param(
            full("error", whose=Whose("node1"), **NO_ROOM),
            "Make room: add a device ('vgextend docker DEVICE') and run 'lvextend --use-policies docker/thinpool'. ",
            "",
            id="whose-it-is-is-not-known",
        ),
        pytest.param(
            full("error", unused={"/dev/vdb": 512 * MIB}, whose=Whose("node1", "containerd"), **NO_ROOM),
            "or the role's variable containerd_devmapper_resize_devices)",
            "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args "
            "'pvresize /dev/vdb && lvextend --yes --use-policies docker/thinpool'",
            id="a-disk-was-enlarged",
        ),
        pytest.param(
            full("queue", reserve=512 * MIB, whose=Whose("node1"), **NO_ROOM),
            "Nothing is lost yet: give it the 512.00 MiB that are kept for it (playbook release_reserve), and add",
            "ansible-playbook devicemapper.containers.release_reserve -i inventory.yml --limit node1 "
            "-e release_vg=docker -e release_pool=thinpool",
            id="with-a-reserve",
        ),
        pytest.param(
            full("queue", reserve=512 * MIB),
            "its volume group has room, so run 'lvextend --yes --use-policies docker/thinpool'",
            EXTEND,
            id="with-a-reserve-and-room",
        ),
        pytest.param(
            replace(volume(health="out_of_data"), status=None, **NO_ROOM),
            "docker/thinpool is full, and what is written to it waits or fails: add",
            GROW,
            id="only-lvm-answers",
        ),
    ],
)
def test_a_full_pool_is_told_with_what_becomes_of_writes_and_what_makes_room(pool, says, command):
    reason = next(reason for reason in judge(pool, Limits()) if reason.kind == "out_of_data")
    assert says in reason.message
    assert reason.command == command
    assert reason.guide.endswith("/docs/guides/full_pool.md")


SICK = {
    "read-only": status(mode="ro", metadata_used=6400),
    "read-only-without-room": replace(status(mode="ro", metadata_used=6400), **NO_ROOM),
    "needs-check": replace(status(needs_check=True, data_used=7900), **NO_ROOM),
    "aborted": replace(status(mode="ro", needs_check=True, data_used=8000, metadata_used=6400), **NO_ROOM),
    "failed": replace(volume(health="failed"), status=PoolStatus(mode="fail"), **NO_ROOM),
}


@pytest.mark.parametrize("name", SICK)
def test_nobody_is_told_to_add_a_disk_or_to_extend_the_data_where_the_metadata_is_sick(name):
    for reason in judge(SICK[name].held_back(), Limits()):
        told = f"{reason.message} {reason.command}"
        assert "direct_lvm_devices" not in told
        assert "grow" not in told.replace("before it can grow", "")
        assert "use-policies" not in told


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("read-only", [("metadata_read_only", "lvextend --poolmetadatasize +25165824b docker/thinpool")]),
        ("read-only-without-room", [("metadata_read_only", "")]),
        ("needs-check", [("needs_check", "")]),
        ("aborted", [("metadata_read_only", ""), ("needs_check", "")]),
        ("failed", [("failed", "")]),
    ],
)
def test_each_sickness_has_a_way_of_its_own(name, commands):
    if name == "read-only-without-room":
        SICK[name] = replace(SICK[name], extension=replace(NO_ROOM["extension"], metadata_needed=101))
    found = {reason.kind: reason for reason in judge(SICK[name].held_back(), Limits()) if "usage" not in reason.kind}
    assert list(found) == [kind for kind, _command in commands]
    for kind, command in commands:
        assert command in found[kind].command
        assert bool(command) == bool(found[kind].command)
    places = {reason.guide for reason in found.values() if reason.kind != "metadata_read_only"}
    assert places <= {"".join(place for place in places if "backup.md" in place)}


def test_a_pool_that_needs_a_check_cannot_be_extended_whatever_its_group_has():
    extension = status(needs_check=True).held_back().extension
    assert (extension.data_possible, extension.metadata_possible) == (False, False)
    assert status().held_back().extension == WELL.extension


@pytest.mark.parametrize(
    ("pool", "says", "command"),
    [
        pytest.param(
            status(data_used=6000),
            "the data of docker/thinpool is 75.00 percent full: see what holds most and remove what is not needed, and "
            "have back what containers have deleted (playbook reclaim)",
            "ansible node1 -i inventory.yml --become --module-name devicemapper.containers.thin_pool_usage_info --args "
            "'vg=docker name=thinpool limit=10'",
            id="it-extends-itself",
        ),
        pytest.param(
            replace(status(data_used=6000), **NO_ROOM),
            "is 75.00 percent full: remove what is not needed, or add a device (direct_lvm_devices) and run the",
            GROW,
            id="it-cannot",
        ),
        pytest.param(
            status(metadata_used=4800),
            "or run 'lvextend --poolmetadatasize +25165824b docker/thinpool'",
            "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args 'lvextend "
            "--poolmetadatasize +25165824b docker/thinpool'",
            id="metadata",
        ),
        pytest.param(
            replace(status(metadata_used=4800), extension=replace(WELL.extension, metadata_needed=301)),
            "or give the volume group room for more of it",
            "",
            id="metadata-without-room",
        ),
        pytest.param(full(), "the data of docker/thinpool is 100.00 percent full", "", id="full-has-its-own-advice"),
    ],
)
def test_a_half_that_is_nearly_full_is_told_with_what_helps_that_half(pool, says, command):
    reason = next(reason for reason in judge(pool, Limits()) if reason.kind.endswith("_usage"))
    assert reason.message.endswith(says) or says in reason.message
    assert reason.command == command


@pytest.mark.parametrize(
    ("pool", "command"),
    [
        pytest.param(volume(active=False), "'lvchange --activate y docker/thinpool'", id="inactive"),
        pytest.param(
            volume(suspended=True), "'dmsetup clear docker-thinpool && lvchange --refresh docker/", id="stuck"
        ),
        pytest.param(
            volume(monitored=False),
            "ansible-playbook devicemapper.containers.monitor -i inventory.yml --limit node1 -e "
            "thin_pool_monitor_repair=true",
            id="not-monitored",
        ),
        pytest.param(volume(low_water_mark=0), "-e thin_pool_monitor_repair=true", id="not-armed"),
        pytest.param(replace(WELL, given_up=("/dev/vdc",)), "'vgck --updatemetadata docker'", id="given-up"),
    ],
)
def test_what_one_command_sets_right_is_told_with_that_command(pool, command):
    assert command in judge(pool, Limits())[0].command


def test_without_a_host_there_is_no_command_to_copy():
    for pool in (full(**NO_ROOM), volume(active=False), status(data_used=6000), volume(monitored=False)):
        assert all(reason.command == "" for reason in judge(replace(pool, whose=Whose("", "docker")), Limits()))
