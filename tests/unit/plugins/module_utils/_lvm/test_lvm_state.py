# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    lvm_config,
    lvm_state,
    obstacles,
    pool_status,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState

EXTENT = 4194304
STATES = [
    "blank",
    "bare_physical_volume",
    "group",
    "data_volume",
    "data_and_metadata",
    "pool_without_profile",
    "pool_not_armed",
    "pool",
    "pool_not_monitored",
    "pool_inactive",
    "pool_and_second_disk",
    "exported_group",
    "foreign_group",
    "pool_in_use_by_docker",
]


@pytest.mark.parametrize(
    ("state", "groups", "devices", "volumes"),
    [
        pytest.param("blank", {}, {}, {}, id="blank"),
        pytest.param("bare_physical_volume", {}, {"/dev/vdb": ("", 0, 0)}, {}, id="bare"),
        pytest.param("group", {"docker": (2559, 2559)}, {"/dev/vdb": ("docker", 2559, 0)}, {}, id="group"),
        pytest.param(
            "data_volume",
            {"docker": (2559, 128)},
            {"/dev/vdb": ("docker", 2559, 2431)},
            {"thinpool": ("linear", 2431, False)},
            id="data-volume",
        ),
        pytest.param(
            "data_and_metadata",
            {"docker": (2559, 103)},
            {"/dev/vdb": ("docker", 2559, 2456)},
            {"thinpool": ("linear", 2431, False), "thinpoolmeta": ("linear", 25, False)},
            id="data-and-metadata",
        ),
        pytest.param(
            "pool_and_second_disk",
            {"docker": (5118, 2637)},
            {"/dev/vdb": ("docker", 2559, 2481), "/dev/vdc": ("docker", 2559, 0)},
            {
                "thinpool": ("thin-pool", 2431, False),
                "thinpool_tdata": ("linear", 2431, True),
                "thinpool_tmeta": ("linear", 25, True),
                "lvol0_pmspare": ("linear", 25, True),
            },
            id="second-disk",
        ),
        pytest.param(
            "foreign_group",
            {"foreign": (2559, 2559), "docker": (2559, 78)},
            {"/dev/vdc": ("foreign", 2559, 0), "/dev/vdb": ("docker", 2559, 2481)},
            {
                "thinpool": ("thin-pool", 2431, False),
                "thinpool_tdata": ("linear", 2431, True),
                "thinpool_tmeta": ("linear", 25, True),
                "lvol0_pmspare": ("linear", 25, True),
            },
            id="several-elements",
        ),
        pytest.param(
            "pool_in_use_by_docker",
            {"docker": (2559, 52)},
            {"/dev/vdb": ("docker", 2559, 2507)},
            {
                "thinpool": ("thin-pool", 2457, False),
                "thinpool_tdata": ("linear", 2457, True),  # two segments, one volume
                "thinpool_tmeta": ("linear", 25, True),
                "lvol0_pmspare": ("linear", 25, True),
            },
            id="volume-of-two-segments",
        ),
    ],
)
def test_groups_devices_and_volumes_are_read(report, state, groups, devices, volumes):
    found = report(state)
    assert {group.name: (group.extents, group.extents_free) for group in found.groups} == groups
    assert {device.device: (device.vg, device.extents, device.extents_used) for device in found.devices} == devices
    assert {v.name: (v.type, v.size // EXTENT, v.hidden) for v in found.volumes} == volumes
    assert len(found.volumes) == len(volumes)


# active, monitored, open, profile, low water mark, data percent, metadata percent
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param("pool_without_profile", (True, True, False, "", 0, 0.0, 10.04), id="without-profile"),
        pytest.param("pool_not_armed", (True, True, False, "docker-thinpool", 0, 0.0, 10.04), id="not-armed"),
        pytest.param("pool", (True, True, False, "docker-thinpool", 3889, 0.0, 10.04), id="armed"),
        pytest.param(
            "pool_not_monitored", (True, False, False, "docker-thinpool", 3889, 0.0, 10.04), id="not-monitored"
        ),
        pytest.param("pool_inactive", (False, False, False, "docker-thinpool", None, None, None), id="inactive"),
        pytest.param("pool_in_use_by_docker", (True, True, True, "docker-thinpool", 9434, 2.47, 10.09), id="in-use"),
    ],
)
def test_a_pools_state_is_read(report, state, expected):
    pool = report(state).volume("docker", "thinpool")
    assert (
        pool.active,
        pool.monitored,
        pool.open,
        pool.profile,
        pool.low_water_mark,
        pool.data_percent,
        pool.metadata_percent,
    ) == expected


def test_a_pools_settings_are_read(report):
    pool = report("pool").volume("docker", "thinpool")
    assert (pool.metadata_size, pool.chunk_size, pool.zero, pool.discards) == (25 * EXTENT, 524288, False, "passdown")
    assert (pool.when_full, pool.health, pool.check_needed, pool.transaction_id) == ("queue", "", False, 0)
    assert (pool.major, pool.minor) == (253, 2)
    assert (pool.data_volume, pool.metadata_volume) == ("thinpool_tdata", "thinpool_tmeta")
    assert (pool.full_name, pool.dm_name, pool.is_pool) == ("docker/thinpool", "docker-thinpool", True)


def test_a_device_is_known_by_its_canonical_path(captured, tmp_path):
    (tmp_path / "vdb").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "vdb")
    found = LvmState.parse(captured("group.json").replace('"/dev/vdb"', f'"{tmp_path}/by-id"'))
    assert found.device(str((tmp_path / "vdb").resolve())).vg == "docker"


def test_a_device_that_is_gone_keeps_lvms_word_for_it(captured):
    assert (
        LvmState.parse(captured("group.json").replace('"/dev/vdb"', '"[unknown]"')).device("[unknown]").vg == "docker"
    )


def test_a_healthy_hidden_volume_needs_no_check(report):
    """LVM says "unknown" of what only pools have."""
    assert not any(volume.check_needed or volume.suspended for volume in report("pool_inactive").volumes)


def test_the_spare_is_found(report):
    assert report("pool").spare("docker").name == "lvol0_pmspare"
    assert report("group").spare("docker") is None


@pytest.mark.parametrize("state", STATES)
def test_both_dialects_of_json_say_the_same(captured, standard_json, state):
    text = captured(f"{state}.json")
    assert LvmState.parse(standard_json(text)) == LvmState.parse(text)


def test_a_pool_that_zeroes_is_read_in_words_and_in_numbers(captured):
    def with_zero(value):
        document = json.loads(captured("pool.json"))
        for row in document["report"][0]["seg"]:
            row["zero"] = value if row["segtype"] == "thin-pool" else row["zero"]
        return LvmState.parse(json.dumps(document)).volume("docker", "thinpool").zero

    assert [with_zero(value) for value in ("zero", "1", 1, "", "0", 0, "unknown")] == [True] * 3 + [False] * 4


@pytest.mark.parametrize("unknown", ["", None, "-1", -1, "-1.00"])
def test_a_failed_pools_use_is_not_known(captured, unknown):
    document = json.loads(captured("pool.json"))
    for row in document["report"][0]["seg"]:
        row["data_percent"] = row["metadata_percent"] = unknown
    pool = LvmState.parse(json.dumps(document)).volume("docker", "thinpool")
    assert (pool.data_percent, pool.metadata_percent) == (None, None)


def test_a_log_beside_the_report_is_left_alone(captured):
    document = json.loads(captured("pool.json"))
    document["log"] = [{"log_seq_num": "1", "log_type": "status", "log_message": "success"}]
    assert LvmState.parse(json.dumps(document)) == LvmState.parse(captured("pool.json"))


def test_tags_are_read_as_words_and_as_a_list(captured, standard_json):
    text = captured("pool_in_use_by_docker.json").replace(
        '"vg_tags":"devicemapper.containers"', '"vg_tags":"a,devicemapper.containers"'
    )
    for dialect in (text, standard_json(text)):
        group = LvmState.parse(dialect).group("docker")
        assert group.tags == ("a", "devicemapper.containers")
        assert group.is_ours


def test_a_group_without_the_tag_is_not_ours(report):
    assert not report("group").group("docker").is_ours


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param('{"report": [', id="cut-off"),
        pytest.param("[]", id="a-list"),
        pytest.param("{}", id="no-report"),
        pytest.param('{"report": [{"pv": [{"pv_name": "/dev/vdb"}]}]}', id="a-field-is-missing"),
        pytest.param("  WARNING: Device for PV not found\n", id="words-alone"),
    ],
)
def test_a_report_that_is_not_understood_is_refused(text):
    with pytest.raises(RefusedError, match=r"LVM's report could not be understood .*lvm fullreport.* 2\.02\.158"):
        LvmState.parse(text)


@pytest.mark.parametrize("text", ['{"report": ["x"]}', '{"report": [null]}', '{"report": [["x"]]}'])
def test_an_element_that_is_no_object_is_refused(text):
    with pytest.raises(RefusedError, match="LVM's report could not be understood"):
        LvmState.parse(text)


def test_a_size_that_is_no_number_is_refused(captured):
    with pytest.raises(RefusedError, match="could not be understood .ValueError"):
        LvmState.parse(captured("group.json").replace('"vg_extent_size":"4194304"', '"vg_extent_size":"4.00m"'))


@pytest.mark.parametrize("state", ["blank", "pool_and_second_disk", "foreign_group"])
def test_what_lvm_prints_around_and_into_its_report_is_left_out(captured, state):
    text = captured(f"{state}.json")
    lines = text.splitlines()
    stray = ["  WARNING: PV /dev/vdz is old", "  Reading all physical volumes. This may take a while...", "", "x {"]
    mixed = [stray[0], *lines[:2], *stray[1:3], *lines[2:], stray[3], stray[0]]
    assert LvmState.parse("\n".join(mixed)) == LvmState.parse(text)


def test_an_unreadable_report_names_what_lvm_said():
    with pytest.raises(RefusedError, match=r"LVM said: lvm\s+\{; WARNING: no room\): see .*lvm.conf.*log and report"):
        LvmState.parse('lvm   {\nlvm     "report"', "  WARNING: no room\n")


def test_all_that_shapes_the_report_is_said_on_the_command_line(captured, commands):
    commands.expect("lvm fullreport", captured("group.json"))
    lvm_state.read()
    (command,) = commands.ran
    for setting in ("log/command_names=0", "report/compact_output=0", "report/mark_hidden_devices=1", "log/silent=0"):
        assert setting in command
    environment = commands.options[0]["env"]
    assert not {"LVM_COMMAND_PROFILE", "LVM_OUT_FD", "LVM_ERR_FD", "LVM_REPORT_FD"} & set(environment)


def twins(captured, *, first, changes):
    """Return the captured pool, and a group of the same name with another pool before or behind it."""
    document = json.loads(captured("pool.json"))
    text = json.dumps(document["report"][0])
    for kind in ("vg", "pv", "lv"):
        for row in document["report"][0].get("seg" if kind == "lv" else kind, []):
            text = text.replace(row[f"{kind}_uuid"], f"other-{row[f'{kind}_uuid']}")
    other = json.loads(text.replace("/dev/vdb", "/dev/vdz"))
    other["vg"][0].update(vg_extent_count="7", **changes)
    for row in other["seg"]:
        row["lv_active"] = ""
    elements = document["report"]
    document["report"] = [other, *elements] if first else [*elements, other]
    return LvmState.parse(json.dumps(document))


@pytest.mark.parametrize("first", [True, False])
def test_two_groups_of_one_name_are_told_apart(captured, first):
    lvm = twins(captured, first=first, changes={})
    group = lvm.group("docker")
    assert group.extents == 2559  # that in use
    assert [device.device for device in lvm.devices_of("docker")] == ["/dev/vdb"]
    assert len([volume for volume in lvm.volumes if volume.name == "thinpool"]) == 2
    assert lvm.volume("docker", "thinpool").active
    (obstacle,) = obstacles.of_group(lvm, group)
    assert obstacle.kind == "name_twice"
    for part in (f"{group.uuid} on /dev/vdb", f"other-{group.uuid} on /dev/vdz", "'vgrename UUID NEWNAME'"):
        assert part in obstacle.message


@pytest.mark.parametrize("first", [True, False])
def test_a_foreign_group_never_shadows_ours(captured, first):
    lvm = twins(captured, first=first, changes={"vg_systemid": "elsewhere"})
    assert lvm.group("docker").extents == 2559
    assert obstacles.of_group(lvm, lvm.group("docker")) == []
    grown = lvm.with_group(replace(lvm.group("docker"), extents=9)).with_volume(
        replace(lvm.volume("docker", "thinpool"), size=1)
    )
    assert (grown.group("docker").extents, grown.volume("docker", "thinpool").size, len(grown.groups)) == (9, 1, 2)
    gone = lvm.without(group="docker")
    assert obstacles.of_group(gone, gone.group("docker"))[0].kind == "foreign"
    assert {volume.vg_uuid for volume in gone.volumes} == {gone.group("docker").uuid}


def test_a_copied_group_of_another_name_hides_no_volume(captured):
    """vgimportclone gives a group and its devices new UUIDs, and leaves those of its volumes (seen)."""
    document = json.loads(captured("pool.json"))
    copied = json.loads(json.dumps(document["report"][0]).replace('"vg_name": "docker"', '"vg_name": "copied"'))
    copied["vg"][0]["vg_uuid"] = "other"
    document["report"].insert(0, copied)
    lvm = LvmState.parse(json.dumps(document))
    assert [lvm.volume(vg, "thinpool").vg_uuid for vg in ("copied", "docker")] == ["other", lvm.group("docker").uuid]


def test_segments_of_more_than_one_kind_are_not_linear(captured):
    document = json.loads(captured("pool.json"))
    rows = document["report"][0]["seg"]
    data = next(row for row in rows if row["lv_name"] == "[thinpool_tdata]")
    rows.append({**data, "segtype": "striped"})
    lvm = LvmState.parse(json.dumps(document))
    assert (lvm.volume("docker", "thinpool_tdata").is_linear, lvm.volume("docker", "thinpool_tmeta").is_linear) == (
        False,
        True,
    )


def test_devices_that_lvm_leaves_out_are_known_by_its_warnings(captured):
    uuid = LvmState.parse(captured("pool.json")).devices[0].uuid
    said = (
        f"  WARNING: Not using device /dev/vdx for PV {uuid}.\n"
        f"  WARNING: PV {uuid} prefers device /dev/vdb because device is used by LV.\n"
        "  WARNING: outdated PV /dev/vdy seqno 5 has been removed in current VG docker seqno 6.\n"
    )
    lvm = LvmState.parse(captured("pool.json"), said * 2)
    assert (lvm.duplicates, lvm.given_up) == ((("/dev/vdx", uuid),), (("/dev/vdy", "docker"),))
    (obstacle,) = obstacles.of_group(lvm, lvm.group("docker"))
    assert obstacle.kind == "duplicate"
    assert "/dev/vdb of volume group docker is there more than once: /dev/vdx" in obstacle.message


@pytest.mark.parametrize(
    ("size", "unused", "can_grow", "has_shrunk"),
    [
        pytest.param(10737418240, 0, False, False, id="as-it-was"),
        pytest.param(10737418240 + EXTENT, 1, True, False, id="enlarged"),
        pytest.param(10737418240 + EXTENT // 8, 0, False, False, id="too-little"),
        pytest.param(10737418240 - EXTENT, 0, False, True, id="shrunk"),
        pytest.param(0, 0, False, False, id="gone"),
    ],
)
def test_a_device_that_has_another_size_than_it_had_is_known(captured, size, unused, can_grow, has_shrunk):
    document = json.loads(captured("group.json"))
    document["report"][0]["pv"][0]["dev_size"] = str(size)
    (device,) = LvmState.parse(json.dumps(document)).devices
    assert (device.unused(EXTENT), device.can_grow(EXTENT), device.has_shrunk) == (unused, can_grow, has_shrunk)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"vg_attr": "wzx-n-"}, "is exported: if it is to be used here, 'vgimport docker'", id="exported"),
        pytest.param({"vg_attr": "rz--n-"}, "is read-only, .*'vgcfgbackup --file FILE docker'", id="read-only"),
        pytest.param({"vg_attr": "wz--nc"}, "is shared with other hosts", id="clustered"),
        pytest.param({"vg_attr": "wz--ns"}, "is shared with other hosts", id="shared"),
        pytest.param({"vg_lock_type": "sanlock"}, "is shared with other hosts", id="locked"),
        pytest.param(
            {"vg_systemid": "web2"},
            r"belongs to another system \(system ID web2; this host has no system ID\).*: vgchange --yes --config "
            r"""'global/system_id_source="lvmlocal" local/system_id="web2"' --systemid "" docker$""",
            id="foreign",
        ),
        pytest.param({"vg_missing_pv_count": "1"}, "misses 1 of its devices", id="device-missing"),
    ],
)
def test_a_group_that_may_not_be_changed_says_why(captured, changes, message):
    document = json.loads(captured("group.json"))
    document["report"][0]["vg"][0].update(changes)
    lvm = LvmState.parse(json.dumps(document))
    (reason,) = (obstacle.message for obstacle in obstacles.of_group(lvm, lvm.group("docker")))
    assert reason.startswith("volume group docker ")
    assert re.search(message, reason)


def test_a_group_in_order_has_no_obstacles(report):
    lvm = report("group")
    assert obstacles.of_group(lvm, lvm.group("docker")) == []


def test_the_hosts_own_system_id_is_no_obstacle(report):
    lvm = report("foreign_group")
    foreign = lvm.group("foreign")
    assert obstacles.of_group(replace(lvm, system_id="other-host"), foreign) == []
    (obstacle,) = obstacles.of_group(replace(lvm, system_id="this-host"), foreign)
    assert obstacle.kind == "foreign"
    assert "this host has the system ID this-host" in obstacle.message


@pytest.mark.parametrize(
    ("state", "marks"),
    [
        pytest.param("blank", {}, id="no-devices"),
        pytest.param("pool_not_armed", {"docker-thinpool": 0}, id="not-armed"),
        pytest.param("pool", {"docker-thinpool": 3889}, id="armed"),
        pytest.param("pool_in_use_by_docker", {"docker-thinpool": 9434}, id="grown"),
    ],
)
def test_low_water_marks_are_read_from_the_kernels_table(table, state, marks):
    assert pool_status.parse_low_water_marks(table(state)) == marks


def test_each_pools_mark_is_read(table):
    both = table("pool") + table("pool_not_armed").replace("docker-thinpool", "my--vg-pool-tpool")
    assert pool_status.parse_low_water_marks(both) == {"docker-thinpool": 3889, "my--vg-pool-tpool": 0}


def test_the_mark_of_a_pool_with_thin_volumes_is_that_of_its_top_layer(captured, table, commands):
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect(
        "dmsetup table --target thin-pool", table("pool").replace("docker-thinpool:", "docker-thinpool-tpool:")
    )
    assert lvm_state.read().volume("docker", "thinpool").low_water_mark == 3889


@pytest.mark.parametrize(
    ("extents", "chunk_size", "threshold", "mark"),
    [
        pytest.param(2047, 524288, 80, 3275, id="the-defaults"),  # seen
        pytest.param(2431, 524288, 80, 3889, id="the-manual"),  # seen
        pytest.param(2457, 524288, 52, 9434, id="threshold-52"),  # seen
        pytest.param(2047, 524288, 100, 0, id="never"),
        pytest.param(2047, 524288, 99, 163, id="late"),
        pytest.param(2047, 524288, 30, 8188, id="below-50-is-50"),
        pytest.param(2047, 65536, 80, 26201, id="small-chunks"),
        pytest.param(1, 3145728, 50, 0, id="less-than-two-chunks"),
    ],
)
def test_the_low_water_mark_is_the_one_that_lvm_gives(extents, chunk_size, threshold, mark):
    assert pool_status.low_water_mark(extents * EXTENT, chunk_size, threshold) == mark


def test_lvm_is_asked_once_and_dmsetup_only_where_a_pool_runs(captured, commands):
    commands.expect(
        "lvm fullreport --all --foreign --shared --units b --nosuffix --reportformat json", captured("group.json")
    )
    assert lvm_state.read().group("docker")
    commands.expect("lvm fullreport", captured("pool_inactive.json"))
    assert lvm_state.read().volume("docker", "thinpool").low_water_mark is None


def test_a_report_with_a_device_missing_still_counts(captured, commands):
    commands.expect("lvm fullreport", captured("group.json"), stderr="WARNING: Couldn't find device", rc=5)
    assert lvm_state.read().group("docker")


@pytest.mark.parametrize(
    ("answer", "system_id"),
    [
        pytest.param("  system ID: web1\n", "web1", id="some"),
        pytest.param("  system ID: web1\n  something else\n", "web1", id="a-line-behind-it"),
        pytest.param("  system ID: \n", "", id="none"),
        pytest.param("  system ID:\n", "", id="none-without-a-blank"),
    ],
)
def test_the_hosts_system_id_is_read_where_a_group_carries_one(captured, table, commands, answer, system_id):
    commands.expect("lvm fullreport", captured("foreign_group.json"))
    commands.expect("lvm systemid", answer)
    commands.expect("dmsetup table", table("foreign_group"))
    found = lvm_state.read()
    assert found.system_id == system_id
    assert found.without(group="docker").system_id == system_id
    assert len(obstacles.of_group(found, found.group("foreign"))) == 1


def test_a_host_without_lvm_is_refused_with_its_packages(monkeypatch):
    monkeypatch.setattr(lvm_state.process, "find", lambda program: None)
    with pytest.raises(
        RefusedError, match=r"LVM is not installed.*lvm2, thin-provisioning-tools and dmeventd.*Red Hat"
    ):
        lvm_state.read()


def test_configuration_is_read_without_quotes(commands):
    commands.expect(
        "lvmconfig --typeconfig full a/profile_dir a/threshold", 'profile_dir="/etc/lvm/profile"\nthreshold=80\n'
    )
    assert lvm_config.configuration("a/profile_dir", "a/threshold") == {
        "profile_dir": "/etc/lvm/profile",
        "threshold": "80",
    }
    commands.expect("lvmconfig --typeconfig full --metadataprofile docker-thinpool a/threshold", "threshold=70\n")
    assert lvm_config.configuration("a/threshold", profile="docker-thinpool") == {"threshold": "70"}


def test_foretold_things_replace_what_was_there(report):
    found = report("pool_and_second_disk")
    assert [device.device for device in found.without(device="/dev/vdc").devices] == ["/dev/vdb"]
    assert found.without(volume=("docker", "thinpool")).volume("docker", "thinpool") is None
    assert found.without(volume=("docker", "thinpool")).group("docker")
    gone = found.without(group="docker")
    assert (gone.groups, gone.volumes) == ((), ())
    assert len(gone.devices) == 2
