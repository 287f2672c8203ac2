# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Event source for ansible-rulebook: what happens to thin pools, as it happens, from the journals of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
short_description: What happens to thin pools, as it happens
description:
  - Follows the journal of this machine, or those of other hosts by ssh, and gives each line that dmeventd, LVM or the
    kernel write about a thin pool as an event. Nothing is installed on the hosts.
  - "An event has the keys that the module C(devicemapper.containers.dm_event_info) returns for each of RV(events), such
    as C(kind), C(severity), C(vg), C(pool), C(percent) and C(message), and C(meta.hosts), the host's name in the
    inventory: ansible-rulebook limits the playbooks that the event starts to that host."
  - "Each event comes once, also where the rulebook, the connection or the host was down in between, the journal was
    rotated or the clock was set. It takes O(cursor_dir) to know over a restart of the rulebook what was given already.
    A rulebook that is killed outright, and not stopped, may have the last event again."
  - The kernel names a pool by its device number, which the host is asked for (C(dmsetup info)) when such a line comes.
    Where it does not answer, or the line is of an earlier boot, the event has no pool; none is guessed.
  - Nothing is gathered while rules are busy. The journal keeps what comes meanwhile.
  - "What a host's log says is what anybody there may have written. C(vg), C(pool) and C(dm_name) are names that LVM and
    the device mapper allow, or null. In all other texts a space follows each brace that would begin a template, since
    Ansible evaluates templates in variables that a rule hands to a playbook. Of a message 4096 characters are kept."
  - A host whose answers make no sense is V(journal_unreachable), and costs the others nothing.
  - "Three kinds of events are the source's own. V(journal_gap) (warning): the host's journal no longer has the place
    where reading ended, so that events may be missing; what follows is given. V(journal_unreachable) (error): the host
    could not be asked for five minutes. V(journal_reachable) (info): it can be again."
options:
  hosts:
    description:
      - The hosts whose journals are followed, over ssh. Without it, the journal of this machine.
      - Each a name that is the same in the inventory and for ssh, or a dictionary of O(hosts[].name) and
        O(hosts[].destination).
    type: list
    elements: raw
    suboptions:
      name:
        description: The host's name in the inventory.
        type: str
        required: true
      destination:
        description:
          - "What ssh calls it: C(HOST), C(USER@HOST) or C(ssh://USER@HOST:PORT). All else is said in ssh_config(5)."
          - Its name where left out.
        type: str
  local_name:
    description: This machine's name in the inventory. Only without O(hosts).
    type: str
    default: localhost
  ssh:
    description: The command that comes before the destination. It must ask nothing.
    type: list
    elements: str
    default: [ssh, -o, BatchMode=yes, -o, ConnectTimeout=15, -o, ServerAliveInterval=15, -o, ServerAliveCountMax=4]
  become:
    description:
      - Whether to read as root. A user of the group C(systemd-journal) may read the journal too, but not tell the name
        of a pool that the kernel has told the number of.
    type: bool
    default: false
  become_command:
    description:
      - The words before a command that make it run as root. They must ask nothing.
      - "The commands are C(journalctl ...) and C(dmsetup info ...), so that sudoers(5) may allow no others."
    type: list
    elements: str
    default: [sudo, --non-interactive]
  since:
    description:
      - From when on, where there is no cursor yet. V(now) is what is written from the start on.
      - "As C(journalctl --since) takes it, such as V(-1h), V(yesterday), V(2026-11-23T10:00:00Z), or seconds since
        1970; by the clock and in the time zone of this machine."
    type: str
    default: now
  cursor_dir:
    description:
      - The folder in which is kept, in a file for each host, how far its journal was read. Made where it is missing.
      - One for each rulebook. Left out, each start begins at O(since).
    type: path
  pools:
    description:
      - Only events of these pools, each C(VG/NAME).
      - Events that name no pool come too, as they may be of any; those that name only a volume group, where it is one
        of these pools'.
    type: list
    elements: str
    default: []
  kinds:
    description: Only events of these kinds. Empty is all.
    type: list
    elements: str
    default: []
  severity:
    description: Only events of this severity or a worse one.
    type: str
    choices: [info, notice, warning, error, critical, emergency]
    default: info
"""

EXAMPLES = r"""
- devicemapper.containers.dm_event:
    severity: warning

- devicemapper.containers.dm_event:
    hosts:
      - node1.example.com
      - name: node2
        destination: ssh://ansible@192.0.2.17:2222
    become: true
    cursor_dir: ~/.local/state/devicemapper.containers/grow
    pools: [docker/thinpool]
    kinds: [autoextend_failed, vg_full]
"""

import asyncio
import collections
import contextlib
import ctypes
import fcntl
import functools
import importlib
import ipaddress
import json
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import time
import types
import typing as t
import urllib.parse
from dataclasses import dataclass


def _find_collection() -> None:
    """Let Python find the collection that this file is of: ansible-rulebook runs it by its path.

    Not by way of sys.path, where another folder or package called ansible_collections may come first: the one of
    PyPI's "ansible" hides all others.
    """
    folder = os.path.abspath(__file__)
    for _level in range(7):
        folder = os.path.dirname(folder)
    if os.path.basename(folder) != "ansible_collections":
        return  # copied to somewhere else: the collection must be found as any other package
    try:
        package = importlib.import_module("ansible_collections")
    except ImportError:
        package = sys.modules["ansible_collections"] = types.ModuleType("ansible_collections")
        package.__path__ = []
    if folder not in package.__path__:
        package.__path__ = [folder, *package.__path__]


_find_collection()

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import LONGEST_LINE
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import dm_events, journal, timestamps

logger = logging.getLogger("devicemapper.containers.dm_event")

OWN_KINDS = {"journal_gap": "warning", "journal_reachable": "info", "journal_unreachable": "error"}

# Bytes of what a host may answer to a question, and lines, since any host may go on for ever.
LONGEST_ANSWER, MOST_RECORDS = 1024 * 1024, 100
LONGEST_REASON = 500  # characters that are told of what went wrong
# What begins a template (jinja2): with a space behind the brace it does not.
_TEMPLATE = re.compile(r"\{(?=[{%#])")
# At most so many lines wait for the one that says whose they are.
MOST_HELD = 100
# So long after a line, the one that says whose it is must have come; the journal may be behind by some.
HOLD = dm_events.PAUSE + 1
# So long after it was asked for, a device number may be another device's.
NAMES_AGE = 2
# Journalctl is ended and the place in the journal found anew, so that the cursor of a quiet host is not rotated away.
REFRESH = 3600
ANSWER = 300  # reading years of kernel lines takes a while
FIRST_DELAY, LONGEST_DELAY = 1, 60
UNREACHABLE_AFTER = 300

Record = t.Dict[str, t.Any]


class Unreadable(Exception):
    """The host's journal cannot be read now; it may be later."""


class Queue(t.Protocol):
    """What ansible-rulebook hands over."""

    async def put(self, event: dict[str, t.Any]) -> None:
        """Hand over an event; waits while the queue is full."""


# --- Arguments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """A host and the way to it."""

    name: str
    reach: tuple[str, ...] = ()  # ssh and the destination; none for this machine
    become: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        """Return the command that runs these words there: in English, and found where LVM lives."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if not self.reach:
            path = f"{os.environ.get('PATH', os.defpath)}:{path}"
        # Of a terminal, which has no colours then, only for what is sent on one.
        terminal = ("TERM=dumb",) if self.hangs_up(words) else ()
        words = ("env", "LC_ALL=C", *terminal, f"PATH={path}", *self.become, *words)
        if not self.reach:
            return list(words)
        *ssh, destination = self.reach
        return [*ssh, *(["-tt"] if terminal else []), destination, shlex.join(words)]

    def hangs_up(self, words: tuple[str, ...]) -> bool:
        """Whether these words need a terminal, so that they end there when the connection does.

        sudo with use_pty (Debian's default) does not notice that nobody reads, and journalctl would stay until the next
        line comes (seen). On a terminal errors come among the output.
        """
        return bool(self.reach) and "--follow" in words


@dataclass(frozen=True)
class SourceSpec:
    """The source's arguments, checked."""

    hosts: tuple[Host, ...]
    since: float | None  # None is the end of the journal
    cursor_dir: str | None
    pools: frozenset[PoolName]
    kinds: frozenset[str]
    severity: str

    def wants(self, event: dm_events.Event) -> bool:
        if self.pools and not event.concerns(self.pools, {vg for vg, _name in self.pools}):
            return False
        return self.wants_kind(event.kind, event.severity)

    def wants_kind(self, kind: str, severity: str) -> bool:
        if self.kinds and kind not in self.kinds:
            return False
        return dm_events.SEVERITIES.index(severity) >= dm_events.SEVERITIES.index(self.severity)


DEFAULTS: dict[str, t.Any] = {
    "hosts": None,
    "local_name": "localhost",
    "ssh": [
        *("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
        *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
    ],
    "become": False,
    "become_command": ["sudo", "--non-interactive"],
    "since": "now",
    "cursor_dir": None,
    "pools": [],
    "kinds": [],
    "severity": "info",
}


def spec(args: t.Mapping[str, t.Any]) -> SourceSpec:
    """Return the arguments of a rulebook as typed values; what cannot be meant is refused."""
    unknown = sorted(set(args) - set(DEFAULTS), key=str)
    if unknown:
        raise RefusedError(f"dm_event has no argument {unknown[0]!r}; there are {', '.join(sorted(DEFAULTS))}")
    # As with modules, a null is as left out.
    given = {name: default if args.get(name) is None else args[name] for name, default in DEFAULTS.items()}
    if not isinstance(given["become"], bool):
        raise RefusedError(f"become {given['become']!r} is neither true nor false")
    become = _words("become_command", given["become_command"]) if given["become"] else ()
    kinds = frozenset(_strings("kinds", given["kinds"]))
    known = {*dm_events.KINDS, *OWN_KINDS}
    if not kinds <= known:
        raise RefusedError(
            f"kinds: there is no kind {min(kinds - known)!r} of events; there are {', '.join(sorted(known))}"
        )
    if given["severity"] not in dm_events.SEVERITIES:
        raise RefusedError(f"severity {given['severity']!r} is not one of {', '.join(dm_events.SEVERITIES)}")
    return SourceSpec(
        hosts=_hosts(given, become),
        since=_since(given["since"]),
        cursor_dir=_folder(given["cursor_dir"]),
        pools=frozenset(PoolName.parse(name) for name in _strings("pools", given["pools"])),
        kinds=kinds,
        severity=given["severity"],
    )


def _strings(name: str, value: t.Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise RefusedError(f"{name} {value!r} is not a list of words")
    return value


def _words(name: str, value: t.Any) -> tuple[str, ...]:
    words = tuple(_strings(name, value))
    if not words or not all(words) or "\0" in "".join(words):
        raise RefusedError(f"{name} {value!r} is not a command: give its words as a list, like {DEFAULTS[name]!r}")
    return words


def _hosts(given: t.Mapping[str, t.Any], become: tuple[str, ...]) -> tuple[Host, ...]:
    if given["hosts"] is None:
        if not shutil.which("journalctl"):
            raise RefusedError(
                "there is no journalctl on this machine: give 'hosts' those whose journals are to be followed"
            )
        return (Host(_name(given["local_name"], "local_name"), become=become),)
    if not isinstance(given["hosts"], list) or not given["hosts"]:
        raise RefusedError(
            f"hosts {given['hosts']!r} is not a list of hosts: leave it out to follow this machine's journal"
        )
    ssh = _words("ssh", given["ssh"])
    if not shutil.which(ssh[0]):
        raise RefusedError(f"ssh: there is no program {ssh[0]!r} on this machine")
    hosts = []
    for entry in given["hosts"]:
        fields = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict) or "name" not in fields or set(fields) - {"name", "destination"}:
            raise RefusedError(f"hosts: {entry!r} is neither a name nor a dictionary of 'name' and 'destination'")
        name, destination = _name(fields["name"], "hosts"), fields.get("destination", fields["name"])
        if not isinstance(destination, str) or not re.fullmatch(r"[^-\s\0][^\s\0]*", destination):
            raise RefusedError(
                f"hosts: the destination {destination!r} of {name} is none that ssh takes, like user@{name}"
            )
        hosts.append(Host(name, (*ssh, destination), become))
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise RefusedError(f"hosts: {name} stands there more than once")
    return tuple(hosts)


def _name(name: t.Any, option: str) -> str:
    """Return a host's name if it is no pattern: playbooks are limited to it."""
    if isinstance(name, str) and name not in ("all", "ungrouped"):
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
            return name
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return name
    raise RefusedError(f"{option}: {name!r} is no name of a host in an inventory")


def _since(text: t.Any) -> float | None:
    if text == "now":
        return None
    seconds = timestamps.parse_time(str(text), time.time()) if isinstance(text, (str, int, float)) else None
    if seconds is None or isinstance(text, bool):
        raise RefusedError(
            f"since {text!r} is no point in time: give it one like 'now', '-1h', 'yesterday' or '2026-11-23T10:00:00Z'"
        )
    return seconds


def _folder(path: t.Any) -> str | None:
    if path is None:
        return None
    if not isinstance(path, str) or not path or "\0" in path:
        raise RefusedError(f"cursor_dir {path!r} is not the path of a folder")
    return os.path.abspath(os.path.expanduser(path))


# --- Cursors that are kept --------------------------------------------------------------------------------------------


class Cursors:
    """The folder that knows how far each host's journal was read; without one nothing is kept."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def held(self) -> t.Iterator[None]:
        """Keep another source from using the folder too: each would miss what the other has read."""
        if self._folder is None:
            yield
            return
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            lock = os.open(os.path.join(self._folder, ".lock"), flags, 0o600)
        except OSError as error:
            raise RefusedError(f"cursor_dir {self._folder} cannot be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RefusedError(
                    f"cursor_dir {self._folder} is in use by another rulebook: give each a folder of its own"
                ) from error
            yield
        finally:
            os.close(lock)

    def _path(self, host: str) -> str:
        return os.path.join(self._folder or "", f"{urllib.parse.quote(host, safe='')}.cursor")

    def read(self, host: str) -> str:
        """Return the host's cursor, empty where there is none yet."""
        if self._folder is None:
            return ""
        path = self._path(host)
        try:
            return journal.Cursor.parse(files.read_limited(path, 4096).decode()).text
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise RefusedError(f"the cursor file {path} cannot be read: {error.strerror}") from error
        except (RefusedError, ValueError) as error:
            raise RefusedError(
                f"the cursor file {path} holds no cursor of a journal: remove it, and {host} is read from 'since' on"
            ) from error

    def write(self, host: str, cursor: str) -> None:
        """Keep a cursor, so that a crash leaves this or the one before."""
        if self._folder is None:
            return
        path = self._path(host)
        try:
            with files.replacing(path, 0o600) as new:
                new.write_down(f"{cursor}\n".encode())
        except OSError as error:
            raise RefusedError(f"the cursor file {path} cannot be written: {error.strerror}") from error


# --- Processes --------------------------------------------------------------------------------------------------------


def _end_with_us() -> t.Callable[[], object] | None:
    """Return what has the kernel end a new process when this one is gone; None where there is no such thing.

    Java takes SIGTERM before Python does and ends ansible-rulebook at once (seen), so that nothing is cancelled, and
    ssh would stay. prctl(2), PR_SET_PDEATHSIG; sudo on this machine is spared, as it runs with other rights.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    return functools.partial(prctl, 1, signal.SIGTERM) if prctl else None


# Made beforehand: between fork and exec there must be little to do.
_END_WITH_US = _end_with_us()


@contextlib.asynccontextmanager
async def running(command: list[str]) -> t.AsyncIterator[Running]:
    """Run a command and lend it; when that is left, it ends.

    The pipes are our own, so that they can be closed: sudo cannot be sent a signal by its user, but on this machine it
    and journalctl end when nobody reads any more. On another host see Host.hangs_up().
    """
    complaints = Tail()
    async with contextlib.AsyncExitStack() as opened:
        (output, to_output), (errors, to_errors) = [await opened.enter_async_context(_pipe()) for _number in range(2)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to_output,
                stderr=to_errors,
                preexec_fn=_END_WITH_US,
            )
        except OSError as error:
            raise Unreadable(f"{command[0]} could not be started: {error.strerror}") from error
        finally:
            os.close(to_output)
            os.close(to_errors)
        # All the while, since what nobody reads would stop the program.
        reading = asyncio.ensure_future(complaints.read(errors))
        rows = Rows(output)
        try:
            yield Running(process, rows, complaints, reading)
        finally:
            rows.close()
            reading.cancel()
            await opened.aclose()
            await _end(process)


@contextlib.asynccontextmanager
async def _pipe() -> t.AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Lend a pipe: what reads it, and the end to write to, which the caller closes."""
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
    )
    try:
        yield reader, theirs
    finally:
        transport.close()


class Tail:
    """The last of what a program complains of, however much that is."""

    def __init__(self) -> None:
        self._kept = b""

    async def read(self, stream: asyncio.StreamReader) -> None:
        while True:
            read = await stream.read(4096)
            if not read:
                return
            self._kept = (self._kept + read)[-2000:]

    @property
    def text(self) -> str:
        lines = self._kept.decode("utf-8", "replace").splitlines()
        return "; ".join(line.strip() for line in lines if line.strip()) or "it gave no reason"


class Rows:
    """A program's output line by line; of a line that is too long nothing is taken for another one."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._reading: asyncio.Future[bytes] | None = None
        self._rows: collections.deque[bytes] = collections.deque()
        self._rest = b""  # of what was read: the beginning of a line
        self._is_end_of_long = False  # whether that line began too long ago
        self._has_ended = False
        self.left_out = 0

    async def next(self, seconds: float) -> bytes | None:
        """Return the next line with its end, without it where that never came, and nothing at the end of all.

        None is that none has come in that time. Not asyncio.wait_for(), which before Python 3.12 forgets that it was
        cancelled where a line comes at that moment: a source that is stopped would go on.
        """
        end = time.monotonic() + max(seconds, 0)
        while not self._rows:
            if self._has_ended:
                row, self._rest = self._rest, b""
                return row
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._stream.read(LONGEST_LINE))
            left = max(end - time.monotonic(), 0)
            await asyncio.wait([self._reading], timeout=None if left == float("inf") else left)
            if not self._reading.done():
                return None
            reading, self._reading = self._reading, None
            self._split(reading.result())
        return self._rows.popleft()

    def _split(self, read: bytes) -> None:
        self._has_ended = not read
        *rows, self._rest = (self._rest + read).split(b"\n")
        if rows and self._is_end_of_long:
            del rows[0]
            self._is_end_of_long = False
        self._rows.extend(row + b"\n" for row in rows if len(row) < LONGEST_LINE)
        self.left_out += sum(len(row) >= LONGEST_LINE for row in rows)
        if len(self._rest) >= LONGEST_LINE or self._is_end_of_long:
            self.left_out += not self._is_end_of_long
            self._rest, self._is_end_of_long = b"", True

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


@dataclass(frozen=True)
class Running:
    """A program at work."""

    process: t.Any
    output: Rows
    complaints: Tail
    reading: asyncio.Future[None]  # of the complaints

    async def ended(self) -> tuple[int, str]:
        """Return its exit status and the last of what it complained of."""
        status = await self.process.wait()
        # Somebody whom it has started may hold the pipe open, so not for ever.
        await asyncio.wait([self.reading], timeout=1)
        return status, self.complaints.text


async def _end(process: t.Any) -> None:
    for ask in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            ask()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 5)


class Journal:
    """A host's journalctl and dmsetup."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fields: tuple[str, ...] = (journal.FIELDS,)
        self._told: set[str] = set()

    async def output(self, *words: str) -> str:
        """Return what a command prints."""
        rows: list[str] = []
        size = 0

        async def take(row: bytes) -> None:
            nonlocal size
            size += len(row)
            if size > LONGEST_ANSWER:
                raise Unreadable(f"the answer to {shlex.join(words)[:80]} is longer than any that makes sense")
            rows.append(row.decode("utf-8", "replace"))

        await self._run(words, take, lambda: None, ANSWER)
        return "".join(rows)

    async def ask(self, *words: str) -> list[Record]:
        """Return the entries that journalctl finds, which must be few."""
        found: list[Record] = []

        async def take(record: Record | None) -> None:
            if record:
                found.append(record)
            if len(found) > MOST_RECORDS:
                raise Unreadable(f"the answer to {shlex.join(words)[:80]} is longer than any that makes sense")

        await self.read(words, take, seconds=ANSWER)
        return found

    async def read(
        self,
        words: tuple[str, ...],
        take: t.Callable[[Record | None], t.Awaitable[None]],
        patience: t.Callable[[], float | None] = lambda: None,
        seconds: float = float("inf"),
    ) -> None:
        """Hand over each entry that journalctl finds, one at a time, and None where none has come for a while.

        After so many seconds it is a TimeoutError.
        While one is being taken journalctl waits, as soon as the pipe and one line are full.
        """

        nonsense = 0

        async def take_row(row: bytes) -> None:
            nonlocal nonsense
            if not row:
                await take(None)
                return
            record = journal.record_of(row) if row.endswith(b"\n") else None  # else it was killed in the middle
            if record:
                nonsense = 0
                await take(record)
                return
            self._passed_over("a line that is no entry of a journal")
            nonsense += 1
            if nonsense > MOST_RECORDS:
                raise Unreadable("it writes what is no journal")

        try:
            await self._run((*journal.COMMAND, *self._fields, *words), take_row, patience, seconds)
        except Unreadable as error:
            if not self._fields or "output-fields" not in str(error):
                raise
            self._fields = ()  # before systemd 236
            await self.read(words, take, patience, seconds)

    async def _run(
        self,
        words: tuple[str, ...],
        take: t.Callable[[bytes], t.Awaitable[None]],
        patience: t.Callable[[], float | None],
        seconds: float,
    ) -> None:
        end = time.monotonic() + seconds
        command = self._host.command(*words)
        complaints: collections.deque[str] = collections.deque(maxlen=5)
        async with running(command) as program:
            while True:
                row = await program.output.next(min(end - time.monotonic(), patience() or float("inf")))
                if time.monotonic() >= end:
                    raise asyncio.TimeoutError
                if row is None:
                    await take(b"")
                    continue
                if program.output.left_out:
                    self._passed_over(f"a line of more than {LONGEST_LINE // 1024} KiB")
                    program.output.left_out = 0
                if not row:
                    break
                if self._host.hangs_up(words) and not row.startswith(b"{"):
                    complaints.append(row[:LONGEST_REASON].decode("utf-8", "replace").strip())
                    continue
                await take(row)
            status, reason = await program.ended()
        if status:
            reason = "; ".join([*filter(None, complaints), *([] if complaints else [reason])])
            reason = reason[-LONGEST_REASON:]
            raise Unreadable(f"{shlex.join(command)[:80]} ... ended with status {status}: {reason}")

    def _passed_over(self, what: str) -> None:
        """Say once what was left out: a host may write any number of such lines."""
        if what not in self._told:
            logger.warning("%s: %s was left out", self._host.name, what)
            self._told.add(what)


# --- Following --------------------------------------------------------------------------------------------------------


class Watch:
    """Follows one host's journal, and gives each event once."""

    def __init__(self, host: Host, wished: SourceSpec, queue: Queue, cursors: Cursors) -> None:
        self._host = host
        self._spec = wished
        self._queue = queue
        self._cursors = cursors
        self._journal = Journal(host)
        self._kept = self._place = cursors.read(host.name)  # the last line that is done with
        self._boot = ""
        self._held: list[dm_events.Line] = []  # lines that are events, from the first whose pool is not known yet
        self._newest = 0.0
        self._names: dict[str, str] = {}
        self._names_read = float("-inf")
        self._blind_since: float | None = None
        self._told_blind = False
        self._told_reason = ""

    async def run(self) -> None:
        """Read what was missed, then follow, and begin again whenever that ends."""
        delay: float = FIRST_DELAY
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._catch_up()
                    await self._can_see()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await self._follow()
                        raise Unreadable("journalctl ended, or the connection to it")
                except (Unreadable, asyncio.TimeoutError) as error:
                    reason = str(error) or "no answer in time"
                except Exception as error:
                    # Whatever a host answers costs this host alone.
                    logger.debug("%s", self._host.name, exc_info=True)
                    reason = f"what it answers makes no sense ({type(error).__name__}: {error})"[:LONGEST_REASON]
                else:
                    continue
                if time.monotonic() - started > LONGEST_DELAY:
                    delay = FIRST_DELAY
                await self._cannot_see(reason, delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
        finally:
            self._keep()

    async def _catch_up(self) -> None:
        """Take every line up to the newest of all, and stand there."""
        self._held.clear()
        found = await self._journal.ask(*journal.TAIL)
        if not found:
            raise Unreadable("the journal holds nothing of the current boot, or may not be read: see 'become'")
        tail = journal.place_of(found[0])
        self._boot = tail.boot
        if self._place:
            await self._catch_up_from(journal.Cursor.parse(self._place), tail)
        elif self._spec.since is not None:
            await self._journal.read((f"--since=@{self._spec.since:.6f}", *journal.MATCHES), self._take)
        # What still waits for the line that says whose it is, is read again with that.
        await self._release(all_of_them=not self._place or journal.Cursor.parse(self._place).boot != tail.boot)
        if not self._held:
            # The tail need not match, and what has come since may lie behind it.
            place = journal.Cursor.parse(self._place) if self._place else None
            if place is None or place.boot != tail.boot or tail.is_after(place):
                self._place = tail.text
        self._held.clear()
        self._keep()

    async def _catch_up_from(self, start: journal.Cursor, tail: journal.Cursor) -> None:
        start, complete = journal.found_again(start, await self._journal.ask(*journal.words_that_find(start)))
        boots = []
        if journal.needs_boots(start, tail):
            boots = journal.boots_in(await self._journal.output(*journal.BOOTS))
        if not complete:
            at = timestamps.iso_microseconds(int(start.realtime, 16) / 1e6)
            await self._give_own(
                "journal_gap",
                f"the journal of {self._host.name} no longer has the place where reading ended, of {at}: events that "
                "came after it may be missing",
            )
        for call in journal.calls_after(start, tail, boots):

            async def take(record: Record | None, call: journal.Call = call) -> None:
                if record is None or call.wants(journal.place_of(record)):
                    await self._take(record)

            await self._journal.read(call.words, take)

    async def _follow(self) -> None:
        start = journal.Cursor.parse(self._place)

        async def take(record: Record | None) -> None:
            if record is None or not start.names(journal.place_of(record)):
                await self._take(record)

        words = ("--boot", f"--cursor={start.text}", "--follow", "--no-tail", *journal.MATCHES)
        await self._journal.read(words, take, lambda: HOLD if self._held else None, REFRESH)

    async def _take(self, record: Record | None) -> None:
        """Take a line; None is that none has come for so long that those held are on their own."""
        if record is None:
            await self._release(all_of_them=True)
            return
        line = journal.line_of(record, self._boot)
        self._newest = line.time
        if dm_events.event_of(line):
            self._held.append(line)
        elif not self._held:
            self._place = line.cursor
        await self._release()

    async def _release(self, *, all_of_them: bool = False) -> None:
        """Give the events that no later line can tell more of."""
        found = dm_events.events(self._held, self._names)
        ready = len(found)
        if not all_of_them and ready <= MOST_HELD:
            ready = next((index for index, event in enumerate(found) if self._may_be_told_of(event)), ready)
        numbers = {event.device for event in found[:ready] if event.device and event.line.current}
        if numbers:
            await self._learn_names(numbers)
            found = dm_events.events(self._held, self._names)
        for event in found[:ready]:
            if self._spec.wants(event):
                await self._give(journal.as_result(event))
            self._place = event.line.cursor
            del self._held[0]
            if self._spec.wants(event):
                self._keep()

    def _may_be_told_of(self, event: dm_events.Event) -> bool:
        return dm_events.awaits_pool(event) and self._newest - event.line.time <= dm_events.PAUSE

    async def _learn_names(self, numbers: set[str]) -> None:
        """Ask for the names of devices: for each burst of lines anew, since numbers are given again."""
        if time.monotonic() - self._names_read < NAMES_AGE and numbers <= set(self._names):
            return
        self._names = {}
        try:
            rows = await self._journal.output(
                "dmsetup", "info", "--columns", "--noheadings", "--separator", " ", "-o", "major,minor,name"
            )
        except Unreadable as error:
            if self._host.reach and "ended with status 255" in str(error):
                raise  # of ssh: it is asked again when it answers, and the line is read again
            logger.warning("%s: the kernel's events lack their pools: %s", self._host.name, error)
            return
        for words in map(str.split, rows.splitlines()):
            if len(words) == 3:
                self._names[f"{words[0]}:{words[1]}"] = words[2]
        self._names_read = time.monotonic()

    async def _give(self, event: dict[str, t.Any]) -> None:
        texts = {name: _TEMPLATE.sub("{ ", value) for name, value in event.items() if isinstance(value, str)}
        await self._queue.put({**event, **texts, "meta": {"hosts": self._host.name}})

    async def _give_own(self, kind: str, message: str) -> None:
        """Give an event of the source's own, in the form of all."""
        severity = OWN_KINDS[kind]
        if self._spec.wants_kind(kind, severity):
            line = dm_events.Line(time.time(), message, "dm_event", cursor=self._place)
            await self._give({**journal.as_result(dm_events.Event(line, "note")), "kind": kind, "severity": severity})

    async def _can_see(self) -> None:
        if self._blind_since is not None:
            logger.warning("%s: the journal is read again", self._host.name)
        if self._told_blind:
            await self._give_own("journal_reachable", f"the journal of {self._host.name} is read again")
        self._blind_since, self._told_blind, self._told_reason = None, False, ""

    async def _cannot_see(self, reason: str, delay: float) -> None:
        now = time.monotonic()
        self._blind_since = now if self._blind_since is None else self._blind_since
        if reason != self._told_reason:
            logger.warning("%s: %s; it is tried again, in %d s for now", self._host.name, reason, delay)
            self._told_reason = reason
        if not self._told_blind and now - self._blind_since >= UNREACHABLE_AFTER:
            await self._give_own("journal_unreachable", f"the journal of {self._host.name} cannot be read: {reason}")
            self._told_blind = True

    def _keep(self) -> None:
        if self._place != self._kept:
            try:
                self._cursors.write(self._host.name, self._place)
            except RefusedError as error:
                # Rules go on, and the place is kept by the next event; they are what this is for.
                logger.error("%s", error)
            else:
                self._kept = self._place


async def main(queue: Queue, args: dict[str, t.Any]) -> None:
    """Follow every host until cancelled."""
    wished = spec(args)
    cursors = Cursors(wished.cursor_dir)
    with cursors.held():
        watches = [Watch(host, wished, queue, cursors) for host in wished.hosts]
        tasks = [asyncio.ensure_future(watch.run()) for watch in watches]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":

    class Printed:
        """In place of ansible-rulebook: each event on a line of its own."""

        async def put(self, event: dict[str, t.Any]) -> None:
            print(json.dumps(event), flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Printed(), json.loads(sys.argv[1]) if sys.argv[1:] else {}))
