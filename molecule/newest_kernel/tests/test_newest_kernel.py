# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine that boots as hardware does adds: here the newest kernel, an initramfs and virtio disks."""

from __future__ import annotations

import re

import seen

POOL = "containerd-thinpool"


def run(host, name: str, command: str) -> str:
    return seen.root(host, f"{seen.CTR_RUN} {seen.BUSYBOX} {name} /bin/sh -c '{command}'")


def test_kernel_is_the_releases_own_and_the_disk_is_virtios(host):
    assert re.match(r"7\.\d+\.\d+\+deb14-cloud-amd64$", seen.root(host, "uname -r").strip())
    assert seen.root(host, "readlink -f /dev/disk/by-id/virtio-data1").startswith("/dev/vd")


def test_container_runs_on_the_pool(host):
    seen.assert_pool_is_kept_alive(host, POOL)
    seen.root(host, seen.IMPORT_ARCHIVE)
    assert run(host, "first", "echo kept > /kept; cat /kept") == "kept\n"


def test_reboot_by_way_of_an_initramfs_brings_it_back(host):
    seen.reboot(host)
    assert "(initrd)" in seen.root(host, "systemd-analyze time")
    seen.assert_pool_is_kept_alive(host, POOL)
    assert seen.kept_in_snapshot(host, "first") == "kept\n"
    assert run(host, "second", "echo it runs again") == "it runs again\n"
