# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What is mounted: the lines of a mountinfo."""

from __future__ import annotations

import re
import typing as t


class Mounted(t.NamedTuple):
    """One line of it."""

    device: str  # major:minor
    point: str
    filesystem: str
    source: str
    options: tuple[str, ...] = ()  # of this mount

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


def parse(text: str) -> list[Mounted]:
    """Return the lines of mountinfo (proc(5)): <id> <parent> <device> <root> <point> <options> [<field>...] - <type>
    <source> <options>, with blanks in octal."""
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        at = words.index("-") if "-" in words else len(words)
        if 4 < at < len(words) - 2:
            options = tuple(words[5].split(",")) if at > 5 else ()
            found.append(Mounted(words[2], _plain(words[4]), words[at + 1], _plain(words[at + 2]), options))
    return found


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
