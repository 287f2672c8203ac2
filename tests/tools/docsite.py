# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a site of the folder docs in dist/site, to be opened from there; every warning ends it.

Usage: docsite.py [FOLDER]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from environments import environment
from workshop import CACHE, ROOT, give_up, say

# What a browser fetches by itself from elsewhere; links, which somebody has to follow, are none.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|object|embed)\b[^>]*?\b(?:src|data|srcset)=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|preload|preconnect|icon|manifest))[^>]*?\bhref=["'](?:https?:)?//[^"'>]+"""
    r"""|url\(\s*["']?(?:https?:)?//[^)]+|@import\s+["'](?:https?:)?//[^"']+"""
)


def build(folder: Path) -> None:
    """Put the site into a folder, in place of what is there."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    # Messages are compared by people and by machines: one language, and no colour.
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(environment("site") / "bin" / "python"), "-m", "sphinx", "--builder", "html", "--fresh-env"]
    command += ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", f"--doctree-dir={CACHE}/doctrees"]
    if subprocess.run([*command, str(ROOT / "docs"), str(new)], check=False, env=variables).returncode:
        give_up("the site could not be made")
    foreign = fetched(new)
    if foreign:
        give_up("pages would fetch from elsewhere:\n" + "\n".join(foreign))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def fetched(folder: Path) -> list[str]:
    """Return what the pages fetch from elsewhere."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".css", ".svg")]
    return [
        f"{path.relative_to(folder)}: {found[0]}"
        for path in files
        for found in FETCHED.finditer(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    site = Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT / "dist" / "site"
    site.parent.mkdir(parents=True, exist_ok=True)
    build(site)
    say(f"the site is in {site}: open index.html")
