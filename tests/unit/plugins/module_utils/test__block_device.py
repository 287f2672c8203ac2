# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils import _block_device
from ansible_collections.devicemapper.containers.plugins.module_utils._block_device import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import Refused

EXT4 = Signature("ext4", 0x438)
MEMBER = Signature("LVM2_member", 0x218)


# Lines of wipefs --parsable, util-linux 2.38.1.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", (), id="blank"),
        pytest.param("# offset,uuid,label,type\n", (), id="header-alone"),
        pytest.param("0x438,e108da58-514d-45ba-987f-20f9f46c706f,,ext4\n", (EXT4,), id="filesystem"),
        pytest.param(
            "# offset,uuid,label,type\n0x200,,,gpt\n0x1fffe00,,,gpt\n0x1fe,,,PMBR\n",
            (Signature("gpt", 0x200), Signature("gpt", 0x1FFFE00), Signature("PMBR", 0x1FE)),
            id="partition-table",
        ),
        pytest.param("0x218,FPNoUo-37lz,,LVM2_member\n", (MEMBER,), id="physical-volume"),
    ],
)
def test_signatures_are_read(text, expected):
    assert _block_device.signatures(text) == expected


def test_a_signature_is_written_with_its_place():
    assert str(EXT4) == "ext4 at 0x438"


def test_probing_only_reads(commands):
    commands.expect("wipefs --no-act --parsable /dev/vdb", "0x438,e108da58-514d-45ba-987f-20f9f46c706f,,ext4\n")
    assert _block_device.probe("/dev/vdb") == (EXT4,)


@pytest.mark.parametrize(
    ("device", "wipe", "reasons"),
    [
        pytest.param(BlockDevice("/dev/vdb", "/dev/vdb"), False, [], id="blank"),
        pytest.param(
            BlockDevice("/dev/vdb", "/dev/vdb", signatures=(EXT4,)), True, [], id="signature-that-may-be-wiped"
        ),
        pytest.param(
            BlockDevice("/dev/vdb", "/dev/vdb", signatures=(EXT4, Signature("gpt", 512))),
            False,
            [
                "/dev/vdb is not blank: it holds ext4 at 0x438, gpt at 0x200. If nothing on it is needed, "
                "set the option that "
                "wipes signatures (wipe_signatures: true), or choose another device"
            ],
            id="signatures",
        ),
        pytest.param(
            BlockDevice("/dev/disk/by-id/x", "/dev/vdb", obstacles=("is mounted at /srv", "is read-only")),
            True,
            ["/dev/disk/by-id/x (/dev/vdb) is mounted at /srv", "/dev/disk/by-id/x (/dev/vdb) is read-only"],
            id="obstacles-are-not-overridden",
        ),
        pytest.param(
            BlockDevice("/dev/vdb", "/dev/vdb", signatures=(EXT4,), obstacles=("is mounted at /srv",)),
            True,
            ["/dev/vdb is mounted at /srv"],
            id="mounted-filesystem-that-may-be-wiped",
        ),
        pytest.param(
            BlockDevice("/dev/vdb", "/dev/vdb", signatures=(EXT4, MEMBER)),
            True,
            [
                "/dev/vdb carries the label of a physical volume that LVM does not list here (ext4 at "
                "0x438, LVM2_member at "
                "0x218): it may belong to another system or be hidden by LVM's devices file or filter; see "
                "'pvs --all' and "
                "lvmdevices(8)"
            ],
            id="a-label-is-never-wiped",
        ),
    ],
)
def test_a_device_says_every_reason_against_it(device, wipe, reasons):
    assert device.refusals(wipe_signatures=wipe) == reasons


def test_every_name_that_is_no_device_is_refused_at_once(tmp_path):
    with pytest.raises(Refused) as refusal:
        _block_device.resolve(["vdb", str(tmp_path / "absent"), "/dev/null", str(tmp_path)])
    assert str(refusal.value).splitlines() == [
        "'vdb' is not a device: write its whole path, best one under /dev/disk/by-id",
        f"{tmp_path}/absent does not exist on this host: see 'lsblk' and 'ls -l /dev/disk/by-id'",
        "/dev/null is not a block device",
        f"{tmp_path} is not a block device",
    ]


def test_several_names_of_one_device_count_once(monkeypatch, tmp_path):
    disk, name = tmp_path / "vdb", tmp_path / "by-id"
    disk.touch()
    name.symlink_to(disk)
    monkeypatch.setattr(_block_device.stat, "S_ISBLK", lambda mode: True)
    assert _block_device.resolve([str(name), str(disk)]) == {str(disk.resolve()): str(name)}
