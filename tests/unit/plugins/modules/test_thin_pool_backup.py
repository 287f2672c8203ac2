# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import bbolt, constants
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import backup, metadata_snapshot
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import profiles
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_backup

CONTAINERD_RECORDS = Path(__file__).resolve().parents[2] / "containerd" / "1.7.24" / "records"
TAKE = "dmsetup message docker-thinpool 0 reserve_metadata_snap"
RELEASE = "dmsetup message docker-thinpool 0 release_metadata_snap"
ACTIONS = [
    "save the metadata of volume group docker",
    "save Docker's records of the pool in {root}",
    "save {daemon}",
    "dump the metadata of thin pool docker/thinpool",
    "check that the dump can be restored",
    "write {dest}/docker-thinpool.tar.gz",
]


class Tools:
    """The programs of a host with a pool, three containers and the captured records, as often as they are asked."""

    def __init__(self, captured) -> None:
        self.captured = captured
        self.held = captured("metadata_snapshot.status")
        self.free = self.held.replace(" 342 ", " - ")
        self.transactions: list[int] = []  # what status says while the snapshot is held, then the captured one
        self.dumps: list[str] = []
        self.ran: list[str] = []
        self.is_held = False
        self.fails = ""

    def answer(self, *command: str, **_options) -> tuple[int, str]:
        words = " ".join(command)
        self.ran.append(words)
        if self.fails and words.startswith(self.fails):
            from ansible_collections.devicemapper.containers.plugins.module_utils._core import process

            raise process.ProcessError(f"{words} failed with status 1: no", command, 1)
        if words.startswith("lvm fullreport"):
            return 0, self.captured("pool_in_use_by_docker.json")
        if words.startswith("dmsetup table"):
            return 0, self.captured("pool_in_use_by_docker.table")
        if words.startswith("dmsetup info"):
            return 0, self.captured("metadata_snapshot.info")
        if words.startswith("dmsetup status"):
            if self.is_held and self.transactions:
                return 0, self.held.replace("thin-pool 8 ", f"thin-pool {self.transactions.pop(0)} ")
            return 0, self.held if self.is_held else self.free
        if words in (TAKE, RELEASE):
            self.is_held = words == TAKE
        elif command[0] == "vgcfgbackup":
            Path(command[2]).write_text(self.captured("three_containers.conf"))
        elif words.startswith("thin_dump -m /dev/mapper/docker-thinpool_tmeta -o "):
            assert self.is_held
            text = self.captured("three_containers.xml")
            Path(command[-1]).write_text(self.dumps.pop(0) if self.dumps else text)
        elif words.startswith("thin_restore -i "):
            text = Path(command[2]).read_text()
            assert 'nr_data_blocks="16376"' in text.splitlines()[0]
            # As large as the pool's metadata, without taking the room.
            assert os.stat(command[4]).st_size == 104857600
            assert os.stat(command[4]).st_blocks == 0
        elif words == "lvm version":
            return 0, self.captured("lvm_version.txt")
        elif words == "dockerd --version":
            return 0, self.captured("dockerd_version.txt")
        elif words == "thin_dump -V":
            return 0, "0.9.0\n"
        return 0, ""


@pytest.fixture
def tools(captured, monkeypatch) -> Tools:
    from ansible_collections.devicemapper.containers.plugins.module_utils._core import process

    found = Tools(captured)
    monkeypatch.setattr(process, "finish", lambda *command, **limits: (*found.answer(*command, **limits), ""))
    monkeypatch.setattr(process, "find", lambda program: f"/usr/sbin/{program}")
    monkeypatch.setattr(backup, "PAUSE", 0)
    return found


@pytest.fixture
def dest(monkeypatch, tmp_path, records, no_dmeventd) -> Path:
    """Return where the backup goes, on a host with the captured records of Docker."""
    monkeypatch.setattr(metadata_snapshot, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(metadata_snapshot, "MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(profiles, "profile_directory", lambda: str(tmp_path / "profile"))
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"data-root": str(records)}))
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(path))
    monkeypatch.setattr(dockerd, "read_unit", lambda *_service: {})
    monkeypatch.setattr(constants, "CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "backups"


def back_up(run_module, dest: Path, **options) -> dict:
    return run_module(thin_pool_backup, vg="docker", name="thinpool", dest=str(dest), **options)


def unpacked(dest: Path, into: Path) -> dict:
    """Unpack the archive and return its manifest."""
    shutil.unpack_archive(str(dest / "docker-thinpool.tar.gz"), str(into))
    return json.loads((into / "manifest.json").read_text())


def test_what_is_needed_is_in_the_archive(run_module, tools, dest, records, tmp_path, captured):
    result = back_up(run_module, dest)
    assert result["changed"], result
    told = [action.format(root=records, daemon=tmp_path / "daemon.json", dest=dest) for action in ACTIONS]
    assert result["actions"] == told
    manifest = unpacked(dest, tmp_path / "out")
    assert manifest["pool"]["transaction_id"] == 8
    assert (manifest["pool"]["devices"], manifest["vg"]["sequence"]) == (8, 4)
    assert manifest["versions"]["thin_dump"] == "0.9.0"
    assert f"LVM version:     {manifest['versions']['lvm']} (" in captured("lvm_version.txt")
    assert manifest["versions"]["dockerd"] == "20.10.24+dfsg1"
    assert manifest["docker"] == {"root": str(records)}
    for device in manifest["vg"]["devices"]:
        assert device["device"].startswith("/dev/")
        assert device["uuid"]
    saved = {file["name"]: file for file in manifest["files"]}
    wanted = {f"docker/root/{path.relative_to(records)}" for path in records.rglob("*") if path.is_file()}
    assert set(saved) == {*wanted, "docker/daemon.json", "lvm/docker.conf", "thin/docker-thinpool.xml"}
    for name, file in saved.items():
        content = (tmp_path / "out" / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
    assert saved["docker/daemon.json"]["path"] == str(tmp_path / "daemon.json")
    assert saved["lvm/docker.conf"]["path"] == ""
    assert result["manifest"] == {**manifest, "files": len(saved)}


def test_the_dump_says_how_many_chunks_the_pool_has(run_module, tools, dest, tmp_path, captured):
    back_up(run_module, dest)
    unpacked(dest, tmp_path / "out")
    text = (tmp_path / "out/thin/docker-thinpool.xml").read_text()
    assert 'nr_data_blocks="0"' in captured("three_containers.xml")
    assert text == captured("three_containers.xml").replace('nr_data_blocks="0"', 'nr_data_blocks="16376"')


def test_only_its_owner_may_read_it_and_nothing_else_is_left(run_module, tools, dest):
    back_up(run_module, dest)
    assert [path.name for path in dest.iterdir()] == ["docker-thinpool.tar.gz"]
    assert dest.stat().st_mode & 0o777 == 0o700
    assert (dest / "docker-thinpool.tar.gz").stat().st_mode & 0o777 == 0o600


def test_folders_keep_their_modes(run_module, tools, dest, records):
    (records / "containers").chmod(0o710)
    (records / "devicemapper/metadata").chmod(0o700)
    back_up(run_module, dest)
    with tarfile.open(dest / "docker-thinpool.tar.gz") as archive:
        assert archive.getmember("docker/root/containers").mode == 0o710
        assert archive.getmember("docker/root/devicemapper/metadata").mode == 0o700


def test_logs_mounts_and_loop_files_stay_out(run_module, tools, dest, records):
    (container, *_others) = (records / "containers").iterdir()
    for name in ("x-json.log", "x-json.log.1", "container.log", "mounts/shm/file", "checkpoints/x"):
        (container / name).parent.mkdir(parents=True, exist_ok=True)
        (container / name).write_text("large")
    os.mkfifo(container / "pipe")
    for name in ("devicemapper/mnt/x/rootfs/file", "image/devicemapper/layerdb/tmp/write-set-1/diff", "overlay2/x"):
        (records / name).parent.mkdir(parents=True)
        (records / name).write_text("large")
    back_up(run_module, dest)
    with tarfile.open(dest / "docker-thinpool.tar.gz") as archive:
        names = archive.getnames()
    assert not [name for name in names if "large" in name or name.endswith((".log", ".log.1", "/pipe"))]
    assert not [name for name in names if "/mnt" in name or "/tmp" in name or "shm" in name or "overlay2" in name]


def test_check_mode_foretells_and_does_nothing(run_module, tools, dest):
    planned = back_up(run_module, dest, check=True)
    assert not dest.exists()
    assert not [words for words in tools.ran if "message" in words or "vgcfgbackup" in words]
    assert planned["actions"] == back_up(run_module, dest)["actions"]
    assert planned["changed"]


def test_a_diff_tells_which_state_was_saved_before(run_module, tools, dest):
    assert back_up(run_module, dest)["diff"]["before"]["transaction_id"] is None
    again = back_up(run_module, dest)
    assert again["diff"]["before"] == again["diff"]["after"]
    assert again["diff"]["after"]["transaction_id"] == 8


def test_records_that_changed_meanwhile_are_copied_again(run_module, tools, dest, tmp_path):
    # Held, then after the records: a transaction went by. The second time none does.
    tools.transactions = [8, 9]
    assert back_up(run_module, dest)["changed"]
    assert tools.ran.count(TAKE) == tools.ran.count(RELEASE) == 2
    assert unpacked(dest, tmp_path / "out")["pool"]["transaction_id"] == 8


def test_a_dump_of_another_transaction_is_made_again(run_module, tools, dest, captured):
    tools.dumps = [captured("three_containers.xml").replace('transaction="8"', 'transaction="7"')]
    assert back_up(run_module, dest)["changed"]
    assert tools.ran.count(TAKE) == tools.ran.count(RELEASE) == 2


def test_records_that_vanish_meanwhile_are_looked_for_again(run_module, tools, dest, records, monkeypatch):
    copy, seen = backup._copy, []

    def vanishing(path: str, to: str) -> None:
        if not seen:
            seen.append(path)
            os.unlink(path)
        copy(path, to)

    monkeypatch.setattr(backup, "_copy", vanishing)
    assert back_up(run_module, dest)["changed"]
    assert tools.ran.count(TAKE) == 2


def test_a_pool_that_never_rests_is_refused(run_module, tools, dest):
    tools.transactions = [number for attempt in range(backup.ATTEMPTS) for number in (8, 9)]
    result = back_up(run_module, dest)
    assert "Docker kept making and removing containers or images in thin pool docker/thinpool" in result["msg"]
    assert list(dest.iterdir()) == []
    assert not tools.is_held


@pytest.mark.parametrize("program", ["vgcfgbackup", "thin_dump -m", "thin_restore", "thin_check"])
def test_a_backup_that_fails_leaves_the_one_before(run_module, tools, dest, program):
    back_up(run_module, dest)
    before = (dest / "docker-thinpool.tar.gz").read_bytes()
    tools.fails = program
    result = back_up(run_module, dest)
    assert result["failed"]
    assert program in result["msg"]
    assert [path.name for path in dest.iterdir()] == ["docker-thinpool.tar.gz"]
    assert (dest / "docker-thinpool.tar.gz").read_bytes() == before
    assert not tools.is_held


def test_a_full_disk_is_told(run_module, tools, dest, monkeypatch):
    def full(*_arguments) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x")

    monkeypatch.setattr(backup, "_write", full)
    assert back_up(run_module, dest)["msg"] == "/x: No space left on device; none was made"
    assert list(dest.iterdir()) == []


def test_what_a_killed_run_left_is_removed(run_module, tools, dest):
    (dest / ".docker-thinpool.new" / "thin").mkdir(parents=True)
    (dest / ".docker-thinpool.new" / "thin" / "old").write_text("x")
    assert back_up(run_module, dest)["changed"]
    assert [path.name for path in dest.iterdir()] == ["docker-thinpool.tar.gz"]


def test_an_archive_that_cannot_be_read_is_replaced(run_module, tools, dest):
    dest.mkdir()
    (dest / "docker-thinpool.tar.gz").write_text("half of one")
    result = back_up(run_module, dest)
    assert result["diff"]["before"]["transaction_id"] is None
    assert tarfile.is_tarfile(dest / "docker-thinpool.tar.gz")


def test_records_of_another_pool_stay_out(run_module, tools, dest, records, tmp_path):
    path = records / "devicemapper/metadata/transaction-metadata"
    path.write_text(path.read_text().replace('"open_transaction_id":8', '"open_transaction_id":80'))
    result = back_up(run_module, dest)
    assert "Docker's records" not in " ".join(result["actions"])
    assert unpacked(dest, tmp_path / "out")["docker"] is None


def test_it_need_not_be_checked(run_module, tools, dest):
    result = back_up(run_module, dest, verify=False)
    assert "check that the dump can be restored" not in result["actions"]
    assert not [words for words in tools.ran if words.startswith(("thin_restore", "thin_check"))]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("8 2602/25600 1208/16376 - ro discard_passdown queue_if_no_space needs_check 1024", r"\(needs_check\)"),
        ("8 25600/25600 1208/16376 - ro discard_passdown queue_if_no_space - 1024", "is read-only"),
        ("Fail", "has failed"),
    ],
)
def test_a_pool_in_trouble_is_refused_in_check_mode_too(run_module, tools, dest, status, says):
    tools.free = f"{tools.free.partition('thin-pool ')[0]}thin-pool {status}\n"
    for check in (True, False):
        message = back_up(run_module, dest, check=check)["msg"]
        assert message.endswith("A backup that was made before is as it was")
        assert re.search(says, message)
    assert not dest.exists()


def test_a_full_pool_can_be_saved(run_module, tools, dest):
    tools.free = tools.free.replace(" rw ", " out_of_data_space ")
    tools.held = tools.held.replace(" rw ", " out_of_data_space ")
    assert back_up(run_module, dest)["changed"]


def test_what_is_no_dump_is_told(run_module, tools, dest):
    tools.dumps = ["<nothing/>\n"]
    assert "does not begin as a dump does: '<nothing/>" in back_up(run_module, dest)["msg"]


@pytest.fixture
def containerd(dest, tmp_path, monkeypatch) -> list[Path]:
    """Give the pool to containerd, not to Docker; return its databases and its configuration."""
    (tmp_path / "daemon.json").write_text("{}")
    monkeypatch.setattr(dockerd, "read_unit", lambda *_service: {"ExecStart": ""})
    folder, objects = tmp_path / "devmapper", tmp_path / "root/io.containerd.metadata.v1.bolt/meta.db"
    files = [folder / "docker-thinpool.db", folder / "metadata.db", objects, tmp_path / "config.toml"]
    for file, name in zip(files, ("metadata.db", "metadata.db", "meta.db")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.decompress((CONTAINERD_RECORDS / f"{name}.gz").read_bytes()))
    files[3].write_text(
        f'version = 2\nroot = "{tmp_path}/root"\n[plugins."io.containerd.snapshotter.v1.devmapper"]\n'
        f'pool_name = "docker-thinpool"\nroot_path = "{folder}"\n'
    )
    folder.chmod(0o700)
    return files


def test_containerds_databases_are_in_the_archive(run_module, tools, dest, containerd, tmp_path):
    result = back_up(run_module, dest)
    assert f"save containerd's records of the pool in {tmp_path}/devmapper" in result["actions"]
    assert "Docker's records" not in " ".join(result["actions"])
    manifest = unpacked(dest, tmp_path / "out")
    assert (manifest["docker"], manifest["containerd"]) == (None, {"folder": f"{tmp_path}/devmapper"})
    for file in containerd:
        assert (tmp_path / f"out/containerd{file}").read_bytes() == file.read_bytes()
    with tarfile.open(dest / "docker-thinpool.tar.gz") as archive:
        assert archive.getmember(f"containerd{tmp_path}/devmapper").mode == 0o700


def test_databases_that_were_written_to_meanwhile_are_copied_again(
    run_module, tools, dest, containerd, tmp_path, monkeypatch
):
    commits = iter([1, 1, 1, 1, 2, 1])
    last_commit = bbolt.last_commit
    monkeypatch.setattr(bbolt, "last_commit", lambda path: next(commits, 0) or last_commit(path))
    assert back_up(run_module, dest)["changed"]
    assert tools.ran.count(TAKE) == tools.ran.count(RELEASE) == 2


def test_databases_that_never_rest_are_refused(run_module, tools, dest, containerd, monkeypatch):
    commits = iter(range(1000))
    monkeypatch.setattr(bbolt, "last_commit", lambda _path: next(commits))
    message = back_up(run_module, dest)["msg"]
    assert message.startswith("containerd kept making and removing containers or images in thin pool docker/thinpool")


def test_databases_of_another_pool_stay_out(run_module, tools, dest, containerd, tmp_path):
    containerd[3].write_text(containerd[3].read_text().replace("docker-thinpool", "another"))
    result = back_up(run_module, dest)
    assert "containerd's records" not in " ".join(result["actions"])
    assert unpacked(dest, tmp_path / "out")["containerd"] is None


def test_dockers_pool_is_saved_whatever_containerds_configuration_is(run_module, tools, dest, tmp_path):
    (tmp_path / "config.toml").write_text("not TOML")
    assert back_up(run_module, dest)["changed"]
    assert unpacked(dest, tmp_path / "out")["docker"]


def test_dockers_containers_on_containerds_store_are_in_the_archive(
    run_module, tools, dest, containerd, records, tmp_path
):
    (container, *others) = sorted((records / "containers").iterdir())
    for other in others:
        shutil.rmtree(other)
    path = container / "config.v2.json"
    path.write_text(path.read_text().replace('"Driver":"devicemapper"', '"Driver":"devmapper"'))
    (tmp_path / "daemon.json").write_text(
        json.dumps(
            {
                "data-root": str(records),
                "storage-driver": "devmapper",
                "features": {"containerd-snapshotter": True},
            }
        )
    )
    back_up(run_module, dest)
    unpacked(dest, tmp_path / "out")
    assert (tmp_path / f"out/containerd{path}").read_text() == path.read_text()


def test_a_folder_that_others_may_write_to_is_refused(run_module, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for dest in (shared, shared / "backups"):
        result = back_up(run_module, dest)
        assert result["msg"].startswith(f"dest: {shared} may be written to by everybody, who could put")
    assert os.listdir(shared) == []


def test_a_full_disk_leaves_the_backup_that_was_there(run_module, tools, dest, monkeypatch):
    """Not half of the new one under its name."""
    back_up(run_module, dest)
    archive = dest / "docker-thinpool.tar.gz"
    before = archive.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x")

    monkeypatch.setattr(files.os, "fsync", full)
    result = back_up(run_module, dest)
    assert "No space left on device" in result["msg"]
    assert archive.read_bytes() == before
    assert os.listdir(dest) == [archive.name]
