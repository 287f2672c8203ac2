# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install what debian-packages.txt lists and this machine lacks.

Usage: debian_packages.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from workshop import CACHE, TOOLS, give_up, only_one, say

# The lock is waited for: a new machine often still installs its own updates.
INSTALL = ["apt-get", "--quiet", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]


def wanted() -> list[str]:
    lines = (TOOLS / "debian-packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def missing() -> list[str]:
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${Status}\\n", *wanted()]
    # It fails where one package is unknown, and shows the others all the same.
    shown = subprocess.run(query, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [package for package in wanted() if package not in installed]


def as_root(*command: str, shown: bool = True) -> bool:
    """Run a command as root and return whether it succeeded; apt and debconf ask nothing."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    output = None if shown else subprocess.DEVNULL
    words = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", *command]
    # Standard output belongs to the commands that this one prepares for.
    return subprocess.run(words, check=False, stdout=output or sys.stderr, stderr=output).returncode == 0


def install() -> None:
    if not shutil.which("dpkg-query"):
        say(f"not a Debian or Ubuntu; the commands need what is there called {' '.join(wanted())}")
        return
    packages = missing()
    if not packages:
        return
    say(f"installing {' '.join(packages)}")
    if os.geteuid() != 0 and not shutil.which("sudo"):
        give_up(f"this needs root: apt-get install {' '.join(packages)}")
    # The package lists of a new machine are missing or name files that are no longer on the servers.
    if as_root(*INSTALL, *packages, shown=False):
        return
    if not as_root("apt-get", "--quiet", "update") or not as_root(*INSTALL, *packages):
        give_up(f"apt-get could not install {' '.join(packages)}")


if __name__ == "__main__":
    with only_one(CACHE / "debian-packages"):
        install()
