# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Whether a disk holds anything where no signature says so: an archive, an encrypted volume, a database's raw file.

A disk that is new, discarded, or was zeroed by whoever lends it reads as zeros or, in some flash memory, as ones. So
anything else is somebody's. All of a disk cannot be read; what is written to one without a signature begins at its
beginning, at a place where a partition would begin, or fills it.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import KIB, MIB

BLOCK = 4 * KIB
_SAMPLE = 64 * KIB  # at the places where partitions and volumes begin
_EMPTY = (bytes(BLOCK), b"\xff" * BLOCK)


def spans(size: int, *, rotational: bool = False) -> list[tuple[int, int]]:
    """Return the places that are looked at, each offset and length in bytes, in a device of so many bytes.

    The first and the last MiB; from the first MiB on (where partitions begin) a piece at each power of two; and blocks
    at even distances. A disk that turns takes 10 ms for each distant place, so there are fewer on one, all among the
    others.
    """
    ends = [(0, min(MIB, size)), (max(size - MIB, 0), min(MIB, size))]
    powers = [MIB << shift for shift in range(0, 64, 4 if rotational else 1) if MIB << shift < size]
    number = 3 if rotational else 31
    even = [size * index // (number + 1) // BLOCK * BLOCK for index in range(1, number + 1)]
    return sorted({*ends, *((at, min(_SAMPLE, size - at)) for at in powers), *((at, BLOCK) for at in even)})


def describe(path: str, size: int, *, rotational: bool = False) -> str:
    """Return what a device holds and where that was seen; empty where nothing is found.

    Only reads. Raises OSError where that fails: what cannot be read may be anything.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Each read is all that is wanted there.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        for offset, length in spans(size, rotational=rotational):
            at = _first_content(os.pread(descriptor, length, offset))
            if at is not None:
                return f"data without a known signature (seen at byte {offset + at})"
    finally:
        os.close(descriptor)
    return ""


def erase(path: str, signatures: t.Iterable[int] = ()) -> None:
    """Zero the places that are looked at, of a device whose contents are no longer wanted: it is blank then.

    The blocks of its signatures, which are given by their offsets in bytes, go last, and one by one. So whenever this
    is ended, there is a signature left that the next run may wipe, or the device is blank.
    """
    # O_EXCL on a block device: refused while the kernel has it mounted, swapped on or held (open(2)).
    descriptor = os.open(path, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        last = sorted({offset // BLOCK * BLOCK for offset in signatures})
        for offset, length in spans(size):
            end = offset + length
            for at in [*(block for block in last if offset - BLOCK < block < end), end]:
                if at > offset:
                    os.pwrite(descriptor, bytes(at - offset), offset)
                offset = max(offset, at + BLOCK)
        os.fsync(descriptor)
        for at in last:
            os.pwrite(descriptor, bytes(min(BLOCK, size - at)), at)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_content(read: bytes) -> int | None:
    """Return where the first block begins that is neither all zeros nor all ones."""
    if read in (bytes(len(read)), b"\xff" * len(read)):
        return None
    for at in range(0, len(read), BLOCK):
        block = read[at : at + BLOCK]
        if not any(block == empty[: len(block)] for empty in _EMPTY):
            return at
    return None
