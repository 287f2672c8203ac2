# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import re
import subprocess
import sys
import time
import tracemalloc
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.devicemapper.containers.extensions.eda.plugins.event_source import dm_event
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, journal

sys.path.insert(0, str(Path(__file__).resolve().parent))
stand_in = importlib.import_module("stand_in")
sys.path.pop(0)

ROOT = Path(__file__).resolve().parents[4]
CAPTURED = (ROOT / "tests/unit/reports/2.03.16-debian12/journal.json").read_text(encoding="utf-8").splitlines()
ALL = 1  # a time before all that was captured
FREE = "Insufficient free space: 31 extents needed, but only 0 available"
FAILED = "Failed command for ev--a-thin--pool."
FULL = "device-mapper: thin: 253:2: switching pool to out-of-data-space (queue IO) mode"
KERNEL = {"_TRANSPORT": "kernel", "_COMM": None, "_PID": None}


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = stand_in.Host(tmp_path / "host")
    monkeypatch.setenv("PATH", f"{found.programs}:/usr/bin:/bin")
    monkeypatch.setattr(dm_event, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(dm_event, "HOLD", 0.3)
    return found


class Source:
    """The source at work, and its queue as ansible-rulebook makes it: with room for one."""

    def __init__(self, **args: t.Any) -> None:
        self.queue: asyncio.Queue[dict[str, t.Any]] = asyncio.Queue(1)
        self.task = asyncio.ensure_future(dm_event.main(self.queue, args))

    async def next(self, count: int) -> list[dict[str, t.Any]]:
        """Return the next events, and see that no more than those wait."""
        found = []
        while len(found) < count:
            getting = asyncio.ensure_future(self.queue.get())
            await asyncio.wait([getting, self.task], timeout=20, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                if self.task.done():
                    self.task.result()
                raise AssertionError(f"{len(found)} of {count} events came: {[event['kind'] for event in found]}")
            found.append(getting.result())
        return found

    async def stop(self) -> list[dict[str, t.Any]]:
        """Cancel it, and return what was still in the queue."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        return [self.queue.get_nowait() for _number in range(self.queue.qsize())]


@contextlib.asynccontextmanager
async def source(**args: t.Any) -> t.AsyncIterator[Source]:
    running = Source(**args)
    try:
        yield running
    finally:
        await running.stop()


async def until(look: t.Callable[[], t.Any], seconds: float = 20) -> t.Any:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it does not come about"
        await asyncio.sleep(0.02)
    return look()


def follows(host: t.Any) -> bool:
    asked = (host.folder / "asked").read_text() if (host.folder / "asked").exists() else ""
    return bool(asked) and "--follow" in [row for row in asked.splitlines() if row.startswith("--system")][-1]


def messages(events: list[dict[str, t.Any]]) -> list[str]:
    return [event["message"] for event in events]


def expected() -> list[dict[str, t.Any]]:
    """Return what dm_event_info returns of the captured journal."""
    names = {"253:2": "ev--a-thin--pool", "253:5": "ev--a-mp"}
    lines = [journal.line_of(json.loads(row), stand_in.BOOTS[0]) for row in CAPTURED]
    return [journal.as_result(event) for event in dm_events.events(lines, names)]


# --- What comes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "name"),
    [
        pytest.param({}, "localhost", id="here"),
        pytest.param({"local_name": "storage1", "become": True}, "storage1", id="here-as-root"),
        pytest.param({"hosts": ["node1"]}, "node1", id="by-ssh"),
        pytest.param(
            {"hosts": [{"name": "node1", "destination": "ssh://me@192.0.2.1:2222"}], "become": True},
            "node1",
            id="by-ssh-as-root",
        ),
    ],
)
def test_events_are_those_of_dm_event_info_and_say_whose_they_are(host, args, name):
    host.write(*CAPTURED)
    wanted = expected()

    async def run():
        async with source(since=ALL, **args) as running:
            return await running.next(len(wanted))

    assert asyncio.run(run()) == [{**event, "meta": {"hosts": name}} for event in wanted]
    assert {event["kind"] for event in wanted} > {"vg_full", "data_full_queueing", "daemon_failed", "suppressed"}
    as_root = host.folder / "as_root"
    assert set(as_root.read_text().split() if as_root.exists() else []) == (
        {"journalctl", "dmsetup"} if args.get("become") else set()
    )


def test_several_hosts_are_followed_at_once(host):
    host.say(FAILED)

    async def run():
        async with source(since=ALL, hosts=["node1", {"name": "node2", "destination": "me@node2.example"}]) as running:
            return await running.next(2)

    assert sorted(event["meta"]["hosts"] for event in asyncio.run(run())) == ["node1", "node2"]
    connections = (host.folder / "connections").read_text()
    assert "-o BatchMode=yes" in connections
    assert " node1 env LC_ALL=C PATH=" in connections
    assert " me@node2.example env LC_ALL=C PATH=" in connections


def test_only_what_is_new_comes_without_a_time(host):
    host.write(*CAPTURED)

    async def run():
        async with source() as running:
            await until(lambda: follows(host))
            host.say(FAILED)
            return await running.next(1)

    (event,) = asyncio.run(run())
    assert (event["kind"], event["vg"], event["pool"]) == ("autoextend_failed", "ev-a", "thin-pool")


@pytest.mark.parametrize(
    ("args", "kinds"),
    [
        ({"kinds": ["vg_full", "extended"]}, {"vg_full", "extended"}),
        ({"severity": "emergency"}, {"data_full_erroring", "metadata_abort", "metadata_full", "metadata_read_only"}),
        ({"pools": ["ev-a/tp2"], "kinds": ["data_usage_high", "daemon_failed"]}, {"data_usage_high", "daemon_failed"}),
    ],
)
def test_only_what_is_asked_for_comes(host, args, kinds):
    host.write(*CAPTURED)
    wanted = [event for event in expected() if dm_event.spec(args).wants_kind(event["kind"], event["severity"])]
    if "pools" in args:
        wanted = [event for event in wanted if event["pool"] in ("tp2", None)]

    async def run():
        async with source(since=ALL, **args) as running:
            found = await running.next(len(wanted))
            host.say("dmeventd ready for processing.")
            await asyncio.sleep(0.2)
            assert running.queue.empty()
            return found

    found = asyncio.run(run())
    assert {event["kind"] for event in found} >= kinds
    assert messages(found) == messages(wanted)


def test_a_line_gets_the_pool_from_the_line_that_follows_it(host):
    async def run():
        async with source() as running:
            await until(lambda: follows(host))
            host.say(FREE)
            await asyncio.sleep(0.1)
            assert running.queue.empty()
            host.say(FAILED, after=0.5)
            found = await running.next(2)
            # And where none follows, it comes all the same.
            host.say(FREE)
            return found + await running.next(1)

    host.say("an earlier line", _COMM="sshd")
    assert [(event["kind"], event["pool"]) for event in asyncio.run(run())] == [
        ("vg_full", "thin-pool"),
        ("autoextend_failed", "thin-pool"),
        ("vg_full", None),
    ]


def test_a_line_whose_pool_is_told_just_after_the_catching_up_gets_it(host):
    cursor = host.say("an earlier line", _COMM="sshd")
    host.say(FREE)

    async def run(folder):
        folder.mkdir()
        (folder / "localhost.cursor").write_text(cursor)
        async with source(cursor_dir=str(folder)) as running:
            await until(lambda: follows(host))
            host.say(FAILED, after=0.5)
            return await running.next(2)

    assert [event["pool"] for event in asyncio.run(run(host.folder / "cursors"))] == ["thin-pool", "thin-pool"]


def test_a_device_number_is_asked_for_again_when_it_is_not_known(host):
    host.say("an earlier line", _COMM="sshd")
    (host.folder / "names").write_text("253 0 root\n")

    async def run():
        async with source(since=ALL) as running:
            await until(lambda: follows(host))
            host.say(FULL, **KERNEL)
            found = await running.next(1)
            (host.folder / "names").write_text("253 2 docker-thinpool\n")
            host.say(FULL, **KERNEL)
            return found + await running.next(1)

    assert [(event["device"], event["dm_name"], event["pool"]) for event in asyncio.run(run())] == [
        ("253:2", None, None),
        ("253:2", "docker-thinpool", "thinpool"),
    ]


def test_a_number_of_an_earlier_boot_is_nobodys(host):
    host.say(FULL, **KERNEL)
    host.boot = stand_in.BOOTS[1]
    host.say(FULL, **KERNEL)

    async def run():
        async with source(since=ALL) as running:
            return await running.next(2)

    assert [event["pool"] for event in asyncio.run(run())] == [None, "thin-pool"]


def test_a_host_without_dmsetup_tells_no_pool_and_says_why(host, caplog):
    host.say(FULL, **KERNEL)
    (host.programs / "dmsetup").write_text("#!/bin/sh\necho Permission denied >&2; exit 1\n")

    async def run():
        async with source(since=ALL) as running:
            return await running.next(1)

    (event,) = asyncio.run(run())
    assert (event["kind"], event["pool"]) == ("data_full_queueing", None)
    assert "the kernel's events lack their pools" in caplog.text
    assert "Permission denied" in caplog.text


def test_a_journalctl_without_output_fields_is_asked_without(host):
    host.say(FAILED)
    (host.folder / "old").touch()

    async def run():
        async with source(since=ALL) as running:
            return await running.next(1)

    assert messages(asyncio.run(run())) == [FAILED]


# --- What is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reboots", [False, True])
def test_a_restart_goes_on_where_it_was(host, tmp_path, reboots):
    args = {"cursor_dir": str(tmp_path / "state/cursors"), "hosts": ["node1"]}
    file = tmp_path / "state/cursors/node1.cursor"

    async def run():
        host.say("of before the first start, " + FAILED)
        running = Source(**args)
        await until(lambda: follows(host))
        for number in range(3):
            host.say(f"WARNING: Thin pool a-b data is now 8{number}.00% full.")
        first = await running.next(3)
        assert file.read_text().strip() == first[-1]["cursor"]
        assert await running.stop() == []
        host.say("WARNING: Thin pool a-b data is now 85.00% full.")
        if reboots:
            host.boot = stand_in.BOOTS[1]
        host.say("WARNING: Thin pool a-b data is now 86.00% full.")
        running = Source(**args)
        second = await running.next(2)
        await until(lambda: follows(host))
        host.say("WARNING: Thin pool a-b data is now 87.00% full.")
        second += await running.next(1)
        assert await running.stop() == []
        return first + second

    percents = [event["percent"] for event in asyncio.run(run())]
    assert percents == [80.0, 81.0, 82.0, 85.0, 86.0, 87.0]
    assert file.read_text().strip() == host.entries()[-1]["__CURSOR"]


def test_a_stop_between_two_events_doubles_and_loses_none(host, tmp_path):
    host.write(*CAPTURED)
    wanted = messages(expected())

    async def run():
        found: list[str] = []
        since: dict[str, t.Any] = {"since": ALL}
        while len(found) < len(wanted):
            running = Source(cursor_dir=str(tmp_path / "cursors"), **since)
            found += messages(await running.next(min(45, len(wanted) - len(found))))
            # What has been put is the rules': they take it before they end.
            found += messages(await running.stop())
        return found

    assert asyncio.run(run()) == wanted


def test_a_place_that_is_gone_is_told_and_the_rest_comes(host, tmp_path):
    for number in range(5):
        cursor = host.say(f"WARNING: Thin pool a-b data is now 8{number}.00% full.")
        if number == 1:
            (tmp_path / "localhost.cursor").write_text(cursor)
    rows = (host.folder / "entries").read_text().splitlines()
    (host.folder / "entries").write_text("\n".join(rows[3:]) + "\n")  # rotated away

    async def run():
        running = Source(cursor_dir=str(tmp_path))
        found = await running.next(3)
        await until(lambda: follows(host))
        await running.stop()
        async with source(cursor_dir=str(tmp_path)) as running:
            host.say("WARNING: Thin pool a-b data is now 90.00% full.")
            return found + await running.next(1)

    gap, *rest = asyncio.run(run())
    assert (gap["kind"], gap["severity"], gap["meta"]) == ("journal_gap", "warning", {"hosts": "localhost"})
    assert set(gap) == {*rest[0]}
    assert "no longer has the place where reading ended, of 20" in gap["message"]
    assert [event["percent"] for event in rest] == [83.0, 84.0, 90.0]


def test_the_place_of_a_quiet_host_moves_on(host, tmp_path, monkeypatch):
    monkeypatch.setattr(dm_event, "REFRESH", 0.2)
    host.say("the first line", _COMM="sshd")

    async def run():
        async with source(cursor_dir=str(tmp_path)):
            await until((tmp_path / "localhost.cursor").exists)
            newest = host.say("Accepted publickey", _COMM="sshd")
            await until(lambda: (tmp_path / "localhost.cursor").read_text().strip() == newest)

    asyncio.run(run())


def test_a_cursor_that_cannot_be_written_any_more_does_not_keep_events_back(host, tmp_path, caplog, monkeypatch):
    host.say("the first line", _COMM="sshd")

    async def run():
        async with source(cursor_dir=str(tmp_path)) as running:
            await until(lambda: follows(host))

            def full(_descriptor: int) -> t.NoReturn:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(dm_event.os, "fsync", full)
            host.say(FAILED)
            return await running.next(1)

    assert messages(asyncio.run(run())) == [FAILED]
    assert "localhost.cursor cannot be written: No space left on device" in caplog.text


# --- Hosts that write nonsense ----------------------------------------------------------------------------------------

TEMPLATE = "{{ lookup('pipe', 'touch /tmp/owned') }}"


@pytest.mark.parametrize(
    "line",
    [
        f"Failed command for {TEMPLATE}-thinpool.",
        "Failed command for {{x}}-thinpool.",
        f"WARNING: Thin pool {TEMPLATE}-a data is now 81.00% full.",
        "WARNING: Thin pool {{x}}/a needs check.",
        "Logical volume {{x}}/{{y}} successfully resized.",
        'Volume group "{{ x }}" not found',
        "Can't get lock for {{x}}.",
        "{% raw %}{# x #}{{{y",
    ],
)
def test_nothing_that_a_line_says_is_a_template(host, line):
    host.say(line)

    async def run():
        async with source(since=ALL) as running:
            return await running.next(1)

    (event,) = asyncio.run(run())
    assert not re.search(r"\{[{%#]", json.dumps({name: value for name, value in event.items() if name != "meta"}))
    assert (event["vg"], event["pool"], event["dm_name"]) == (None, None, None)
    assert event["message"].replace("{ ", "{") == line.replace("{ ", "{")


def test_a_name_of_a_device_that_the_host_tells_is_a_name(host):
    (host.folder / "names").write_text("253 2 {{x}}-thinpool\n")
    host.say(FULL, **KERNEL)

    async def run():
        async with source(since=ALL) as running:
            return await running.next(1)

    (event,) = asyncio.run(run())
    assert (event["kind"], event["device"], event["dm_name"], event["pool"]) == (
        "data_full_queueing",
        "253:2",
        None,
        None,
    )


ENTRY = f'"__CURSOR":"s=c3;i=1;b={stand_in.BOOTS[0]};m=1;t=1;x=1","__REALTIME_TIMESTAMP":"1795480375000000"'


@pytest.mark.parametrize(
    "row",
    [
        '{"__CURSOR": "s=c3;i=1;b=',
        "{}",
        "[]",
        "[" * 20000,
        f'{{{ENTRY},"MESSAGE":{{}}}}',
        f"{{{ENTRY.replace('1795480375000000', '9' * 30)}}}",
        f"{{{ENTRY.replace('i=1', 'i={{x}}')}}}",
        "x" * 3_000_000,
        # The rest of a line that is too long is not a line of its own.
        "x" * 70_000 + f'{{{ENTRY},"MESSAGE":"{FAILED}","_COMM":"dmeventd"}}',
    ],
    ids=["half", "empty", "list", "deep", "message", "time", "cursor", "long", "forged"],
)
def test_a_line_that_makes_no_sense_costs_that_line_alone(host, monkeypatch, row):
    """Of the two hosts one writes it, between lines that are events."""
    program = host.programs / "journalctl"
    real = program.read_text()
    (host.folder / "row").write_text(f"{row}\n")
    program.write_text(f'#!/bin/sh\ncase "$*" in *--since*) cat "{host.folder}/row";; esac\n' + real.split("\n", 1)[1])
    host.say(FAILED)

    async def run():
        async with source(since=ALL, hosts=["node1", "node2"]) as running:
            found = await running.next(2)
            await asyncio.sleep(0.3)
            assert running.queue.empty()
            return found

    found = asyncio.run(run())
    assert sorted(event["meta"]["hosts"] for event in found) == ["node1", "node2"]
    assert messages(found) == [FAILED, FAILED]


@pytest.mark.parametrize("answer", ["yes '{}'", "yes ''", "cat /dev/zero", "yes x >&2"])
def test_a_host_that_never_ends_its_answer_fills_no_memory(host, monkeypatch, answer):
    monkeypatch.setattr(dm_event, "ANSWER", 2)
    (host.programs / "journalctl").write_text(f"#!/bin/sh\nexec {answer}\n")

    async def run():
        tracemalloc.start()
        async with source(hosts=["node1"]) as running:
            await asyncio.sleep(3)
            assert not running.task.done()
        return tracemalloc.get_traced_memory()[1]

    try:
        assert asyncio.run(run()) < 8_000_000
    finally:
        tracemalloc.stop()


def test_an_answer_of_any_length_is_cut_short(host, monkeypatch):
    (host.programs / "dmsetup").write_text("#!/bin/sh\nexec yes 253 2 x-y\n")
    host.say(FULL, **KERNEL)

    async def run():
        async with source(since=ALL) as running:
            return await running.next(1)

    (event,) = asyncio.run(run())
    assert event["pool"] is None


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), TypeError("odd"), AttributeError("none")])
def test_whatever_one_host_leads_to_costs_the_others_nothing(host, monkeypatch, caplog, error):
    real = dm_event.Watch._catch_up

    async def catch_up(self):
        if self._host.name == "node1":
            raise error
        await real(self)

    monkeypatch.setattr(dm_event.Watch, "_catch_up", catch_up)
    monkeypatch.setattr(dm_event, "UNREACHABLE_AFTER", 0)
    host.say(FAILED)

    async def run():
        async with source(since=ALL, hosts=["node1", "node2"]) as running:
            return await running.next(2)

    found = asyncio.run(run())
    assert {(event["kind"], event["meta"]["hosts"]) for event in found} == {
        ("journal_unreachable", "node1"),
        ("autoextend_failed", "node2"),
    }
    assert f"node1: what it answers makes no sense ({type(error).__name__}" in caplog.text


# --- Processes --------------------------------------------------------------------------------------------------------


def test_nothing_is_gathered_while_rules_are_busy(host):
    # More than the pipe and the reader hold together.
    text = "WARNING: Thin pool a-b data is now 80.00% full."
    filler = "x" * 20000
    for number in range(400):
        entry = {"__CURSOR": f"s=c3;i={number + 1:x};b={host.boot};m={number:x};t={number:x};x=1"}
        fields = {"_BOOT_ID": host.boot, "_COMM": "dmeventd", "_PID": str(number), "MESSAGE": text, "FILLER": filler}
        host.write(json.dumps({**entry, "__REALTIME_TIMESTAMP": str(1795480375_000000 + number), **fields}))

    async def run():
        async with source(since=ALL) as running:
            await until(running.queue.full)
            await asyncio.sleep(0.5)
            written = int((host.folder / "written").read_text())
            found = await running.next(400)
            return written, [event["pid"] for event in found]

    written, pids = asyncio.run(run())
    assert written < 250
    assert pids == list(range(400))


@pytest.mark.parametrize("args", [{}, {"become": True}, {"hosts": ["node1"]}], ids=str)
def test_a_cancelled_source_leaves_no_process(host, tmp_path, args):
    host.say("the first line", _COMM="sshd")

    async def run():
        running = Source(cursor_dir=str(tmp_path / "cursors"), **args)
        await until(lambda: follows(host) and host.running())
        await running.stop()
        await until(lambda: not host.running(), 5)
        # Nor its lock.
        async with source(cursor_dir=str(tmp_path / "cursors"), **args):
            await until(host.running)

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel can be asked to end a process with its parent")
@pytest.mark.parametrize("args", [{}, {"hosts": ["node1"]}], ids=str)
def test_a_killed_source_leaves_no_process(host, args):
    host.say("the first line", _COMM="sshd")
    script = f"import asyncio, runpy; main = runpy.run_path({dm_event.__file__!r})['main']"
    running = subprocess.Popen([sys.executable, "-c", f"{script}; asyncio.run(main(asyncio.Queue(1), {args}))"])
    try:
        asyncio.run(until(lambda: follows(host) and host.running()))
    finally:
        running.kill()
        running.wait()
    asyncio.run(until(lambda: not host.running(), 5))


def test_journalctl_of_another_host_has_a_terminal_so_that_it_ends_with_the_connection():
    there = dm_event.Host("node1", ("ssh", "-o", "BatchMode=yes", "me@node1"), ("sudo", "--non-interactive"))
    *ssh, words = there.command("journalctl", "--follow")
    assert ssh == ["ssh", "-o", "BatchMode=yes", "-tt", "me@node1"]
    assert re.fullmatch("env LC_ALL=C TERM=dumb PATH=.* sudo --non-interactive journalctl --follow", words)
    # Errors must come by themselves where something is only asked.
    assert "-tt" not in there.command("journalctl", "--lines=1")
    assert "-tt" not in dm_event.Host("here").command("journalctl", "--follow")


def test_a_cancelled_source_that_waits_for_rules_leaves_no_process(host):
    host.write(*CAPTURED)

    async def run():
        running = Source(since=ALL)
        await until(running.queue.full)
        await running.stop()
        await until(lambda: not host.running(), 5)

    asyncio.run(run())


def test_a_journalctl_that_ends_is_started_again_and_no_line_is_lost_or_doubled(host, caplog):
    host.say("the first line", _COMM="sshd")

    async def run():
        found = []
        async with source(hosts=["node1"]) as running:
            for number in range(3):
                await until(lambda: follows(host) and host.running())
                host.say(f"WARNING: Thin pool a-b data is now 8{number}.00% full.")
                found += await running.next(1)
                (host.folder / "end").touch()
                await until(lambda: not (host.folder / "end").exists())
                host.say(f"WARNING: Thin pool a-b data is now 8{number}.50% full.")
                found += await running.next(1)
            return found

    assert [event["percent"] for event in asyncio.run(run())] == [80.0, 80.5, 81.0, 81.5, 82.0, 82.5]
    assert "node1: journalctl ended, or the connection to it" in caplog.text


def test_a_host_that_is_away_is_told_once_and_so_is_its_return(host, monkeypatch, caplog):
    monkeypatch.setattr(dm_event, "UNREACHABLE_AFTER", 0.3)
    monkeypatch.setattr(dm_event, "LONGEST_DELAY", 0.1)
    host.say("the first line", _COMM="sshd")
    (host.folder / "down").touch()

    async def run():
        async with source(hosts=["node1"]) as running:
            found = await running.next(1)
            await asyncio.sleep(0.5)
            assert running.queue.empty()
            (host.folder / "down").unlink()
            found += await running.next(1)
            await until(lambda: follows(host))
            host.say(FAILED)
            return found + await running.next(1)

    away, back, failed = asyncio.run(run())
    assert (away["kind"], away["severity"], away["meta"]) == ("journal_unreachable", "error", {"hosts": "node1"})
    assert away["message"].endswith("ended with status 255: ssh: no route")
    assert (back["kind"], failed["kind"]) == ("journal_reachable", "autoextend_failed")
    # Each retry is no news.
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]


def test_delays_between_attempts_grow(host, monkeypatch):
    (host.folder / "down").touch()
    delays: list[float] = []
    sleep = asyncio.sleep

    async def slept(delay: float) -> None:
        delays.append(delay)
        await sleep(0)

    monkeypatch.setattr(dm_event.asyncio, "sleep", slept)
    monkeypatch.setattr(dm_event, "FIRST_DELAY", 1)

    async def run():
        async with source(hosts=["node1"]):
            while len(delays) < 8:
                await sleep(0.01)

    asyncio.run(run())
    assert delays[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_event_of_the_kernel_waits_where_its_host_goes_away_before_the_name_is_known(host):
    host.say("the first line", _COMM="sshd")

    async def run():
        async with source(hosts=["node1"]) as running:
            await until(lambda: follows(host))
            (host.folder / "down").touch()
            host.say(FULL, **KERNEL)
            await asyncio.sleep(0.5)
            assert running.queue.empty()
            (host.folder / "down").unlink()
            return await running.next(1)

    assert [event["pool"] for event in asyncio.run(run())] == ["thin-pool"]


def test_it_runs_by_its_path_beside_a_package_of_the_collections_name(tmp_path):
    # As ansible-rulebook runs it, where PyPI's package ansible is installed too.
    installed = tmp_path / "here" / "ansible_collections" / "devicemapper"
    installed.mkdir(parents=True)
    (installed / "containers").symlink_to(ROOT)
    package = tmp_path / "site" / "ansible_collections"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    path = installed / "containers/extensions/eda/plugins/event_source/dm_event.py"
    script = f"import runpy; print(runpy.run_path({str(path)!r})['main'].__name__)"
    for folder in (tmp_path / "site", tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(folder)},
            capture_output=True,
        )
        assert (done.stdout, done.stderr) == (b"main\n", b"")


# --- Arguments --------------------------------------------------------------------------------------------------------


def test_documented_arguments_and_defaults_are_those_that_are_taken():
    options = yaml.safe_load(dm_event.DOCUMENTATION)["options"]
    assert set(options) == set(dm_event.DEFAULTS)
    assert {name: option.get("default") for name, option in options.items()} == dm_event.DEFAULTS
    assert tuple(options["severity"]["choices"]) == dm_events.SEVERITIES


def test_examples_are_accepted(host):
    for example in yaml.safe_load(dm_event.EXAMPLES):
        assert dm_event.spec(example["devicemapper.containers.dm_event"]).hosts


BAD = [
    ({"host": ["a"]}, "dm_event has no argument 'host'; there are become, "),
    ({"hosts": []}, r"hosts \[\] is not a list of hosts: leave it out"),
    ({"hosts": "node1"}, "hosts 'node1' is not a list of hosts"),
    ({"hosts": [7]}, "hosts: 7 is neither a name nor a dictionary"),
    ({"hosts": [{"destination": "a"}]}, "hosts: .* is neither a name nor a dictionary"),
    ({"hosts": [{"name": "a", "port": 22}]}, "hosts: .* is neither a name nor a dictionary"),
    ({"hosts": [{"name": "a", "destination": "-oProxyCommand=x"}]}, "destination '-oProxyCommand=x' of a is none"),
    ({"hosts": [{"name": "a", "destination": "a b"}]}, "destination 'a b' of a is none that ssh takes"),
    ({"hosts": [{"name": "a", "destination": None}]}, "destination None of a is none that ssh takes"),
    ({"hosts": ["a", "a"]}, "hosts: a stands there more than once"),
    *(
        ({"hosts": [name]}, "no name of a host in an inventory")
        for name in ("all", "a:b", "a,b", "web*", "!a", "", "-a")
    ),
    ({"local_name": "all"}, "local_name: 'all' is no name of a host"),
    ({"hosts": ["a"], "ssh": "ssh -v"}, "ssh 'ssh -v' is not a list of words"),
    ({"hosts": ["a"], "ssh": []}, r"ssh \[\] is not a command"),
    ({"hosts": ["a"], "ssh": ["no-such-ssh"]}, "there is no program 'no-such-ssh' on this machine"),
    ({"become": "yes"}, "become 'yes' is neither true nor false"),
    ({"become": True, "become_command": [""]}, r"become_command \[''\] is not a command"),
    ({"since": "tomorrow-ish"}, "since 'tomorrow-ish' is no point in time"),
    ({"since": True}, "since True is no point in time"),
    ({"since": ["-1h"]}, "is no point in time"),
    ({"cursor_dir": 7}, "cursor_dir 7 is not the path of a folder"),
    ({"cursor_dir": ""}, "cursor_dir '' is not the path of a folder"),
    ({"cursor_dir": "/proc/no/such"}, "cursor_dir /proc/no/such cannot be written: No such file or directory"),
    ({"cursor_dir": "/dev/null/x"}, "cursor_dir /dev/null/x cannot be written: Not a directory"),
    ({"pools": "docker/thinpool"}, "pools 'docker/thinpool' is not a list of words"),
    ({"pools": ["thinpool"]}, "pool 'thinpool' is not named as VG/NAME"),
    ({"pools": [3]}, r"pools \[3\] is not a list of words"),
    ({"kinds": ["vgfull"]}, "kinds: there is no kind 'vgfull' of events; there are activated, "),
    ({"severity": "bad"}, "severity 'bad' is not one of info, notice, warning"),
    ({"severity": ["error"]}, r"severity \['error'\] is not one of"),
]


@pytest.mark.parametrize(("args", "says"), [pytest.param(*row, id=ascii(row[0])[1:60]) for row in BAD])
def test_bad_arguments_are_refused_before_anything_is_read(host, args, says):
    with pytest.raises(RefusedError, match=says):
        asyncio.run(dm_event.main(asyncio.Queue(1), args))
    assert not (host.folder / "asked").exists()


def test_a_machine_without_journalctl_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RefusedError, match="there is no journalctl on this machine: give 'hosts'"):
        dm_event.spec({})


def test_a_cursor_file_that_holds_none_is_refused(host, tmp_path):
    host.say("the first line", _COMM="sshd")
    for text in ("s=1;i=2", "", "\u00e4", f"s=1;i=2;b={host.boot};m=1;t=soon;x=1"):
        (tmp_path / "localhost.cursor").write_text(text, encoding="utf-8")
        with pytest.raises(
            RefusedError, match=r"localhost\.cursor holds no cursor of a journal: remove it, and localhost"
        ):
            asyncio.run(dm_event.main(asyncio.Queue(1), {"cursor_dir": str(tmp_path)}))


def test_a_cursor_dir_serves_one_rulebook(host, tmp_path):
    host.say("the first line", _COMM="sshd")

    async def run():
        async with source(cursor_dir=str(tmp_path)):
            await until(lambda: follows(host))
            with pytest.raises(RefusedError, match="is in use by another rulebook: give each a folder of its own"):
                await dm_event.main(asyncio.Queue(1), {"cursor_dir": str(tmp_path)})

    asyncio.run(run())


def test_addresses_are_names_too(host):
    assert [host.name for host in dm_event.spec({"hosts": ["192.0.2.1", "2001:db8::1"]}).hosts] == [
        "192.0.2.1",
        "2001:db8::1",
    ]
