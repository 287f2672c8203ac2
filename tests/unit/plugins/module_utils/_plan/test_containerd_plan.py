# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    constants,
    containerd_config,
    layouts,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_metadata import (
    ContainerdMetadata,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import Runtime
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG, LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import containerd_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.containerd_plan import (
    ContainerdHostState,
    ContainerdSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate

GIB = 1024**3
FOLDER = "/var/lib/containerd/io.containerd.snapshotter.v1.devmapper"
PROFILE = Profile("/etc/lvm/profile/docker-thinpool.profile")
SETTINGS = SnapshotterSettings(
    pool_name="docker-thinpool", root_path=FOLDER, base_image_size="10GB", discard_blocks=True
)
# The captured pool is in a group named docker; the name is the only thing of Docker's about it.
WISH = ContainerdSpec(
    vg="docker",
    pool="thinpool",
    data_size=Size.parse("80%VG"),
    metadata_size=Size.parse("1%VG"),
    chunk_size=524288,
    zero=False,
    autoextend_threshold=80,
    autoextend_percent=20,
    autoextend_room="ignore",
    wipe_signatures=False,
    destroy_contents=False,
    resize_devices=False,
    reserve=None,
    settings=SETTINGS,
    packages=("containerd",),
)
BLANK = ContainerdHostState(
    lvm=LvmState(),
    devices=(BlockDevice("/dev/vdb", "/dev/vdb", size=10 * GIB),),
    signatures={},
    profile=PROFILE,
    pool_status=None,
    missing_packages=("lvm2", "containerd"),
    candidates=(Candidate("lvm2", "2.03.31-2"), Candidate("containerd", "1.7.24~ds1-6+deb13u1")),
    containerd=Containerd(unit="not-found"),
    records=ContainerdMetadata(FOLDER, "docker-thinpool"),
)
CONFIGURE = "set root_path, pool_name, base_image_size, discard_blocks in /etc/containerd/config.toml"
OLD = "version 2 with whole names of plugins"
OF_DOCKER = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
DROP_IN = "/etc/systemd/system/containerd.service.d/thin-pool-docker-thinpool.conf"
BOOT = [
    f"write {DROP_IN}, so that containerd.service starts with its pool active",
    "tell systemd of its changed files",
]
START = "start containerd and enable it"
RESTART = "restart containerd"
ANEW = "restart containerd, and see that every plugin works that did"


def configuration(tmp_path, settings=SETTINGS):
    """Return a configuration in a file of the test, as this would write it."""
    path = tmp_path / "config.toml"
    path.write_text("version = 2\n", encoding="utf-8")
    _steps, changes = containerd_config.decide(containerd_config.read(str(path)), settings)
    path.write_text(changes[0].after, encoding="utf-8")
    return containerd_config.read(str(path))


@pytest.fixture
def running():
    return Containerd(
        path="/usr/bin/containerd",
        version="1.7.24",
        unit="loaded",
        active=True,
        enabled=True,
        plugin="ok",
        open_files=frozenset({f"{FOLDER}/docker-thinpool.db"}),
        started=1000.0,
    )


@pytest.fixture
def converged(report, captured, running, tmp_path):
    return ContainerdHostState(
        lvm=report("pool_in_use_by_docker"),
        devices=(BlockDevice("/dev/vdb", "/dev/vdb"),),
        signatures={},
        profile=profiles.decide(PROFILE, threshold=52, percent=20)[1],
        pool_status=pool_status.parse(captured("pool_in_use_by_docker.status"))["docker-thinpool"],
        missing_packages=(),
        candidates=(),
        containerd=running,
        configuration=configuration(tmp_path),
        records=ContainerdMetadata(FOLDER, "docker-thinpool", 3, 3, True, True),
        boot_text=boot_drop_in.text("docker", "thinpool"),
        configured_at=900.0,
        now=2000.0,
    )


SEEN = replace(WISH, autoextend_threshold=52)  # what the captured pool was made with


def refused(host, spec):
    with pytest.raises(RefusedErrors) as refusal:
        containerd_plan.plan_setup(host, spec)
    return refusal.value.reasons


def test_a_blank_host_gets_the_whole_chain():
    plan = containerd_plan.plan_setup(BLANK, WISH)
    assert {stage: actions(steps) for stage, steps in plan.stages.items() if stage not in ("profile", "thin_pool")} == {
        "packages": ["install packages lvm2, containerd"],
        "docker_stop": [],
        "docker_data": [],
        "physical_volumes": ["create physical volume /dev/vdb"],
        "volume_group": ["create volume group docker on /dev/vdb"],
        "boot": BOOT,
        "reserve": [],
        "configuration": [CONFIGURE, ANEW],
        "containerd_start": [],
        "daemon": [],
        "docker_packages": [],
        "docker_start": [],
    }
    assert list(plan.stages)[5:9] == ["profile", "thin_pool", "boot", "reserve"]
    assert [part["after_header"] for part in plan.diff][-1] == "/etc/containerd/config.toml"


def test_a_converged_host_needs_nothing(converged):
    plan = containerd_plan.plan_setup(converged, SEEN)
    assert (plan.actions, plan.diff) == ([], [])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"active": False, "plugin": "", "open_files": frozenset()}, [START], id="stopped"),
        pytest.param({"enabled": False}, [START], id="not-enabled"),
        pytest.param({"plugin": "devmapper not configured: skip plugin"}, [RESTART], id="started-without"),
        pytest.param({"open_files": frozenset()}, [RESTART], id="on-another-pool"),
        pytest.param({"plugin": ""}, [], id="does-not-answer"),
        pytest.param({"started": 800.0}, [RESTART], id="older-than-its-configuration"),
        pytest.param({"started": None}, [], id="nobody-knows-since-when"),
        pytest.param({"needs_reload": True}, [BOOT[1]], id="systemd-was-not-told"),
    ],
)
def test_containerd_is_restarted_only_where_it_must(converged, changes, expected):
    host = replace(converged, containerd=replace(converged.containerd, **changes))
    assert containerd_plan.plan_setup(host, SEEN).actions == expected


def test_a_configuration_from_the_future_is_no_reason_to_restart(converged):
    assert containerd_plan.plan_setup(replace(converged, configured_at=3000.0), SEEN).actions == []


def test_another_size_is_configured_and_containerd_restarted(converged):
    spec = replace(SEEN, settings=replace(SETTINGS, base_image_size="20GB"))
    path = converged.configuration.path
    assert containerd_plan.plan_setup(converged, spec).actions == [f"set base_image_size in {path}", ANEW]


UNPACKED = '[[plugins."io.containerd.transfer.v1.local".unpack_config]]'


@pytest.mark.parametrize(
    ("package", "version", "sentence", "text"),
    [
        ("containerd", "1.7.24~ds1-6+deb13u1", CONFIGURE, "version = 2\n"),
        ("containerd", "2.1.9+ds1-5", CONFIGURE.replace(" in ", f", {UNPACKED} in "), "version = 3\n"),
        (
            "containerd.io=2.1.5-1",
            "2.1.5-1",
            CONFIGURE.replace("set ", f"set {OLD}, ").replace(" in /", f", {UNPACKED} in /"),
            OF_DOCKER,
        ),
        ("containerd.io", "1.7.27-1", CONFIGURE.replace("set ", f"set {OLD}, "), OF_DOCKER),
    ],
)
def test_what_a_package_will_bring_is_foretold(package, version, sentence, text):
    host = replace(BLANK, missing_packages=(package,), candidates=(Candidate(package, version),))
    plan = containerd_plan.plan_setup(host, replace(WISH, packages=(package,)))
    assert actions(plan.stages["configuration"]) == [sentence, ANEW]
    assert text in plan.diff[-1]["after"]


@pytest.mark.parametrize(
    ("changes", "spec", "says"),
    [
        pytest.param(
            {"candidates": (Candidate("containerd", "1.4.13~ds1-1"),)}, WISH, "1.6 on: upgrade", id="candidate"
        ),
        pytest.param(
            {}, replace(WISH, packages=()), "there is no containerd on this host, and none in pack", id="none"
        ),
        pytest.param(
            {}, replace(WISH, packages=("docker.io",), docker=True), "there is no containerd", id="docker-alone"
        ),
        pytest.param(
            {}, replace(WISH, docker=True), "there is no Docker on this host, and none in pack", id="no-docker"
        ),
        pytest.param(
            {"containerd": Containerd("/usr/bin/containerd", "1.5.9")},
            WISH,
            "is containerd 1.5.9; .* from 1.6 on",
            id="old",
        ),
        pytest.param(
            {"containerd": Containerd("/usr/bin/containerd", "2.0.9", has_plugin=False)},
            WISH,
            "was built without the devmapper snapshotter",
            id="without-the-plugin",
        ),
        pytest.param(
            {"containerd": Containerd("/usr/bin/containerd", "2.0.9", unit="masked")}, WISH, "is masked", id="masked"
        ),
        pytest.param(
            {"containerd": Containerd("/usr/bin/containerd", "1.6.20")},
            replace(WISH, settings=replace(SETTINGS, fs_type="ext2")),
            "is containerd 1.6.20, which knows fs_type ext4 and xfs alone",
            id="ext2",
        ),
        pytest.param(
            {"docker": Docker("/usr/bin/dockerd", "20.10.24")},
            replace(WISH, docker=True),
            "is Docker 20.10.24, whose way to a thin pool is its own devicemapper driver: use the role direct_lvm",
            id="docker-with-the-driver",
        ),
        pytest.param(
            {"docker": Docker("/usr/bin/dockerd", "26.1.5", flags=("--containerd=/run/x.sock",))},
            replace(WISH, docker=True),
            "started with --containerd /run/x.sock, another containerd than the system's",
            id="another-containerd",
        ),
        pytest.param(
            {
                "missing_docker_packages": ("docker.io",),
                "candidates": (Candidate("docker.io", "20.10.24+dfsg1-1"),),
            },
            replace(WISH, packages=("containerd", "docker.io"), docker=True),
            "package docker.io .* is Docker 20.10.24, whose way",
            id="docker-candidate",
        ),
        pytest.param(
            {"docker": Docker("/usr/bin/dockerd", "26.1.5"), "data": DockerData(images={"overlay2": 2})},
            replace(WISH, docker=True),
            "holds 2 images and 0 containers of driver overlay2, which Docker no longer shows .* existing_data: backup",
            id="images-of-a-driver",
        ),
        pytest.param(
            {"records": ContainerdMetadata(FOLDER, "docker-thinpool", 3, 2, True, True)},
            WISH,
            r"the records of another pool \(3 devices, 2 snapshots\) .* remove .*docker-thinpool.db and .*metadata.db",
            id="old-records",
        ),
        pytest.param(
            {"records": ContainerdMetadata(FOLDER, "docker-thinpool", None, 2, True, True)},
            WISH,
            "docker-thinpool.db cannot be read as a database",
            id="damaged-records",
        ),
    ],
)
def test_what_must_not_be_is_refused_before_anything(changes, spec, says):
    (reason,) = (reason for reason in refused(replace(BLANK, **changes), spec) if re.search(says, reason))
    assert reason


@pytest.mark.parametrize(
    ("records", "says"),
    [
        pytest.param(
            ContainerdMetadata(FOLDER, "docker-thinpool"),
            "chunks in use, and .*docker-thinpool.db has no rec",
            id="none",
        ),
        pytest.param(
            ContainerdMetadata(FOLDER, "docker-thinpool", 3, 0, True),
            "records in docker-thinpool.db and none in m",
            id="one",
        ),
    ],
)
def test_a_pool_in_use_without_its_records_is_refused(converged, records, says):
    (reason,) = refused(replace(converged, records=records), SEEN)
    assert re.search(says, reason)


def test_an_empty_pool_with_the_records_of_another_is_refused(converged):
    host = replace(converged, pool_status=PoolStatus("rw", 0, 2571, 25600, 0, 19448))
    (reason,) = refused(host, SEEN)
    assert "holds the records of another pool" in reason


def test_a_pool_that_has_failed_is_refused(converged):
    (reason,) = refused(replace(converged, pool_status=PoolStatus("fail")), SEEN)
    assert reason.startswith("the pool has failed")


STORE = '{"storage-driver": "devmapper", "features": {"containerd-snapshotter": true}}'
ON_STORE = Info(driver="devmapper", status={"driver-type": "io.containerd.snapshotter.v1"})
DOCKER = Docker("/usr/sbin/dockerd", "26.1.5", unit="loaded", active=True, enabled=True, info=ON_STORE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [], id="converged"),
        pytest.param(
            {"daemon": DaemonJson.of(None)},
            ["stop Docker", "write /etc/docker/daemon.json: storage-driver, features", "start Docker and enable it"],
            id="no-file",
        ),
        pytest.param(
            {"docker": replace(DOCKER, info=Info(driver="overlay2"))},
            ["stop Docker", "start Docker and enable it"],
            id="runs-on-another-driver",
        ),
        pytest.param(
            {"docker": replace(DOCKER, active=False, info=None)}, ["start Docker and enable it"], id="stopped"
        ),
        pytest.param({"data": DockerData(images={"overlay2": 2})}, [], id="old-images-beside"),
    ],
)
def test_docker_is_put_on_containerds_store(converged, changes, expected):
    host = replace(converged, docker=DOCKER, daemon=DaemonJson.of(STORE))
    assert containerd_plan.plan_setup(replace(host, **changes), replace(SEEN, docker=True)).actions == expected


def test_docker_is_installed_last(converged):
    spec = replace(WISH, docker=True, packages=("docker.io", "containerd", "docker-cli"))
    assert (spec.first_packages, spec.docker_packages) == (("containerd", "docker-cli"), ("docker.io",))
    host = replace(BLANK, missing_docker_packages=("docker.io",))
    assert containerd_plan.plan_setup(host, spec).actions[-5:] == [
        CONFIGURE,
        ANEW,
        "write /etc/docker/daemon.json: storage-driver, features",
        "install packages docker.io",
        "start Docker and enable it",
    ]


def test_old_images_are_moved_aside_where_that_is_wished(converged):
    host = replace(
        converged, docker=replace(DOCKER, info=Info(driver="overlay2")), data=DockerData(images={"overlay2": 2})
    )
    plan = containerd_plan.plan_setup(host, replace(SEEN, docker=True, existing_data="backup"))
    assert plan.actions[:2] == ["stop Docker", "move /var/lib/docker aside"]


RECORDS = ContainerdMetadata(
    FOLDER,
    "docker-thinpool",
    3,
    3,
    True,
    True,
    keys=(("default", "web"), ("default", "sha256:b"), ("k8s.io", "x")),
    containers=(("default", "web"),),
    active=("docker-thinpool-snap-1", "docker-thinpool-snap-2"),
)


@pytest.fixture
def ours(converged):
    pool = replace(converged.lvm.volume("docker", "thinpool"), tags=(OWNER_TAG,))
    group = replace(converged.lvm.group("docker"), tags=(OWNER_TAG,))
    report = replace(
        converged.lvm,
        volumes=tuple(pool if volume.full_name == pool.full_name else volume for volume in converged.lvm.volumes),
        groups=(group,),
    )
    return replace(converged, lvm=report, records=RECORDS)


def test_it_is_taken_apart_in_an_order_that_works(ours):
    plan = containerd_plan.plan_teardown(ours, SEEN)
    path = ours.configuration.path
    assert plan.actions == [
        "remove 2 snapshots of namespace default",
        "remove 1 snapshots of namespace k8s.io",
        "remove containers web of namespace default",
        "stop containerd",
        "remove device docker-thinpool-snap-1",
        "remove device docker-thinpool-snap-2",
        "remove thin pool docker/thinpool",
        f"remove {DROP_IN}",
        "tell systemd of its changed files",
        "remove volume group docker",
        "remove physical volume /dev/vdb",
        "remove profile /etc/lvm/profile/docker-thinpool.profile",
        f"remove {FOLDER}/docker-thinpool.db",
        f"remove {FOLDER}/metadata.db",
        f'take [plugins."io.containerd.snapshotter.v1.devmapper"] out of {path}',
        "start containerd without the snapshotter",
    ]
    assert [step.command for step in plan.stages["snapshots"]][0][-2:] == ("web", "sha256:b")
    assert plan.records == [f"{FOLDER}/docker-thinpool.db", f"{FOLDER}/metadata.db"]


def test_it_is_not_taken_apart_while_containers_run(ours):
    host = replace(ours, records=replace(RECORDS, tasks=(("default", "web"),)))
    with pytest.raises(
        RefusedErrors, match="containers run on docker/thinpool: default/web. Stop them, or set stop_cont"
    ):
        containerd_plan.plan_teardown(host, SEEN)
    plan = containerd_plan.plan_teardown(host, SEEN, stop_containers=True)
    assert plan.actions[0] == "stop containers web of namespace default"


def test_docker_tells_its_containers_by_their_names_and_stops_them_itself(ours):
    host = replace(
        ours,
        records=replace(RECORDS, tasks=(("moby", "c0ffee"),)),
        docker=replace(DOCKER, running=("web",)),
        daemon=DaemonJson.of(STORE),
    )
    with pytest.raises(RefusedErrors, match="containers run on docker/thinpool: web. Stop them"):
        containerd_plan.plan_teardown(host, SEEN)
    plan = containerd_plan.plan_teardown(host, SEEN, stop_containers=True)
    assert (actions(plan.stages["docker_stop"]), plan.stages["containers"]) == (["stop Docker"], [])
    # With live-restore they run on when it has stopped.
    plan = containerd_plan.plan_teardown(
        replace(host, docker=replace(DOCKER, active=False)), SEEN, stop_containers=True
    )
    assert actions(plan.stages["containers"]) == ["stop containers c0ffee of namespace moby"]


def test_containers_of_a_docker_that_is_not_on_the_store_are_not_on_the_pool(ours):
    host = replace(ours, docker=replace(DOCKER, running=("web",)), daemon=DaemonJson.of(None))
    plan = containerd_plan.plan_teardown(host, SEEN)
    assert (plan.stages["docker_stop"], plan.stages["containers"]) == ([], [])


def test_snapshots_that_cannot_be_removed_are_left_to_garbage_collection(ours):
    records = replace(
        RECORDS,
        stuck=(("moby", "a-init"), ("moby", "sha256:a")),
        leases=(("moby", "a"),),
        labels=(("moby", "sha256:f", "containerd.io/gc.ref.snapshot.devmapper"),),
    )
    plan = containerd_plan.plan_teardown(replace(ours, records=records), SEEN)
    assert actions(plan.stages["snapshots"])[-3:] == [
        "let image content sha256:f of namespace moby be unpacked anew",
        "take a lease in namespace moby",
        "have 2 snapshots of namespace moby collected as garbage",
    ]
    ctr = ("ctr", "--namespace", "moby")
    assert [step.command for step in plan.stages["snapshots"]][-3:] == [
        (*ctr, "content", "label", "sha256:f", "containerd.io/gc.ref.snapshot.devmapper="),
        (*ctr, "leases", "create", "--id", "devicemapper.containers"),
        (*ctr, "leases", "delete", "--sync", "a", "devicemapper.containers"),
    ]


def test_a_host_without_anything_has_nothing_to_take_apart(running):
    host = replace(BLANK, containerd=running, missing_packages=())
    assert containerd_plan.plan_teardown(host, WISH).actions == []


def test_the_records_of_another_pool_stay(ours, tmp_path):
    other = configuration(tmp_path, replace(SETTINGS, pool_name="other"))
    closed = ours.lvm.with_volume(replace(ours.lvm.volume("docker", "thinpool"), open=False))
    host = replace(ours, lvm=closed, configuration=other, records=replace(RECORDS, active=()))
    plan = containerd_plan.plan_teardown(host, SEEN)
    assert (plan.stages["records"], plan.stages["snapshots"], plan.stages["configuration"]) == ([], [], [])


def test_docker_on_the_pool_is_taken_off_it(ours):
    data = DockerData(containers={"devmapper": ["c0ffee"], "overlay2": ["beef"]})
    host = replace(ours, docker=DOCKER, daemon=DaemonJson.of(STORE), data=data)
    plan = containerd_plan.plan_teardown(host, SEEN)
    assert actions(plan.stages["docker_stop"]) == ["stop Docker"]
    assert actions(plan.stages["docker_data"]) == ["remove /var/lib/docker/containers/c0ffee"]
    assert actions(plan.stages["daemon"]) == ["remove /etc/docker/daemon.json: storage-driver, features"]


def test_packages_follow_the_filesystem():
    def needed(programs, fs_type="ext4"):
        spec = replace(WISH, settings=replace(SETTINGS, fs_type=fs_type))
        return containerd_plan.needed_packages("debian", spec, True, programs.__contains__)[3:]

    assert needed([]) == ["e2fsprogs"]
    assert needed(["mkfs.ext4"]) == []
    assert needed(["mkfs.ext4"], "xfs") == ["xfsprogs"]
    assert needed(["mkfs.ext4"], "ext2") == ["e2fsprogs"]
    assert Path(FOLDER).name == constants.PLUGIN


KATA = Runtime("kata-fc", "io.containerd.kata-fc.v2")
RUNC = Runtime("other", "io.containerd.runc.v2")


@pytest.mark.parametrize(
    ("zero", "changes", "expected"),
    [
        (None, {}, False),
        (None, {"runtimes": (RUNC,)}, False),
        (None, {"runtimes": (RUNC, KATA)}, True),
        (None, {"runtimes": (Runtime("mine", "/opt/shim"),)}, True),
        (None, {"layout": layouts.PRESETS["flintlock"]}, True),
        (False, {"runtimes": (KATA,)}, False),
        (True, {}, True),
    ],
)
def test_a_new_pool_is_zeroed_where_virtual_machines_get_its_devices(zero, changes, expected):
    spec = replace(WISH, zero=zero, **changes).with_zero(LvmState())
    assert spec.zero is expected
    assert spec.stake(LvmState()) == ""


def test_a_pool_that_is_there_stays_as_it_is_and_what_is_at_stake_is_said(converged):
    spec = replace(SEEN, zero=None, runtimes=(KATA,))
    assert spec.with_zero(converged.lvm).zero is None
    assert "handler kata-fc: whoever is in a virtual machine reads its whole device" in spec.stake(converged.lvm)
    assert replace(spec, zero=True).stake(converged.lvm) == ""
    assert replace(spec, runtimes=(RUNC,)).stake(converged.lvm) == ""
    pool = replace(converged.lvm.volume("docker", "thinpool"), zero=True)
    volumes = tuple(pool if one.full_name == pool.full_name else one for one in converged.lvm.volumes)
    assert spec.stake(replace(converged.lvm, volumes=volumes)) == ""


K3S = layouts.PRESETS["k3s"]


def test_another_containerds_unit_and_ctr_are_used(ours, tmp_path):
    layout = replace(K3S, units=("k3s.service",), drop_in="")
    host = replace(ours, containerd=replace(ours.containerd, layout=layout), records=RECORDS)
    plan = containerd_plan.plan_teardown(host, replace(SEEN, layout=layout), stop_containers=True)
    assert all(step.command[1:3] == ("--address", K3S.socket) for step in plan.stages["snapshots"])
    plan = containerd_plan.plan_setup(
        replace(host, boot_text=None, records=ContainerdMetadata(FOLDER, "docker-thinpool", 3, 3, True, True)), SEEN
    )
    assert plan.stages["boot"][0].action.startswith("write /etc/systemd/system/k3s.service.d/thin-pool-docker-thinpool")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"configuration": containerd_config.ContainerdConfig(K3S.config)},
            "config.toml is not there: it is generated",
        ),
        ({}, "is generated and does not import .*config-v3.toml.d/.*: upgrade to a release that does"),
    ],
)
def test_a_generated_configuration_must_be_there_and_import_the_folder(converged, changes, says):
    host = replace(converged, containerd=replace(converged.containerd, layout=K3S), **changes)
    assert re.search(says, " ".join(refused(host, replace(SEEN, layout=K3S))))


def test_docker_finds_the_systems_containerd_alone(converged):
    host = replace(converged, containerd=replace(converged.containerd, layout=replace(K3S, drop_in="")))
    assert "Docker finds the system's containerd alone" in " ".join(refused(host, replace(SEEN, docker=True)))
