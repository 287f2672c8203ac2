# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is needed to rebuild a pool: which files that is, and what a dump says."""

from __future__ import annotations

import tarfile
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import backup
from ansible_collections.devicemapper.containers.plugins.module_utils._contents.backup import Archive, BackupSpec
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

HEAD = '<superblock uuid="" time="3" transaction="7" version="2" data_block_size="1024" nr_data_blocks="0">\n'


@pytest.fixture
def spec(report, tmp_path):
    lvm = report("pool_in_use_by_docker")
    return BackupSpec(lvm.group("docker"), lvm.volume("docker", "thinpool"), str(tmp_path / "backups"))


def test_the_archive_is_named_after_the_pools_device(spec, tmp_path):
    assert spec.path == f"{tmp_path}/backups/docker-thinpool.tar.gz"
    assert spec.scratch == f"{tmp_path}/backups/.docker-thinpool.new"


def test_a_dump_gets_the_number_of_chunks_that_the_kernel_leaves_out():
    assert backup.transaction_of(HEAD) == 7
    assert backup.with_chunks(HEAD, 1234) == HEAD.replace('nr_data_blocks="0"', 'nr_data_blocks="1234"')


@pytest.mark.parametrize("head", ["", "<superblock>", "thin_dump: no such file"])
def test_what_is_no_dump_is_refused(head):
    with pytest.raises(RefusedError, match="does not begin as a dump does"):
        backup.transaction_of(head)


def test_logs_mounts_and_layers_to_be_are_left_out(tmp_path):
    for name in ("config.json", "a-json.log", "a-json.log.1", "b.log.gz", "mounts/shm", "tmp/layer", "deep/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("config.json")

    def found(into, without=""):
        paths = backup._files(str(tmp_path), into=into, without=without)
        return [path[len(str(tmp_path)) + 1 :] for path in paths]

    assert found(into=False) == ["config.json"]
    assert found(into=True, without="tmp") == ["config.json", "deep/file", "mounts/shm"]
    assert backup._files(str(tmp_path / "absent"), into=True) == []


def test_a_copy_has_mode_and_time_of_what_it_was_made_of(tmp_path):
    source, copy = tmp_path / "source", tmp_path / "deep" / "copy"
    source.write_text("secret", encoding="utf-8")
    source.chmod(0o600)
    backup._copy(str(source), str(copy))
    assert copy.read_text(encoding="utf-8") == "secret"
    assert copy.stat().st_mode == source.stat().st_mode
    assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns


def test_an_archive_that_cannot_be_read_has_no_manifest(tmp_path):
    assert backup.old_manifest(str(tmp_path / "absent.tar.gz")) == {}
    (tmp_path / "text.tar.gz").write_text("no archive", encoding="utf-8")
    assert backup.old_manifest(str(tmp_path / "text.tar.gz")) == {}
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    assert backup.old_manifest(str(tmp_path / "empty.tar.gz")) == {}


def test_a_backup_that_cannot_be_written_says_whether_there_is_an_older_one(spec, tmp_path):
    (tmp_path / "backups").write_text("a file", encoding="utf-8")
    with pytest.raises(RefusedError, match="none was made"), backup.scratch(spec):
        pytest.fail("there is no folder to gather in")


def test_what_is_gathered_is_gone_whatever_happens(spec, tmp_path):
    def fill():
        with backup.scratch(spec):
            (tmp_path / "backups" / ".docker-thinpool.new" / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert list((tmp_path / "backups").iterdir()) == []


def test_steps_are_those_of_what_there_is(spec):
    assert [step.action for step in Archive(spec).steps()] == [
        "save the metadata of volume group docker",
        "dump the metadata of thin pool docker/thinpool",
        "check that the dump can be restored",
        f"write {spec.path}",
    ]
    bare = replace(spec, verify=False, daemon_path="/etc/docker/daemon.json", profile_path="/etc/lvm/profile/x.profile")
    found = Archive(bare).steps()
    assert found[1].action == "save /etc/lvm/profile/x.profile, /etc/docker/daemon.json"
    assert [bool(step.work) for step in found] == [False, False, True, True]
