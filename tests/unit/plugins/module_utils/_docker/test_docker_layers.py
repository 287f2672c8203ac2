# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, docker_layers, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace

LAYER = "sha256:4ab1e30c14881d7456751a1d6bb3811d15123cec1808d3be8970634bba8f9085"


def test_every_device_of_the_captured_records_has_its_owner(records):
    found = docker_layers.read(str(records))
    told = {number: (owner.kind, owner.name, owner.images) for number, owner in sorted(found.items())}
    assert told == {
        1: ("base", "base", ()),
        2: ("image_layer", "busybox:latest", ("busybox:latest",)),
        3: ("container_init", "small", ("busybox",)),
        4: ("container", "small", ("busybox",)),
        5: ("container_init", "large", ("busybox",)),
        6: ("container", "large", ("busybox",)),
        7: ("container_init", "middle", ("busybox",)),
        8: ("container", "middle", ("busybox",)),
    }
    assert found[2].id == LAYER
    assert len(found[4].id) == 64
    assert {owner.size for owner in found.values()} == {10 * 1024**3}
    assert {owner.engine for owner in found.values()} == {"docker"}


def change(root: Path, pattern: str, text: str | None) -> None:
    """Put another text into the files of this name, or remove them."""
    paths = list(root.glob(pattern))
    assert paths
    for path in paths:
        path.unlink() if text is None else path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "text", "device", "kind", "name"),
    [
        pytest.param(
            "containers/*/config.v2.json", None, 4, "container", "5ec7a15950fd", id="container-without-a-name"
        ),
        pytest.param("containers/*/config.v2.json", '{"Name":', 4, "container", "5ec7a15950fd", id="half-written"),
        pytest.param(
            "containers/*/config.v2.json", '{"Config": []}', 4, "container", "5ec7a15950fd", id="other-layout"
        ),
        pytest.param(
            "image/devicemapper/repositories.json", "{}", 2, "image_layer", "4e9021a1910e", id="image-without-a-name"
        ),
        pytest.param(
            "image/*/imagedb/content/sha256/*", None, 2, "image_layer", "4ab1e30c1488", id="layer-of-no-image"
        ),
        pytest.param(
            "image/*/imagedb/content/sha256/*", '{"rootfs": []}', 2, "image_layer", "4ab1e30c1488", id="no-layers"
        ),
        pytest.param(
            "image/*/layerdb/mounts/*/mount-id", None, 4, "record", "7da075f90e06", id="container-half-removed"
        ),
        pytest.param("image/*/layerdb/sha256/*/cache-id", None, 2, "record", "7a4da185cd69", id="layer-half-removed"),
    ],
)
def test_what_is_not_known_is_named_as_far_as_it_is(records, pattern, text, device, kind, name):
    change(records, pattern, text)
    owner = docker_layers.read(str(records))[device]
    assert owner.kind == kind
    assert owner.name.startswith(name)


def test_a_record_that_cannot_be_read_is_no_device(records):
    change(records, "devicemapper/metadata/base", "")
    assert sorted(docker_layers.read(str(records))) == [2, 3, 4, 5, 6, 7, 8]


def test_an_image_of_several_names_and_layers(records):
    (content,) = (records / "image/devicemapper/imagedb/content/sha256").iterdir()
    document = json.loads(content.read_text())
    document["rootfs"]["diff_ids"].append("sha256:above")
    (content.parent / ("f" * 64)).write_text(json.dumps(document))
    names = {
        "busybox": {"busybox:latest": f"sha256:{content.name}", "busybox:1": f"sha256:{content.name}"},
        "web": {"web:1": f"sha256:{'f' * 64}", "web@sha256:abc": f"sha256:{'f' * 64}"},
    }
    (records / "image/devicemapper/repositories.json").write_text(json.dumps({"Repositories": names}))
    assert set(docker_layers.read(str(records))[2].images) == {"busybox:1", "busybox:latest", "web:1"}


def test_no_records_have_no_owners(tmp_path):
    assert docker_layers.read(str(tmp_path)) == {}
    assert docker_layers.transaction_id(str(tmp_path)) is None


def test_chain_ids_are_those_of_the_specification():
    # One layer is its own chain; above it, the digest over the chain below, a space, and the layer.
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert docker_layers.chain_ids([]) == []
    assert docker_layers.chain_ids([first]) == [first]
    assert docker_layers.chain_ids([first, second]) == [
        first,
        "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest(),
    ]


@pytest.mark.parametrize(
    ("recorded", "before", "after", "expected"),
    [
        pytest.param(8, 8, 8, True, id="the-same"),
        pytest.param(9, 8, 8, True, id="a-transaction-is-open"),
        pytest.param(9, 8, 10, True, id="some-went-by-meanwhile"),
        pytest.param(7, 8, 8, False, id="older"),
        pytest.param(10, 8, 8, False, id="newer"),
        pytest.param(None, 8, 8, False, id="none"),
    ],
)
def test_records_are_of_a_pool_if_their_transactions_agree(recorded, before, after, expected):
    assert docker_layers.is_of(recorded, before, after) is expected


def test_the_captured_records_are_those_of_the_captured_pool(records):
    assert docker_layers.transaction_id(str(records)) == 8


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        (None, (), ""),
        ('{"storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}', (), "docker-thinpool"),
        ('{"storage-opts": ["dm.thinpooldev=docker-thinpool"]}', (), "docker-thinpool"),
        ("{", (), ""),
        (None, ("--storage-opt", "dm.thinpooldev=/dev/mapper/a-b"), "a-b"),
        (None, ("--storage-opt=dm.thinpooldev=/dev/mapper/a-b",), "a-b"),
    ],
)
def test_the_configured_pool_is_found(text, flags, expected):
    assert docker_layers.configured_pool(DaemonJson.of(text), flags) == expected


def test_records_of_another_pool_are_not_looked_at():
    assert DockerPlace("/x", "").may_be_of("docker-thinpool")
    assert DockerPlace("/x", "docker-thinpool").may_be_of("docker-thinpool")
    assert not DockerPlace("/x", "docker-other").may_be_of("docker-thinpool")


def test_the_data_root_is_where_docker_was_told_to_keep_it(monkeypatch, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text('{"data-root": "/srv/docker", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}')
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(path))
    monkeypatch.setattr(dockerd, "read_unit", dict)
    assert docker_layers.find() == DockerPlace("/srv/docker", "docker-thinpool")
