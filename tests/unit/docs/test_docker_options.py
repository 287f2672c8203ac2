# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide's table of the driver's options is that of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "docker_options.md"
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|\n ").split("|")]
    for line in GUIDE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `dm.")
]


def test_every_option_has_its_row():
    assert sorted(row[0] for row in ROWS) == sorted(daemon_json.DM_OPTIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_the_code_does(row):
    option, default, value, meaning = row
    accepts, words = daemon_json.DM_OPTIONS[option]
    assert value == words
    assert not default or accepts(default)
    assert meaning.endswith(".")
