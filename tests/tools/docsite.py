# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a site of the folder docs and of the modules' documentation in dist/site, to be opened from there.

Every warning ends it, and so does a page that would fetch something from elsewhere.

Usage: docsite.py [FOLDER]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from collection import copied
from environments import environment
from workshop import ROOT, give_up, say

COLLECTION = "devicemapper.containers"
KINDS = {"module": "Modules", "role": "Roles", "filter": "Filters"}
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
    # One language and no colour, whoever runs it.
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    with copied() as tree:
        pages = tree / "docs"
        write_reference(pages / "reference", {**variables, "ANSIBLE_COLLECTIONS_PATH": str(tree.parents[2])})
        command = [str(environment("site") / "bin" / "python"), "-m", "sphinx", "--builder", "html", "--nitpicky"]
        command += ["--fail-on-warning", "--keep-going", "--quiet", f"--doctree-dir={tree}/doctrees"]
        if subprocess.run([*command, str(pages), str(new)], check=False, env=variables).returncode:
            give_up("the site could not be made")
    foreign = fetched(new)
    if foreign:
        give_up("pages would fetch from elsewhere:\n" + "\n".join(foreign))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def write_reference(folder: Path, variables: dict[str, str]) -> None:
    """Write a page for each module, role and filter, and one that leads to them."""
    folder.mkdir(mode=0o755)
    programs = environment("lint") / "bin"
    command = [str(programs / "antsibull-docs"), "collection", "--use-current", "--squash-hierarchy", "--no-indexes"]
    command += ["--fail-on-error", "--output-format", "simplified-rst", "--dest-dir", str(folder), COLLECTION]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        command,
        check=False,
        env={**variables, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        give_up(f"the documentation of modules and roles could not be written:\n{ran.stdout}")
    found: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for page in sorted(folder.glob("*_*.rst")):
        text = page.read_text(encoding="utf-8")
        # Its links are for where such files are shown as they are, its colours for a light page, and a list of contents
        # has the theme.
        text = re.sub(r"(\w_(?:module|role|filter))\.rst\b", r"\1.html", text)
        text = re.sub(r"\bcolor: \w+;? ?", "", text)
        text = re.sub(r"^\.\. contents::\n(?:   .*\n)*", "", text, flags=re.MULTILINE)
        page.write_text(text, encoding="utf-8")
        name, _underscore, kind = page.stem.rpartition("_")
        found[kind][name] = re.findall(rf"^{re.escape(COLLECTION)}\..* -- (.*)", text, re.MULTILINE)[0]
    lines = ["Modules and roles", "=================", ""]
    for kind, pages in found.items():
        lines += ["", KINDS[kind], "-" * len(KINDS[kind]), ""]
        lines += [f"- :doc:`{name} <{name}_{kind}>`: {says}" for name, says in pages.items()]
        lines += ["", ".. toctree::", "   :hidden:", ""]
        lines += [f"   {name} <{name}_{kind}>" for name in pages]
    (folder / "index.rst").write_text("\n".join([*lines, ""]), encoding="utf-8")


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
