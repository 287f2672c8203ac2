# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup made while a container writes, and the way back by the guide's commands after what describes it is gone."""

from __future__ import annotations

import json
import tarfile

import pytest
import seen
from test_containerd import DISK, FOLDER, POOL, ROLE, run, state

OBJECTS = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"


@pytest.fixture(scope="module")
def fetched(host, tmp_path_factory):
    """Return the archive on this machine, made while containers come and go, and another one writes."""
    run(
        host,
        "saved",
        "echo kept > /kept; busybox sync; while busybox date >> /dates; do busybox sleep 1; done",
        "--detach",
    )
    script = f"i=0; while {seen.CTR_RUN} --rm {seen.BUSYBOX} busy$i /bin/sh -c true; do i=$((i+1)); sleep 10; done"
    seen.root(host, f"systemd-run --quiet --unit=busy sh -c '{script}'")
    folder = tmp_path_factory.mktemp("backups")
    variables = f"--extra-vars={json.dumps({'backup_dest': str(folder), 'backup_vg': 'containerd'})}"
    try:
        status, output = seen.run_playbook("devicemapper.containers.backup", variables)
    finally:
        seen.root(host, "systemctl stop busy")
    assert status == 0, output
    (archive,) = folder.glob("*/containerd-thinpool.tar.gz")
    return archive


def test_the_databases_are_in_the_backup(host, fetched):
    with tarfile.open(fetched) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        names = {member.name for member in archive if not member.isdir()}
    assert manifest["containerd"] == {"folder": FOLDER}
    assert manifest["versions"]["containerd"]
    databases = {f"containerd{path}" for path in (f"{FOLDER}/{POOL}.db", f"{FOLDER}/metadata.db", OBJECTS)}
    assert databases | {"containerd/etc/containerd/config.toml", "thin/containerd-thinpool.xml"} < names
    assert seen.root(host, f"dmsetup status {POOL}").split()[6] == "-"


def test_it_is_restored_by_the_guide(host, fetched):
    seen.root(host, "ctr tasks delete --force saved; systemctl stop containerd")
    seen.root(host, seen.REMOVE_THIN_DEVICES)
    seen.root(host, "lvchange --activate n containerd/thinpool")
    place = "lvs --all --noheadings --options seg_pe_ranges containerd/thinpool_tmeta"
    first = int(seen.root(host, place).strip().rpartition(":")[2].partition("-")[0])
    start = int(seen.root(host, f"pvs --noheadings --units b --nosuffix --options pe_start {DISK}"))
    at = start // seen.MIB + 4 * first
    seen.root(host, f"dd if=/dev/urandom of={DISK} bs=1M seek={at} count=90 conv=fsync status=none")
    seen.root(host, f"rm {FOLDER}/*.db {OBJECTS}")
    with host.sudo():
        assert host.run("lvchange --activate y containerd/thinpool").rc != 0
    seen.copy_to(fetched, "/root/containerd-thinpool.tar.gz")
    assert "saved" in seen.follow(host, "guides/backup.md", "containerd")
    assert state(host) == "ok"
    assert (seen.kept_in_snapshot(host, "saved"), seen.kept_in_snapshot(host, "mine")) == ("kept\n", "kept\n")
    assert run(host, "after", "echo it runs").splitlines()[-1] == "it runs"
    status, output = seen.run_playbook(*ROLE)
    assert status == 0, output
    seen.assert_pool_is_kept_alive(host, POOL)
    seen.follow(host, "guides/backup.md", "containerd afterwards")
    seen.root(host, "ctr containers delete saved")
