# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one container's device held, read from the next as a virtual machine would: with zeroing it is not there.

On a small pool beside containerd's, with devices made as its snapshotter makes them: the kernel gives freed chunks out
again only once it has been through all others.
"""

from __future__ import annotations

import pytest
import seen

SECRET = "what-one-tenant-wrote"
POOL = "containerd-small"
CHUNKS = 96  # of 512 KiB, of the 128 that the pool has
DEVICE = "/dev/mapper/tenant"


def make(host, number: int) -> None:
    seen.root(host, f"dmsetup message {POOL} 0 'create_thin {number}'")
    table = f"0 {CHUNKS * 1024} thin /dev/mapper/{POOL} {number}"
    seen.root(host, f"dmsetup create tenant --table '{table}' && udevadm settle")


def remove(host, number: int) -> None:
    seen.root(host, f"dmsetup remove --retry tenant && dmsetup message {POOL} 0 'delete {number}'")


@pytest.fixture
def pool(host, zero):
    """Make the pool, and remove it afterwards with all that is in it."""
    seen.root(
        host,
        f"lvcreate --yes --type thin-pool --size 64M --poolmetadatasize 4M --chunksize 512K --zero {zero} "
        "--name small containerd",
    )
    yield
    seen.root(host, "dmsetup remove --retry tenant || true; lvremove --yes containerd/small")


@pytest.mark.parametrize("discards", [False, True], ids=["removed", "discarded-and-removed"])
@pytest.mark.parametrize(("zero", "is_found"), [("n", True), ("y", False)], ids=["zeroing-off", "zeroing-on"])
def test_a_secret_is_found_without_zeroing_and_not_with_it(host, pool, is_found, discards):
    make(host, 1)
    seen.root(
        host, f"yes {SECRET} | head --bytes {CHUNKS * 512}K | dd of={DEVICE} bs=512K oflag=direct iflag=fullblock"
    )
    if discards:
        seen.root(host, f"blkdiscard {DEVICE}")
    remove(host, 1)
    make(host, 2)
    # One block at the end of each chunk is written, and the rest of the chunk is whatever the pool gave.
    write = f"dd if=/dev/zero of={DEVICE} bs=4096 count=1 oflag=direct conv=notrunc status=none"
    seen.root(host, f"for chunk in $(seq 0 {CHUNKS - 1}); do {write} seek=$(( chunk * 128 + 127 )) || exit 1; done")
    found = int(
        seen.root(host, f"dd if={DEVICE} bs=512K iflag=direct status=none | grep --text --count {SECRET} || true")
    )
    assert (found > 0) == is_found, found
