# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Databases of bbolt, in which containerd keeps its records, read while it writes them or when it is down.

The format is that of go.etcd.io/bbolt, version 2 (internal/common: page.go, meta.go, bucket.go). Numbers are in the
machine's own order, little-endian on all that containerd is packaged for. A commit writes over no page that the one
before it left, so that this can be read without a lock, as long as no other commit has ended meanwhile.
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files

_MAGIC, _VERSION = 0xED0CDAED, 2
_HEADER = struct.Struct("<QHHI")  # page id, flags, elements, overflow pages
_META = struct.Struct(
    "<IIIIQQQQQQ"
)  # magic, version, page size, flags, root, sequence, freelist, pages, commit, checksum
_LEAF = struct.Struct("<IIII")  # flags, offset from here, key size, value size
_BRANCH = struct.Struct("<IIQ")  # offset from here, key size, page
_BUCKET = struct.Struct("<QQ")  # root page, 0 for one behind this; sequence
_IS_BRANCH, _IS_LEAF = 0x01, 0x02
_IS_BUCKET = 0x01
LARGEST = 96 * 2**20  # bytes of a database; with thousands of images and snapshots it has some ten MiB

Tree = t.Dict[bytes, t.Any]  # values are bytes, or trees where the key names a bucket


class DamagedError(ValueError):
    """Not a database, or one that changed while it was read."""


def read(path: str, attempts: int = 5) -> Tree:
    """Return all that is in a database. Raises OSError, or DamagedError where that cannot be read."""
    for attempt in range(attempts):
        content = files.read_limited(path, LARGEST)
        try:
            commit, tree = parse(content)
            # The next commit may be under way, which leaves the pages of this one alone; the one after it does not.
            if last_commit(path) == commit:
                return tree
        except DamagedError:
            if attempt == attempts - 1:
                raise
    raise DamagedError(f"{path} changes faster than it can be read")


def last_commit(path: str) -> int:
    """Return the number of the last commit; 0 where no page at the beginning tells one. Raises OSError."""
    with files.open_regular(path, OSError) as file:
        head = file.read(2 * 64 * 1024)
    return max((meta[8] for meta in _metas(head)), default=0)


def parse(content: bytes) -> tuple[int, Tree]:
    """Return the number of the last commit, and what it left."""
    metas = _metas(content)
    if not metas:
        raise DamagedError("no page at the beginning says that this is a bbolt database")
    meta = max(metas, key=lambda meta: meta[8])
    try:
        return meta[8], _Pages(meta[2], len(content)).bucket(content, meta[4])
    except (struct.error, IndexError, OverflowError, RecursionError) as error:
        raise DamagedError(f"its pages do not fit together: {error}") from error


def _metas(content: bytes) -> list[tuple[int, ...]]:
    """Return the headers of the database, of which there are two, one for each commit in turn."""
    found = []
    for size in (4096, 8192, 16384, 65536):  # that of the machine's pages, when it was made
        for at in (0, size):
            if len(content) < at + _HEADER.size + _META.size:
                continue
            meta = _META.unpack_from(content, at + _HEADER.size)
            body = content[at + _HEADER.size : at + _HEADER.size + _META.size - 8]
            if meta[:3] == (_MAGIC, _VERSION, size) and meta[9] == _fnv(body):
                found.append(meta)
    return found


def _fnv(text: bytes) -> int:
    """Return the checksum FNV-1a of 64 bits."""
    found = 0xCBF29CE484222325
    for byte in text:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


class _Pages:
    """Reads pages, each once, and no more of them than a file of that size can hold.

    The pages are whatever the file says they are: some that name one another, or elements that lie in each other,
    would never end.
    """

    def __init__(self, page_size: int, size: int) -> None:
        self._page_size = page_size
        self._seen: set[int] = set()
        self._elements_left = size // _LEAF.size
        self._bytes_left = 2 * size  # what stands in a bucket without a page of its own is read twice

    def bucket(self, content: bytes, page: int, depth: int = 0) -> Tree:
        """Return the bucket at a page; at page 0 is one that stands in its parent's element, which ``content`` is."""
        found: Tree = {}
        for flags, key, value in self._elements(content, page):
            if flags & _IS_BUCKET:
                if depth > 20:
                    raise DamagedError("buckets in buckets without end")
                root, _sequence = _BUCKET.unpack_from(value)
                # Small enough to stand behind its own head, as a page without a number, or at a page of its own.
                inner = content if root else value[_BUCKET.size :]
                found[key] = self.bucket(inner, root, depth + 1)
            else:
                found[key] = value
        return found

    def _elements(self, content: bytes, page: int) -> t.Iterator[tuple[int, bytes, bytes]]:
        """Yield flags, key and value of each element of a page, or of the pages under it."""
        at = page * self._page_size
        if page in self._seen:
            raise DamagedError(f"page {page} is referred to twice")
        if page:
            self._seen.add(page)
        _page, kind, count, _overflow = _HEADER.unpack_from(content, at)
        self._elements_left -= count
        if self._elements_left < 0:
            raise DamagedError("more elements than there is room for")
        for index in range(count):
            if kind & _IS_BRANCH:
                _offset, _size, under = _BRANCH.unpack_from(content, at + _HEADER.size + index * _BRANCH.size)
                if not under:
                    raise DamagedError("a page that refers to the head of the file")
                yield from self._elements(content, under)
            elif kind & _IS_LEAF:
                element = at + _HEADER.size + index * _LEAF.size
                flags, offset, key_size, value_size = _LEAF.unpack_from(content, element)
                key, end = element + offset, element + offset + key_size + value_size
                self._bytes_left -= key_size + value_size
                if end > len(content) or self._bytes_left < 0:
                    raise DamagedError("an element beyond the end")
                yield flags, content[key : key + key_size], content[key + key_size : end]
            else:
                raise DamagedError(f"a page of kind {kind:#x} where keys belong")
