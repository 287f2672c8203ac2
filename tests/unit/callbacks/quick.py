# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saves ansible-playbook more than half of its time where many hosts go through the same tasks.

Each task of each host is a process of its own, which looks up the filters and tests, and compiles every template anew.
Here the processes begin with the former, and share the latter in the folder COMPILED_TEMPLATES. What a template is
compiled to depends on its text and Jinja's settings alone, which are in the name of the file.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from pathlib import Path

import jinja2
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader

COMPILED = Path(os.environ["COMPILED_TEMPLATES"])
SETTINGS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "autoescape",
    "sandboxed",
    "is_async",
)
compile_anew = jinja2.Environment.compile


def compile_once(self, source, *others, **options):
    if others or options:
        return compile_anew(self, source, *others, **options)
    finalize = getattr(self.finalize, "__qualname__", None)
    settings = [type(self), sorted(self.extensions), finalize, *(getattr(self, name) for name in SETTINGS)]
    # An expression comes as a tree, whose repr is all of it.
    text = str(source) if isinstance(source, str) else repr(source)
    path = COMPILED / hashlib.sha256(ascii([settings, type(source), text]).encode()).hexdigest()
    try:
        return marshal.loads(path.read_bytes())
    except FileNotFoundError:
        code = compile_anew(self, source)
    new = Path(f"{path}.{os.getpid()}")
    new.write_bytes(marshal.dumps(code))
    new.rename(path)
    return code


jinja2.Environment.compile = compile_once


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "quick"

    def v2_playbook_on_start(self, playbook):
        # Whichever is asked for, all are looked up.
        filter_loader.get("bool")
        test_loader.get("defined")
