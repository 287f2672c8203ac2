# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat
import types
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import sysfs
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import MIB
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice, Signature
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume

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
    assert block_devices.signatures(text) == expected


def test_a_signature_is_written_with_its_place():
    assert str(EXT4) == "ext4 at 0x438"


def test_probing_only_reads(commands):
    commands.expect("wipefs --no-act --parsable /dev/vdb", "0x438,e108da58-514d-45ba-987f-20f9f46c706f,,ext4\n")
    assert block_devices.probe("/dev/vdb") == (EXT4,)


def test_a_volume_without_its_node_is_refused_with_the_command_that_makes_it(commands):
    volume = LogicalVolume("docker", "thinpoolmeta", "linear", 8 * MIB, active=True)
    commands.expect("wipefs --no-act --parsable /dev/docker/thinpoolmeta", rc=1)
    with pytest.raises(
        RefusedError, match="/dev/docker/thinpoolmeta is not there, .*'lvchange --refresh docker/thinpoolm"
    ):
        block_devices.contents([volume])


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
    with pytest.raises(RefusedError) as refusal:
        block_devices.resolve(["vdb", str(tmp_path / "absent"), "/dev/null", str(tmp_path)])
    assert str(refusal.value).splitlines() == [
        "'vdb' is not a device: write its whole path, best one under /dev/disk/by-id",
        f"{tmp_path}/absent does not exist on this host: see 'lsblk' and 'ls -l /dev/disk/by-id'",
        "/dev/null is not a block device: see 'lsblk' for those of this host",
        f"{tmp_path} is not a block device: see 'lsblk' for those of this host",
    ]


def test_several_names_of_one_device_count_once(monkeypatch, tmp_path):
    disk, name = tmp_path / "vdb", tmp_path / "by-id"
    disk.touch()
    name.symlink_to(disk)
    monkeypatch.setattr(block_devices.stat, "S_ISBLK", lambda mode: True)
    assert block_devices.resolve([str(name), str(disk)]) == {str(disk.resolve()): str(name)}


def test_a_name_that_cannot_be_looked_at_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert block_devices.problem(f"{tmp_path}/loop") == (
        f"{tmp_path}/loop cannot be looked at: Too many levels of symbolic links"
    )


# A machine of which block_devices sees /dev, /sys, /proc and /run as folders of a test. Laid out as the kernel does
# (Documentation/ABI/stable/sysfs-block, proc(5)); a device's node is a file that holds its number.

VIRTIO = "sys/devices/pci0000:00/0000:00:05.0/virtio2/block"
DISK = {"size": "20971520", "ro": "0", "removable": "0", "queue/zoned": "none", "holders/": ""}
PARTITION = {"size": "2097152", "ro": "0", "partition": "1", "holders/": ""}


class Machine:
    """The machine's folders, what opening a device exclusively ends with, what devices hold and who writes to them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.errors = {}
        self.contents = {}
        self.writers = {}
        self.looks = []
        for folder in ("dev", "sys/dev/block", "sys/block", "proc", "run/udev/data"):
            (root / folder).mkdir(parents=True)
        self.put("proc", {"swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"})

    def describe(self, path: str, size: int, *, rotational: bool = False) -> str:
        """Return what a device holds, as disk_contents does."""
        self.looks.append((path, rotational))
        found = self.contents.get(path, "")
        if isinstance(found, OSError):
            raise found
        return found

    def put(self, folder: str, files: dict) -> None:
        """Write files; a name that ends with a slash is a folder."""
        for name, text in files.items():
            path = self.root / folder / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{text}\n" if text else "", encoding="utf-8")

    def device(self, name: str, number: str, files: dict, folder: str = VIRTIO) -> None:
        """Add a disk, or a partition where the folder is a disk's."""
        self.put(f"{folder}/{name}", {**files, "dev": number})
        self.put("dev", {name: number})
        self.link(f"sys/dev/block/{number}", f"{folder}/{name}")
        if "partition" not in files:
            self.link(f"sys/block/{name}", f"{folder}/{name}")

    def link(self, name: str, target: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(self.root / target, path.parent))

    def process(self, number: str, namespace: str, *mounts: str, root: str = "/") -> None:
        """Add a process with lines of its mountinfo; a namespace of "" cannot be read."""
        self.put(f"proc/{number}", {"mountinfo": "\n".join(mounts), "ns/": ""})
        if namespace:
            (self.root / "proc" / number / "ns" / "mnt").symlink_to(namespace)
        (self.root / "proc" / number / "root").symlink_to(root)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a machine with one blank disk, /dev/vdb, and one process."""
    there = Machine(tmp_path)
    there.device("vdb", "254:16", DISK)
    there.process("self", "mnt:[1]", "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw")
    there.process("1", "mnt:[1]")

    def inside(path):
        whole = str(path)
        return f"{tmp_path}{whole}" if whole.startswith(("/dev", "/sys", "/proc", "/run")) else whole

    def outside(path):
        return path[len(str(tmp_path)) :] if path.startswith(str(tmp_path)) else path

    def os_stat(path):
        major, minor = Path(inside(path)).read_text(encoding="utf-8").strip().split(":")
        return types.SimpleNamespace(st_mode=stat.S_IFBLK, st_rdev=os.makedev(int(major), int(minor)))

    def os_open(path, flags):
        assert flags == os.O_RDONLY | os.O_EXCL
        if path in there.errors:
            raise OSError(there.errors[path], os.strerror(there.errors[path]))
        return os.open(inside(path), os.O_RDONLY)

    def moved(function):
        return lambda path, *rest, **options: function(inside(path), *rest, **options)

    path = types.SimpleNamespace(
        basename=os.path.basename,
        dirname=os.path.dirname,
        exists=moved(os.path.exists),
        isdir=moved(os.path.isdir),
        realpath=lambda path: outside(os.path.realpath(inside(path))),
    )
    seen = types.SimpleNamespace(
        **{name: getattr(os, name) for name in ("O_RDONLY", "O_EXCL", "close", "major", "minor", "makedev")},
        path=path,
        listdir=moved(os.listdir),
        readlink=moved(os.readlink),
        stat=os_stat,
        open=os_open,
    )
    for reader in (block_devices, sysfs):
        monkeypatch.setattr(reader, "os", seen)
        monkeypatch.setattr(reader, "open", moved(open), raising=False)
    monkeypatch.setattr(block_devices.disk_contents, "describe", there.describe)
    monkeypatch.setattr(block_devices.open_files, "writers_of", lambda number: there.writers.get(number, []))
    return there


def test_a_disk_that_holds_what_has_no_signature_is_refused_unless_it_is_not_looked_for(machine, commands):
    machine.contents["/dev/vdb"] = "data without a known signature (seen at byte 0)"
    commands.expect("wipefs")
    found = block_devices.examine("/dev/vdb")
    for wipe in (False, True):
        (reason,) = found.refusals(wipe_signatures=wipe)
        assert reason.startswith("/dev/vdb is not blank: it holds data without a known signature (seen at byte 0)")
        assert "destroy_contents: true" in reason
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb", look=False).refusals(wipe_signatures=False) == []


def test_what_cannot_be_read_counts_as_a_no(machine, commands):
    machine.contents["/dev/vdb"] = OSError(errno.EIO, "Input/output error")
    commands.expect("wipefs")
    (reason,) = block_devices.examine("/dev/vdb").refusals(wipe_signatures=True)
    assert reason == "/dev/vdb cannot be read: Input/output error"


def test_a_disk_with_a_signature_is_not_read_as_well(machine, commands):
    machine.contents["/dev/vdb"] = "something"
    commands.expect("wipefs", "0x438,uuid,,ext4\n")
    assert block_devices.examine("/dev/vdb").contents is None


@pytest.mark.parametrize(
    ("name", "turns", "expected"),
    [("sda", "1", True), ("sda", "0", False), ("vda", "1", False), ("nvme0n1", "0", False)],
)
def test_a_disk_that_turns_is_known(machine, commands, name, turns, expected):
    machine.device(name, "259:0", {**DISK, "queue/rotational": turns}, folder="sys/devices/virtual/block")
    commands.expect("wipefs")
    block_devices.examine(f"/dev/{name}")
    assert machine.looks == [(f"/dev/{name}", expected)]


@pytest.mark.parametrize("name", ["/dev/vdb", "/dev/vdb1"])
@pytest.mark.parametrize("number", ["254:16", "254:17"])
def test_who_writes_to_a_disk_without_asking_for_it_is_told(machine, commands, name, number):
    machine.device("vdb1", "254:17", PARTITION, folder=f"{VIRTIO}/vdb")
    major, minor = map(int, number.split(":"))
    machine.writers[os.makedev(major, minor)] = ["qemu-system-x86 (process 4711)"]
    commands.expect("wipefs")
    reason = "is open for writing by qemu-system-x86 (process 4711): end that first"
    # The disk is written to through its partition only where that is told of as well.
    expected = reason in block_devices.examine(name).obstacles
    assert expected is (name == "/dev/vdb1" or number == "254:16")


def test_a_disk_that_is_gone_while_it_is_held_is_told_so(machine, commands, tmp_path, monkeypatch):
    node = tmp_path / "node"
    node.touch()
    monkeypatch.setattr(block_devices, "_whole_disk", lambda path: str(node))

    def gone(name, **_options):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(block_devices, "examine", gone)
    with pytest.raises(RefusedError, match=r"\(/dev/vdb\) is gone since it was looked at: No such file"), VDB.locked(0):
        pytest.fail("it is not there")


def test_a_blank_disk_is_examined(machine, commands):
    machine.link("dev/disk/by-id/virtio-data", "dev/vdb")
    commands.expect("wipefs --no-act --parsable /dev/vdb")
    assert block_devices.examine("/dev/disk/by-id/virtio-data") == BlockDevice(
        "/dev/disk/by-id/virtio-data", "/dev/vdb", size=10 * 1024**3
    )


def test_a_full_partition_is_examined(machine, commands):
    machine.device("vdb1", "254:17", PARTITION, folder=f"{VIRTIO}/vdb")
    commands.expect("wipefs --no-act --parsable /dev/vdb1", "0x438,uuid,,ext4\n")
    assert block_devices.examine("/dev/vdb1") == BlockDevice(
        "/dev/vdb1", "/dev/vdb1", size=1024**3, signatures=(EXT4,), contents=None
    )


# queue/minimum_io_size and optimal_io_size in bytes, and where LVM begins its extents.
@pytest.mark.parametrize(
    ("minimum", "optimal", "expected"),
    [
        ("512", "0", 1024**2),
        ("4096", "1048576", 1024**2),
        ("524288", "3145728", 3 * 1024**2),
        ("2097152", "0", 2097152),
    ],
)
@pytest.mark.parametrize("name", ["/dev/vdb", "/dev/vdb1"])
def test_the_disk_says_where_extents_are_best_begun(machine, commands, minimum, optimal, expected, name):
    machine.put(f"{VIRTIO}/vdb/queue", {"minimum_io_size": minimum, "optimal_io_size": optimal})
    machine.device("vdb1", "254:17", PARTITION, folder=f"{VIRTIO}/vdb")
    commands.expect("wipefs")
    assert block_devices.examine(name).alignment == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"ro": "1"}, ["is read-only"], id="read-only"),
        pytest.param({"removable": "1"}, ["is removable"], id="removable"),
        pytest.param(
            {"queue/zoned": "host-managed"}, ["is a zoned disk, which LVM cannot use for a thin pool"], id="zoned"
        ),
        pytest.param(
            {"dm/uuid": "LVM-Xx-pool"},
            ["is a logical volume; a physical volume on it would be hidden from LVM (lvm.conf, devices/scan_lvs)"],
            id="logical-volume",
        ),
        pytest.param({"dm/uuid": "CRYPT-LUKS2-x"}, [], id="encrypted-disk"),
        pytest.param({"size": "4096"}, [], id="smallest"),
        pytest.param(
            {"size": "4095"}, ["is too small (2.00 MiB): LVM needs at least 2.00 MiB"], id="a-sector-too-small"
        ),
        pytest.param({"size": "0"}, ["is too small (0 B): LVM needs at least 2.00 MiB"], id="no-medium"),
        pytest.param({"holders/dm-0": ""}, ["is held by dm-0"], id="holder-without-a-name"),
        pytest.param(
            {"holders/dm-3/": "", "holders/dm-1/": ""}, ["is held by dm-1", "is held by dm-3"], id="two-holders"
        ),
        pytest.param(
            {"holders/md0/": ""},
            ["is held by md0: name /dev/md0 in its place, if that is free"],
            id="member-of-an-array",
        ),
        pytest.param(
            {"vdb1/partition": "1", "vdb2/partition": "2", "trace/enable": "0"},
            ["has partitions (vdb1, vdb2); name a partition itself if it is free"],
            id="partitions",
        ),
        pytest.param(
            {"ro": "1", "removable": "1", "size": "8"},
            ["is too small (4.00 KiB): LVM needs at least 2.00 MiB", "is read-only", "is removable"],
            id="several",
        ),
    ],
)
def test_what_sysfs_says_against_a_disk_is_told(machine, commands, files, expected):
    machine.put(f"{VIRTIO}/vdb", files)
    commands.expect("wipefs")
    assert list(block_devices.examine("/dev/vdb").obstacles) == expected


@pytest.mark.parametrize("attribute", ["ro", "size"])
def test_what_sysfs_does_not_say_is_a_reason(machine, commands, attribute):
    (machine.root / VIRTIO / "vdb" / attribute).unlink()
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles


@pytest.mark.parametrize("name", ["zram0", "ram1", "fd0", "sr0", "nbd3", "mtdblock0"])
def test_what_keeps_nothing_is_refused(machine, commands, name):
    machine.device(name, "253:0", DISK, folder="sys/devices/virtual/block")
    commands.expect("wipefs")
    assert block_devices.examine(f"/dev/{name}").obstacles == ("is not a disk that keeps what is written to it",)


@pytest.mark.parametrize("name", ["sda", "sdr1", "nvme0n1", "xvdf", "dm-0", "md0", "pmem0", "drbd0", "rbd0"])
def test_disks_of_other_kinds_are_free(machine, commands, name):
    machine.device(name, "259:0", DISK, folder="sys/devices/virtual/block")
    commands.expect("wipefs")
    assert block_devices.examine(f"/dev/{name}").obstacles == ()


def test_a_device_that_the_kernel_does_not_know_is_refused(machine, commands):
    machine.put("dev", {"stale": "8:99"})
    commands.expect("wipefs")
    assert block_devices.examine("/dev/stale").obstacles == ("is not known to the kernel (no entry in /sys/dev/block)",)


# dm/name and dm/uuid of the device that holds the disk.
@pytest.mark.parametrize(
    ("name", "uuid", "expected"),
    [
        pytest.param("mpatha", "mpath-3600a0b", ": name /dev/mapper/mpatha in its place, if that is free", id="mpath"),
        pytest.param("docker-x", "LVM-Xx", "", id="lvm"),
        pytest.param("luks", "CRYPT-LUKS2-x", "", id="luks"),
    ],
)
def test_a_holder_is_told_by_its_name(machine, commands, name, uuid, expected):
    machine.device("dm-0", "252:0", {**DISK, "dm/name": name, "dm/uuid": uuid}, folder="sys/devices/virtual/block")
    machine.put(f"{VIRTIO}/vdb", {"holders/dm-0/": ""})
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == (f"is held by dm-0 ({name}){expected}",)


# What udev keeps of a device in /run/udev/data.
@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        pytest.param("S:x\nE:DM_MULTIPATH_DEVICE_PATH=1\nE:ID_FS_TYPE=mpath_member", True, id="path"),
        pytest.param("E:DM_MULTIPATH_DEVICE_PATH=0", False, id="no-path"),
        pytest.param("E:DM_MULTIPATH_DEVICE_PATH=10", False, id="another-value"),
    ],
)
def test_one_path_of_a_multipath_device_is_refused(machine, commands, lines, refused):
    machine.put("run/udev/data", {"b254:16": lines})
    commands.expect("wipefs")
    found = block_devices.examine("/dev/vdb").obstacles
    assert found == (("is one path of a multipath device: name the multipath device under /dev/mapper",) * refused)


MOUNTS = {
    "vdb": "30 22 254:16 / /srv rw,relatime shared:2 - ext4 /dev/root rw",
    "bind": "31 22 254:16 /sub /mnt rw,relatime - ext4 /dev/vdb rw",
    "btrfs": "32 22 0:45 / /data rw - btrfs /dev/disk/by-id/virtio-data rw",
    "other": "33 22 254:160 / /other rw master:1 propagate_from:2 - xfs /dev/vdbx rw",
    "virtual": "34 22 0:5 / /tmp rw - tmpfs tmpfs rw",
}


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["other", "virtual"], [], id="others"),
        pytest.param(["other", "vdb"], ["is mounted at /srv"], id="by-its-number"),
        pytest.param(["vdb", "bind"], ["is mounted at /mnt", "is mounted at /srv"], id="twice"),
        pytest.param(["btrfs"], ["is mounted at /data"], id="by-another-name"),
    ],
)
def test_a_mounted_disk_is_refused(machine, commands, mounts, expected):
    machine.link("dev/disk/by-id/virtio-data", "dev/vdb")
    machine.put("proc/self", {"mountinfo": "\n".join(MOUNTS[name] for name in mounts)})
    commands.expect("wipefs")
    assert list(block_devices.examine("/dev/vdb").obstacles) == expected


def test_a_mount_in_another_namespace_is_found(machine, commands):
    machine.process("400", "mnt:[1]")
    machine.process("500", "mnt:[2]", MOUNTS["vdb"])
    machine.put("proc", {"bus/": "", "500x/": ""})
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == ("is mounted at /srv in the mount namespace of process 500",)


@pytest.mark.parametrize("jailed", ["499", "501"])
def test_a_mount_that_a_process_in_a_chroot_is_not_shown_is_found(machine, commands, jailed):
    machine.process(jailed, "mnt:[2]", root="/srv/jail")
    machine.process("500", "mnt:[2]", MOUNTS["vdb"])
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == ("is mounted at /srv in the mount namespace of process 500",)


def test_a_mount_of_ours_is_told_once_and_as_ours(machine, commands):
    machine.put("proc/self", {"mountinfo": MOUNTS["vdb"]})
    machine.process("500", "mnt:[2]", MOUNTS["vdb"], MOUNTS["bind"])
    machine.process("501", "mnt:[2]", MOUNTS["vdb"])
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == (
        "is mounted at /mnt in the mount namespace of process 500",
        "is mounted at /srv",
    )


def test_a_process_that_ended_meanwhile_hides_no_other(machine, commands):
    machine.process("500", "")
    machine.process("501", "mnt:[2]")
    (machine.root / "proc/501/mountinfo").unlink()
    machine.process("502", "mnt:[2]", MOUNTS["vdb"])
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == ("is mounted at /srv in the mount namespace of process 502",)


@pytest.mark.parametrize(
    ("name", "refused"), [("/dev/vdb", True), ("/dev/disk/by-id/virtio-data", True), ("/dev/vdb1", False)]
)
def test_swap_in_use_is_refused(machine, commands, name, refused):
    machine.link("dev/disk/by-id/virtio-data", "dev/vdb")
    machine.put("proc", {"swaps": f"Filename Type Size Used Priority\n{name} partition 100 0 -2"})
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == (("is swap in use: see 'swapoff /dev/vdb'",) * refused)


def test_the_backing_device_of_a_loop_device_is_refused(machine, commands):
    loops = "sys/devices/virtual/block"
    machine.device("loop0", "7:0", {**DISK, "loop/backing_file": "/dev/vdb"}, folder=loops)
    machine.device("loop1", "7:1", {**DISK, "loop/backing_file": "/srv/file"}, folder=loops)
    machine.device("loop2", "7:2", DISK, folder=loops)
    commands.expect("wipefs")
    assert block_devices.examine("/dev/vdb").obstacles == (
        "is the backing device of /dev/loop0: see 'losetup --detach /dev/loop0'",
    )


@pytest.mark.parametrize(
    ("files", "mounts", "expected"),
    [
        pytest.param({}, [], [], id="free"),
        pytest.param({}, ["vdb"], ["is a partition of /dev/vdb, which is mounted at /srv"], id="disk-mounted"),
        pytest.param(
            {"holders/md0/": ""},
            [],
            ["is a partition of /dev/vdb, which is held by md0: name /dev/md0 in its place, if that is free"],
            id="disk-held",
        ),
        pytest.param({"removable": "1"}, [], ["is removable"], id="disk-removable"),
        pytest.param({"vdb1/ro": "1"}, [], ["is read-only"], id="partition-read-only"),
        pytest.param({"vdb1/holders/dm-0/": ""}, [], ["is held by dm-0"], id="partition-held"),
        pytest.param({"vdb2/partition": "2", "vdb2/holders/dm-0/": ""}, [], [], id="the-next-partition-held"),
    ],
)
def test_a_partition_answers_for_its_disk(machine, commands, files, mounts, expected):
    machine.device("vdb1", "254:17", PARTITION, folder=f"{VIRTIO}/vdb")
    machine.put(f"{VIRTIO}/vdb", files)
    machine.put("proc/self", {"mountinfo": "\n".join(MOUNTS[name] for name in mounts)})
    commands.expect("wipefs")
    assert list(block_devices.examine("/dev/vdb1").obstacles) == expected


@pytest.mark.parametrize(
    ("error", "mounted", "expected"),
    [
        pytest.param(
            errno.EBUSY, False, ["is in use: the kernel does not grant exclusive access to it"], id="busy-who-knows-why"
        ),
        pytest.param(errno.EBUSY, True, ["is mounted at /srv"], id="busy-because-mounted"),
        pytest.param(errno.ENOMEDIUM, False, ["cannot be opened: No medium found"], id="no-medium"),
        pytest.param(
            errno.EACCES, True, ["is mounted at /srv", "cannot be opened: Permission denied"], id="not-allowed"
        ),
    ],
)
def test_what_the_kernel_does_not_grant_is_refused(machine, commands, error, mounted, expected):
    machine.errors["/dev/vdb"] = error
    if mounted:
        machine.put("proc/self", {"mountinfo": MOUNTS["vdb"]})
    commands.expect("wipefs")
    assert list(block_devices.examine("/dev/vdb").obstacles) == expected


def test_a_partitions_lock_is_that_of_its_disk(machine):
    machine.device("vdb1", "254:17", PARTITION, folder=f"{VIRTIO}/vdb")
    assert [block_devices._whole_disk(path) for path in ("/dev/vdb", "/dev/vdb1")] == ["/dev/vdb", "/dev/vdb"]


VDB = BlockDevice("/dev/disk/by-id/x", "/dev/vdb", size=10 * 1024**3)


def holding(device):
    """Return whether a device is granted, or why not."""
    try:
        with device.locked(timeout=0):
            return True
    except RefusedError as refusal:
        return str(refusal)


@pytest.fixture
def now(monkeypatch, tmp_path):
    """Return a function that makes VDB what it is told to be."""
    node = tmp_path / "node"
    node.touch()

    def be(**changes):
        monkeypatch.setattr(block_devices, "_whole_disk", lambda path: str(node))
        found = {VDB.name: replace(VDB, **changes)}
        monkeypatch.setattr(block_devices, "examine", lambda name, **_options: found[name])

    return be


CHANGED = "/dev/disk/by-id/x (/dev/vdb) changed after it was looked at and is left alone: "


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        pytest.param({"size": 1024}, "it is /dev/vdb of 1024 bytes now", id="size"),
        pytest.param({"path": "/dev/vdc"}, "it is /dev/vdc of 10737418240 bytes now", id="another-disk"),
        pytest.param(
            {"obstacles": ("is mounted at /srv", "is read-only")},
            "/dev/disk/by-id/x (/dev/vdb) is mounted at /srv; /dev/disk/by-id/x (/dev/vdb) is read-only",
            id="in-use",
        ),
    ],
)
def test_a_device_that_changed_is_not_held(now, changes, end):
    now(**changes)
    assert holding(VDB) == f"{CHANGED}{end}"


def test_a_device_as_it_was_found_is_held_by_one_alone(now):
    now()
    with VDB.locked(timeout=0):
        assert "is locked by another process" in holding(VDB)
    assert holding(VDB) is True


def test_a_device_is_looked_at_again_once_it_is_held(now, monkeypatch):
    now()
    seen = []
    monkeypatch.setattr(block_devices, "examine", lambda name, **_options: seen.append(name) or VDB)
    with VDB.locked(timeout=0):
        assert seen == [VDB.name]
        holding(VDB)
        assert seen == [VDB.name]


def test_what_was_written_to_a_device_is_through_its_cache_before_anything_refers_to_it(now, monkeypatch):
    now()
    order = []
    monkeypatch.setattr(block_devices.os, "fsync", lambda descriptor: order.append("flushed"))
    with VDB.locked(timeout=0):
        order.append("written")
    assert order == ["written", "flushed"]

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(block_devices.os, "fsync", fail)
    assert holding(VDB).endswith("does not keep what is written to it: Input/output error")
