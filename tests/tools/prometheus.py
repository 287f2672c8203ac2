# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a program of Prometheus'. Taken out of Debian's packages, since installing them would start servers here.

Usage: prometheus.py promtool|prometheus|prometheus-node-exporter ARGUMENTS
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

PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
}
# By the user who runs it: apt's own could not write into the folder.
DOWNLOAD = ["apt-get", "--quiet", "--quiet", "-o", "APT::Sandbox::User=root", "download"]


def program(name: str) -> Path:
    """Return the program: this machine's, or the one in the cache, fetched now if it is not there."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    folder = CACHE / "prometheus"
    with only_one(folder):
        if not (folder / name).exists():
            fetch(PACKAGES[name], folder)
    return folder / name


def fetch(package: str, target: Path) -> None:
    if not shutil.which("apt-get"):
        give_up(f"the programs of {package} are not here: install them, so that they are found on the PATH")
    say(f"fetching {package}")
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prometheus-", dir=target) as folder:
        done = subprocess.run([*DOWNLOAD, package], check=False, cwd=folder)
        if done.returncode and as_root("apt-get", "--quiet", "update"):
            done = subprocess.run([*DOWNLOAD, package], check=False, cwd=folder)
        archives = list(Path(folder).glob("*.deb"))
        if done.returncode or not archives:
            give_up(f"apt-get could not download the package {package}")
        subprocess.run(["dpkg-deb", "--extract", str(archives[0]), folder], check=True)
        for found in Path(folder, "usr", "bin").iterdir():
            found.rename(target / found.name)


if __name__ == "__main__":
    wanted = str(program(sys.argv[1]))
    os.execv(wanted, [wanted, *sys.argv[2:]])
