# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_sizing, rehearsal

DATA = "lvextend --test --yes --extents +487 docker/thinpool"
METADATA = "lvextend --test --yes --poolmetadatasize +25165824b docker/thinpool"  # 6 extents
# lvm2 2.03.16, of a pool that is striped over two devices where one more was added (seen).
REFUSAL = (
    "  TEST MODE: Metadata will NOT be updated and volumes will not be (de)activated.\n"
    "  WARNING: something else\n"
    "  Insufficient suitable allocatable extents for logical volume thinpool_tdata: 22 more required\n"
)
SAID = "Insufficient suitable allocatable extents for logical volume thinpool_tdata: 22 more required"


def as_it_is(lvm):
    return lvm


def with_device(**changes):
    return lambda lvm: lvm.with_device(replace(lvm.device("/dev/vdc"), **changes))


def with_volume(name, **changes):
    return lambda lvm: lvm.with_volume(replace(lvm.volume("docker", name), **changes))


def with_group(**changes):
    return lambda lvm: lvm.with_group(replace(lvm.group("docker"), **changes))


def ask(lvm, **options):
    group, pool = lvm.group("docker"), lvm.volume("docker", "thinpool")
    extension = pool_sizing.auto_extension(group, pool, lvm.spare("docker"), 20)
    return rehearsal.asked(lvm, group, pool, extension, **options)


def test_where_figures_settle_it_lvm_is_not_asked(report, commands):
    found = ask(report("pool_and_second_disk"))
    assert (found.data_possible, found.metadata_possible) == (True, True)
    assert commands.ran == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_device(allocatable=False), id="not-allocatable"),
        pytest.param(with_device(device_size=1024**3), id="shrunk"),
        pytest.param(with_volume("thinpool_tdata", is_linear=False), id="striped-or-mirrored"),
        pytest.param(with_volume("thinpool_tmeta", is_linear=False), id="mirrored-metadata"),
        pytest.param(with_volume("thinpool_tdata", attributes="Twc-ao----"), id="contiguous-data"),
        pytest.param(with_volume("thinpool_tdata", attributes="TwI-ao----"), id="locked-by-pvmove"),
        pytest.param(with_volume("thinpool", attributes="twn-a-t---"), id="a-policy-of-the-pool"),
        pytest.param(with_group(attributes="wz--c-"), id="a-group-that-allocates-contiguously"),
        pytest.param(with_group(attributes="wz--l-"), id="a-group-that-clings"),
    ],
)
def test_else_lvms_word_decides(report, commands, change):
    lvm = change(report("pool_and_second_disk"))
    commands.expect(DATA, stderr=REFUSAL, rc=5)
    commands.expect(METADATA)
    found = ask(lvm)
    assert (found.data_possible, found.data_refusal) == (False, SAID)
    assert (found.metadata_possible, found.metadata_refusal) == (True, "")


def test_where_lvm_may_only_read_nothing_is_possible(report, commands):
    found = ask(report("pool_and_second_disk"), may_write=False)
    assert (found.data_possible, found.metadata_possible, commands.ran) == (False, False, [])
    assert found.data_refusal == found.metadata_refusal == rehearsal.WRITES_NOTHING


def test_without_extents_there_is_nothing_to_ask(report, commands):
    found = ask(with_group(extents_free=2, attributes="wz--l-")(report("pool_and_second_disk")))
    assert (found.data_possible, found.metadata_possible, commands.ran) == (False, False, [])


@pytest.mark.parametrize(("rc", "possible"), [(0, True), (5, False)])
def test_whether_metadata_grows_without_its_spare_is_lvms_word(report, commands, rc, possible):
    lvm = with_group(extents_free=7)(report("pool_and_second_disk"))
    commands.expect(METADATA, stderr=REFUSAL if rc else "", rc=rc)
    assert ask(lvm).metadata_possible is possible


def test_a_group_with_an_obstacle_is_not_asked(report, commands):
    found = ask(with_group(attributes="wzx-n-")(report("pool_and_second_disk")))
    assert (found.data_possible, found.metadata_possible, commands.ran) == (False, False, [])
    assert "is exported" in found.data_refusal


def test_every_step_that_lvm_would_refuse_is_named_once(commands):
    one, two = ("pvcreate", "--yes", "/dev/vdb"), ("pvcreate", "--yes", "/dev/vdc")
    steps = [Step("say"), Step("make one", one, rehearsal=one), Step("make two", two, rehearsal=two)]
    commands.expect("pvcreate --test --yes /dev/vdb", stderr="  no.\n  no.\n", rc=5)
    commands.expect("pvcreate --test --yes /dev/vdc", stderr="  WARNING: alone\n", rc=5)
    with pytest.raises(RefusedErrors) as refusal:
        rehearsal.check(steps)
    assert refusal.value.reasons == (
        "LVM would refuse to make one: no. Nothing was written",
        "LVM would refuse to make two: WARNING: alone. Nothing was written",
    )


def test_a_refusal_without_words_is_told_with_its_command(commands):
    commands.expect("lvextend --test", rc=5)
    assert rehearsal.refusal(("lvextend", "docker/thinpool")) == (
        "lvextend --test docker/thinpool failed with status 5: it gave no reason"
    )


# lvm2 2.03.16 on blank devices, with nothing in the way (seen).
PRETENDED = (
    "  TEST MODE: Metadata will NOT be updated and volumes will not be (de)activated.\n"
    "  WARNING: wrong magic number in mda header on /dev/loop2 at 4096\n"
    "  WARNING: Failed to write an MDA of VG docker.\n"
    "  Failed to write VG docker.\n"
)


@pytest.mark.parametrize(
    ("stderr", "settings", "said"),
    [
        pytest.param(PRETENDED, "metadata_read_only=0\n", "", id="only-pretended"),
        pytest.param(
            PRETENDED,
            "metadata_read_only=1\n",
            rehearsal.WRITES_NOTHING,
            id="read-only",
        ),
        pytest.param(
            "  Devices have inconsistent logical block sizes (4096 and 512).\n  Failed to write VG docker.\n",
            None,
            "Devices have inconsistent logical block sizes (4096 and 512).; Failed to write VG docker.",
            id="something-else-too",
        ),
        pytest.param("", None, "vgcreate --test docker failed with status 5: it gave no reason", id="without-words"),
    ],
)
def test_a_new_group_that_fails_only_where_labels_are_pretended_would_be_made(commands, stderr, settings, said):
    commands.expect("vgcreate --test docker", stderr=stderr, rc=5)
    if settings is not None:
        commands.expect("lvmconfig --typeconfig full global/metadata_read_only", settings)
    assert rehearsal.refusal(("vgcreate", "docker")) == said
