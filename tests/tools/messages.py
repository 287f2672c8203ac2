# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List what Linux and dmeventd can say of thin pools: the format strings of their sources, for the test of dm_events.

Usage: messages.py FOLDER, the folder drivers/md of a tree of Linux, or messages.py FILE, lvm2's dmeventd_thin.c.

Prints one message a line: the prefix that it is written behind, a tab, and its format. What is given to ``ti->error``
is written by device mapper's core, behind table. dmeventd's are behind nothing; those for debugging are left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FILES = ("dm-thin.c", "dm-thin-metadata.c", "persistent-data/*.c")
PREFIX = re.compile(r'#define\s+DM_MSG_PREFIX\s+"([^"]*)"')
STRING = r'"(?:[^"\\]|\\.)*"'
STRINGS = rf"{STRING}(?:\s*{STRING})*"
CALL = re.compile(rf"\b(DM(?:EMERG|CRIT|ERR|WARN|INFO)(?:_LIMIT)?)\(\s*({STRINGS})")
ERROR = re.compile(rf"\b(?:ti|as->ti|\w+->ti)->error\s*=\s*({STRINGS})|\*error\s*=\s*({STRINGS})")


def joined(strings: str) -> str:
    return "".join(part[1:-1] for part in re.findall(STRING, strings)).replace('\\"', '"').removesuffix("\\n")


def messages(folder: Path) -> list[tuple[str, str]]:
    """Return the prefix and the format of each message, in the files' order, none twice."""
    found = []
    for path in sorted(path for pattern in FILES for path in folder.glob(pattern)):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        prefix = PREFIX.search(text)
        found += [(prefix[1] if prefix else path.stem, joined(call[2])) for call in CALL.finditer(text)]
        found += [("table", joined(error[1] or error[2])) for error in ERROR.finditer(text)]
    return list(dict.fromkeys(found))


def of_dmeventd(path: Path) -> list[tuple[str, str]]:
    calls = re.finditer(rf"\blog_(?:error|warn|print|info|verbose)\(\s*({STRINGS})", path.read_text(encoding="utf-8"))
    return list(dict.fromkeys(("", joined(call[1])) for call in calls))


if __name__ == "__main__":
    source = Path(sys.argv[1])
    for prefix, text in messages(source) if source.is_dir() else of_dmeventd(source):
        print(f"{prefix}\t{text}")
