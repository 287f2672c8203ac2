# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install pip into the environment whose Python runs this: the first of a Python and the others share the files.

pip comes from Python's own bundle, in the place of the get-pip.py that ansible-test would download: that asks no
package index but a server of its own, which networks with an index alone do not reach. ansible-test makes fifteen
environments for a core, and to install pip takes 5 s of processor time in each.

Usage: get_pip.py [REQUIREMENT ...], for example pip==24.2
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# Beside this file under the name by which it is run (environments.py, sanity.py).
SHARED = Path(__file__).absolute().with_name("pips")
# ansible-test's wrapper around pip runs the file that GET_PIP names: the pip started here would end up here again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "GET_PIP"}


def install(wanted: list[str]) -> None:
    python = [sys.executable, "-m"]
    subprocess.run([*python, "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    quietly = ["pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*python, *quietly, *wanted], check=True, env=ENVIRONMENT)


def link(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)


def main() -> None:
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or ["pip"]
    packages = Path(sysconfig.get_path("purelib"))
    kept = SHARED / "-".join([str(sys.implementation.cache_tag), *wanted])
    if kept.exists():
        link(kept, packages)
        return
    install(wanted)
    SHARED.mkdir(exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=SHARED))
    link(packages, new)
    try:
        new.rename(kept)
    except OSError:  # another run was faster
        shutil.rmtree(new)


if __name__ == "__main__":
    main()
