# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._core import mounts
from ansible_collections.devicemapper.containers.plugins.module_utils._core.mounts import Mounted


def test_mountinfo_has_optional_fields_and_blanks_in_octal():
    text = (
        "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 shared:7 - ext3 /dev/x\\134y rw\n"
        "37 35 0:3 / /proc rw - proc proc rw\n"
        "half a line\n"
    )
    assert mounts.parse(text) == [
        Mounted("98:0", "/mnt/a b", "ext3", "/dev/x\\y", ("rw", "noatime")),
        Mounted("0:3", "/proc", "proc", "proc", ("rw",)),
    ]


def test_a_mount_that_cannot_be_written_is_told():
    (mount,) = mounts.parse("36 35 98:0 / /mnt ro,noatime - ext4 /dev/x rw\n")
    assert (mount.read_only, mount._replace(options=("rw", "errors=remount-ro")).read_only) == (True, False)
