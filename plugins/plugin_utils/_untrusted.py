# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What hosts say, made fit to be shown: of the types that it should be of, so much, and no command of theirs. Pure."""

from __future__ import annotations

import re
import shlex
import typing as t

Answer = t.Mapping[str, t.Any]

# What is shown of an answer at most: things of one kind of a pool, characters of a text.
MOST, LONGEST = 1000, 4000
LARGEST = 2.0**70  # of numbers: more bytes than there are


def text(value: t.Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def number(value: t.Any) -> t.Any:
    """Return a number, None where it is none that can be shown."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and -LARGEST < value < LARGEST else None


def some(values: t.Any, most: int = MOST) -> list[t.Any]:
    """Return the dictionaries in a list, so many at most; nothing where it is none."""
    is_list = isinstance(values, t.Sequence) and not isinstance(values, (str, bytes))
    return [value for value in list(values)[:most] if isinstance(value, t.Mapping)] if is_list else []


def answer(value: t.Any) -> Answer:
    return value if isinstance(value, t.Mapping) else {}


_WORD = re.compile(r"\w[\w+.-]*", re.ASCII)


def is_plain(*words: t.Any) -> bool:
    """Whether words can stand in a command as they are, and mean nothing else there: no option, no pattern."""
    return all(isinstance(word, str) and _WORD.fullmatch(word) for word in words)


# What a command may do that a host asks a person to copy: no host makes the page tell of another one.
_PLAYBOOKS = "grow|monitor|release_reserve"
_VERBS = r"(?:lvextend|lvchange|pvchange|pvresize|vgck|dmsetup clear)(?: [\w+./:-]+)+"
_COMMAND = re.compile(
    rf"ansible-playbook devicemapper\.containers\.(?:{_PLAYBOOKS}) -i inventory\.yml --limit (?P<limit>\S+)"
    r"(?: -e \w+=[\w+.-]+)*"
    r"|ansible (?P<host>\S+) -i inventory\.yml --become --module-name "
    rf"(?:ansible\.builtin\.shell --args '{_VERBS}(?: && {_VERBS})*'"
    r"|devicemapper\.containers\.thin_pool_usage_info --args 'vg=[\w+.-]+ name=[\w+.-]+ limit=\d+')",
    re.ASCII,
)


def copyable(host: str, command: str) -> str:
    """Return a command that a host tells, where it is one of those that the modules tell, and for that host."""
    match = _COMMAND.fullmatch(command)
    return match[0] if match and shlex.quote(host) in (match["limit"], match["host"]) else ""
