# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool moves from disk to disk while a container writes, whatever comes in between."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
import seen
from vm import kinds

if t.TYPE_CHECKING:
    from subprocess import Popen

DATA1, DATA2, WEAK, STRONG = (f"/dev/disk/by-id/virtio-{serial}" for serial in ("data1", "data2", "weak", "strong"))
# One file after the other, each with its checksum, the oldest away again.
WRITER = (
    "i=0; while true; do dd if=/dev/urandom of=/f$i bs=1M count=1 conv=fsync 2>/dev/null; md5sum /f$i >> /sums; "
    "i=$((i+1)); if [ $i -gt 40 ]; then i=0; rm -f /sums; fi; sleep 1; done"
)
KEPT = "dd if=/dev/urandom of=/kept bs=1M count=60 conv=fsync; md5sum /kept > /kept.sum; sync; echo done > /end"
# A program that changes something; it kills its starter where that is wished.
SHIM = """#!/bin/sh
number=$(($(cat /run/started.{name} 2>/dev/null || echo 0) + 1))
echo $number > /run/started.{name}
read -r wished way < /run/wish
[ "{name}$number" = "$wished" ] || exec /usr/sbin/{name} "$@"
echo "{name} $*" > /run/killed
case $way in
    before) kill -9 $PPID;;
    after) /usr/sbin/{name} "$@"; kill -9 $PPID;;
    amid) /usr/sbin/{name} "$@" <&0 & sleep 0.4; kill -9 $! $PPID;;
esac
"""
# Of a whole replacement, in their order; pvmove sets a copy up, and completes it. What sets one up sleeps then.
POINTS = (
    *(("pvcreate1", "after"), ("vgextend2", "after"), ("pvchange1", "before"), ("pvmove1", "before")),
    *(("pvmove1", "amid"), ("pvmove2", "amid"), ("pvmove3", "amid"), ("pvmove4", "after")),
    *(("vgreduce1", "amid"), ("vgreduce1", "after")),
)
SHIMMED = sorted({program.rstrip("12345") for program, _way in POINTS})


def disk_of(host) -> str:
    """Return the disk that the pool's group is on now."""
    paths = {seen.root(host, f"readlink -f {name}").strip(): name for name in (DATA1, DATA2)}
    found = seen.root(host, "vgs --noheadings -o pv_name docker").split()
    assert len(found) == 1, found
    return paths[found[0]]


def other(name: str) -> str:
    return DATA2 if name == DATA1 else DATA1


def replace_disk(*options: str, **variables: str) -> str:
    wish = {f"replace_disk_{name}": value for name, value in variables.items()}
    status, output = seen.run_playbook(
        "devicemapper.containers.replace_disk", f"--extra-vars={json.dumps(wish)}", *options
    )
    assert status == 0, output
    return output


def docker_process(host) -> str:
    return seen.root(host, "systemctl show docker --property=MainPID,ExecMainStartTimestamp,NRestarts")


def assert_nothing_is_lost(host) -> None:
    seen.root(host, "docker exec kept /bin/busybox md5sum -c /kept.sum")
    # While it stands still; it has begun anew with its sums where there are few.
    stop, go_on = (f"kill -{name} $(docker inspect --format '{{{{.State.Pid}}}}' writer)" for name in ("STOP", "CONT"))
    look = "cat /sums > /old; test $(wc -l < /old) -gt 5 || exit 9; md5sum -c /old"

    def summed_up() -> str:
        return seen.root(
            host,
            f"{stop}; docker exec writer /bin/busybox sh -c '{look}'; status=$?; {go_on}; "
            "test $status = 0 || test $status = 9",
        )

    sums = seen.wait_until(60, summed_up, "it has written more than five files")
    assert "FAILED" not in sums, sums


@pytest.fixture(scope="module", autouse=True)
def process(host) -> str:
    """Start what writes, and return dockerd's process as it is before anything is moved."""
    seen.root(host, seen.IMPORT_IMAGE)
    start = "docker run -d --network none --stop-signal KILL --restart always"
    seen.root(host, f"{start} --name writer busybox /bin/sh -c '{WRITER}'")
    seen.root(host, f"{start} --name kept busybox /bin/sh -c 'test -e /end || {{ {KEPT}; }}; sleep 1000000'")
    seen.wait_until(180, lambda: "end" in seen.root(host, "docker exec kept /bin/busybox ls /"), "it has written")
    return docker_process(host)


def plan(rule: str, **options) -> dict:
    return seen.run_module("thin_pool_plan", devices=[rule], data_size="30%VG", **options)


def test_disk_was_chosen_by_rule_and_stays_the_answer(host):
    assert disk_of(host) == DATA1
    result = plan("disks size>=1g count=1")
    assert result["actions"] == [], result
    found = {disk["device"]: (disk["taken"], disk["reasons"]) for disk in result["disks"]}
    paths = [seen.root(host, f"readlink -f {name}").strip() for name in (DATA1, DATA2, WEAK)]
    assert [found[path] for path in paths] == [
        (True, ["is in the volume group"]),
        (False, ["is more than count=1"]),
        (False, ["has 256.00 MiB, and size>= wants 1.00 GiB"]),
    ]
    # The disk of the operating system is large enough, and in use.
    (root,) = (path for path in found if path not in (*paths, seen.root(host, f"readlink -f {STRONG}").strip()))
    assert found[root][0] is False
    assert any(word in " ".join(found[root][1]) for word in ("partitions", "mounted"))


def test_rule_that_means_another_disk_now_is_refused_unless_disks_are_asked_for(host):
    assert "was not when volume group docker was made" in plan("disks size>=1g")["msg"]
    assert "add /dev/" in " ".join(plan("disks size>=1g", engine="none")["actions"])
    wish = json.dumps({"direct_lvm_devices": ["disks size>=1g"], "direct_lvm_data_size": "30%VG"})
    status, output = seen.run_playbook("devicemapper.containers.grow", f"--extra-vars={wish}", "--check")
    assert status == 0, output
    assert "taken: is free, and as the rule wants it" in " ".join(output.split())


def test_check_mode_foretells_every_step_and_writes_nothing(host):
    before = seen.root(host, "vgs --noheadings -o vg_seqno,pv_name docker")
    output = replace_disk("--check", "--diff", old=DATA1, new=DATA2)
    for words in ("create physical volume", "add /dev", "keep new extents off", "extents (", "remove physical volume"):
        assert words in output
    assert seen.root(host, "vgs --noheadings -o vg_seqno,pv_name docker") == before


def test_playbook_moves_the_pool_and_tells_how_far_it_is(host, process):
    output = replace_disk(old=DATA1, new=DATA2)
    assert re.findall(r"\(item=(\d+) %\)", output) == [str(percent) for percent in range(10, 101, 10)]
    assert disk_of(host) == DATA2
    assert seen.root(host, f"blkid -p {DATA1} || true") == ""
    seen.assert_pool_is_kept_alive(host)
    assert_nothing_is_lost(host)
    assert docker_process(host) == process


def test_a_second_run_changes_nothing(host):
    assert re.search(r"changed=0 .*failed=0", replace_disk(old=DATA1, new=DATA2))


def test_role_refuses_to_leave_a_disk_out_unasked(host):
    """As after a replacement that is not done yet: the old disk is in the group, and not in the inventory any more."""
    seen.run_module("lvm_vg", name="docker", devices=[DATA1])
    wish = json.dumps({"direct_lvm_devices": [DATA2], "direct_lvm_data_size": "1g"})
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", f"--extra-vars={wish}", "--check")
    assert status != 0
    assert "devicemapper.containers.replace_disk" in output
    # Where nothing lies on a disk, it goes at once.
    replace_disk(old=DATA1)
    assert disk_of(host) == DATA2


@pytest.fixture(scope="module")
def shims(host):
    """Put wrappers before the programs, which kill as /run/wish says."""
    for name in SHIMMED:
        shim = SHIM.format(name=name)
        seen.root(host, f"cat > /usr/local/sbin/{name} <<'END'\n{shim}END\nchmod +x /usr/local/sbin/{name}")
    yield
    seen.root(host, f"cd /usr/local/sbin && rm {' '.join(SHIMMED)}")


@pytest.mark.parametrize(("program", "way"), POINTS)
def test_killed_at_any_step_it_is_gone_on_with(host, process, shims, program, way):
    old = disk_of(host)
    wish = {"vg": "docker", "old": old, "new": other(old)}
    seen.root(host, f"rm -f /run/killed /run/started.*; echo {program} {way} > /run/wish")
    result = seen.run_module("lvm_pv_replace", **wish)
    print(seen.root(host, "cat /run/killed; echo - > /run/wish"), result)
    result = seen.run_module("lvm_pv_replace", **wish)
    # LVM itself was killed amid its work: a refusal says what to run first.
    told = re.findall(r"'((?:dmsetup clear|vgchange|pvremove) [^']*)'", result.get("msg", ""))
    if told:
        print(told)
        seen.root(host, told[0])
        result = seen.run_module("lvm_pv_replace", **wish)
    assert "msg" not in result, result
    assert disk_of(host) == other(old), result
    assert seen.root(host, f"blkid -p {old} || true") == ""
    seen.root(host, "docker exec kept /bin/busybox md5sum -c /kept.sum")
    assert docker_process(host) == process


def test_pool_is_as_it_was_after_all_that(host):
    seen.assert_pool_is_kept_alive(host)
    assert_nothing_is_lost(host)


# Waits until the kernel copies a piece that is large enough to have a middle.
AMID = """for i in $(seq 2000); do
    dmsetup status --target mirror | awk '{split($8, n, "/"); if (n[2] > 20 && n[1] < n[2]) found = 1}
        END {exit !found}' && break
    sleep 0.05
done
"""


def start(host, old: str) -> Popen[str]:
    """Start to replace a disk, slowly: the kernel copies for a hundredth of the time (dm-raid1)."""
    seen.root(host, "modprobe dm-mirror; echo 1 > /sys/module/dm_mirror/parameters/raid1_resync_throttle")
    return seen.start_module("lvm_pv_replace", vg="docker", old=old, new=other(old))


def test_aborted_it_stays_where_it_is(host):
    old = disk_of(host)
    started = start(host, old)
    seen.root(host, f"{AMID} pkill --signal KILL --exact python3")
    assert "Killed" in started.communicate()[0]
    seen.root(host, "echo 100 > /sys/module/dm_mirror/parameters/raid1_resync_throttle")
    output = replace_disk(old=old, interrupted="abort")
    assert "end the interrupted move of extents away from" in output
    assert "changed=0" in replace_disk(old=old, interrupted="abort")
    assert "pvmove" not in seen.root(host, "lvs --all docker")
    assert_nothing_is_lost(host)
    # And it can be moved all the same, later.
    replace_disk(old=old, new=other(old))
    assert disk_of(host) == other(old)


def test_power_cut_amid_a_copy(host):
    old = disk_of(host)
    started = start(host, old)
    seen.root(host, AMID)
    assert started.poll() is None
    machine = kinds.guest_named("replace-disk")
    machine.kill()
    machine.restart()
    seen.wait_until(300, lambda: is_up(host), "its boot has ended")
    replace_disk(old=old, new=other(old))
    assert disk_of(host) == other(old)
    seen.assert_pool_is_kept_alive(host)
    seen.wait_until(120, lambda: "kept" in seen.root(host, "docker ps"), "Docker has started its containers")
    seen.root(host, "docker exec kept /bin/busybox md5sum -c /kept.sum")


def is_up(host) -> bool:
    try:
        return host.run("systemctl is-system-running").stdout.strip() in ("running", "degraded")
    except RuntimeError:  # testinfra's word for an ssh that found nobody
        return False


def test_after_a_reboot_everything_runs(host):
    seen.reboot(host)
    seen.assert_pool_is_kept_alive(host)
    seen.wait_until(120, lambda: "kept" in seen.root(host, "docker ps"), "Docker has started its containers")
    seen.root(host, "docker exec kept /bin/busybox md5sum -c /kept.sum")


@pytest.fixture
def weak(host):
    """Make a group on a disk that loses 8 KiB, and return a function that mends or breaks the disk."""
    node = seen.root(host, f"readlink -f {WEAK}").strip()
    sectors = int(seen.root(host, f"blockdev --getsz {node}"))
    # In the 21st of its extents, which begin at 1 MiB.
    at = 2048 + 20 * 8192 + 96
    whole = f"0 {sectors} linear {node} 0"
    holed = f"0 {at} linear {node} 0\n{at} 16 error\n{at + 16} {sectors - at - 16} linear {node} {at + 16}"

    def load(table: str) -> None:
        seen.root(host, f"dmsetup suspend weak && printf '{table}\\n' | dmsetup load weak && dmsetup resume weak")

    # LVM must not see the disk below the one that fails.
    seen.root(host, f"sed -i '/^devices {{/a global_filter=[\"r|^{node}$|\"]' /etc/lvm/lvm.conf")
    seen.root(host, f"dmsetup create weak --table '{whole}'")
    seen.root(host, "vgcreate -q --yes weak /dev/mapper/weak && lvcreate -q --yes --name data --extents 50 weak")
    seen.root(host, "dd if=/dev/urandom of=/dev/weak/data bs=1M oflag=direct || true")
    yield lambda broken: load(holed if broken else whole)
    seen.root(host, "vgremove -q --yes --force weak && udevadm settle && dmsetup remove --retry weak")


def test_what_a_disk_does_not_give_back_is_told_and_the_rest_is_moved(host, weak):
    before = seen.root(host, "sha256sum < /dev/weak/data")
    weak(True)
    result = seen.run_module("lvm_pv_replace", vg="weak", old="/dev/mapper/weak", new=STRONG)
    first, place, advice = result["msg"].splitlines()
    assert "does not give back 8.00 KiB in 1 place" in first
    assert "1 extent of it (20) stays on" in first
    assert f"8.00 KiB at byte {1024**2 + 20 * 4 * 1024**2 + 96 * 512} of" in place
    assert place.endswith("volume weak/data")
    assert "ddrescue" in advice
    assert seen.root(host, "pvs --noheadings -o pv_used --units b --nosuffix /dev/mapper/weak").strip() == "4194304"
    # The disk gives it back at last.
    weak(False)
    result = seen.run_module("lvm_pv_replace", vg="weak", old="/dev/mapper/weak", new=STRONG)
    assert (result["changed"], result["extents_left"]) == (True, 0), result
    assert seen.root(host, "sha256sum < /dev/weak/data") == before


def test_a_new_disk_that_fails_is_told_by_its_name(host, weak):
    """The other way round: what is to be moved onto it stays where it is."""
    weak(False)
    assert seen.run_module("lvm_pv_replace", vg="weak", old="/dev/mapper/weak", new=STRONG)["changed"]
    before = seen.root(host, "sha256sum < /dev/weak/data")
    assert seen.run_module("lvm_vg", name="weak", devices=["/dev/mapper/weak"])["changed"]
    weak(True)
    result = seen.run_module("lvm_pv_replace", vg="weak", old=STRONG, new="/dev/mapper/weak")
    assert re.search(r"does not keep what is written to it: .* could not be copied there", result.get("msg", "")), (
        result
    )
    assert seen.root(host, "sha256sum < /dev/weak/data") == before
    weak(False)
