# Copyright (c) 2026, The devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run promtool. Taken out of Debian's package prometheus, since installing that would start a server on this machine.

Usage: promtool.py ARGUMENTS
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from debian_packages import as_root
from workshop import CACHE, give_up, only_one, say

# By the user who runs it: apt's own could not write into the folder.
DOWNLOAD = ["apt-get", "--quiet", "--quiet", "-o", "APT::Sandbox::User=root", "download", "prometheus"]


def path() -> Path:
    """Return the program: this machine's, or the one in the cache, fetched now if it is not there."""
    installed = shutil.which("promtool")
    if installed:
        return Path(installed)
    program = CACHE / "promtool"
    with only_one(program):
        if not program.exists():
            fetch(program)
    return program


def fetch(program: Path) -> None:
    if not shutil.which("apt-get"):
        give_up("promtool is not here: install Prometheus' command line tools")
    say("fetching promtool")
    with tempfile.TemporaryDirectory(prefix="promtool-") as folder:
        done = subprocess.run(DOWNLOAD, check=False, cwd=folder)
        if done.returncode and as_root("apt-get", "--quiet", "update"):
            done = subprocess.run(DOWNLOAD, check=False, cwd=folder)
        archives = list(Path(folder).glob("prometheus_*.deb"))
        if done.returncode or not archives:
            give_up("apt-get could not download the package prometheus, which has promtool")
        subprocess.run(["dpkg-deb", "--extract", str(archives[0]), folder], check=True)
        shutil.move(Path(folder, "usr/bin/promtool"), f"{program}.new")
    os.replace(f"{program}.new", program)


if __name__ == "__main__":
    found = str(path())
    os.execv(found, [found, *sys.argv[1:]])
