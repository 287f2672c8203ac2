# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What a result or a diff shows of files that have secrets of others in them: what changes, and no secret of it."""

from __future__ import annotations

import difflib
import re
import typing as t

HIDDEN = "********"

# What is in the names of secrets: splunk-token, identitytoken, SECRET_KEY, X-Registry-Auth.
_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase)|secret|token|credential|auth|api[_-]?key|access[_-]?key|private[_-]?key|cookie|bearer"
    r"|signature|webhook|(?:^|[_.-])(?:pass|key)$",
    re.IGNORECASE,
)
# Names with "auth" in them of what is none.
_KNOWN_NAME = re.compile(r"authorization-plugins|authors?|authority", re.IGNORECASE)
# scheme://USER:PASSWORD@host, and ?name=value behind it.
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)[^/\s@\"']{1,4096}@", re.IGNORECASE)
_ASSIGNED = re.compile(r"(?<![\w.-])([\w.-]{1,64})=([^\s&\"',;]+)")
_MOST_LINES = 5000  # of a text whose changes are looked for line by line, which takes the square of it


def is_secret(name: str) -> bool:
    """Whether what has this name is nobody else's business."""
    return bool(_SECRET_NAME.search(name)) and not _KNOWN_NAME.fullmatch(name)


def masked(value: t.Any, name: str = "") -> t.Any:
    """Return a value of JSON without the secrets in it: those with such a name, and user information in URLs."""
    if name and is_secret(name) and value not in (None, "", True, False):
        return HIDDEN
    if isinstance(value, dict):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return in_text(value) if isinstance(value, str) else value


def without_users(text: str) -> str:
    """Return a text with the user information in its URLs hidden."""
    return _USER.sub(rf"\1{HIDDEN}@", text)


def in_text(text: str) -> str:
    """Return a text without the secrets in it: what ``NAME=`` assigns to such a name, and user information in URLs."""
    text = without_users(text)
    return _ASSIGNED.sub(lambda match: f"{match[1]}={HIDDEN}" if is_secret(match[1]) else match[0], text)


def changes(before: str, after: str) -> tuple[str, str]:
    """Return the lines of two texts that differ, each group of them below the ``[header]`` that it stands under."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if len(old) + len(new) > _MOST_LINES:
        # What they have in common at the beginning and at the end.
        shorter = min(len(old), len(new))
        first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
        last = next((at for at in range(shorter - first) if old[-1 - at] != new[-1 - at]), shorter - first)
        spans = [(first, len(old) - last, first, len(new) - last)]
    else:
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        spans = [span for tag, *span in matcher.get_opcodes() if tag != "equal"]  # type: ignore[misc]
    found = ["", ""]
    for span in spans:
        for side, lines, start, end in ((0, old, *span[:2]), (1, new, *span[2:])):
            header = next((line for line in reversed(lines[:start]) if line.lstrip().startswith("[")), "")
            piece = "".join(lines[start:end])
            if header and piece and not piece.lstrip().startswith("[") and header not in found[side]:
                piece = header + piece
            found[side] += piece
    return found[0], found[1]
