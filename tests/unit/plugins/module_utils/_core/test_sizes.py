# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import (
    GIB,
    Size,
    decimal,
    human,
    option,
    parse_bytes,
    parse_decimal,
    parse_ram,
)

EXTENT = 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("1073741824", 1073741824, id="bytes"),
        pytest.param("512b", 512, id="b"),
        pytest.param("3s", 1536, id="sectors"),
        pytest.param("64k", 65536, id="k"),
        pytest.param("2m", 2097152, id="m"),
        pytest.param("10g", 10737418240, id="g"),
        pytest.param("1t", 1099511627776, id="t"),
        pytest.param("1p", 1125899906842624, id="p"),
        pytest.param("1e", 1152921504606846976, id="e"),
        pytest.param("512K", 524288, id="capitals-are-powers-of-1024-too"),
        pytest.param("10G", 10737418240, id="capital-g"),
        pytest.param("1S", 512, id="capital-s-is-a-sector"),
        pytest.param("1.5g", 1610612736, id="fraction"),
        pytest.param("15.8g", 16965120820, id="fraction-of-bytes-rounded-up"),
        pytest.param("0.1b", 1, id="less-than-a-byte"),
        pytest.param(" 10 g ", 10737418240, id="blanks"),
    ],
)
def test_a_size_is_read_in_lvms_units(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "g", "ten", "10gb", "10GiB", "-1g", "+1g", "1,5g", "1.g", ".5g", "0x10", "1g 2m", "80%VG"]
)
def test_what_is_no_size_is_refused_with_the_units_named(text):
    with pytest.raises(ValueError, match="is not a size: .*units b, s, k, m, g, t, p, e"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("0%VG", "must be above 0 and at most 100", id="nothing"),
        pytest.param("100.5%VG", "must be above 0 and at most 100", id="more-than-all"),
        pytest.param("80%", "write N%VG or N%FREE", id="of-what"),
        pytest.param("80%PVS", "write N%VG or N%FREE", id="share-of-devices"),
        pytest.param("80%ORIGIN", "write N%VG or N%FREE", id="share-of-an-origin"),
        pytest.param("+80%VG", "write N%VG or N%FREE", id="relative"),
        pytest.param("0", "must be above 0", id="zero-bytes"),
        pytest.param("0g", "must be above 0", id="zero"),
        pytest.param("much", "is not a size", id="a-word"),
    ],
)
def test_a_wrong_wish_is_refused_with_its_words(text, message):
    with pytest.raises(ValueError, match=message) as error:
        Size.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "extents"),
    [
        pytest.param("80%VG", 2047, id="share-rounded-down"),  # 2047.2
        pytest.param("95%vg", 2431, id="small-letters"),  # 2431.05
        pytest.param("1%VG", 25, id="share-rounded-down-by-half"),  # 25.59
        pytest.param("33.3%VG", 852, id="fraction-of-a-percent"),  # 852.147
        pytest.param("100%VG", 2559, id="all"),
        pytest.param("100%FREE", 1001, id="all-that-is-free"),
        pytest.param("50 % FREE", 500, id="half-of-what-is-free"),  # 500.5
        pytest.param("10g", 2560, id="whole-extents"),
        pytest.param("1", 1, id="bytes-rounded-up"),
        pytest.param("4194305b", 2, id="one-byte-too-many"),
        pytest.param("15.8g", 4045, id="lvms-largest-metadata"),  # 4044.8
    ],
)
def test_extents_are_rounded_as_lvm_rounds(text, extents):
    assert Size.parse(text).extents(extent_size=EXTENT, vg_extents=2559, free_extents=1001) == extents


def test_only_a_share_grows_with_its_group():
    assert Size.parse("80%VG").is_share
    assert not Size.parse("8g").is_share


@pytest.mark.parametrize(
    ("size", "words"),
    [
        pytest.param(512, "512 B", id="bytes"),
        pytest.param(524288, "512.00 KiB", id="chunk"),
        pytest.param(104857600, "100.00 MiB", id="metadata"),
        pytest.param(10196353024, "9.50 GiB", id="data"),
        pytest.param(2 * 1024**4, "2.00 TiB", id="tebibytes"),
        pytest.param(4096 * 1024**6, "4096.00 EiB", id="beyond-the-last-unit"),
    ],
)
def test_a_size_is_written_as_lvm_writes_it(size, words):
    assert human(size) == words


def test_an_option_that_was_not_given_is_none():
    assert option("size", Size.parse, None) is None


def test_a_wrong_option_is_refused_under_its_name():
    with pytest.raises(RefusedError, match="^chunk_size: 'big' is not a size"):
        option("chunk_size", parse_bytes, "big")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10G", 10 * GIB),
        ("10 GiB", 10 * GIB),
        ("1.5g", 3 * GIB // 2),
        ("65536", 65536),
        ("1TB", 1024 * GIB),
        ("G", None),
        ("-1G", None),
    ],
)
def test_a_size_is_what_docker_and_containerd_make_of_it(value, expected):
    assert parse_ram(value) == expected


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0B"), (999, "999B"), (65536, "65.54kB"), (524288, "524.3kB"), (10 * GIB, "10.74GB"), (1000**7, "1000EB")],
)
def test_sizes_are_written_as_docker_does(size, words):
    assert decimal(size) == words


@pytest.mark.parametrize(("words", "size"), [("1.03GB", 1.03e9), ("524.3kB", 524300), ("0B", 0), ("", 0), ("x", 0)])
def test_sizes_of_docker_are_read(words, size):
    assert parse_decimal(words) == size
