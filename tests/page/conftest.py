# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the collection importable under its full name, and start the browser once.

Called as a program it writes an inventory of made-up hosts: conftest.py FOLDER [HOSTS]
"""

from __future__ import annotations

import atexit
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def _link() -> None:
    folder = tempfile.TemporaryDirectory(prefix="collection-")
    atexit.register(folder.cleanup)
    link = Path(folder.name, "ansible_collections", "devicemapper", "containers")
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    sys.path[:0] = [folder.name, str(Path(__file__).parent)]


_link()

import browser as chromium  # noqa: E402
import fleet  # noqa: E402


@pytest.fixture(scope="session")
def browser() -> Iterator[chromium.Browser]:
    program = chromium.program()
    assert program, "no Chromium on the PATH: run 'make page'"
    with chromium.started(program) as running:
        yield running


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    number = int(sys.argv[2]) if sys.argv[2:] else 40
    print(fleet.inventory(target, fleet.answers(number, now=time.time())))
