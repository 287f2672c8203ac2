# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every message that Linux' sources have of thin pools, and dmeventd's of its thin plugin, is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import Line

UNIT = Path(__file__).resolve().parents[3]
# What printf's conversions come to, two ways; a text is a device's numbers, a name, or a word of the sentence.
NUMBERS = {"d": ("-28", "7"), "u": ("7", "4294967295"), "llu": ("7", "18446744073709551615"), "lx": ("1", "ff")}
# A text by what stands around it. Where it begins a message of the pool's target, it is the pool's numbers, or the
# function's name.
WORDS = (
    ("switching pool to %s%s mode", ("out-of-data-space", " (queue IO)")),
    ("switching pool to %s%s mode", ("read-only", "")),
    ("metadata operation '%s'", ("dm_pool_commit_metadata",)),
    ("Data device (%pg) %s:", ("discard unsupported",)),
    ("%s failed: ", ("sb_check",)),
    ("%s validator", ("btree_node",)),
)
# Of a function that is given the sentence by others, whose own rows are these.
REASONS = {("thin", "%s"): "ooms_reason, one of the two sentences about free metadata blocks that are looked at below"}


def filled(prefix: str, text: str) -> set[str]:
    """Return what a format may come out as."""
    return {_filled(prefix, text, number, begins) for number in (0, 1) for begins in ("253:4", "provision_block")}


def _filled(prefix: str, text: str, number: int, begins: str) -> str:
    words = next((list(given) for around, given in WORDS[:: -1 if number else 1] if around in text), [])
    starts = text.startswith("%s: ") and prefix in ("thin", "thin metadata", "space map metadata")

    def put(match: re.Match[str]) -> str:
        if match[1] in NUMBERS:
            return NUMBERS[match[1]][number]
        if match[1] == "pg":
            return "dm-3"
        if starts and match.start() == 0:
            return begins if prefix == "thin" else "dm_pool_commit_metadata"
        return words.pop(0) if words else "17"

    return re.sub(r"%\.?\d*(llu|lx|pg|[a-z])", put, text).replace("%%", "%")


def messages(path: Path) -> list[tuple[str, str]]:
    return [tuple(line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("path", sorted((UNIT / "kernel").glob("*.txt")), ids=lambda path: path.stem)
def test_the_kernels_messages_are_known(path):
    unknown, kinds = [], {}
    for prefix, text in messages(path):
        if (prefix, text) in REASONS:
            continue
        of = "table: 253:4: thin-pool" if prefix == "table" else prefix
        for words in filled(prefix, text):
            event = dm_events.event_of(Line(0.0, f"device-mapper: {of}: {words}", "kernel"))
            kinds[text] = event.kind if event else None
            if event is None or event.kind == "unknown":
                unknown.append(f"{prefix}: {words}")
    assert unknown == []
    assert len(kinds) > 150
    assert kinds["bitmap check failed: blocknr %llu != wanted %llu"] == "metadata_corrupt"
    assert kinds["%s: alloc_data_block() failed: error = %d"] == "alloc_failed"
    assert kinds["%s: growing the data device from %llu to %llu blocks"] == "grown"


@pytest.mark.parametrize("path", sorted((UNIT / "dmeventd").glob("*.txt")), ids=lambda path: path.stem)
def test_dmeventds_messages_are_known(path):
    unknown = []
    for _prefix, text in messages(path):
        words = text.replace("%.2f%%", "85.43%").replace("%d", "17").replace("%u", "17")
        of_a_command = ("Executing", "dmeventd executes", "Can't fork", "Invalid command")
        name = "lvextend --use-policies" if words.startswith(of_a_command) else "docker-thinpool"
        event = dm_events.event_of(Line(0.0, words.replace("%s", name), "dmeventd"))
        if event is None or event.kind == "unknown":
            unknown.append(words)
    assert unknown == []
    assert len(messages(path)) > 10


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("device-mapper: thin: provision_block: alloc_data_block() failed: error = -28", "alloc_failed"),
        ("device-mapper: thin: process_cell: dm_thin_find_block() failed: error = -5", "alloc_failed"),
        ("device-mapper: space map common: bitmap check failed: blocknr 0 != wanted 12", "metadata_corrupt"),
        ("device-mapper: array: array_block_check failed: csum 1 != wanted 2", "metadata_corrupt"),
        ("device-mapper: thin metadata: __create_persistent_data_objects: dm_x() failed, error = -5", "metadata_error"),
        ("device-mapper: transaction manager: couldn't open metadata space map", "metadata_error"),
        ("device-mapper: space map metadata: unable to allocate new metadata block", "metadata_full"),
        ("device-mapper: thin: 253:4: dm_pool_get_metadata_transaction_id returned -22", "metadata_error"),
        ("device-mapper: table: 253:4: thin-pool: Error creating metadata object (-EINVAL)", "config_error"),
        ("device-mapper: thin: Could not get free metadata blocks", "metadata_full"),
        ("device-mapper: thin: No free metadata blocks", "metadata_full"),
        ("device-mapper: thin: a message of a later Linux", "unknown"),
        ("device-mapper: array: a message of a later Linux", "unknown"),
    ],
)
def test_lines_from_reports_are_of_the_right_kind(message, kind):
    assert dm_events.event_of(Line(0.0, message, "kernel")).kind == kind
