# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watching of pools reads of a host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import snapshots
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_layers
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_layers import DockerPlace
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, pool_status, profiles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import collect, pool_health

POOL = PoolName("docker", "thinpool")

PLACE = snapshots.SnapshotterPlace("/var/lib/containerd", "/var/lib/containerd/devmapper", "docker-thinpool")


@pytest.fixture
def host(monkeypatch, report, captured):
    """Have a pool without a profile, and beside it a profile with the pool's name, which asks for these thresholds."""

    def give(**thresholds):
        lvm = report("pool_in_use_by_docker")
        volume = replace(lvm.volume(*POOL), profile="")
        monkeypatch.setattr(process, "find", lambda program: program)
        monkeypatch.setattr(lvm_state, "read", lambda: lvm.with_volume(volume))
        monkeypatch.setattr(pool_status, "read", lambda: pool_status.parse(captured("pool_in_use_by_docker.status")))
        monkeypatch.setattr(
            profiles, "policy", lambda name: Policy(thresholds.get(name.replace("-", "_"), 100), 20, name != "gone")
        )
        return collect.look()

    return give


@pytest.mark.parametrize(
    ("threshold", "offered"),
    [
        pytest.param(80, {POOL: Policy(80, 20)}, id="extends"),
        pytest.param(99, {POOL: Policy(99, 20)}, id="extends-late"),
        pytest.param(100, {}, id="extends-nothing"),
    ],
)
def test_a_profile_is_offered_as_a_repair_where_it_would_extend(host, threshold, offered):
    assert host(docker_thinpool=threshold).own == offered


def test_no_profile_is_offered_to_a_pool_that_is_extended_without(host):
    assert host(**{"": 80, "docker_thinpool": 70}).own == {}


def test_pools_are_read_with_what_the_kernel_says_of_them(host):
    found = host()
    assert [pool.pool_name for pool in found.pools] == [POOL]
    assert found.pools[0].status == found.statuses["docker-thinpool"]


def test_a_host_without_lvm_has_no_pools(monkeypatch):
    monkeypatch.setattr(process, "find", lambda program: None)
    found = collect.look()
    assert (found.lvm, found.pools, found.statuses) == (LvmState(), [], {})


def test_devices_of_the_device_mapper_are_named_without_a_process(monkeypatch, tmp_path):
    (tmp_path / "253:2" / "dm").mkdir(parents=True)
    (tmp_path / "253:2" / "dm" / "name").write_text("docker-thinpool\n", encoding="utf-8")
    (tmp_path / "8:0").mkdir()
    monkeypatch.setattr(collect, "DEVICES", str(tmp_path))
    assert collect.device_names() == {"253:2": "docker-thinpool"}


def test_the_groups_profile_counts_where_the_pool_has_none(monkeypatch, report, captured):
    lvm = report("pool_in_use_by_docker")
    lvm = lvm.with_volume(replace(lvm.volume(*POOL), profile="")).with_group(
        replace(lvm.group("docker"), profile="of-the-group")
    )
    monkeypatch.setattr(profiles, "policy", lambda name: Policy(70 if name == "of-the-group" else 100, 20))
    (pool,) = pool_health.pools(lvm, [lvm.volume(*POOL)], {})
    assert (pool.profile, pool.policy.threshold) == ("of-the-group", 70)


def test_of_groups_with_one_name_one_pool_is_told_of(monkeypatch, report):
    lvm = report("pool_in_use_by_docker")
    monkeypatch.setattr(profiles, "policy", lambda name: Policy(80, 20))
    group, volume = lvm.group("docker"), lvm.volume(*POOL)
    twins = replace(
        lvm,
        groups=(replace(group, uuid="other"), group),
        volumes=(replace(volume, vg_uuid="other", uuid="of-the-other", active=False), *lvm.volumes),
    )
    (pool,) = pool_health.pools(twins, [one for one in twins.volumes if one.is_pool], {})
    assert (pool.volume.active, [obstacle.kind for obstacle in pool.obstacles]) == (True, ["name_twice"])


@pytest.mark.parametrize(
    ("docker", "containerd", "transaction", "expected"),
    [
        pytest.param(DockerPlace("/r", "docker-thinpool"), None, None, "docker", id="as-daemon-json-says"),
        pytest.param(DockerPlace("/r"), PLACE, None, "containerd", id="as-containerd-says"),
        pytest.param(DockerPlace("/r"), None, 7, "docker", id="dockers-own"),
        pytest.param(DockerPlace("/r"), None, None, None, id="docker-without-a-pool"),
        pytest.param(DockerPlace("/r", "docker-other"), None, 7, None, id="docker-has-another"),
        pytest.param(RefusedError("daemon.json is no JSON"), PLACE, None, "containerd", id="a-broken-daemon-json"),
        pytest.param(RefusedError("no"), process.ProcessError("no", ["x"]), None, None, id="neither-answers"),
    ],
)
def test_whose_a_pool_is_is_what_the_engines_are_configured_to(monkeypatch, docker, containerd, transaction, expected):
    def answer(found):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(docker_layers, "find", lambda: answer(docker))
    monkeypatch.setattr(docker_layers, "transaction_id", lambda _root: transaction)
    monkeypatch.setattr(snapshots, "find", lambda: answer(containerd))
    assert collect.find_engines(["docker-thinpool"]).get("docker-thinpool") == expected
