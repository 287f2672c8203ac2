# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play shows of a pool while the role asks what there is to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - devicemapper.containers.thin_pool_plan:
        devices: [/dev/vdb]
"""
WELL = {"verdict": "ok", "sentence": "it is well", "lines": ["docker/thinpool: OK, data 1 %", "    it grew"]}
FULL = {"verdict": "critical", "sentence": "it is full", "lines": ["docker/thinpool: CRITICAL", "    critical: full"]}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        pytest.param({"health": WELL}, ["web: docker/thinpool: OK, data 1 %"], id="well"),
        pytest.param({"health": FULL}, ["web: docker/thinpool: CRITICAL", "web:     critical: full"], id="full"),
        pytest.param({"health": None}, [], id="no-pool"),
        pytest.param({"failed": True, "msg": "no"}, [], id="refused"),
    ],
)
def test_how_a_pool_is_stands_on_the_screen(ansible_playbook, tmp_path: Path, answer: dict, shown: list) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'changed': False, **answer})}\nEND\n", encoding="utf-8")
    python.chmod(0o755)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"web": host}}}), encoding="utf-8")
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    ran = ansible_playbook(tmp_path, "-i", "hosts.json", "play.yml", cwd=tmp_path)
    assert [line for line in ran.stdout.splitlines() if line.startswith("web: ")] == shown
    assert ("failed=1" in ran.stdout) == ("failed" in answer)
