# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the workflows run that is not ours, and what runs beside the token of Galaxy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
REQUIREMENTS = ROOT / ".github" / "release-requirements.txt"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_commit_and_their_version_beside_it(path):
    used = re.findall(r"uses: (?!\./)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_job_has_the_token_and_it_builds_nothing():
    with_token = [name for name, job in RELEASE.items() if "secrets." in str(job) or "environment" in job]
    assert with_token == ["publish"]
    commands = "\n".join(step.get("run", "") for step in RELEASE["publish"]["steps"])
    assert "make" not in commands.split()
    assert "tests/tools" not in commands
    assert "--require-hashes" in commands
    assert "--no-deps" in commands
    assert "sha256sum --check" in commands
    assert RELEASE["publish"]["needs"] == "attest"
    assert RELEASE["attest"]["needs"] == "build"
    assert RELEASE["build"]["needs"] == "checks"


def test_where_an_archive_comes_from_is_attested_by_a_job_that_can_do_nothing_else():
    assert RELEASE["attest"]["permissions"] == {"attestations": "write", "id-token": "write"}
    assert [step["with"].get("subject-checksums") for step in RELEASE["attest"]["steps"]] == [None, "dist/SHA256SUMS"]
    assert all("run" not in step for step in RELEASE["attest"]["steps"])
    assert [name for name, job in RELEASE.items() if "permissions" in job] == ["attest"]


def test_packages_beside_the_token_are_named_by_hash_and_are_those_of_the_tests():
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pinned = {}
    for line in lines:
        match = re.fullmatch(r"([\w-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line)
        assert match, line
        pinned[match[1].lower()] = match[2]
    tested = "".join(
        (ROOT / "tests/tools" / name).read_text(encoding="utf-8").lower()
        for name in ("requirements-core-2.19.txt", "constraints.txt")
    )
    assert pinned["ansible-core"]
    for name, version in pinned.items():
        assert f"\n{name}=={version}" in tested, name
