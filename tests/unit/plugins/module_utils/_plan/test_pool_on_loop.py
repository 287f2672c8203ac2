# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's own pool on loop files: the whole chain, there and back."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.loop_files import (
    LoopFile,
    LoopFiles,
    LoopPool,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import docker_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate

MIB, GIB = 1024**2, 1024**3
FOLDER = "/var/lib/docker/devicemapper/devicemapper"
WISH = DockerSpec(
    vg="docker",
    pool="thinpool",
    data_size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    autoextend_threshold=80,
    autoextend_percent=20,
    autoextend_room="warn",
    wipe_signatures=False,
    destroy_contents=False,
    resize_devices=False,
    reserve=None,
    docker_packages=("docker.io",),
    storage_opts=(),
    daemon_options={},
    managed_by="loop",
    loop_data_size=2 * GIB,
    loop_metadata_size=16 * MIB,
)
NONE = LoopFiles(LoopFile(f"{FOLDER}/data"), LoopFile(f"{FOLDER}/metadata"), free=5 * GIB)
RUNNING = LoopFiles(
    LoopFile(f"{FOLDER}/data", 2 * GIB, "/dev/loop0", 2 * GIB),
    LoopFile(f"{FOLDER}/metadata", 16 * MIB, "/dev/loop1", 16 * MIB),
    LoopPool(
        "docker-254:0-1-pool",
        f"0 {2 * GIB // 512} thin-pool 7:1 7:0 128 32768 1 skip_block_zeroing",
        status=PoolStatus("rw", 3, 12, 4096, 100, 32768),
    ),
    free=5 * GIB,
)
DAEMON = {
    "storage-driver": "devicemapper",
    "storage-opts": ["dm.loopdatasize=2G", "dm.loopmetadatasize=16M"],
}
ON_LOOP = Info(driver="devicemapper", status={"Pool Name": "docker-254:0-1-pool", "Data loop file": f"{FOLDER}/data"})
BLANK = DockerHostState(
    lvm=LvmState(),
    devices=(),
    signatures={},
    profile=Profile("/etc/lvm/profile/docker-thinpool.profile"),
    pool_status=None,
    missing_packages=("dmsetup",),
    candidates=(Candidate("docker.io", "20.10.24"),),
    docker=Docker(unit="not-found"),
    missing_docker_packages=("docker.io",),
    loop_files=NONE,
)
CONVERGED = replace(
    BLANK,
    missing_packages=(),
    missing_docker_packages=(),
    daemon=DaemonJson.of(json.dumps(DAEMON)),
    docker=Docker(
        path="/usr/sbin/dockerd", version="20.10.24", unit="loaded", active=True, enabled=True, info=ON_LOOP, running=()
    ),
    data=DockerData(
        images={"devicemapper": 1},
        containers={"devicemapper": ["c0ffee"]},
        has_directory=True,
        has_records=True,
        has_loop_files=True,
        transaction_id=3,
        base_size=GIB,
    ),
    loop_files=RUNNING,
)
LARGER = replace(WISH, loop_data_size=3 * GIB)
STOP, START = "stop Docker", "start Docker and enable it"
CHANGE = "change /etc/docker/daemon.json: storage-opts"
GROW = [
    f"grow {FOLDER}/data from 2.00 GiB to 3.00 GiB",
    f"write the size of {FOLDER}/data through to the disk",
    "let /dev/loop0 be as large as its file, 3.00 GiB",
    "load a table of 3.00 GiB for pool docker-254:0-1-pool",
    "let pool docker-254:0-1-pool go on with it",
]
AWAY = [
    "remove /var/lib/docker/containers/c0ffee",
    "remove /var/lib/docker/image/devicemapper",
    "remove /var/lib/docker/devicemapper",
]


def refused(decide, *arguments, **options):
    with pytest.raises(RefusedErrors) as refusal:
        decide(*arguments, **options)
    return refusal.value.reasons


def test_a_blank_host_gets_daemon_json_and_docker():
    plan = docker_plan.plan_setup(BLANK, WISH)
    assert plan.actions == [
        "install packages dmsetup",
        "write /etc/docker/daemon.json: storage-driver, storage-opts",
        "install packages docker.io",
        START,
    ]
    assert list(plan.stages) == [
        "packages",
        "physical_volumes",
        "volume_group",
        "profile",
        "thin_pool",
        "boot",
        "reserve",
        "loop_files",
        "docker_stop",
        "docker_data",
        "daemon",
        "docker_packages",
        "docker_start",
    ]
    (part,) = plan.diff
    assert json.loads(part["after"]) == DAEMON


def test_a_converged_host_needs_nothing():
    assert docker_plan.plan_setup(CONVERGED, WISH).actions == []


@pytest.mark.parametrize("host", [BLANK, CONVERGED])
def test_every_run_says_that_it_is_not_for_production(host):
    assert docker_plan.plan_setup(host, WISH).warning == (
        "loop-lvm is for trying Docker's devicemapper driver and not for production: every write goes through a file "
        "system and a loop device, and is slow. Use the role direct_lvm there"
    )


def test_a_promise_that_the_file_system_cannot_keep_is_told_with_the_figures():
    host = replace(BLANK, loop_files=replace(NONE, free=GIB))
    assert docker_plan.plan_setup(host, WISH).warning.endswith(
        "may come to 2.02 GiB, and the file system under /var/lib/docker has 1.00 GiB left: once that is full, what "
        "containers write is lost"
    )


def test_larger_files_need_no_restart():
    plan = docker_plan.plan_setup(CONVERGED, LARGER)
    assert plan.actions == [*GROW, CHANGE]
    assert [part["before_header"] for part in plan.diff] == ["loop files", "/etc/docker/daemon.json"]
    assert plan.diff[0]["before"]["data"]["pool_size"] == 2 * GIB
    assert plan.diff[0]["after"]["data"]["pool_size"] == 3 * GIB


def test_larger_files_are_grown_before_a_restart_for_something_else():
    plan = docker_plan.plan_setup(CONVERGED, replace(LARGER, storage_opts=("dm.min_free_space=5%",)))
    assert plan.actions == [*GROW, STOP, CHANGE, START]


def test_larger_files_of_a_docker_that_is_stopped_are_its_own_business():
    stopped = replace(
        CONVERGED,
        docker=replace(CONVERGED.docker, active=False, info=None),
        loop_files=LoopFiles(LoopFile(f"{FOLDER}/data", 2 * GIB), LoopFile(f"{FOLDER}/metadata", 16 * MIB)),
    )
    assert docker_plan.plan_setup(stopped, LARGER).actions == [GROW[0], CHANGE, START]


def test_a_docker_that_took_loop_files_by_itself_is_taken_over():
    host = replace(CONVERGED, daemon=DaemonJson.of(None))
    assert docker_plan.plan_setup(host, WISH).actions == [
        STOP,
        "write /etc/docker/daemon.json: storage-driver, storage-opts",
        START,
    ]


def test_a_docker_that_runs_on_other_storage_is_restarted():
    host = replace(CONVERGED, docker=replace(CONVERGED.docker, info=Info(driver="overlay2")))
    assert docker_plan.plan_setup(host, WISH).actions == [STOP, START]


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        pytest.param(
            {
                "daemon": DaemonJson.of(
                    '{"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=docker-thinpool"]}'
                )
            },
            WISH,
            r"daemon.json puts Docker on a pool \(dm.thinpooldev\), .*take that apart first \(playbook reset\)",
            id="on-a-pool",
        ),
        pytest.param(
            {"data": DockerData(has_directory=True, has_records=True)},
            WISH,
            "holds the records of a pool, whose images loop files do not have.*Or save what is needed",
            id="records-of-a-pool",
        ),
        pytest.param(
            {"daemon": DaemonJson.of(None), "data": DockerData(images={"overlay2": 3})},
            WISH,
            "holds 3 images and 0 containers of driver overlay2, which Docker no longer shows",
            id="images-of-another-driver",
        ),
        pytest.param(
            {},
            replace(WISH, storage_opts=("dm.loopdatasize=1G",)),
            "storage_opts: dm.loopdatasize is set by this role, from loop_data_size: leave it out",
            id="a-size-twice",
        ),
        pytest.param(
            {},
            replace(WISH, storage_opts=("dm.thinpooldev=docker-thinpool",)),
            "storage_opts: dm.thinpooldev is set by this role, from the choice of loop files",
            id="a-pool",
        ),
        pytest.param(
            {}, replace(WISH, storage_opts=("dm.basesize=512M",)), "base device .* has 1.00 GiB", id="smaller-base"
        ),
        pytest.param(
            {}, replace(WISH, loop_metadata_size=MIB), "metadata file must have 2m to 15.8g", id="too-little-metadata"
        ),
        pytest.param(
            {"docker": Docker(path="/usr/bin/dockerd", version="26.1.5")}, WISH, "no devicemapper driver", id="docker"
        ),
        pytest.param(
            {"loop_files": replace(RUNNING, pool=replace(RUNNING.pool, status=PoolStatus("fail")))},
            WISH,
            r"the pool has failed \(kernel mode Fail or Error\)",
            id="failed",
        ),
    ],
)
def test_what_must_not_be_is_refused_before_anything(changes, spec, message):
    reasons = refused(docker_plan.plan_setup, replace(CONVERGED, **changes), spec)
    assert any(re.search(message, reason) for reason in reasons), reasons


def test_a_pool_refuses_the_loop_files_in_turn():
    host = replace(CONVERGED, lvm=LvmState(), loop_files=None)
    reasons = refused(docker_plan.plan_setup, host, replace(WISH, managed_by="collection"))
    assert any("holds the loop files of loop-lvm mode, whose images no other pool has" in reason for reason in reasons)


def test_old_data_is_moved_aside_on_request():
    host = replace(CONVERGED, daemon=DaemonJson.of(None), data=DockerData(images={"overlay2": 3}), loop_files=NONE)
    plan = docker_plan.plan_setup(host, replace(WISH, existing_data="backup"))
    assert plan.actions[:2] == [STOP, "move /var/lib/docker aside"]


def test_everything_is_taken_away():
    plan = docker_plan.plan_teardown(CONVERGED, WISH)
    assert plan.actions == [STOP, *AWAY, "remove /etc/docker/daemon.json: storage-driver, storage-opts"]
    assert plan.records == [sentence.partition(" ")[2] for sentence in AWAY]
    assert [name for name, steps in plan.stages.items() if steps] == ["docker_stop", "docker_data", "daemon"]


def test_a_host_with_nothing_left_needs_nothing():
    left = replace(
        CONVERGED,
        daemon=DaemonJson.of(None),
        docker=replace(CONVERGED.docker, active=False, info=None),
        data=DockerData(),
        loop_files=NONE,
    )
    assert docker_plan.plan_teardown(left, WISH).actions == []


def test_an_interrupted_way_back_is_finished():
    stopped = replace(
        CONVERGED,
        docker=replace(CONVERGED.docker, active=False, info=None),
        data=DockerData(containers={"devicemapper": ["c0ffee"]}),
        loop_files=NONE,
    )
    assert docker_plan.plan_teardown(stopped, WISH).actions == [
        AWAY[0],
        "remove /etc/docker/daemon.json: storage-driver, storage-opts",
    ]


@pytest.mark.parametrize(
    ("running", "message"),
    [
        pytest.param(("web",), rf"^containers run on the loop files in {FOLDER}: web\. Stop them, or set", id="one"),
        pytest.param(None, "Docker runs but does not answer", id="not-known"),
    ],
)
def test_containers_are_not_stopped_unasked(running, message):
    host = replace(CONVERGED, docker=replace(CONVERGED.docker, running=running))
    (reason,) = refused(docker_plan.plan_teardown, host, WISH)
    assert re.search(message, reason)
    assert (
        docker_plan.plan_teardown(host, WISH, stop_containers=True)
        .actions[-1]
        .startswith("remove /etc/docker/daemon.json")
    )


def test_loop_files_that_docker_made_by_itself_are_not_removed():
    (reason,) = refused(docker_plan.plan_teardown, replace(CONVERGED, daemon=DaemonJson.of(None)), WISH)
    assert reason.startswith(f"the loop files in {FOLDER} were not set up here")


def test_a_pool_that_docker_left_running_is_taken_down_by_docker():
    host = replace(CONVERGED, docker=replace(CONVERGED.docker, active=False, info=None))
    (reason,) = refused(docker_plan.plan_teardown, host, WISH)
    assert "although Docker does not: start Docker and stop it again" in reason
