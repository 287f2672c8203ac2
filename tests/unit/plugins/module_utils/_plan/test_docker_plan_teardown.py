# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG, LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import docker_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)

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
    docker_packages=(),
    storage_opts=(),
    daemon_options={"log-driver": "local"},
)
PROFILE_PATH = "/etc/lvm/profile/docker-thinpool.profile"
DAEMON = {
    "storage-driver": "devicemapper",
    "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool", "dm.fs=xfs"],
    "log-driver": "local",
}
DATA = DockerData(
    images={"devicemapper": 1},
    containers={"devicemapper": ["c0ffee"]},
    has_directory=True,
    has_records=True,
    transaction_id=16,
)

STOP_CONTAINERS = "stop containers db, web"
STOP = "stop Docker"
REMOVE_POOL = "remove thin pool docker/thinpool"
REMOVE_GROUP = "remove volume group docker"
REMOVE_LABEL = "remove physical volume /dev/vdb"
REMOVE_PROFILE = f"remove profile {PROFILE_PATH}"
REMOVE_RECORDS = [
    "remove /var/lib/docker/containers/c0ffee",
    "remove /var/lib/docker/image/devicemapper",
    "remove /var/lib/docker/devicemapper",
]
REMOVE_KEYS = "remove /etc/docker/daemon.json: storage-driver, storage-opts, log-driver"
REMOVE_BOOT = (
    "remove /etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf",
    "tell systemd of its changed files",
)
ALL = [STOP, REMOVE_POOL, *REMOVE_BOOT, REMOVE_GROUP, REMOVE_LABEL, REMOVE_PROFILE, *REMOVE_RECORDS, REMOVE_KEYS]


@pytest.fixture
def host(report, captured):
    """Return the captured host on which Docker uses a pool that this collection made."""
    found = report("pool_in_use_by_docker")
    group = found.group("docker")
    return DockerHostState(
        lvm=found.with_group(replace(group, tags=(OWNER_TAG,))),
        devices=(BlockDevice("/dev/vdb", "/dev/vdb"),),
        signatures={},
        profile=profiles.decide(Profile(PROFILE_PATH), threshold=80, percent=20)[1],
        daemon=DaemonJson.of(json.dumps(DAEMON)),
        boot_text=boot_drop_in.text("docker", "thinpool"),
        docker=Docker(
            path="/usr/sbin/dockerd",
            version="20.10.24",
            unit="loaded",
            active=True,
            enabled=True,
            info=dockerd.parse_info(captured("docker_info.json")),
            running=(),
        ),
        data=DATA,
        pool_status=pool_status.parse(captured("pool_in_use_by_docker.status"))["docker-thinpool"],
        missing_packages=(),
        missing_docker_packages=(),
        candidates=(),
    )


def with_pool(host, **changes):
    return replace(host, lvm=host.lvm.with_volume(replace(host.lvm.volume("docker", "thinpool"), **changes)))


def with_docker(host, **changes):
    return replace(host, docker=replace(host.docker, **changes))


def refused(host, **options):
    with pytest.raises(RefusedErrors) as refusal:
        docker_plan.plan_teardown(host, WISH, **options)
    return refusal.value.reasons


def test_everything_is_taken_away_in_the_order_in_which_it_can_be(host):
    plan = docker_plan.plan_teardown(host, WISH)
    assert plan.actions == ALL
    assert plan.records == [step.partition(" ")[2] for step in REMOVE_RECORDS]
    assert (plan.lvm.groups, plan.lvm.devices, plan.lvm.volumes) == ((), (), ())
    assert [part["before_header"] for part in plan.diff] == [
        "thin pool docker/thinpool",
        "/etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf",
        "volume group docker",
        "physical volumes",
        PROFILE_PATH,
        "/etc/docker/daemon.json",
    ]


def test_a_pool_that_docker_holds_open_is_free_once_docker_is_stopped(host):
    assert docker_plan.plan_teardown(with_pool(host, open=True), WISH).actions == ALL


def test_a_pool_that_somebody_else_holds_open_is_refused(host):
    (reason,) = refused(with_pool(with_docker(host, active=False, info=None), open=True))
    assert reason.startswith("docker/thinpool is in use: stop Docker or containerd first")


@pytest.mark.parametrize(
    ("running", "reason"),
    [
        pytest.param(("db", "web"), "containers run on docker/thinpool: db, web. Stop them, or set", id="some"),
        pytest.param(None, "Docker runs but does not answer on /run/docker.sock", id="unknown"),
    ],
)
def test_running_containers_are_refused(host, running, reason):
    (found,) = refused(with_docker(host, running=running))
    assert found.startswith(reason)
    assert found.endswith("set stop_containers: true")


@pytest.mark.parametrize(
    ("running", "first"),
    [pytest.param(("db", "web"), [STOP_CONTAINERS], id="some"), pytest.param(None, [], id="unknown")],
)
def test_running_containers_are_stopped_where_that_is_said(host, running, first):
    plan = docker_plan.plan_teardown(with_docker(host, running=running), WISH, stop_containers=True)
    assert plan.actions == [*first, *ALL]


def test_a_docker_that_does_not_answer_is_taken_to_run_on_what_its_file_says(host):
    assert docker_plan.plan_teardown(with_docker(host, info=None), WISH).actions == ALL


def test_a_docker_on_other_storage_goes_on(host):
    info = dockerd.Info("overlay2")
    host = with_pool(with_docker(host, info=info, running=("web",)), open=False)
    host = replace(host, daemon=DaemonJson.of('{"storage-driver": "overlay2"}'))
    assert docker_plan.plan_teardown(host, WISH).actions == [
        REMOVE_POOL,
        *REMOVE_BOOT,
        REMOVE_GROUP,
        REMOVE_LABEL,
        REMOVE_PROFILE,
    ]


def test_a_blank_host_needs_nothing(host):
    blank = replace(
        with_docker(host, active=False, info=None),
        lvm=LvmState(),
        profile=Profile(PROFILE_PATH),
        daemon=DaemonJson.of(None),
        boot_text=None,
        data=DockerData(),
        pool_status=None,
    )
    plan = docker_plan.plan_teardown(blank, WISH)
    assert (plan.actions, plan.diff) == ([], [])


# What a run that was interrupted left, and what is still to do.
@pytest.mark.parametrize("number", range(1, 5))
def test_an_interrupted_run_is_finished(host, number):
    stopped = replace(with_docker(host, active=False, info=None, running=None), pool_status=None)
    report = stopped.lvm.without(volume=("docker", "thinpool"))
    for part in ("thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"):
        report = report.without(volume=("docker", part))
    if number > 1:
        report = report.without(group="docker").with_device(replace(report.device("/dev/vdb"), vg="", in_use=False))
    if number > 2:
        report = LvmState()
    stopped = replace(stopped, lvm=report)
    if number > 3:
        stopped = replace(stopped, profile=Profile(PROFILE_PATH), boot_text=None, data=DockerData())
    group = [REMOVE_GROUP, REMOVE_LABEL, REMOVE_PROFILE]
    expected = [*REMOVE_BOOT, *group[number - 1 :], *REMOVE_RECORDS, REMOVE_KEYS] if number < 4 else [REMOVE_KEYS]
    assert docker_plan.plan_teardown(stopped, WISH).actions == expected


def test_what_was_not_made_here_is_refused_with_all_reasons(host):
    group = replace(host.lvm.group("docker"), tags=())
    host = with_pool(replace(host, lvm=host.lvm.with_group(group)), tags=())
    reasons = refused(with_docker(host, running=("web",)))
    assert [reason.partition(" was not")[0] for reason in reasons] == [
        "containers run on docker/thinpool: web. Stop them, or set stop_containers: true",
        "docker/thinpool",
    ]


def test_a_pool_of_ours_leaves_somebodys_group(host):
    group = replace(host.lvm.group("docker"), tags=())
    host = with_pool(replace(host, lvm=host.lvm.with_group(group)), tags=(OWNER_TAG,))
    assert docker_plan.plan_teardown(host, WISH).actions == [
        STOP,
        REMOVE_POOL,
        *REMOVE_BOOT,
        REMOVE_PROFILE,
        *REMOVE_RECORDS,
        REMOVE_KEYS,
    ]


def test_another_volume_in_the_group_is_refused(host):
    other = replace(host.lvm.volume("docker", "thinpool"), name="data", type="linear", uuid="x")
    assert refused(replace(host, lvm=host.lvm.with_volume(other))) == (
        "volume group docker still holds data: remove them first",
    )


def test_a_profile_with_other_settings_stays(host):
    text = host.profile.text + "allocation {\n\tthin_pool_zero=0\n}\n"
    host = replace(host, profile=replace(host.profile, text=text))
    assert REMOVE_PROFILE not in docker_plan.plan_teardown(host, WISH).actions


def test_a_profile_of_another_pool_too_is_refused(host):
    other = replace(host.lvm.volume("docker", "thinpool"), vg="other", uuid="x")
    (reason,) = refused(replace(host, lvm=host.lvm.with_volume(other)))
    assert reason.startswith(f"{PROFILE_PATH} is attached to other/thinpool")


def test_records_of_another_pool_stay(host):
    host = replace(host, data=replace(DATA, transaction_id=3))
    assert not docker_plan.plan_teardown(host, WISH).records


def test_records_are_nobodys_where_docker_is_set_up_otherwise(host):
    host = with_pool(replace(with_docker(host, active=False, info=None), daemon=DaemonJson.of("{}")), open=False)
    assert docker_plan.plan_teardown(host, WISH).actions == [
        REMOVE_POOL,
        *REMOVE_BOOT,
        REMOVE_GROUP,
        REMOVE_LABEL,
        REMOVE_PROFILE,
    ]


def test_other_keys_stay(host):
    text = json.dumps({"debug": True, **DAEMON, "log-driver": "syslog"})
    plan = docker_plan.plan_teardown(replace(host, daemon=DaemonJson.of(text)), WISH)
    # Shown is what goes, and not what stays.
    gone = {key: DAEMON[key] for key in ("storage-driver", "storage-opts")}
    before, after = (json.loads(plan.diff[-1][side]) for side in ("before", "after"))
    assert {key: before[key] for key in gone} == gone
    assert not {"debug", *gone} & set(after)
    assert "debug" not in before
    assert [step for step in plan.actions if step.startswith("change /etc/docker/daemon.json")]


def test_a_file_that_is_no_json_is_refused(host):
    assert refused(replace(host, daemon=DaemonJson.of("{")))[0].startswith("/etc/docker/daemon.json is not valid JSON")
