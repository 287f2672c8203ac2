# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which container each thin device of containerd is, from databases that containerd 1.7 wrote."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt, snapshots
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshots import SnapshotterPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import ProcessError

CAPTURED = Path(__file__).resolve().parents[3] / "containerd" / "1.7.24" / "records"


# encoding/binary, PutUvarint.
@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"\x00", 0),
        (b"\x01", 1),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xac\x02", 300),
        (b"\xff\x7f", 16383),
        (b"\x80\x80\x01", 16384),
        (b"\x01\xff", 1),
        (b"", 0),
    ],
)
def test_numbers_are_read_seven_bits_a_byte(text, number):
    assert snapshots.uvarint(text) == number


@pytest.mark.parametrize("version", ["1.6.20", "1.7.24", "2.1.9"])
def test_no_pool_is_in_a_configuration_as_it_is_packaged(version):
    text = (CAPTURED.parents[1] / version / "packaged.toml").read_text(encoding="utf-8")
    assert snapshots.parse_configuration(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            'root = "/srv/containerd"\n[plugins]\n  [plugins."io.containerd.snapshotter.v1.devmapper"]\n'
            '    pool_name = "docker-thinpool"\n    root_path = ""\n',
            SnapshotterPlace(
                "/srv/containerd", "/srv/containerd/io.containerd.snapshotter.v1.devmapper", "docker-thinpool"
            ),
            id="1.x",
        ),
        pytest.param(
            "root = '/var/lib/containerd'\n[plugins.'io.containerd.snapshotter.v1.devmapper']\n"
            "pool_name = 'docker-thinpool'\nroot_path = '/srv/records'\n",
            SnapshotterPlace("/var/lib/containerd", "/srv/records", "docker-thinpool"),
            id="2.x",
        ),
        pytest.param(
            '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/x"\npool_name = "y"\n',
            None,
            id="another-snapshotter",
        ),
    ],
)
def test_the_pool_and_its_records_are_found_in_what_containerd_says(text, expected):
    assert snapshots.parse_configuration(text) == expected


def test_a_containerd_that_does_not_say_its_configuration_has_no_pool(monkeypatch):
    def fails(*command, **_limits):
        raise ProcessError("does not start", command)

    monkeypatch.setattr(process, "find", lambda program: None)
    assert snapshots.find() is None
    monkeypatch.setattr(process, "find", lambda program: "/usr/bin/containerd")
    monkeypatch.setattr(process, "run", fails)
    assert snapshots.find() is None


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Lay the databases out as containerd does; that of the pool is made up after them, with one device more."""
    for name, path in (("metadata", tmp_path / "records"), ("meta", tmp_path / "io.containerd.metadata.v1.bolt")):
        path.mkdir(parents=True)
        (path / f"{name}.db").write_bytes(gzip.decompress((CAPTURED / f"{name}.db.gz").read_bytes()))
    monkeypatch.setattr(snapshots, "SNAPSHOTTER", "native")
    read = bbolt.read
    numbers = sorted(map(int, snapshots._keys(read(str(tmp_path / "records" / "metadata.db")))))
    devices = {
        f"pool-snap-{number}".encode(): json.dumps({"device_id": 100 + number, "size": 1024 * number}).encode()
        for number in [*numbers, 999]
    }
    devices[b"pool-snap-1000"] = b"no JSON"

    def answer(path, *rest):
        return {b"devices": devices} if path.endswith("/pool.db") else read(path, *rest)

    monkeypatch.setattr(snapshots.bbolt, "read", answer)
    return SnapshotterPlace(str(tmp_path), str(tmp_path / "records"), "pool")


def test_each_device_is_its_containers(place, tmp_path):
    owners = snapshots.read(place, str(tmp_path / "docker"))
    assert len(owners) == 6
    assert {owner.name for owner in owners.values() if owner.kind == "container"} == {"db", "web", "pod"}
    # The layers of images whose content is not there have no name.
    assert [owner.kind for owner in owners.values()].count("snapshot") == 3
    assert all(owner.size == 1024 * (number - 100) for number, owner in owners.items())
    nobodys = owners[1099]
    assert (nobodys.kind, nobodys.name) == ("snapshot", "pool-snap-999")


def test_records_that_are_not_there_are_no_records(tmp_path):
    place = SnapshotterPlace(str(tmp_path), str(tmp_path / "records"), "pool")
    assert snapshots.read(place, str(tmp_path / "docker")) == {}
