# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command that works with guests: molecule, the demo or the benchmark.

It gets ansible-core, molecule and pytest-testinfra on its PATH, and the collection as users have it: installed from
the archive, and no other collection in sight. The variable CORE names the ansible-core: the oldest, or the newest.

Usage: guests.py COMMAND [ARGUMENTS]
"""

from __future__ import annotations

import os
import sys

from collection import install
from environments import core_for, environment
from workshop import ROOT, TOOLS


def variables() -> dict[str, str]:
    programs = environment(f"molecule-{core_for('molecule', os.environ.get('CORE', ''))}")
    return {
        **os.environ,
        "PATH": f"{programs / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(install()),
        "ANSIBLE_CONFIG": str(TOOLS / "ansible.cfg"),
    }


if __name__ == "__main__":
    os.chdir(ROOT)
    os.execvpe(sys.argv[1], sys.argv[1:], variables())
