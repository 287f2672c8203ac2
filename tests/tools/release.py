# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a release on this machine: version, changelog, archive, commit and tag. Nothing is pushed.

Usage: release.py VERSION [yes]   with yes: only tell whether it could be made
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import galaxy
from collection import build
from environments import environment
from workshop import ROOT, give_up, say

# https://semver.org/ without build metadata, which neither Galaxy nor git's tags order by.
NUMBER = r"(?:0|[1-9]\d*)"
WORD = rf"(?:{NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = re.compile(rf"({NUMBER})\.({NUMBER})\.({NUMBER})(?:-({WORD}(?:\.{WORD})*))?")
GALAXY_YML = ROOT / "galaxy.yml"
WRITTEN = ("CHANGELOG.md", "changelogs", "galaxy.yml")


def rank(version: str) -> tuple[tuple[int, ...], bool, list[tuple[bool, int, str]]] | None:
    """Return what versions are ordered by; None if it is no version.

    A pre-release comes before its release; of its words, numbers come before others.
    """
    found = SEMVER.fullmatch(version)
    if not found:
        return None
    words = found[4].split(".") if found[4] else []
    order = [(not word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]
    return tuple(int(number) for number in found.groups()[:3]), not words, order


def refusal(version: str, released: list[str], changes: list[str], summary: bool) -> str | None:
    """Return why there can be no such release, and what to do; None if there can."""
    wanted = rank(version)
    if wanted is None:
        return f"VERSION is {version!r}; give one like VERSION=1.2.0, or 1.2.0-beta.1: https://semver.org/"
    ranks = {known: key for known in released for key in [rank(known)] if key is not None}
    last = max(ranks, key=lambda known: ranks[known], default=None)
    if last is not None and wanted <= ranks[last]:
        return f"VERSION is {version}, and {last} is released already: give a greater one"
    if changes:
        return "the checkout has changes: commit or stash them first:\n" + "\n".join(changes)
    if not summary:
        return (
            "no fragment says what the release is about: add changelogs/fragments/"
            f"{version}.yml with a line 'release_summary: ...', and commit it"
        )
    return None


def with_version(text: str, version: str) -> str:
    """Return galaxy.yml with another version, and else as it is."""
    changed, count = re.subn(r"^version: .*$", f"version: {version}", text, flags=re.MULTILINE)
    if count != 1:
        give_up(f"galaxy.yml has {count} lines 'version: ...', and should have one")
    return changed


def what_is_left(version: str, archive: str) -> str:
    return f"""{version} is committed and tagged here, and nothing was pushed. What is left:
  git push origin main {version}
The workflow 'release' then publishes it. By hand instead, with a token of Ansible Galaxy's page 'API token':
  ansible-galaxy collection publish {archive} --token TOKEN
To take it back before it is pushed:
  git tag --delete {version} && git reset --hard HEAD~1"""


def git(*arguments: str) -> str:
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def release(version: str) -> None:
    lint = environment("lint") / "bin"
    path = f"{lint}{os.pathsep}{os.environ['PATH']}"
    GALAXY_YML.write_text(with_version(GALAXY_YML.read_text(), version))
    try:
        command = [str(lint / "antsibull-changelog"), "release", "--version", version]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PATH": path})
        archive = build(ROOT / "dist")
        galaxy.check(archive)
        git("add", "--", *WRITTEN)
        git("commit", "--quiet", "--message", f"Release {version}")
    except (SystemExit, subprocess.CalledProcessError, KeyboardInterrupt) as error:
        say(f"not released; to have the checkout as it was: git reset --hard && git clean -f -- {' '.join(WRITTEN)}")
        if isinstance(error, subprocess.CalledProcessError):
            give_up(f"{' '.join(map(str, error.cmd))} failed")
        raise
    git("tag", "--annotate", "--message", f"Release {version}", version)
    print(what_is_left(version, str(archive.relative_to(ROOT))))


if __name__ == "__main__":
    wanted = sys.argv[1] if sys.argv[1:] else ""
    checking = sys.argv[2] if sys.argv[2:] else ""
    if checking not in ("", "yes"):
        give_up(f"CHECK is {checking!r}; it can be yes, or left out")
    summaries = [path for path in ROOT.glob("changelogs/fragments/*.y*ml") if "release_summary:" in path.read_text()]
    reason = refusal(
        wanted, git("tag", "--list").split(), git("status", "--porcelain").splitlines(), summary=bool(summaries)
    )
    if reason:
        give_up(reason)
    if checking:
        say(f"{wanted} could be released")
    else:
        release(wanted)
