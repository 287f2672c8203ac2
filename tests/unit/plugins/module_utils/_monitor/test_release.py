# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reserve that is given to a full pool by the timer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_reserve, pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import OWNER_TAG, LogicalVolume
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import release

FULL = PoolStatus(mode="out_of_data_space", data_used=9, data_total=9, metadata_used=1, metadata_total=9)
WELL = replace(FULL, mode="rw")
EXTENT = 4 * 1024**2
KEPT = LogicalVolume(
    vg="docker",
    name="thinpool_reserve",
    type="linear",
    size=50 * EXTENT,
    tags=(OWNER_TAG, pool_reserve.TAG),
    attributes="-wi-------",
)
REMOVE, GIVE = "lvremove --yes docker/thinpool_reserve", "lvextend --yes --extents +50 docker/thinpool"


@pytest.fixture
def host(monkeypatch, tmp_path, report):
    """Return what may be changed of a host with a full pool and its reserve, and what runs the program."""

    class Host:
        lvm = report("pool").with_volume(KEPT)
        status = FULL
        pools: tuple[str, ...] = ()

        def run(self):
            path = tmp_path / "configuration.json"
            options = {"textfile_dir": "/nowhere", "state_dir": "/nowhere", "pools": list(self.pools)}
            path.write_text(json.dumps(options), encoding="utf-8")
            return release.main(str(path))

    found = Host()
    monkeypatch.setattr(locks, "RUN", str(tmp_path / "lock"))
    monkeypatch.setattr(lvm_state, "read", lambda: found.lvm)
    monkeypatch.setattr(pool_status, "read", lambda: {"docker-thinpool": found.status})
    return found


def test_a_full_pool_gets_its_reserve(host, commands, capsys):
    commands.expect(REMOVE)
    commands.expect(GIVE)
    assert host.run() == 0
    assert capsys.readouterr().out.splitlines() == [
        "remove the reserve docker/thinpool_reserve",
        "give thin pool docker/thinpool the 200.00 MiB that was kept for it",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status": WELL}, id="not-full"),
        pytest.param({"status": replace(FULL, mode="ro")}, id="read-only"),
        pytest.param({"status": replace(FULL, needs_check=True)}, id="to-be-checked"),
        pytest.param({"pools": ("docker/other",)}, id="not-watched"),
    ],
)
def test_no_other_pool_gets_it(host, commands, changes):
    vars(host).update(changes)
    assert host.run() == 0


def test_a_full_pool_without_a_reserve_gets_nothing(host, commands):
    """What the group has free is not kept for it, and may be wanted elsewhere."""
    host.lvm = host.lvm.without(volume=("docker", "thinpool_reserve"))
    assert host.run() == 0


def test_a_pool_that_is_watched_by_name_gets_it(host, commands):
    host.pools = ("docker/thinpool",)
    commands.expect(REMOVE)
    commands.expect(GIVE)
    assert host.run() == 0


def test_a_pool_that_does_not_get_it_has_it_back_and_is_told(host, commands, capsys):
    commands.expect(REMOVE)
    commands.expect(GIVE, stderr="  Can't get lock for docker.\n", rc=5)
    commands.expect("lvcreate --yes --type linear --name thinpool_reserve --extents 50")
    assert host.run() == 1
    assert "docker/thinpool: " in capsys.readouterr().err


def test_who_changes_something_just_now_is_waited_for_until_the_next_run(host, commands, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(release, "SECONDS", 0)
    with locks.locked(str(tmp_path / "lock"), 0, create=True):
        assert host.run() == 0
    said = capsys.readouterr().out
    assert "is locked by another process" in said
    assert said.endswith("; the next run tries again\n")


def test_who_changes_something_is_not_waited_for_where_nothing_is_kept(host, commands, tmp_path, capsys):
    host.lvm = host.lvm.without(volume=("docker", "thinpool_reserve"))
    with locks.locked(str(tmp_path / "lock"), 0, create=True):
        assert host.run() == 0
    assert capsys.readouterr().out == ""
