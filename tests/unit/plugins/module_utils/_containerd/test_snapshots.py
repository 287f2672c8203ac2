# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which container each thin device of containerd is, from databases that containerd 1.7 wrote."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
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
    numbers = sorted(map(int, snapshots.keys(read(str(tmp_path / "records" / "metadata.db")))))
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


# --- Documents of a registry, which whoever made the image wrote ------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """Return a content store, and what lays down a document in it and returns its digest."""
    folder = tmp_path / "io.containerd.content.v1.content" / "blobs" / "sha256"
    folder.mkdir(parents=True)

    def put(document, digest=""):
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        name = digest or hashlib.sha256(text).hexdigest()
        (folder / name).write_bytes(text)
        return f"sha256:{name}"

    return str(tmp_path), put


def layers_of(store, digest):
    return list(snapshots._layers(store[0], digest))


def image(put, *layers):
    return put({"config": {"digest": put({"rootfs": {"diff_ids": list(layers)}})}})


def test_an_image_and_an_index_are_read(store):
    _root, put = store
    one, other = image(put, "sha256:a"), image(put, "sha256:b", "sha256:c")
    assert layers_of(store, one) == [["sha256:a"]]
    index = put({"manifests": [{"digest": one}, {"digest": other}]})
    assert layers_of(store, put({"manifests": [{"digest": index}]})) == [["sha256:a"], ["sha256:b", "sha256:c"]]


@pytest.mark.parametrize(
    "name", ["../../../secret", "../" * 9 + "etc/passwd", "/etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n"]
)
def test_a_digest_that_is_none_is_not_followed(store, tmp_path, name):
    root, put = store
    (tmp_path / "secret").write_text(json.dumps({"config": {"digest": "x"}, "rootfs": {"diff_ids": ["led here"]}}))
    assert snapshots._blob(root, f"sha256:{name}") == {}
    assert snapshots._blob(root, "../sha256:" + "a" * 64) == {}
    assert layers_of(store, put({"config": {"digest": f"sha256:{name}"}})) == [[]]


@pytest.mark.parametrize("what", ["FIFO", "/dev/zero", "/dev/stdin"])
def test_a_document_that_is_no_file_is_none(store, tmp_path, what):
    _root, put = store
    path = tmp_path / "io.containerd.content.v1.content" / "blobs" / "sha256" / ("b" * 64)
    if what == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to(what)
    assert layers_of(store, f"sha256:{'b' * 64}") == []
    assert layers_of(store, put({"manifests": [{"digest": f"sha256:{'b' * 64}"}]})) == []


def test_a_document_that_is_too_large_or_too_deep_is_none(store):
    _root, put = store
    assert layers_of(store, put(b" " * (snapshots.LARGEST_DOCUMENT + 1) + b"{}")) == []
    assert layers_of(store, put(b'{"config":' * 3000 + b"1" + b"}" * 3000)) in ([], [[]])


def test_an_index_that_names_itself_ends(store):
    _root, put = store
    digest = "c" * 64
    put({"manifests": [{"digest": f"sha256:{digest}"}] * 2000, "config": {"digest": "x"}}, digest)
    started = time.monotonic()
    assert layers_of(store, f"sha256:{digest}") == [[]]
    assert time.monotonic() - started < 5


def test_of_indexes_without_end_so_many_are_read(store, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_DOCUMENTS", 10)
    _root, put = store
    read = []
    real = snapshots._blob
    monkeypatch.setattr(snapshots, "_blob", lambda root, digest: read.append(digest) or real(root, digest))
    put({"manifests": [{"digest": f"sha256:{number:064x}"} for number in range(5000)]}, "d" * 64)
    for number in range(30):
        put({"manifests": [{"digest": f"sha256:{5000 + number:064x}"}]}, f"{number:064x}")
    layers_of(store, f"sha256:{'d' * 64}")
    assert len(read) == 10


@pytest.mark.parametrize("odd", [1, "x", [1, "x", None, {}], {"a": 1}, None, True])
def test_a_document_of_another_form_has_no_layers(store, odd):
    _root, put = store
    for document in ({"manifests": odd}, {"config": odd}, {"config": {"digest": odd}}, odd):
        assert [one for one in layers_of(store, put(document)) if one] == []
    assert [one for one in layers_of(store, put({"config": {"digest": put({"rootfs": odd})}})) if one] == []
    diff_ids = put({"config": {"digest": put({"rootfs": {"diff_ids": odd}})}})
    assert all(isinstance(part, str) for one in layers_of(store, diff_ids) for part in one)


def test_a_number_without_an_end_is_read_as_far_as_64_bits():
    started = time.monotonic()
    assert snapshots.uvarint(b"\xff" * 1_000_000) < 1 << 70
    assert time.monotonic() - started < 1
