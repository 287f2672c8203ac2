# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    data_root,
    image_inventory,
    image_migration,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import (
    Container,
    Docker,
    Image,
    Info,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_inventory import Inventory
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_migration import (
    FreeSpace,
    MigrationSpec,
    MigrationState,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in

MIB = 1024**2
GIB = 1024**3


def image(letter: str, *references: str, size: int = 100 * MIB) -> Image:
    return Image(f"sha256:{letter * 64}", references, (), size)


def container(name: str, *, running: bool = False) -> Container:
    inspected = {"Id": name * 8, "Name": f"/{name}", "Image": "app", "State": {"Running": running}}
    return Container(name * 8, name, "app", running, inspected)


APP = image("a", "app:1", "app:latest")
BASE = image("b", "base:1")
NAMELESS = image("c")
IMAGES = (APP, BASE, NAMELESS)
WEB = container("web")
DIRECTORY = "/var/lib/docker.migration"
TO_POOL = MigrationSpec("devicemapper", "docker", "thinpool", "docker-thinpool", DIRECTORY, pool_size=8 * GIB)
TO_OVERLAY2 = MigrationSpec("overlay2", "docker", "thinpool", "docker-thinpool", DIRECTORY)
ON_OVERLAY2 = Docker(path="/usr/sbin/dockerd", version="20.10.24", unit="loaded", active=True, info=Info("overlay2"))
ON_POOL = replace(ON_OVERLAY2, info=Info("devicemapper", {"Pool Name": "docker-thinpool"}))
ON_LOOP = replace(ON_OVERLAY2, info=Info("devicemapper", {"Pool Name": "docker-254:1-1234-pool"}))
DOWN = replace(ON_OVERLAY2, active=False, info=None)
ROOM = FreeSpace(directory=10 * GIB, root=10 * GIB, shared=True)
DAEMON = json.dumps(
    {"debug": True, "storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}
)

START = MigrationState(ON_OVERLAY2, DockerData(), IMAGES, (), layers=150 * MIB, room=ROOM)
ON_THE_POOL = replace(
    START, docker=ON_POOL, daemon=DaemonJson.of(DAEMON), boot_text=boot_drop_in.text("docker", "thinpool")
)


def inventory(*images: Image, source: str = "overlay2", containers: tuple = (), verified: bool = False) -> dict:
    """Return the parts of Current that an inventory makes."""
    known = Inventory(source, images, containers, verified)
    return {"known": known, "inventory_text": image_inventory.render(known, "devicemapper"), "has_directory": True}


def archives(*images: Image) -> dict:
    return {"archives": frozenset(image_inventory.digest(one) for one in images)}


MAKE = f"make directory {DIRECTORY}"
WRITE = f"write {DIRECTORY}/to-devicemapper.json: 3 images, 0 containers"
SAVE_APP = "save image app:1, app:latest (100.00 MiB)"
SAVE_BASE = "save image base:1 (100.00 MiB)"
SAVE_NAMELESS = "save image cccccccccccc (100.00 MiB)"
LOAD_APP = "load image app:1, app:latest (100.00 MiB)"
LOAD_BASE = "load image base:1 (100.00 MiB)"
LOAD_NAMELESS = "load image cccccccccccc (100.00 MiB)"
NOTE = f"note in {DIRECTORY}/to-devicemapper.json that all images are there"


# Where a run begins or goes on, and what is left to do.
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [MAKE, WRITE, SAVE_APP, SAVE_BASE, SAVE_NAMELESS], id="from-the-start"),
        pytest.param({"docker": ON_LOOP}, [MAKE, WRITE, SAVE_APP, SAVE_BASE, SAVE_NAMELESS], id="from-loop-lvm"),
        pytest.param({"has_directory": True}, [WRITE, SAVE_APP, SAVE_BASE, SAVE_NAMELESS], id="directory"),
        pytest.param(inventory(*IMAGES), [SAVE_APP, SAVE_BASE, SAVE_NAMELESS], id="inventory"),
        pytest.param({**inventory(*IMAGES), **archives(BASE)}, [SAVE_APP, SAVE_NAMELESS], id="one-saved"),
        pytest.param(
            {**inventory(*IMAGES), **archives(BASE), "litter": (f"{DIRECTORY}/x.tar.part",)},
            ["remove what an interrupted run left unfinished", SAVE_APP, SAVE_NAMELESS],
            id="amid-a-save",
        ),
        pytest.param({**inventory(*IMAGES), **archives(*IMAGES)}, [], id="all-saved"),
        pytest.param(
            {**inventory(*IMAGES), **archives(*IMAGES), "docker": DOWN, "images": None, "containers": None},
            [],
            id="docker-stopped",
        ),
        pytest.param(
            {**inventory(*IMAGES), **archives(*IMAGES), "docker": ON_LOOP, "images": ()},
            [],
            id="docker-started-on-nothing-after-its-data-went-aside",
        ),
        pytest.param(
            {**inventory(*IMAGES), **archives(*IMAGES), "docker": ON_POOL, "images": ()},
            [LOAD_APP, LOAD_BASE, LOAD_NAMELESS, NOTE],
            id="on-the-pool",
        ),
        pytest.param(
            {**inventory(*IMAGES), **archives(*IMAGES), "docker": ON_POOL, "images": (NAMELESS, image("a", "app:1"))},
            ["name image aaaaaaaaaaaa app:latest", LOAD_BASE, NOTE],
            id="amid-a-load",
        ),
        pytest.param(
            {**inventory(*IMAGES), "docker": ON_POOL, "images": (*IMAGES, image("d", "new:1"))},
            [NOTE],
            id="all-loaded",
        ),
        pytest.param({**inventory(*IMAGES, verified=True), "docker": ON_POOL, "images": ()}, [], id="done"),
        pytest.param({"docker": ON_POOL}, [], id="there-from-the-start"),
        pytest.param(
            {**inventory(BASE, verified=True), **archives(BASE)},
            [WRITE, SAVE_APP, SAVE_NAMELESS],
            id="once-more-after-going-back",
        ),
    ],
)
def test_a_run_goes_on_with_what_it_finds(changes, expected):
    migration = image_migration.decide(replace(START, **changes), TO_POOL)
    assert actions(migration.steps) == expected
    assert migration.on_target is (changes.get("docker") is ON_POOL)
    assert (migration.switch, migration.undo) == ([], [])


def test_what_comes_later_is_told():
    assert image_migration.decide(START, TO_POOL).later == [LOAD_APP, LOAD_BASE, LOAD_NAMELESS]


def test_nothing_is_left_once_all_is_done():
    current = replace(START, **inventory(*IMAGES), **archives(*IMAGES), docker=ON_POOL)
    (note,) = image_migration.decide(current, TO_POOL).steps
    known = image_inventory.parse(note.write.text, note.write.path)
    assert (known.verified, known.images) == (True, IMAGES)
    assert image_migration.decide(replace(current, known=known), TO_POOL).steps == []


# What the inventory knew, what is saved and what Docker has; and what it knows then.
@pytest.mark.parametrize(
    ("known", "saved", "there", "expected"),
    [
        pytest.param((), (), IMAGES, IMAGES, id="new"),
        pytest.param(IMAGES, IMAGES, (APP,), IMAGES, id="removed-but-saved"),
        pytest.param(IMAGES, (BASE,), (APP,), (APP, BASE), id="removed-and-not-saved"),
        pytest.param(
            (APP,),
            (APP,),
            (image("d", "app:latest"),),
            (image("a", "app:1"), image("d", "app:latest")),
            id="a-name-that-moved",
        ),
        pytest.param((image("a", "app:0"),), (APP,), (APP,), (APP,), id="renamed"),
    ],
)
def test_images_that_are_saved_stay_in_the_inventory(known, saved, there, expected):
    current = replace(START, **inventory(*known), **archives(*saved), images=there)
    assert image_migration.decide(current, TO_POOL).inventory.images == expected


def test_a_container_is_kept_as_it_was_while_it_ran():
    ran, stopped, new = container("web", running=True), container("web"), container("new")
    current = replace(START, **inventory(containers=(ran,)), containers=(stopped, new))
    assert image_migration.decide(current, TO_POOL).inventory.containers == (new, ran)


def test_an_inventory_is_read_as_it_was_written():
    known = Inventory("overlay2", IMAGES, (container("web", running=True), container("new")), True)
    assert image_inventory.parse(image_inventory.render(known, "devicemapper"), "x") == known


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 2}', '{"format": 1, "source": "x"}'])
def test_an_inventory_that_is_none_is_refused(text):
    with pytest.raises(RefusedError, match="/x is not an inventory that this collection wrote"):
        image_inventory.parse(text, "/x")


# What is refused, before anything is saved or stopped.
@pytest.mark.parametrize(
    ("changes", "spec", "expected"),
    [
        pytest.param({"docker": Docker()}, TO_POOL, "there is no Docker on this host", id="no-docker"),
        pytest.param({"has_client": False}, TO_POOL, "install Docker's client", id="no-client"),
        pytest.param({"docker": DOWN, "images": None}, TO_POOL, "start it on its present storage", id="down"),
        pytest.param(
            {"docker": DOWN, "images": None, **inventory(*IMAGES), **archives(APP)},
            TO_POOL,
            "not all of its images are saved",
            id="down-and-not-all-saved",
        ),
        pytest.param(
            {"docker": DOWN, "images": None, **inventory(*IMAGES, verified=True), **archives(*IMAGES)},
            TO_POOL,
            "start it on its present storage",
            id="down-long-after",
        ),
        pytest.param(
            {"containers": (container("web", running=True), WEB)},
            TO_POOL,
            "containers run: web. They are not carried over: their writable layers stay with overlay2",
            id="running",
        ),
        pytest.param(
            {"room": replace(ROOM, directory=299 * MIB)},
            TO_POOL,
            "archives of 3 images take up to 300.00 MiB, and the filesystem of /var/lib/docker.migration has 299.00",
            id="no-room-for-archives",
        ),
        pytest.param(
            {"room": replace(ROOM, directory=449 * MIB), "docker": ON_POOL},
            TO_OVERLAY2,
            "take up to 300.00 MiB, their layers on overlay2 150.00 MiB, and the filesystem of both",
            id="no-room-for-both",
        ),
        pytest.param(
            {"room": FreeSpace(directory=GIB, root=149 * MIB), "docker": ON_POOL},
            TO_OVERLAY2,
            "the layers of the images take 150.00 MiB, and the filesystem of /var/lib/docker has 149.00 MiB free",
            id="no-room-on-overlay2",
        ),
        pytest.param(
            {"room": FreeSpace(directory=GIB, root=299 * MIB), "docker": ON_POOL, "layers": 0},
            TO_OVERLAY2,
            "the layers of the images take 300.00 MiB",
            id="layers-that-are-not-on-record",
        ),
        pytest.param(
            {"layers": 8 * GIB},
            TO_POOL,
            "the layers of the images take 8.00 GiB, and of the pool's 8.00 GiB Docker can fill 7.20 GiB",
            id="no-room-in-the-pool",
        ),
        pytest.param(
            {"layers": 4 * GIB, "room": replace(ROOM, pool_used=0.5)},
            TO_POOL,
            "of the pool's 8.00 GiB Docker can fill 3.20 GiB",
            id="no-room-in-a-pool-in-use",
        ),
        pytest.param(
            {"docker": ON_POOL, "overlay_obstacle": "this kernel has no overlay filesystem"},
            TO_OVERLAY2,
            "this kernel has no overlay filesystem",
            id="no-overlay",
        ),
        pytest.param(
            {"docker": replace(ON_POOL, flags=("--storage-driver=devicemapper",))},
            TO_OVERLAY2,
            r"dockerd's unit already sets --storage-driver \(storage-driver\)",
            id="flag",
        ),
        pytest.param({}, replace(TO_POOL, remove_old=True), "never removed before all images are there", id="remove"),
        pytest.param(
            {"docker": ON_POOL, **inventory(*IMAGES), **archives(*IMAGES)},
            replace(TO_POOL, remove_old=True),
            "not all images are known to have arrived on devicemapper with pool docker-thinpool",
            id="remove-before-it-is-verified",
        ),
        pytest.param(
            {"docker": ON_POOL, **inventory(*IMAGES), **archives(BASE), "images": (NAMELESS,)},
            TO_POOL,
            "the archives of images app:1, app:latest are gone from /var/lib/docker.migration, and Docker does not",
            id="archive-gone",
        ),
        pytest.param({"docker": ON_POOL, **inventory(*IMAGES), "images": None}, TO_POOL, "does not answer", id="mute"),
    ],
)
def test_what_cannot_be_is_refused(changes, spec, expected):
    with pytest.raises(RefusedError, match=expected):
        image_migration.decide(replace(START, **changes), spec)


def test_all_that_speaks_against_it_is_told_at_once():
    current = replace(
        START,
        docker=ON_POOL,
        containers=(container("web", running=True),),
        overlay_obstacle="no overlay",
        room=FreeSpace(),
    )
    with pytest.raises(RefusedErrors) as refusal:
        image_migration.decide(current, TO_OVERLAY2)
    assert len(refusal.value.reasons) == 3


def test_what_just_fits_is_not_refused():
    image_migration.decide(replace(START, docker=ON_POOL, room=replace(ROOM, directory=450 * MIB)), TO_OVERLAY2)
    image_migration.decide(replace(START, layers=int(7.2 * GIB)), TO_POOL)
    image_migration.decide(replace(START, layers=100 * GIB), replace(TO_POOL, pool_size=None))


def test_containers_are_stopped_once_all_is_saved():
    running = (container("db", running=True), WEB)
    migration = image_migration.decide(replace(START, containers=running), replace(TO_POOL, stop_containers=True))
    assert actions(migration.steps)[-2:] == [SAVE_NAMELESS, "stop containers db"]
    assert migration.stopped == ("db",)


BOOT = "/etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf"
SWITCH = [
    "stop Docker",
    "change /etc/docker/daemon.json: storage-driver, storage-opts",
    f"remove {BOOT}",
    "tell systemd of its changed files",
    "start Docker on overlay2",
]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, SWITCH, id="whole"),
        pytest.param({"boot_text": None}, [*SWITCH[:2], SWITCH[4]], id="no-drop-in"),
        pytest.param({"docker": DOWN, "images": None, "containers": None}, SWITCH[1:], id="stopped"),
        pytest.param(
            {
                "docker": DOWN,
                "images": None,
                "containers": None,
                "boot_text": None,
                "daemon": DaemonJson.of('{"storage-driver": "overlay2"}'),
            },
            [SWITCH[4]],
            id="all-but-started",
        ),
    ],
)
def test_docker_gets_to_overlay2_by_itself(changes, expected):
    current = replace(ON_THE_POOL, **inventory(*IMAGES, source="devicemapper"), **archives(*IMAGES))
    current = replace(current, inventory_text=image_inventory.render(current.known, "overlay2"), **changes)
    migration = image_migration.decide(current, TO_OVERLAY2)
    assert actions(migration.steps) == expected
    for step in migration.switch:
        if step.write and step.write.path.endswith("daemon.json"):
            assert json.loads(step.write.text) == {"debug": True, "storage-driver": "overlay2"}


def test_docker_gets_back_as_it_was():
    spec = replace(TO_OVERLAY2, stop_containers=True)
    migration = image_migration.decide(replace(ON_THE_POOL, containers=(container("db", running=True),)), spec)
    written = {step.write.path: step.write.text for step in migration.undo if step.write}
    assert written == {"/etc/docker/daemon.json": DAEMON, BOOT: boot_drop_in.text("docker", "thinpool")}
    assert actions(migration.undo)[-2:] == ["start Docker as it was", "start containers again"]


# What the data root holds, where the images came from and went to, and what of it is old.
@pytest.mark.parametrize(
    ("data", "source", "driver", "expected"),
    [
        pytest.param({}, "overlay2", "devicemapper", [], id="nothing"),
        pytest.param(
            {"containers": {"overlay2": ["a"], "devicemapper": ["b"]}, "has_directory": True},
            "overlay2",
            "devicemapper",
            ["containers/a", "image/overlay2", "overlay2"],
            id="overlay2",
        ),
        pytest.param(
            {
                "containers": {"overlay2": ["a"], "devicemapper": ["b"]},
                "images": {"devicemapper": 1},
                "has_directory": True,
            },
            "devicemapper",
            "overlay2",
            ["containers/b", "image/devicemapper", "devicemapper"],
            id="a-pool",
        ),
        pytest.param(
            {"aside": ("devicemapper.20261126T120000Z",), "has_directory": True, "images": {"devicemapper": 1}},
            "devicemapper",
            "devicemapper",
            ["devicemapper.20261126T120000Z"],
            id="loop-lvm",
        ),
        pytest.param({"containers": {"btrfs": ["a"]}}, "btrfs", "devicemapper", [], id="volumes-of-a-filesystem"),
    ],
)
def test_what_is_old_is_found(data, source, driver, expected):
    there = {f"/var/lib/docker/{path}" for path in ("overlay2", "image/overlay2")} if source == "overlay2" else set()
    if not data:
        there = set()
    found = image_migration.left_behind(DockerData(**data), source, driver, there.__contains__)
    assert found == [f"/var/lib/docker/{path}" for path in expected]


def test_old_data_is_removed_last_of_all_and_only_once_it_is_told():
    current = replace(
        START,
        docker=ON_POOL,
        **inventory(*IMAGES, verified=True),
        **archives(APP, BASE),
        old=("/var/lib/docker/image/overlay2", "/var/lib/docker/overlay2"),
    )
    assert image_migration.decide(current, TO_POOL).steps == []
    assert actions(image_migration.decide(current, replace(TO_POOL, remove_old=True)).steps) == [
        "remove /var/lib/docker/image/overlay2",
        "remove /var/lib/docker/overlay2",
        f"remove the 2 archives in {DIRECTORY}",
        f"remove {DIRECTORY}/to-devicemapper.json",
        f"remove directory {DIRECTORY}, if nothing else is in it",
    ]


def test_removing_once_more_finds_nothing():
    assert image_migration.decide(replace(START, docker=ON_POOL), replace(TO_POOL, remove_old=True)).steps == []


def test_layers_are_counted_once(docker_root):
    root = docker_root({"overlay2": 2})
    for name, size in (("1" * 64, "100"), ("2" * 64, "23\n"), ("3" * 64, "")):
        layer = root / "image" / "overlay2" / "layerdb" / "sha256" / name
        layer.mkdir(parents=True)
        (layer / "size").write_text(size, encoding="ascii")
    (root / "image" / "overlay2" / "layerdb" / "tmp").mkdir()
    assert image_migration.layers(str(root), "overlay2") == 123
    assert image_migration.layers(str(root), "devicemapper") == 0


def test_folders_of_records_that_were_moved_aside_are_found(docker_root):
    root = docker_root()
    for name in ("devicemapper", "devicemapper.20261126T120000Z", "devicemapper.old"):
        (root / name).mkdir()
    assert data_root.read(str(root)).aside == ("devicemapper.20261126T120000Z",)
    assert data_root.places(str(root), [f"{root}/image/devicemapper"], "20261126T120000Z") == {
        f"{root}/image/devicemapper": f"{root}/devicemapper.20261126T120000Z/image/devicemapper"
    }


# The commands themselves, with a docker that writes down what it is told.
@pytest.fixture
def shell(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/said\n'
        'case "$2" in save) echo archive > "$4"; [ ! -e fail-save ] ;; tag) [ "$4" != bad ] ;; esac\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def run(*command):
        done = subprocess.run(command, check=False, cwd=str(tmp_path))
        return done.returncode, (tmp_path / "said").read_text().splitlines()

    return run


def test_an_archive_takes_its_name_when_it_is_whole(shell, tmp_path):
    path = tmp_path / "x.tar"
    (tmp_path / "fail-save").touch()
    status, _said = shell("sh", "-c", image_migration._SAVE, "sh", str(path), APP.id)
    assert (status != 0, path.exists()) == (True, False)
    (tmp_path / "fail-save").unlink()
    status, said = shell("sh", "-c", image_migration._SAVE, "sh", str(path), APP.id)
    assert (status, path.read_text()) == (0, "archive\n")
    assert said[-1] == f"image save --output {path}.part {APP.id}"


def test_an_image_that_is_loaded_gets_its_names(shell):
    status, said = shell("sh", "-c", image_migration._LOAD, "sh", "/x y.tar", APP.id, *APP.references)
    assert (status, said) == (
        0,
        ["image load --quiet --input /x y.tar", f"image tag {APP.id} app:1", f"image tag {APP.id} app:latest"],
    )
    status, said = shell("sh", "-c", image_migration._LOAD, "sh", "/x.tar", APP.id, "bad", "good")
    assert (status, said[-1]) == (1, f"image tag {APP.id} bad")
