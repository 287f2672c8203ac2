# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import disk_rules, disks
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.disk_rules import Disk

GIB = 1024**3
ROOT = Disk("/dev/sda", 480 * GIB, "INTEL SSDSC2KB48", "ata", False, ("pci-0000:00:17.0-ata-1",), ("ata-INTEL_1",))
FAST = Disk("/dev/nvme0n1", 960 * GIB, "SAMSUNG MZ1LB960", "nvme", False, ("pci-0000:3b:00.0-nvme-1",), ("nvme-S1",))
SLOW = [
    Disk(f"/dev/sd{letter}", 4000 * GIB, "HGST HUS726T4TALA", "scsi", True, (f"pci-0000:18:00.0-sas-phy{n}",), ())
    for n, letter in enumerate("bcd")
]
STICK = Disk("/dev/sde", 32 * GIB, "Cruzer", "usb", False, ("pci-0000:00:14.0-usb-0:3",), ())
ALL = [STICK, ROOT, *SLOW, FAST]
USED = {ROOT.path: ["has partitions (sda1, sda2)"], STICK.path: ["is removable"]}


def resolve(*rules, members=(), named=(), of=None, used=None):
    reasons = USED if used is None else used
    return disk_rules.resolve(
        [disk_rules.parse(rule) for rule in rules],
        ALL if of is None else of,
        members=members,
        named=named,
        refusals=lambda disk: reasons.get(disk.path, []),
    )


def taken(*rules, **options):
    return [judgement.disk.path for judgement in resolve(*rules, **options) if judgement.taken]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("disks", ["/dev/sdb", "/dev/sdc", "/dev/sdd", "/dev/nvme0n1"]),
        ("disks size>=1t", ["/dev/sdb", "/dev/sdc", "/dev/sdd"]),
        ("disks size<=1t", ["/dev/nvme0n1"]),
        ("disks size>=960g size<=960g", ["/dev/nvme0n1"]),
        ("disks model=HGST*", ["/dev/sdb", "/dev/sdc", "/dev/sdd"]),
        ("disks model='samsung mz*'", ["/dev/nvme0n1"]),
        ("disks rotational=no", ["/dev/nvme0n1"]),
        ("disks rotational=yes", ["/dev/sdb", "/dev/sdc", "/dev/sdd"]),
        ("disks bus=nvme", ["/dev/nvme0n1"]),
        ("disks bus=ata", []),
        ("disks path=pci-0000:18:*", ["/dev/sdb", "/dev/sdc", "/dev/sdd"]),
        ("disks id=nvme-*", ["/dev/nvme0n1"]),
        ("disks count=2", ["/dev/sdb", "/dev/sdc"]),
        ("disks but=1", ["/dev/sdb", "/dev/sdc", "/dev/sdd"]),
        ("disks rotational=yes but=1", ["/dev/sdb", "/dev/sdc"]),
        ("disks but=9", []),
    ],
)
def test_a_rule_takes_what_it_says_of_what_is_blank(rule, expected):
    assert taken(rule) == expected


def test_rules_stand_beside_one_another_and_beside_names():
    assert taken("disks bus=nvme", "disks rotational=yes count=1") == ["/dev/sdb", "/dev/nvme0n1"]
    # What is named is not taken twice, nor does it count.
    assert taken("disks rotational=yes count=1", named=["/dev/sdb"]) == ["/dev/sdc"]


def test_every_disk_has_its_reasons():
    found = {judgement.disk.path: judgement.reasons for judgement in resolve("disks size>=100g rotational=no but=1")}
    assert found == {
        "/dev/sdb": ["is said to turn by the kernel"],
        "/dev/sdc": ["is said to turn by the kernel"],
        "/dev/sdd": ["is said to turn by the kernel"],
        "/dev/nvme0n1": ["is left, since but=1 leaves that many"],
        "/dev/sda": ["has partitions (sda1, sda2)"],
        "/dev/sde": ["has 32.00 GiB, and size>= wants 100.00 GiB"],
    }
    found = {judgement.disk.path: judgement.reasons for judgement in resolve("disks bus=nvme model=X* path=y")}
    assert found["/dev/nvme0n1"] == [
        "has the model SAMSUNG MZ1LB960, not X*",
        "has the path pci-0000:3b:00.0-nvme-1, not y",
    ]
    assert found["/dev/sde"][0] == "is on the bus usb, not nvme"


def test_a_disk_is_looked_into_only_where_a_rule_means_it():
    asked = []
    disk_rules.resolve(
        [disk_rules.parse("disks bus=nvme"), disk_rules.parse("disks size>=500g bus=nvme")],
        ALL,
        members=(),
        refusals=lambda disk: asked.append(disk.path) or ["is mounted at /srv"],
    )
    assert asked == [FAST.path]


@pytest.mark.parametrize(
    ("rule", "members", "expected"),
    [
        pytest.param("disks rotational=yes", ["/dev/sdb", "/dev/sdc", "/dev/sdd"], 3, id="all"),
        pytest.param("disks rotational=yes but=1", ["/dev/sdb", "/dev/sdc"], 2, id="all-but-one"),
        pytest.param("disks rotational=yes count=1", ["/dev/sdd"], 1, id="another-than-would-be-chosen-now"),
    ],
)
def test_what_is_in_the_group_stays_the_answer(rule, members, expected):
    """The second run says the same, though its members are not blank any more."""
    used = {path: ["belongs to volume group docker"] for path in members}
    judged = resolve(rule, members=members, used=used)
    assert [judgement.disk.path for judgement in judged if judgement.taken] == members
    assert len(members) == expected
    check(judged, rule, members=members)


def check(judged, *rules, members=(), grows=False):
    disk_rules.check([disk_rules.parse(rule) for rule in rules], judged, vg="docker", members=members, grows=grows)


def test_a_disk_that_came_is_refused_unless_it_is_asked_for():
    members = ["/dev/sdb", "/dev/sdc"]
    judged = resolve("disks rotational=yes", members=members)
    with pytest.raises(RefusedError, match="/dev/sdd is taken by 'disks rotational=yes' and was not when .*grow"):
        check(judged, "disks rotational=yes", members=members)
    check(judged, "disks rotational=yes", members=members, grows=True)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "disks bus=ata",
            r"no disk of this host is taken by 'disks bus=ata': .*/dev/sda has partitions \(sda1, sda2\)",
        ),
        ("disks bus=nvme count=2", "1 disks of this host are taken by 'disks bus=nvme count=2', not 2"),
    ],
)
def test_too_few_are_refused_with_every_reason(rule, message):
    with pytest.raises(RefusedError, match=message):
        check(resolve(rule), rule)


def test_a_host_without_disks_is_told_so():
    with pytest.raises(RefusedError, match="'disks': there is none"):
        check(resolve("disks", of=[]), "disks")


@pytest.mark.parametrize(
    ("text", "is_one"), [("disks", True), ("disks size>=1g", True), ("/dev/disks", False), ("", False)]
)
def test_a_rule_is_told_from_a_path(text, is_one):
    assert disk_rules.is_rule(text) is is_one


@pytest.fixture
def sysfs(monkeypatch, tmp_path):
    """Return a function that adds a disk to a sysfs and to udev's records."""
    block, udev = tmp_path / "block", tmp_path / "udev"
    block.mkdir()
    udev.mkdir()
    monkeypatch.setattr(disks, "BLOCK", str(block))
    monkeypatch.setattr(disks, "UDEV", str(udev))

    def add(name, place, number, *, model="", rotational="0", records="", device=True):
        folder = tmp_path / "devices" / place / "block" / name
        (folder / "queue").mkdir(parents=True)
        if device:
            (folder / "device").mkdir()
        for file, text in (("size", "2097152"), ("dev", number), ("queue/rotational", rotational)):
            (folder / file).write_text(f"{text}\n")
        if model:
            (folder / "device/model").write_text(f"{model}   \n")
        (udev / f"b{number}").write_text(records)
        (block / name).symlink_to(folder)

    return add


@pytest.mark.parametrize(
    ("place", "bus"),
    [
        ("pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0", "ata"),
        ("pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0", "usb"),
        ("pci0000:3a/0000:3b:00.0/nvme/nvme0", "nvme"),
        ("pci0000:00/0000:00:05.0/virtio2", "virtio"),
        ("pci0000:17/0000:18:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0", "scsi"),
        ("pci0000:00/0000:00:04.0/virtio1/host2/target2:0:0/2:0:0:1", "scsi"),
        ("vbd-51712", "xen"),
        ("platform/uml-blkdev.1", ""),
    ],
)
def test_a_disk_is_read_with_its_bus(sysfs, place, bus):
    records = "S:disk/by-id/ata-X_1\nS:disk/by-path/pci-1\nE:ID_MODEL=X_1\nI:1\n"
    sysfs("sda", place, "8:0", model="X 1", rotational="1", records=records)
    assert disks.read() == [Disk("/dev/sda", GIB, "X 1", bus, True, ("pci-1",), ("ata-X_1",))]


def test_what_is_no_disk_is_left_out(sysfs):
    sysfs("vda", "pci0000:00/virtio0", "254:0", records="E:ID_MODEL=from_udev\n")
    sysfs("dm-0", "virtual", "253:0", device=False)
    sysfs("loop0", "virtual/loop", "7:0", device=False)
    sysfs("sr0", "pci0000:00/ata2/host1/target1:0:0/1:0:0:0", "11:0")
    sysfs("cciss!c0d0", "pci0000:00/cciss0", "104:0")
    assert [(disk.path, disk.model) for disk in disks.read()] == [("/dev/cciss/c0d0", ""), ("/dev/vda", "from_udev")]
