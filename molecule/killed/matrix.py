# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kill the modules before, after, while and amid every program that they start, run them again, and look.

Runs on a guest, as root, beside the packages `ansible` and `ansible_collections`:

    matrix.py kill [--only OPERATION] [--every]   the matrix; a table of the numbers at the end
    matrix.py foreign                             what nobody may touch, to be compared
    matrix.py prepare OPERATION PROGRAM NUMBER    make its start state, for a power cut, and print how long this takes
    matrix.py run OPERATION PROGRAM NUMBER        run it, and tell on the console when that program is started
    matrix.py finish OPERATION                    run it again, and see that it ends as an undisturbed run did

An operation is a sequence of module calls from a start state. Its reference is one undisturbed run. A point is the
start of one program in it, and one of these ways to kill:

    before   the module is killed in the place of the program's start
    after    the program ran whole, and the module is killed before it learns of it
    while    the module is killed when the program starts, the program goes on alone, the rerun starts at once
    amid     a program that writes is killed at a part of the time that it took in the reference, and the module with it

All kills are SIGKILL. The programs are replaced by wrappers in a folder that PATH begins with; nothing in the modules
knows of them.

What a kill leaves only now and then, when it meets the moment between two calls of the kernel, is made by hand and run
from as well: volumes that are suspended, or mapped without a table in use.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import pickle
import re
import runpy
import signal
import stat
import struct
import subprocess
import sys
import time
import traceback
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHIMS = HERE / "shims"
WISH, COUNT, LOG = HERE / "wish", HERE / "count", HERE / "log"
VG, POOL, PROFILE = "docker", "thinpool", "docker-thinpool"
PROFILES = Path("/etc/lvm/profile")
DATA1, DATA2, FOREIGN = (f"/dev/disk/by-id/virtio-{serial}" for serial in ("data1", "data2", "foreign"))
DISKS = (DATA1, DATA2)
MIB = 1024 * 1024
EXTENTS = 76  # 60 percent of the 127 extents of one disk
# The part of their time after which programs are killed amid their work.
FRACTIONS = (0.3, 0.55, 0.8)
SHORT = 0.2  # seconds; one of them is enough for a program that takes no longer
SHIMMED = (
    *("lvm", "lvmconfig", "pvs", "vgs", "lvs", "pvscan", "pvcreate", "pvremove", "pvresize", "pvchange", "vgcreate"),
    *("vgextend", "vgreduce", "vgremove", "vgchange", "vgscan", "vgcfgbackup", "vgcfgrestore", "lvcreate", "lvconvert"),
    *("lvextend", "lvresize", "lvremove", "lvrename", "lvchange", "dmsetup", "dmeventd", "wipefs"),
)

SHIM = """#!/bin/sh
# wish: the number of the start at which to act, how, after how many seconds, and the program that it must be.
read -r number way seconds program < {wish}
read -r count < {count}
count=$((count + 1))
echo $count > {count}
case $way in
    time)
        read -r start _ < /proc/uptime
        {real} "$@"
        status=$?
        read -r end _ < /proc/uptime
        echo "$start $end {name} $*" >> {log}
        exit $status;;
esac
[ "$count $program" = "$number {name}" ] || exec {real} "$@"
case $way in
    before) kill -9 $PPID;;
    after) {real} "$@"; kill -9 $PPID;;
    while) kill -9 $PPID; exec {real} "$@";;
    amid) {real} "$@" <&0 & started=$!; sleep "$seconds"; kill -9 $started $PPID;;
    tell) echo "killed-matrix: {name} starts" > /dev/console; exec {real} "$@";;
esac
"""


class Failure(Exception):
    """What must not be seen; its text is for the person who reads the log."""


# ---------------------------------------------------------------------------------------------------------------------
# The operations


@dataclasses.dataclass(frozen=True)
class Start:
    """A state to start from: how it is made from the one before, and whether its volumes are active in it."""

    name: str
    commands: tuple[str, ...]
    base: str = ""
    active: bool = False
    used: bool = False  # a thin device lies in the pool, with data in it
    fresh_dmeventd: bool = False  # dmeventd was started after the profile was written


@dataclasses.dataclass(frozen=True)
class Operation:
    name: str
    start: Start
    calls: tuple[tuple[str, dict[str, t.Any]], ...]
    stuck: tuple[tuple[str, str], ...] = ()  # what a kill may leave of the start state, in words and as a command


def pool_call(**options: t.Any) -> tuple[str, dict[str, t.Any]]:
    wanted = {"size": "60%VG", "metadata_size": "8m", "chunk_size": "512k", "zero": False, "profile": PROFILE}
    return "lvm_thin_pool", {"vg": VG, "name": POOL, **wanted, **options}


GROUP = f"vgcreate -q --yes --addtag devicemapper.containers {VG}"
# A volume of somebody in our own group, named as LVM names what gets no name, and as large as the pool's metadata.
SOMEBODY = (
    f"lvcreate -q --yes --wipesignatures n --zero n --name lvol7 --extents 2 {VG}",
    f"head -c 8388608 {HERE}/random > /dev/{VG}/lvol7",
)
MAKE_POOL = (
    f"lvcreate -q --yes --type thin-pool --name {POOL} --extents {EXTENTS} --poolmetadatasize 8m --chunksize 512k "
    f"--zero n --metadataprofile {PROFILE} --addtag devicemapper.containers {VG}"
)
THIN = f"dmsetup create used --table '0 131072 thin /dev/mapper/{VG}-{POOL} 0'"


def without_table(device: str, more: str = "true") -> str:
    """Return the command that leaves a device as a program does that is killed before it loads a table, or after."""
    return (
        f"uuid=$(dmsetup info -c --noheadings -o uuid {device}) && table=$(dmsetup table {device}) && "
        f"dmsetup remove --retry {device} && dmsetup create {device} --uuid $uuid --notable && {more} && udevadm settle"
    )


META, DEVICE = f"{VG}-{POOL}meta", f"{VG}-{POOL}"
STUCK_VOLUME = (
    ("a suspended volume", f"dmsetup suspend {META}"),
    ("a volume without a table", without_table(META)),
    ("a volume whose table is not in use", without_table(META, f'dmsetup load {META} --table "$table"')),
    ("a volume without its link", f"rm /dev/{VG}/{POOL}meta"),
)
SUSPEND_POOL = "".join(f"dmsetup suspend {DEVICE}{part};" for part in ("", "_tdata", "_tmeta"))
# As lvextend leaves it that is killed before it commits.
LOAD_LARGER = "".join(
    f"dmsetup load {device} --table \"$(dmsetup table {device} | awk '{{ $2 += 65536; print }}')\";"
    for device in (f"{DEVICE}_tdata", DEVICE)
)
STUCK_POOL = (
    ("a suspended pool in use", SUSPEND_POOL),
    ("a suspended pool in use, with larger tables", LOAD_LARGER + SUSPEND_POOL),
    ("a suspended pool, with larger tables", f"dmsetup remove --retry used; {LOAD_LARGER}{SUSPEND_POOL}"),
    ("a pool with larger tables that are not in use", LOAD_LARGER),
    ("a pool without a table", f"dmsetup remove --retry used && {without_table(DEVICE)}"),
    (
        "a pool whose table is not in use",
        "dmsetup remove --retry used && " + without_table(DEVICE, f'dmsetup load {DEVICE} --table "$table"'),
    ),
)

BLANK = Start("blank", (f"mkfs.ext4 -q -F {DATA1}",))
ONE_GROUP = Start("group", (f"wipefs --quiet --all {DATA1}", f"{GROUP} {DATA1}", *SOMEBODY), base="blank", active=True)
DATA_ALONE = Start("data", (f"lvcreate -q --yes --name {POOL} --extents {EXTENTS} {VG}",), base="group", active=True)
BOTH = Start("both", (f"lvcreate -q --yes --name {POOL}meta --extents 2 {VG}",), base="data", active=True)
USED = Start(
    "used",
    (
        MAKE_POOL,
        f"dmsetup message {VG}-{POOL} 0 'create_thin 0'",
        f"dmsetup message {VG}-{POOL} 0 'set_transaction_id 0 1'",
        THIN,
        f"dd if={HERE}/random of=/dev/mapper/used bs=1M oflag=direct conv=fsync status=none",
        # udev looks at what was written to, and holds it for a moment.
        "udevadm settle",
        "dmsetup remove --retry used",
    ),
    base="group",
    active=True,
    used=True,
)
WATCHED = dataclasses.replace(USED, name="watched", commands=(), base="used", fresh_dmeventd=True)
WHOLE = Start("whole", (f"wipefs --quiet --all {DATA1}", f"{GROUP} {DATA1} {DATA2}", MAKE_POOL), "blank", active=True)
STARTS = (BLANK, ONE_GROUP, DATA_ALONE, BOTH, USED, WATCHED, WHOLE)

OPERATIONS = (
    Operation(
        "label and group",
        BLANK,
        (("lvm_pv", {"devices": [DATA1], "wipe_signatures": True}), ("lvm_vg", {"name": VG, "devices": [DATA1]})),
    ),
    Operation(
        "profile",
        WATCHED,
        (("lvm_profile", {"name": PROFILE, "thin_pool_autoextend_threshold": 70}), pool_call()),
        STUCK_POOL,
    ),
    Operation("create", ONE_GROUP, (pool_call(),)),
    Operation("convert", BOTH, (pool_call(),), STUCK_VOLUME),
    Operation("convert from data alone", DATA_ALONE, (pool_call(),)),
    Operation(
        "grow",
        USED,
        (("lvm_vg", {"name": VG, "devices": [DATA1, DATA2]}), pool_call(metadata_size="16m")),
    ),
    Operation(
        "remove",
        WHOLE,
        (
            ("lvm_thin_pool", {"vg": VG, "name": POOL, "state": "absent"}),
            ("lvm_profile", {"name": PROFILE, "state": "absent"}),
            ("lvm_vg", {"name": VG, "state": "absent"}),
            ("lvm_pv", {"devices": [DATA1, DATA2], "state": "absent"}),
        ),
    ),
)


# ---------------------------------------------------------------------------------------------------------------------
# The host: programs, disks, states


def sh(command: str, check: bool = True) -> str:
    """Run a command with the real programs, and return what it prints."""
    done = subprocess.run(
        command,
        shell=True,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LVM_SUPPRESS_FD_WARNINGS": "1", "LC_ALL": "C"},
    )
    if check and done.returncode:
        raise Failure(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Disk:
    """A disk that is put back byte for byte.

    Through a node of its own: udev watches the one in /dev, and would look at the disk anew each time. Open for writing
    only while it is put back, since a disk that somebody may write to is not taken.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.node = HERE / os.path.basename(path)
        self.node.unlink(missing_ok=True)
        os.mknod(self.node, stat.S_IFBLK | 0o600, os.stat(path).st_rdev)
        self.descriptor = os.open(self.node, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self.descriptor, 0, os.SEEK_END)
        self.kept: tuple[list[str], dict[int, bytes]] = ([], {})

    def writes(self) -> list[str]:
        """Return the kernel's counts of what was written to the disk and discarded (Documentation/block/stat.rst)."""
        fields = Path(f"/sys/block/{os.path.basename(os.path.realpath(self.path))}/stat").read_text().split()
        return [*fields[4:7], *fields[11:14]]

    def forget(self) -> None:
        """Let the next look come from the disk: LVM goes past the kernel's cache."""
        os.fsync(self.descriptor)
        fcntl.ioctl(self.descriptor, 0x1261)  # BLKFLSBUF

    def save(self) -> dict[int, bytes]:
        """Return the blocks that hold something: those that were put there, where nothing was written since."""
        self.forget()
        writes, blocks = self.kept
        if writes == self.writes():
            return blocks
        step, text, nothing = 64 * 1024, bytearray(MIB), bytes(MIB)
        blocks = {}
        for large in range(0, self.size, MIB):
            # Into the same memory each time, which the kernel need not clear anew.
            if os.preadv(self.descriptor, [text], large) < MIB:
                raise Failure(f"{self.path} ends within a MiB, or could not be read at {large}")
            if text != nothing:
                for offset in range(0, MIB, step):
                    part = bytes(text[offset : offset + step])
                    if part != nothing[:step]:
                        blocks[large + offset] = part
        return blocks

    def restore(self, blocks: dict[int, bytes]) -> None:
        descriptor = os.open(self.node, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, 0x127F, struct.pack("QQ", 0, self.size))  # BLKZEROOUT
        for offset, text in blocks.items():
            os.pwrite(descriptor, text, offset)
        os.close(descriptor)
        self.forget()
        self.kept = (self.writes(), blocks)


def mapped() -> list[str]:
    """Return the names of the devices of ours that the kernel maps, with those first that lie on others."""
    names = [line.split()[0] for line in sh("dmsetup ls").splitlines() if "\t" in line]
    ours = [name for name in names if name == "used" or name.startswith(f"{VG}-")]
    return sorted(ours, key=lambda name: (name != "used", name != f"{VG}-{POOL}", name))


def unmap() -> None:
    """Take the kernel's devices of ours away, whatever a killed program left of them."""
    # What is removed is flushed first, which waits for a suspended device below, for ever.
    for name in reversed(mapped()):
        sh(f"dmsetup resume {name}", check=False)
    for attempt in range(20):
        names = mapped()
        if not names:
            return
        sh(f"dmsetup remove {'--force ' if attempt > 2 else ''}{' '.join(names)}", check=False)
        time.sleep(0.1 * attempt)
    raise Failure(f"cannot be unmapped: {names}\n" + sh("dmsetup info -c; dmsetup table"))


def put_back(start: Start, disks: dict[str, Disk]) -> None:
    """Bring the host to a start state."""
    unmap()
    with (HERE / f"{start.name}.state").open("rb") as file:
        saved = pickle.load(file)
    for path, disk in disks.items():
        disk.restore(saved[path])
    # What LVM remembers of a disk's contents, and its copies of metadata, of which thousands would come together.
    sh(f"rm -f /run/lvm/hints /etc/lvm/backup/{VG} /etc/lvm/archive/{VG}_*")
    for path in PROFILES.glob(f"*{PROFILE}*"):
        path.unlink()
    write_profile()
    if start.fresh_dmeventd:
        sh("dmeventd -R || vgchange -q --monitor y")  # as the module does
    activate(start)


def activate(start: Start) -> None:
    if start.active:
        sh(f"vgchange -q --activate y {VG}")
    if start.used:
        sh(THIN)


def write_profile() -> None:
    sh(
        f"printf 'activation {{\n\tthin_pool_autoextend_threshold=80\n\tthin_pool_autoextend_percent=20\n}}\n' "
        f"> {PROFILES}/{PROFILE}.profile"
    )


def make_states(disks: dict[str, Disk]) -> None:
    """Make every start state with LVM's own commands, and keep the disks' contents."""
    if all((HERE / f"{start.name}.state").exists() for start in STARTS):
        return
    if not (HERE / "random").exists():
        (HERE / "random").write_bytes(os.urandom(12 * MIB))
        make_foreign()
    write_profile()
    for start in STARTS:
        unmap()
        if start.base:
            put_back(next(other for other in STARTS if other.name == start.base), disks)
        else:
            for disk in disks.values():
                disk.restore({})
        for command in start.commands:
            sh(command)
        unmap()
        saved = {path: disk.save() for path, disk in disks.items()}
        with (HERE / f"{start.name}.state").open("wb") as file:
            pickle.dump(saved, file)
    sh("sync")


def make_foreign() -> None:
    """Make what nobody may touch: a group of somebody, with data, a thin pool, and what looks like a leftover."""
    for command in (
        f"vgcreate -q --yes foreign {FOREIGN}",
        "lvcreate -q --yes --name data --extents 5 foreign",
        f"dd if={HERE}/random of=/dev/foreign/data bs=1M conv=fsync status=none",
        f"lvcreate -q --yes --type thin-pool --name {POOL} --extents 20 --poolmetadatasize 8m --chunksize 512k foreign",
        "lvcreate -q --yes --name lvol0 --extents 2 foreign",
    ):
        sh(command)


def foreign(since_boot: bool = True) -> dict[str, str]:
    """Return what must stay as it is: the group's count of changes, its data, what was written to its disk."""
    disk = os.path.basename(os.path.realpath(FOREIGN))
    found = {
        "vg_seqno": sh("vgs --noheadings -o vg_seqno foreign").strip(),
        "volumes": sh("lvs --all --noheadings -o lv_name,lv_attr,lv_size,seg_monitor foreign"),
        "data": checksum("/dev/foreign/data"),
    }
    if since_boot:
        fields = Path(f"/sys/block/{disk}/stat").read_text().split()
        found.update({"sectors written": fields[6], "sectors discarded": fields[13]})
    return found


def checksum(path: str) -> str:
    """Return the checksum of the beginning of a device that random bytes were written to, past the kernel's cache."""
    return sh(f"dd if={path} bs=1M count=12 iflag=direct status=none | sha256sum").split()[0]


# ---------------------------------------------------------------------------------------------------------------------
# What a state is, for the comparison of two

FIELDS = {
    "vg": "vg_name,vg_attr,vg_extent_size,vg_extent_count,vg_free_count,vg_tags,vg_missing_pv_count",
    "pv": "pv_name,vg_name,pv_size,pv_in_use,pv_missing,pv_pe_count,pv_pe_alloc_count",
    "seg": (
        "vg_name,lv_name,lv_attr,lv_size,lv_tags,lv_active,lv_suspended,lv_inactive_table,lv_device_open,lv_profile,"
        "lv_when_full,lv_health_status,lv_check_needed,segtype,data_lv,metadata_lv,lv_metadata_size,chunk_size,zero,"
        "discards,transaction_id,seg_monitor,seg_size"
    ),
    "lv": "lv_uuid",
    "pvseg": "pv_uuid",
}


def look() -> dict[str, t.Any]:
    """Return everything that an operation can change, without what differs between any two runs."""
    command = "lvm fullreport --all --units b --nosuffix --reportformat json"
    for section, fields in FIELDS.items():
        command += f" --configreport {section} --options {fields}"
    names = {os.path.realpath(path): os.path.basename(path) for path in DISKS}
    found: dict[str, t.Any] = {"vg": [], "pv": [], "seg": []}
    for element in json.loads(sh(command))["report"]:
        for section in ("vg", "pv", "seg"):
            for row in element.get(section, ()):
                if row["vg_name"] == "foreign":
                    continue
                if section == "pv":
                    row["pv_name"] = names.get(row["pv_name"], row["pv_name"])
                found[section].append(" ".join(f"{key}={value}" for key, value in row.items()))
    found = {section: sorted(rows) for section, rows in found.items()}
    # Which extents and device numbers something got may differ; the sizes, the pool's chunks, its mark and flags not.
    tables = sh("dmsetup table").splitlines()
    found["table"] = sorted(
        re.sub(r"\d+:\d+( \d+$)?", "-", line) for line in tables if line.startswith((f"{VG}-", "used:"))
    )
    devices = sh("dmsetup info -c --noheadings --separator ' ' -o name,suspended,tables_loaded,readonly,open")
    found["devices"] = sorted(line for line in devices.splitlines() if line.startswith((f"{VG}-", "used")))
    for path in DISKS:
        found[os.path.basename(path)] = re.findall(r"^(0x\w+),.*?,(\w+)$", sh(f"wipefs --parsable {path}"), re.M)
    found["profiles"] = [f"{path.name}: {path.read_text()}" for path in sorted(PROFILES.glob(f"*{PROFILE}*"))]
    found["litter"] = sorted(path.name for path in PROFILES.iterdir() if path.suffix == ".profile")
    return found


def hangs() -> bool:
    """Return whether LVM would wait for a suspended device of ours, below one that it looks for labels on."""
    return "used" in mapped() and "Suspended" in sh("dmsetup info -c --noheadings -o name,suspended")


def data(operation: Operation) -> dict[str, str]:
    """Return the checksums of what somebody keeps in our group and in our pool."""
    found = {}
    if operation.start not in (BLANK, WHOLE):
        found["lvol7"] = checksum(f"/dev/{VG}/lvol7")
    if operation.start.used:
        if "used" not in mapped():
            sh(THIN)
        found["used"] = checksum("/dev/mapper/used")
    return found


def difference(wanted: dict[str, t.Any], found: dict[str, t.Any]) -> str:
    lines = []
    for key in sorted({*wanted, *found}):
        sides = [[str(part) for part in side.get(key) or ()] for side in (wanted, found)]
        lines += [f"  {key}, missing: {part}" for part in sides[0] if part not in sides[1]]
        lines += [f"  {key}, found:   {part}" for part in sides[1] if part not in sides[0]]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------------------
# Modules, run and killed


def make_shims() -> None:
    SHIMS.mkdir(exist_ok=True)
    for name in SHIMMED:
        real = f"/usr/sbin/{name}"
        if os.path.exists(real):
            shim = SHIMS / name
            shim.write_text(SHIM.format(name=name, real=real, wish=WISH, count=COUNT, log=LOG))
            shim.chmod(0o755)
    # What the modules look up; process puts it first.
    os.environ["PATH"] = f"{SHIMS}:{os.environ['PATH']}"


def preload() -> None:
    """Import once what every module imports, so that a module costs a fork."""
    sys.path.insert(0, str(HERE))
    (HERE / "ansible/__init__.py").touch()  # as in the archives that Ansible sends to hosts
    import ansible.module_utils.testing  # noqa: F401  # pylint: disable=unused-import

    package = "ansible_collections.devicemapper.containers.plugins.module_utils"
    for path in HERE.glob(package.replace(".", "/") + "/_*/*.py"):
        if path.stem != "__init__":
            __import__(f"{package}.{path.parent.name}.{path.stem}")


@dataclasses.dataclass(frozen=True)
class Run:
    killed: bool
    rc: int
    result: dict[str, t.Any]
    text: str


def module(name: str, options: dict[str, t.Any]) -> Run:
    """Run a module in a process of its own."""
    output = HERE / "output"
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.addaudithook(only_shims)
        from ansible.module_utils.testing import patch_module_args

        status = 70
        try:
            with patch_module_args(options):
                runpy.run_module(
                    f"ansible_collections.devicemapper.containers.plugins.modules.{name}", run_name="__main__"
                )
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _pid, status = os.waitpid(pid, 0)
    text = output.read_text()
    lines = [line for line in text.splitlines() if line.startswith("{")]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    try:
        result = json.loads(lines[-1]) if lines else {}
    except ValueError:
        result = {}
    return Run(killed, -1 if killed else os.waitstatus_to_exitcode(status), result, text)


def only_shims(event: str, words: tuple) -> None:
    """See that no program is started past the wrappers."""
    if event == "subprocess.Popen" and not str(words[0]).startswith(f"{SHIMS}/"):
        os.write(2, f"started past the wrappers: {words[0]} {words[1]}\n".encode())
        os._exit(71)


def perform(operation: Operation, wish: str = "") -> list[Run]:
    """Run the operation's modules, up to the one that is killed or fails."""
    WISH.write_text(f"{wish or '0 run 0'}\n")
    COUNT.write_text("0\n")
    runs = []
    for name, options in operation.calls:
        runs.append(module(name, options))
        if runs[-1].killed or runs[-1].rc:
            break
    return runs


@dataclasses.dataclass(frozen=True)
class Program:
    number: int
    words: str
    seconds: float

    @property
    def name(self) -> str:
        return self.words.split()[0]

    @property
    def writes(self) -> bool:
        return self.name not in ("lvm", "lvmconfig") and not re.match(r"dmsetup table|wipefs --no-act", self.words)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Return the parts of its time after which it is killed."""
        if self.name == "dmeventd":
            # It writes nothing but hands over what is monitored. Killed itself in the first 0.06 seconds of that, it
            # loses it for every pool of the host (seen): ours is monitored again by the rerun, those of others not.
            return ()
        return FRACTIONS if self.seconds > SHORT else FRACTIONS[1:2]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What an undisturbed run starts, and where it ends."""

    programs: list[Program]
    begin: dict[str, t.Any]
    end: dict[str, t.Any]
    data: dict[str, str]


def refer(operation: Operation, disks: dict[str, Disk]) -> Reference:
    """Run the operation undisturbed."""
    put_back(operation.start, disks)
    begin = look()
    LOG.write_text("")
    before = data(operation)
    runs = perform(operation, "0 time 0")
    if runs[-1].rc or runs[-1].killed:
        raise Failure(f"{operation.name}: the undisturbed run failed: {runs[-1].text}")
    programs = []
    for number, line in enumerate(LOG.read_text().splitlines(), 1):
        begun, ended, words = line.split(" ", 2)
        programs.append(Program(number, words, float(ended) - float(begun)))
    end = look()
    again(operation)
    if not any(run.result.get("changed") for run in runs) or end == begin:
        raise Failure(f"{operation.name}: the undisturbed run changed nothing")
    if before != data(operation):
        raise Failure(f"{operation.name}: the undisturbed run did not keep the data")
    text = " ".join(map(str, [*end["vg"], *end["seg"], *end["devices"]]))
    if "lvol0 " in text or "suspended=suspended" in text:
        raise Failure(f"{operation.name}: the undisturbed run left something behind: {text}")
    found = Reference(programs, begin, end, before)
    with (HERE / f"{operation.name}.reference").open("wb") as file:
        pickle.dump(found, file)
    return found


def again(operation: Operation) -> None:
    """See that nothing is left to do."""
    for run, (name, _options) in zip(perform(operation), operation.calls):
        if run.rc or run.result.get("changed") is not False:
            raise Failure(f"{name} has something to do in a state that should be the end: {run.text}")


def converge(operation: Operation, reference: Reference) -> bool:
    """Run the operation again, to its end; return whether it refused and told what to run first."""
    refused = False
    runs = perform(operation)
    if runs[-1].rc:
        told = re.findall(r"'((?:(?:lv|vg|pv)(?!s )|dmsetup clear )[^']*)'", runs[-1].result.get("msg", ""))
        if not told or "failed with status" in runs[-1].result["msg"]:
            raise Failure(f"the rerun failed: {runs[-1].text}")
        refused = True
        sh(told[0])
        runs = perform(operation)
        if runs[-1].rc:
            raise Failure(f"the rerun failed after {told[0]}: {runs[-1].text}")
    kept, found = data(operation), look()  # in this order: where the pool was out of use, it is taken into use first
    if found != reference.end:
        actions = [run.result.get("actions") for run in runs]
        raise Failure(f"another end after {actions}:\n{difference(reference.end, found)}")
    if kept != reference.data:
        raise Failure("data was lost")
    again(operation)
    return refused


@dataclasses.dataclass
class Tally:
    programs: int = 0
    points: dict[str, int] = dataclasses.field(default_factory=dict)
    reruns: int = 0
    converged: int = 0
    refused: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0

    @property
    def tried(self) -> int:
        return sum(self.points.values())


def points(programs: t.Sequence[Program], every: bool) -> t.Iterator[tuple[Program, str, float]]:
    """Yield where and how to kill.

    After a program that only reads, the next is started with nothing on the host changed in between but what modules
    write by themselves, so killing before the next is killing after this one, and later.
    """
    for program in programs:
        yield program, "before", 0
        if program.writes:
            for fraction in program.fractions:
                yield program, "amid", round(program.seconds * fraction, 3)
            yield program, "while", 0
        if every or program.writes or program is programs[-1]:
            yield program, "after", 0


@contextlib.contextmanager
def trial(tally: Tally, way: str, label: str) -> t.Iterator[list[str]]:
    """Count and print what becomes of one trial; what was seen is put into the list."""
    started, notes = time.monotonic(), []
    tally.points[way] = tally.points.get(way, 0) + 1
    try:
        yield notes
    except Failure as failure:
        tally.failed.append(f"{label}: {failure}")
        print(f"{label}: FAILED: {failure}", flush=True)
    else:
        tally.converged += 1
        print(f"{label}: {notes[-1]} ({time.monotonic() - started:.1f} s)", flush=True)


def kill_all(operation: Operation, disks: dict[str, Disk], every: bool) -> Tally:
    """Try every point of an operation."""
    tally = Tally()
    begun = time.monotonic()
    reference = refer(operation, disks)
    tally.programs = len(reference.programs)
    shown = {}  # states that a rerun converged from, and whether it refused first
    put = False  # whether the host is in the start state
    for program, way, seconds in points(reference.programs, every):
        label = f"{operation.name}: {way} {program.number} {program.words[:60]}" + (f" {seconds} s" if seconds else "")
        with trial(tally, way, label) as notes:
            if not put:
                put_back(operation.start, disks)
            put = False
            wish = f"{program.number} {way} {seconds} {program.name}"
            runs = perform(operation, wish)
            if not runs[-1].killed and not runs[-1].rc:
                # Another program came in its place, since one before it failed and was remedied: dmeventd -R, which
                # does not always get an answer in time. What it would have met is tried again.
                put_back(operation.start, disks)
                runs = perform(operation, wish)
            if not runs[-1].killed:
                raise Failure(f"it was not killed: {runs[-1].text}")
            left = {} if way == "while" or hangs() else look()
            key = json.dumps(left, sort_keys=True)
            if left and not every and key in shown:
                refused, note = shown[key], "left what was seen before"
            else:
                refused = converge(operation, reference)
                tally.reruns += 1
                note = "refused, then converged" if refused else "converged"
                if left:
                    shown[key] = refused
            put = left == reference.begin and key in shown and note == "left what was seen before"
            tally.refused += refused
            notes.append(note)
    for words, command in operation.stuck:
        with trial(tally, "stuck", f"{operation.name}: {words}") as notes:
            put_back(operation.start, disks)
            sh(command)
            refused = converge(operation, reference)
            tally.reruns += 1
            tally.refused += refused
            notes.append("refused, then converged" if refused else "converged")
    tally.seconds = time.monotonic() - begun
    return tally


def table(tallies: dict[str, Tally]) -> str:
    """Return the numbers, for people."""
    total = Tally()
    ways = ("before", "amid", "while", "after", "stuck")
    for tally in tallies.values():
        total.programs += tally.programs
        total.reruns += tally.reruns
        total.converged += tally.converged
        total.refused += tally.refused
        total.failed += tally.failed
        total.seconds += tally.seconds
        for way in ways:
            total.points[way] = total.points.get(way, 0) + tally.points.get(way, 0)
    head = ("operation", "programs", *ways, "tried", "converged", "of these refused first", "failed", "reruns", "s")
    rows = [head]
    for name, tally in {**tallies, "all": total}.items():
        counts = (tally.programs, *(tally.points.get(way, 0) for way in ways), tally.tried, tally.converged)
        counts += (tally.refused, len(tally.failed), tally.reruns, round(tally.seconds))
        rows.append((name, *map(str, counts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill modules and see that they converge.")
    parser.add_argument("work", choices=["kill", "foreign", "prepare", "run", "finish"])
    parser.add_argument("operation", nargs="?")
    parser.add_argument("program", nargs="?")
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--every", action="store_true", help="spare no kill and no rerun")
    options = parser.parse_args()
    make_shims()
    if options.work not in ("foreign", "prepare"):  # these run no module
        preload()
    by_name = {operation.name: operation for operation in OPERATIONS}
    disks = {path: Disk(path) for path in DISKS}
    if options.work == "kill":
        make_states(disks)
        before = foreign()
        tallies = {
            name: kill_all(operation, disks, options.every)
            for name, operation in by_name.items()
            if not options.only or name in options.only
        }
        after = foreign()
        print(table(tallies))
        if not options.every:
            print("Not killed after a program that only reads, but before the next one: nothing on the host differs.")
            print("Not run again where a kill left what, by all that can be seen, a rerun has converged from before.")
        print(f"foreign, before: {before}\nforeign, after:  {after}")
        failed = [text for tally in tallies.values() for text in tally.failed]
        print("\n".join(failed))
        short = [name for name, tally in tallies.items() if tally.tried < tally.programs + 5 or tally.programs < 4]
        if before != after:
            print("FAILED: something foreign was touched")
        if short:
            print(f"FAILED: too few points were tried for {short}")
        return 1 if failed or before != after or short or not tallies else 0
    if options.work == "foreign":
        print(foreign(since_boot=False))
        return 0
    operation = by_name[options.operation]
    with (HERE / f"{operation.name}.reference").open("rb") as file:
        reference = pickle.load(file)
    if options.work == "finish":
        if operation.start.used and f"{VG}-{POOL}" in mapped():
            data(operation)  # Docker would use the pool again before anybody runs a play
        print("refused first" if converge(operation, reference) else "converged")
        return 0
    program = [one for one in reference.programs if one.name == options.program][options.number]
    if options.work == "prepare":
        put_back(operation.start, disks)
        sh("sync")
        print(program.seconds)
    else:
        print([run.text for run in perform(operation, f"{program.number} tell 0 {program.name}")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
