# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person reads of Docker's storage."""

from __future__ import annotations

import re

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import docker_report
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.docker_checks import ExpectedStorage
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Docker, Info
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.inspection import Inspection, Node

GIB = 1024**3
WANTED = ExpectedStorage("docker", "thinpool")


def test_a_pool_on_two_volumes_is_drawn_once():
    pool = Node(
        "docker-thinpool", "/dev/dm-2", "lvm", 8 * GIB, False, (Node("docker-1", "/dev/dm-3", "dm", GIB, False),)
    )
    parts = tuple(
        Node(f"docker-thinpool_{part}", f"/dev/{part}", "lvm", GIB, False, (pool,)) for part in ("tmeta", "tdata")
    )
    tree = docker_report.tree(Inspection(disks=(Node("vdb", "/dev/vdb", "disk", 10 * GIB, False, parts),)), WANTED)
    assert [re.sub(r" +[\d.]+ GiB.*", "", line) for line in tree] == [
        "vdb",
        "├─docker-thinpool_tmeta",
        "│ └─docker-thinpool",
        "│   └─docker-1",
        "└─docker-thinpool_tdata",
        "  └─docker-thinpool",
    ]


def test_without_a_pool_all_disks_are_drawn_after_what_went_wrong():
    seen = Inspection(disks=(Node("vda", "/dev/vda", "disk", GIB, False),), problem="lsblk had not ended")
    assert docker_report.tree(seen, WANTED) == ["lsblk had not ended", "vda    1.00 GiB  disk"]


def test_lines_are_there_for_each_part_and_docker_is_told_as_far_as_it_says():
    info = Info("devicemapper", {"Pool Name": "docker-thinpool", "Data Space Used": "1GB", "Data Space Total": "9GB"})
    found = docker_report.lines(Inspection(docker=Docker(path="/usr/bin/dockerd", active=True, info=info)), WANTED)
    assert sorted(found) == ["advice", "checks", "docker", "tree"]
    assert found["docker"][1] == "Data Space Used: 1GB of 9GB"
    assert docker_report.lines(Inspection(), WANTED)["docker"] == []
