# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader of TOML, held to Python's own where there is one (3.11 and later), and to what it says of places."""

from __future__ import annotations

import math
import random
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import toml

try:
    import tomllib
except ImportError:  # Python 3.8 to 3.10
    tomllib = None  # type: ignore[assignment]

CAPTURED = sorted(Path(__file__).resolve().parents[3].glob("containerd/*/*.toml"))
UGLY = (
    'title = "a # no comment" # a comment with [brackets] and "quotes\n'
    "\"quoted key\" = 'C:\\path' \n"
    "'single.dotted' = 1\r\n"
    'a.b."c.d" = [ 1, 2.5, # one\n  "x", { y = 1, z.w = [2] }, [], ]\n'
    "numbers = [0x1F, 0o17, 0b1, 1_000, +7, -0, +inf, -nan, 1e5, 6.02E-23, -0.0]\n"
    "times = [1979-05-27T07:32:00Z, 1979-05-27 07:32:00.999999-07:00, 1979-05-27, 07:32:00.5, 1979-05-27t00:32:00]\n"
    's = """\nline \\\n      joined ""quoted"" \\"\\"\\" end""""\n'
    "t = '''\n[not.a.table]\nkey = 1 ''two'' '''''\n"
    'u = "\\u00e9\\U0001F600\\t"\n'
    "\t[ x . 'y' . z ]   # blanks in a header\n"
    "k = true\n[x]\nj = false\n"
    "[[p]]\nn = 1\n[p.q]\nr = {}\n[[p]]\n[[p.s]]\n[p.s.t]\n"
    "[dotted]\nfruit.apple.color = 1\nfruit.apple.taste.sweet = true\n[dotted.fruit.apple.more]\n"
    "[last]"
)
WRONG = [
    "a",
    "a =",
    "= 1",
    "a = 1 b = 2",
    "a = 1\na = 2",
    "[a]\n[a]",
    "[a]\nb = 1\n[a.b]",
    "a = 1\n[a]",
    "a.b = 1\na = 2",
    "[a.b]\n[a]\nb.c = 1",
    "a.b = 1\n[a]",
    "a = {b = 1}\na.c = 2",
    "a = {b = 1}\n[a.c]",
    "a = {b = 1, }",
    "a = {b = 1\n}",
    "a = {b = 1, b = 2}",
    "a = [1, 2",
    "a = [1 2]",
    "a = []\n[[a]]",
    "[[a]]\n[a]",
    "[a]\n[[a]]",
    "[a]]",
    "[[a]",
    "[]",
    "[a.]",
    'a = "x\ny"',
    "a = 'x\ny'",
    'a = """x',
    "a = '''x''",
    'a = "\\q"',
    'a = "\\uD800"',
    'a = "\\U00110000"',
    'a = "x\x00"',
    "a = 1 # \x07",
    "a = 1\rb = 2",
    "a = 01",
    "a = 1__0",
    "a = 1.",
    "a = .5",
    "a = 0xG",
    "a = +0x1",
    "a = yes",
    "a = 1979-13-01",
    "a = 25:00:00",
    "a = 1979-05-27 07:32",
    "ä = 1",
]


def comparable(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return (type(value).__name__, "nan" if isinstance(value, float) and math.isnan(value) else value)


def ours(text: str) -> t.Any:
    try:
        return comparable(toml.parse(text).values)
    except toml.TomlError:
        return None


def pythons(text: str) -> t.Any:
    try:
        return comparable(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return None


needs_oracle = pytest.mark.skipif(tomllib is None, reason="Python has no reader of TOML before 3.11")


@needs_oracle
@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_containerds_configurations_are_read_as_python_reads_them(path):
    text = path.read_text(encoding="utf-8")
    assert ours(text) == pythons(text)
    assert ours(text)


@needs_oracle
def test_what_is_ugly_and_right_is_read_as_python_reads_it():
    assert ours(UGLY) == pythons(UGLY)
    assert ours(UGLY)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused(text):
    assert ours(text) is None
    assert tomllib is None or pythons(text) is None


@needs_oracle
def test_what_was_broken_at_random_is_judged_as_python_judges_it():
    chance = random.Random(20261126)
    texts = [UGLY, *(path.read_text(encoding="utf-8") for path in CAPTURED)]
    right = 0
    for _each in range(3000):
        lines = chance.choice(texts).splitlines(keepends=True)
        at = chance.randrange(len(lines))
        text = "".join(lines[max(0, at - 6) : at + 6])
        for _edit in range(chance.choice((1, 1, 2, 4))):
            place = chance.randrange(len(text) + 1)
            insert = chance.random() < 0.5
            text = (
                text[:place]
                + (chance.choice("[]{}=\"'#.,\n\r\t \\abtrue01_-+:Z") if insert else "")
                + text[place + (not insert) :]
            )
        expected = pythons(text)
        right += expected is not None
        assert ours(text) == expected, ascii(text)
    assert right > 500


@pytest.mark.parametrize("text", [UGLY, *(path.read_text(encoding="utf-8") for path in CAPTURED)])
def test_places_are_those_of_the_text(text):
    document = toml.parse(text)
    for entry in document.entries:
        value = toml.parse(f"x = {text[entry.value_start : entry.value_end]}").values["x"]
        assert comparable(value) == comparable(entry.value)
        assert text.count("\n", 0, text.index(entry.key[0], entry.start)) + 1 == entry.line
    for header in document.headers:
        assert text[header.start : header.end].strip().startswith("[")
    starts = [statement.start for statement in document.statements]
    assert starts == sorted(starts)
    # What stands between two statements is blank or a comment.
    between = text
    for statement in reversed(document.statements):
        between = between[: statement.start] + between[statement.end :]
    assert toml.parse(between).statements == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\n\n[b\n", 3),
        ("a = [\n1,\n2", 1),
        ('a = """\n\n\n\\q"""', 4),
        ("a = 1\r\nb = x\r\n", 2),
        ("x=" + "[" * 5000, 1),
    ],
)
def test_the_line_is_named(text, line):
    with pytest.raises(toml.TomlError) as refusal:
        toml.parse(text)
    assert refusal.value.line == line


@pytest.mark.parametrize("value", ["", "plain", 'a"b\\c', "\t\n\x00\x7f", "größe 😀"])
def test_a_string_that_is_written_is_read_again(value):
    assert toml.parse(f"a = {toml.basic_string(value)}").values == {"a": value}


def test_a_long_text_is_read_in_time_in_proportion_to_it():
    durations = []
    for number in (5_000, 20_000):
        text = "".join(f"[table{index}]\nkey = {index}\n" for index in range(number))
        started = time.process_time()
        document = toml.parse(text)
        durations.append(time.process_time() - started)
        assert [entry.line for entry in document.entries[:3]] == [2, 4, 6]
        assert document.entries[-1].line == 2 * number
    assert durations[1] < 4 * 3 * durations[0] + 0.3


@pytest.mark.parametrize("number", [str(2**63), hex(2**63), str(-(2**63) - 1), "9" * 5000, "0b" + "1" * 20000])
def test_numbers_of_more_than_64_bits_are_refused(number):
    """As by the parsers of containerd; Python's takes them."""
    with pytest.raises(toml.TomlError, match="line 2: .* is a number of more than 64 bits"):
        toml.parse(f"a = {2**63 - 1}\nb = {number}\n")
