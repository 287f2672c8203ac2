# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one container's device held, read from the next as a virtual machine would: with zeroing it is not there."""

from __future__ import annotations

import pytest
import seen

SECRET = "what-one-tenant-wrote"
CHUNKS = 100
CTR = "ctr snapshots --snapshotter devmapper"


def device(host, name: str) -> str:
    """Make a container's device and return its path."""
    seen.root(host, f"{CTR} prepare {name}")
    return seen.root(host, f"{CTR} mounts /mnt {name} | grep --only-matching '/dev/mapper/[^ ]*'").strip()


@pytest.mark.parametrize("discards", [False, True], ids=["removed", "discarded-and-removed"])
@pytest.mark.parametrize(("zero", "is_found"), [("n", True), ("y", False)], ids=["zeroing-off", "zeroing-on"])
def test_a_secret_is_found_without_zeroing_and_not_with_it(host, zero, is_found, discards):
    seen.root(host, f"lvchange --yes --zero {zero} containerd/thinpool")
    first = device(host, f"first-{zero}-{discards}")
    # As much as fills chunks whole, past what the filesystem has there.
    seen.root(host, f"yes {SECRET} | head --bytes 300M | dd of={first} bs=1M seek=1024 oflag=direct iflag=fullblock")
    if discards:
        seen.root(host, f"blkdiscard --offset 1G --length 300M {first}")
    seen.root(host, f"{CTR} rm first-{zero}-{discards} && sync")
    second = device(host, f"second-{zero}-{discards}")
    # One block at the end of each chunk is written, and the rest of the chunk is whatever the pool gave.
    write = f"dd if=/dev/zero of={second} bs=4096 count=1 oflag=direct conv=notrunc status=none"
    seen.root(host, f"for chunk in $(seq {CHUNKS}); do {write} seek=$(( (2048 + chunk) * 128 + 127 )) || exit 1; done")
    read = f"dd if={second} bs=512K skip=2049 count={CHUNKS} iflag=direct status=none"
    found = int(seen.root(host, f"{read} | grep --text --count {SECRET} || true"))
    assert (found > 0) == is_found, found
    seen.root(host, f"{CTR} rm second-{zero}-{discards}")
