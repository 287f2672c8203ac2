# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How sphinx makes a site of this folder: 'make site'. The pages are plain Markdown, to be read without it as well."""

from __future__ import annotations

import typing as t

from pygments.lexer import RegexLexer
from pygments.token import Generic, Text

if t.TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "devicemapper.containers"
author = "The devicemapper.containers contributors"
project_copyright = f"2026, {author}"
extensions = ["myst_parser"]
exclude_patterns = ["**/README.md"]

# Links to headings within a page: backup.md#restore.
myst_heading_anchors = 3
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "Thin pools for containers"
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# In the order in which they are read, with short titles for the side of the page. A page that is in none of them is a
# warning, which ends the build.
CONTENTS = {
    "Begin": {
        "how_it_works": "How it works",
        "sizing": "Sizes",
        "performance": "How fast it is",
        "guides/docker_versions": "Versions of Docker",
    },
    "Make a pool": {
        "guides/containerd": "For containerd",
        "guides/containerd_configurations": "Configurations of containerd",
        "guides/disks": "Disks by rule",
        "guides/docker_options": "Options of the driver",
        "guides/docker_managed": "Made by Docker itself",
        "guides/loop_lvm": "On loop files",
    },
    "Keep it well": {
        "guides/verify": "Verify a host",
        "guides/monitor": "Look after pools",
        "guides/reclaim": "Space that comes back",
        "guides/report": "The whole fleet",
        "guides/rulebook": "Grow by itself",
        "guides/replace_disk": "Replace a disk",
        "guides/execution_environment": "In an execution environment",
    },
    "In trouble": {
        "guides/full_pool": "A full pool",
        "guides/backup": "Back up, repair, restore",
        "guides/other_states": "Disks that changed",
    },
    "Leave": {
        "guides/migrate": "Move to a pool, or off it",
        "guides/uninstall": "Take it apart",
    },
    # Not in the checkout: 'make site' writes it, from the documentation in the modules and roles.
    "Reference": {"reference/index": "Modules and roles"},
}


class Console(RegexLexer):
    """Commands, with or without a prompt; the lexer of that name greys those without one out, as output."""

    name = "console"
    tokens: t.ClassVar[dict[str, list[t.Any]]] = {"root": [(r"^[#$] ", Generic.Prompt), (r".*\n", Text)]}


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the table of contents to the first page; in the file it would be shown as code where Markdown is read."""
    if name == "index":
        for caption, pages in CONTENTS.items():
            entries = [f"{title} <{page}>" for page, title in pages.items()]
            lines = ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]
            source[0] += "\n".join(lines)


def setup(app: Sphinx) -> dict[str, t.Any]:
    app.add_lexer("console", Console)
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
