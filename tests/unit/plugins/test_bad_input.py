# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong values for every option of every module: a clear error each, and nothing is changed.

A row is an option, a wrong value, and a pattern of what the error says; then what else is given, and the state of the
host. ``<dir>`` in a value is the folder that the fixture ``machine`` fills. A module or an option without a row fails
the last test here.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import signal
import stat
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import containerd_daemon
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.block_devices import BlockDevice
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager

DISK = "<dir>/dev/vdb"
LEFT_OUT = object()
NOT_A_NUMBER = float("nan")


WRONG_NAMES = [
    ("", "'' is not a name for a"),
    (".", r"'\.' is not a name for a"),
    ("..", r"'\.\.' is not a name for a"),
    ("-x", "'-x' is not a name for a .*no hyphen at the beginning"),
    ("a/b", "'a/b' is not a name for a .*letters, digits and"),
    ("a b", "'a b' is not a name for a"),
    (" a", "' a' is not a name for a"),
    ("a\n", r"'a\\n' is not a name for a"),
    ("a\0", r"'a\\x00' is not a name for a"),
    ("pööl", "'pööl' is not a name for a .*of ASCII"),
    ("p٣", "'p٣' is not a name for a"),
    ("x" * 128, "'x{128}' is not a name for a .*at most 127"),
    ("a;reboot", "'a;reboot' is not a name for a"),
]
RESERVED_NAMES = [
    (name, f"{name!r} is not a name for a .*LVM keeps such names")
    for name in ("snapshot1", "pvmove0", "x_tdata", "x_tmeta", "lvol0_pmspare", "x_cpool", "my_rimage_0")
]
WRONG_DEVICES = [
    ("", "'' is not a device: write its whole path"),
    ("vdb", "'vdb' is not a device: write its whole path"),
    ("dev/vdb", "'dev/vdb' is not a device: write its whole path"),
    ("<dir>/dev", "/dev is not a block device: see 'lsblk'"),
    ("<dir>/file", "/file is not a block device"),
    ("<dir>/file/x", "/file/x cannot be looked at: Not a directory"),
    ("/dev/null", "/dev/null is not a block device"),
    ("<dir>/fifo", "/fifo is not a block device"),
    ("<dir>/dev/vdz", "/dev/vdz does not exist on this host: see 'lsblk'"),
    ("<dir>/dangling", "/dangling does not exist on this host"),
    ("<dir>/loop", "/loop cannot be looked at: Too many levels of symbolic links"),
    ("<dir>/dev/vdb\n", "/dev/vdb\n does not exist on this host"),
    ("<dir>/dev/vdb\0", r"/dev/vdb\\x00' is not the path of a device"),
    ("/" + "x" * 5000, "cannot be looked at: File name too long"),
]
NO_SIZES = [
    ("", "'' is not a size: write a number with one of LVM's units"),
    ("big", "'big' is not a size"),
    ("-1G", "'-1G' is not a size"),
    ("+1G", r"'\+1G' is not a size"),
    ("10X", "'10X' is not a size"),
    ("10GB", "'10GB' is not a size"),
    ("10GiB", "'10GiB' is not a size"),
    ("1e3", "'1e3' is not a size"),
    ("0x10", "'0x10' is not a size"),
    ("1,5g", "'1,5g' is not a size"),
    (".5g", r"'\.5g' is not a size"),
    ("1g 2m", "'1g 2m' is not a size"),
    ("NaN", "'NaN' is not a size"),
    ("inf", "'inf' is not a size"),
    (NOT_A_NUMBER, "'nan' is not a size"),
    (True, "'True' is not a size"),
    ("١٠G", "'١٠G' is not a size"),
    ("1ſ", "'1ſ' is not a size"),  # a letter that Python takes for an s where case does not matter
    ("9e", "'9e' is more than the 8e"),
    ("18446744073709551617", "'18446744073709551617' is more than the 8e"),
    ("9" * 5000, "'9{5000}' is not a size"),
]
NO_SHARES = [
    ("80%", "'80%' is not a share that LVM knows here: write N%VG or N%FREE"),
    ("50%PVS", "'50%PVS' is not a share that LVM knows here"),
    ("80%ORIGIN", "'80%ORIGIN' is not a share that LVM knows here"),
    ("+80%VG", r"'\+80%VG' is not a share that LVM knows here"),
    ("٨٠%VG", "'٨٠%VG' is not a share that LVM knows here"),
    ("0%VG", "'0%VG' is not a share: the percentage must be above 0 and at most 100"),
    ("0.0%FREE", r"'0\.0%FREE' is not a share"),
    ("200%VG", "'200%VG' is not a share"),
    ("100.01%FREE", r"'100\.01%FREE' is not a share"),
    ("0", "'0' is not a size: it must be above 0"),
]
WRONG_DATA_SIZES = [
    *NO_SIZES,
    *NO_SHARES,
    # The number of bytes that somebody wrote who meant gigabytes.
    ("10", "size of docker/thinpool is 10 B, less than one chunk: is the unit missing, as in 10g?"),
    (10, "size of docker/thinpool is 10 B, less than one chunk"),
    (10.5, "size of docker/thinpool is 11 B, less than one chunk"),
]
WRONG_METADATA_SIZES = [
    *NO_SIZES,
    *NO_SHARES,
    ("10", "metadata_size of docker/thinpool must be 2m to 15.8g, not 10 B"),
    ("1m", "metadata_size of docker/thinpool must be 2m to 15.8g, not 1.00 MiB"),
    ("16g", "metadata_size of docker/thinpool must be 2m to 15.8g, not 16.00 GiB"),
]
WRONG_LOOP_DATA_SIZES = [
    *NO_SIZES,
    ("80%VG", "'80%VG' is not a size"),
    ("0", "the data file cannot have 0 B, less than one chunk: is the unit missing"),
]
WRONG_LOOP_METADATA_SIZES = [
    *NO_SIZES,
    ("1%VG", "'1%VG' is not a size"),
    ("0", "the metadata file must have 2m to 15.8g, not 0 B"),
    ("1m", "the metadata file must have 2m to 15.8g, not 1.00 MiB"),
    ("16g", "the metadata file must have 2m to 15.8g, not 16.00 GiB"),
]
WRONG_CHUNK_SIZES = [
    *NO_SIZES,
    ("1%VG", "'1%VG' is not a size"),
    ("0", "chunk_size of docker/thinpool must be a multiple of 64k from 64k to 1g, not 0 B"),
    ("512", r"must be a multiple of 64k from 64k to 1g, not 512 B \(512 bytes\)"),
    ("32k", "must be a multiple of 64k from 64k to 1g, not 32.00 KiB"),
    ("96k", "must be a multiple of 64k from 64k to 1g, not 96.00 KiB"),
    ("2g", "must be a multiple of 64k from 64k to 1g, not 2.00 GiB"),
    ("1024.1m", "must be a multiple of 64k from 64k to 1g, not 1.00 GiB"),
]
NO_INTEGERS = [
    ("", "unable to convert to int"),
    ("abc", "unable to convert to int"),
    ("80%", "unable to convert to int"),
    (80.5, "unable to convert to int"),
    ([80], "unable to convert to int"),
]
WRONG_THRESHOLDS = [
    *NO_INTEGERS,
    *((value, f"autoextend_threshold must be 50 to 99 .*or 100 .*, not {value}$") for value in (0, 1, 49, 101, -80)),
]
WRONG_PERCENTS = [
    *NO_INTEGERS,
    *((value, f"autoextend_percent must be 1 to 100 .*, not {value}$") for value in (0, -20, 101)),
]
WRONG_SERVICES = [
    (value, "is not the name of a service, such as docker.service")
    for value in ("docker", "../x.service", "a/b.service", "x y.service", "döcker.service", "x.service\n")
]
WRONG_ROOT_PATHS = [
    ("", "root_path must be the whole path of a folder, beginning with a slash, not ''"),
    ("lib", "root_path must be the whole path of a folder.*not 'lib'"),
    ("/a/../b", "root_path must be the whole path of a folder"),
    ("/a\nb", "root_path must be the whole path of a folder"),
]
WRONG_BASE_SIZES = [
    ("", "base_image_size: '' is not a size"),
    ("big", "base_image_size: 'big' is not a size"),
    ("-1GB", "base_image_size: '-1GB' is not a size"),
    ("10GX", "base_image_size: '10GX' is not a size"),
    ("10%VG", "base_image_size: '10%VG' is not a size"),
    ("١٠GB", "base_image_size: '١٠GB' is not a size"),
    ("10", "base_image_size: '10' is not a size for a filesystem.*unit missing"),
    (0, "base_image_size: '0' is not a size for a filesystem"),
    ("99999999999P", "base_image_size: '99999999999P' is not a size for a filesystem"),
]
WRONG_STORAGE_OPTS = [
    (7, "storage option '7' has no value"),
    ({"dm.fs": "xfs"}, "cannot be converted to a list"),
    ([""], "storage option '' has no value: write key=value"),
    (["dm.fs"], "storage option 'dm.fs' has no value: write key=value"),
    (["dm.fs=zfs"], "storage option dm.fs must be ext4 or xfs, not 'zfs'"),
    (["dm.fs=xfs "], "storage option dm.fs must be ext4 or xfs, not 'xfs '"),
    (["dm.basesiez=10G"], "storage option 'dm.basesiez' is not known to Docker's devicemapper driver: it knows dm"),
    (["dm.use-deferred-removal=true"], r"did you mean dm\.use_deferred_removal\?"),
    (["dm.basesize=big"], "storage option dm.basesize must be a size such as 10G, not 'big'"),
    (["dm.min_free_space=100%"], "dm.min_free_space must be a percentage below 100"),
    (["dm.min_free_space=١%"], "dm.min_free_space must be a percentage below 100"),
    (["dm.basesize=١٠G"], "dm.basesize must be a size"),
    (["dm.thinp_percent=²"], "dm.thinp_percent must be a percentage from 0 to 99"),
    (["dm.thinp_percent=101"], "dm.thinp_percent must be a percentage from 0 to 99"),
    (["dm.xfs_nospace_max_retries=²"], "dm.xfs_nospace_max_retries must be a whole number"),
    (["dm.blkdiscard=maybe"], "dm.blkdiscard must be true or false"),
    (["colour=red"], "storage option 'colour' is none of driver devicemapper, whose options begin with dm"),
    (["=red"], "storage option '' is none of driver devicemapper"),
    (["overlay2.size=10G"], "storage option 'overlay2.size' is none of driver devicemapper"),
]


def wrong(option: str, rows: t.Iterable[tuple[t.Any, str]], host: str = "blank", **others: t.Any) -> list[tuple]:
    """Return the rows of an option, which all need the same host and other options."""
    return [(option, value, says, others, host) for value, says in rows]


def no_bool(option: str) -> list[tuple]:
    return wrong(option, [("maybe", f"argument '?{option}'? is of type"), ("", f"argument '?{option}'? is of type")])


def no_choice(option: str, *choices: str) -> list[tuple]:
    says = f"value of {option} must be one of: {', '.join(choices)}, got: "
    return wrong(option, [("gone", f"{says}gone"), ("", says), (choices[0].upper(), says)])


def needed(option: str) -> list[tuple]:
    return wrong(option, [(LEFT_OUT, f"missing required arguments: {option}")])


def devices_of_a_list(rows: t.Iterable[tuple[str, str]]) -> list[tuple[t.Any, str]]:
    return [([value], says) for value, says in rows]


NO_DEVICE_LISTS = [
    ({"first": DISK}, "cannot be converted to a list"),
    *devices_of_a_list(WRONG_DEVICES),
    (["vdb", DISK, "<dir>/file"], "(?s)'vdb' is not a device.*/file is not a block device"),  # all at once
]

WRONG_RULES = [
    (["disks colour=red"], "'disks colour=red' is no rule for disks: 'colour=red' is none of size>=SIZE"),
    (["disks size>=big"], "size>=: 'big' is not a size"),
    (["disks size=1g"], "'size=1g' is none of"),
    (["disks size>1g"], "'size>1g' is none of"),
    (["disks bus=scsi0"], "'bus=scsi0' is none of"),
    (["disks rotational=maybe"], "'rotational=maybe' is none of"),
    (["disks count=0"], "'count=0' is none of"),
    (["disks but=-1"], "'but=-1' is none of"),
    (["disks count=1 but=1"], "count and but exclude each other"),
    (["disks bus=ata bus=usb"], "bus= stands in it twice"),
    (["disks model='x"], "a quotation mark is open"),
    (["disks /dev/vdb"], "'/dev/vdb' is none of"),
    (["disk size>=1g"], "'disk size>=1g' is not a device: write its whole path"),
    (["disks path=no-such-place"], "no disk of this host is taken by 'disks path=no-such-place'"),
]

WRONG_LIMITS = [
    row
    for part in ("data", "metadata")
    for limit, values in (("warning", (0, -1, 99, 101)), ("critical", (0, 10, 101)))
    for row in wrong(
        f"{part}_{limit}",
        [
            *NO_INTEGERS,
            *((value, f"{part}_warning and {part}_critical must be 1 to 100 percent") for value in values),
        ],
    )
]
WRONG_POOLS = [
    *(([name], f"pool {name!r} is not named as VG/NAME") for name in ("", "docker")),
    *(([f"{vg}/x"], says) for vg, says in WRONG_NAMES if "/" not in vg),
    *(([f"x/{pool}"], says) for pool, says in WRONG_NAMES if "/" not in pool),
    (["a/b/c"], "'b/c' is not a name for a thin pool"),
    ({"docker": "thinpool"}, "cannot be converted to a list"),
]
WRONG_TIMES = [
    ("gestern", "since 'gestern' is no point in time"),
    ("2026-02-30", "since '2026-02-30' is no point in time"),
]
NO_LOG_FILES = [
    ("<dir>/absent", "there is no log file /.*/absent: give the option 'path'"),
    ("<dir>/dev", "the log file /.*/dev cannot be read"),
    ("<dir>/fifo", "the log file /.*/fifo cannot be read"),
]

# Each module with options that are right, and the rows.
RUNTIME = {"name": "kata-fc", "runtime_type": "io.containerd.kata-fc.v2"}
WRONG_LAYOUTS = [
    ({"preset": "k8s"}, "layout: preset must be k3s, rke2, k0s, microk8s, flintlock, not 'k8s'"),
    ({"unit": "containerd"}, "layout: unit must be the name of a service, not 'containerd'"),
    ({"socket": "run/x.sock"}, "layout: socket must be a whole path, not 'run/x.sock'"),
    ({"drop_in": "/a/../b"}, "layout: drop_in must be a whole path, not '/a/../b'"),
    ({"binary": "/a b"}, "layout: binary must be a whole path, not '/a b'"),
    ({"colour": "red"}, "(?i)unsupported parameters"),
    ("k3s", "(?i)cannot be converted to a dict|dictionary requested"),
]
WRONG_RUNTIMES = [
    ([{"runtime_type": "io.containerd.kata-fc.v2"}], "missing required arguments: name"),
    ([{"name": "kata-fc"}], "missing required arguments: runtime_type"),
    ([{**RUNTIME, "name": "Kata_FC"}], "'Kata_FC' is no name for a handler: at most 63 lower case letters"),
    ([{**RUNTIME, "name": ""}], "'' is no name for a handler"),
    ([RUNTIME, RUNTIME], "runtimes: kata-fc is there twice"),
    ([{**RUNTIME, "runtime_type": "kata"}], "runtime_type must be a name such as io.containerd.kata.v2"),
    ([{**RUNTIME, "runtime_path": "kata"}], "runtime_path must be the whole path of a program, not 'kata'"),
    ([{**RUNTIME, "options": {"ConfigPath": ["a"]}}], "options: ConfigPath must be a text, a number or true or false"),
    ([{**RUNTIME, "options": {"a b": "c"}}], "options: a b must be"),
    ([{**RUNTIME, "snapshotter": "overlayfs"}], "Unsupported parameters.*snapshotter"),
]

TABLES: dict[str, tuple[dict[str, t.Any], list[tuple]]] = {
    # What is no device is no error there but an answer; see the test of it below.
    "block_device_info": (
        {"devices": [DISK]},
        [
            *needed("devices"),
            *wrong("devices", [({"first": DISK}, "cannot be converted to a list")]),
            *wrong("vg", [("-x", "is not a name for a volume group")]),
        ],
    ),
    "dm_event_info": (
        {},
        [
            *wrong(
                "pools",
                [
                    *(
                        ([name], f"pool {name!r} is not named as VG/NAME")
                        for name in ("", "docker", "/x", "x/", "a/b/c")
                    ),
                    ({"docker": "thinpool"}, "cannot be converted to a list"),
                ],
            ),
            *wrong(
                "since",
                [
                    ("gestern", "since 'gestern' is no point in time: .*'yesterday'"),
                    ("2026-02-30", "since '2026-02-30' is no point in time"),
                    ("-1 fortnight", "since '-1 fortnight' is no point in time"),
                    ("a\0b", r"since 'a\\x00b' is no point in time"),
                ],
            ),
            *wrong("since", [("gestern", "since 'gestern' is no point in time: .*'yesterday'")], path="<dir>/empty"),
            *wrong(
                "cursor",
                [
                    ("x", "cursor 'x' is not one of the journal: give the option 'cursor' what an earlier call"),
                    ("s=a;i=1;b=2;m=3;t=4;x=5", "is not one of the journal"),
                    ("file=0;offset=1", "is not one of the journal"),
                ],
            ),
            *wrong("cursor", [("x", "cursor 'x' is not one of")], path="<dir>/empty"),
            *wrong(
                "limit", [*NO_INTEGERS, (0, "limit 0 leaves nothing to return: .* from 1 on"), (-1, "limit -1 leaves")]
            ),
            *wrong(
                "path",
                [
                    ("<dir>/absent", "there is no log file /.*/absent: give the option 'path' the one that syslog"),
                    ("<dir>/dangling", "there is no log file /.*/dangling"),
                    ("<dir>/dev", "the log file /.*/dev cannot be read: It is no regular file"),
                    ("<dir>/fifo", "the log file /.*/fifo cannot be read: It is no regular file"),
                    ("<dir>/loop", "the log file /.*/loop cannot be read: Too many levels of symbolic links"),
                    ("<dir>/a\0b", r"a\\x00b' is not the path of a file"),
                ],
            ),
        ],
    ),
    "containerd_devmapper": (
        {"path": "<dir>/config.toml", "pool_name": "docker-thinpool"},
        [
            *wrong(
                "path",
                [
                    ("", "path must be the whole path of a file, beginning with a slash, not ''"),
                    ("config.toml", "path must be the whole path of a file.*not 'config.toml'"),
                    ("<dir>/dev", "/dev is a directory, not a file: move it away"),
                    ("<dir>/fifo", "/fifo is not a regular file: move it away"),
                    ("/dev/null", "/dev/null is not a regular file: move it away"),
                    ("<dir>/dangling", "/dangling is a symbolic link to /.*/absent, which does not exist"),
                    ("<dir>/a\0b", r"a\\x00b' is not the path of a file"),
                    ("<dir>/latin1", r"/latin1 is not UTF-8 text \(byte 13\): correct it"),
                    ("<dir>/bom", "/bom begins with a byte order mark"),
                    ("<dir>/daemon.json", "/daemon.json, line 1: not valid TOML"),
                    ("<dir>/deep", "/deep, line 1: not valid TOML"),
                    ("<dir>/version-1.toml", "/version-1.toml, line 1, in a configuration of version 1: there is no"),
                    ("<dir>/braces.toml", "/braces.toml, line 2: the section, or all plugins, in braces"),
                    ("<dir>/no-key.toml", "/no-key.toml, line 3: not valid TOML"),
                ],
            ),
            *wrong(
                "pool_name",
                [
                    (LEFT_OUT, "state is present but all of the following are missing: pool_name"),
                    ("", "pool_name must be a name under /dev/mapper, without that path, not ''"),
                    ("docker/thinpool", "not 'docker/thinpool': did you mean docker-thinpool"),
                    ("/dev/mapper/docker-thinpool", "did you mean docker-thinpool"),
                    ("docker--thinpool", "no thin pool docker--thinpool, but there is docker-thinpool"),
                    ("a b", "pool_name must be a name under /dev/mapper"),
                    ("pööl", "pool_name must be a name under /dev/mapper"),
                    ("x" * 128, "pool_name must be a name under /dev/mapper"),
                ],
            ),
            *wrong("root_path", WRONG_ROOT_PATHS),
            *wrong("base_image_size", WRONG_BASE_SIZES),
            *wrong("base_image_size", [("200MB", "must be at least 300MB with fs_type xfs")], fs_type="xfs"),
            *no_bool("discard_blocks"),
            *no_bool("async_remove"),
            *no_choice("fs_type", "ext4", "xfs", "ext2"),
            *wrong(
                "fs_options",
                [
                    ("", "fs_options must be extended options of mkfs"),
                    ("a b", "fs_options must be extended options of mkfs"),
                ],
            ),
            *wrong("fs_options", [("nodiscard", "fs_options are for ext4 and ext2 alone")], fs_type="xfs"),
            *wrong("runtimes", WRONG_RUNTIMES),
            *wrong("layout", WRONG_LAYOUTS),
            *no_bool("backup"),
            *no_bool("restart"),
            *no_choice("state", "present", "absent"),
        ],
    ),
    "docker_daemon": (
        {"path": "<dir>/daemon.json", "storage_driver": "devicemapper"},
        [
            *wrong(
                "path",
                [
                    ("", "path must be the whole path of a file, beginning with a slash, not ''"),
                    ("daemon.json", "path must be the whole path of a file.*not 'daemon.json'"),
                    ("<dir>/dev", "/dev is a directory, not a file: move it away"),
                    ("<dir>/daemon.json/", "/daemon.json/ cannot be read: Not a directory"),
                    ("<dir>/file/daemon.json", "/file/daemon.json cannot be read: Not a directory"),
                    ("<dir>/fifo", "/fifo is not a regular file: move it away"),
                    ("<dir>/socket", "/socket cannot be read: No such device or address"),
                    ("/dev/null", "/dev/null is not a regular file: move it away"),
                    ("<dir>/to-null", "/to-null is not a regular file: move it away"),
                    ("<dir>/dangling", "/dangling is a symbolic link to /.*/absent, which does not exist"),
                    ("<dir>/loop", "/loop cannot be read: Too many levels of symbolic links"),
                    ("<dir>/a\0b", r"a\\x00b' is not the path of a file"),
                    ("<dir>/" + "x" * 300, "cannot be read: File name too long"),
                    ("<dir>/latin1", r"/latin1 is not UTF-8 text \(byte 13\): correct it"),
                    ("<dir>/utf16", r"/utf16 is not UTF-8 text \(byte 0\)"),
                    ("<dir>/bom", "/bom begins with a byte order mark: save it as UTF-8 text without one"),
                    ("<dir>/truncated", r"/truncated is not valid JSON \(.*line 1 column 16.*correct it first"),
                    ("<dir>/comments", r"/comments is not valid JSON \("),
                    ("<dir>/not-a-number", r"/not-a-number is not valid JSON \(NaN is no number in JSON\)"),
                    ("<dir>/list", r"/list holds an array where Docker wants an object"),
                    ("<dir>/null", "/null holds null where Docker wants an object"),
                    ("<dir>/deep", r"/deep is not valid JSON \(maximum recursion"),
                    ("<dir>/huge", r"/huge is not valid JSON \(1e999 is too large a number\)"),
                    ("<dir>/twice", "/twice has debug twice"),
                    ("<dir>/twice-inside", "/twice-inside has max-size twice"),
                    ("<dir>/opts-object", '/opts-object: "storage-opts" must be a list of strings'),
                    ("<dir>/opts-numbers", '/opts-numbers: "storage-opts" must be a list of strings'),
                    ("<dir>/opts-unknown", "/opts-unknown: storage option 'dm.colour' is not known"),
                    ("<dir>/half", r"/half would not be UTF-8 text: '\\ud83d' is half of a character"),
                ],
            ),
            *wrong(
                "storage_driver",
                [
                    ("", "storage_driver: '' is not the name of a storage driver"),
                    ("device mapper", "storage_driver: 'device mapper' is not the name of a storage driver"),
                    ("dévicemapper", "storage_driver: 'dévicemapper' is not the name of a storage driver"),
                    (
                        ["devicemapper"],
                        r"storage_driver: \"\['devicemapper'\]\" is not the name|unable to convert to str",
                    ),
                ],
            ),
            *wrong("storage_opts", WRONG_STORAGE_OPTS),
            *wrong(
                "options",
                [
                    ("debug", "dictionary requested, could not parse JSON or key=value"),
                    (["debug"], "cannot be converted to a dict"),
                    ({"storage-driver": "overlay2"}, "options: storage-driver is set by an option of its own here"),
                    ({"storage-opts": {"dm.fs": "xfs"}}, 'options: "storage-opts" must be a list of strings'),
                    ({"storage-opts": ["dm.fs=zfs"]}, "dm.fs must be ext4 or xfs"),
                    (
                        {"max-concurrent-downloads": NOT_A_NUMBER},
                        "options: max-concurrent-downloads holds what is no n",
                    ),
                    ({"log-opts": {"x": [float("inf")]}}, "options: log-opts holds what is no number in JSON"),
                    ({"labels": ["\ud83d"]}, "would not be UTF-8 text"),
                ],
            ),
            *wrong(
                "options",
                [({"storage-opts": []}, "storage-opts is set by an option of its")],
                storage_opts=["dm.fs=xfs"],
            ),
            *wrong(
                "storage_opts",
                [(["dm.fs=xfs"], "storage option 'dm.fs' is none of driver overlay2")],
                storage_driver="overlay2",
            ),
            *no_bool("backup"),
            *no_choice("state", "present", "absent"),
        ],
    ),
    # A device that is not there is no error there but a mismatch; see the test of it below.
    "docker_devicemapper_info": (
        {},
        [
            *wrong("vg", WRONG_NAMES),
            *wrong("pool", [*WRONG_NAMES, *RESERVED_NAMES]),
            *wrong("devices", [row for row in NO_DEVICE_LISTS if row[0] in ([""], ["vdb"], {"first": DISK})]),
            *wrong("devices", [(["/dev/vdb\0"], r"/dev/vdb\\x00' is not the path of a device")]),
            *wrong("chunk_size", WRONG_CHUNK_SIZES),
            *wrong("storage_opts", WRONG_STORAGE_OPTS),
            *wrong(
                "daemon_options",
                [
                    ("debug", "dictionary requested, could not parse JSON or key=value"),
                    (["debug"], "cannot be converted to a dict"),
                    ({"storage-driver": "overlay2"}, "storage-driver is set by an option of its own"),
                    ({"max-concurrent-downloads": NOT_A_NUMBER}, "max-concurrent-downloads holds what is no number"),
                ],
            ),
        ],
    ),
    "docker_migration": (
        {"storage_driver": "overlay2"},
        [
            *needed("storage_driver"),
            *no_choice("storage_driver", "devicemapper", "overlay2"),
            *wrong("vg", WRONG_NAMES),
            *wrong("pool", WRONG_NAMES),
            *wrong(
                "pool_size",
                [
                    *NO_INTEGERS,
                    *((value, f"pool_size must be a number of bytes above 0, not {value}") for value in (0, -1)),
                ],
            ),
            *wrong(
                "directory",
                [
                    ("", "directory must be the absolute path of a directory, not ''"),
                    ("images", "directory must be the absolute path of a directory, not 'images'"),
                    ("/", "directory must be the absolute path of a directory of its own, not '/'"),
                    ("/x\0", r"directory must be the absolute path of a directory, not '/x\\x00'"),
                    ("<dir>/file", "directory: /.*/file is not a directory"),
                    ("<dir>/file/x", "directory: /.*/file is not a directory"),
                    ("<dir>/dangling", "directory: /.*/dangling is not a directory"),
                ],
            ),
            *no_bool("stop_containers"),
            *no_bool("remove_old"),
        ],
    ),
    "lvm_profile": (
        {"name": "docker-thinpool"},
        [
            *needed("name"),
            *wrong("name", [row for row in WRONG_NAMES if row[0] not in (".", "..")]),
            *wrong("name", [("folder", "folder.profile is a directory, not a file: move it away")]),
            *wrong("name", [("latin1", r"latin1.profile is not UTF-8 text \(byte 2\)")]),
            *wrong("name", [("others", "others.profile has settings of its own .*or name another profile")]),
            *wrong("thin_pool_autoextend_threshold", WRONG_THRESHOLDS),
            *wrong("thin_pool_autoextend_percent", WRONG_PERCENTS),
            *no_choice("state", "present", "absent"),
        ],
    ),
    "lvm_pv": (
        {"devices": [DISK]},
        [
            *needed("devices"),
            *wrong("devices", [([], "devices is empty: name at least one block device"), *NO_DEVICE_LISTS]),
            *no_choice("state", "present", "absent"),
            *no_bool("resize"),
            *no_bool("wipe_signatures"),
            *no_bool("destroy_contents"),
        ],
    ),
    "lvm_thin_pool": (
        {"vg": "docker", "name": "thinpool", "size": "80%VG"},
        [
            *needed("vg"),
            *wrong("vg", WRONG_NAMES, "group"),
            *wrong("vg", [("other", "volume group other does not exist: make it first .*or correct vg")], "group"),
            *needed("name"),
            *wrong("name", [*WRONG_NAMES, *RESERVED_NAMES], "group"),
            *wrong("name", [("x" * 120, "are too long together")], "group"),
            *wrong("size", WRONG_DATA_SIZES, "group"),
            *wrong("size", [("8e", "cannot have 8e .*has 2559 free"), ("100%VG", "cannot have 100%VG")], "group"),
            *wrong("size", [(LEFT_OUT, "thin pool docker/thinpool does not exist: set size to create it")], "group"),
            *wrong("metadata_size", WRONG_METADATA_SIZES, "group"),
            *wrong("metadata_name", [row for row in [*WRONG_NAMES, *RESERVED_NAMES] if row[0]], "group"),
            *wrong("metadata_name", [("thinpool", "docker/thinpool needs a name of its own, not 'thinpool'")], "group"),
            *wrong("chunk_size", WRONG_CHUNK_SIZES, "group"),
            *wrong("chunk_size", [("64k", "has chunks of 512.00 KiB.*: set chunk_size to 512k")], "pool"),
            *no_bool("zero"),
            *wrong("profile", [row for row in WRONG_NAMES if row[0] not in ("", ".", "..")], "group"),
            *wrong("profile", [("other", "profile other cannot be attached: .*Make it first")], "group"),
            *no_bool("monitor"),
            *no_bool("active"),
            *no_choice("when_full", "queue", "error"),
            *wrong("service", WRONG_SERVICES, "group"),
            *no_choice("state", "present", "absent"),
        ],
    ),
    "docker_loop_files": (
        {"data_root": "<dir>/docker"},
        [
            *wrong(
                "data_root", [(value, "data_root must be the whole path of a directory") for value in ("", "docker")]
            ),
            *wrong("data_size", WRONG_LOOP_DATA_SIZES),
            *wrong("metadata_size", WRONG_LOOP_METADATA_SIZES),
        ],
    ),
    "lvm_thin_pool_info": (
        {},
        [
            *wrong("vg", WRONG_NAMES),
            *wrong("name", WRONG_NAMES),
            *WRONG_LIMITS,
        ],
    ),
    "lvm_pv_replace": (
        {"vg": "docker", "old": DISK},
        [
            *needed("vg"),
            *wrong("vg", WRONG_NAMES),
            *wrong("vg", [("docker", "volume group docker does not exist: correct vg")]),
            *needed("old"),
            *wrong("old", WRONG_DEVICES),
            *wrong("old", [(["/dev/vdb"], "is not a device: write its whole path")]),
            *wrong("new", WRONG_DEVICES),
            *wrong("new", [(DISK, "old and new are the same device"), ("<dir>/by-id", "old and new are")], "group"),
            *wrong("new", [("<dir>/dev/small", "is not in volume group docker, and neither is")], "group"),
            *wrong("percent", [(0, "percent must be from 1 to 100, not 0"), (101, "from 1 to 100"), (-5, "from 1 to")]),
            *wrong("percent", [("half", "argument 'percent' is of type"), (0.5, "argument 'percent' is of type")]),
            *no_choice("interrupted", "continue", "abort"),
            *no_bool("wipe_signatures"),
            *no_bool("destroy_contents"),
        ],
    ),
    "lvm_vg": (
        {"name": "docker", "devices": [DISK]},
        [
            *needed("name"),
            *wrong("name", WRONG_NAMES),
            *wrong(
                "name",
                [(name, f"/dev/{name} is there .*: choose another name") for name in ("null", "disk", "mapper")],
            ),
            *wrong("devices", NO_DEVICE_LISTS),
            *wrong(
                "devices", [([], "volume group docker does not exist and no devices were given"), (LEFT_OUT, "set d")]
            ),
            *wrong("devices", [(["<dir>/dev/small"], "/dev/small .*has no room for one extent .*4.00 MiB")]),
            *no_choice("state", "present", "absent"),
            *wrong("extent_size", NO_SIZES),
            *wrong(
                "extent_size",
                [
                    ("0", "extent_size of volume group docker must be a power of 2 from 4k to 1t, not 0 B"),
                    (4, "must be a power of 2 from 4k to 1t, not 4 B"),
                    ("2k", "must be a power of 2 from 4k to 1t, not 2.00 KiB"),
                    ("3m", "must be a power of 2 from 4k to 1t, not 3.00 MiB"),
                    ("2t", "must be a power of 2 from 4k to 1t, not 2.00 TiB"),
                    ("16g", "/dev/vdb .*has no room for one extent of volume group docker .16.00 GiB"),
                    ("1%VG", "'1%VG' is not a size"),
                ],
            ),
            *wrong("extent_size", [("8m", "has extents of 4.00 MiB; .*leave extent_size out")], "group"),
            *wrong(
                "tags",
                [
                    *(
                        ([tag], f"{tag!r} is not a tag that LVM allows: letters, digits")
                        for tag in ("", "a b", "@a", "ä", "a,b", "x" * 1025)
                    ),
                    (["a\n"], r"'a\\n' is not a tag that LVM allows"),
                    ({"a": "b"}, "cannot be converted to a list"),
                ],
            ),
            *no_bool("remove_unlisted"),
            *wrong("remove_unlisted", [(True, "remove_unlisted would leave .*: name in devices")], "group", devices=[]),
            *no_bool("wipe_signatures"),
            *no_bool("destroy_contents"),
            *no_bool("resize"),
        ],
    ),
    "thin_pool_backup": (
        {"vg": "docker", "name": "thinpool"},
        [
            *needed("vg"),
            *wrong("vg", WRONG_NAMES),
            *wrong("vg", [("nowhere", "there is no thin pool nowhere/thinpool on this host")], host="pool"),
            *needed("name"),
            *wrong("name", WRONG_NAMES),
            *wrong("name", [("none", "there is no thin pool docker/none on this host")], host="pool"),
            *wrong("name", [("thinpool", "there is no thin pool docker/thinpool on this")], host="data_and_metadata"),
            *wrong("name", [("thinpool", "docker/thinpool is not active")], host="pool_inactive"),
            *wrong(
                "dest",
                [
                    ("", "dest must be the absolute path of a directory, not ''"),
                    ("backups", "dest must be the absolute path of a directory, not 'backups'"),
                    ("/x\0", r"dest must be the absolute path of a directory, not '/x\\x00'"),
                    ("<dir>/file", "dest: /.*/file is not a directory"),
                    ("<dir>/file/x", "dest: /.*/file is not a directory"),
                    ("<dir>/dangling", "dest: /.*/dangling is not a directory"),
                ],
            ),
            *no_bool("verify"),
        ],
    ),
    "thin_pool_check_info": (
        {},
        [
            *wrong("pools", WRONG_POOLS),
            *WRONG_LIMITS,
            *wrong("since", WRONG_TIMES),
            *wrong("path", NO_LOG_FILES),
            *wrong(
                "host",
                [
                    (value, "host must be a name of the inventory")
                    for value in ("a b", "node1\n", "\x1b[2J", "--limit", "a\0")
                ],
            ),
        ],
    ),
    "thin_pool_exporter": (
        {"textfile_dir": "<dir>/dev"},
        [
            *wrong("textfile_dir", [(LEFT_OUT, "state is present but all of the following are missing: textfile_dir")]),
            *wrong(
                "textfile_dir",
                [
                    ("", "textfile_dir '' is not a whole path"),
                    ("metrics", "textfile_dir 'metrics' is not a whole path"),
                    ("<dir>/a b", "is not a whole path of letters, digits and"),
                    ("<dir>/%n", "is not a whole path of letters, digits and"),
                    (
                        "<dir>/absent",
                        "textfile_dir /.*/absent is no folder on this host: give it the one that node_exp",
                    ),
                    ("<dir>/daemon.json", "textfile_dir /.*/daemon.json is no folder on this host"),
                ],
            ),
            *wrong("pools", WRONG_POOLS),
            *WRONG_LIMITS,
            *wrong("since", [*WRONG_TIMES, ("", "since '' is no point in time")]),
            *wrong("path", NO_LOG_FILES),
            *wrong(
                "interval",
                [*NO_INTEGERS, *((value, "interval must be 10 to 86400 seconds") for value in (0, 9, 86401))],
            ),
            *wrong(
                "usage_interval",
                [*NO_INTEGERS, *((value, "usage_interval must be 60 to 86400 seconds, or 0") for value in (1, 59, -1))],
            ),
            *wrong("timeout", [*NO_INTEGERS, *((value, "timeout must be 1 to 600 seconds") for value in (0, 601))]),
            *no_bool("release_reserve"),
            *wrong("interval", [(31, "interval must be 30 seconds or less with release")], release_reserve=True),
            *no_choice("state", "present", "absent"),
        ],
    ),
    "thin_pool_plan": (
        {"devices": [DISK]},
        [
            *no_choice("state", "present", "absent"),
            *no_choice("engine", "docker", "containerd", "none"),
            *wrong("prefix", [(["x"], "managed_by: docker")], managed_by="docker", engine="none"),
            *no_choice("managed_by", "collection", "docker", "loop"),
            *wrong("managed_by", [("docker", "and with engine: none Docker is left alone")], engine="none"),
            *wrong("loop_data_size", WRONG_LOOP_DATA_SIZES, managed_by="loop"),
            *wrong("loop_metadata_size", WRONG_LOOP_METADATA_SIZES, managed_by="loop"),
            *no_bool("stop_containers"),
            *no_bool("docker"),
            *wrong(
                "packages",
                [
                    ([""], "'' is not the name of a package"),
                    (["-y"], "'-y' is not the name of a package"),
                    ({"name": "containerd"}, "cannot be converted to a list"),
                ],
                engine="containerd",
            ),
            *wrong("root_path", WRONG_ROOT_PATHS, engine="containerd"),
            *wrong("base_image_size", WRONG_BASE_SIZES, engine="containerd"),
            *no_bool("discard_blocks"),
            *no_bool("async_remove"),
            *no_choice("fs_type", "ext4", "xfs", "ext2"),
            *wrong("runtimes", WRONG_RUNTIMES, engine="containerd"),
            *wrong("layout", WRONG_LAYOUTS, engine="containerd"),
            *wrong("devices", WRONG_RULES),
            *wrong("devices", [(LEFT_OUT, "devices"), ([], "devices is empty: name at least one"), *NO_DEVICE_LISTS]),
            *wrong("vg", WRONG_NAMES),
            *wrong("vg", [("null", "/dev/null is there .*: choose another name")]),
            *wrong("vg", WRONG_NAMES, state="absent"),
            *wrong("pool", [*WRONG_NAMES, *RESERVED_NAMES]),
            *wrong("data_size", WRONG_DATA_SIZES),
            *wrong("data_size", [("20g", "thin pool docker/thinpool cannot have 20g")]),
            *wrong("metadata_size", WRONG_METADATA_SIZES),
            *wrong("chunk_size", WRONG_CHUNK_SIZES),
            *no_bool("zero"),
            *wrong("autoextend_threshold", WRONG_THRESHOLDS),
            *wrong("autoextend_percent", WRONG_PERCENTS),
            *no_choice("autoextend_room", "warn", "fail", "ignore"),
            *no_bool("wipe_signatures"),
            *no_bool("destroy_contents"),
            *no_bool("resize_devices"),
            # An empty one is that of a role's variable, and none.
            *wrong("reserve", [row for row in (*NO_SIZES, *NO_SHARES) if row[0] != ""]),
            *wrong("reserve", [("50%VG", "reserve: 50%VG cannot be kept for thin pool docker/thinpool: that takes")]),
            *wrong(
                "docker_packages",
                [
                    ([""], "'' is not the name of a package"),
                    (["-y"], "'-y' is not the name of a package"),
                    (["docker.io docker-ce"], "'docker.io docker-ce' is not the name of a package"),
                    (["dockér"], "'dockér' is not the name of a package"),
                    ({"name": "docker.io"}, "cannot be converted to a list"),
                ],
            ),
            *wrong("storage_opts", WRONG_STORAGE_OPTS),
            *wrong(
                "storage_opts",
                [
                    (["dm.thinpooldev=/dev/mapper/x"], "dm.thinpooldev is set by this role, from vg and pool"),
                    (["dm.directlvm_device=/dev/vdc"], "dm.directlvm_device cannot stand beside dm.thinpooldev"),
                ],
            ),
            *wrong(
                "daemon_options",
                [
                    ("debug", "dictionary requested, could not parse JSON or key=value"),
                    (["debug"], "cannot be converted to a dict"),
                    ({"storage-driver": "overlay2"}, "storage-driver is set by an option of its own"),
                    ({"storage-opts": ["dm.fs=xfs"]}, "storage-opts is set by an option of its own"),
                    ({"max-concurrent-downloads": NOT_A_NUMBER}, "max-concurrent-downloads holds what is no number"),
                    ({"labels": ["\ud83d"]}, "would not be UTF-8 text"),
                ],
            ),
            *no_choice("existing_data", "refuse", "backup", "keep"),
        ],
    ),
    "thin_pool_reclaim": (
        {"vg": "docker", "name": "thinpool"},
        [
            *wrong("vg", [(LEFT_OUT, "missing required arguments: vg"), *WRONG_NAMES]),
            *wrong("name", [(LEFT_OUT, "missing required arguments: name"), *WRONG_NAMES]),
            *no_bool("trim"),
            *wrong(
                "rate",
                [
                    *((value, f"rate: {says}") for value, says in NO_SIZES),
                    ("50%VG", "rate: '50%VG' is not a size"),
                    ("512", "rate must be 1m or more, or 0 for no limit, not 512: is the unit missing?"),
                    ("1k", "rate must be 1m or more"),
                ],
            ),
            *no_bool("remove_orphans"),
        ],
    ),
    "thin_pool_reserve": (
        {"vg": "docker", "name": "thinpool", "size": "1g"},
        [
            *wrong("vg", [(LEFT_OUT, "missing required arguments: vg"), *WRONG_NAMES]),
            *wrong("name", [(LEFT_OUT, "missing required arguments: name"), *WRONG_NAMES]),
            *wrong("name", [("x" * 125, "is not a name for a volume: .*at most 127")]),
            *wrong("size", [(LEFT_OUT, "state is present but all of the following are missing: size")]),
            *wrong("size", [*NO_SIZES, *NO_SHARES]),
            *no_choice("state", "present", "released", "absent"),
        ],
    ),
    "thin_pool_usage_info": (
        {},
        [
            *wrong("vg", WRONG_NAMES),
            *wrong("name", WRONG_NAMES),
            *wrong("limit", [*NO_INTEGERS, *((value, f"limit must be 1 or more, not {value}") for value in (0, -1))]),
        ],
    ),
}


@dataclass
class Machine:
    """What stands for a host: a folder with its files, and LVM in one of the captured states.

    A disk is a file that only its owner and group may read and write.
    """

    folder: Path
    host: str = "blank"

    def fill(self, value: t.Any) -> t.Any:
        """Put the folder's path into a value of a table."""
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        return value.replace("<dir>", str(self.folder)) if isinstance(value, str) else value

    def files(self) -> dict[str, t.Any]:
        """Return everything in the folder: types, modes, targets of links, and contents."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            mode = os.lstat(str(path)).st_mode
            link = os.readlink(str(path)) if stat.S_ISLNK(mode) else None
            found[str(path)] = (mode, link, path.read_bytes() if stat.S_ISREG(mode) else None)
        return found


# The newest entry of a journal, as journalctl --output=json writes it.
JOURNAL = (
    '{"__CURSOR": "s=a;i=1;b=0a1b2c3d4e5f60718293a4b5c6d7e8f9;m=1;t=1;x=1", "__REALTIME_TIMESTAMP": "1795428000000001"'
    ', "_BOOT_ID": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "_COMM": "dmeventd", "_PID": "577", "MESSAGE": "x"}\n'
)
FILES = {
    "file": b"",
    "daemon.json": b'{"log-level": "warn"}',
    "latin1": '{\n"labels":"k\xf6ln"}'.encode("latin-1"),
    "utf16": '{"debug": true}'.encode("utf-16"),
    "bom": '{"debug": true}'.encode("utf-8-sig"),
    "truncated": b'{"debug": true,',
    "comments": b'{"debug": true} // for now',
    "not-a-number": b'{"max-concurrent-downloads": NaN}',
    "list": b'["debug"]',
    "null": b"null",
    "deep": b"[" * 100000,
    "huge": b'{"max-concurrent-downloads": 1e999}',
    "twice": b'{"debug": true, "debug": false}',
    "twice-inside": b'{"log-opts": {"max-size": "1m", "max-size": "2m"}}',
    "opts-object": b'{"storage-opts": {"dm.fs": "xfs"}}',
    "opts-numbers": b'{"storage-opts": [1]}',
    "opts-unknown": b'{"storage-opts": ["dm.colour=red"]}',
    "config.toml": b"version = 2\n",
    "version-1.toml": b'disabled_plugins = ["web"]\n',
    "braces.toml": b"version = 2\nplugins = {}\n",
    "no-key.toml": b"version = 2\n[debug]\n= 1\n",
    "half": b'{"labels": ["\\ud83d"]}',
    "empty": b"",
    "blank": b" \n",
    "windows": b'{\r\n  "debug": true\r\n}\r\n',
    "dev/vdb": b"",
    "dev/small": b"",
    "profile/latin1.profile": b"# \xf6",
    "profile/others.profile": b"allocation {\n\tthin_pool_zero=0\n}\n",
}
LINKS = {
    "dangling": "absent",
    "loop": "loop",
    "to-null": "/dev/null",
    "link": "daemon.json",
    "by-id": "dev/vdb",
}


@pytest.fixture
def captured() -> t.Callable[[str], str]:
    """Return the text of a captured file; those of one LVM will do, for they are not what is wrong here."""
    folder = Path(__file__).resolve().parents[1] / "reports" / "2.03.16-debian12"
    return lambda name: (folder / name).read_text(encoding="utf-8")


@pytest.fixture
def machine(monkeypatch, captured, table, dev, no_dmeventd, tmp_path) -> Machine:
    """Return a host on which any command that is not known to only read fails the test."""
    found = Machine(tmp_path / "host")
    for folder in ("dev", "profile/folder.profile"):
        (found.folder / folder).mkdir(parents=True)
    for name, content in FILES.items():
        path = found.folder / name
        path.write_bytes(content)
        path.chmod(0o660 if path.parent.name == "dev" else 0o640)
    for name, target in LINKS.items():
        (found.folder / name).symlink_to(target)
    os.mkfifo(str(found.folder / "fifo"))
    os.mknod(str(found.folder / "socket"), stat.S_IFSOCK | 0o600)
    for name in ("null", "disk", "mapper"):
        (dev / name).touch()

    def answer(*command: str, **_limits: t.Any) -> tuple[int, str]:
        words = " ".join(command)
        if words.startswith("lvmconfig --typeconfig full --metadataprofile other"):
            raise process.ProcessError(f"{words} failed with status 5: other.profile: open failed", command, 5)
        if words.startswith("journalctl") and re.search(r"--(since|until)=[^@]", words):
            raise process.ProcessError("", command, 1, "Failed to parse timestamp: x")
        for start, output in (
            ("journalctl --system", JOURNAL),
            ("dmsetup info", ""),
            ("lvm fullreport", captured(f"{found.host}.json")),
            ("dmsetup table", table("pool")),
            ("dmsetup status", captured("pool.status")),
            ("lvmconfig --typeconfig full config/profile_dir", f'profile_dir="{found.folder}/profile"\n'),
            ("lvmconfig --typeconfig full --metadataprofile", "thin_pool_autoextend_threshold=80\n"),
            ("wipefs --no-act", ""),
            ("systemctl show", ""),
            ("lsblk --json", '{"blockdevices": []}'),
            ("dpkg-query --show", "lvm2 installed\nthin-provisioning-tools installed\ndmeventd installed\n"),
            ("apt-cache policy", captured("apt_policy.txt")),
            ("pvcreate --test", ""),
            ("vgcreate --test", ""),
            ("vgextend --test", ""),
        ):
            if words.startswith(start):
                return 0, output
        pytest.fail(f"it runs {words}")

    def examine(name: str, *, look: bool = True) -> BlockDevice:
        return BlockDevice(name, os.path.realpath(name), size=3 * 1024**2 if name.endswith("small") else 10 * 1024**3)

    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: stat.S_ISREG(mode) and mode & 0o777 == 0o660)
    monkeypatch.setattr(block_devices, "examine", examine)
    monkeypatch.setattr(AnsibleModule, "log", lambda *_arguments, **_options: None)  # ends at a null character
    monkeypatch.setattr(
        process, "lines", lambda *command, **_options: iter(answer(*command)[1].encode().splitlines(True))
    )
    monkeypatch.setattr(process, "finish", lambda *command, **limits: (*answer(*command, **limits), ""))
    monkeypatch.setattr(process, "find", lambda program: f"/usr/sbin/{program}")
    monkeypatch.setattr(dockerd, "read", dockerd.Docker)
    monkeypatch.setattr(dockerd, "read_unit", dict)
    containerd = containerd_daemon.Containerd("/usr/bin/containerd", "1.7.24", config=str(found.folder / "config.toml"))
    monkeypatch.setattr(containerd_daemon, "read", lambda _layout: containerd)
    monkeypatch.setattr(data_root, "DEFAULT_ROOT", str(found.folder / "docker"))
    monkeypatch.setattr(daemon_json, "DEFAULT_PATH", str(found.folder / "etc" / "daemon.json"))
    monkeypatch.setattr(package_manager, "read_family", lambda: "debian")
    monkeypatch.setattr(package_manager, "needs_apparmor", lambda find: False)
    return found


@pytest.fixture(autouse=True)
def no_hanging() -> t.Iterator[None]:
    """End a test that waits, as on a FIFO, where nobody will come."""

    def give_up(*_signal: t.Any) -> None:
        pytest.fail("it waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def module_of(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.devicemapper.containers.plugins.modules.{name}")


# How Ansible's own errors on arguments begin; they may name types.
ARGUMENT_ERROR = re.compile(
    r"argument '|Elements value for option|value of |missing required|dictionary requested|state is |unable to convert"
)
PYTHONS_WORDS = re.compile(r"Traceback|<class|NoneType|object at 0x|Errno|[a-z]Error\b|\bdict\b|\btuple\b")


def check_message(result: dict[str, t.Any], says: str) -> None:
    assert result.get("failed"), f"it was accepted: {result}"
    assert re.search(says, result["msg"]), result["msg"]
    assert ARGUMENT_ERROR.match(result["msg"]) or not PYTHONS_WORDS.search(result["msg"]), result["msg"]


def in_short(value: t.Any) -> str:
    return "left-out" if value is LEFT_OUT else ascii(value)[:40]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        pytest.param(name, row, id=f"{name}-{row[0]}-{in_short(row[1])}")
        for name, (_right, rows) in TABLES.items()
        for row in rows
    ],
)
def test_a_wrong_value_is_a_clear_error_and_nothing_is_changed(run_module, machine, name, row):
    option, value, says, others, machine.host = row
    options = {**TABLES[name][0], **others, option: value}
    if value is LEFT_OUT:
        del options[option]
    before = machine.files()
    for check in (True, False):
        result = run_module(module_of(name), check=check, **machine.fill(options))
        check_message(result, says)
    assert machine.files() == before


@pytest.mark.parametrize(("device", "says"), [pytest.param(*row, id=in_short(row[0])) for row in WRONG_DEVICES])
def test_what_is_no_device_is_told_as_such(run_module, machine, device, says):
    result = run_module(module_of("block_device_info"), devices=[machine.fill(device)])
    (found,) = result["devices"]
    assert (found["free"], found["path"], len(found["reasons"])) == (False, None, 1)
    assert re.search(says, found["reasons"][0])


def test_a_wanted_disk_that_is_none_is_told_as_a_mismatch(run_module, machine):
    result = run_module(module_of("docker_devicemapper_info"), devices=[machine.fill("<dir>/dev/vdz"), "/dev/null"])
    (found,) = (check for check in result["checks"] if check["name"] == "devices")
    assert (found["matches"], result["matches"]) == (False, False)
    assert re.search("/dev/vdz does not exist on this host: .*/dev/null is not a block device", found["seen"])


def test_every_option_of_every_module_has_its_wrong_values():
    yaml = pytest.importorskip("yaml")  # not on managed hosts
    folder = Path(str(module_of("lvm_pv").__file__)).parent
    missing = [path.stem for path in sorted(folder.glob("*.py")) if path.stem not in TABLES]
    missing += [
        f"{name}: {option}"
        for name, (_right, rows) in TABLES.items()
        for option in yaml.safe_load(module_of(name).DOCUMENTATION)["options"]
        if option not in {row[0] for row in rows}
    ]
    assert missing == [], "TABLES lacks these modules and options"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_an_unknown_option_is_refused(run_module, machine, name):
    result = run_module(module_of(name), **machine.fill({**TABLES[name][0], "colour": "red"}))
    assert re.search(r"Unsupported parameters for .*: colour\. Supported parameters include", result["msg"])


# What the role gives thin_pool_plan for the pool's names, which have device-mapper names of their own.
HYPHENS = {"devices": [DISK], "vg": "my-vg.1", "pool": "thin--pool+_"}

# A module, options that are unusual and right, a state of the host, and what a key of the result says then.
ACCEPTED: list[tuple[str, dict[str, t.Any], str, str, t.Any]] = [
    ("lvm_vg", {"name": "my-vg.1+_", "devices": [DISK]}, "blank", "volume_group", r"'name': 'my-vg\.1\+_'"),
    ("lvm_vg", {"name": ".x", "devices": [DISK]}, "blank", "volume_group", "'name': '.x'"),
    ("lvm_vg", {"name": "x" * 127, "devices": [DISK]}, "blank", "volume_group", "x" * 127),
    ("lvm_vg", {"name": 7, "devices": [DISK]}, "blank", "volume_group", "'name': '7'"),
    (
        "lvm_vg",
        {"name": "d", "devices": [DISK, "<dir>/by-id", DISK]},
        "blank",
        "actions",
        r"vdb', 'create .* d on \S+vdb'",
    ),
    ("lvm_vg", {"name": "d", "devices": DISK}, "blank", "actions", "create volume group d on"),
    (
        "lvm_vg",
        {"name": "d", "devices": [DISK], "extent_size": "1M"},
        "blank",
        "volume_group",
        "'extent_size': 1048576",
    ),
    ("lvm_vg", {"name": "d", "devices": [DISK], "extent_size": 4194304}, "blank", "volume_group", "'extents': 2559"),
    ("lvm_vg", {"name": "d", "devices": [DISK], "extent_size": "8192s"}, "blank", "volume_group", "'extents': 2559"),
    (
        "lvm_vg",
        {"name": "d", "devices": [DISK], "tags": ["-x", "a/b=c:d&e#f!"]},
        "blank",
        "volume_group",
        "'a/b=c:d&e#f!'",
    ),
    ("lvm_vg", {"name": "docker", "tags": "devicemapper.containers"}, "pool", "actions", r"\['tag|\[\]"),
    ("lvm_pv", {"devices": [DISK, "<dir>/by-id"]}, "blank", "actions", r"^\['create physical volume \S+/dev/vdb'\]$"),
    ("lvm_thin_pool", {"size": "1.5g"}, "group", "actions", r"data 384 extents \(1.50 GiB\)"),
    ("lvm_thin_pool", {"size": "1.5G"}, "group", "actions", r"data 384 extents \(1.50 GiB\)"),
    ("lvm_thin_pool", {"size": " 8 g "}, "group", "actions", "data 2048 extents"),
    ("lvm_thin_pool", {"size": 8589934592}, "group", "actions", "data 2048 extents"),
    ("lvm_thin_pool", {"size": "16777216s"}, "group", "actions", "data 2048 extents"),
    ("lvm_thin_pool", {"size": "33.3%vg"}, "group", "actions", "data 852 extents"),
    ("lvm_thin_pool", {"size": "100%Free"}, "group", "actions", "data 2509 extents"),
    ("lvm_thin_pool", {"metadata_size": "2m"}, "group", "actions", r"metadata 1 extents \(4.00 MiB\)"),
    ("lvm_thin_pool", {"metadata_size": "0.001%VG"}, "group", "actions", r"metadata 1 extents \(4.00 MiB\)"),
    ("lvm_thin_pool", {"chunk_size": "0.5M"}, "group", "thin_pool", "'chunk_size': 524288"),
    ("lvm_thin_pool", {"chunk_size": 65536}, "group", "thin_pool", "'chunk_size': 65536"),
    ("lvm_thin_pool", {"chunk_size": "1G"}, "group", "thin_pool", "'chunk_size': 1073741824"),
    ("lvm_thin_pool", {"name": "thin-pool.1"}, "group", "thin_pool", "'path': '/dev/mapper/docker-thin--pool.1'"),
    ("lvm_thin_pool", {"name": "lvol0"}, "group", "thin_pool", "'dm_name': 'docker-lvol0'"),
    ("lvm_thin_pool", {"name": "my_snapshot1"}, "group", "thin_pool", "'dm_name': 'docker-my_snapshot1'"),
    ("lvm_thin_pool", {"metadata_name": ""}, "group", "actions", "create thin pool docker/thinpool"),
    ("lvm_thin_pool", {"metadata_name": "meta-1"}, "group", "actions", "create thin pool docker/thinpool"),
    ("lvm_thin_pool", {"profile": ""}, "group", "thin_pool", "'profile': None"),
    ("lvm_thin_pool", {"profile": "docker-thin--pool.1"}, "group", "thin_pool", "'profile': 'docker-thin--pool.1'"),
    ("lvm_thin_pool", {"zero": "no", "monitor": "0"}, "group", "thin_pool", "'monitored': False"),
    ("lvm_thin_pool_info", {"vg": "nowhere"}, "pool", "thin_pools", r"^\[\]$"),
    ("thin_pool_usage_info", {"vg": "nowhere", "limit": "1"}, "pool", "thin_pools", r"^\[\]$"),
    ("lvm_profile", {"name": "my--vg.1-thin----pool+_"}, "blank", "profile_path", "/my--vg.1-thin----pool"),
    ("lvm_profile", {"name": "x" * 120}, "blank", "profile_path", "/x{120}.profile"),
    ("lvm_profile", {"name": "x", "thin_pool_autoextend_threshold": 100}, "blank", "actions", "_threshold 100"),
    ("lvm_profile", {"name": "x", "thin_pool_autoextend_threshold": " 50 "}, "blank", "actions", "_threshold 50"),
    ("lvm_profile", {"name": "x", "thin_pool_autoextend_percent": "100"}, "blank", "actions", "_percent 100"),
    (
        "docker_daemon",
        {"path": "<dir>/empty", "options": {"debug": True}},
        "blank",
        "actions",
        "change .*/empty: debug",
    ),
    (
        "docker_daemon",
        {"path": "<dir>/blank", "options": {"debug": True}},
        "blank",
        "actions",
        "change .*/blank: debug",
    ),
    ("docker_daemon", {"path": "<dir>/windows", "options": {"debug": True}}, "blank", "actions", r"^\[\]$"),
    (
        "docker_daemon",
        {"path": "<dir>/no/where/x", "options": {"debug": True}},
        "blank",
        "actions",
        "write .*/no/where/x",
    ),
    ("docker_daemon", {"path": "<dir>/x", "options": {"labels": ["größe=😀"]}}, "blank", "daemon", "größe=😀"),
    ("docker_daemon", {"path": "<dir>/x", "options": "debug=true"}, "blank", "daemon", "{'debug': 'true'}"),
    ("docker_daemon", {"path": "<dir>/x", "storage_driver": "overlay2"}, "blank", "daemon", "overlay2"),
    ("docker_daemon", {"path": "<dir>/x", "storage_driver": "me/plugin:1.0"}, "blank", "daemon", "me/plugin:1.0"),
    (
        "docker_daemon",
        {"path": "<dir>/x", "storage_opts": "dm.thinpooldev=my--vg-pool,dm.mkfsarg=-K,dm.mkfsarg=-q"},
        "blank",
        "daemon",
        "'dm.mkfsarg=-K', 'dm.mkfsarg=-q'",
    ),
    ("thin_pool_plan", HYPHENS, "blank", "storage_opts", "dm.thinpooldev=/dev/mapper/my--vg.1-thin----pool"),
    ("thin_pool_plan", HYPHENS, "blank", "profile", "^my--vg.1-thin----pool"),
    (
        "thin_pool_plan",
        {"devices": [DISK, "<dir>/by-id"]},
        "blank",
        "actions",
        r"^\['create physical volume \S+vdb', 'create v",
    ),
    ("thin_pool_plan", {"devices": DISK, "autoextend_threshold": "100"}, "blank", "autoextend", "None"),
    *(
        (
            "thin_pool_plan",
            {"devices": [DISK], "metadata_size": "64m", **options},
            "blank",
            "actions",
            "create thin pool",
        )
        for options in (
            {"vg": 7},
            {"pool": ".x"},
            {"data_size": "33.3 % free"},
            {"data_size": " 1.5 g "},
            {"data_size": 8589934592},
            {"data_size": "100%FREE", "autoextend_threshold": 100},
            {"chunk_size": 65536},
            {"chunk_size": "1M"},
            {"autoextend_percent": 100, "data_size": "1g"},
        )
    ),
    (
        "thin_pool_plan",
        {"devices": [DISK], "docker_packages": ["docker-ce=5:24.*", "docker-ce-cli/bookworm"]},
        "blank",
        "actions",
        "install packages docker-ce=5:24",
    ),
    ("block_device_info", {"devices": []}, "blank", "devices", r"^\[\]$"),
]


@pytest.mark.parametrize(
    ("name", "options", "host", "key", "says"),
    [pytest.param(*row, id=f"{row[0]}-{ascii(row[1])[1:60]}") for row in ACCEPTED],
)
def test_an_unusual_value_that_is_right_is_accepted(run_module, machine, name, options, host, key, says):
    machine.host = host
    before = machine.files()
    if name == "lvm_thin_pool":
        options = {**TABLES[name][0], **options}
    result = run_module(module_of(name), check=True, **machine.fill(options))
    assert not result.get("failed"), result["msg"]
    assert re.search(says, str(result[key])), result[key]
    assert machine.files() == before


def test_a_symbolic_link_is_followed_and_stays(run_module, machine):
    link = machine.folder / "link"
    result = run_module(module_of("docker_daemon"), path=str(link), storage_driver="devicemapper")
    assert result["changed"]
    assert (link.is_symlink(), os.readlink(str(link))) == (True, "daemon.json")
    assert result["daemon"] == {"log-level": "warn", "storage-driver": "devicemapper"}
    target = (machine.folder / "daemon.json").read_text(encoding="utf-8")
    assert daemon_json.parse(target, "daemon.json") == result["daemon"]


# Where the file cannot be read or written, the call of the system that fails, and with what.
UNUSABLE = [
    pytest.param("read", errno.EACCES, "daemon.json cannot be read: Permission denied", id="unreadable"),
    pytest.param("write", errno.EACCES, "daemon.json cannot be written: Permission denied", id="unwritable"),
    pytest.param("write", errno.EROFS, "daemon.json cannot be written: Read-only file system", id="read-only"),
    pytest.param("write", errno.ENOSPC, "daemon.json cannot be written: No space left on device", id="full"),
    pytest.param("fsync", errno.EIO, "daemon.json cannot be written: Input/output error", id="broken-disk"),
    pytest.param("rename", errno.EPERM, "daemon.json cannot be written: Operation not permitted", id="immutable"),
]


@pytest.mark.parametrize(("call", "number", "says"), UNUSABLE)
def test_a_file_that_cannot_be_replaced_stays_as_it_was(run_module, machine, monkeypatch, call, number, says):
    path = str(machine.folder / "daemon.json")
    real_open = os.open

    def failing(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise OSError(number, os.strerror(number), path)

    def opening(name: t.Any, flags: int, *mode: t.Any, **options: t.Any) -> int:
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        in_folder = str(name).startswith(str(machine.folder)) or "dir_fd" in options
        if in_folder and writes == (call == "write"):
            failing()
        return real_open(name, flags, *mode, **options)

    before = machine.files()
    with monkeypatch.context() as patch:
        if call in ("read", "write"):
            patch.setattr(os, "open", opening)
        elif call == "fsync":
            patch.setattr(os, "fsync", failing)
        else:
            patch.setattr(os, "rename", failing)
            patch.setattr(os, "replace", failing)
        result = run_module(
            module_of("docker_daemon"), path=path, storage_driver="devicemapper", backup=call == "write"
        )
    assert result.get("failed"), result
    assert re.search(says, result["msg"]), result["msg"]
    assert machine.files() == before
