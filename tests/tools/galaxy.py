# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Do with the archive what Galaxy, ansible-builder and users do, and fail at all that one of them complains about.

Usage: galaxy.py [ARCHIVE]   a new one if none is given
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from collection import NAME, build
from environments import environment
from workshop import ROOT, give_up, say, tracked

COLLECTION = "devicemapper.containers"
# Nothing that is called by its name may need a file in these.
NOT_NEEDED = ("changelogs", "docs", "extensions", "molecule", "tests")
GUIDE = ROOT / "docs" / "guides" / "execution_environment.md"
IMAGE = "execution-environment.yml"
# 100 GiB of disk, of which the role takes 80 %.
SIZING = ("sizing_disk=100g", "data: 20479 extents (80.00 GiB)")


def run(folder: Path, program: str, *arguments: str, **extra: str) -> str:
    """Return what a program of the environment says, or give up where it fails or warns."""
    programs = environment("galaxy") / "bin"
    say(" ".join([program, *arguments])[:120])
    # No configuration and no collection of the user's.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GALAXY_"))}
    variables |= {"HOME": str(folder), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    variables |= {
        "NO_COLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        **extra,
    }
    ran = subprocess.run(
        [str(programs / program), *arguments],
        check=False,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    complaints = complaints_in(ran.stdout) + complaints_in(ran.stderr)
    if ran.returncode or complaints:
        give_up(f"{program} {' '.join(arguments[:2])}:\n" + "\n".join(complaints or [ran.stdout, ran.stderr]))
    return ran.stdout


def complaints_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\[?(WARNING|DEPRECATION WARNING|ERROR|CRITICAL)\b", line)]


def imported(archive: Path, folder: Path) -> None:
    """Import it as Galaxy does, ansible-lint and all. Each warning of its counts."""
    settings = {"GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true", "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(folder / "tmp")}
    said = run(folder, "python", "-m", "galaxy_importer.main", str(archive), **settings)
    # It goes on without these where they are not found.
    for step in ("Linting collection via ansible-lint", "...ansible-lint run complete", "completed successfully"):
        if step not in said:
            give_up(f"galaxy-importer has not got to {step!r}:\n{said}")


def introspected(folder: Path) -> None:
    """Compare what ansible-builder finds that the collection needs with what stands in its file."""
    found = run(folder, "ansible-builder", "introspect", "--sanitize", str(folder))
    wanted = [line for line in (ROOT / "bindep.txt").read_text().splitlines() if not line.startswith("#")]
    missing = [line for line in wanted if line not in found]
    if missing or "python: []" not in found:
        give_up(f"ansible-builder should find {', '.join(wanted)} and nothing of Python's, and finds:\n{found}")


def image_described(folder: Path) -> None:
    """Have ansible-builder read the description of an image that the guide shows."""
    blocks = re.findall(rf"<!-- file: {re.escape(IMAGE)} -->\n```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    if len(blocks) != 1:
        give_up(f"{GUIDE.name} should show {IMAGE} once, under '<!-- file: {IMAGE} -->'")
    (folder / IMAGE).write_text(blocks[0])
    run(folder, "ansible-builder", "create", "--file", IMAGE, "--context", "context")
    if COLLECTION not in (folder / "context" / "_build" / "requirements.yml").read_text():
        give_up(f"the image that {GUIDE.name} describes is without the collection")


def documented(folder: Path) -> None:
    """Compare what ansible-doc knows with the files there are, and have it show each."""
    known = json.loads(run(folder, "ansible-doc", "--metadata-dump", COLLECTION))["all"]
    files = {
        "module": [path.stem for path in tracked("plugins/modules/*.py")],
        "filter": [path.stem for path in tracked("plugins/filter/*.py")],
        "role": [path.parents[1].name for path in tracked("roles/*/tasks/main.yml")],
    }
    for kind, names in files.items():
        full_names = sorted(f"{COLLECTION}.{name}" for name in names)
        if sorted(known.get(kind, {})) != full_names:
            give_up(f"ansible-doc lists as {kind}: {sorted(known.get(kind, {}))}; there are: {full_names}")
        shown = run(folder, "ansible-doc", "--type", kind, *full_names)
        unseen = [name for name in full_names if name not in shown]
        if unseen:
            give_up(f"ansible-doc does not show {', '.join(unseen)}")
    for kind in ("module", "filter"):
        for name, parts in known[kind].items():
            empty = [part for part in ("doc", "examples", "return") if not parts.get(part)]
            if empty:
                give_up(f"{name} has no {', '.join(empty)}")


def played(folder: Path) -> None:
    """Have Ansible read every playbook, and run the one that needs no host."""
    playbooks = sorted(f"{COLLECTION}.{path.stem}" for path in tracked("playbooks/*.yml"))
    run(folder, "ansible-playbook", "--syntax-check", "--inventory", "localhost,", *playbooks)
    wish, answer = SIZING
    said = run(folder, "ansible-playbook", f"{COLLECTION}.sizing", "--inventory", "localhost,", "--extra-vars", wish)
    if answer not in said:
        give_up(f"the playbook sizing should say {answer!r}, and says:\n{said}")


def check(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="galaxy-") as name:
        folder = Path(name)
        imported(archive, folder)
        run(folder, "ansible-galaxy", "collection", "install", "--force", "--collections-path", name, str(archive))
        introspected(folder)
        image_described(folder)
        say(f"without {', '.join(NOT_NEEDED)}")
        for part in NOT_NEEDED:
            shutil.rmtree(folder / NAME / part, ignore_errors=True)
        documented(folder)
        played(folder)


if __name__ == "__main__":
    if sys.argv[1:]:
        check(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="archive-") as name:
            check(build(Path(name)))
    say("the archive is as Galaxy and users want it")
