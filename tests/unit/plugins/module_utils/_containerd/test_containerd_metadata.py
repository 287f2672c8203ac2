# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases that containerd 1.7 wrote: two containers in one namespace and one in another, all from the same layer.

The machine that they come from had no device mapper, so the snapshotter in them is the one named native, which keeps
its metadata.db in the same way (core/snapshots/storage).
"""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_metadata
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_metadata import (
    ContainerdMetadata,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

CAPTURED = Path(__file__).resolve().parents[3] / "containerd" / "1.7.24" / "records"
LAYER = "sha256:0678b724f7f381fed0478f68542e525f21d9a3f173aef5b69a3449a1a2fec195"
POOL = "containerd-thinpool"
RUNS = "8e611ee50ec0bda6002d072756f8513e37d2025c4e3e36ccebd464715a65651a"
COMMITTED = "614641f93060bb0e541bf9050c77b18d6249402765f4889cb2e5e58b0078f670"
IMAGE = "sha256:8f14ae3ba1c2d7170d451778558bde18aed21d3f98dc9dfcd06b58d5af9e4298"
BASE = "sha256:93106128b665734ae80d46bce51deb53d54c4dc546755cd8bda13aa68d3f5784"
THIN = f"""{POOL}-snap-2: 0 20971520 thin 254:3 2
{POOL}-snap-10: 0 20971520 thin 254:3 10
other-snap-1: 0 8 thin 254:9 1
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Lay the databases out as containerd does, with a task of one container, and one of somebody else's."""
    monkeypatch.setattr(containerd_metadata, "SNAPSHOTTER", "native")
    for name, path in (
        ("metadata", tmp_path / "records"),
        ("meta", tmp_path / "root" / "io.containerd.metadata.v1.bolt"),
    ):
        path.mkdir(parents=True)
        (path / f"{name}.db").write_bytes(gzip.decompress((CAPTURED / f"{name}.db.gz").read_bytes()))
    for task in ("default/web", "default/other"):
        (tmp_path / "state" / "io.containerd.runtime.v2.task" / task).mkdir(parents=True)
    return tmp_path


def read(folder):
    return containerd_metadata.read(str(folder / "records"), POOL, str(folder / "root"), str(folder / "state"))


def test_records_are_read_with_no_parent_before_its_children(folder, commands):
    commands.expect("dmsetup table --target thin", THIN)
    found = read(folder)
    assert found == ContainerdMetadata(
        folder=str(folder / "records"),
        pool=POOL,
        devices=0,
        snapshots=5,
        has_snapshots_file=True,
        keys=(
            ("default", "db"),
            ("default", "web"),
            ("default", LAYER),
            ("k8s.io", "pod"),
            ("k8s.io", LAYER),
        ),
        containers=(("default", "db"), ("default", "web"), ("k8s.io", "pod")),
        tasks=(("default", "web"),),
        active=(f"{POOL}-snap-10", f"{POOL}-snap-2"),
    )
    assert found.paths == [f"{folder}/records/metadata.db"]
    assert not found.is_empty


def test_a_host_without_containerd_has_none(commands, tmp_path):
    commands.expect("dmsetup table --target thin")
    found = read(tmp_path)
    assert (found.is_empty, found.paths, found.keys, found.containers, found.active) == (True, [], (), (), ())


def test_a_damaged_database_is_not_taken_for_an_empty_one(folder, commands):
    path = folder / "records" / "metadata.db"
    path.write_bytes(b"x" * 8192)
    (folder / "records" / f"{POOL}.db").write_bytes(b"")
    commands.expect("dmsetup table --target thin")
    found = read(folder)
    assert (found.devices, found.snapshots, found.is_empty) == (None, None, False)
    (reason,) = containerd_metadata.conflicts(found, None, is_new=True)
    assert "cannot be read as a database" in reason


IN_USE, EMPTY = PoolStatus("rw", 0, 2571, 25600, 486, 19656), PoolStatus("rw", 0, 2571, 25600, 0, 19448)


@pytest.mark.parametrize(
    ("devices", "snapshots", "status", "is_new", "says"),
    [
        pytest.param(0, 0, None, True, None, id="nothing"),
        pytest.param(0, 0, EMPTY, False, None, id="empty-pool"),
        pytest.param(3, 3, IN_USE, False, None, id="in-use"),
        pytest.param(3, 3, None, False, None, id="inactive-pool-cannot-be-asked"),
        pytest.param(3, 3, PoolStatus("fail"), False, None, id="failed-pool-cannot-be-asked"),
        pytest.param(3, 3, None, True, "holds the records of another pool", id="new-pool"),
        pytest.param(0, 3, None, True, "holds the records of another pool", id="new-pool-old-snapshots"),
        pytest.param(3, 3, EMPTY, False, "holds the records of another pool", id="empty-pool-old-records"),
        pytest.param(0, 0, IN_USE, False, "486 chunks in use", id="no-records"),
        pytest.param(0, 3, IN_USE, False, "486 chunks in use", id="devices-gone"),
        pytest.param(3, 0, IN_USE, False, "and none in metadata.db", id="snapshots-gone"),
    ],
)
def test_pool_and_records_must_be_of_each_other(devices, snapshots, status, is_new, says):
    records = ContainerdMetadata("/folder", POOL, devices, snapshots, bool(devices), bool(snapshots))
    found = containerd_metadata.conflicts(records, status, is_new=is_new)
    assert len(found) == bool(says)
    assert says is None or says in found[0]


def test_what_garbage_collection_left_in_a_parents_list_keeps_it_from_being_removed(tmp_path, commands):
    """Docker 26.1 on the snapshotter: a container runs, another was committed, and one of the new image is gone."""
    path = tmp_path / "root" / "io.containerd.metadata.v1.bolt" / "meta.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.decompress((CAPTURED / "docker.db.gz").read_bytes()))
    task = tmp_path / "state" / "io.containerd.runtime.v2.task" / "moby" / RUNS
    task.mkdir(parents=True)
    commands.expect("dmsetup table --target thin", "")
    folders = (str(tmp_path / "records"), POOL, str(tmp_path / "root"), str(tmp_path / "state"))
    found = containerd_metadata.read(*folders, has_docker=True)
    # The committed image is the parent of what is gone, and has parents of its own.
    assert found.keys == (("moby", COMMITTED), ("moby", RUNS), ("moby", f"{RUNS}-init"))
    assert found.stuck == (("moby", f"{COMMITTED}-init"), ("moby", IMAGE), ("moby", BASE))
    assert found.leases == (("moby", COMMITTED),)
    assert [(space, name) for space, _digest, name in found.labels] == [("moby", containerd_metadata.REFERENCE)] * 2
    assert found.tasks == (("moby", RUNS),)
    commands.expect("dmsetup table --target thin", "")
    assert containerd_metadata.read(*folders).tasks == ()


def test_thousands_of_snapshots_are_ordered_in_no_time():
    """A chain, as images of many layers make it, whose every child is another's parent."""
    number = 8000
    chain = {f"{index:05}".encode(): {b"children": {f"{index + 1:05}".encode(): b""}} for index in range(number - 1)}
    chain[f"{number - 1:05}".encode()] = {}
    started = time.process_time()
    order, stuck = containerd_metadata._leaves_first(chain)
    assert time.process_time() - started < 2
    assert order == [f"{index:05}" for index in reversed(range(number))]
    assert stuck == []


def test_leaves_come_first_and_what_waits_for_one_that_is_gone_last():
    tree = {
        b"root": {b"children": {b"a": b"", b"b": b""}},
        b"b": {b"children": {b"c": b""}},
        b"a": {},
        b"c": {},
        b"held": {b"children": {b"gone": b""}},
        b"above": {b"children": {b"held": b""}},
    }
    assert containerd_metadata._leaves_first(tree) == (["a", "c", "b", "root"], ["above", "held"])
