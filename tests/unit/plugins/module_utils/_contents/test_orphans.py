# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which devices are nobody's, and what must be so before one is removed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import orphans
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.orphans import Sighting, proved
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
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
        pytest.param(sight(row(42)), sight(row(42, mapped=8)), [], id="written-to"),
        pytest.param(sight(row(42)), sight(row(42, transaction_id=9)), [], id="another-of-that-number"),
    ],
)
def test_a_device_is_nobodys_where_it_is_so_before_and_after(first, second, expected):
    assert list(proved(first, second)) == expected


def test_dockers_devices_are_those_on_its_records(records):
    place = DockerPlace(str(records))
    found = orphans.recorded(place, None, "docker-thinpool")
    assert found == orphans.of_docker(str(records)) == frozenset(range(1, 9))


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
    assert 77 in orphans.of_docker(str(records))


@pytest.fixture
def place(tmp_path):
    return SnapshotterPlace(str(tmp_path), str(tmp_path), "docker-thinpool")


def test_containerds_devices_are_those_in_its_database(place, monkeypatch):
    rows = {b"pool-snap-1": b'{"device_id": 4, "state": 5}', b"pool-snap-2": b'{"device_id": 9}'}
    monkeypatch.setattr(orphans.bbolt, "read", lambda path: {b"devices": rows})
    assert orphans.recorded(DockerPlace("/nonexistent"), place, "docker-thinpool") == {4, 9}


@pytest.mark.parametrize(
    "found",
    [
        {},
        {b"devices": {b"x": b"no JSON"}},
        {b"devices": {b"x": b"{}"}},
        {b"devices": {b"x": b"[]"}},
        {b"devices": b"x"},
    ],
    ids=["no-devices", "no-json", "no-id", "a-list", "no-bucket"],
)
def test_a_database_that_is_not_understood_whole_leaves_nothing_to_nobody(place, monkeypatch, found):
    monkeypatch.setattr(orphans.bbolt, "read", lambda path: found)
    with pytest.raises(RefusedError, match="cannot be read whole .* nothing in the pool is nobody's"):
        orphans.of_containerd(place)


def test_a_database_that_is_not_there_or_damaged_leaves_nothing_to_nobody(place, tmp_path):
    with pytest.raises(RefusedError, match="No such file"):
        orphans.of_containerd(place)
    content = gzip.decompress((CAPTURED / "metadata.db.gz").read_bytes())
    (tmp_path / "docker-thinpool.db").write_bytes(content[:5000])
    with pytest.raises(RefusedError, match="cannot be read whole"):
        orphans.of_containerd(place)
