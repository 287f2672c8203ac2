# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import docker_plan, package_manager
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate

GIB = 1024**3
VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10 * GIB)
PROFILE = Profile("/etc/lvm/profile/docker-thinpool.profile")
DAEMON = json.dumps({"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]})
DEBIAN = ("lvm2", "thin-provisioning-tools", "dmeventd")
LINKS = [
    "packages",
    "docker_stop",
    "docker_data",
    "physical_volumes",
    "volume_group",
    "profile",
    "thin_pool",
    "boot",
    "reserve",
    "daemon",
    "docker_packages",
    "docker_start",
]

DEFAULTS = DockerSpec(
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
)
BLANK = DockerHostState(
    lvm=LvmState(),
    devices=(VDB,),
    signatures={},
    profile=PROFILE,
    daemon=DaemonJson.of(None),
    boot_text=None,
    docker=Docker(unit="not-found"),
    data=DockerData(),
    pool_status=None,
    missing_packages=DEBIAN,
    missing_docker_packages=("docker.io",),
    candidates=(Candidate("lvm2", "2.03.16-2"), Candidate("docker.io", "20.10.24+dfsg1-1+deb12u1+b6")),
)

INSTALL = "install packages lvm2, thin-provisioning-tools, dmeventd"
PV = "create physical volume /dev/vdb"
VG = "create volume group docker on /dev/vdb"
WRITE_PROFILE = (
    "write profile /etc/lvm/profile/docker-thinpool.profile: thin_pool_autoextend_threshold "
    "80, thin_pool_autoextend_percent 20"
)
POOL = (
    "create thin pool docker/thinpool: data 2047 extents (8.00 GiB), metadata 25 extents "
    "(100.00 MiB), chunk size 512.00 KiB, "
    "zeroing off, profile docker-thinpool"
)
WRITE_DAEMON = "write /etc/docker/daemon.json: storage-driver, storage-opts"
BOOT = (
    "write /etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf, so that docker.service starts with its "
    "pool active",
    "tell systemd of its changed files",
)
INSTALL_DOCKER = "install packages docker.io"
START = "start Docker and enable it"
STOP = "stop Docker"


def profile_of(threshold):
    return profiles.decide(PROFILE, threshold=threshold, percent=20)[1]


@pytest.fixture
def running(captured):
    """Return the captured Docker: running, on the pool."""
    return Docker(
        path="/usr/sbin/dockerd",
        version=dockerd.parse_version(captured("dockerd_version.txt")),
        unit="loaded",
        active=True,
        enabled=True,
        info=dockerd.parse_info(captured("docker_info.json")),
    )


@pytest.fixture
def converged(report, running, captured):
    """Return the captured host on which the pool is in use; its profile's threshold was 52 then."""
    return DockerHostState(
        lvm=report("pool_in_use_by_docker"),
        devices=(BlockDevice("/dev/vdb", "/dev/vdb"),),
        signatures={},
        profile=profile_of(52),
        daemon=DaemonJson.of(DAEMON),
        boot_text=boot_drop_in.text("docker", "thinpool"),
        docker=running,
        data=DockerData(
            images={"devicemapper": 1}, containers={"devicemapper": ["c0ffee"]}, has_records=True, transaction_id=16
        ),
        pool_status=pool_status.parse(captured("pool_in_use_by_docker.status"))["docker-thinpool"],
        missing_packages=(),
        missing_docker_packages=(),
        candidates=(),
    )


@pytest.fixture
def on_overlay2(captured):
    """Return the captured answer of the daemon as it would be on another driver."""
    answer = {
        **json.loads(captured("docker_info.json")),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"]],
    }
    return dockerd.parse_info(json.dumps(answer))


SEEN = replace(DEFAULTS, autoextend_threshold=52)  # what the converged host was made with


def test_a_blank_host_gets_the_whole_chain():
    plan = docker_plan.plan_setup(BLANK, DEFAULTS)
    assert plan.actions == [INSTALL, PV, VG, WRITE_PROFILE, POOL, *BOOT, WRITE_DAEMON, INSTALL_DOCKER, START]
    assert list(plan.stages) == LINKS
    assert actions(plan.stages["docker_stop"]) == []
    assert plan.warning == ""


def test_a_blank_host_without_docker_gets_pool_and_file_alone():
    host = replace(BLANK, missing_docker_packages=(), candidates=())
    plan = docker_plan.plan_setup(host, replace(DEFAULTS, docker_packages=()))
    assert plan.actions == [INSTALL, PV, VG, WRITE_PROFILE, POOL, *BOOT, WRITE_DAEMON]


def test_a_blank_host_is_shown_what_will_be_there():
    diff = {
        part["before_header"]: (part["before"], part["after"]) for part in docker_plan.plan_setup(BLANK, DEFAULTS).diff
    }
    assert list(diff) == [
        "physical volumes",
        "volume group docker",
        PROFILE.path,
        "thin pool docker/thinpool",
        boot_drop_in.path("docker.service", "docker", "thinpool"),
        "/etc/docker/daemon.json",
    ]
    assert diff["volume group docker"][0] == {"volume_group": None}
    assert diff["volume group docker"][1]["volume_group"]["extents"] == 2559
    assert diff["thin pool docker/thinpool"][1]["thin_pool"]["low_water_mark"] == 3275
    assert diff["/etc/docker/daemon.json"][0] == ""
    assert json.loads(diff["/etc/docker/daemon.json"][1]) == json.loads(DAEMON)


def test_a_converged_host_needs_nothing(converged):
    plan = docker_plan.plan_setup(converged, SEEN)
    assert plan.actions == []
    assert plan.stages == {stage: [] for stage in LINKS}
    assert plan.diff == []
    assert plan.lvm == converged.lvm


@pytest.mark.parametrize(
    ("changes", "spec", "expected"),
    [
        pytest.param(
            {"daemon": DaemonJson.of("{}")},
            SEEN,
            [STOP, WRITE_DAEMON.replace("write", "change"), START],
            id="daemon.json",
        ),
        pytest.param(
            {},
            replace(SEEN, storage_opts=("dm.basesize=20G",)),
            [STOP, "change /etc/docker/daemon.json: storage-opts", START],
            id="another-storage-option",
        ),
        pytest.param(
            {},
            replace(SEEN, daemon_options={"debug": True}),
            [STOP, "change /etc/docker/daemon.json: debug", START],
            id="another-key",
        ),
        pytest.param({"boot_text": None}, SEEN, [*BOOT], id="the-drop-in-is-missing"),
        pytest.param({"missing_packages": ("dmeventd",)}, SEEN, ["install packages dmeventd"], id="a-package"),
        pytest.param(
            {},
            DEFAULTS,
            [
                WRITE_PROFILE,
                "refresh thin pool docker/thinpool, so that the kernel's low water mark is 3931 chunks",
            ],
            id="another-threshold-needs-no-restart",
        ),
    ],
)
def test_a_running_docker_is_restarted_only_where_it_must(converged, changes, spec, expected):
    assert docker_plan.plan_setup(replace(converged, **changes), spec).actions == expected


def test_a_changed_profile_is_shown_before_and_after(converged):
    part = next(
        part for part in docker_plan.plan_setup(converged, DEFAULTS).diff if part["before_header"] == PROFILE.path
    )
    assert "thin_pool_autoextend_threshold=52" in part["before"]
    assert part["after"] == part["before"].replace("=52", "=80")


def test_a_docker_that_runs_on_other_storage_is_restarted(converged, on_overlay2):
    host = replace(converged, docker=replace(converged.docker, info=on_overlay2))
    assert docker_plan.plan_setup(host, SEEN).actions == [STOP, START]


def test_a_docker_that_runs_on_another_pool_is_restarted(converged, captured):
    info = dockerd.parse_info(captured("docker_info.json").replace("docker-thinpool", "docker-other"))
    host = replace(converged, docker=replace(converged.docker, info=info))
    assert docker_plan.plan_setup(host, SEEN).actions == [STOP, START]


def test_a_docker_that_does_not_answer_is_left_alone(converged):
    host = replace(converged, docker=replace(converged.docker, info=None))
    assert docker_plan.plan_setup(host, SEEN).actions == []


@pytest.mark.parametrize("changes", [{"active": False, "info": None}, {"enabled": False}])
def test_a_docker_that_is_stopped_or_not_enabled_is_started(converged, changes):
    host = replace(converged, docker=replace(converged.docker, **changes))
    assert docker_plan.plan_setup(host, SEEN).actions == [START]


def test_a_running_docker_is_stopped_before_its_pool_is_made(running, on_overlay2):
    host = replace(BLANK, docker=replace(running, info=on_overlay2), missing_docker_packages=(), candidates=())
    assert docker_plan.plan_setup(host, DEFAULTS).actions == [
        INSTALL,
        STOP,
        PV,
        VG,
        WRITE_PROFILE,
        POOL,
        *BOOT,
        WRITE_DAEMON,
        START,
    ]


def test_a_second_disk_is_added_and_the_pool_grown_while_docker_runs(converged):
    disks = (BlockDevice("/dev/vdb", "/dev/vdb"), BlockDevice("/dev/vdc", "/dev/vdc", size=10 * GIB))
    plan = docker_plan.plan_setup(replace(converged, devices=disks), SEEN)
    assert {stage: actions(steps) for stage, steps in plan.stages.items() if steps} == {
        "physical_volumes": ["create physical volume /dev/vdc"],
        "volume_group": ["add /dev/vdc to volume group docker"],
        "thin_pool": [
            "grow metadata of thin pool docker/thinpool from 25 to 51 extents (204.00 MiB)",
            "grow data of thin pool docker/thinpool from 2457 to 4094 extents (15.99 GiB)",
        ],
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param("bare_physical_volume", [VG, WRITE_PROFILE, POOL], id="physical-volume"),
        pytest.param("group", [WRITE_PROFILE, POOL], id="group"),
        pytest.param(
            "pool_without_profile",
            [
                WRITE_PROFILE,
                "attach profile docker-thinpool to thin pool docker/thinpool",
                "refresh thin pool docker/thinpool, so that the kernel's low water mark is 3889 chunks",
            ],
            id="the-manuals-pool",
        ),
    ],
)
def test_the_chain_goes_on_from_where_another_run_ended(report, state, expected):
    host = replace(BLANK, lvm=report(state), missing_packages=())
    assert docker_plan.plan_setup(host, DEFAULTS).actions == [*expected, *BOOT, WRITE_DAEMON, INSTALL_DOCKER, START]


def test_plain_volumes_are_converted_unless_they_hold_something(report):
    host = replace(BLANK, lvm=report("data_and_metadata"), signatures={"thinpool": "", "thinpoolmeta": ""})
    spec = replace(DEFAULTS, data_size=Size.parse("95%VG"))
    (action,) = actions(docker_plan.plan_setup(host, spec).stages["thin_pool"])
    assert action.startswith("convert docker/thinpool and docker/thinpoolmeta to a thin pool")
    with pytest.raises(RefusedErrors, match="docker/thinpool holds ext4"):
        docker_plan.plan_setup(replace(host, signatures={"thinpool": "ext4 at 0x438"}), spec)


MANUAL = replace(DEFAULTS, data_size=Size.parse("95%VG"))
SHORTAGE = (
    "thin pool docker/thinpool cannot be extended automatically: the next 20 percent take 487 "
    "extents (1.90 GiB) of data, and "
    "volume group docker has 78 free (312.00 MiB). Add a device, make data_size smaller, or "
    "set autoextend_percent to 3 or less"
)


def test_the_manuals_sizes_are_warned_of_with_the_figures():
    plan = docker_plan.plan_setup(BLANK, MANUAL)
    assert plan.warning == SHORTAGE
    assert (plan.extension.data_needed, plan.extension.free) == (487, 78)
    assert START in plan.actions


def test_the_manuals_sizes_are_refused_on_request():
    with pytest.raises(RefusedErrors) as refusal:
        docker_plan.plan_setup(BLANK, replace(MANUAL, autoextend_room="fail"))
    assert refusal.value.reasons == (SHORTAGE,)


def test_the_manuals_sizes_are_taken_in_silence_on_request():
    plan = docker_plan.plan_setup(BLANK, replace(MANUAL, autoextend_room="ignore"))
    assert plan.warning == ""
    assert plan.extension.data_needed == 487


def test_the_percentage_that_the_warning_names_fits():
    plan = docker_plan.plan_setup(BLANK, replace(MANUAL, autoextend_percent=3))
    assert plan.warning == ""
    assert plan.extension.data_needed <= plan.extension.free


@pytest.mark.parametrize("room", ["warn", "fail", "ignore"])
def test_enough_room_is_not_spoken_of(room):
    plan = docker_plan.plan_setup(BLANK, replace(DEFAULTS, autoextend_room=room))
    assert plan.warning == ""
    assert (plan.extension.data_needed, plan.extension.free) == (410, 462)


@pytest.mark.parametrize("room", ["warn", "fail"])
def test_a_pool_that_is_not_extended_needs_no_room(room):
    plan = docker_plan.plan_setup(BLANK, replace(MANUAL, autoextend_threshold=100, autoextend_room=room))
    assert (plan.warning, plan.extension) == ("", None)


def test_no_room_at_all_names_no_percentage():
    plan = docker_plan.plan_setup(BLANK, replace(DEFAULTS, data_size=Size.parse("100%FREE")))
    assert plan.warning.endswith("volume group docker has 0 free (0 B). Add a device, make data_size smaller")
    assert "502 extents (1.96 GiB) of data and 12 extents (48.00 MiB) of metadata" in plan.warning


def refused(host, spec):
    with pytest.raises(RefusedErrors) as refusal:
        docker_plan.plan_setup(host, spec)
    return refusal.value.reasons


def test_everything_is_refused_at_once():
    host = replace(
        BLANK,
        devices=(replace(VDB, signatures=(Signature("ext4", 0x438),), obstacles=("is mounted at /srv",)),),
        daemon=DaemonJson.of('{"debug": true,}'),
        docker=Docker(path="/usr/bin/dockerd", version="28.1.1"),
    )
    reasons = refused(host, replace(DEFAULTS, autoextend_threshold=20, chunk_size=1000))
    expected = [
        "/usr/bin/dockerd is Docker 28.1.1, which has no devicemapper driver",
        "chunk_size of docker/thinpool must be a multiple of 64k",
        "/dev/vdb is mounted at /srv",
        "/dev/vdb is not blank: it holds ext4 at 0x438",
        "thin_pool_autoextend_threshold must be 50 to 99",
        "/etc/docker/daemon.json is not valid JSON",
    ]
    assert [reason[: len(start)] for reason, start in zip(reasons, expected)] == expected
    assert len(reasons) == len(expected)


def test_a_reason_that_two_links_have_is_told_once():
    (reason,) = refused(BLANK, replace(DEFAULTS, chunk_size=1000))
    assert reason.startswith("chunk_size of docker/thinpool")


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        pytest.param(
            {"candidates": (Candidate("docker.io", "26.1.5+dfsg1-9"),)},
            DEFAULTS,
            r"^package docker.io \(26.1.5\+dfsg1-9\) is Docker 26.1.5, which has no devicemapper driver",
            id="candidate-without-the-driver",
        ),
        pytest.param(
            {"docker": Docker(path="/usr/bin/dockerd", version="24.0.9", static=True)},
            DEFAULTS,
            "^/usr/bin/dockerd is a static build",
            id="static-docker",
        ),
        pytest.param(
            {},
            replace(DEFAULTS, storage_opts=("dm.thinpooldev=/dev/mapper/other",)),
            "dm.thinpooldev is set by this role, from vg and pool: leave it out",
            id="the-pool-named-twice",
        ),
        pytest.param(
            {}, replace(DEFAULTS, storage_opts=("dm.foo=1",)), "'dm.foo' is not known to Docker's", id="unknown-option"
        ),
        pytest.param(
            {"docker": Docker(path="/usr/bin/dockerd", version="24.0.9", flags=("-s", "overlay2"))},
            DEFAULTS,
            r"dockerd's unit already sets -s \(storage-driver\)",
            id="flags-clash",
        ),
        pytest.param(
            {},
            replace(DEFAULTS, autoextend_percent=0),
            "thin_pool_autoextend_percent must be 1 to 100",
            id="percentage",
        ),
        pytest.param({}, replace(DEFAULTS, vg="-x"), "'-x' is not a name for a volume group", id="group-name"),
        pytest.param(
            {},
            replace(DEFAULTS, data_size=Size.parse("20g")),
            "cannot have 20g .* has 2559 free",
            id="too-large-for-the-disk",
        ),
    ],
)
def test_what_must_not_be_is_refused_before_anything(changes, spec, message):
    assert any(re.search(message, reason) for reason in refused(replace(BLANK, **changes), spec))


def test_a_candidate_with_the_driver_is_taken(captured):
    version = package_manager.parse_policy(captured("apt_policy.txt"))["docker.io"]
    assert docker_plan.plan_setup(replace(BLANK, candidates=(Candidate("docker.io", version),)), DEFAULTS).actions


def test_a_candidate_that_the_lists_do_not_know_is_asked_for_later():
    assert docker_plan.plan_setup(replace(BLANK, candidates=(Candidate("docker.io", ""),)), DEFAULTS).actions


def test_another_packages_version_is_no_matter():
    assert docker_plan.plan_setup(replace(BLANK, candidates=(Candidate("containerd.io", "99.0"),)), DEFAULTS).actions


def test_a_docker_without_udev_synchronisation_is_refused(converged, captured):
    text = re.sub(r'("Udev Sync Supported",\s*)"true"', r'\1"false"', captured("docker_info.json"))
    host = replace(converged, docker=replace(converged.docker, info=dockerd.parse_info(text)))
    (reason,) = refused(host, SEEN)
    assert reason.startswith(
        "/usr/sbin/dockerd runs without udev synchronisation ('docker info': Udev Sync Supported: false)"
    )
    spec = replace(SEEN, storage_opts=("dm.override_udev_sync_check=true",))
    assert docker_plan.plan_setup(host, spec).actions == [STOP, "change /etc/docker/daemon.json: storage-opts", START]


def test_a_device_of_another_group_is_refused(report):
    host = replace(BLANK, lvm=report("foreign_group"), devices=(VDB, BlockDevice("/dev/vdc", "/dev/vdc")))
    assert refused(host, DEFAULTS) == (
        "/dev/vdc belongs to volume group foreign, not to docker: choose another device",
    )


def test_a_device_of_another_group_is_refused_beside_one_in_use(report):
    foreign = report("foreign_group").without(device="/dev/vdb").without(group="docker")
    devices = (replace(VDB, obstacles=("is mounted at /srv",)), BlockDevice("/dev/vdc", "/dev/vdc"))
    assert refused(replace(BLANK, lvm=foreign, devices=devices), DEFAULTS) == (
        "/dev/vdb is mounted at /srv",
        "/dev/vdc belongs to volume group foreign, not to docker: choose another device",
    )


def test_a_package_with_a_version_is_judged_by_it(commands):
    pinned = "docker-ce=5:28.1.1-1~debian.12~bookworm"
    host = replace(
        BLANK, missing_docker_packages=(pinned,), candidates=tuple(package_manager.candidates("debian", [pinned]))
    )
    (reason,) = refused(host, replace(DEFAULTS, docker_packages=(pinned,)))
    assert reason.startswith(f"package {pinned} (5:28.1.1-1~debian.12~bookworm) is Docker 28.1.1, which has no")


def test_names_with_hyphens_are_doubled_everywhere():
    spec = replace(DEFAULTS, vg="my-vg", pool="thin-pool")
    assert (spec.dm_name, spec.profile) == ("my--vg-thin--pool", "my--vg-thin--pool")
    assert docker_plan.storage_opts(BLANK, spec) == ("dm.thinpooldev=/dev/mapper/my--vg-thin--pool",)
    assert spec.for_pool().profile == "my--vg-thin--pool"


# Programs of the host, what daemon.json and the wish say of dm.fs, and the packages beside LVM's.
@pytest.mark.parametrize(
    ("programs", "daemon_text", "storage_opts", "expected"),
    [
        pytest.param([], None, (), ["e2fsprogs"], id="nothing-there"),
        pytest.param(["mkfs.xfs"], None, (), [], id="xfs-there"),
        pytest.param(["mkfs.ext4"], None, (), [], id="ext4-there"),
        pytest.param(["mkfs.ext4"], None, ("dm.fs=xfs",), ["xfsprogs"], id="xfs-wished"),
        pytest.param(["mkfs.xfs"], '{"storage-opts": ["dm.fs=ext4"]}', (), ["e2fsprogs"], id="ext4-in-the-file"),
        pytest.param(["mkfs.xfs"], '{"storage-opts": ["dm.fs=ext4"]}', ("dm.fs=xfs",), [], id="the-wish-counts-first"),
    ],
)
def test_docker_needs_the_program_that_makes_its_filesystem(programs, daemon_text, storage_opts, expected):
    spec = replace(DEFAULTS, storage_opts=storage_opts)
    found = docker_plan.needed_packages("debian", spec, DaemonJson.of(daemon_text), True, programs.__contains__)
    assert found == [*DEBIAN, *expected]


def test_without_docker_only_lvms_packages_are_needed():
    found = docker_plan.needed_packages("redhat", DEFAULTS, "not json", False, [].__contains__)
    assert found == ["lvm2", "device-mapper-persistent-data", "device-mapper-event"]


MOVE = "move /var/lib/docker aside"
LEFT = DockerData(images={"overlay2": 2})  # by a Docker that ran before
HELP = (
    ". The playbook migrate carries images over. Or save what is needed ('docker save'), then set existing_data: "
    "backup, which moves /var/lib/docker aside, or remove it"
)
OVERLAY2_LEFT = (
    "/var/lib/docker holds 2 images and 0 containers of driver overlay2, which Docker no longer shows once it runs on "
    "devicemapper"
)
BACKUP = replace(DEFAULTS, existing_data="backup")


def test_data_that_does_not_fit_is_refused_with_what_helps():
    assert refused(replace(BLANK, data=LEFT), DEFAULTS) == (f"{OVERLAY2_LEFT}{HELP}",)


def test_data_that_does_not_fit_is_refused_beside_all_else():
    host = replace(BLANK, data=LEFT, devices=(replace(VDB, obstacles=("is mounted at /srv",)),))
    assert refused(host, DEFAULTS) == ("/dev/vdb is mounted at /srv", f"{OVERLAY2_LEFT}{HELP}")


def test_data_that_does_not_fit_is_moved_aside_before_anything_is_made(running, on_overlay2):
    host = replace(
        BLANK, data=LEFT, docker=replace(running, info=on_overlay2), missing_docker_packages=(), candidates=()
    )
    plan = docker_plan.plan_setup(host, BACKUP)
    assert plan.actions == [INSTALL, STOP, MOVE, PV, VG, WRITE_PROFILE, POOL, *BOOT, WRITE_DAEMON, START]
    assert list(plan.stages) == LINKS
    assert actions(plan.stages["docker_data"]) == [MOVE]


def test_data_of_a_docker_that_is_gone_is_moved_aside_with_nothing_to_stop():
    plan = docker_plan.plan_setup(replace(BLANK, data=replace(LEFT, root="/srv/docker")), BACKUP)
    assert plan.actions == [
        INSTALL,
        "move /srv/docker aside",
        PV,
        VG,
        WRITE_PROFILE,
        POOL,
        *BOOT,
        WRITE_DAEMON,
        INSTALL_DOCKER,
        START,
    ]


def test_data_without_docker_is_nobodys_business():
    host = replace(BLANK, data=LEFT, missing_docker_packages=(), candidates=())
    assert docker_plan.plan_setup(host, replace(DEFAULTS, docker_packages=())).actions[-1] == WRITE_DAEMON


def test_a_mount_point_cannot_be_moved_aside():
    host = replace(BLANK, data=replace(LEFT, is_movable=False))
    assert refused(host, BACKUP) == (
        "/var/lib/docker is a mount point or a symbolic link and cannot be moved aside as a whole: move its "
        "content away",
    )
    assert refused(host, DEFAULTS) == (f"{OVERLAY2_LEFT}{HELP}",)


def test_a_mount_point_with_nothing_to_move_is_fine(converged):
    host = replace(converged, data=replace(converged.data, is_movable=False))
    assert docker_plan.plan_setup(host, replace(SEEN, existing_data="backup")).actions == []


KEEP = replace(DEFAULTS, existing_data="keep")


# What there is in the data root, and what of it makes room.
@pytest.mark.parametrize(
    ("data", "moved"),
    [
        pytest.param(LEFT, [], id="another-driver-stays"),
        pytest.param(replace(LEFT, is_movable=False), [], id="on-a-mount-point"),
        pytest.param(DockerData(has_directory=True), [], id="started-once"),
        pytest.param(
            replace(
                LEFT,
                images={"overlay2": 2, "devicemapper": 1},
                containers={"overlay2": ["a"], "devicemapper": ["b", "c"]},
                has_directory=True,
                has_loop_files=True,
                has_records=True,
            ),
            ["containers/b", "containers/c", "image/devicemapper", "devicemapper"],
            id="loop-lvm",
        ),
        pytest.param(
            DockerData(has_directory=True, has_records=True, is_movable=False), ["devicemapper"], id="another-pool"
        ),
        pytest.param(DockerData(has_directory=True, set_up_device="/dev/vdb"), ["devicemapper"], id="set-up-by-docker"),
    ],
)
def test_data_is_kept_but_for_the_records_of_another_pool(running, on_overlay2, data, moved):
    docker = replace(running, info=on_overlay2)
    host = replace(BLANK, data=data, docker=docker, missing_docker_packages=(), candidates=())
    plan = docker_plan.plan_setup(host, KEEP)
    moves = [f"move /var/lib/docker/{path} aside" for path in moved]
    assert plan.actions == [INSTALL, STOP, *moves, PV, VG, WRITE_PROFILE, POOL, *BOOT, WRITE_DAEMON, START]
    assert list(plan.aside) == [f"/var/lib/docker/{path}" for path in moved]


def test_records_of_the_pool_stay_where_docker_comes_back_to_it(converged, on_overlay2):
    data = replace(converged.data, images={"overlay2": 2, "devicemapper": 1})
    host = replace(
        converged,
        data=data,
        docker=replace(converged.docker, info=on_overlay2),
        daemon=DaemonJson.of('{"debug": true}'),
    )
    plan = docker_plan.plan_setup(host, replace(SEEN, existing_data="keep"))
    assert plan.actions == [STOP, WRITE_DAEMON.replace("write", "change"), START]


@pytest.mark.parametrize("existing_data", ["refuse", "backup", "keep"])
@pytest.mark.parametrize(
    "images",
    [
        pytest.param({"overlay2": 5, "devicemapper": 1}, id="left-beside"),
        pytest.param({"overlay2": 0, "devicemapper": 1}, id="no-images"),
    ],
)
def test_old_images_beside_a_pool_in_use_are_left_alone(converged, images, existing_data):
    host = replace(converged, data=replace(converged.data, images=images))
    assert docker_plan.plan_setup(host, replace(SEEN, existing_data=existing_data)).actions == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"daemon": DaemonJson.of(None)}, id="no-file"),
        pytest.param({"daemon": DaemonJson.of(DAEMON.replace("docker-thinpool", "docker-other"))}, id="another-pool"),
        pytest.param({"daemon": DaemonJson.of(DAEMON.replace('"devicemapper"', '"overlay2"'))}, id="another-driver"),
    ],
)
def test_old_images_count_while_the_file_does_not_name_the_pool(converged, changes):
    docker = replace(converged.docker, active=False, info=None)
    data = replace(converged.data, images={"overlay2": 2})
    host = replace(converged, docker=docker, data=data, **changes)
    assert f"{OVERLAY2_LEFT}{HELP}" in refused(host, SEEN)


def test_old_images_count_while_the_daemon_runs_on_them(converged, on_overlay2):
    docker = replace(converged.docker, info=on_overlay2)
    host = replace(converged, docker=docker, data=replace(converged.data, images={"overlay2": 2}))
    assert refused(host, SEEN) == (f"{OVERLAY2_LEFT}{HELP}",)


@pytest.mark.parametrize("existing_data", ["refuse", "backup"])
def test_a_docker_that_was_started_once_is_in_nobodys_way(running, on_overlay2, existing_data):
    docker = replace(running, info=on_overlay2)
    data = DockerData(images={"overlay2": 0})
    host = replace(BLANK, docker=docker, data=data, missing_docker_packages=(), candidates=())
    plan = docker_plan.plan_setup(host, replace(DEFAULTS, existing_data=existing_data))
    assert plan.actions == [INSTALL, STOP, PV, VG, WRITE_PROFILE, POOL, *BOOT, WRITE_DAEMON, START]


RECORDS = DockerData(has_records=True, transaction_id=16)
EMPTY_POOL = PoolStatus("rw", 0, 2571, 25600, 0, 19448)


@pytest.mark.parametrize("data", [DockerData(), RECORDS, replace(LEFT, has_loop_files=True)])
@pytest.mark.parametrize("existing_data", ["refuse", "backup"])
def test_data_beside_an_inactive_pool_is_left_alone(report, data, existing_data):
    host = replace(BLANK, lvm=report("pool_inactive"), data=data)
    plan = docker_plan.plan_setup(host, replace(DEFAULTS, existing_data=existing_data))
    assert "activate thin pool docker/thinpool" in plan.actions
    assert plan.stages["docker_data"] == []


@pytest.mark.parametrize("state", ["blank", "group", "data_and_metadata"])
def test_records_beside_a_pool_that_is_yet_to_be_made_are_of_another(report, state):
    signatures = {"thinpool": "", "thinpoolmeta": ""}
    host = replace(BLANK, lvm=report(state), data=RECORDS, signatures=signatures)
    (reason,) = refused(host, MANUAL)
    assert "with a new one Docker would end with 'Base Device UUID" in reason
    assert MOVE in docker_plan.plan_setup(host, replace(MANUAL, existing_data="backup")).actions


def test_records_of_another_pool_are_moved_away_from_an_empty_one(report):
    host = replace(BLANK, lvm=report("pool"), data=RECORDS, pool_status=EMPTY_POOL)
    (reason,) = refused(host, DEFAULTS)
    assert reason.startswith("/var/lib/docker/devicemapper holds the records of another pool: they end at")
    assert MOVE in docker_plan.plan_setup(host, BACKUP).actions


def test_a_docker_that_does_not_answer_is_stopped_before_its_data_is_moved(converged):
    docker = replace(converged.docker, info=None)
    host = replace(converged, docker=docker, data=RECORDS, pool_status=EMPTY_POOL)
    assert docker_plan.plan_setup(host, replace(SEEN, existing_data="backup")).actions == [STOP, MOVE, START]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(replace(RECORDS, transaction_id=3), id="records-of-another"),
        pytest.param(replace(RECORDS, has_loop_files=True), id="loop-files"),
    ],
)
def test_records_are_not_moved_away_from_a_pool_in_use(converged, data):
    (reason,) = refused(replace(converged, data=data), replace(SEEN, existing_data="backup"))
    assert reason.startswith("the pool has 486 chunks in use (transaction 16), and /var/lib/docker has no records")


@pytest.mark.parametrize("existing_data", ["refuse", "backup"])
def test_a_pool_in_use_whose_records_are_gone_is_refused(converged, existing_data):
    host = replace(converged, data=DockerData())
    (reason,) = refused(host, replace(SEEN, existing_data=existing_data))
    assert reason.startswith("the pool has 486 chunks in use (transaction 16), and /var/lib/docker has no records")


@pytest.mark.parametrize("text", [DAEMON, DAEMON.replace('"]', '", "dm.basesize=5G"]')])
def test_a_base_device_is_not_made_smaller(converged, text):
    host = replace(converged, daemon=DaemonJson.of(text), data=replace(converged.data, base_size=10 * GIB))
    with pytest.raises(RefusedErrors, match="dm.basesize is 5.00 GiB, and the base device .* has 10.00 GiB"):
        docker_plan.plan_setup(host, replace(SEEN, storage_opts=("dm.basesize=5G",)))


def test_a_base_device_is_made_anew_with_all_else(converged):
    # The loop files do not fit the pool, and are moved aside with the base device that is on record beside them.
    data = DockerData(has_records=True, base_size=10 * GIB, has_loop_files=True)
    host = replace(
        converged, daemon=DaemonJson.of("{}"), data=data, pool_status=PoolStatus("rw", 0, 2571, 25600, 0, 19448)
    )
    spec = replace(SEEN, storage_opts=("dm.basesize=5G",), existing_data="backup")
    assert docker_plan.plan_setup(host, spec).actions[:2] == [STOP, "move /var/lib/docker aside"]


def test_a_pool_in_use_is_nobodys_business_without_docker(converged):
    host = replace(converged, docker=Docker(), data=DockerData())
    assert docker_plan.plan_setup(host, replace(SEEN, docker_packages=())).actions == []


def test_records_are_not_moved_away_from_a_failed_pool(converged):
    host = replace(converged, pool_status=PoolStatus("fail"))
    with pytest.raises(RefusedErrors):
        docker_plan.plan_setup(host, replace(SEEN, existing_data="backup"))


@pytest.mark.parametrize(
    ("daemon_text", "options", "flags", "expected"),
    [
        pytest.param(None, {}, (), "/var/lib/docker", id="nowhere"),
        pytest.param("{}", {}, ("-H", "fd://"), "/var/lib/docker", id="other-flags"),
        pytest.param('{"data-root": "/srv/a"}', {}, (), "/srv/a", id="file"),
        pytest.param('{"graph": "/srv/a"}', {}, (), "/srv/a", id="file-of-an-old-docker"),
        pytest.param('{"graph": "/srv/b", "data-root": "/srv/a"}', {}, (), "/srv/a", id="both-keys"),
        pytest.param('{"data-root": ""}', {}, (), "/var/lib/docker", id="empty"),
        pytest.param(None, {"data-root": "/srv/a"}, (), "/srv/a", id="options"),
        pytest.param('{"data-root": "/srv/b"}', {"data-root": "/srv/a"}, (), "/srv/a", id="options-count-first"),
        pytest.param('{"data-root": "/srv/a"}', {"debug": True}, (), "/srv/a", id="other-options"),
        pytest.param(None, {}, ("-H", "fd://", "--data-root=/srv/a"), "/srv/a", id="flag"),
        pytest.param(None, {}, ("--data-root", "/srv/a", "-H", "fd://"), "/srv/a", id="flag-in-two-words"),
        pytest.param(None, {}, ("-g", "/srv/a"), "/srv/a", id="short-flag"),
        pytest.param(None, {}, ("-g=/srv/a",), "/srv/a", id="short-flag-with-equals"),
        pytest.param(None, {}, ("--graph=/srv/a",), "/srv/a", id="flag-of-an-old-docker"),
        pytest.param(None, {}, ("--data-root",), "/var/lib/docker", id="flag-without-a-value"),
        pytest.param(None, {}, ("--data-root-x=/srv/a",), "/var/lib/docker", id="a-longer-flag"),
        pytest.param('{"data-root": "/srv/b"}', {}, ("--data-root=/srv/a",), "/srv/a", id="flag-beside-the-file"),
        pytest.param(
            None,
            {},
            ("-g/srv/a",),
            "/srv/a",
            id="short-flag-in-one-word",
        ),
        pytest.param(
            None,
            {},
            ("--data-root=/srv/b", "--data-root=/srv/a"),
            "/srv/a",
            id="the-last-flag-counts",
        ),
        pytest.param(
            '{"data-root": "/srv/a/"}',
            {},
            (),
            "/srv/a",
            id="trailing-slash",
        ),
    ],
)
def test_the_data_root_is_found(daemon_text, options, flags, expected):
    assert (
        docker_plan.find_data_root(DaemonJson.of(daemon_text), replace(DEFAULTS, daemon_options=options), flags)
        == expected
    )


def test_the_pool_alone_leaves_docker_alone(converged):
    alone = replace(DEFAULTS, engine="none", docker_packages=())
    host = replace(BLANK, missing_docker_packages=(), candidates=(), docker=Docker())
    assert docker_plan.plan_setup(host, alone).actions == [INSTALL, PV, VG, WRITE_PROFILE, POOL]
    seen = replace(SEEN, engine="none")
    host = replace(converged, docker=Docker(), daemon=DaemonJson.of(None), boot_text=None, data=DockerData())
    assert docker_plan.plan_setup(host, seen).actions == []
