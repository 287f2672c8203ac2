# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import effects


@pytest.fixture
def lacking(report, commands):
    """Return a function that tells what is said when a pool is not as planned, in which lvm.conf has a setting."""

    def tell(changes, settings="", state="pool"):
        planned = report(state)
        found = planned.with_volume(replace(planned.volume("docker", "thinpool"), **changes))
        if settings is not None:
            commands.expect("lvmconfig --typeconfig full activation/monitoring activation/volume_list", settings)
        with pytest.raises(RefusedErrors) as refusal:
            effects.check_pool(planned, found, "docker", "thinpool")
        return refusal.value.reasons

    return tell


SAID = "LVM's commands succeeded, and yet "
POOL = f"{SAID}thin pool docker/thinpool is not"


@pytest.mark.parametrize(
    ("changes", "settings", "reason"),
    [
        pytest.param(
            {"active": False, "skips_activation": True},
            None,
            f"{POOL} active (it has the activation skip flag: 'lvchange --setactivationskip n docker/thinpool')",
            id="activation-skip",
        ),
        pytest.param(
            {"active": False},
            'volume_list=["other"]\n',
            f'{POOL} active (lvm.conf has activation/volume_list=["other"])',
            id="left-out",
        ),
        pytest.param({"active": False}, "", f"{POOL} active", id="for-no-known-reason"),
        pytest.param(
            {"monitored": False},
            "monitoring=0\n",
            f"{POOL} monitored (lvm.conf has activation/monitoring=0)",
            id="monitoring-off",
        ),
        pytest.param({"monitored": False}, "monitoring=1\n", f"{POOL} monitored", id="not-monitored"),
        pytest.param(
            {"low_water_mark": 0},
            None,
            f"{SAID}the kernel's low water mark of docker/thinpool is 0 chunks".replace(
                "docker/thinpool", "thin pool docker/thinpool"
            ),
            id="not-armed",
        ),
        pytest.param(
            {"size": 1}, None, f"{SAID}the data of thin pool docker/thinpool has 1 bytes and not 10196353024", id="data"
        ),
        pytest.param(
            {"metadata_size": 1},
            None,
            f"{SAID}the metadata of thin pool docker/thinpool has 1 bytes and not 104857600",
            id="metadata",
        ),
        pytest.param(
            {"profile": ""},
            None,
            f"{SAID}profile of thin pool docker/thinpool is '', not 'docker-thinpool'",
            id="profile",
        ),
        pytest.param({"zero": True}, None, f"{SAID}zero of thin pool docker/thinpool is True, not False", id="zeroing"),
    ],
)
def test_a_step_whose_effect_is_not_seen_is_not_done(lacking, changes, settings, reason):
    assert lacking(changes, settings) == (reason,)


def test_what_should_no_longer_be_is_told(report):
    planned = report("pool_inactive")
    pool = planned.volume("docker", "thinpool")
    active = planned.with_volume(replace(pool, active=True))
    with pytest.raises(RefusedErrors, match="is still active"):
        effects.check_pool(planned, active, "docker", "thinpool")
    with pytest.raises(RefusedErrors, match="is still there"):
        effects.check_pool(planned.without(volume=("docker", "thinpool")), planned, "docker", "thinpool")
    with pytest.raises(RefusedErrors, match="there is no thin pool docker/thinpool"):
        effects.check_pool(planned, planned.without(volume=("docker", "thinpool")), "docker", "thinpool")
    on, off = (
        report("pool").with_volume(replace(report("pool").volume("docker", "thinpool"), monitored=m))
        for m in (True, False)
    )
    with pytest.raises(RefusedErrors, match="is still monitored"):
        effects.check_pool(off, on, "docker", "thinpool")


def test_a_pool_that_has_grown_further_meanwhile_is_as_planned(report):
    planned = report("pool")
    pool = planned.volume("docker", "thinpool")
    found = planned.with_volume(replace(pool, size=pool.size * 2, low_water_mark=pool.low_water_mark * 2))
    effects.check_pool(planned, found, "docker", "thinpool")
    gone = planned.without(volume=("docker", "thinpool"))
    effects.check_pool(gone, gone, "docker", "thinpool")


@pytest.mark.parametrize(
    ("planned", "found", "reason"),
    [
        ("bare_physical_volume", "blank", "/dev/vdb is no physical volume that LVM lists"),
        ("blank", "bare_physical_volume", "/dev/vdb is still a physical volume"),
        ("group", "bare_physical_volume", "/dev/vdb is in no volume group"),
        ("bare_physical_volume", "group", "/dev/vdb is in volume group docker"),
    ],
)
def test_devices_are_looked_at_again(report, planned, found, reason):
    with pytest.raises(RefusedErrors) as refusal:
        effects.check_devices(report(planned), report(found), ["/dev/vdb"])
    assert refusal.value.reasons == (SAID + reason,)
    effects.check_devices(report(planned), report(planned), ["/dev/vdb"])


def test_a_label_that_did_not_grow_is_told(report):
    found = report("bare_physical_volume")
    planned = found.with_device(replace(found.device("/dev/vdb"), size=2 * found.device("/dev/vdb").size))
    with pytest.raises(RefusedErrors, match="LVM uses 10737418240 bytes of /dev/vdb and not 21474836480"):
        effects.check_devices(planned, found, ["/dev/vdb"])


@pytest.mark.parametrize(
    ("planned", "found", "reason"),
    [
        ("group", "blank", "volume group docker is not there"),
        ("blank", "group", "volume group docker is still there"),
        ("pool_and_second_disk", "pool", "/dev/vdc is not in volume group docker"),
        ("pool", "pool_and_second_disk", "/dev/vdc is still in volume group docker"),
    ],
)
def test_groups_are_looked_at_again(report, planned, found, reason):
    with pytest.raises(RefusedErrors) as refusal:
        effects.check_group(report(planned), report(found), "docker")
    assert refusal.value.reasons == (SAID + reason,)
    effects.check_group(report(planned), report(planned), "docker")


def test_a_group_whose_devices_did_not_grow_is_told(report):
    found = report("group")
    group = found.group("docker")
    planned = found.with_group(replace(group, extents=group.extents + 5))
    with pytest.raises(RefusedErrors, match="volume group docker has 2559 extents and not 2564"):
        effects.check_group(planned, found, "docker")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(False, True, id="monitored-since"),
        pytest.param(True, True, id="monitored-all-the-while"),
        pytest.param(False, False, id="never-monitored"),
    ],
)
def test_a_replacement_may_leave_a_pool_better_monitored(report, before, after):
    planned = report("pool")
    pool = planned.volume("docker", "thinpool")
    planned, found = (planned.with_volume(replace(pool, monitored=state)) for state in (before, after))
    effects.check_replacement(planned, found, "docker", "/dev/gone")


def test_a_replacement_may_not_leave_a_pool_unmonitored(report, commands):
    planned = report("pool")
    found = planned.with_volume(replace(planned.volume("docker", "thinpool"), monitored=False))
    commands.expect("lvmconfig --typeconfig full activation/monitoring activation/volume_list", "monitoring=1\n")
    with pytest.raises(RefusedErrors, match="is not monitored"):
        effects.check_replacement(planned, found, "docker", "/dev/gone")
