# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of configurations that were tried; the scenario of that name compares it with what containerd says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_file_that_is_tried_has_its_row() -> None:
    table = (ROOT / "docs" / "guides" / "containerd_configurations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)
    assert rows == sorted(path.stem for path in (ROOT / "molecule" / "configurations" / "files").iterdir())
