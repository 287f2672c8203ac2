# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make states that other people's hosts were in, ask the modules, and compare what they say and do with what is right.

Runs on a guest, as root, beside the packages `ansible` and `ansible_collections`:

    states.py [--only PATTERN]    every state, or those with names like it; a table, and status 1 where one is wrong

Each state begins with nothing: loop devices for disks, on sparse files. It says what the verdict on docker/thinpool is,
and what a module does: in check mode, then for real, then once more. What is refused is refused in check mode and for
real in the same words, and no byte of any disk is written; what is not is done, and done once.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import time
import traceback
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = Path("/var/tmp/field")
LOG = HERE / "no_events.log"
A, B, C, D = (f"/dev/loop{number}" for number in range(4))
MIB = 1024 * 1024
COLLECTION = "ansible_collections.devicemapper.containers.plugins"
POOL = "docker/thinpool"

# What the shell of a state knows: disks named a, b, c and d, 512 MiB and 127 extents each, and the usual pool.
SHELL = f"""
set -e
export LVM_SUPPRESS_FD_WARNINGS=1 LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
F={FILES} a={A} b={B} c={C} d={D}
number() {{ case $1 in a) echo 0;; b) echo 1;; c) echo 2;; d) echo 3;; esac; }}
# A loop device that somebody still looks at is detached when that ends.
attach() {{
    n=$1; shift
    for again in 4 3 2 1 0; do
        losetup "$@" /dev/loop$(number $n) $F/$n && break
        [ $again -gt 0 ] && sleep 1
    done
    udevadm settle
}}
detach() {{ losetup --detach /dev/loop$(number $1); udevadm settle; }}
disk() {{ n=$1; shift; truncate --size 512M $F/$n; attach $n "$@"; }}
disks() {{ for name in "$@"; do disk $name; done; }}
group() {{ vgcreate --quiet --yes --addtag devicemapper.containers docker "$@" > /dev/null; }}
thin() {{
    lvcreate --quiet --yes --type thin-pool --name thinpool --poolmetadatasize 8m --chunksize 512k --zero n \\
        --metadataprofile docker-thinpool --addtag devicemapper.containers "$@" docker > /dev/null
}}
pool() {{ group "$@"; thin --extents 76; }}
full_pool() {{ group "$@"; thin --extents 110; }}
conf() {{ echo "$@" >> /etc/lvm/lvmlocal.conf; }}
hidden() {{ vgs --noheadings --options vg_uuid --select "vg_name=docker && vg_free_count=$1" | tr -d ' '; }}
metadata() {{
    vgchange --quiet --quiet --activate n docker > /dev/null 2>&1 || :
    vgcfgbackup --quiet --quiet --file $F/metadata docker > /dev/null; sed --in-place "$1" $F/metadata
    vgcfgrestore --quiet --quiet --force --yes --file $F/metadata docker > /dev/null 2>&1
}}
"""

RESET = f"""
rm -f /etc/lvm/lvmlocal.conf /etc/lvm/devices/* /run/shim/*
# Thin volumes lie on pools, pools on their parts: what is held goes in a later round. Never by force, which waits for
# ever where what lies below is gone already (seen).
for again in 1 2 3 4 5 6 7 8; do
    names=$(dmsetup ls | awk '$1 != "No" {{ print $1 }}')
    [ -n "$names" ] || break
    for name in $names; do dmsetup remove "$name" > /dev/null 2>&1 || :; done
    udevadm settle
done
[ -z "$(dmsetup ls | grep -v '^No')" ] || {{ echo "these stay: $(dmsetup ls)" >&2; exit 1; }}
losetup --detach-all; udevadm settle
rm -rf {FILES} /run/lvm/hints /run/lvm/pvs_online /run/lvm/vgs_online /run/lvm/pvs_lookup
rm -rf /etc/lvm/archive /etc/lvm/backup
mkdir -p {FILES} /etc/lvm/profile /run/shim
rm -f /etc/lvm/profile/*-thinpool.profile
printf 'activation {{\\n\\tthin_pool_autoextend_threshold=80\\n\\tthin_pool_autoextend_percent=20\\n}}\\n' \\
    > /etc/lvm/profile/docker-thinpool.profile
"""


@dataclasses.dataclass(frozen=True)
class State:
    """A state, and what is right in it."""

    name: str
    make: str
    verdict: str = ""  # the word; empty: not asked
    reason: str = ""  # the kind of one of the reasons
    says: str = ""  # words of that reason; and where there is none, of the verdict's lines
    call: tuple[str, dict[str, t.Any]] | None = None
    refused: str = ""  # words; empty: it is done
    fails: str = ""  # words of the error of a real run that check mode cannot foresee
    changed: bool = True
    then: str = "true"  # shell that succeeds afterwards


def vg(*devices: str, **options: t.Any) -> tuple[str, dict[str, t.Any]]:
    return "lvm_vg", {"name": "docker", "devices": list(devices), **options}


def thin(**options: t.Any) -> tuple[str, dict[str, t.Any]]:
    return "lvm_thin_pool", {"vg": "docker", "name": "thinpool", **options}


def plan(*devices: str, **options: t.Any) -> tuple[str, dict[str, t.Any]]:
    wanted = {"engine": "none", "data_size": "10%VG", "metadata_size": "8m", "autoextend_room": "ignore"}
    return "thin_pool_plan", {"devices": list(devices), **wanted, **options}


def info(*devices: str, **options: t.Any) -> tuple[str, dict[str, t.Any]]:
    return "block_device_info", {"devices": list(devices), **options}


IMPOSSIBLE = "data_extension_impossible"
LVM_SAYS = "LVM says '"
DROP_IN = f"""
python3 - <<'END' > /run/shim/drop-in
import sys; sys.path.insert(0, {str(HERE)!r})
from {COLLECTION}.module_utils._lvm import boot_drop_in
boot_drop_in.PATIENCE = 2
for line in boot_drop_in.text("docker", "thinpool").splitlines():
    if line.startswith("ExecStartPre="):
        print(line.partition("=")[2].replace("$$", "$"))
END
"""
RUN_DROP_IN = DROP_IN + "sh -e /run/shim/drop-in"
DROP_IN_FAILS = DROP_IN + "! sh -e /run/shim/drop-in > /run/shim/said 2>&1; grep --quiet '%s' /run/shim/said"
RENAMED = "disks a; pool $a; vgchange -qq -an docker; vgchange -qq --yes --systemid old docker; "
NAMED = "conf 'global { system_id_source=\"uname\" }'; "
OTHER_GROUP = "disk b; vgcreate -qq %s docker $b; detach b; "

STATES = (
    # --- A: room ------------------------------------------------------------------------------------------------------
    State(
        "usual pool", "disks a; pool $a", "ok", says="188.00 MiB free in docker", call=thin(size="304m"), changed=False
    ),
    State(
        "room on a device that is not allocatable",
        "disks a b; full_pool $a; vgextend -qq docker $b; pvchange -qq -xn $b",
        "warning",
        IMPOSSIBLE,
        "pvchange --allocatable y /dev/loop1",
        thin(size="560m"),
        refused="LVM would refuse to grow data of thin pool docker/thinpool",
    ),
    State(
        "the room is on the allocatable one of two devices",
        "disks a b c; full_pool $a; vgextend -qq docker $b $c; pvchange -qq -xn $b",
        "ok",
        call=thin(size="560m"),
    ),
    State(
        "stripes over two devices, and one new device",
        "disks a b c; group $a $b; thin --extents 240 --stripes 2; vgextend -qq docker $c",
        "warning",
        IMPOSSIBLE,
        LVM_SAYS,
        thin(size="1100m"),
        refused="LVM would refuse to grow data",
    ),
    State(
        "stripes over two devices, and two new devices",
        "disks a b c d; group $a $b; thin --extents 240 --stripes 2; vgextend -qq docker $c $d",
        "ok",
        call=thin(size="1100m"),
    ),
    State(
        "mirrored data, and one new device",
        "disks a b c; group $a $b; lvcreate -qq -y --type raid1 -m1 -n thinpool -l 110 --nosync docker; "
        "lvcreate -qq -y -n thinpoolmeta -l 2 docker; "
        "lvconvert -qq -y --type thin-pool --poolmetadata docker/thinpoolmeta -c 512k -Zn "
        "--metadataprofile docker-thinpool docker/thinpool; vgextend -qq docker $c",
        "warning",
        IMPOSSIBLE,
        LVM_SAYS,
    ),
    State(
        "a group that allocates contiguously, with something behind the pool's data",
        "disks a; pool $a; vgchange -qq --alloc contiguous docker",
        "warning",
        IMPOSSIBLE,
        "contiguous",
        thin(size="400m"),
        refused="LVM would refuse to grow data",
    ),
    State(
        "a group that allocates contiguously",
        "disks a b; full_pool $a; vgextend -qq docker $b; vgchange -qq --alloc contiguous docker",
        "warning",
        IMPOSSIBLE,
        LVM_SAYS,
    ),
    State(
        "a group that clings to its devices, which are full",
        "disks a b; full_pool $a; vgextend -qq docker $b; vgchange -qq --alloc cling docker",
        "warning",
        IMPOSSIBLE,
        LVM_SAYS,
    ),
    State("a group that clings to a device with room", "disks a; pool $a; vgchange -qq --alloc cling docker", "ok"),
    State("a group that allocates anywhere", "disks a; pool $a; vgchange -qq --alloc anywhere docker", "ok"),
    State(
        "data on a device that is tagged and clung to",
        "disks a b; full_pool $a; vgextend -qq docker $b; pvchange -qq --addtag @one $a; pvchange -qq --addtag @two $b;"
        " vgchange -qq --alloc cling_by_tags docker; conf 'allocation { cling_tag_list=[ \"@*\" ] }'",
        "warning",
        IMPOSSIBLE,
        LVM_SAYS,
    ),
    State(
        "a new pool where the room is on a device that is not allocatable",
        "disks a b; group $a $b; pvchange -qq -xn $b",
        call=thin(size="600m", metadata_size="8m", profile="docker-thinpool"),
        refused="LVM would refuse to create thin pool docker/thinpool",
    ),
    State(
        "a new pool in a group that allocates contiguously",
        "disks a b; group $a $b; vgchange -qq --alloc contiguous docker",
        call=thin(size="400m", metadata_size="8m", profile="docker-thinpool"),
    ),
    State("a full group", "disks a; full_pool $a", "warning", IMPOSSIBLE, "add a device"),
    State(
        "metadata read only by lvm.conf",
        "disks a; pool $a; conf 'global { metadata_read_only=1 }'",
        "warning",
        IMPOSSIBLE,
        "global/metadata_read_only=1",
        thin(size="400m"),
        refused="global/metadata_read_only=1",
    ),
    State(
        "a device that shrank",
        "disks a b; pool $a; vgextend -qq docker $b; truncate --size 256M $F/b; losetup --set-capacity $b",
        "critical",
        "device_shrunk",
        "/dev/loop1 of volume group docker has become smaller",
    ),
    # --- B: nothing is written before it is known to work -------------------------------------------------------------
    State(
        "a disk with large sectors for a group with small ones",
        "disks a; pool $a; disk b --sector-size 4096",
        call=vg(A, B),
        refused="inconsistent logical block sizes",
    ),
    State(
        "the same, planned",
        "disks a; pool $a; disk b --sector-size 4096",
        call=plan(A, B),
        refused="inconsistent logical block sizes",
    ),
    State(
        "the same, asked about",
        "disks a; pool $a; disk b --sector-size 4096",
        call=info(B, vg="docker"),
        refused="inconsistent logical block sizes",
    ),
    State(
        "a disk with small sectors for a group with large ones",
        "disk a --sector-size 4096; disk b; group $a",
        call=vg(A, B),
        refused="inconsistent logical block sizes",
    ),
    State(
        "a new group of disks with different sectors",
        "disk a --sector-size 4096; disk b",
        call=vg(A, B),
        refused="inconsistent logical block sizes",
    ),
    State(
        "a disk with large sectors that would be wiped first",
        "disks a; pool $a; disk b --sector-size 4096; mkfs.ext4 -q $b",
        call=vg(A, B, wipe_signatures=True),
        refused="sectors of different sizes",
        then="wipefs --no-act $b | grep --quiet ext4",
    ),
    State(
        "different sectors, allowed by lvm.conf",
        "disks a; pool $a; disk b --sector-size 4096; conf 'devices { allow_mixed_block_sizes=1 }'",
        call=vg(A, B),
        then="vgs --noheadings -o pv_count docker | grep --quiet 2",
    ),
    State(
        "a group that is not resizeable",
        "disks a b; pool $a; vgchange -qq -xn docker",
        "ok",
        call=vg(A, B),
        refused="vgchange --resizeable y docker",
    ),
    State(
        "a group that is not resizeable, planned",
        "disks a b; pool $a; vgchange -qq -xn docker",
        call=plan(A, B),
        refused="vgchange --resizeable y docker",
    ),
    State(
        "a group with as many devices as it may have",
        "disks a b; pool $a; vgchange -qq --maxphysicalvolumes 1 docker",
        call=vg(A, B),
        refused="may have 1 devices at most",
    ),
    State(
        "a disk that LVM's filter rejects",
        "disks a b; pool $a; conf 'devices { filter=[ \"r|loop1|\" ] }'",
        call=vg(A, B),
        refused="rejected by filter config",
    ),
    State(
        "a disk that LVM's filter rejects, planned for a new group",
        "disks b; conf 'devices { global_filter=[ \"r|loop1|\" ] }'",
        call=plan(B),
        refused="LVM would refuse to create",
    ),
    State(
        "a disk that LVM's filter rejects, asked about",
        "disks b; conf 'devices { global_filter=[ \"r|loop1|\" ] }'",
        call=info(B),
        refused="LVM would refuse",
    ),
    State(
        "a disk that LVM's filter rejects, labelled alone",
        "disks b; conf 'devices { filter=[ \"r|loop1|\" ] }'",
        call=("lvm_pv", {"devices": [B]}),
        refused="LVM would refuse to create physical volume /dev/loop1",
    ),
    State(
        "one of two disks is rejected by LVM's filter",
        "disks b c; conf 'devices { filter=[ \"r|loop1|\" ] }'",
        call=("lvm_pv", {"devices": [C, B]}),
        refused="LVM would refuse to create physical volume /dev/loop1",
    ),
    State(
        "disks that are too small for lvm.conf",
        "disks b; conf 'devices { pv_min_size=1048576 }'",
        call=vg(B),
        refused="LVM would refuse",
    ),
    State(
        "LVM may only read",
        "disks b; conf 'global { metadata_read_only=1 }'",
        call=vg(B),
        refused="global/metadata_read_only=1",
    ),
    State(
        "extending fails in spite of all",
        'disks a b; pool $a; printf \'#!/bin/sh\\nfor w; do [ $w != --test ] || exec /usr/sbin/vgextend "$@"; done\\n'
        "echo no such luck >&2; exit 5\\n' > /run/shim/vgextend; chmod +x /run/shim/vgextend",
        call=vg(A, B),
        fails="no such luck",
        then="! pvs $b 2> /dev/null; ! wipefs --no-act $b | grep LVM2",
    ),
    State(
        "making the group fails in spite of all",
        'disks a b; printf \'#!/bin/sh\\nfor w; do [ $w != --test ] || exec /usr/sbin/vgcreate "$@"; done\\n'
        "echo no such luck >&2; exit 5\\n' > /run/shim/vgcreate; chmod +x /run/shim/vgcreate",
        call=vg(A, B),
        fails="no such luck",
        then="! wipefs --no-act $a | grep LVM2; ! wipefs --no-act $b | grep LVM2",
    ),
    State("a bare physical volume", "disks a b; pool $a; pvcreate -qq $b", call=vg(A, B)),
    # --- D: a step is done when its effect is seen --------------------------------------------------------------------
    State(
        "activation skip",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; lvchange -qq -ky docker/thinpool",
        "critical",
        "inactive",
        "lvchange --setactivationskip n docker/thinpool",
        thin(),
        refused="lvchange --setactivationskip n docker/thinpool",
        then=DROP_IN_FAILS % "thin pool docker/thinpool is not active",
    ),
    State(
        "activation skip, and its way out",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; lvchange -qq -ky docker/thinpool; "
        "lvchange -qq --setactivationskip n docker/thinpool",
        call=thin(),
        then=RUN_DROP_IN,
    ),
    State(
        "a pool that lvm.conf leaves out",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; conf 'activation { volume_list=[ \"other\" ] }'",
        "critical",
        "inactive",
        call=thin(),
        fails="activation/volume_list",
        then=DROP_IN_FAILS % "activation/volume_list",
    ),
    State(
        "a pool that may only be read",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; "
        "conf 'activation { read_only_volume_list=[ \"docker\" ] }'",
        call=thin(),
        fails="lvchange --yes --activate y docker/thinpool failed",
    ),
    State(
        "lvm.conf monitors nothing",
        "disks a; pool $a; conf 'activation { monitoring=0 }'",
        "warning",
        "not_monitored",
        "activation/monitoring=0",
        thin(),
        refused="activation/monitoring=0",
        then=DROP_IN_FAILS % "activation/monitoring",
    ),
    State(
        "lvm.conf monitors nothing, planned",
        "disks a; pool $a; conf 'activation { monitoring=0 }'",
        call=plan(A),
        refused="activation/monitoring=0",
    ),
    State(
        "lvm.conf activates nothing by itself",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; conf 'activation { auto_activation_volume_list=[] }'",
        call=thin(),
        then=RUN_DROP_IN,
    ),
    State("the unit's drop-in, twice", "disks a; pool $a", "ok", then=f"{RUN_DROP_IN}; sh -e /run/shim/drop-in"),
    State("no pool for the drop-in", "disks a; group $a", "critical", "missing", then=DROP_IN_FAILS % "Failed to find"),
    # --- E: identity --------------------------------------------------------------------------------------------------
    State(
        "another group of the same name",
        OTHER_GROUP % "" + "disks a; pool $a; attach b",
        "critical",
        "name_twice",
        "vgrename UUID NEWNAME",
        vg(A),
        refused="docker is there 2 times",
    ),
    State(
        "another group of the same name that is older than ours, and a new disk",
        OTHER_GROUP % "" + "disks a c; pool $a; attach b",
        call=vg(A, C),
        refused="docker is there 2 times",
    ),
    State(
        "another group of the same name that is younger than ours",
        "disks a; pool $a; vgchange -qq -an docker; detach a; disk b; vgcreate -qq docker $b; attach a",
        "critical",
        "name_twice",
        call=thin(size="400m"),
        refused="docker is there 2 times",
    ),
    State(
        "another group of the same name, and its way out",
        OTHER_GROUP % "" + "disks a; pool $a; attach b; vgrename -qq $(hidden 127) other > /dev/null 2>&1",
        "ok",
        call=vg(A),
        changed=False,
    ),
    State(
        "three groups of the same name",
        "disk c; vgcreate -qq docker $c; detach c; " + OTHER_GROUP % "" + "disks a; pool $a; attach b; attach c",
        "critical",
        "name_twice",
        "docker is there 3 times",
    ),
    State(
        "a foreign group of the same name",
        OTHER_GROUP % "--systemid elsewhere" + "disks a c; pool $a; attach b",
        "ok",
        call=vg(A, C),
        then="vgs --noheadings -o pv_count docker | grep --quiet 2",
    ),
    State(
        "a foreign group of the same name, and the pool grows",
        OTHER_GROUP % "--systemid elsewhere" + "disks a; pool $a; attach b",
        "ok",
        call=thin(size="400m"),
    ),
    State(
        "a disk of a foreign group of the same name is named",
        OTHER_GROUP % "--systemid elsewhere" + "disks a; pool $a; attach b",
        call=vg(A, B),
        refused="belongs to another volume group docker",
    ),
    State(
        "a foreign group of the same name alone",
        OTHER_GROUP % "--systemid elsewhere" + "disks a; attach b",
        call=vg(A),
        refused="belongs to another system (system ID elsewhere",
    ),
    State(
        "an exported group of the same name",
        "disk b; vgcreate -qq docker $b; vgexport -qq docker; detach b; disks a; pool $a; attach b",
        "critical",
        "name_twice",
    ),
    State(
        "a copy of the pool's disk",
        "disks a; pool $a; cp --sparse=always $F/a $F/b; attach b",
        "critical",
        "duplicate",
        "/dev/loop1 has the same physical volume",
        thin(size="400m"),
        refused="there more than once",
    ),
    State(
        "a copy of the pool's disk is named",
        "disks a; pool $a; cp --sparse=always $F/a $F/b; attach b",
        call=info(B),
        refused="has the same physical volume on it as /dev/loop0",
    ),
    State(
        "a copy of somebody's disk beside the pool",
        "disks a b; pool $a; vgcreate -qq somebody $b; cp --sparse=always $F/b $F/c; attach c",
        "ok",
        call=thin(size="400m"),
    ),
    State(
        "a copy that was given other names",
        "disks a; pool $a; cp --sparse=always $F/a $F/b; attach b; vgimportclone -qq -n copied $b > /dev/null 2>&1",
        "ok",
        call=thin(size="400m"),
    ),
    State(
        "a pool of another host on a disk that is not named",
        "disks a b; pool $a",
        call=plan(B, engine="docker"),
        refused="which is not among the devices",
    ),
    State(
        "the same pool, whose disk is named too",
        "disks a b; pool $a",
        call=plan(A, B, engine="none"),
    ),
    # --- F: obstacles of a group --------------------------------------------------------------------------------------
    State(
        "a host that was renamed",
        RENAMED + NAMED,
        "critical",
        "foreign",
        "system ID old; this host has the system ID",
        thin(),
        refused="take it over while nothing of it is active: vgchange",
    ),
    State(
        "a host without a system ID, and a group with one",
        RENAMED,
        "critical",
        "foreign",
        "system ID old; this host has no system ID",
    ),
    State(
        "a host that was renamed, and its way out",
        RENAMED
        + NAMED
        + """vgchange -qq --yes --config \
            'global/system_id_source="lvmlocal" local/system_id="old"' --systemid "$(uname -n)" docker""",
        "critical",
        "inactive",
        "run 'lvchange --activate y docker/thinpool'",
        thin(size="400m"),
    ),
    State(
        "a group of a system that lvm.conf allows beside its own, which LVM does not activate all the same",
        RENAMED + NAMED + "conf 'local { extra_system_ids=[ \"old\" ] }'",
        "critical",
        "foreign",
        call=thin(),
        refused="belongs to another system (system ID old",
    ),
    State(
        "an exported group",
        "disks a; pool $a; vgchange -qq -an docker; vgexport -qq docker",
        "critical",
        "exported",
        "vgimport docker",
        thin(),
        refused="vgimport docker",
    ),
    State(
        "a read-only group",
        'disks a; pool $a; metadata \'0,/"READ", "WRITE"/s//"READ"/\'',
        "critical",
        "read_only",
        "vgcfgrestore --force",
        thin(),
        refused="is read-only",
    ),
    State(
        "a read-only group, and its way out",
        'disks a; pool $a; metadata \'0,/"READ", "WRITE"/s//"READ"/\'; metadata \'0,/"READ"/s//"READ", "WRITE"/\'',
        call=thin(),
    ),
    State(
        "a device is missing",
        "disks a b; pool $a; vgextend -qq docker $b; detach b",
        "critical",
        "device_missing",
        "vgreduce --removemissing docker",
        vg(A),
        refused="misses 1 of its devices",
    ),
    State(
        "a device is missing, and its way out",
        "disks a b; pool $a; vgextend -qq docker $b; detach b; vgreduce -qq --removemissing docker > /dev/null 2>&1",
        "ok",
        call=vg(A),
        changed=False,
    ),
    State(
        "a group that is locked by other hosts' daemon",
        "disks a; pool $a; "
        'metadata \'s/^\\tmax_lv = 0/\\tmax_lv = 0\\n\\tlock_type = "sanlock"\\n\\tlock_args = "1.0.0:x"/\'',
        "critical",
        "shared",
        "shared with other hosts",
        thin(),
        refused="shared with other hosts",
    ),
    # --- G: pools with LVM thin volumes -------------------------------------------------------------------------------
    State(
        "a pool with a thin volume of LVM's",
        "disks a; pool $a; lvcreate -qq -y -V 1g -T docker/thinpool -n vm-1",
        call=thin(),
        refused="holds LVM thin volumes (vm-1)",
    ),
    State(
        "a pool with a thin volume of LVM's, planned",
        "disks a; pool $a; lvcreate -qq -y -V 1g -T docker/thinpool -n vm-1",
        call=plan(A),
        refused="holds LVM thin volumes (vm-1)",
    ),
    State(
        "a pool with thin volumes of LVM's that are not active, one a snapshot",
        "disks a; pool $a; lvcreate -qq -y -V 1g -T docker/thinpool -n vm-1; lvcreate -qq -y -s -n vm-2 docker/vm-1; "
        "lvchange -qq -an docker/vm-1",
        call=thin(profile="docker-thinpool", zero=False),
        refused="holds LVM thin volumes (vm-1, vm-2)",
    ),
    State(
        "a pool that had a thin volume of LVM's",
        "disks a; pool $a; lvcreate -qq -y -V 1g -T docker/thinpool -n vm-1; lvremove -qq -y docker/vm-1",
        call=thin(),
        refused="has the transaction id 2 in LVM",
    ),
    State(
        "a pool with an engine's devices",
        "disks a; pool $a; dmsetup message docker-thinpool 0 'create_thin 0'; "
        "dmsetup message docker-thinpool 0 'set_transaction_id 0 1'",
        "ok",
        call=thin(size="400m"),
    ),
    State(
        "somebody's pool of virtual machines",
        "disks a; vgcreate -qq pve $a; lvcreate -qq -y --type thin-pool -n data -l 76 pve; "
        "lvcreate -qq -y -V 1g -T pve/data -n vm-100-disk-0",
        call=plan(A, vg="pve", pool="data", chunk_size="64k"),
        refused="holds LVM thin volumes (vm-100-disk-0)",
    ),
    State(
        "a second pool beside that of virtual machines",
        "disks a; group $a; lvcreate -qq -y --type thin-pool -n data -l 20 docker; "
        "lvcreate -qq -y -V 1g -T docker/data -n vm-1; thin --extents 30",
        "ok",
        call=thin(size="200m"),
    ),
    # --- H: advice ----------------------------------------------------------------------------------------------------
    State(
        "metadata that is active by itself",
        "disks a; pool $a; lvchange -qq -an docker/thinpool; lvchange -qq -y -ay docker/thinpool_tmeta > /dev/null",
        "critical",
        "inactive",
        "lvchange --activate n docker/thinpool_tmeta && lvchange --activate y docker/thinpool",
        thin(),
    ),
    State(
        "the profile is the group's",
        "disks a; pool $a; vgchange -qq --metadataprofile docker-thinpool docker; "
        "lvchange -qq --detachprofile docker/thinpool; lvchange -qq --refresh docker/thinpool",
        "ok",
        call=thin(),
        changed=False,
    ),
    State(
        "the profile is lvm.conf's",
        "disks a; pool $a; lvchange -qq --detachprofile docker/thinpool; "
        "conf 'activation { thin_pool_autoextend_threshold=70 thin_pool_autoextend_percent=20 }'; "
        "lvchange -qq --refresh docker/thinpool",
        "ok",
    ),
    State(
        "a profile of the group that says never",
        "disks a; pool $a; printf 'activation {\\nthin_pool_autoextend_threshold=100\\n}\\n' "
        "> /etc/lvm/profile/never-thinpool.profile; vgchange -qq --metadataprofile never-thinpool docker; "
        "lvchange -qq --detachprofile docker/thinpool; lvchange -qq --refresh docker/thinpool",
        "warning",
        "no_autoextend",
        "its profile never-thinpool says so",
    ),
    State(
        "a disk that was enlarged",
        "disks a; pool $a; truncate --size 1G $F/a; losetup --set-capacity $a",
        "ok",
        says="512.00 MiB more on /dev/loop0, which was enlarged",
        call=vg(A, resize=True),
        then="vgs --noheadings -o vg_extent_count docker | grep --quiet 255",
    ),
    State(
        "a disk that was enlarged, and a pool that needs it",
        "disks a; full_pool $a; truncate --size 1G $F/a; losetup --set-capacity $a",
        "warning",
        IMPOSSIBLE,
        "pvresize /dev/loop0",
        plan(A, resize_devices=True),
    ),
    State(
        "a disk that was enlarged, and nobody asks for it",
        "disks a; pool $a; truncate --size 1G $F/a; losetup --set-capacity $a",
        call=vg(A),
        changed=False,
    ),
    State(
        "a label alone on a disk that was enlarged",
        "disks b; pvcreate -qq $b; truncate --size 1G $F/b; losetup --set-capacity $b",
        call=("lvm_pv", {"devices": [B], "resize": True}),
    ),
    State(
        "a device that was given up is back",
        "disks a b; pool $a; vgextend -qq docker $b; detach b; vgreduce -qq --removemissing docker > /dev/null 2>&1; "
        "attach b",
        "warning",
        "device_given_up",
        "vgck --updatemetadata docker",
        vg(A, B),
        refused="was given up by volume group docker",
    ),
    State(
        "a device that was given up is back, and its way out",
        "disks a b; pool $a; vgextend -qq docker $b; detach b; vgreduce -qq --removemissing docker > /dev/null 2>&1; "
        "attach b; vgck --updatemetadata docker > /dev/null 2>&1",
        "ok",
        call=vg(A, B),
    ),
)


# ----------------------------------------------------------------------------------------------------------------------


class Wrong(Exception):
    """What is not right; its text is for the person who reads the log."""


def shell(script: str) -> str:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(
        ["bash", "-c", script], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    if done.returncode:
        raise Wrong(f"status {done.returncode} of: {script[-600:]}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return done.stdout


def load() -> None:
    """Import once what every module imports, so that a module costs a fork."""
    sys.path.insert(0, str(HERE))
    (HERE / "ansible/__init__.py").touch()  # as in the archives that Ansible sends to hosts
    LOG.touch()
    import ansible.module_utils.testing  # noqa: F401  # pylint: disable=unused-import

    package = f"{COLLECTION}.module_utils"
    for path in HERE.glob(package.replace(".", "/") + "/_*/*.py"):
        if path.stem != "__init__":
            __import__(f"{package}.{path.parent.name}.{path.stem}")


def stop_udev() -> None:
    """Keep udev from activating a group some time after its devices have come, and so after a state was made."""
    folder = Path("/run/udev/rules.d")
    folder.mkdir(parents=True, exist_ok=True)
    rules = [path.name for path in Path("/usr/lib/udev/rules.d").glob("69-*lvm*.rules")]
    assert rules
    for name in rules:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to("/dev/null")
    subprocess.run(["udevadm", "control", "--reload"], check=True)


def fork(work: t.Callable[[], None]) -> list[dict[str, t.Any]]:
    """Run something in a process of its own, and return the JSON objects that it prints."""
    output = HERE / "output"
    pid = os.fork()
    if pid == 0:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        started: list[str] = []
        sys.addaudithook(lambda event, words: started.append(words[0]) if event == "subprocess.Popen" else None)
        try:
            work()
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc()
        print(json.dumps({"programs": [os.path.basename(str(name)) for name in started]}))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    text = output.read_text()
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if len(found) < 2:
        raise Wrong(f"no result: {text[-3000:]}")
    return found


def module(name: str, options: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    from ansible.module_utils.testing import patch_module_args

    def work() -> None:
        with patch_module_args({**options, "_ansible_check_mode": check}):
            runpy.run_module(f"{COLLECTION}.modules.{name}", run_name="__main__")

    *_others, result, programs = fork(work)
    return {**result, **programs}


def disks() -> dict[str, str]:
    """Return what was written to each disk by the kernel's count, and what is at its beginning and end."""
    found = {}
    for path in (A, B, C, D):
        size = int(Path(f"/sys/block/{path[5:]}/size").read_text()) if os.path.exists(path) else 0
        if not size:
            continue
        counts = Path(f"/sys/block/{path[5:]}/stat").read_text().split()
        with open(path, "rb") as file:
            ends = file.read(4 * MIB)
            file.seek(-4 * MIB, os.SEEK_END)
            ends += file.read()
        found[path] = f"{counts[6]} {counts[13]} {hashlib.sha256(ends).hexdigest()}"
    return found


def message(result: dict[str, t.Any]) -> str:
    """Return why a module refused, or what block_device_info has against a device."""
    told = [reason for device in result.get("devices", []) if isinstance(device, dict) for reason in device["reasons"]]
    return "\n".join(told) or (result.get("msg", "") if result.get("failed") else "")


def judge(state: State) -> dict[str, str]:
    """Return the row of a state's table; what is not right is an error."""
    shell(RESET)
    shell(SHELL + state.make)
    row = {"verdict": "", "check": "", "run": "", "left": ""}
    if state.verdict:
        row["verdict"] = verdict(state)
    if state.call:
        row.update(call(state))
    shell(SHELL + state.then)
    return row


def verdict(state: State) -> str:
    result = module("thin_pool_check_info", {"pools": [POOL], "path": str(LOG)})
    if result.get("failed"):
        raise Wrong(f"no verdict: {result['msg']}")
    (pool,) = result["pools"]
    kinds = [reason["kind"] for reason in pool["reasons"]]
    said = [reason["message"] for reason in pool["reasons"] if reason["kind"] == state.reason] or result["lines"]
    if pool["verdict"] != state.verdict or (state.reason and state.reason not in kinds):
        raise Wrong(f"verdict {pool['verdict']}, not {state.verdict} {state.reason}: {result['lines']}")
    if not any(state.says in line for line in said):
        raise Wrong(f"{state.says!r} is not said: {said}")
    if "group" in state.name:
        series()
    lvm = sum(name in ("lvm", "lvmconfig", "lvextend") for name in result["programs"])
    return f"{pool['verdict']} {' '.join(kinds)} ({lvm} LVM calls)"


def series() -> None:
    """See that no metric is there twice."""

    def work() -> None:
        from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
            collect,
            metrics,
            pool_health,
            verdicts,
        )

        found = verdicts.of_host(collect.look(), [], pool_health.Limits(), lambda name: {})
        lines = [line.rpartition(" ")[0] for line in metrics.render(metrics.of_pools(found)).splitlines()]
        print(json.dumps({"twice": sorted({line for line in lines if line[:1] != "#" and lines.count(line) > 1})}))

    twice = fork(work)[-2]["twice"]
    if twice:
        raise Wrong(f"metrics that are there twice: {twice}")


def call(state: State) -> dict[str, str]:
    assert state.call
    name, options = state.call
    before = disks()
    foreseen = module(name, options, check=True)
    if disks() != before:
        raise Wrong(f"check mode wrote: {before} {disks()}")
    done = module(name, options)
    after = disks()
    why, really = message(foreseen), message(done)
    if state.refused:
        if state.refused not in why or why != really:
            raise Wrong(f"not refused in these words and both times ({state.refused!r}): {foreseen}\n{done}")
        if after != before:
            raise Wrong(f"refused, and yet written: {before} {after}")
        return {"check": f"refused: {why}", "run": "the same", "left": "no byte"}
    if state.fails:
        if why or state.fails not in really:
            raise Wrong(f"it does not fail with {state.fails!r}: {foreseen}\n{done}")
        return {"check": f"{foreseen['actions']}", "run": f"fails: {really}", "left": "see then"}
    if why or really:
        raise Wrong(f"refused: {why}\n{really}")
    if name in ("thin_pool_plan", "block_device_info"):
        return {"check": str(done.get("actions", "free")), "run": "only reads", "left": "no byte"}
    again = module(name, options)
    if foreseen["actions"] != done["actions"] or done["changed"] != state.changed or again.get("changed"):
        raise Wrong(f"foreseen {foreseen['actions']}, done {done['actions']}, again {again}")
    if message(again):
        raise Wrong(f"the second run fails: {message(again)}")
    return {"check": str(foreseen["actions"]), "run": "done, then nothing", "left": "as planned"}


# --- C: every setting that shapes LVM's output ------------------------------------------------------------------------

# Sections of lvm.conf, and what of them is not about output.
SECTIONS = ("log", "report", "global")
OTHERS = re.compile(
    r"global/(?!units|suffix|si_unit_consistency|verbose)|log/(file|activate_file|syslog|journal|overwrite|level)$"
)


def settings() -> dict[str, str]:
    """Return every setting of LVM's output, with another value than the one that it has."""
    found = {}
    for section in SECTIONS:
        text = shell(f"lvmconfig --typeconfig full --config 'log/x=0' {section} 2> /dev/null || :")
        for key, value in re.findall(r"^\s*#?\s*(\w+)=(.*)$", text, re.MULTILINE):
            if OTHERS.match(f"{section}/{key}"):
                continue
            if value in ("0", "1"):
                other = "1" if value == "0" else "0"
            elif value.lstrip("-").isdigit():
                other = str(int(value) + 1)
            elif value.startswith("["):
                other = '["x"]'
            elif key.endswith(("_sort", "_sort_full")):
                other = f'"{"-" if value.strip(chr(34)) else "+"}{value.strip(chr(34)).split(",")[0] or "vg_name"}"'
            elif key.endswith(("_cols", "_cols_verbose", "_cols_full")):
                other = f"{chr(34)}{value.strip(chr(34)).split(',')[0]}{chr(34)}"
            else:
                other = {"output_format": '"json_std"', "units": '"h"', "prefix": '"x {"'}.get(key, '"|"')
            found[f"{section}/{key}"] = other
    return found


def outputs() -> list[str]:
    """See that LVM's report is read the same whatever lvm.conf says of output; return the settings changed in turn."""
    shell(RESET)
    shell(SHELL + "disks a b c; group $a $b; vgchange -qq --addtag one --addtag two docker; thin --extents 200")

    def state() -> dict[str, t.Any]:
        def work() -> None:
            from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, profiles

            read = lvm_state.read()
            told = [sorted(map(repr, part)) for part in (read.groups, read.devices, read.volumes)]
            print(json.dumps({"state": [*told, repr(profiles.policy("docker-thinpool"))]}))

        return {"state": next((one.get("state") for one in fork(work) if "state" in one), None)}

    usual = state()
    changed = settings()
    wrong = []
    for key, value in {**changed, "log/verbose": "3", "report/output_format": '"basic"'}.items():
        section, _slash, name = key.partition("/")
        Path("/etc/lvm/lvmlocal.conf").write_text(f"{section} {{ {name}={value} }}\n")
        try:
            if state() != usual:
                wrong.append(f"{key}={value}")
        except Wrong as error:
            wrong.append(f"{key}={value}: {error}")
    Path("/etc/lvm/lvmlocal.conf").unlink()
    if wrong or len(changed) < 30:
        raise Wrong(f"read otherwise with {wrong}; changed {sorted(changed)}")
    return sorted(changed)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    os.environ["PATH"] = f"/run/shim:{os.environ['PATH']}"
    stop_udev()
    load()
    wrong = 0
    if re.search(only, "every setting of LVM's output"):
        try:
            changed = outputs()
            print(f"right: every setting of LVM's output, changed in turn: {len(changed)}: {' '.join(changed)}")
        except Wrong as error:
            wrong += 1
            print(f"WRONG: every setting of LVM's output: {error}")
    for state in STATES:
        if not re.search(only, state.name):
            continue
        start = time.monotonic()
        try:
            row = judge(state)
            cells = " | ".join(cell.replace("\n", "; ") or "-" for cell in row.values())
            print(f"right: {state.name} | {cells} | {time.monotonic() - start:.1f} s")
        except Wrong as error:
            wrong += 1
            print(f"WRONG: {state.name}: {error}")
        sys.stdout.flush()
    shell(RESET)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
