# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What thin_pool_plan reads of a host on which the pool is containerd's."""

from __future__ import annotations

import os

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_daemon
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import Size
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import gather_containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.containerd_plan import ContainerdSpec

SPEC = ContainerdSpec(
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
    settings=SnapshotterSettings(pool_name="docker-thinpool"),
    packages=("containerd",),
)


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Have containerd with a configuration of two files, and nothing else of what is asked for."""
    (tmp_path / "conf.d").mkdir()
    dropped_in = tmp_path / "conf.d" / "pool.toml"
    dropped_in.write_text("version = 2\n", encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(f'version = 2\nroot = "{tmp_path}/root"\nimports = ["{dropped_in}"]\n', encoding="utf-8")
    monkeypatch.setattr(process, "find", lambda program: None)
    monkeypatch.setattr(
        containerd_daemon, "read", lambda _layout: Containerd(path="/usr/bin/containerd", config=str(path))
    )
    return path, dropped_in


@pytest.mark.parametrize(("main", "dropped_in"), [(1000, 2000), (2000, 1000)])
def test_the_newest_file_tells_when_the_configuration_was_written(config, main, dropped_in):
    for path, time in zip(config, (main, dropped_in)):
        os.utime(path, (time, time))
    host = gather_containerd.read([], SPEC, family="")
    assert host.configured_at == 2000
    assert host.now > 2000


def test_without_a_configuration_nobody_knows_when_it_was_written(config):
    for path in config:
        path.unlink()
    assert gather_containerd.read([], SPEC, family="").configured_at is None


def test_docker_is_looked_at_only_where_it_is_on_containerds_images(config, monkeypatch):
    monkeypatch.setattr(gather_containerd.dockerd, "read", None)
    host = gather_containerd.read([], SPEC, family="")
    assert not host.docker.installed
