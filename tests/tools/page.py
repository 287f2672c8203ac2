# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at the page of the playbook report in a headless Chromium, which is installed here if it is missing.

Usage: page.py                                   run the tests in tests/page
       page.py fleet FOLDER [HOSTS]              write an inventory of made-up hosts that answer the playbook
       page.py pictures FOLDER PAGE              save pictures of a page, and its print, in FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from debian_packages import INSTALL, as_root
from environments import environment
from workshop import CACHE, ROOT, give_up, only_one, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def has_browser() -> bool:
    """Whether there is a Chromium, installed now if this is a Debian.

    Ubuntu has it as a snap alone, which is not made for this.
    """
    if any(map(shutil.which, NAMES)):
        return True
    release = Path("/etc/os-release")
    if not release.exists() or "ID=debian" not in release.read_text().splitlines():
        say("the page is left out: no Chromium here; put one on the PATH")
        return False
    say("installing chromium")
    packages = ["chromium", "fonts-dejavu-core"]
    with only_one(CACHE / "debian-packages"):
        if not as_root(*INSTALL, *packages, shown=False) and not (
            as_root("apt-get", "--quiet", "update") and as_root(*INSTALL, *packages)
        ):
            give_up(f"apt-get could not install {' '.join(packages)}")
    return True


def run(*command: str) -> int:
    python = environment("page") / "bin" / "python"
    return subprocess.run([str(python), *command], check=False, cwd=ROOT, env=dict(os.environ)).returncode


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["fleet"]:
        sys.exit(run("tests/page/conftest.py", *words[1:]))
    if not has_browser():
        sys.exit(0 if not words else 1)
    if words[:1] == ["pictures"]:
        sys.exit(run("tests/page/browser.py", *words[1:]))
    if run("-m", "pytest", "--quiet", "tests/page", *words):
        give_up("the page is not as it should be")
    say("the page is as it should be")
