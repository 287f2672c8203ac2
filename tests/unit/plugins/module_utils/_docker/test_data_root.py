# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import data_root
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus

EMPTY = PoolStatus("rw", 0, 2571, 25600, 0, 19448)
IN_USE = PoolStatus("rw", 16, 2584, 25600, 486, 19656)
OURS = {"has_records": True, "has_base": True, "transaction_id": 16}


# What was laid out, and what is found.
RECORDS = {"has_directory": True, "has_records": True, "has_base": True}


def ids(index):
    """Return the ID of a container that docker_root lays out."""
    return f"{index:064x}"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        pytest.param({}, {}, id="no-images"),
        pytest.param({"images": {"overlay2": 0}}, {"images": {"overlay2": 0}}, id="started-once"),
        pytest.param(
            {"images": {"overlay2": 2, "devicemapper": 1}},
            {"images": {"overlay2": 2, "devicemapper": 1}},
            id="images-of-two-drivers",
        ),
        pytest.param(
            {"containers": ["overlay2", "devicemapper", "overlay2"]},
            {"containers": {"overlay2": [ids(0), ids(2)], "devicemapper": [ids(1)]}},
            id="containers-of-two-drivers",
        ),
        pytest.param({"containers": [""]}, {"containers": {"unknown": [ids(0)]}}, id="container-of-no-driver"),
        pytest.param({"transaction": 1}, {**RECORDS, "transaction_id": 1}, id="records"),
        pytest.param(
            {"transaction": 0},
            {**RECORDS, "transaction_id": 0},
            id="records-of-no-transaction",
        ),
        pytest.param({"loop_files": True}, {"has_directory": True, "has_loop_files": True}, id="loop-files"),
        pytest.param(
            {"set_up_device": "/dev/vdb"},
            {
                "has_directory": True,
                "set_up_device": "/dev/vdb",
                "set_up": {"Device": "/dev/vdb", "ThinpPercent": 95},
            },
            id="set-up-by-docker",
        ),
        pytest.param(
            {"transaction": 7, "loop_files": True},
            {**RECORDS, "transaction_id": 7, "has_loop_files": True},
            id="a-pool-on-loop-files",
        ),
    ],
)
def test_a_data_root_is_read(docker_root, there, expected):
    root = str(docker_root(**there))
    assert data_root.read(root) == DockerData(root=root, **expected)


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_where_docker_never_ran_is_nothing(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    root = str(tmp_path / name)
    assert data_root.read(root) == DockerData(root=root)


# The records are there all the same, so that they are never taken for those of the pool.
@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "{}", '{"open_transaction_id":"16"}', "\udcff"])
def test_records_that_cannot_be_read_have_no_transaction(docker_root, text):
    root = docker_root(transaction=16)
    file = root / "devicemapper" / "metadata" / "transaction-metadata"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = data_root.read(str(root))
    assert (found.has_records, found.transaction_id) == (True, None)


@pytest.mark.parametrize("text", [None, "", "[]", '{"Driver":null}'])
def test_a_container_that_does_not_say_its_driver_is_counted(docker_root, text):
    root = docker_root()
    folder = root / "containers" / "0badc0de"
    folder.mkdir()
    if text is not None:
        (folder / "config.v2.json").write_text(text, encoding="utf-8")
    assert data_root.read(str(root)).containers == {"unknown": ["0badc0de"]}


def test_a_mount_point_is_told():
    assert not data_root.read("/proc").is_movable
    assert data_root.read("/proc/1").is_movable


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(DockerData(), [], id="nothing"),
        pytest.param(DockerData(images={"overlay2": 0}), [], id="driver-without-images"),
        pytest.param(DockerData(images={"devicemapper": 3}, containers={"devicemapper": ["c0"]}), [], id="our-driver"),
        pytest.param(
            DockerData(
                images={"overlay2": 2, "devicemapper": 3, "btrfs": 0}, containers={"aufs": ["a"], "overlay2": [*"bcde"]}
            ),
            ["0 images and 1 containers of driver aufs", "2 images and 4 containers of driver overlay2"],
            id="two-others",
        ),
    ],
)
def test_what_other_drivers_hold_is_told(data, expected):
    assert data.other_drivers == expected


OVERLAY2 = "/var/lib/docker holds 2 images and 0 containers of driver overlay2, which Docker no longer shows"
LOOP = "/var/lib/docker/devicemapper holds the loop files of loop-lvm mode"
NEW = "/var/lib/docker/devicemapper holds the records of another pool: with a new one Docker would end with 'Base"
OTHER = "/var/lib/docker/devicemapper holds the records of another pool: they end at transaction "
SET_UP = "/var/lib/docker/devicemapper/setup-config.json says that Docker itself made a pool on /dev/vdb"


# Docker's data, the pool's status (None: it is to be made), whether Docker does not run on it yet, and how the
# reasons begin.
@pytest.mark.parametrize(
    ("data", "status", "switching", "expected"),
    [
        pytest.param({}, None, True, [], id="fresh-host"),
        pytest.param({}, EMPTY, True, [], id="fresh-pool"),
        pytest.param({"images": {"overlay2": 0}}, None, True, [], id="docker-started-once"),
        pytest.param({"images": {"overlay2": 2}}, None, True, [OVERLAY2], id="other-driver"),
        pytest.param({"images": {"overlay2": 2}}, EMPTY, True, [OVERLAY2], id="other-driver-and-a-pool"),
        pytest.param({"images": {"overlay2": 2}, **OURS}, IN_USE, False, [], id="other-driver-left-beside"),
        pytest.param({"images": {"devicemapper": 2}, **OURS}, IN_USE, True, [], id="our-driver"),
        pytest.param(OURS, IN_USE, False, [], id="records-of-the-pool"),
        pytest.param(
            {"has_records": True, "has_base": True, "transaction_id": 17},
            IN_USE,
            False,
            [],
            id="records-with-an-open-transaction",
        ),
        pytest.param(
            {"has_records": True, "has_base": True, "transaction_id": 18},
            IN_USE,
            False,
            [f"{OTHER}18, the pool is at 16"],
            id="ahead",
        ),
        pytest.param(
            {"has_records": True, "has_base": True, "transaction_id": 15},
            IN_USE,
            False,
            [f"{OTHER}15, the pool is at 16"],
            id="behind",
        ),
        pytest.param({"has_records": True}, IN_USE, False, [f"{OTHER}None"], id="records-that-cannot-be-read"),
        pytest.param(OURS, EMPTY, True, [f"{OTHER}16, the pool is at 0"], id="records-beside-an-empty-pool"),
        pytest.param(OURS, None, True, [NEW], id="records-and-no-pool"),
        pytest.param(
            {**RECORDS, "transaction_id": 0},
            None,
            True,
            [NEW],
            id="early-records-and-no-pool",
        ),
        pytest.param({"has_loop_files": True}, EMPTY, True, [LOOP], id="loop-files"),
        pytest.param({"has_loop_files": True, **OURS}, None, False, [LOOP], id="loop-files-have-their-records"),
        pytest.param({"set_up_device": "/dev/vdb"}, None, True, [SET_UP], id="set-up-by-docker"),
        pytest.param(
            {"images": {"overlay2": 2}, "set_up_device": "/dev/vdb", **OURS},
            None,
            True,
            [OVERLAY2, NEW, SET_UP],
            id="everything",
        ),
    ],
)
def test_what_does_not_fit_the_pool_is_told(data, status, switching, expected):
    found = data_root.conflicts(DockerData(**data), status, switching=switching)
    assert [reason[: len(start)] for reason, start in zip(found, expected)] == expected
    assert len(found) == len(expected)


# An empty pool with records whose first transaction, the base device, was closed: the pool was made anew under them.
def test_an_empty_pool_is_not_the_one_with_the_recorded_base_device(docker_root):
    data = data_root.read(str(docker_root(transaction=1)))
    assert data_root.conflicts(data, EMPTY, switching=False)


@pytest.mark.parametrize("mode", ["fail", "error"])
def test_a_failed_pool_is_not_taken_for_another(mode):
    found = data_root.conflicts(DockerData(**OURS), PoolStatus(mode), switching=False)
    assert not any("records of another pool" in reason for reason in found)


@pytest.mark.parametrize(
    ("data", "status", "expected"),
    [
        pytest.param({}, None, "", id="no-pool"),
        pytest.param({}, EMPTY, "", id="fresh-pool"),
        pytest.param(OURS, IN_USE, "", id="records-of-it"),
        pytest.param({}, IN_USE, "the pool has 486 chunks in use (transaction 16), and /var/lib/docker", id="in-use"),
        pytest.param(
            {},
            PoolStatus("rw", 2, 11, 25600, 0, 19448),
            "the pool has 0 chunks in use (transaction 2)",
            id="transactions-alone",
        ),
        pytest.param(
            {},
            PoolStatus("rw", 0, 11, 25600, 3, 19448),
            "the pool has 3 chunks in use (transaction 0)",
            id="chunks-alone",
        ),
    ],
)
def test_a_pool_in_use_without_its_records_is_told(data, status, expected):
    found = data_root.unusable(DockerData(**data), status)
    assert len(found) == bool(expected)
    assert "".join(found).startswith(expected)


@pytest.mark.parametrize(
    ("there", "status", "expected"),
    [
        pytest.param({}, None, [], id="nothing"),
        pytest.param({"images": {"overlay2": 2}, "containers": ["overlay2"]}, None, [], id="another-driver"),
        pytest.param(
            {
                "images": {"devicemapper": 1, "overlay2": 1},
                "containers": ["overlay2", "devicemapper"],
                "transaction": 16,
            },
            IN_USE,
            [f"containers/{ids(1)}", "image/devicemapper", "devicemapper"],
            id="of-the-pool",
        ),
        pytest.param({"transaction": 3}, IN_USE, [], id="of-another-pool"),
        pytest.param({"transaction": 3}, None, ["devicemapper"], id="of-a-pool-that-is-gone"),
        pytest.param({"transaction": 16, "loop_files": True}, None, [], id="loop-files"),
    ],
)
def test_records_of_the_pool_are_found(docker_root, there, status, expected):
    root = docker_root(**there)
    found = data_root.of_pool(data_root.read(str(root)), status)
    assert [path[len(str(root)) + 1 :] for path in found] == expected


def test_the_size_of_the_captured_base_device_is_read(records):
    assert data_root.read(str(records)).base_size == 10 * 1024**3


@pytest.mark.parametrize(
    "record",
    [
        '{"device_id":1,"size":10737418240,"initialized":false,"deleted":false}',
        '{"device_id":1,"size":10737418240,"initialized":true,"deleted":true}',
        '{"device_id":1,"initialized":true}',
        '{"device_id":1,"size":"10G","initialized":true}',
        "",
    ],
)
def test_a_base_device_that_will_be_made_anew_has_no_size(docker_root, record):
    root = docker_root(transaction=1)
    (root / "devicemapper" / "metadata" / "base").write_text(record, encoding="utf-8")
    assert data_root.base_size(str(root)) == 0


# --- Moved aside, and back --------------------------------------------------------------------------------------------


def take(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "a docker's $(root)"
    (folder / "image" / "devicemapper").mkdir(parents=True)
    (folder / "image" / "devicemapper" / "kept").write_text("kept", encoding="utf-8")
    (folder / "volumes").mkdir()
    return folder


def moves(root, *names: str) -> list:
    paths = [str(root / name) if name else str(root) for name in names]
    return [data_root.move_aside(*both) for both in data_root.places(str(root), paths, "20261126T120000Z").items()]


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_data_root_is_moved_beside_itself_and_back(root, tmp_path):
    (step,) = moves(root, "")
    before = files(tmp_path)
    take(*step.command)
    assert [path.name for path in tmp_path.iterdir()] == [f"{root.name}.20261126T120000Z"]
    take(*step.undo)
    assert files(tmp_path) == before


def test_records_are_moved_within_the_data_root_and_back_with_no_folder_left(root):
    steps = moves(root, "image/devicemapper")
    before = files(root)
    for step in steps:
        take(*step.command)
    assert (root / "devicemapper.20261126T120000Z/image/devicemapper/kept").read_text(encoding="utf-8") == "kept"
    assert not (root / "image/devicemapper").exists()
    for step in steps:
        take(*step.undo)
    assert files(root) == before


def test_what_was_not_moved_is_not_moved_back(root, tmp_path):
    (step,) = moves(root, "")
    before = files(tmp_path)
    take(*step.undo)
    assert files(tmp_path) == before


def test_a_move_that_is_ended_before_it_moved_leaves_no_folder(root):
    (step,) = moves(root, "image/devicemapper")
    before = files(root)
    (root / "devicemapper.20261126T120000Z" / "image").mkdir(parents=True)
    take(*step.undo)
    assert files(root) == before


def test_nothing_is_moved_back_onto_what_is_there_again(root, tmp_path):
    (step,) = moves(root, "")
    take(*step.command)
    root.mkdir()
    before = files(tmp_path)
    take(*step.undo)
    assert files(tmp_path) == before


def test_records_are_removed_and_what_links_lead_to_is_not(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (root / "image" / "link").symlink_to(other)
    take(*data_root.remove(str(root / "image")).command)
    assert (files(root), other.is_dir()) == (["volumes"], True)
