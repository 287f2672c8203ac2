# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool with three containers as it was captured, of which the filesystems have things free."""

from __future__ import annotations

import contextlib
import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import (
    discards,
    free_space,
    metadata_snapshot,
    pool_usage,
    reclaim,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.free_space import Extent, MountPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_reclaim

CHUNK = 512 * 1024
POOL = {"vg": "docker", "name": "thinpool"}


class Host:
    """The pool of three containers, its devices 4, 6 and 8, and what was done to their filesystems."""

    def __init__(self, records, captured, table, commands):
        self.places = (DockerPlace(str(records), "docker-thinpool"), None)
        self.captured, self.table, self.commands = captured, table, commands
        self.listed = captured("three_containers.thin_ls")
        self.table_of_thin = captured("thin.table")
        self.free: list[Extent] = []
        self.given: list[int] = []
        self.not_mounted: set[str] = set()
        self.error: OSError | None = None

    def status(self, **words):
        line = self.captured("metadata_snapshot.status").replace(" 342 ", " - ")
        for was, now in words.items():
            line = line.replace(f" {was} ", f" {now} ")
        return line

    def expect(self, *, sights=1, live=True, **words):
        """Script what the host is asked until it is decided what to do."""
        expect, held = self.commands.expect, self.captured("metadata_snapshot.status")
        status = self.status(**words)
        expect("lvm fullreport", self.captured("pool_in_use_by_docker.json"))
        expect("dmsetup table --target thin-pool", self.table("pool_in_use_by_docker"))
        expect("dmsetup status", status)
        self.sight(status, held)
        expect("dmsetup info", self.captured("metadata_snapshot.info"))
        if live:
            self.hold(status, held)
            expect("thin_dump -m /dev/mapper/docker-thinpool_tmeta --dev-id", self.captured("three_containers.xml"))
            expect("dmsetup message docker-thinpool 0 release_metadata_snap")
        for _sight in range(1, sights):  # right before anything is done
            self.sight(status, held)

    def sight(self, status, held):
        self.hold(status, held)
        self.commands.expect("dmsetup table --target thin", self.table_of_thin)
        self.commands.expect("dmsetup status", held)
        self.commands.expect("thin_ls", self.listed)
        self.commands.expect("dmsetup message docker-thinpool 0 release_metadata_snap")

    def hold(self, status, held):
        self.commands.expect("dmsetup status", status)
        self.commands.expect("dmsetup message docker-thinpool 0 reserve_metadata_snap")
        self.commands.expect("dmsetup status", held)
        self.commands.expect("dmsetup info", self.captured("metadata_snapshot.info"))

    def find_mounts(self, devices):
        return {
            number: [MountPlace(number, f"/mnt/{number}", "/", "xfs", read_only=number == "253:3")]
            for number in devices
            if number not in self.not_mounted
        }

    @contextlib.contextmanager
    def opened(self, places):
        yield places[0], int(places[0].device.partition(":")[2])

    def free_extents(self, _descriptor):
        if self.error:
            raise self.error
        return self.free

    def give_back(self, descriptor, ranges, rate):
        self.given.append((descriptor, sum(window.bytes for window in ranges) // CHUNK, rate))
        return 3 * CHUNK


@pytest.fixture
def host(monkeypatch, tmp_path, records, captured, table, commands):
    found = Host(records, captured, table, commands)
    monkeypatch.setattr(metadata_snapshot, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(thin_pool_reclaim, "LOCK", str(tmp_path / "alone"))
    monkeypatch.setattr(metadata_snapshot, "MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(pool_usage, "places", lambda: found.places)
    monkeypatch.setattr(reclaim.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(thin_pool_reclaim, "COMMITTED", 0)
    monkeypatch.setattr(discards, "NUMBERS", str(tmp_path))
    for name in ("find_mounts", "opened", "free_extents", "give_back"):
        monkeypatch.setattr(free_space, name, getattr(found, name))
    return found


def test_check_mode_tells_what_would_come_back(run_module, host, commands):
    # The first GiB of each is free; device 4 is mounted to be read only.
    host.free = [Extent(0, 2**30)]
    host.expect()
    result = run_module(thin_pool_reclaim, check=True, **POOL)
    assert result["changed"]
    by_id = {one["device_id"]: one for one in result["containers"]}
    assert {number: one["owner"]["name"] for number, one in by_id.items()} == {6: "large", 8: "middle", 4: "small"}
    assert by_id[4]["why_not"] == "its filesystem is mounted to be read only"
    assert by_id[6]["reclaimable"] > 0
    assert result["reclaimable"] == sum(one["reclaimable"] for one in by_id.values())
    assert result["used_before"] - result["used_after"] == result["reclaimable"]
    assert [action.split(" (")[0] for action in result["actions"]] == [
        "discard what is free in the filesystem of container large",
        "discard what is free in the filesystem of container middle",
    ]
    assert result["lines"][0].endswith("can come back")
    assert host.given == []
    assert not any("delete" in command for command in commands.ran)


def test_what_comes_back_is_never_more_than_a_container_has_for_itself(run_module, host):
    host.free = [Extent(0, 2**40)]
    host.expect()
    result = run_module(thin_pool_reclaim, check=True, **POOL)
    exclusive = {6: 405, 8: 205}
    assert {
        one["device_id"]: one["reclaimable"] // CHUNK for one in result["containers"] if not one["why_not"]
    } == exclusive


def test_each_filesystem_gives_back_in_its_turn_at_the_rate(run_module, host, commands):
    host.free = [Extent(0, 2**40)]
    host.expect()
    commands.expect("dmsetup status", host.status().replace("1208/", "1202/"))
    result = run_module(thin_pool_reclaim, rate="200m", **POOL)
    mapped = {4: 875, 5: 675}  # numbers of the devices 6 and 8, and all chunks that they have
    assert host.given == [(number, chunks, 200 * 2**20) for number, chunks in mapped.items()]
    assert [one["discarded"] for one in result["containers"]] == [3 * CHUNK, 3 * CHUNK, None]
    assert (result["used_before"] - result["used_after"]) // CHUNK == 6
    assert result["lines"][0] == "docker/thinpool: 604.00 MiB in use, 3.00 MiB came back"


def test_nothing_free_is_nothing_to_do(run_module, host):
    host.expect()
    result = run_module(thin_pool_reclaim, **POOL)
    assert (result["changed"], result["actions"], result["reclaimable"]) == (False, [], 0)
    assert result["used_after"] == result["used_before"]


def test_a_device_that_is_not_mounted_and_a_filesystem_that_does_not_tell_are_told(run_module, host):
    host.not_mounted = {"253:4"}
    host.error = OSError(25, "Inappropriate ioctl for device")
    host.expect()
    result = run_module(thin_pool_reclaim, **POOL)
    why = {one["device_id"]: one["why_not"] for one in result["containers"]}
    assert why[6].startswith("no filesystem of it is mounted on this host")
    assert why[8].startswith("its filesystem does not tell what it has free")
    assert not result["changed"]


def test_a_filesystem_that_gives_nothing_back_keeps_no_other_from_it(run_module, host, monkeypatch, commands):
    def give_back(descriptor, ranges, rate):
        if descriptor == 4:
            raise OSError(30, "Read-only file system")
        return host.give_back(descriptor, ranges, rate)

    monkeypatch.setattr(free_space, "give_back", give_back)
    host.free = [Extent(0, 2**40)]
    host.expect()
    commands.expect("dmsetup status", host.status())
    result = run_module(thin_pool_reclaim, **POOL)
    assert [one["why_not"] for one in result["containers"]][:2] == ["Read-only file system", None]
    assert [given[0] for given in host.given] == [5]


ORPHAN = "42 7 7 0 3\n"
DELETE = "dmsetup message docker-thinpool 0 'delete 42'"


def test_a_device_of_nobodys_is_shown_and_stays(run_module, host):
    host.listed += ORPHAN
    host.expect(live=False)
    result = run_module(thin_pool_reclaim, trim=False, **POOL)
    assert result["orphans"] == [{"device_id": 42, "exclusive": 7 * CHUNK, "dm_name": None, "removed": False}]
    assert not result["changed"]
    assert "device 42 is on nobody's record and holds 3.50 MiB; remove_orphans removes it" in str(result["lines"])


@pytest.mark.parametrize("check", [True, False])
def test_it_is_removed_where_that_is_asked_for(run_module, host, commands, check):
    host.listed += ORPHAN
    host.expect(sights=2, live=False)
    if not check:
        commands.expect(DELETE)
        commands.expect("dmsetup status", host.status())
    result = run_module(thin_pool_reclaim, check=check, trim=False, remove_orphans=True, **POOL)
    assert result["orphans"][0]["removed"]
    assert result["actions"] == ["remove device 42 of thin pool docker/thinpool, which nobody has on record (3.50 MiB)"]
    assert result["reclaimable"] == 7 * CHUNK


def test_one_that_is_active_is_never_removed(run_module, host):
    host.listed += ORPHAN
    host.table_of_thin += "mine: 0 204800 thin 253:2 42\n"
    host.expect(sights=2, live=False)
    result = run_module(thin_pool_reclaim, trim=False, remove_orphans=True, **POOL)
    assert result["orphans"][0] == {"device_id": 42, "exclusive": 7 * CHUNK, "dm_name": "mine", "removed": False}
    assert not result["changed"]
    assert "it is active as mine, so somebody may use it" in str(result["lines"])


def test_another_one_that_is_active_keeps_all_of_them(run_module, host):
    """Who has a device that is on no record may have others, which are not active just now."""
    host.listed += ORPHAN + "43 7 7 0 3\n"
    host.table_of_thin += "mine: 0 204800 thin 253:2 43\n"
    host.expect(sights=2, live=False)
    result = run_module(thin_pool_reclaim, trim=False, remove_orphans=True, **POOL)
    assert [one["removed"] for one in result["orphans"]] == [False, False]
    assert not result["changed"]


def test_one_that_is_on_record_when_it_is_to_be_removed_stays(run_module, host, records, monkeypatch):
    """As where somebody else removed it, and the engine made another of that number."""
    host.listed += ORPHAN
    host.expect(sights=2, live=False)
    carry_out = thin_pool_reclaim.module_frame.carry_out

    def meanwhile(module, steps):
        record = json.dumps({"device_id": 42, "size": 1, "transaction_id": 9})
        (records / "devicemapper" / "metadata" / "new").write_text(record, encoding="utf-8")
        carry_out(module, steps)

    monkeypatch.setattr(thin_pool_reclaim.module_frame, "carry_out", meanwhile)
    result = run_module(thin_pool_reclaim, trim=False, remove_orphans=True, **POOL)
    assert "device 42 of thin pool docker/thinpool is on record by now, and was left alone" in result["msg"]


def test_what_is_nobodys_is_seen_last_after_the_filesystems_were_looked_at(run_module, host, commands):
    host.listed += ORPHAN
    host.free = [Extent(0, 2**30)]
    host.expect(sights=2)
    commands.expect(DELETE)
    commands.expect("dmsetup status", host.status())
    run_module(thin_pool_reclaim, remove_orphans=True, **POOL)
    ran = [command for command in commands.ran if command.startswith(("thin_", DELETE))]
    assert [command.split()[0] for command in ran] == ["thin_ls", "thin_dump", "thin_ls", "dmsetup"]


def test_two_runs_are_not_at_work_at_once(run_module, host, monkeypatch, tmp_path):
    monkeypatch.setattr(thin_pool_reclaim.process, "TIMEOUT", 0)
    with locks.locked(str(tmp_path / "alone"), 0, create=True):
        assert "alone is locked by another process" in run_module(thin_pool_reclaim, **POOL)["msg"]


def test_nothing_is_nobodys_where_a_record_cannot_be_read(run_module, host, records):
    (records / "devicemapper" / "metadata" / "base").write_text("no JSON", encoding="utf-8")
    host.expect(live=False)
    result = run_module(thin_pool_reclaim, trim=False, remove_orphans=True, **POOL)
    assert result["orphans"] == []
    assert "base cannot be read" in result["orphans_unclear"]


def test_nothing_is_nobodys_where_the_records_are_of_another_pool(run_module, host, records):
    path = records / "devicemapper" / "metadata" / "transaction-metadata"
    path.write_text(json.dumps({"open_transaction_id": 80, "device_id": 1}), encoding="utf-8")
    host.expect(live=False)
    result = run_module(thin_pool_reclaim, trim=False, remove_orphans=True, **POOL)
    assert (result["orphans"], result["changed"]) == ([], False)
    assert result["orphans_unclear"] == "the records of the engine are not those of this pool"


def test_what_belongs_to_no_container_is_told_with_who_removes_it(run_module, host, records):
    folder = records / "devicemapper" / "metadata"
    record = {"device_id": 42, "size": 1, "transaction_id": 4, "deleted": True}
    (folder / "left").write_text(json.dumps(record), encoding="utf-8")
    host.listed += ORPHAN
    host.expect(live=False)
    result = run_module(thin_pool_reclaim, trim=False, **POOL)
    (left,) = result["leftovers"]
    assert (left["device_id"], left["name"]) == (42, "left")
    assert "dockerd goes on with that when it starts" in left["message"]
    assert result["orphans"] == []


def test_a_snapshot_that_nothing_refers_to_is_told_with_the_command_that_removes_it():
    owner = {"engine": "containerd", "kind": "snapshot", "name": "a b", "id": "a b"}
    left = thin_pool_reclaim.leftover({"device_id": 4, "exclusive": 9, "dm_name": None, "owner": owner})
    assert left["message"].endswith("'ctr --namespace NAME snapshots --snapshotter devmapper remove 'a b''")
    assert thin_pool_reclaim.leftover({"device_id": 4, "exclusive": 9, "dm_name": "x", "owner": owner}) is None


def test_a_pool_that_ignores_discards_is_told_and_left(run_module, host):
    host.expect(live=False, discard_passdown="ignore_discard")
    result = run_module(thin_pool_reclaim, **POOL)
    assert [stop["kind"] for stop in result["stops"]] == ["ignored"]
    assert (result["containers"], result["changed"]) == ([], False)


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("rw", "out_of_data_space", "thin pool docker/thinpool is full, and filesystems on it may wait"),
        ("rw", "ro", "thin pool docker/thinpool is read-only"),
        ("queue_if_no_space -", "queue_if_no_space needs_check", "must be checked before it is changed"),
    ],
)
def test_a_pool_that_can_give_nothing_back_is_refused(run_module, host, commands, captured, table, was, now, says):
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_in_use_by_docker"))
    commands.expect("dmsetup status", host.status(**{was: now}))
    assert says in run_module(thin_pool_reclaim, **POOL)["msg"]


def test_a_pool_that_is_not_there_is_refused(run_module, host, commands, captured, table):
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_in_use_by_docker"))
    assert "there is no thin pool docker/none" in run_module(thin_pool_reclaim, vg="docker", name="none")["msg"]


def test_the_data_of_a_pool_has_a_device_of_its_own(captured):
    devices = metadata_snapshot.parse_devices(captured("metadata_snapshot.info"))
    assert devices[device_names.join("docker", "thinpool_tdata")].number == "253:1"
