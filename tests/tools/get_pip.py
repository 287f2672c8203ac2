# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install pip from Python's own bundle, in the place of the get-pip.py that ansible-test would download.

ansible-test asks no package index for it but a server of its own, which networks with an index alone do not reach.
"""

from __future__ import annotations

import os
import subprocess
import sys

# ansible-test's wrapper around pip runs the file that GET_PIP names: the pip started here would end up here again.
environment = {name: value for name, value in os.environ.items() if name != "GET_PIP"}
wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or ["pip"]
subprocess.run(
    [sys.executable, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL, env=environment
)
subprocess.run(
    [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True, env=environment
)
