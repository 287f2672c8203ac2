# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container of containerd's has deleted comes back, and a device of nobody's, while another container writes."""

from __future__ import annotations

import pytest
import seen

POOL = "containerd-thinpool"
CHUNK = 512 * 1024
GONE, ORPHAN = 120, 20  # MiB
NUMBER = 4242


def run(host, name: str, script: str, options: str) -> None:
    seen.root(host, f"{seen.CTR_RUN} {options} {seen.BUSYBOX} {name} /bin/sh -c 'exec > /dev/null 2>&1; {script}'")


def used(host) -> int:
    """Return the bytes of the pool that are in use, after what became free was committed."""
    seen.root(host, "sleep 2")
    return int(seen.root(host, f"dmsetup status --noflush {POOL}").split()[5].partition("/")[0]) * CHUNK


def reclaim(*flags: str, **options) -> dict:
    found = seen.run_module("thin_pool_reclaim", *flags, vg="containerd", name="thinpool", **options)
    assert "reclaimable" in found, found
    return found


@pytest.fixture(scope="module")
def containers(host):
    """Have a container that has deleted much, one that goes on writing, and a device that nobody has on record."""
    delete = (
        "mkdir /sums && dd if=/dev/urandom of=/kept bs=1M count=20 && sha256sum /kept > /sums/kept && "
        f"dd if=/dev/zero of=/gone bs=1M count={GONE} && sync && rm /gone && sync && touch /done && sleep 1000000"
    )
    # A sum is there only while its file is whole, whenever the container is killed.
    write = (
        "mkdir /sums; i=0; while :; do rm -f /sums/$i; sync; dd if=/dev/urandom of=/w$i bs=1M count=2 conv=fsync; "
        "sha256sum /w$i > /sum; sync; mv /sum /sums/$i; sync; touch /done; i=$(((i + 1) % 6)); sleep 1; done"
    )
    seen.root(host, seen.IMPORT_ARCHIVE)
    for name, script in (("deleter", delete), ("writer", write)):
        run(host, name, script, "--detach")
    for name in ("deleter", "writer"):
        look = f"ctr tasks exec --exec-id look-{name}-$(date +%N) {name} /bin/busybox test -e /done && echo yes || true"
        seen.wait_until(180, lambda look=look: seen.root(host, look), f"{name} is ready")
    seen.root(
        host,
        f"dmsetup message {POOL} 0 'create_thin {NUMBER}' && dmsetup create nobodys --table "
        f"'0 {ORPHAN * 2048} thin /dev/mapper/{POOL} {NUMBER}' && "
        f"dd if=/dev/urandom of=/dev/mapper/nobodys bs=1M count={ORPHAN} oflag=direct status=none && "
        "dmsetup remove --retry nobodys",
    )
    yield
    seen.root(host, "for name in deleter writer; do ctr containers delete $name; done")


def test_what_was_deleted_and_what_is_nobodys_come_back_while_others_write(host, containers):
    told = reclaim("--check")
    (deleter,) = [one for one in told["containers"] if one["owner"] and one["owner"]["name"] == "deleter"]
    assert deleter["reclaimable"] == pytest.approx(GONE * seen.MIB, abs=4 * seen.MIB)
    assert told["orphans_unclear"] is None
    before = used(host)
    found = reclaim(remove_orphans=True)
    assert found["orphans"] == [{"device_id": NUMBER, "exclusive": ORPHAN * seen.MIB, "dm_name": None, "removed": True}]
    after = used(host)
    assert before - after == pytest.approx((GONE + ORPHAN) * seen.MIB, abs=24 * seen.MIB)  # the other one writes
    again = reclaim("--check", remove_orphans=True)
    assert (again["orphans"], again["orphans_unclear"]) == ([], None)


@pytest.mark.parametrize("name", ["deleter", "writer"])
def test_nothing_that_lives_was_touched(host, containers, name):
    """Read from the pool and not from memory: the container was killed, and its filesystem unmounted."""
    seen.root(host, f"ctr tasks delete --force {name}")
    mounts = f"ctr snapshots --snapshotter devmapper mounts /mnt {name} | grep --only-matching '/dev/mapper/[^ ]*'"
    check = "cd /mnt && cat sums/* | sed 's|  /|  |' | sha256sum --check; cd /; umount /mnt"
    told = seen.root(host, f"mount $({mounts}) /mnt && {{ {check}; }}")
    assert "OK" in told
    assert "FAILED" not in told


def test_a_pool_with_a_snapshot_without_its_device_has_nothing_of_nobodys(host):
    """As after the database of devices was lost and an older one put back: its devices are still in the pool."""
    database = f"/var/lib/containerd/io.containerd.snapshotter.v1.devmapper/{POOL}.db"
    run(host, "later", "true", "")
    seen.root(host, f"systemctl stop containerd && cp {database} /root/now.db")
    try:
        older = "import sys; text = open(sys.argv[1], 'rb').read(); " + (
            "open(sys.argv[1], 'wb').write(text.replace(b'thinpool-snap-', b'thinpool-past-'))"
        )
        seen.root(host, f'python3 -c "{older}" {database}')
        found = reclaim(trim=False, remove_orphans=True)
        assert "layers have no device on record, such as default/" in found["orphans_unclear"]
        assert (found["orphans"], found["changed"]) == ([], False)
    finally:
        seen.root(host, f"cp /root/now.db {database} && systemctl start containerd && ctr containers delete later")
