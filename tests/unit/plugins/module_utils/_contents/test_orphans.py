# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which devices are nobody's, and what must be so before one is removed."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.layouts import Layout
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import orphans
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.orphans import (
    Records,
    Sighting,
    doubt,
    proved,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace

CAPTURED = Path(__file__).resolve().parents[3] / "containerd" / "1.7.24" / "records"


def row(number, mapped=7, transaction_id=3, dm_name=None):
    return {"device_id": number, "mapped": mapped, "transaction_id": transaction_id, "dm_name": dm_name}


def sight(*rows, before=(1, 2), after=(1, 2)):
    return Sighting({one["device_id"]: one for one in rows}, frozenset(before), frozenset(after))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(sight(row(1), row(42)), sight(row(1), row(42)), [42], id="nobodys-both-times"),
        pytest.param(sight(row(1), row(2)), sight(row(1), row(2)), [], id="all-on-record"),
        pytest.param(sight(row(1)), sight(row(42)), [], id="made-in-between"),
        pytest.param(sight(row(42)), sight(row(1)), [], id="gone-in-between"),
        pytest.param(sight(row(42)), sight(row(42), before=(42,)), [], id="on-record-before-the-second"),
        pytest.param(sight(row(42)), sight(row(42), after=(42,)), [], id="on-record-after-the-second"),
        pytest.param(sight(row(42), after=(42,)), sight(row(42)), [], id="on-record-after-the-first"),
        pytest.param(sight(row(42)), sight(row(42, dm_name="x")), [], id="active"),
        pytest.param(sight(row(42, dm_name="x")), sight(row(42)), [], id="was-active"),
        pytest.param(sight(row(42), row(43, dm_name="x")), sight(row(42), row(43)), [], id="another-was-active"),
        pytest.param(sight(row(42)), sight(row(42), row(43, dm_name="x")), [], id="another-is-active"),
        pytest.param(sight(row(42), row(1, dm_name="x")), sight(row(42), row(1, dm_name="x")), [42], id="known-ones"),
        pytest.param(sight(row(42)), sight(row(42, mapped=8)), [], id="written-to"),
        pytest.param(sight(row(42)), sight(row(42, transaction_id=9)), [], id="another-of-that-number"),
    ],
)
def test_a_device_is_nobodys_where_it_is_so_before_and_after(first, second, expected):
    assert list(proved(first, second)) == expected


def test_dockers_devices_are_those_on_its_records(records):
    place = DockerPlace(str(records))
    found = orphans.recorded(place, None, "docker-thinpool")
    assert found == orphans.of_docker(str(records))
    assert (found.ids, found.lost) == (frozenset(range(1, 9)), frozenset())
    assert found.transactions == {number: number for number in range(1, 9)}


def test_nothing_speaks_against_the_records_of_the_pool_that_they_were_captured_with(records, captured):
    found = orphans.of_docker(str(records))
    rows = [list(map(int, line.split())) for line in captured("three_containers.thin_ls").splitlines()]
    assert len(rows) == 8
    assert doubt(found, found, {number: row(number, transaction_id=last) for number, *_chunks, last in rows}) == ""


RECORDS = Records(frozenset({1, 2}), {1: 1, 2: 2})
POOL = {1: row(1, transaction_id=0), 2: row(2, transaction_id=1), 42: row(42)}


@pytest.mark.parametrize(
    ("records", "devices", "says"),
    [
        pytest.param(RECORDS, POOL, "", id="the-pools"),
        pytest.param(RECORDS, {}, "", id="empty-pool"),
        pytest.param(RECORDS, {1: row(1, transaction_id=0)}, "", id="one-is-about-to-be-made"),
        pytest.param(Records(frozenset()), POOL, "not one of the pool's devices is on record", id="none-on-record"),
        pytest.param(Records(frozenset({9})), POOL, "not one of the pool's devices is on record", id="others"),
        pytest.param(
            *(RECORDS, {**POOL, 2: row(2, transaction_id=5)}, "device 2 was made in another transaction"),
            id="dockers-of-another-pool",
        ),
        pytest.param(
            *(Records(RECORDS.ids, lost=frozenset({"abc"})), POOL),
            "1 of the engine's layers have no device on record, such as abc",
            id="records-lost",
        ),
    ],
)
def test_what_speaks_against_records_is_told(records, devices, says):
    told = doubt(records, records, devices)
    assert bool(told) is bool(says)
    assert says in told


def test_what_is_removed_at_that_moment_does_not_speak_against_records():
    before, after = (Records(RECORDS.ids, RECORDS.transactions, frozenset(names)) for names in ({"a"}, {"b"}))
    assert doubt(before, after, POOL) == ""


def test_a_layer_whose_device_is_on_no_record_is_lost(records):
    (folder,) = (records / "image" / "devicemapper" / "layerdb" / "sha256").iterdir()
    name = (folder / "cache-id").read_text(encoding="utf-8")
    (records / "devicemapper" / "metadata" / name).unlink()
    assert orphans.of_docker(str(records)).lost == {name}


@pytest.mark.parametrize(
    ("of", "other"),
    [("docker", "docker/165536.165536"), ("docker/165536.165536", "docker"), ("docker", "docker.20261126T120000Z")],
    ids=["userns-remap", "without-userns-remap", "moved-aside"],
)
def test_what_docker_has_in_another_root_is_on_record(records, tmp_path, of, other):
    """The same pool, by a daemon with other options."""
    kept = tmp_path / "kept"
    records.rename(kept)
    for name in sorted({of, other}):
        shutil.copytree(kept, tmp_path / name, dirs_exist_ok=True)
    metadata = tmp_path / other / "devicemapper" / "metadata"
    (metadata / "more").write_text(json.dumps({"device_id": 42, "transaction_id": 42}), encoding="utf-8")
    assert 42 in orphans.of_docker(str(tmp_path / of)).ids
    (metadata / "more").write_text("no JSON", encoding="utf-8")
    with pytest.raises(RefusedError, match="more cannot be read"):
        orphans.of_docker(str(tmp_path / of))


def test_a_transaction_that_is_closed_while_records_are_read_is_on_record(records, monkeypatch):
    """It is opened, and the device made and written down, after the folder was listed; then another one is opened."""
    path = records / "devicemapper" / "metadata" / "transaction-metadata"
    path.write_text(json.dumps({"open_transaction_id": 9, "device_id": 77}), encoding="utf-8")
    listed = docker_layers.records

    def meanwhile(root):
        found = listed(root)
        path.write_text(json.dumps({"open_transaction_id": 10, "device_id": 78}), encoding="utf-8")
        return found

    monkeypatch.setattr(docker_layers, "records", meanwhile)
    assert {77, 78} <= orphans.of_docker(str(records)).ids


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", '{"device_id": null}', '{"device_id": "x"}', "[" * 5000],
    ids=["empty", "no-json", "a-list", "no-id", "null", "text", "deep"],
)
@pytest.mark.parametrize("name", ["base", "transaction-metadata"])
def test_a_record_that_cannot_be_read_leaves_nothing_to_nobody(records, name, text):
    (records / "devicemapper" / "metadata" / name).write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match=f"{name} cannot be read .* nothing in the pool is nobody's"):
        orphans.of_docker(str(records))


def test_a_folder_that_is_not_dockers_leaves_nothing_to_nobody(tmp_path):
    with pytest.raises(RefusedError, match="has no record of transactions: it is not Docker's"):
        orphans.of_docker(str(tmp_path))


def test_the_device_of_an_open_transaction_is_not_nobodys(records):
    path = records / "devicemapper" / "metadata" / "transaction-metadata"
    path.write_text(json.dumps({"open_transaction_id": 9, "device_hash": "x", "device_id": 77}), encoding="utf-8")
    assert 77 in orphans.of_docker(str(records)).ids


@pytest.fixture
def place(tmp_path):
    return SnapshotterPlace(str(tmp_path), str(tmp_path), "docker-thinpool")


DEVICES = {
    b"docker-thinpool-snap-1": b'{"device_id": 4, "state": 5}',
    b"docker-thinpool-snap-2": b'{"device_id": 9}',
}
NUMBERS = {b"4": b"\x01", b"9": b"\x01", b"5": b"\x00", b"6": b"\x02"}


@pytest.fixture
def databases(monkeypatch, place):
    """Let these be the databases, which a test may change."""
    found = {
        f"{place.folder}/docker-thinpool.db": {b"devices": dict(DEVICES), b"device_ids": dict(NUMBERS)},
        f"{place.folder}/metadata.db": {b"v1": {b"snapshots": {b"default/3/web": {b"id": b"\x01"}}}},
    }
    monkeypatch.setattr(orphans.bbolt, "read", found.__getitem__)
    return found


def test_containerds_devices_are_those_in_its_database(place, databases):
    found = orphans.recorded(DockerPlace("/nonexistent"), place, "docker-thinpool")
    assert (found.ids, found.lost) == ({4, 9}, frozenset())


def test_a_number_that_containerd_has_taken_is_on_record_without_a_device(place, databases):
    databases[f"{place.folder}/docker-thinpool.db"][b"device_ids"][b"7"] = b"\x01"
    assert orphans.of_containerd(place).ids == {4, 7, 9}


def test_a_snapshot_whose_device_is_on_no_record_is_lost(place, databases):
    """As where the database of devices is an older one than that of snapshots."""
    del databases[f"{place.folder}/docker-thinpool.db"][b"devices"][b"docker-thinpool-snap-1"]
    assert orphans.of_containerd(place).lost == {"default/web"}


@pytest.mark.parametrize(
    "changes",
    [
        {b"devices": None},
        {b"device_ids": None},
        {b"device_ids": {b"x": b"\x01"}},
        {b"devices": {b"x": b"no JSON"}},
        {b"devices": {b"x": b"{}"}},
        {b"devices": {b"x": b"[]"}},
        {b"devices": {b"\xff": b'{"device_id": 1}'}},
        {b"devices": b"x"},
    ],
    ids=["no-devices", "no-numbers", "no-number", "no-json", "no-id", "a-list", "no-name", "no-bucket"],
)
def test_a_database_that_is_not_understood_whole_leaves_nothing_to_nobody(place, databases, changes):
    database = databases[f"{place.folder}/docker-thinpool.db"]
    database.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del database[name]
    with pytest.raises(RefusedError, match="cannot be read whole .* nothing in the pool is nobody's"):
        orphans.of_containerd(place)


def test_snapshots_that_cannot_be_read_leave_nothing_to_nobody(place, databases):
    del databases[f"{place.folder}/metadata.db"]
    with pytest.raises(RefusedError, match="metadata.db cannot be read whole"):
        orphans.of_containerd(place)


def test_a_pool_that_another_containerd_has_on_record_leaves_nothing_to_nobody(place, databases, monkeypatch, tmp_path):
    """A pool that first was the system's containerd's, and then that of k3s, which has all of its devices."""
    other = tmp_path / "k3s" / "io.containerd.snapshotter.v1.devmapper"
    other.mkdir(parents=True)
    monkeypatch.setattr(orphans.layouts, "PRESETS", {"k3s": Layout(root=str(tmp_path / "k3s"))})
    assert orphans.recorded(DockerPlace("/nonexistent"), place, "docker-thinpool").ids == {4, 9}
    (other / "docker-thinpool.db").touch()
    for docker, containerd in ((DockerPlace("/nonexistent"), place), (DockerPlace("/nonexistent", "x"), None)):
        with pytest.raises(RefusedError, match="another containerd has records of this pool too .*k3s"):
            orphans.recorded(docker, containerd, "docker-thinpool")


def test_a_database_that_is_not_there_or_damaged_leaves_nothing_to_nobody(place, tmp_path):
    with pytest.raises(RefusedError, match="No such file"):
        orphans.of_containerd(place)
    content = gzip.decompress((CAPTURED / "metadata.db.gz").read_bytes())
    (tmp_path / "docker-thinpool.db").write_bytes(content[:5000])
    with pytest.raises(RefusedError, match="cannot be read whole"):
        orphans.of_containerd(place)
