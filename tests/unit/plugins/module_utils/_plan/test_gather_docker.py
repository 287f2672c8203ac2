# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What thin_pool_plan reads of a host on which the pool is Docker's, or nobody's."""

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import gather_docker

OPTIONS = {
    "state": "present",
    "engine": "docker",
    "managed_by": "collection",
    "devices": [],
    "vg": "docker",
    "pool": "thinpool",
    "data_size": "80%VG",
    "metadata_size": "1%VG",
    "chunk_size": "512K",
    "zero": False,
    "autoextend_threshold": 80,
    "autoextend_percent": 20,
    "autoextend_room": "warn",
    "wipe_signatures": False,
    "destroy_contents": False,
    "resize_devices": False,
    "reserve": None,
    "docker_packages": ["docker.io"],
    "storage_opts": [],
    "daemon_options": {"debug": True},
    "existing_data": "refuse",
    "loop_data_size": "100g",
    "loop_metadata_size": "2g",
    "stop_containers": False,
}


def test_the_spec_is_what_the_options_say():
    spec = gather_docker.spec_of(OPTIONS)
    assert (spec.pool_name, spec.docker_packages) == (("docker", "thinpool"), ("docker.io",))
    assert (spec.daemon_options, spec.existing_data) == ({"debug": True}, "refuse")


def test_docker_cannot_make_a_pool_that_is_for_nobody():
    with pytest.raises(RefusedError, match="managed_by: docker is a way of Docker's"):
        gather_docker.spec_of({**OPTIONS, "managed_by": "docker", "engine": "none"})


def test_a_pool_on_files_has_no_devices():
    options = {**OPTIONS, "managed_by": "loop", "devices": ["/dev/vdb"]}
    assert gather_docker.names_of(options, gather_docker.spec_of(options)) == []


def test_a_pool_without_a_device_is_refused_before_the_host_is_read(monkeypatch):
    monkeypatch.setattr(gather_docker, "read", None)
    with pytest.raises(RefusedError, match="devices is empty"):
        gather_docker.result(OPTIONS, lambda text: None)
