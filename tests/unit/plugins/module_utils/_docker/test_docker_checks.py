# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    docker_advice,
    docker_checks,
    docker_report,
    dockerd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_checks import ExpectedStorage
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import (
    DockerRecords,
    Filesystem,
    Inspection,
    Logging,
    MemoryUse,
    Mount,
    Node,
    RunningContainer,
)

GIB = 1024**3
MIB = 1024**2
NOW = 1795428000.0
HOUR = 3600
KEYS = {"web": "a" * 64, "db": "b" * 64}
LIMITED = Logging("json-file", {"max-size": "10m"})

STATUS = {
    "Pool Name": "docker-thinpool",
    "Pool Blocksize": "524.3kB",
    "Base Device Size": "10.74GB",
    "Backing Filesystem": "ext4",
    "Udev Sync Supported": "true",
    "Data Space Used": "254.8MB",
    "Data Space Total": "10.31GB",
    "Metadata Space Used": "10.58MB",
    "Metadata Space Total": "104.9MB",
    "Thin Pool Minimum Free Space": "1.03GB",
    "Deferred Removal Enabled": "true",
    "Deferred Deletion Enabled": "true",
    "Deferred Deleted Device Count": "0",
}


def device_of(name: str) -> str:
    return f"docker-254:1-131-{KEYS[name]}"


def thin(name: str) -> Node:
    return Node(device_of(name), "/dev/dm-9", "dm", 10 * GIB, rotational=False)


def tree(*children: Node, disk: str = "vdb", rotational: bool = False, pool: str = "docker-thinpool") -> Node:
    """Return a disk with a pool, which lsblk shows under both volumes that it consists of."""
    top = Node(pool, "/dev/dm-2", "lvm", 8 * GIB, rotational, children)
    return Node(
        disk,
        f"/dev/{disk}",
        "disk",
        10 * GIB,
        rotational,
        (
            Node(f"{pool}_tmeta", "/dev/dm-0", "lvm", 100 * MIB, rotational, (top,)),
            Node(f"{pool}_tdata", "/dev/dm-1", "lvm", 8 * GIB, rotational, (top,)),
        ),
    )


def container(name: str, **changes: t.Any) -> RunningContainer:
    found = RunningContainer(
        name, "busybox", KEYS[name], device_of(name), started=NOW - HOUR, logging=LIMITED, volumes=("/data",)
    )
    return replace(found, **changes)


def mount(name: str) -> Mount:
    return Mount(f"/var/lib/docker/devicemapper/mnt/{KEYS[name]}", f"/dev/mapper/{device_of(name)}", "ext4")


def docker(info: dockerd.Info | None = None, **changes: t.Any) -> dockerd.Docker:
    running = dockerd.Docker(path="/usr/sbin/dockerd", version="20.10.24", active=True, info=info)
    return replace(running, **changes)


def info(driver: str = "devicemapper", **status: str) -> dockerd.Info:
    """Return what Docker says, with other lines; their underscores stand for blanks."""
    lines = {**STATUS, **{key.replace("_", " "): value for key, value in status.items()}}
    return dockerd.Info(
        driver,
        {key: value for key, value in lines.items() if value},
        version="20.10.24+dfsg1",
        root="/var/lib/docker",
        log_driver="json-file",
    )


WELL = Inspection(
    disks=(Node("vda", "/dev/vda", "disk", 6 * GIB, rotational=True), tree(thin("db"), thin("web"))),
    docker=docker(info()),
    root="/var/lib/docker",
    mounts=(mount("web"), mount("db")),
    records=DockerRecords("/var/lib/docker/devicemapper/metadata", base=True, containers=2, image_layers=1),
    containers=(container("db"), container("web")),
    logging=LIMITED,
    memory=MemoryUse(4 * GIB, 2 * GIB, GIB),
    filesystem=Filesystem(20 * GIB, 5 * GIB),
    now=NOW,
)
WANTED = ExpectedStorage("docker", "thinpool", devices=("/dev/vdb",), chunk_size=512 * 1024)


def by_name(seen: Inspection, wanted: ExpectedStorage = WANTED) -> dict[str, docker_checks.Check]:
    return {check.name: check for check in docker_checks.checks(seen, wanted)}


def advised(seen: Inspection) -> dict[str, docker_advice.Advice]:
    return {item.kind: item for item in docker_advice.advice(seen, WANTED)}


def test_a_host_that_is_well_matches_and_needs_no_advice():
    checks = by_name(WELL)
    assert {check.name for check in checks.values() if not check.matches} == set()
    assert list(checks) == [
        "devices",
        "pool",
        "docker",
        "Storage Driver",
        "Pool Name",
        "Pool Blocksize",
        "Data loop file",
        "Udev Sync Supported",
        "metadata",
        "mounts",
    ]
    assert checks["devices"].line == "OK        devices: /dev/vdb"
    assert checks["pool"].seen == "docker-thinpool, 8.00 GiB, on docker-thinpool_tdata and docker-thinpool_tmeta"
    assert checks["docker"].seen == "20.10.24+dfsg1, and answers"
    assert checks["mounts"].seen == "2 of ext4 under /var/lib/docker/devicemapper/mnt, of containers db, web"
    assert advised(WELL) == {}


OPTIONS = {
    "fs": ("dm.fs=xfs", "Backing Filesystem (dm.fs)", "ext4", "xfs"),
    "basesize": ("dm.basesize=20G", "Base Device Size (dm.basesize)", "10.74GB", "21.47GB"),
    "removal": ("dm.use_deferred_removal=0", "Deferred Removal Enabled (dm.use_deferred_removal)", "true", "false"),
    "deletion": ("dm.use_deferred_deletion=f", "Deferred Deletion Enabled (dm.use_deferred_deletion)", "true", "false"),
    "free": ("dm.min_free_space=20%", "Thin Pool Minimum Free Space (dm.min_free_space)", "10%", "20%"),
}


@pytest.mark.parametrize(("option", "name", "seen", "wanted"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_docker_does_not_run_with_is_a_mismatch(option, name, seen, wanted):
    check = by_name(WELL, replace(WANTED, storage_opts=(option,)))[name]
    assert (check.seen, check.wanted, check.matches) == (seen, wanted, False)
    assert "run the playbook direct_lvm" in check.remedy


@pytest.mark.parametrize(
    "option",
    [
        "dm.fs=ext4",
        "dm.basesize=10G",
        "dm.basesize=10240 MiB",
        "dm.use_deferred_removal=T",
        "dm.min_free_space=10%",
    ],
)
def test_an_option_that_docker_runs_with_matches(option):
    assert all(check.matches for check in by_name(WELL, replace(WANTED, storage_opts=(option,))).values())


def test_an_option_that_docker_does_not_tell_is_not_compared():
    wanted = replace(WANTED, storage_opts=("dm.mountopt=nodiscard", "dm.xfs_nospace_max_retries=0"))
    assert list(by_name(WELL, wanted)) == list(by_name(WELL))


def other_disk() -> Inspection:
    return replace(WELL, disks=(tree(thin("db"), thin("web"), disk="vdc"),))


MISMATCHES: dict[str, tuple[Inspection, ExpectedStorage, str, str, str]] = {
    # what is seen, what is wanted, which check does not match, what it says is there, what it says to do
    "disk": (other_disk(), WANTED, "devices", "/dev/vdc", "correct the devices that are named"),
    "disk-gone": (
        WELL,
        replace(WANTED, lacking=("/dev/disk/by-id/x does not exist",)),
        "devices",
        "/dev/vdb; /dev/disk/by-id/x does not exist",
        "See 'lsblk'",
    ),
    "no-pool": (
        replace(WELL, disks=WELL.disks[:1], containers=(), mounts=()),
        WANTED,
        "pool",
        "no docker-thinpool",
        "lvchange --activate y docker/thinpool",
    ),
    "no-disk": (replace(WELL, disks=WELL.disks[:1]), WANTED, "devices", "none", "lvchange --activate y"),
    "layer": (
        replace(WELL, disks=(replace(WELL.disks[1], children=(WELL.disks[1].children[1],)),)),
        WANTED,
        "pool",
        "docker-thinpool, 8.00 GiB, on docker-thinpool_tdata",
        "activate it",
    ),
    "lsblk": (
        replace(WELL, disks=(), problem="lsblk had not ended after 30 seconds"),
        WANTED,
        "pool",
        "lsblk had not ended after 30 seconds",
        "See 'dmesg'",
    ),
    "no-docker": (
        replace(WELL, docker=dockerd.Docker()),
        WANTED,
        "docker",
        "not installed",
        "direct_lvm_docker_packages",
    ),
    "docker-down": (
        replace(WELL, docker=docker(active=False)),
        WANTED,
        "docker",
        "20.10.24, and does not run",
        "journalctl -u docker",
    ),
    "docker-silent": (
        replace(WELL, docker=docker()),
        WANTED,
        "docker",
        "20.10.24, and does not answer on /run/docker.sock",
        "the playbook monitor",
    ),
    "driver": (
        replace(WELL, docker=docker(info("overlay2"))),
        WANTED,
        "Storage Driver",
        "overlay2",
        "run the playbook",
    ),
    "pool-name": (
        replace(WELL, docker=docker(info(Pool_Name="docker-253:0-1-pool"))),
        WANTED,
        "Pool Name",
        "docker-253:0-1-pool",
        "run the playbook direct_lvm",
    ),
    "chunks": (
        WELL,
        replace(WANTED, chunk_size=64 * 1024),
        "Pool Blocksize",
        "524.3kB; wanted: 65.54kB",
        "keeps the chunks that it was made with",
    ),
    "loop": (
        replace(WELL, docker=docker(info(Data_loop_file="/var/lib/docker/devicemapper/devicemapper/data"))),
        WANTED,
        "Data loop file",
        "/var/lib/docker/devicemapper/devicemapper/data; wanted: none",
        "loop-lvm mode",
    ),
    "udev": (
        replace(WELL, docker=docker(info(Udev_Sync_Supported="false"))),
        WANTED,
        "Udev Sync Supported",
        "false",
        "dynamically linked",
    ),
    "root": (
        WELL,
        replace(WANTED, daemon_options={"data-root": "/srv/docker"}),
        "Docker Root Dir",
        "/var/lib/docker; wanted: /srv/docker",
        "has not been restarted since",
    ),
    "log-driver": (
        WELL,
        replace(WANTED, daemon_options={"log-driver": "journald"}),
        "Logging Driver",
        "json-file; wanted: journald",
        "has not been restarted since",
    ),
    "no-base": (
        replace(WELL, records=DockerRecords("/x")),
        WANTED,
        "metadata",
        "/x has records of no base, image layers: 0, containers: 0",
        "playbook backup",
    ),
    "record-lost": (
        replace(WELL, records=replace(WELL.records, missing=("container web",), others=2)),
        WANTED,
        "metadata",
        "neither: 2, none for container web",
        "playbook backup",
    ),
    "mount-lost": (
        replace(WELL, mounts=(mount("db"),)),
        WANTED,
        "mounts",
        "1 of ext4 under /var/lib/docker/devicemapper/mnt, of containers db, and none of containers web, which run",
        "docker inspect web",
    ),
    "other-storage": (
        replace(WELL, disks=(tree(thin("db")), tree(thin("web"), disk="vdc", pool="other-pool"))),
        WANTED,
        "mounts",
        "of containers db, and none of containers web",
        "other storage",
    ),
}


@pytest.mark.parametrize(("seen", "wanted", "name", "says", "remedy"), MISMATCHES.values(), ids=MISMATCHES)
def test_what_does_not_match_is_told_with_what_to_do(seen, wanted, name, says, remedy):
    check = by_name(seen, wanted)[name]
    assert not check.matches
    assert check.line.startswith(f"MISMATCH  {name}: ")
    assert says in check.line
    assert remedy in check.remedy


def test_a_silent_lsblk_says_nothing_against_the_mounts():
    assert by_name(replace(WELL, disks=(), problem="lsblk had not ended"))["mounts"].matches


@pytest.mark.parametrize(
    ("state", "names"),
    [
        pytest.param(docker(active=False), ["devices", "pool", "docker", "metadata", "mounts"], id="down"),
        pytest.param(docker(info("overlay2")), ["devices", "pool", "docker", "Storage Driver"], id="overlay2"),
        pytest.param(dockerd.Docker(), ["devices", "pool", "docker"], id="not-installed"),
    ],
)
def test_what_nobody_can_say_is_left_out(state, names):
    assert list(by_name(replace(WELL, docker=state))) == names


def test_user_namespaces_have_a_folder_in_the_data_root():
    wanted = replace(WANTED, daemon_options={"data-root": "/srv/docker/"})
    for root, matches in (("/srv/docker", True), ("/srv/docker/100000.100000", True), ("/srv/docker2", False)):
        seen = replace(WELL, docker=docker(replace(info(), root=root)))
        assert by_name(seen, wanted)["Docker Root Dir"].matches is matches


def test_a_partition_and_a_raid_are_what_the_pool_lies_on():
    whole = tree(thin("db"), thin("web"))
    member = Node("md0", "/dev/md0", "raid1", 10 * GIB, rotational=False, children=whole.children)
    disks = tuple(
        Node(disk, f"/dev/{disk}", "disk", 10 * GIB, rotational=False, children=(member,)) for disk in ("vdb", "vdc")
    )
    check = by_name(replace(WELL, disks=disks), replace(WANTED, devices=("/dev/md0",)))["devices"]
    assert (check.seen, check.matches) == ("/dev/md0", True)


def test_a_wanted_disk_that_the_pool_does_not_need_yet_is_no_mismatch():
    assert by_name(WELL, replace(WANTED, devices=("/dev/vdb", "/dev/vdc")))["devices"].matches


def test_names_with_hyphens_are_looked_for_as_the_kernel_has_them():
    seen = replace(WELL, disks=(tree(pool="my--vg-thin--pool"),), containers=())
    assert by_name(seen, replace(WANTED, vg="my-vg", pool="thin-pool"))["pool"].matches


UNLIMITED = Logging()
ADVICE: dict[str, tuple[Inspection, str, str]] = {
    # what is seen, of which kind the advice is, and words of it
    "rotational": (
        replace(WELL, disks=(tree(rotational=True),)),
        "rotational",
        "takes vdb, which docker-thinpool lies on, for a rotating disk. Give the pool solid-state disks",
    ),
    "logs": (
        replace(WELL, logging=UNLIMITED, containers=(container("web", logging=UNLIMITED), container("db"))),
        "logs",
        "what containers print, among them web, goes by log driver json-file without a limit into /var/lib/docker, "
        "which is not in the pool and has 5.00 GiB of 20.00 GiB free. "
        'Set "log-opts": {"max-size": "10m", "max-file": "3"} in daemon.json (direct_lvm_daemon_options)',
    ),
    "logs-to-come": (replace(WELL, logging=UNLIMITED, containers=()), "logs", "what containers print goes by"),
    "logs-of-before": (
        replace(WELL, containers=(container("web", logging=UNLIMITED), container("db", logging=UNLIMITED))),
        "logs",
        "what web, db print goes by log driver json-file without a limit",
    ),
    "logs-max-file-alone": (
        replace(WELL, containers=(container("web", logging=Logging("json-file", {"max-file": "3"})),)),
        "logs",
        "what web print",
    ),
    "memory": (
        replace(WELL, memory=MemoryUse(500 * MIB, 50 * MIB, 0)),
        "memory",
        "2 containers run in 500.00 MiB, of which 50.00 MiB are available, with 0 B of swap",
    ),
    "volumes": (
        replace(WELL, containers=(container("web", written=200 * MIB, volumes=()), container("db"))),
        "volumes",
        "container web (busybox) wrote 200.00 MiB into its layer since it was started, 200.00 MiB an hour, and has no "
        "volume. See what it writes ('docker diff web')",
    ),
    "volumes-beside": (
        replace(WELL, containers=(container("db", written=100 * MIB, started=NOW - 10),)),
        "volumes",
        "and has volumes at /data",
    ),
    "deferred": (
        replace(WELL, docker=docker(info(Deferred_Removal_Enabled="false", Deferred_Deletion_Enabled="false"))),
        "deferred",
        "deferred removal and deletion of devices is off",
    ),
    "deferred-deletion": (
        replace(WELL, docker=docker(info(Deferred_Deletion_Enabled="false"))),
        "deferred",
        "Take dm.use_deferred_deletion out of storage-opts, or set them to true",
    ),
    "waiting": (
        replace(WELL, docker=docker(info(Deferred_Deleted_Device_Count="4"))),
        "deferred_deletion",
        "4 devices wait to be deleted",
    ),
    "xfs": (
        replace(WELL, docker=docker(info(Backing_Filesystem="xfs"))),
        "xfs_nospace",
        "Set dm.xfs_nospace_max_retries=0",
    ),
    "no-reserve": (
        replace(WELL, docker=docker(info(Thin_Pool_Minimum_Free_Space="0B"))),
        "min_free_space",
        "dm.min_free_space=0%",
    ),
    "mounts-kept": (replace(WELL, may_detach_mounts=False), "may_detach_mounts", "Set fs.may_detach_mounts=1"),
}


@pytest.mark.parametrize(("seen", "kind", "words"), ADVICE.values(), ids=ADVICE)
def test_advice_says_what_to_set_and_is_no_mismatch(seen, kind, words):
    found = advised(seen)
    assert list(found) == [kind]
    assert words in found[kind].line
    assert found[kind].line.startswith(f"ADVICE    {kind}: ")


SILENT: dict[str, Inspection] = {
    "local-has-limits": replace(WELL, logging=Logging("local")),
    "journald": replace(WELL, logging=Logging("journald"), containers=(container("web", logging=Logging("journald")),)),
    "enough-memory": replace(WELL, memory=MemoryUse(512 * MIB, 50 * MIB, 0)),
    "memory-not-known": replace(WELL, memory=MemoryUse()),
    "much-in-long": replace(WELL, containers=(container("web", written=200 * MIB, started=NOW - 3 * HOUR),)),
    "start-not-known": replace(WELL, containers=(container("web", written=99 * MIB, started=None),)),
    "xfs-that-gives-up": replace(
        WELL,
        docker=docker(info(Backing_Filesystem="xfs")),
        storage_opts=("dm.fs=xfs", "dm.xfs_nospace_max_retries=0"),
    ),
    "other-disk-rotates": replace(WELL, disks=(replace(WELL.disks[0], rotational=True), WELL.disks[1])),
    "newer-kernel": replace(WELL, may_detach_mounts=None),
    "no-docker": replace(WELL, docker=dockerd.Docker(), logging=UNLIMITED, containers=()),
}


@pytest.mark.parametrize("seen", SILENT.values(), ids=SILENT)
def test_what_is_well_gets_no_advice(seen):
    assert advised(seen) == {}


def test_those_that_write_most_come_first():
    seen = replace(WELL, containers=(container("db", written=200 * MIB), container("web", written=300 * MIB)))
    assert [item.message.split()[1] for item in docker_advice.advice(seen, WANTED)] == ["web", "db"]


def test_the_tree_is_drawn_as_lsblk_does_with_the_containers_in_it():
    assert docker_report.tree(WELL, WANTED) == [
        "vdb                                      10.00 GiB  disk",
        "├─docker-thinpool_tmeta                 100.00 MiB  lvm",
        "│ └─docker-thinpool                       8.00 GiB  lvm",
        "│   ├─docker-254:1-131-bbbbbbbbbbbb...   10.00 GiB  dm  container db",
        "│   └─docker-254:1-131-aaaaaaaaaaaa...   10.00 GiB  dm  container web",
        "└─docker-thinpool_tdata                   8.00 GiB  lvm",
        "  └─docker-thinpool                       8.00 GiB  lvm",
    ]


def test_without_a_pool_all_disks_are_drawn():
    seen = replace(WELL, disks=(WELL.disks[0], tree(pool="other")))
    assert [line.split()[0] for line in docker_report.tree(seen, WANTED)][:2] == ["vda", "vdb"]


def test_a_silent_lsblk_is_told_in_place_of_a_tree():
    assert docker_report.tree(replace(WELL, disks=(), problem="lsblk had not ended"), WANTED) == ["lsblk had not ended"]


def test_few_lines_tell_what_docker_says():
    assert docker_report.lines(WELL, WANTED)["docker"] == [
        "Server Version: 20.10.24+dfsg1, Storage Driver: devicemapper, Pool Name: docker-thinpool, Backing Filesystem: "
        "ext4, Base Device Size: 10.74GB",
        "Data Space Used: 254.8MB of 10.31GB, Metadata Space Used: 10.58MB of 104.9MB, Thin Pool Minimum Free Space: "
        "1.03GB",
        "Deferred Removal Enabled: true, Deferred Deletion Enabled: true, Deferred Deleted Device Count: 0",
    ]
    assert docker_report.lines(replace(WELL, docker=docker()), WANTED)["docker"] == []
