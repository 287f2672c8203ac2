# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool that Docker makes by itself: foretold, put right, held to what Docker cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.data_root import DockerData
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import boot_drop_in, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
    OWNER_TAG,
    LogicalVolume,
    LvmState,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Profile
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import docker_plan
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.docker_request import (
    DockerHostState,
    DockerSpec,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.pool_by_docker import SetUp

GIB = 1024**3
BY_ID = BlockDevice("/dev/disk/by-id/virtio-data1", "/dev/vdb", size=10 * GIB)
PROFILE = Profile("/etc/lvm/profile/docker-thinpool.profile")
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
    managed_by="docker",
)
BLANK = DockerHostState(
    lvm=LvmState(),
    devices=(BY_ID,),
    signatures={},
    profile=PROFILE,
    pool_status=None,
    missing_packages=("lvm2",),
    candidates=(Candidate("docker.io", "20.10.24"),),
    docker=Docker(unit="not-found"),
    missing_docker_packages=("docker.io",),
)
OPTIONS = [
    "dm.directlvm_device=/dev/vdb",
    "dm.thinp_percent=80",
    "dm.thinp_metapercent=1",
    "dm.thinp_autoextend_threshold=80",
    "dm.thinp_autoextend_percent=20",
]
RECORD = {
    "Device": "/dev/vda",
    "ThinpPercent": 95,
    "ThinpMetaPercent": 1,
    "AutoExtendPercent": 20,
    "AutoExtendThreshold": 52,
}
# What the captured pool was made with.
SEEN = replace(WISH, data_size=Size.parse("95%VG"), autoextend_threshold=52)


@pytest.fixture
def converged(report, captured):
    """Return the captured host on which Docker uses a pool, as if Docker had made it on what was /dev/vda then."""
    return DockerHostState(
        lvm=report("pool_in_use_by_docker"),
        devices=(BY_ID,),
        signatures={},
        profile=profiles.decide(PROFILE, threshold=52, percent=20)[1],
        pool_status=pool_status.parse(captured("pool_in_use_by_docker.status"))["docker-thinpool"],
        missing_packages=(),
        candidates=(),
        daemon=DaemonJson.of(
            json.dumps(
                {
                    "storage-driver": "devicemapper",
                    "storage-opts": [
                        "dm.directlvm_device=/dev/vda",
                        "dm.thinp_percent=95",
                        "dm.thinp_metapercent=1",
                        "dm.thinp_autoextend_threshold=52",
                        "dm.thinp_autoextend_percent=20",
                    ],
                }
            )
        ),
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
        data=DockerData(
            images={"devicemapper": 1},
            containers={"devicemapper": ["c0ffee"]},
            has_directory=True,
            has_records=True,
            transaction_id=16,
            set_up_device="/dev/vda",
            set_up=RECORD,
        ),
    )


def refused(host, spec):
    with pytest.raises(RefusedErrors) as refusal:
        docker_plan.plan_setup(host, spec)
    return refusal.value.reasons


def options_of(text):
    return json.loads(text)["storage-opts"]


def test_a_blank_host_is_foretold_what_docker_will_do_and_what_it_leaves_out():
    plan = docker_plan.plan_setup(BLANK, WISH)
    assert plan.actions == [
        "install packages lvm2",
        "write /etc/docker/daemon.json: storage-driver, storage-opts",
        "install packages docker.io",
        "start Docker and enable it, which makes thin pool docker/thinpool on /dev/vdb: data 2047 extents (8.00 GiB), "
        "metadata 25 extents (100.00 MiB)",
        "tag volume group docker with devicemapper.containers",
        "restart dmeventd, which keeps profiles in memory",
        "refresh thin pool docker/thinpool, so that the kernel's low water mark is 3275 chunks",
        "write /etc/systemd/system/docker.service.d/thin-pool-docker-thinpool.conf, so that docker.service starts with "
        "its pool active",
        "tell systemd of its changed files",
    ]
    daemon = next(part for part in plan.diff if part["before_header"].endswith("daemon.json"))
    assert options_of(daemon["after"]) == OPTIONS
    pool = next(part["after"]["thin_pool"] for part in plan.diff if part["before_header"].startswith("thin pool"))
    assert (pool["low_water_mark"], pool["profile"], pool["size"]) == (3275, "docker-thinpool", 2047 * 4 * 1024**2)
    group = plan.lvm.group("docker")
    assert (group.tags, group.extents_free) == ((OWNER_TAG,), 2559 - 2047 - 2 * 25)


def test_a_converged_host_needs_nothing_and_keeps_the_words_that_docker_has_on_record(converged):
    # The disk has another name by now; Docker compares the text.
    assert docker_plan.plan_setup(converged, SEEN).actions == []
    assert docker_plan.storage_opts(converged, SEEN)[0] == "dm.directlvm_device=/dev/vda"


def test_defaults_on_record_are_kept_as_such(converged):
    record = {"Device": "/dev/vda", "ThinpPercent": 0, "ThinpMetaPercent": 0, "AutoExtendPercent": 0}
    document = {"storage-driver": "devicemapper", "storage-opts": ["dm.directlvm_device=/dev/vda"]}
    host = replace(
        converged,
        data=replace(converged.data, set_up=record),
        daemon=DaemonJson.of(json.dumps(document)),
        profile=profiles.decide(PROFILE, threshold=80, percent=20)[1],
    )
    plan = docker_plan.plan_setup(host, replace(SEEN, autoextend_threshold=80))
    assert plan.stages["daemon"] == []


def test_what_is_left_out_is_put_right_later_too(converged):
    pool = replace(converged.lvm.volume("docker", "thinpool"), low_water_mark=0, monitored=False)
    host = replace(converged, lvm=converged.lvm.with_volume(pool), boot_text=None)
    assert [sentence.split(" docker/thinpool")[0] for sentence in docker_plan.plan_setup(host, SEEN).actions][:2] == [
        "refresh thin pool",
        "monitor thin pool",
    ]
    # A pool that was there is not marked as made here.
    assert docker_plan.plan_setup(host, SEEN).stages["volume_group"] == []


def test_the_manuals_sizes_are_warned_of_with_the_figures_and_the_way_out():
    plan = docker_plan.plan_setup(BLANK, replace(WISH, data_size=Size.parse("95%VG")))
    assert (
        "the next 20 percent take 487 extents (1.90 GiB) of data, and volume group docker has 78 free" in plan.warning
    )
    assert plan.warning.endswith("managed_by: collection can do both to the same pool")
    with pytest.raises(RefusedErrors, match="cannot be extended automatically"):
        docker_plan.plan_setup(BLANK, replace(WISH, data_size=Size.parse("95%VG"), autoextend_room="fail"))
    assert docker_plan.plan_setup(BLANK, WISH).warning == ""


def test_a_running_docker_is_stopped_before_its_configuration_changes(converged):
    docker = replace(converged.docker, info=dockerd.Info(driver="overlay2"))
    host = replace(BLANK, docker=docker, missing_docker_packages=(), candidates=())
    actions = docker_plan.plan_setup(host, WISH).actions
    assert actions[1] == "stop Docker"
    assert actions[3].startswith("start Docker and enable it, which makes thin pool")


def test_force_is_docker_s_word_for_what_may_be_wiped():
    dirty = replace(BY_ID, signatures=(Signature("ext4", 0x438),))
    host = replace(BLANK, devices=(dirty,))
    assert any("is not blank: it holds ext4" in reason for reason in refused(host, WISH))
    plan = docker_plan.plan_setup(host, replace(WISH, wipe_signatures=True))
    daemon = next(part for part in plan.diff if part["before_header"].endswith("daemon.json"))
    assert options_of(daemon["after"]) == [*OPTIONS, "dm.directlvm_device_force=true"]


OTHER = BlockDevice("/dev/vdc", "/dev/vdc", size=10 * GIB)


# What Docker cannot do, and part of what is said; each says that the collection can.
@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        pytest.param(
            {"devices": (BY_ID, OTHER)}, WISH, "Docker makes a pool on one device, not on 2: name one", id="devices"
        ),
        pytest.param({}, replace(WISH, vg="other"), "Docker's own pool is docker/thinpool and cannot be", id="vg"),
        pytest.param({}, replace(WISH, pool="p"), "cannot be docker/p: leave out vg and pool", id="pool"),
        *(
            pytest.param(
                {},
                replace(WISH, data_size=Size.parse(size)),
                f"whole percentages of the volume group, from 1 to 99, and data_size is {size}: write it as N%VG",
                id=f"data-{size}",
            )
            for size in ("80%FREE", "8g", "33.3%VG", "100%VG")
        ),
        pytest.param({}, replace(WISH, metadata_size=Size.parse("100m")), "and metadata_size is 100m", id="metadata"),
        pytest.param({}, replace(WISH, chunk_size=65536), "has chunks of 512.00 KiB, not of 64.00 KiB", id="chunks"),
        pytest.param({}, replace(WISH, zero=True), "Docker's own pool is not zeroed: leave out zero", id="zeroing"),
        pytest.param(
            {"profile": Profile("/srv/lvm/docker-thinpool.profile")},
            WISH,
            "LVM looks for profiles in /srv/lvm",
            id="profiles",
        ),
        pytest.param(
            {"docker": Docker(path="/usr/bin/dockerd", version="17.03.2")}, WISH, "came with 17.06", id="old-docker"
        ),
        pytest.param(
            {}, replace(WISH, docker_packages=()), "there is no Docker on this host that could make the pool", id="none"
        ),
        pytest.param(
            {},
            replace(WISH, storage_opts=("dm.thinp_percent=80",)),
            "dm.thinp_percent is set by this role, from data_size",
            id="an-option-twice",
        ),
        pytest.param(
            {}, replace(WISH, data_size=Size.parse("99%VG")), "cannot have 99%VG .2533 extents. of data", id="no-room"
        ),
        pytest.param(
            {},
            replace(WISH, data_size=Size.parse("99%VG"), metadata_size=Size.parse("2%VG")),
            "come to 101 percent of the volume group",
            id="more-than-all",
        ),
        pytest.param({}, replace(WISH, autoextend_threshold=49), "must be 50 to 99", id="threshold"),
        pytest.param(
            {"devices": (replace(BY_ID, obstacles=("is mounted at /srv",)),)}, WISH, "is mounted at /srv", id="mounted"
        ),
    ],
)
def test_what_docker_cannot_do_is_refused(changes, spec, message):
    reasons = refused(replace(BLANK, **changes), spec)
    assert any(re.search(message, reason) for reason in reasons), reasons


def test_everything_is_told_at_once():
    mounted = replace(BY_ID, obstacles=("is mounted at /srv",))
    reasons = refused(replace(BLANK, devices=(mounted,)), replace(WISH, zero=True, chunk_size=65536))
    assert len(reasons) == 3


# What an interrupted attempt of Docker's leaves, and the commands that are named.
@pytest.mark.parametrize(
    ("state", "message"),
    [
        pytest.param(
            "bare_physical_volume",
            "is a physical volume already, as Docker leaves it .* Run 'pvremove /dev/vdb', or set managed_by: "
            "collection, which finishes it",
            id="label",
        ),
        pytest.param(
            "group",
            "^volume group docker is there and no pool, .*run 'vgremove docker', 'pvremove /dev/vdb', or set",
            id="group",
        ),
        pytest.param(
            "data_volume",
            "^volume group docker with thinpool is there and no pool, .*run 'lvremove docker/thinpool', 'vgremove",
            id="data",
        ),
        pytest.param(
            "data_and_metadata",
            "^volume group docker with thinpool and thinpoolmeta is .*'lvremove docker/thinpoolmeta'",
            id="both-volumes",
        ),
        pytest.param(
            "pool_not_armed",
            "^thin pool docker/thinpool is there, and /var/lib/docker/devicemapper/setup-config.json is not, .*Set "
            "managed_by: collection",
            id="a-pool-that-docker-did-not-note",
        ),
    ],
)
def test_a_half_done_attempt_is_refused_with_the_commands(report, state, message):
    reasons = refused(replace(BLANK, lvm=report(state)), WISH)
    assert any(re.search(message, reason) for reason in reasons), reasons


def test_a_label_may_be_made_anew_by_force(report):
    host = replace(BLANK, lvm=report("bare_physical_volume"))
    assert "restart dmeventd, which keeps profiles in memory" in (
        docker_plan.plan_setup(host, replace(WISH, wipe_signatures=True)).actions
    )


def test_a_group_of_others_is_named_as_such(report):
    found = report("group").with_volume(LogicalVolume(vg="docker", name="home", type="linear", size=GIB))
    (reason,) = refused(replace(BLANK, lvm=found), WISH)
    assert reason.startswith("volume group docker is there and holds home, which are not Docker's")


# What Docker has on record cannot be changed.
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            replace(SEEN, data_size=Size.parse("80%VG")),
            "Docker made its pool with data_size 95%VG, and would not start with 80%VG ('changing direct-lvm config is "
            "not supported', /var/lib/docker/devicemapper/setup-config.json): set it to 95%VG, or set managed_by: "
            "collection, which can",
            id="data",
        ),
        pytest.param(replace(SEEN, metadata_size=Size.parse("2%VG")), "metadata_size 1%VG, and would", id="metadata"),
        pytest.param(
            replace(SEEN, autoextend_threshold=80), "autoextend_threshold 52, and would not start with 80 (", id="mark"
        ),
        pytest.param(replace(SEEN, autoextend_percent=30), "autoextend_percent 20, and would not", id="percent"),
    ],
)
def test_what_docker_has_on_record_stays(converged, spec, message):
    (reason,) = refused(converged, spec)
    assert message in reason


def test_another_disk_is_refused(converged):
    reasons = refused(replace(converged, devices=(OTHER,)), SEEN)
    assert any("Docker made its pool on another device than /dev/vdc, and cannot move it" in word for word in reasons)


def test_records_of_a_pool_that_is_gone_are_moved_aside_on_request(converged):
    gone = replace(BLANK, data=converged.data, missing_packages=(), missing_docker_packages=(), docker=Docker())
    reasons = refused(gone, WISH)
    assert any("setup-config.json says that Docker itself made a pool on /dev/vda" in reason for reason in reasons)
    plan = docker_plan.plan_setup(gone, replace(WISH, existing_data="backup"))
    assert "move /var/lib/docker aside" in plan.actions
    assert docker_plan.storage_opts(gone, WISH)[0] == "dm.directlvm_device=/dev/vdb"


def test_everything_is_taken_apart_whichever_way_is_named(converged):
    assert converged.lvm.group("docker").is_ours
    for managed_by in ("docker", "collection"):
        actions = docker_plan.plan_teardown(converged, replace(SEEN, managed_by=managed_by)).actions
        assert actions[:2] == ["stop Docker", "remove thin pool docker/thinpool"]
        assert actions.index("remove volume group docker") > 1
        assert "remove /var/lib/docker/devicemapper" in actions
        assert actions[-1] == "remove /etc/docker/daemon.json: storage-driver, storage-opts"


def test_a_pool_that_docker_made_for_somebody_else_is_not_taken_apart(converged):
    report = converged.lvm
    theirs = report.with_group(replace(report.group("docker"), tags=()))
    theirs = theirs.with_volume(replace(report.volume("docker", "thinpool"), tags=()))
    with pytest.raises(RefusedErrors, match="docker/thinpool was not made by this collection"):
        docker_plan.plan_teardown(replace(converged, lvm=theirs), SEEN)


def test_the_collection_takes_the_pool_over(converged):
    spec = replace(SEEN, managed_by="collection", autoextend_percent=30)
    actions = docker_plan.plan_setup(converged, spec).actions
    assert "change /etc/docker/daemon.json: storage-opts" in actions
    assert not any(sentence.startswith(("create", "tag")) for sentence in actions)


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (RECORD, ["/dev/vda", "95", "1", "52", "20"]),
        ({**RECORD, "AutoExtendThreshold": 0}, ["/dev/vda", "95", "1", "20"]),
        ({"Device": "/dev/vdb"}, ["/dev/vdb"]),
        ({"Device": "/dev/vdb", "ThinpPercent": "95"}, ["/dev/vdb"]),
    ],
)
def test_a_record_is_put_back_into_options(record, options):
    assert [option.partition("=")[2] for option in SetUp.of_record(record).options] == options
