# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Units of systemd: what it knows of one, and the command line that it starts."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._core import masking, process

_LAST_LINES = 5  # of a unit's journal, told with the error of systemctl
_STARTS = {"start", "restart", "enable"}


def is_service(name: str) -> bool:
    """Whether a text can be the name of a service, and so part of a path (systemd.unit(5))."""
    return bool(re.fullmatch(r"[A-Za-z0-9:_.@-]+\.service", name))


def read_unit(service: str) -> dict[str, str]:
    """Return systemd's properties of an engine's unit; empty where systemd does not run."""
    if not os.path.isdir("/run/systemd/system"):  # sd_booted(3)
        return {}
    properties = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,ExecStart,Environment,EnvironmentFiles,MainPID"
    text = process.run("systemctl", "show", service, f"--property={properties}", accept=(0, 1, 4))
    pairs = (line.partition("=") for line in text.splitlines())
    found: dict[str, str] = {}
    for key, _equals, value in pairs:
        found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def with_journal(error: process.ProcessError) -> process.ProcessError:
    """Return the error of a unit that did not start with the last lines of its journal: systemctl tells no reason."""
    if error.command[:1] != ("systemctl",) or not _STARTS & set(error.command[1:2]):
        return error
    units = [f"--unit={word}" for word in error.command[2:] if not word.startswith("-")]
    said = ""
    with contextlib.suppress(process.ProcessError):
        said = process.run("journalctl", "--no-pager", "--output=cat", f"--lines={_LAST_LINES}", *units, timeout=30)
    lines = [masking.in_text(line.strip()) for line in said.splitlines() if line.strip()]
    if not lines:
        return error
    return process.ProcessError(
        f"{error}. The last lines of its journal: {'; '.join(lines)}", error.command, error.rc, error.stderr
    )


def flags(unit: t.Mapping[str, str]) -> tuple[str, ...]:
    """Return the words of the engine's command line, with the unit's variables put in (systemd.service(5))."""
    match = re.search(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=", unit.get("ExecStart", ""))
    if not match:
        return ()
    variables = dict(word.partition("=")[::2] for word in shlex.split(unit.get("Environment", "")))
    for line in unit.get("EnvironmentFiles", "").splitlines():
        variables.update(_environment_file(line.rpartition(" (")[0] or line))
    words: list[str] = []
    for word in match[1].split()[1:]:
        if re.fullmatch(r"\$\w+", word):
            words += variables.get(word[1:], "").split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: variables.get(found[1], ""), word))
    return tuple(words)


def _environment_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError:
        return {}
    found = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            found[key.strip()] = value.strip().strip("\"'")
    return found
