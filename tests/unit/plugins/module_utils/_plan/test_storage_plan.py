# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pool's part of every engine's plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_sizing, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG, LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import storage_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.storage_plan import (
    HostState,
    Plan,
    PoolStages,
    Stage,
    StorageSpec,
)

GIB = 1024**3
VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10 * GIB)
SPEC = StorageSpec(
    vg="docker",
    pool="thinpool",
    data_size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    autoextend_threshold=80,
    autoextend_percent=20,
    autoextend_room="warn",
    wipe_signatures=False,
    destroy_contents=False,
    resize_devices=False,
    reserve=None,
)
MAKE = Step("make it", ("make",))


def test_a_plan_has_its_stages_in_order_and_a_diff_of_those_with_steps():
    plan = Plan()
    stages = (Stage("thin_pool", [], "one", {"a": 1}, {"a": 1}), Stage("two", [MAKE], "two", {}, {"b": 2}))
    PoolStages(stages).add_to(plan, Stage("boot", [MAKE], "/x.conf", "", "text"))
    plan.add("three", [MAKE])
    assert list(plan.stages) == ["thin_pool", "boot", "two", "three"]
    assert list(plan.stages.values()) == [[], [MAKE], [MAKE], [MAKE]]
    assert plan.actions == ["make it"] * 3
    assert plan.diff == [
        {"before_header": "/x.conf", "after_header": "/x.conf", "before": "", "after": "text"},
        {"before_header": "two", "after_header": "two", "before": {}, "after": {"b": 2}},
    ]


def test_the_pools_part_knows_which_stages_have_steps():
    part = PoolStages((Stage("one", [], "", None, None), Stage("two", [MAKE], "", None, None)))
    assert [part.takes(name) for name in ("one", "two", "three")] == [False, True, False]


def test_refusals_are_gathered_and_it_goes_on():
    refusals: list[str] = []

    def refuse(error):
        raise error

    assert storage_plan.attempt(refusals, lambda: refuse(RefusedError("one")), 1) == 1
    assert storage_plan.attempt(refusals, lambda: refuse(RefusedErrors(["two", "three"])), 2) == 2
    assert storage_plan.attempt(refusals, lambda: 3, 0) == 3
    assert refusals == ["one", "two", "three"]


def test_packages_are_installed_in_one_step():
    assert storage_plan.install([]) == []
    assert [step.action for step in storage_plan.install(["lvm2", "dmeventd"])] == ["install packages lvm2, dmeventd"]


def test_the_pools_spec_is_what_the_variables_say():
    found = SPEC.for_pool()
    assert (found.pool_name, found.profile) == (SPEC.pool_name, "docker-thinpool")
    assert (found.threshold, found.percent) == (80, 20)


@pytest.mark.parametrize(
    ("state", "changes", "says"),
    [
        pytest.param("pool", {}, "cannot be extended automatically: the next 20 percent take", id="no-room"),
        pytest.param("pool", {"autoextend_threshold": 100}, "", id="never-extended"),
        pytest.param("pool_and_second_disk", {}, "", id="room"),
    ],
)
def test_a_pool_without_room_is_told(report, state, changes, says):
    _extension, sentence = storage_plan.room(report(state), replace(SPEC, **changes))
    assert bool(sentence) is bool(says)
    assert says in sentence


def test_without_a_pool_there_is_nothing_to_extend():
    assert storage_plan.room(LvmState(), SPEC) == (None, "")


VDC = BlockDevice("/dev/vdc", "/dev/vdc", size=10 * GIB)


def host(lvm, *devices, **changes):
    profile = profiles.decide(profiles.Profile("/p"), threshold=80, percent=20)[1]
    state = HostState(
        lvm=lvm,
        devices=devices,
        signatures={},
        profile=replace(profile, dmeventd_stale=False),
        pool_status=None,
        missing_packages=(),
        candidates=(),
    )
    return replace(state, **changes)


def plan(state, **options):
    refusals: list[str] = []
    small = {"data_size": Size.parse("1%VG"), "metadata_size": Size.parse("2m")}
    spec = replace(SPEC, **{**small, **options.pop("spec", {})})
    return storage_plan.plan_setup(state, spec, refusals, **options), refusals


def test_a_group_on_other_disks_is_only_taken_where_that_is_asked_for(report):
    lvm = report("pool")
    _stages, refusals = plan(host(lvm, VDC), in_use=False)
    (refusal,) = refusals
    for words in ("docker is there already, on /dev/vdb", f"'vgrename {lvm.group('docker').uuid} NEWNAME'"):
        assert words in refusal
    for state, in_use in (
        (host(lvm, VDC), True),
        (host(lvm, VDB, VDC), False),
        (host(report("blank"), VDC), False),
    ):
        assert plan(state, in_use=in_use)[1] == []


def test_enlarged_devices_are_used_where_that_is_asked_for(report):
    lvm = report("pool")
    lvm = lvm.with_device(replace(lvm.device("/dev/vdb"), device_size=20 * GIB))
    assert not plan(host(lvm, VDB))[0].takes("volume_group")
    stages, _refusals = plan(host(lvm, VDB), spec={"resize_devices": True})
    assert stages.takes("volume_group")
    assert stages.lvm.group("docker").extents == 5119


def test_room_is_lvms_word_as_long_as_nothing_is_changed(report):
    lvm = report("pool_and_second_disk")
    group, pool = lvm.group("docker"), lvm.volume("docker", "thinpool")
    extension = pool_sizing.auto_extension(group, pool, lvm.spare("docker"), 20)
    refused = replace(extension, data_refusal="2 more required")
    stages, _refusals = plan(host(lvm, VDB, extension=refused))
    assert "LVM says '2 more required', though volume group docker has 2637 free" in stages.warning
    assert "set autoextend_percent" not in stages.warning
    stages, _refusals = plan(host(lvm, VDB, extension=refused), spec={"data_size": Size.parse("10g")})
    assert stages.warning == ""
    assert plan(host(lvm, VDB, extension=refused), spec={"autoextend_room": "fail"})[1][0].startswith("thin pool")


def test_what_enlarged_devices_have_is_offered(report):
    lvm = report("pool")
    lvm = lvm.with_device(replace(lvm.device("/dev/vdb"), device_size=20 * GIB))
    assert "Set resize_devices to use the 2560 extents more that /dev/vdb has" in storage_plan.room(lvm, SPEC)[1]


def test_where_lvm_monitors_nothing_the_plan_is_refused(report):
    assert "activation/monitoring=0" in plan(host(report("pool"), VDB, can_monitor=False))[1][0]


@pytest.mark.parametrize(
    ("tags", "devices", "options", "says"),
    [
        pytest.param(True, [VDB], {}, "/dev/vdc of volume group docker is not among the devices", id="one-left-out"),
        pytest.param(True, [VDB, VDC], {}, "", id="all-named"),
        pytest.param(True, [VDB], {"names_all": False}, "", id="only-what-is-added-is-named"),
        pytest.param(False, [VDB], {}, "", id="a-group-of-somebody"),
    ],
)
def test_a_disk_leaves_a_group_of_ours_by_its_own_playbook_alone(report, tags, devices, options, says):
    lvm = report("pool_and_second_disk")
    if tags:
        lvm = lvm.with_group(replace(lvm.group("docker"), tags=(OWNER_TAG,)))
    refusals = plan(host(lvm, *devices), **options)[1]
    assert bool(refusals) is bool(says)
    assert says in "".join(refusals)
    assert not says or "playbook devicemapper.containers.replace_disk" in refusals[0]


def test_a_reserve_is_kept_behind_the_pool_and_is_no_room_for_its_extension(report):
    stages, refusals = plan(host(report("pool_and_second_disk"), VDB), spec={"reserve": Size.parse("10g")})
    assert refusals == []
    (step,) = next(stage.steps for stage in stages.stages if stage.name == "reserve")
    assert step.action == ("keep docker/thinpool_reserve: 10.00 GiB for thin pool docker/thinpool in an emergency")
    assert step.rehearsal[0] == "lvcreate"
    assert stages.extension.free == 2637 - 2560
    assert "cannot be extended automatically" in stages.warning
    assert not plan(host(report("pool_and_second_disk"), VDB))[0].takes("reserve")


def test_a_reserve_that_is_kept_needs_nothing(report):
    spec = {"reserve": Size.parse("10g")}
    lvm = plan(host(report("pool_and_second_disk"), VDB), spec=spec)[0].lvm
    assert not plan(host(lvm, VDB), spec=spec)[0].takes("reserve")


BIG = {"data_size": Size.parse("90%VG"), "metadata_size": Size.parse("1%VG"), "reserve": Size.parse("20%VG")}


def test_a_new_pool_that_leaves_no_room_for_its_reserve_is_refused(report):
    (refusal,) = plan(host(report("blank"), VDB), spec=BIG)[1]
    assert refusal.startswith("reserve: 20%VG cannot be kept for thin pool docker/thinpool: that takes ")


def test_a_reserve_that_was_given_to_the_pool_ends_no_later_run(report):
    stages, refusals = plan(host(report("pool"), VDB), spec={"reserve": Size.parse("20%VG")})
    assert (refusals, stages.takes("reserve")) == ([], False)
    assert "reserve: 20%VG cannot be kept for thin pool docker/thinpool" in stages.warning
