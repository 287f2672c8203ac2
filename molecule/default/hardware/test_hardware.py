# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine that boots as hardware does adds: the release's kernel, LVM in the initramfs, virtio disks."""

from __future__ import annotations

import seen


def test_kernel_is_the_releases_own_and_the_disk_is_virtios(host):
    assert seen.root(host, "uname -r").startswith("6.1.")
    assert seen.root(host, "readlink -f /dev/disk/by-id/virtio-data1").startswith("/dev/vd")


def test_lvm_looks_for_groups_before_the_root_filesystem_is_mounted(host):
    names = seen.root(host, "lsinitramfs /boot/initrd.img-$(uname -r)").split()
    assert {"usr/sbin/lvm", "usr/lib/udev/rules.d/69-lvm.rules"} <= set(names)
