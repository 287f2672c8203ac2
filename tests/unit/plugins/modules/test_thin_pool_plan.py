# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_daemon
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    block_devices,
    boot_drop_in,
    disk_rules,
    profiles,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import collect
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Event, Line
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import gather as whole
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_plan

VDB = BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240)
DPKG = "dpkg-query --show --showformat"
POLICY = "thin_pool_autoextend_threshold=52\nthin_pool_autoextend_percent=20\n"
STORAGE = "lvm2 installed\nthin-provisioning-tools installed\ndmeventd installed\n"


@pytest.fixture(autouse=True)
def machine(monkeypatch, commands, no_dmeventd, captured, disks, tmp_path):
    """Make this machine a Debian with a blank disk, no Docker and its files in a folder of the test."""
    disks(VDB)
    monkeypatch.setattr(package_manager, "read_family", lambda: package_manager.family(captured("os-release")))
    monkeypatch.setattr(package_manager, "needs_apparmor", lambda find: False)
    monkeypatch.setattr(dockerd, "read", Docker)
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(tmp_path / "daemon.json"))
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", str(tmp_path / "docker"))
    monkeypatch.setattr(boot_drop_in, "path", lambda service, vg, pool: str(tmp_path / f"{service}.conf"))
    monkeypatch.setattr(collect, "look_at", lambda *_arguments, since: None)


@pytest.fixture
def in_use(monkeypatch, commands, captured, table, tmp_path, docker_root):
    """Make it the captured host on which Docker uses the pool; the profile's threshold was 52."""
    docker = Docker(
        path="/usr/sbin/dockerd",
        version="20.10.24",
        unit="loaded",
        active=True,
        enabled=True,
        info=dockerd.parse_info(captured("docker_info.json")),
    )
    monkeypatch.setattr(dockerd, "read", lambda: docker)
    profile = profiles.decide(profiles.Profile(""), threshold=52, percent=20)[1]
    (tmp_path / "docker-thinpool.profile").write_text(profile.text, encoding="utf-8")
    wished = {"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}
    (tmp_path / "daemon.json").write_text(json.dumps(wished), encoding="utf-8")
    (tmp_path / "docker.service.conf").write_text(boot_drop_in.text("docker", "thinpool"), encoding="utf-8")
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_in_use_by_docker"))
    commands.expect(f"{DPKG} '${{Package}} ${{db:Status-Status}}\n' lvm2 thin-provisioning-tools dmeventd", STORAGE)
    commands.expect("lvmconfig --typeconfig full config/profile_dir", f'profile_dir="{tmp_path}"\n')
    commands.expect("dmsetup status --noflush --target thin-pool", captured("pool_in_use_by_docker.status"))
    docker_root({"devicemapper": 1, "overlay2": 2}, ["devicemapper"], transaction=16)


def test_a_converged_host_answers_in_one_call_with_no_steps(run_module, commands, in_use, tmp_path):
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], autoextend_threshold=52, autoextend_room="ignore")
    assert (result["changed"], result["actions"], set(map(tuple, result["links"].values()))) == (False, [], {()})
    assert result["docker"] == {
        "makes_pool": False,
        "data_root": str(tmp_path / "docker"),
        "aside": {},
        "records": [],
        "running": None,
        "installed": True,
        "version": "20.10.24",
        "active": True,
        "driver": "devicemapper",
        "pool_name": "docker-thinpool",
        "udev_sync": True,
    }
    assert result["packages"] == {"manager": "apt", "storage": [], "docker": [], "unknown": []}
    assert result["thin_pool"]["size"] == 10305404928
    assert commands.writing == []


LOOK_AT = collect.look_at


def test_how_the_pool_is_and_what_happened_to_it_comes_with_the_plan(run_module, commands, in_use, monkeypatch):
    line = Line(1795428000.0, "WARNING: Thin pool docker-thinpool data is now 83.00% full.", "dmeventd")
    happened = Event(line, "data_usage_high", "docker-thinpool", "docker", "thinpool", percent=83.0)
    monkeypatch.setattr(collect, "look_at", LOOK_AT)
    monkeypatch.setattr(collect, "read_events", lambda since: ([happened] if since == "-1d" else [], None))
    commands.expect("lvmconfig --typeconfig full --metadataprofile docker-thinpool", POLICY)
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], autoextend_threshold=52, autoextend_room="ignore")
    assert result["actions"] == []
    health = result["health"]
    assert health["verdict"] == "warning"
    assert health["sentence"].startswith("the data of docker/thinpool cannot be extended")
    assert health["lines"][0].startswith("docker/thinpool: WARNING, data ")
    assert any("83.00% full" in line for line in health["lines"][1:])
    assert commands.writing == []


def test_where_there_is_no_pool_nothing_is_told_of_its_health(run_module, blank, commands, monkeypatch):
    monkeypatch.setattr(collect, "look_at", LOOK_AT)
    commands.expect("vgcreate --test")
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert result["health"] is None


def test_what_is_short_is_said_as_a_warning(run_module, in_use):
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], autoextend_threshold=52)
    (warning,) = result["warnings"]
    assert "take 492 extents (1.92 GiB) of data, and volume group docker has 52 free" in str(warning)
    assert (result["autoextend"]["data_needed"], result["autoextend"]["data_possible"]) == (492, False)


@pytest.mark.parametrize("check", [True, False])
def test_a_blank_host_is_foretold_the_whole_chain_and_left_alone(
    run_module, commands, captured, monkeypatch, tmp_path, check
):
    monkeypatch.setattr(process, "find", lambda program: None)  # neither LVM nor mkfs is installed
    commands.expect(DPKG, rc=1)
    packages = "lvm2 thin-provisioning-tools dmeventd e2fsprogs docker.io"
    commands.expect(f"apt-cache policy {packages}", captured("apt_policy.txt"))
    result = run_module(thin_pool_plan, check=check, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert [sentence.split(":")[0] for sentence in result["actions"]] == [
        "install packages lvm2, thin-provisioning-tools, dmeventd, e2fsprogs",
        "create physical volume /dev/vdb",
        "create volume group docker on /dev/vdb",
        "write profile /etc/lvm/profile/docker-thinpool.profile",
        "create thin pool docker/thinpool",
        f"write {tmp_path}/daemon.json",
        "install packages docker.io",
        "start Docker and enable it",
    ]
    assert result["packages"] == {
        "manager": "apt",
        "storage": ["lvm2", "thin-provisioning-tools", "dmeventd", "e2fsprogs"],
        "docker": ["docker.io"],
        "unknown": ["thin-provisioning-tools", "dmeventd", "e2fsprogs"],
    }
    assert (result["changed"], result["profile"]) == (False, "docker-thinpool")
    assert (result["docker"]["installed"], result["docker"]["driver"]) == (False, None)
    assert (commands.writing, list(tmp_path.iterdir())) == ([], [])


@pytest.fixture
def blank(commands, captured):
    """Expect the questions to a host with LVM and a blank disk, whose Docker is yet to be installed."""
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(DPKG, STORAGE, rc=1)
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    commands.expect("apt-cache policy docker.io", captured("apt_policy.txt"))


@pytest.mark.parametrize("installed", [True, False])
def test_thin_check_must_be_there_or_come_with_its_package(run_module, blank, docker_root, commands, installed):
    docker_root({})
    commands.forget("lvmconfig")
    commands.forget(DPKG)
    commands.forget("apt-cache")
    commands.expect(DPKG, STORAGE if installed else STORAGE.replace("thin-provisioning-tools installed\n", ""), rc=1)
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\nthin_check_executable="/nowhere/thin_check"\n')
    commands.expect(
        "apt-cache policy", "docker.io:\n  Candidate: 20.10.24\nthin-provisioning-tools:\n  Candidate: 0.9\n"
    )
    if not installed:
        commands.expect("vgcreate --test")
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert bool(result.get("failed")) is installed
    assert ("/nowhere/thin_check, with which LVM checks the metadata" in result.get("msg", "")) is installed


def test_old_data_is_refused_unless_it_may_be_moved(run_module, blank, docker_root):
    root = docker_root({"overlay2": 2}, ["overlay2"])
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert result["failed"]
    assert result["msg"].startswith(f"{root} holds 2 images and 1 containers of driver overlay2")
    assert result["msg"].endswith(f"then set existing_data: backup, which moves {root} aside, or remove it")


def test_old_data_is_foretold_to_be_moved_and_left_alone(run_module, blank, docker_root, commands):
    root = docker_root({"overlay2": 2})
    there = sorted(root.rglob("*"))
    options = {"devices": ["/dev/vdb"], "docker_packages": ["docker.io"], "existing_data": "backup"}
    commands.expect("vgcreate --test --yes")
    result = run_module(thin_pool_plan, **options)
    assert result["links"]["docker_data"] == [f"move {root} aside"]
    assert (result["docker"]["data_root"], result["changed"]) == (str(root), False)
    ((moved, place),) = result["docker"]["aside"].items()
    assert moved == str(root)
    assert re.fullmatch(rf"{re.escape(moved)}\.\d{{8}}T\d{{6}}Z", place)
    ((*_shell, source, target),) = result["commands"]["docker_data"]
    assert (source, target) == (moved, place)
    assert (commands.writing, sorted(root.rglob("*"))) == ([], there)


def test_records_of_another_pool_are_foretold_to_be_moved_within_the_data_root(
    run_module, blank, docker_root, commands
):
    root = docker_root({"overlay2": 2, "devicemapper": 1}, ["overlay2", "devicemapper"], transaction=7)
    options = {"devices": ["/dev/vdb"], "docker_packages": ["docker.io"], "existing_data": "keep"}
    commands.expect("vgcreate --test --yes")
    result = run_module(thin_pool_plan, **options)
    paths = [f"containers/{1:064x}", "image/devicemapper", "devicemapper"]
    assert result["links"]["docker_data"] == [f"move {root}/{path} aside" for path in paths]
    moved = result["docker"]["aside"]
    assert sorted(moved) == sorted(f"{root}/{path}" for path in paths)
    for path in paths:
        assert re.fullmatch(rf"{re.escape(str(root))}/devicemapper\.\d{{8}}T\d{{6}}Z/{path}", moved[f"{root}/{path}"])


@pytest.mark.parametrize("source", ["option", "file", "flag"])
def test_old_data_is_looked_for_where_docker_keeps_it(run_module, blank, docker_root, monkeypatch, tmp_path, source):
    root = str(docker_root({"overlay2": 2}))
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", "/nonexistent")
    options = {"devices": ["/dev/vdb"], "docker_packages": ["docker.io"]}
    if source == "option":
        options["daemon_options"] = {"data-root": root}
    elif source == "file":
        (tmp_path / "daemon.json").write_text(json.dumps({"data-root": root}), encoding="utf-8")
    else:
        docker = Docker(path="/usr/sbin/dockerd", version="20.10.24", flags=("--data-root", root))
        monkeypatch.setattr(dockerd, "read", lambda: docker)
    assert run_module(thin_pool_plan, **options)["msg"].startswith(f"{root} holds 2 images")


def test_the_running_pool_is_asked_whose_records_these_are(run_module, in_use, tmp_path):
    records = tmp_path / "docker" / "devicemapper" / "metadata" / "transaction-metadata"
    records.write_text('{"open_transaction_id":3,"device_hash":"","device_id":1}', encoding="utf-8")
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], autoextend_threshold=52, autoextend_room="ignore")
    assert "they end at transaction 3, the pool is at 16" in result["msg"]


def test_a_pool_that_does_not_run_is_not_asked(run_module, commands, captured, docker_root):
    docker_root(transaction=3)
    commands.expect("lvm fullreport", captured("pool_inactive.json"))
    commands.expect(DPKG, STORAGE, rc=1)
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    commands.expect("apt-cache policy docker.io", captured("apt_policy.txt"))
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert "activate thin pool docker/thinpool" in result["actions"]


def test_existing_data_is_one_of_three_words(run_module, commands):
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], existing_data="remove")
    assert "value of existing_data must be one of: refuse, backup, keep" in result["msg"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"docker_packages": ["docker.io"]}, ["apparmor", "docker.io"], id="with-docker"),
        pytest.param({}, [], id="without"),
    ],
)
def test_the_loader_of_apparmor_comes_with_docker_where_the_kernel_wants_it(
    run_module, commands, captured, monkeypatch, options, expected
):
    monkeypatch.setattr(package_manager, "needs_apparmor", lambda find: True)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(DPKG, STORAGE, rc=1)
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    if expected:
        commands.expect("apt-cache policy apparmor docker.io", captured("apt_policy.txt"))
    commands.expect("vgcreate --test --yes")
    packages = run_module(thin_pool_plan, devices=["/dev/vdb"], **options)["packages"]
    assert packages["storage"] + packages["docker"] == expected


def test_what_lvm_would_refuse_is_refused_by_the_plan(run_module, blank, docker_root, commands):
    docker_root({})
    commands.expect(
        "vgcreate --test --yes", stderr="  Cannot use /dev/vdb: device is rejected by filter config\n", rc=5
    )
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], docker_packages=["docker.io"])
    assert result["msg"] == (
        "LVM would refuse to create volume group docker on /dev/vdb: Cannot use /dev/vdb: device is rejected by filter "
        "config. Nothing was written"
    )


def test_everything_is_refused_at_once(run_module, commands, captured, disks):
    disks(BlockDevice("/dev/vdb", "/dev/vdb", size=10737418240, signatures=(Signature("ext4", 0x438),)))
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(DPKG, STORAGE, rc=1)
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    policy = captured("apt_policy.txt").replace("Candidate: 20.10.24", "Candidate: 26.1.5")
    commands.expect("apt-cache policy docker.io", policy)
    result = run_module(
        thin_pool_plan,
        devices=["/dev/vdb"],
        docker_packages=["docker.io"],
        autoextend_percent=0,
        storage_opts=["dm.fs=zfs"],
    )
    assert [line.split(",")[0].split(":")[0] for line in result["msg"].splitlines()] == [
        "package docker.io (26.1.5+dfsg1-1+deb12u1+b6) is Docker 26.1.5",
        "/dev/vdb is not blank",
        "thin_pool_autoextend_percent must be 1 to 100 (percent of the pool's size to add)",
        "storage option dm.fs must be ext4 or xfs",
    ]
    assert result["failed"]


def test_volumes_of_the_manual_are_looked_at_before_they_are_converted(run_module, commands, captured):
    commands.expect("lvm fullreport", captured("data_and_metadata.json"))
    commands.expect(DPKG, STORAGE)
    commands.expect("wipefs --no-act --parsable /dev/docker/thinpool")
    commands.expect("wipefs --no-act --parsable /dev/docker/thinpoolmeta", "0x0,uuid,,xfs\n")
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], data_size="95%VG")
    assert result["msg"].startswith("docker/thinpoolmeta holds xfs at 0x0: converting it would destroy that.")


def test_no_device_is_refused(run_module, commands):
    assert run_module(thin_pool_plan, devices=[])["msg"].startswith("devices is empty: name at least one block device")


@pytest.mark.parametrize("option", ["data_size", "metadata_size", "chunk_size"])
def test_a_size_that_is_none_is_refused_under_its_option(run_module, commands, option):
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], **{option: "big"})
    assert result["msg"].startswith(f"{option}: 'big' is not a size")


def test_a_failure_is_told_with_command_and_status(run_module, commands):
    commands.expect("lvm fullreport", stderr="  Failed to read devices.\n", rc=3)
    result = run_module(thin_pool_plan, devices=["/dev/vdb"])
    assert (result["failed"], result["rc"]) == (True, 3)
    assert result["msg"].endswith("failed with status 3: Failed to read devices.")


def test_the_pool_alone_is_planned_without_a_look_at_docker(run_module, commands, monkeypatch, captured, table):
    monkeypatch.setattr(dockerd, "read", None)
    commands.expect("lvm fullreport", captured("pool.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool"))
    commands.expect(DPKG, STORAGE)
    commands.expect("lvmconfig --typeconfig full config/profile_dir", 'profile_dir="/nonexistent"\n')
    commands.expect("dmsetup status --noflush --target thin-pool", captured("pool.status"))
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], engine="none", autoextend_room="ignore")
    assert [stage for stage, steps in result["links"].items() if steps] == ["profile"]
    assert result["docker"]["installed"] is False
    assert commands.writing == []


def test_taking_apart_is_planned_with_the_devices_of_the_group(run_module, commands, in_use, monkeypatch):
    monkeypatch.setattr(dockerd, "running_containers", lambda: ("web",))
    commands.forget("dpkg-query")
    result = run_module(thin_pool_plan, state="absent", stop_containers=True)
    assert result["devices"] == ["/dev/vdb"]
    assert result["actions"][:3] == ["stop containers web", "stop Docker", "remove thin pool docker/thinpool"]
    assert result["packages"]["manager"] is None
    assert commands.writing == []


def test_taking_apart_is_refused_while_containers_run(run_module, commands, in_use, monkeypatch):
    monkeypatch.setattr(dockerd, "running_containers", lambda: ("web",))
    commands.forget("dpkg-query")
    result = run_module(thin_pool_plan, state="absent")
    assert result["msg"].startswith("containers run on docker/thinpool: web")


PACKAGED = "version = 2\n"
THIN = "dmsetup table --target thin"


@pytest.fixture
def containerd(monkeypatch, tmp_path):
    """Let containerd be there as its package leaves it, and keep its folders in one of the test."""
    config = tmp_path / "config.toml"
    config.write_text(f'{PACKAGED}root = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n', encoding="utf-8")
    found = Containerd(
        path="/usr/bin/containerd",
        version="1.7.24",
        unit="loaded",
        active=True,
        enabled=True,
        plugin="devmapper not configured: skip plugin",
        config=str(config),
    )
    monkeypatch.setattr(containerd_daemon, "read", lambda _layout: found)
    return found


def test_containerd_is_planned_in_one_call_without_a_look_at_docker(
    run_module, commands, containerd, monkeypatch, captured, tmp_path
):
    monkeypatch.setattr(dockerd, "read", None)
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(f"{DPKG} '${{Package}} ${{db:Status-Status}}\n' lvm2 thin-provisioning-tools dmeventd", STORAGE)
    commands.expect("lvmconfig", 'profile_dir="/nonexistent"\n')
    commands.expect(THIN)
    commands.expect("vgcreate --test --yes")
    result = run_module(thin_pool_plan, engine="containerd", devices=["/dev/vdb"], vg="my-vg", discard_blocks=True)
    assert [stage for stage, steps in result["links"].items() if steps] == [
        "physical_volumes",
        "volume_group",
        "profile",
        "thin_pool",
        "boot",
        "configuration",
    ]
    assert result["links"]["configuration"] == [
        f"set pool_name, base_image_size, discard_blocks in {tmp_path}/config.toml",
        "restart containerd, and see that every plugin works that did",
    ]
    assert 'pool_name = "my--vg-thinpool"' in result["diff"][-1]["after"]
    assert result["containerd"] == {
        "installed": True,
        "version": "1.7.24",
        "active": True,
        "plugin": "devmapper not configured: skip plugin",
        "config": str(tmp_path / "config.toml"),
        "unit": "containerd.service",
        "root_path": f"{tmp_path}/root/io.containerd.snapshotter.v1.devmapper",
        "records": [],
        "running": [],
    }
    assert result["boot"]["path"] == str(tmp_path / "containerd.service.conf")
    assert [stage for stage, steps in result["commands"].items() if steps] == []
    assert commands.writing == []


def test_containerds_devices_are_planned_to_be_removed(run_module, commands, containerd, captured, table):
    commands.expect("lvm fullreport", captured("pool_in_use_by_docker.json"))
    commands.expect("dmsetup table --target thin-pool", table("pool_in_use_by_docker"))
    commands.expect("lvmconfig", 'profile_dir="/nonexistent"\n')
    commands.expect("dmsetup status", captured("pool_in_use_by_docker.status"))
    commands.expect(THIN, "docker-thinpool-snap-1: 0 20971520 thin 253:2 1\nother-snap-1: 0 8 thin 253:9 1\n")
    result = run_module(thin_pool_plan, engine="containerd", state="absent")
    assert {stage: steps for stage, steps in result["commands"].items() if steps} == {
        "containerd_stop": [["systemctl", "stop", "containerd.service"]],
        "devices": [["dmsetup", "remove", "--retry", "docker-thinpool-snap-1"]],
        "containerd_start": [["systemctl", "start", "containerd.service"]],
    }
    assert result["undo"]["containerd_stop"] == [["systemctl", "start", "containerd.service"]]
    assert result["links"]["thin_pool"] == ["remove thin pool docker/thinpool"]


@pytest.mark.parametrize(
    ("options", "prefix", "says"),
    [
        ({"vg": "-x"}, "direct_lvm_", "direct_lvm_vg: '-x' is not a name for a volume group"),
        ({"vg": "-x"}, "", "vg: '-x' is not a name for a volume group"),
        ({"data_size": "10X"}, "containerd_devmapper_", "containerd_devmapper_data_size: "),
        ({"devices": []}, "direct_lvm_", "direct_lvm_devices is empty"),
        (
            {"engine": "containerd", "layout": {"unit": "x"}},
            "containerd_devmapper_",
            "containerd_devmapper_unit must be",
        ),
        ({"managed_by": "loop", "loop_data_size": "x"}, "loop_lvm_", "loop_lvm_data_size: "),
        ({"managed_by": "loop", "loop_metadata_size": "x"}, "loop_lvm_", "loop_lvm_metadata_size: "),
    ],
)
def test_a_refusal_names_the_variable_that_set_it(run_module, options, prefix, says):
    result = run_module(thin_pool_plan, **{"devices": ["/dev/vdb"], **options}, prefix=prefix)
    assert result["failed"]
    assert result["msg"].startswith(says)


def test_names_and_sizes_that_are_none_are_refused_at_once(run_module):
    result = run_module(thin_pool_plan, devices=["/dev/vdb"], vg="-x", pool="", data_size="y", chunk_size="z")
    assert [line.partition(":")[0] for line in result["msg"].splitlines()] == ["vg", "pool", "data_size", "chunk_size"]


def test_no_device_for_containerd_is_refused(run_module, commands):
    result = run_module(thin_pool_plan, engine="containerd", devices=[])
    assert result["msg"].startswith("devices is empty: name at least one block device")


@pytest.fixture
def whole_disks(monkeypatch):
    """Give this machine disks that a rule finds: the one of all tests, and one with partitions."""
    found = [
        disk_rules.Disk("/dev/vdb", VDB.size, bus="virtio", rotational=True),
        disk_rules.Disk("/dev/vda", 2 * VDB.size, bus="virtio"),
    ]
    partitioned = replace(VDB, name="/dev/vda", path="/dev/vda", obstacles=("has partitions (vda1)",))
    monkeypatch.setattr(whole.disks, "read", lambda: found)
    examine = block_devices.examine
    monkeypatch.setattr(
        block_devices,
        "examine",
        lambda name, **options: partitioned if name == "/dev/vda" else examine(name, **options),
    )


def test_a_rule_is_resolved_and_every_disk_has_its_reasons(run_module, blank, commands, docker_root, whole_disks):
    docker_root({})
    commands.expect("vgcreate --test")
    result = run_module(thin_pool_plan, check=True, devices=["disks size>=1g"], docker_packages=["docker.io"])
    assert "create volume group docker on /dev/vdb" in result["actions"]
    assert result["devices"] == ["/dev/vdb"]
    assert [(disk["device"], disk["taken"], disk["reasons"]) for disk in result["disks"]] == [
        ("/dev/vda", False, ["has partitions (vda1)"]),
        ("/dev/vdb", True, ["is free, and as the rule wants it"]),
    ]
    assert result["disks"][1] == {
        "device": "/dev/vdb",
        "size": 10737418240,
        "model": "",
        "bus": "virtio",
        "rotational": True,
        "taken": True,
        "reasons": ["is free, and as the rule wants it"],
    }


def test_a_rule_that_takes_nothing_is_refused_with_every_reason(run_module, commands, captured, whole_disks):
    commands.expect("lvm fullreport", captured("blank.json"))
    commands.expect(DPKG, STORAGE)
    result = run_module(thin_pool_plan, devices=["disks size>=15g"], engine="none")
    assert "no disk of this host is taken by 'disks size>=15g': /dev/vda has partitions (vda1)" in result["msg"]
    assert "/dev/vdb has 10.00 GiB, and size>= wants 15.00 GiB" in result["msg"]


def test_on_the_way_back_the_group_says_which_disks_a_rule_means(run_module, commands, captured, table, whole_disks):
    commands.expect("lvm fullreport", captured("group.json"))
    commands.expect("lvmconfig", 'profile_dir="/etc/lvm/profile"\n')
    result = run_module(thin_pool_plan, state="absent", devices=["disks but=1"], engine="none")
    assert "was not made by this collection" in result["msg"]
