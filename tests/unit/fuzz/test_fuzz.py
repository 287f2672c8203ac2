# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every parser of what somebody else has written, fed captured texts with pieces cut, doubled, moved and replaced.

A parser may refuse, by its own error, and must do neither anything else nor take long. FUZZ_SECONDS is the time for all
of them together, a minute if it is not set; FUZZ_SEED begins another series of texts; FUZZ_MB is the size of long ones.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import os
import random
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    bbolt,
    config_diff,
    toml,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._contents import (
    backup,
    free_space,
    metadata_snapshot,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, masking, mounts
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    disk_rules,
    extent_moves,
    lvm_state,
    pool_status,
    thin_devices,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, journal, log_files
from ansible_collections.devicemapper.containers.plugins.plugin_utils import _page

SEED = int(os.environ.get("FUZZ_SEED", "20"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
MEGABYTES = float(os.environ.get("FUZZ_MB", "0.1"))
SLOWEST = 5.0  # seconds for one text of some 100 KiB at most, on a machine that is busy with other things

UNIT = Path(__file__).resolve().parents[1]
REPORTS = UNIT / "reports" / "2.03.16-debian12"
CONTAINERD = UNIT / "containerd"


@dataclass(frozen=True)
class Parser:
    """A parser, what it is fed, and the error that it may refuse with."""

    parse: t.Callable[[bytes], object]
    seeds: t.Callable[[], list[bytes]]
    refusals: tuple[type[Exception], ...] = ()


def text(parse: t.Callable[[str], object]) -> t.Callable[[bytes], object]:
    """Return a parser of bytes; what is no UTF-8 is what the program's output is read as."""
    return lambda content: parse(content.decode("utf-8", "replace"))


def read(*paths: Path) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def journal_row(row: bytes) -> None:
    record = journal.record_of(row)
    if record is not None:
        journal.place_of(record)
        line = journal.line_of(record, "0" * 32)
        event = dm_events.event_of(line)
        if event is not None:
            json.dumps(journal.as_result(event))


def message(content: str) -> None:
    lines = [dm_events.Line(1.0, content, source) for source in ("dmeventd", "kernel", "lvm", "systemd", "journald")]
    for event in dm_events.events(lines, {"253:2": content}):
        assert event.severity in dm_events.SEVERITIES
        for name in (event.vg, event.pool, event.dm_name):
            assert name is None or not set(name) & set("{}%/ \n'\"\\$`;|&<>*?[]()"), name


def log_line(content: str) -> None:
    for row in content.split("\n")[:20]:
        line = log_files.parse(row, 1795428000.0, 0.0)
        if line is not None:
            dm_events.event_of(line)


def loaded(content: bytes) -> None:
    """As files.load() does, which reads files of registries and of Docker's."""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return


def daemon(content: str) -> None:
    found = daemon_json.DaemonJson.of(content)
    masking.masked(dict(found.known))


def database(content: bytes) -> None:
    bbolt.parse(content)


def document(content: str) -> None:
    toml.parse(content)
    config_diff.masked(content)


def fleet_answers() -> list[bytes]:
    """Return what hosts of the made-up fleet answer."""
    path = UNIT.parent / "page" / "fleet.py"
    spec = importlib.util.spec_from_file_location("fuzzed_fleet", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return [json.dumps({"check": check, "usage": usage}).encode() for _host, check, usage in module.answers(12)]


def page(content: bytes) -> None:
    """Put a host with the answer on a page; it costs no other host its card."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return
    found = answer if isinstance(answer, dict) else {}
    hosts = [("odd", found.get("check", answer), found.get("usage")), ("other", {"thin_pools": []}, {})]
    html = _page.render(hosts, generated="2026-11-23T12:00:40Z", title="Thin pools")
    for name in ("odd", "other"):
        assert f"<bdi>{name}</bdi>" in html


def records() -> list[bytes]:
    return [gzip.decompress(path.read_bytes()) for path in sorted((CONTAINERD / "1.7.24" / "records").iterdir())]


def journal_rows() -> list[bytes]:
    return (REPORTS / "journal.json").read_bytes().splitlines()


def messages() -> list[bytes]:
    return [str(json.loads(row).get("MESSAGE") or "").encode() for row in journal_rows()]


def log_lines() -> list[bytes]:
    heads = (
        b"2026-11-23T10:00:00.123456+01:00 host dmeventd[577]: ",
        b"Nov 23 10:00:00 host kernel: [ 12.345678] ",
        b'<30>1 2026-11-23T10:00:00Z host lvm 577 - [x@1 a="b\\]"] ',
    )
    return [head + line for head in heads for line in messages()[:40]]


PARSERS = {
    "toml": Parser(
        text(document),
        lambda: read(*sorted(CONTAINERD.glob("*/default.toml")), *sorted(CONTAINERD.glob("*/packaged.toml"))),
        (toml.TomlError,),
    ),
    "bbolt": Parser(database, records, (bbolt.DamagedError,)),
    "journal": Parser(journal_row, journal_rows),
    "dmeventd": Parser(text(message), messages),
    "log": Parser(text(log_line), log_lines),
    "lvm": Parser(
        text(lvm_state.LvmState.parse),
        lambda: read(*sorted(REPORTS.glob("pool*.json")))[:6] + read(REPORTS / "moving.json"),
        (RefusedError,),
    ),
    "copies": Parser(
        text(lambda content: extent_moves.copies(content, "docker")), lambda: read(REPORTS / "moving.status")
    ),
    "disk_rules": Parser(
        text(disk_rules.parse),
        lambda: [b"disks size>=100g model='A B*' path=pci-* rotational=no but=1"],
        (RefusedError,),
    ),
    "pool_status": Parser(text(pool_status.parse), lambda: read(*sorted(REPORTS.glob("*.status"))), (RefusedError,)),
    "pool_table": Parser(text(pool_status.parse_low_water_marks), lambda: read(*sorted(REPORTS.glob("*.table")))),
    "thin_ls": Parser(text(thin_devices.parse), lambda: read(REPORTS / "three_containers.thin_ls"), (RefusedError,)),
    "thin_dump": Parser(
        text(lambda content: backup.transaction_of(content.split("\n")[0])),
        lambda: read(REPORTS / "three_containers.xml"),
        (RefusedError,),
    ),
    "mappings": Parser(
        lambda content: free_space.parse_mappings(content.splitlines()), lambda: read(REPORTS / "three_containers.xml")
    ),
    "daemon_json": Parser(
        text(daemon),
        lambda: [
            b'{"storage-driver": "devicemapper", "storage-opts": ["dm.fs=xfs"], "log-opts": {"max-size": "1m"}}',
            b'{\n\t"proxies": {"http-proxy": "http://a:b@c"}, "data-root": "/x", "debug": false, "n": [1.5e3, null]}',
        ],
        (RefusedError,),
    ),
    "json": Parser(loaded, lambda: read(REPORTS / "docker_records.json")),
    "mark": Parser(text(metadata_snapshot.Mark.parse), lambda: [b'{"pool": "a-b", "root": 17}']),
    "mountinfo": Parser(text(mounts.parse), lambda: read(REPORTS / "host_mountinfo")),
    "page": Parser(page, fleet_answers),
}

TOKENS = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"{{",
        b"}}",
        b"'",
        b'"',
        b"\\",
        b'"""',
        b"'''",
        b"\\ud800",
    ),
    *(b"[", b"]", b"{", b"}", b"=", b",", b":", b"#", b".", b"/", b"..", b"-", b"--", b"%", b"(", b")", b" extents"),
    *(b"0", b"-1", b"9" * 30, b"9" * 5000, b"1e999", b"NaN", b"Infinity", b"null", b"true", b"0x", b"1_", "٣".encode()),
)


def mutated(chance: random.Random, seeds: t.Sequence[bytes]) -> bytes:
    """Return one of the texts with some of its pieces cut out, doubled, moved, replaced or joined with another's."""
    found = bytearray(chance.choice(seeds))
    for _change in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(found) + 1)
        end = min(len(found), at + chance.choice((0, 1, 1, 2, 8, 64, 1024)))
        kind = chance.randrange(7)
        if kind == 0:
            del found[at:end]
        elif kind == 1:
            found[at:end] = chance.choice(TOKENS)
        elif kind == 2:
            found[at:at] = found[at:end] * chance.choice((1, 2, 50))
        elif kind == 3 and at < len(found):
            found[at] = chance.randrange(256)
        elif kind == 4 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            found[at:end] = other[start : start + chance.choice((8, 64, 1024))]
        else:
            found[at:at] = chance.choice(TOKENS) * chance.choice((1, 3, 200))
        if len(found) > 200_000:
            del found[200_000:]
    return bytes(found)


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_is_read_is_understood_or_refused(name, record_property):
    parser = PARSERS[name]
    seeds = parser.seeds()
    assert seeds
    for seed in seeds:
        parser.parse(seed)
    chance = random.Random(f"{SEED} {name}")
    end = time.monotonic() + SECONDS / len(PARSERS)
    number = refused = 0
    while time.monotonic() < end or number < 50:
        content = mutated(chance, seeds)
        started = time.process_time()
        try:
            parser.parse(content)
        except parser.refusals:
            refused += 1
        except Exception as error:
            raise AssertionError(f"FUZZ_SEED={SEED}, text {number}: {error!r} at {content[:3000]!r}") from error
        taken = time.process_time() - started
        assert taken < SLOWEST, f"FUZZ_SEED={SEED}, text {number} took {taken:.1f} s: {content[:3000]!r}"
        number += 1
    record_property("texts", number)
    print(f"{name}: {number} texts, {refused} refused, FUZZ_SEED={SEED}")


# --- Long texts -------------------------------------------------------------------------------------------------------

# Pieces that are repeated until a text is long, by parser: what a pattern or a loop may come back to again and again.
LONG = {
    "toml": [b"a", b"[", b"a = 1\n", b"[a]\n", b'x = "', b"a.", b"x = [1,", b"# \n", b'"""', b"\n", b"[[a]]\nb = 1\n"],
    "journal": [b"[", b'{"a":', b'"', b'{"MESSAGE": [1,', b"\\", b" "],
    "dmeventd": [
        *(b"a", b" ", b"-", b"/", b"1", b"%", b"device-mapper: ", b"Size of logical volume a/b changed from 1 ("),
        *(
            b"Size of logical volume a/b changed from 1 (1 extents) to ",
            b"message repeated 1 times: [ ",
            b"x.profile: ",
        ),
        *(b"WARNING: Thin pool a/b is failed", b"dm-event.service: ", b" failed", b"x: open ", b"dmeventd "),
    ],
    "log": [b"a", b" ", b"[", b"2026-11-23T10:00:00Z h d 1 - [x]", b"[a]", b"[a\\]", b"1", b"Nov 23 "],
    "lvm": [b"[", b'{"report": [', b'"', b" "],
    "copies": [b"docker-pvmove0: 0 1 mirror 2 1:1 1:1 1/1 1 AA 1\n", b"a", b" ", b"\n", b"a: 0 1 mirror 2 "],
    "disk_rules": [b"a", b" ", b"'", b"size>=1g ", b"model=* ", b"path=*"],
    "mappings": [b'<device dev_id="1', b'<range_mapping origin_begin="', b'length="1" ', b'"', b"1", b"\n"],
    "pool_status": [b"a: 0 1 thin-pool 1 1/2 3/4 - rw\n", b"a", b" ", b"\n", b"0 "],
    "pool_table": [b"a: 0 1 thin-pool 1 1 1 1\n", b"a", b" ", b"\n", b": 0 "],
    "thin_ls": [b"1 2 3 4\n", b"1", b" ", b"\n"],
    "thin_dump": [b"<superblock ", b' transaction="1"', b' nr_data_blocks="', b" ", b"a"],
    "daemon_json": [b"[", b'{"a":', b'"', b"[1,", b" ", b"\n "],
    "json": [b"[", b'{"a":', b'"', b"[1,"],
    "mark": [b"[", b'"'],
    "mountinfo": [b"1 2 3:4 / / rw - ext4 /dev/x rw\n", b" ", b"\\040", b"-", b"\\"],
    "page": [b"[", b'{"check":', b'{"check": {"thin_pools": [', b'"', b"1"],
    "bbolt": [b"\0", b"\xff", b"\xed\xda\x0c\xed"],
}


@pytest.mark.parametrize(("name", "piece"), [(name, piece) for name, pieces in LONG.items() for piece in pieces])
def test_a_text_of_twice_the_length_takes_about_twice_the_time(name, piece):
    parser = PARSERS[name]

    def taken(size: float) -> float:
        content = piece * (int(size * 2**20) // len(piece))
        started = time.process_time()
        with contextlib.suppress(*parser.refusals):
            parser.parse(content)
        return time.process_time() - started

    once = taken(MEGABYTES)
    # What is done in an instant is, whatever the ratio is; each more than thrice the time would be a square.
    assert taken(2 * MEGABYTES) < 3 * once + 0.3


def test_every_parser_has_long_texts():
    assert set(LONG) == set(PARSERS)


def test_no_file_is_read_that_is_longer_than_any_of_its_kind(tmp_path):
    path = tmp_path / "daemon.json"
    with open(path, "wb") as file:
        file.truncate(files.LARGEST * 100)
    started = time.process_time()
    with pytest.raises(RefusedError, match="is larger than 16 MiB"):
        files.read(str(path))
    assert files.load(str(path)) == {}
    assert time.process_time() - started < 2
