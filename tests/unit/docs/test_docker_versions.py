# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guide says of Docker's versions is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "docker_versions.md"
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split("|")]
    for line in GUIDE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d", line)
]


def is_taken(version: str) -> bool:
    try:
        dockerd.check_version(version, "it")
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_the_code_does(row):
    for version in re.findall(r"[\d.]+", row[0]):
        assert is_taken(version) is row[2].startswith("Taken")


def test_the_rows_are_next_to_one_another():
    assert [re.findall(r"[\d.]+", row[0])[0] for row in ROWS] == ["1.10", "20.10", "23.0", "25.0"]
    assert not is_taken("1.9")
