# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dockerd says today what is known of its keys and flags (tests/unit/docker)."""

from __future__ import annotations

import json
from pathlib import Path

import seen

UNIT = Path(__file__).resolve().parents[3] / "tests" / "unit" / "docker"


def test_dockerd_takes_and_refuses_what_it_is_known_to(host):
    version = seen.root(host, "dockerd --version").split()[2].partition("+")[0]
    known = json.loads((UNIT / version / "configuration.json").read_text())
    seen.copy_to(UNIT / "ask.py", "/root/ask.py")
    asked = json.loads(seen.root(host, f"python3 /root/ask.py {' '.join(known['keys'])}"))
    assert asked == known
