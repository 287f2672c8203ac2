# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role's packages by dnf: all that it needs, nothing else, and what dnf does not know is refused."""

from __future__ import annotations

import json

import seen

ROLE = "devicemapper.containers.direct_lvm"
DISK = "/dev/disk/by-id/virtio-data1"


def installed(host) -> set[str]:
    return set(seen.root(host, "rpm --query --all --queryformat '%{NAME} '").split())


def run(**variables) -> tuple[int, str]:
    return seen.run_playbook(ROLE, f"--extra-vars={json.dumps({'direct_lvm_devices': [DISK], **variables})}")


def test_dnf_has_installed_what_the_role_needs(host):
    needed = {"lvm2", "device-mapper-persistent-data", "device-mapper-event", "docker-ce"}
    assert installed(host) == needed


def test_docker_runs_on_the_pool(host):
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_a_package_that_dnf_does_not_know_is_refused_before_a_disk_is_touched(host):
    status, output = seen.run_playbook("devicemapper.containers.reset")
    assert status == 0, output
    seen.root(host, "dnf --assumeyes remove docker-ce lvm2")
    before = installed(host)
    status, output = run(direct_lvm_docker_packages=["docker-cee"])
    assert status != 0
    assert "The host's package lists do not know docker-cee" in output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert installed(host) - before <= {"lvm2"}


def test_a_docker_without_the_driver_is_refused_before_a_disk_is_touched(host):
    seen.root(
        host,
        "sed -e 's/24.0.9/25.0.5/' /srv/docker-ce.spec > /srv/docker-25.spec && "
        "rpmbuild -bb --define '_rpmdir /srv/repository' /srv/docker-25.spec && createrepo_c /srv/repository && "
        "dnf clean metadata",
    )
    status, output = run(direct_lvm_docker_packages=["docker-ce"])
    assert status != 0
    assert "docker-ce (25.0.5" in output
    assert "no devicemapper driver" in output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    # The same with the version that has it.
    status, output = run(direct_lvm_docker_packages=["docker-ce-24.0.9"])
    assert status == 0, output
    assert seen.docker_info(host)["Driver"] == "devicemapper"
