# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run linters over a copy of the checkout, all of them even after a finding, and tell which ones found something.

Usage: lint.py        for the code
       lint.py docs   for the documentation of modules and roles
"""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t

import prometheus
from collection import copied
from environments import environment
from workshop import CACHE, give_up, say

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def for_docs(tree: Path) -> Iterator[list[str]]:
    yield ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all", "."]


def for_code(tree: Path) -> Iterator[list[str]]:
    # First: the others may leave files of their own.
    yield ["reuse", "--suppress-deprecation", "lint", "--lines"]
    yield ["ruff", "format", "--check", "--diff", "."]
    yield ["ruff", "check", "--output-format", "concise", "."]
    yield ["yamllint", "--strict", "."]
    # As a package: given paths, mypy would know each file under two names, its own and the one that others import.
    packages = [f"--package=ansible_collections.devicemapper.containers.{name}" for name in ("plugins", "extensions")]
    yield ["mypy", f"--cache-dir={CACHE}/mypy", *packages]
    yield ["antsibull-changelog", "lint"]
    yield ["ansible-lint", "--offline"]
    scripts = [str(path.relative_to(tree)) for path in sorted(tree.rglob("*")) if path.is_file() and is_shell(path)]
    yield ["shellcheck", *scripts]
    yield [str(prometheus.program("promtool")), "check", "rules", "roles/thin_pool_monitor/files/alerts.yml"]
    yield [str(prometheus.program("promtool")), "test", "rules", "tests/prometheus/alerts_test.yml"]


def is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().strip() in (b"#!/bin/sh", b"#!/usr/bin/env bash")


if __name__ == "__main__":
    programs = environment("lint") / "bin"
    failed = []
    with copied() as tree:
        variables = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(tree.parents[2]),
            "MYPYPATH": str(tree.parents[2]),
            "RUFF_CACHE_DIR": str(CACHE / "ruff"),
            "NO_COLOR": "1",
        }
        for command in for_docs(tree) if "docs" in sys.argv[1:] else for_code(tree):
            say(" ".join(command))
            if subprocess.run(command, check=False, cwd=tree, env=variables, stdin=subprocess.DEVNULL).returncode:
                failed.append(" ".join(word for word in command[:2] if word.isalpha() or word == command[0]))
    if failed:
        give_up(f"found something: {', '.join(failed)}")
    say("nothing found")
