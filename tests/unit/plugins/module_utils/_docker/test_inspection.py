# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen of a guest on which three containers wrote 50, 100 and 200 MiB (files host_* of the reports)."""

from __future__ import annotations

import json
import re
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    docker_advice,
    docker_checks,
    docker_report,
    dockerd,
    inspection,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_checks import ExpectedStorage
from ansible_collections.devicemapper.containers.plugins.modules import docker_devicemapper_info

MIB = 1024**2
CAPTURED = 1795493976.0  # 2026-11-24T04:19:36Z
PIDS = {"small": "1512", "large": "1598", "middle": "1687"}
DOCKERD = "1269"
WANTED = ExpectedStorage("docker", "thinpool", devices=("/dev/vdb",), chunk_size=512 * 1024)
POOL_OPTION = {"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}


class Host:
    """The captured guest as folders, which a test may change."""

    def __init__(self, folder: Path, captured: t.Callable[[str], str]) -> None:
        self.root, self.proc, self.sys = folder / "docker", folder / "proc", folder / "sys"
        self.daemon_json, self.pid_file = folder / "daemon.json", folder / "docker.pid"
        for name, text in json.loads(captured("host_docker_records.json")).items():
            self.write(self.root / name, text)
        for line in captured("host_sys_block.txt").splitlines():
            path, _colon, text = line.partition(": ")
            self.write(folder / path[1:], text)
        self.mounts = captured("host_mountinfo").replace("/var/lib/docker", str(self.root))
        for pid in ("self", "1", DOCKERD):
            self.mount(pid, "mnt:[4026531841]", self.mounts)
        for pid in PIDS.values():
            (self.proc / pid).mkdir()
        self.write(self.proc / "meminfo", captured("host_meminfo"))
        self.write(self.pid_file, DOCKERD)
        self.write(self.daemon_json, json.dumps(POOL_OPTION))
        answer = captured("host_docker_info.json").replace("/var/lib/docker", str(self.root))
        self.docker = dockerd.Docker(
            path="/usr/sbin/dockerd",
            version="20.10.24",
            active=True,
            flags=("-H", "fd://"),
            info=dockerd.parse_info(answer),
        )

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def mount(self, pid: str, namespace: str, text: str) -> None:
        """Let a process be in a mount namespace in which so much is mounted."""
        self.write(self.proc / pid / "mountinfo", text)
        (self.proc / pid / "ns").mkdir(exist_ok=True)
        link = self.proc / pid / "ns" / "mnt"
        if link.is_symlink():
            link.unlink()
        link.symlink_to(namespace)

    def change(self, container: str, file: str, change: t.Callable[[dict], None]) -> None:
        """Change a container's record."""
        for path in self.root.glob("containers/*/config.v2.json"):
            if json.loads(path.read_text(encoding="utf-8"))["Name"] == f"/{container}":
                record = path.parent / file
                document = json.loads(record.read_text(encoding="utf-8"))
                change(document)
                record.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def host(monkeypatch, tmp_path, captured) -> Host:
    found = Host(tmp_path, captured)
    monkeypatch.setattr(inspection, "PROC", str(found.proc))
    monkeypatch.setattr(inspection, "SYS", str(found.sys))
    monkeypatch.setattr(inspection, "PID_FILE", str(found.pid_file))
    monkeypatch.setattr(inspection.time, "time", lambda: CAPTURED)
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(found.daemon_json))
    monkeypatch.setattr(dockerd, "read", lambda: found.docker)
    return found


@pytest.fixture
def look(host, commands, captured) -> t.Callable[[], inspection.Inspection]:
    """Return a function that looks at the host once."""

    def read() -> inspection.Inspection:
        commands.expect("lsblk --json --bytes --output NAME,KNAME,TYPE,SIZE,ROTA", captured("host_lsblk.json"))
        return inspection.read()

    return read


def mismatches(seen: inspection.Inspection) -> dict[str, str]:
    return {check.name: check.seen for check in docker_checks.checks(seen, WANTED) if not check.matches}


def test_the_captured_host_is_as_it_should_be(host, look):
    seen = look()
    assert mismatches(seen) == {}
    assert [(container.name, container.image) for container in seen.containers] == [
        (name, "busybox") for name in ("large", "middle", "small")
    ]
    assert seen.records == inspection.DockerRecords(
        f"{host.root}/devicemapper/metadata", base=True, containers=3, image_layers=1, others=0
    )
    assert {mount.filesystem for mount in seen.mounts} == {"ext4"}
    assert [mount.point for mount in seen.mounts] == sorted(
        f"{host.root}/devicemapper/mnt/{container.record}" for container in seen.containers
    )
    assert (seen.memory.total, seen.memory.available) == (1511164 * 1024, 1112972 * 1024)
    assert seen.may_detach_mounts is None


def test_the_captured_host_gets_the_manuals_advice(look):
    advice = {item.message for item in docker_advice.advice(look(), WANTED)}
    kinds = [item.kind for item in docker_advice.advice(look(), WANTED)]
    assert kinds == ["rotational", "logs", "volumes", "volumes"]
    assert any("among them large, middle, small," in message for message in advice)
    assert any(message.startswith("container large (busybox) wrote 200.21 MiB") for message in advice)
    assert any(message.startswith("container middle (busybox) wrote 100.18 MiB") for message in advice)


def test_what_each_wrote_is_what_the_kernel_counted(look):
    written = {container.name: container.written // MIB for container in look().containers}
    assert written == {"large": 200, "middle": 100, "small": 50}


def test_the_tree_names_the_containers(look):
    lines = docker_report.tree(look(), WANTED)
    assert [line.split()[0] for line in lines[:1]] == ["vdb"]
    assert [line.split()[-1] for line in lines if "container" in line] == ["small", "large", "middle"]
    assert len(lines) == 8


def test_older_lsblk_has_strings_for_everything(captured):
    def strings(row: dict) -> dict:
        found = {key: ("1" if value else "0") if isinstance(value, bool) else str(value) for key, value in row.items()}
        if "children" in row:
            found["children"] = [strings(child) for child in row["children"]]
        return found

    text = captured("host_lsblk.json")
    old = {"blockdevices": [strings(row) for row in json.loads(text)["blockdevices"]]}
    assert inspection.parse_disks(json.dumps(old)) == inspection.parse_disks(text)


@pytest.mark.parametrize(
    ("output", "rc", "says"),
    [
        ("", 1, "lsblk --json .* failed with status 1"),
        ("", 0, "what lsblk said could not be understood"),
        ("{}", 0, "what lsblk said could not be understood .KeyError"),
        ('{"blockdevices": [{"name": "vda"}]}', 0, "could not be understood"),
        ("[]", 0, "could not be understood"),
    ],
)
def test_a_lsblk_that_says_nothing_is_told_and_the_rest_is_seen(host, commands, output, rc, says):
    commands.expect("lsblk", output, rc=rc)
    seen = inspection.read()
    assert re.search(says, seen.problem)
    assert sorted(mismatches(seen)) == ["devices", "pool"]
    assert len(seen.containers) == 3


def test_lsblk_has_half_a_minute(host, monkeypatch):
    asked = {}

    def finish(*command: str, **options: t.Any) -> tuple[int, str, str]:
        asked[command[0]] = options["timeout"]
        raise process.ProcessError("lsblk had not ended after 30 seconds and was asked to stop", command)

    monkeypatch.setattr(process, "finish", finish)
    assert "had not ended" in inspection.read().problem
    assert asked == {"lsblk": 30}


def test_mounts_that_dockerd_alone_has_are_seen(host, look):
    without = "".join(line for line in host.mounts.splitlines(keepends=True) if "devicemapper/mnt" not in line)
    for pid in ("self", "1"):
        host.mount(pid, "mnt:[4026531841]", without)
    host.mount(DOCKERD, "mnt:[4026532999]", host.mounts)
    assert mismatches(look()) == {}


def test_a_mount_that_is_gone_is_a_mismatch(host, look):
    gone = next(container for container in look().containers if container.name == "middle").record
    text = "".join(line for line in host.mounts.splitlines(keepends=True) if gone not in line)
    for pid in ("self", "1", DOCKERD):
        host.mount(pid, "mnt:[4026531841]", text)
    assert list(mismatches(look())) == ["mounts"]
    assert "and none of containers middle, which run" in mismatches(look())["mounts"]


def test_without_a_dockerd_mounts_are_seen_as_others_see_them(host, look):
    host.pid_file.unlink()
    shutil.rmtree(host.proc / DOCKERD)
    assert len(look().mounts) == 3


def test_a_record_that_is_gone_is_a_mismatch(host, look):
    record = next(container for container in look().containers if container.name == "small").record
    (host.root / "devicemapper" / "metadata" / record).unlink()
    (host.root / "devicemapper" / "metadata" / "base").unlink()
    host.write(host.root / "devicemapper" / "metadata" / ("f" * 64), "{}")
    assert mismatches(look()) == {
        "metadata": f"{host.root}/devicemapper/metadata has records of no base, image layers: 1, containers: 2, "
        "neither: 1, none for container small"
    }


def test_a_container_without_its_process_does_not_run(host, look):
    shutil.rmtree(host.proc / PIDS["large"])
    host.change("small", "config.v2.json", lambda record: record["State"].update(Running=False, Pid=0))
    assert [container.name for container in look().containers] == ["middle"]


def test_dockerd_that_is_down_has_left_its_records(host, look):
    host.docker = dockerd.Docker(path="/usr/sbin/dockerd", version="20.10.24")
    host.write(host.daemon_json, json.dumps({**POOL_OPTION, "data-root": str(host.root)}))
    for pid in PIDS.values():
        shutil.rmtree(host.proc / pid)
    seen = look()
    assert mismatches(seen) == {"docker": "20.10.24, and does not run"}
    assert (seen.records.containers, seen.containers) == (3, ())


def test_volumes_and_limits_of_a_container_are_read(host, look):
    points = {"/data": {"Type": "volume"}, "/etc/x": {"Type": "bind"}}
    host.change("large", "config.v2.json", lambda record: record.update(MountPoints=points))
    host.change("large", "hostconfig.json", lambda record: record.update(Tmpfs={"/tmp": ""}))
    limits = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    host.change("large", "hostconfig.json", lambda record: record.update(LogConfig=limits))
    found = {container.name: container for container in look().containers}
    assert found["large"].volumes == ("/data", "/etc/x", "/tmp")
    assert not found["large"].logging.is_unlimited
    assert found["small"].logging.is_unlimited
    assert found["small"].volumes == ()


def test_records_that_cannot_be_read_do_not_stop_it(host, look):
    for path in (*host.root.glob("containers/*/hostconfig.json"), *host.root.glob("containers/*/config.v2.json")):
        path.write_text("not JSON", encoding="utf-8")
    assert look().containers == ()


@pytest.mark.parametrize(
    ("document", "flags", "driver", "options"),
    [
        pytest.param({}, (), "json-file", {}, id="nothing"),
        pytest.param(
            {"log-driver": "local", "log-opts": {"max-size": "1m"}}, (), "local", {"max-size": "1m"}, id="file"
        ),
        pytest.param(
            {},
            ("--log-driver=journald", "--log-opt", "max-size=5m", "--log-opt=max-file=3"),
            "journald",
            {"max-size": "5m", "max-file": "3"},
            id="flags",
        ),
        pytest.param({"log-opts": ["max-size"]}, (), "json-file", {}, id="no-object"),
    ],
)
def test_where_the_output_of_containers_goes(document, flags, driver, options):
    assert inspection.logging(document, dockerd.Docker(flags=flags)) == inspection.Logging(driver, options)


def test_a_daemon_json_that_is_none_does_not_stop_it(host, look):
    host.write(host.daemon_json, "{")
    assert mismatches(look()) == {}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-24T04:19:36.53269836057Z", CAPTURED),
        ("2026-11-24T04:19:36Z", CAPTURED),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times_of_docker_are_read(text, time):
    assert inspection.parse_time(text) == time


@pytest.mark.parametrize("check", [False, True])
def test_the_module_tells_all_of_it(run_module, host, commands, captured, monkeypatch, check):
    commands.expect("lsblk", captured("host_lsblk.json"))
    result = run_module(docker_devicemapper_info, check=check, chunk_size="512K")
    assert (result["changed"], result["matches"]) == (False, True)
    assert {line.split()[0] for line in result["lines"]["checks"]} == {"OK"}
    assert {check["remedy"] for check in result["checks"]} == {""}
    assert [item["kind"] for item in result["advice"]] == ["rotational", "logs", "volumes", "volumes"]
    assert [disk["name"] for disk in result["disks"]] == ["vdb"]
    assert result["disks"][0]["children"][0]["children"][0]["name"] == "docker-thinpool"
    assert [container["name"] for container in result["containers"]] == ["large", "middle", "small"]
    assert result["docker"]["status"]["Pool Name"] == "docker-thinpool"
    assert (result["docker"]["answers"], result["docker"]["driver"]) == (True, "devicemapper")
    assert len(result["mounts"]) == 3


def test_the_module_says_what_does_not_match_and_is_no_error(run_module, host, commands, captured):
    commands.expect("lsblk", captured("host_lsblk.json"))
    result = run_module(
        docker_devicemapper_info, pool="other", chunk_size="64k", storage_opts=["dm.min_free_space=20%"]
    )
    assert not result.get("failed")
    assert not result["matches"]
    wrong = {check["name"]: check["remedy"] for check in result["checks"] if not check["matches"]}
    assert list(wrong) == [
        "devices",
        "pool",
        "Pool Name",
        "Pool Blocksize",
        "Thin Pool Minimum Free Space (dm.min_free_space)",
        "mounts",
    ]
    assert all(wrong.values())
