# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""TOML 1.0 read with the place of everything in the text, so that a value can be changed and all else kept as it is.

Python has a TOML reader from 3.11 on, which tells no places, and none that writes; managed hosts have 3.8 on. This one
follows toml.io/en/v1.0.0 to the letter, since what it misread it would write to the wrong place.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass, field

Path = t.Tuple[str, ...]
Values = t.Dict[str, t.Any]

_LIMIT = 1 << 63


class TomlError(ValueError):
    """A text that is not TOML, with the number of the line."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line}: {reason}")


@dataclass(frozen=True)
class Header:
    """``[table]``, or ``[[table]]``; start and end are those of its line, the newline included."""

    path: Path
    is_array: bool
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Entry:
    """``key = value`` under a header, or before the first; start and end are those of its lines."""

    table: Path
    key: Path
    value: t.Any
    line: int
    start: int
    end: int
    value_start: int
    value_end: int

    @property
    def path(self) -> Path:
        return self.table + self.key


@dataclass(frozen=True)
class Document:
    """What a text says, in its order and as a tree of dictionaries and lists."""

    statements: tuple[Header | Entry, ...]
    values: Values

    @property
    def entries(self) -> list[Entry]:
        return [statement for statement in self.statements if isinstance(statement, Entry)]

    @property
    def headers(self) -> list[Header]:
        return [statement for statement in self.statements if isinstance(statement, Header)]


@dataclass
class _Table:
    items: dict[str, t.Any] = field(default_factory=dict)
    # Whether a header or dotted keys made it, so that no other header and no dotted keys elsewhere may.
    is_defined: bool = False
    is_inline: bool = False  # and so cannot be added to at all


@dataclass
class _Array:
    """An array of tables: each [[header]] adds one. Arrays in brackets are lists and cannot be added to."""

    tables: list[_Table] = field(default_factory=list)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
# Control characters other than the tab are nowhere allowed, nor is half a line end.
_COMMENT = re.compile(r"#[^\x00-\x08\n-\x1f\x7f]*")
_NEWLINE = re.compile(r"\r?\n")
_BASIC = re.compile(r'[^"\\\x00-\x08\n-\x1f\x7f]*')
_LITERAL = re.compile(r"[^'\x00-\x08\n-\x1f\x7f]*")
_BASIC_LINES = re.compile(r'(?:[^"\\\x00-\x08\x0b-\x1f\x7f]|\r\n)*')
_LITERAL_LINES = re.compile(r"(?:[^'\x00-\x08\x0b-\x1f\x7f]|\r\n)*")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_LINE_ENDING_BACKSLASH = re.compile(r"[ \t]*\r?\n[ \t\r\n]*")
# What may stand in a number, a date, a boolean; which of them it is, the patterns below say.
_WORD = re.compile(r"[A-Za-z0-9_+:.-]+")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_BASED = re.compile(r"0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*")
_FLOAT = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?=[.eE])(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
    r"|[+-]?(?:inf|nan)"
)
_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
_DATETIME = re.compile(
    rf"{_DATE}(?:[Tt ]{_TIME}(?P<offset>[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?)?|{_TIME.replace('<', '<only_')}"
)


def parse(text: str) -> Document:
    """Return what a text says. Raises TomlError."""
    try:
        return _Reader(text).read()
    except RecursionError as error:
        raise TomlError(1, "values stand in one another too deeply") from error


def is_bare(key: str) -> bool:
    """Whether a key needs no quotes."""
    return bool(_BARE_KEY.fullmatch(key))


def basic_string(value: str) -> str:
    """Return a value as a string in double quotes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04X}", escaped) + '"'


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line, self.counted = 1, 0  # the number of the line at an offset
        self.root = _Table()
        self.current = self.root
        self.header: Path = ()
        # Tables that dotted keys made or wrote to since the last header; the next header closes them.
        self.opened: list[_Table] = []
        self.statements: list[Header | Entry] = []

    def read(self) -> Document:
        while self.at < len(self.text):
            start = self.at
            self.skip(_BLANK)
            if self.text.startswith("[", self.at):
                self.read_header(start)
            elif self.at < len(self.text) and self.text[self.at] not in "#\r\n":
                self.read_entry(start)
            else:
                self.end_line()
        return Document(tuple(self.statements), _plain(self.root))

    def fail(self, reason: str, at: int | None = None) -> TomlError:
        return TomlError(self.text.count("\n", 0, self.at if at is None else at) + 1, reason)

    def count_lines(self) -> int:
        """Return the number of this line, counted from the one that was asked for before."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def skip(self, pattern: t.Pattern[str]) -> str:
        """Step over what the pattern matches here, and return it."""
        match = pattern.match(self.text, self.at)
        if not match:
            return ""
        self.at = match.end()
        return match[0]

    def expect(self, word: str) -> None:
        if not self.text.startswith(word, self.at):
            raise self.fail(f"{word!r} is missing")
        self.at += len(word)

    def end_line(self) -> None:
        self.skip(_BLANK)
        self.skip(_COMMENT)
        if self.at < len(self.text) and not self.skip(_NEWLINE):
            raise self.fail(f"{self.text[self.at]!r} is where the line should end")

    def read_header(self, start: int) -> None:
        line = self.count_lines()
        opening, closing = ("[[", "]]") if self.text.startswith("[[", self.at) else ("[", "]")
        self.expect(opening)
        path = self.read_key()
        self.expect(closing)
        self.close()
        self.current = self.enter(path, opening == "[[")
        self.header = path
        self.end_line()
        self.statements.append(Header(path, opening == "[[", line, start, self.at))

    def close(self) -> None:
        for table in self.opened:
            table.is_defined = True
        self.opened = []

    def enter(self, path: Path, is_array: bool) -> _Table:
        """Return the table that a header names, made or added to an array of them."""
        table = self.root
        for part in path[:-1]:
            found = table.items.setdefault(part, _Table())
            if isinstance(found, _Array):
                found = found.tables[-1]
            if not isinstance(found, _Table) or found.is_inline:
                raise self.fail(f"{_name(path)} would be in {part!r}, which is a value and cannot be added to")
            table = found
        there = table.items.get(path[-1])
        if is_array:
            array = table.items.setdefault(path[-1], _Array())
            if not isinstance(array, _Array):
                raise self.fail(f"{_name(path)} is no array of tables, it is defined as something else before")
            array.tables.append(_Table(is_defined=True))
            return array.tables[-1]
        if there is None:
            there = table.items[path[-1]] = _Table()
        if not isinstance(there, _Table) or there.is_defined or there.is_inline:
            raise self.fail(f"{_name(path)} is defined twice")
        there.is_defined = True
        return there

    def read_entry(self, start: int) -> None:
        line = self.count_lines()
        key = self.read_key()
        self.expect("=")
        self.skip(_BLANK)
        value_start = self.at
        value = self.read_value()
        value_end = self.at
        self.put(self.current, key, value, self.opened)
        self.end_line()
        entry = Entry(self.header, key, _plain(value), line, start, self.at, value_start, value_end)
        self.statements.append(entry)

    def put(self, table: _Table, key: Path, value: t.Any, opened: list[_Table]) -> None:
        """Set a key, which may be dotted; tables that were defined elsewhere cannot be added to."""
        for part in key[:-1]:
            found = table.items.setdefault(part, _Table())
            if not isinstance(found, _Table) or found.is_inline or found.is_defined:
                raise self.fail(f"{_name(key)} would add to {part!r}, which is defined elsewhere or is a value")
            opened.append(found)
            table = found
        if key[-1] in table.items:
            raise self.fail(f"{_name(key)} is set twice")
        table.items[key[-1]] = value

    def read_key(self) -> Path:
        parts = []
        while True:
            self.skip(_BLANK)
            quote = self.text[self.at : self.at + 1]
            if quote == '"':
                parts.append(self.read_basic())
            elif quote == "'":
                parts.append(self.read_literal())
            else:
                word = self.skip(_BARE_KEY)
                if not word:
                    raise self.fail("a key is missing, or has characters that need quotes")
                parts.append(word)
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def read_value(self) -> t.Any:
        for opening, read in (
            ('"""', self.read_basic_lines),
            ("'''", self.read_literal_lines),
            ('"', self.read_basic),
            ("'", self.read_literal),
            ("[", self.read_array),
            ("{", self.read_inline_table),
        ):
            if self.text.startswith(opening, self.at):
                return read()
        return self.read_word()

    def read_basic(self) -> str:
        self.expect('"')
        parts = []
        while True:
            parts.append(self.skip(_BASIC))
            if self.text.startswith("\\", self.at):
                parts.append(self.read_escape())
            else:
                self.end_string('"')
                return "".join(parts)

    def read_literal(self) -> str:
        self.expect("'")
        found = self.skip(_LITERAL)
        self.end_string("'")
        return found

    def end_string(self, quote: str) -> None:
        if not self.text.startswith(quote, self.at):
            raise self.fail(
                f"a string does not end before its line, or has a character that may not be in it ({quote})"
            )
        self.at += len(quote)

    def read_escape(self) -> str:
        letter = self.text[self.at + 1 : self.at + 2]
        if letter in _ESCAPES:
            self.at += 2
            return _ESCAPES[letter]
        match = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))").match(self.text, self.at)
        number = int(match[1] or match[2], 16) if match else -1
        if match is None or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise self.fail(f"'\\{letter}' is no escape in a string")
        self.at = match.end()
        return chr(number)

    def read_basic_lines(self) -> str:
        self.at += 3
        self.skip(_NEWLINE)
        parts = []
        while True:
            parts.append(_unix(self.skip(_BASIC_LINES)))
            if self.text.startswith("\\", self.at):
                match = _LINE_ENDING_BACKSLASH.match(self.text, self.at + 1)
                if match:
                    self.at = match.end()
                else:
                    parts.append(self.read_escape())
            elif self.text.startswith('"', self.at):
                closed, quotes = self.read_quotes('"')
                parts.append(quotes)
                if closed:
                    return "".join(parts)
            else:
                raise self.fail('a string in """ does not end, or has a character that may not be in it')

    def read_literal_lines(self) -> str:
        self.at += 3
        self.skip(_NEWLINE)
        parts = []
        while True:
            parts.append(_unix(self.skip(_LITERAL_LINES)))
            if not self.text.startswith("'", self.at):
                raise self.fail("a string in ''' does not end, or has a character that may not be in it")
            closed, quotes = self.read_quotes("'")
            parts.append(quotes)
            if closed:
                return "".join(parts)

    def read_quotes(self, quote: str) -> tuple[bool, str]:
        """Step over quotes within a string of lines: three end it, and up to two before these belong to it."""
        end = self.at
        while self.text.startswith(quote, end) and end - self.at < 5:
            end += 1
        count = end - self.at
        self.at = end
        return (True, quote * (count - 3)) if count >= 3 else (False, quote * count)

    def read_array(self) -> list[t.Any]:
        start = self.at
        self.at += 1
        found = []
        while True:
            self.skip_lines()
            if self.text.startswith("]", self.at):
                break
            found.append(self.read_value())
            self.skip_lines()
            if not self.text.startswith(",", self.at):
                break
            self.at += 1
        if not self.text.startswith("]", self.at):
            raise self.fail("an array is not closed with ]", start)
        self.at += 1
        return found

    def skip_lines(self) -> None:
        """Step over blanks, comments and line ends, as they may stand between the values of an array."""
        while self.skip(_BLANK) or self.skip(_COMMENT) or self.skip(_NEWLINE):
            pass

    def read_inline_table(self) -> _Table:
        self.at += 1
        found = _Table()
        self.skip(_BLANK)
        if not self.text.startswith("}", self.at):
            while True:
                key = self.read_key()
                self.expect("=")
                self.skip(_BLANK)
                self.put(found, key, self.read_value(), [])
                self.skip(_BLANK)
                if not self.text.startswith(",", self.at):
                    break
                self.at += 1
        self.expect("}")
        _freeze(found)
        return found

    def read_word(self) -> t.Any:
        start = self.at
        date = _DATETIME.match(self.text, self.at)
        word = self.skip(_WORD)
        if date and date.end() >= self.at:  # a date may have a blank before the time
            self.at = date.end()
            try:
                return _datetime(date)
            except ValueError as error:
                raise self.fail(f"{date[0]!r} is no date or time ({error})", start) from error
        if word in ("true", "false"):
            return word == "true"
        if _INTEGER.fullmatch(word) or _BASED.fullmatch(word):
            # Of 64 bits with a sign (TOML 1.0, "Integer"), as containerd's parsers have it.
            digits = word.replace("_", "")
            number = int(digits, 10 if _INTEGER.fullmatch(word) else 0) if len(digits) < 70 else _LIMIT
            if not -_LIMIT <= number < _LIMIT:
                raise self.fail(f"{word[:30]!r} is a number of more than 64 bits", start)
            return number
        if _FLOAT.fullmatch(word):
            return float(word.replace("_", ""))
        raise self.fail(f"{word or self.text[start : start + 1]!r} is no value", start)


def _freeze(table: _Table) -> None:
    table.is_inline = True
    for item in table.items.values():
        if isinstance(item, _Table):
            _freeze(item)


def _datetime(match: t.Match[str]) -> t.Any:
    """Return a date, a time, or both with or without the offset from UTC."""
    parts = match.groupdict()
    only = "only_" if parts["year"] is None else ""
    time = None
    if parts[f"{only}hour"]:
        hour, minute, second = (int(parts[f"{only}{name}"]) for name in ("hour", "minute", "second"))
        time = datetime.time(hour, minute, second, int((parts[f"{only}fraction"] or "").ljust(6, "0")[:6]))
    if only:
        return time
    date = datetime.date(*(int(parts[name]) for name in ("year", "month", "day")))
    if time is None:
        return date
    offset = parts["offset"]
    zone = None
    if offset:
        minutes = 0 if offset in "Zz" else int(offset[1:3]) * 60 + int(offset[4:6])
        zone = datetime.timezone(datetime.timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    return datetime.datetime.combine(date, time, zone)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, _Table):
        return {key: _plain(item) for key, item in value.items.items()}
    if isinstance(value, _Array):
        return [_plain(table) for table in value.tables]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _name(path: Path) -> str:
    return ".".join(part if _BARE_KEY.fullmatch(part) else basic_string(part) for part in path)
