# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The program that a systemd timer runs on a watched host: writes the metrics of its pools into a file.

The module thin_pool_exporter puts it there, together with what it imports; it is run as
``python3 -m ansible_collections.devicemapper.containers.plugins.module_utils._monitor.exporter CONFIGURATION``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import signal
import sys
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import pool_usage
from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, locks, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import suspended_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    collect,
    dm_events,
    forecast,
    journal,
    metrics,
    pool_health,
    timestamps,
    verdicts,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.metrics import Sample

FILE = "thin_pool.prom"  # node_exporter reads *.prom
STATE = "state.json"
ENGINES_KEPT = 3600  # seconds for which it is believed whose a pool is
# What tells since when a full pool's writes wait or fail is kept for as long as it is full.
_FULL = ("data_full", "data_full_erroring", "data_full_queueing", "recovered")
LARGEST = 50  # so many containers of a pool are told by name: each is a series that Prometheus keeps

Found = t.TypeVar("Found")


class TimeLimitError(Exception):
    """A step that did not end in its time."""


@dataclass(frozen=True)
class ExporterConfig:
    """What the module wrote down; names and meaning as its options."""

    textfile_dir: str
    state_dir: str
    pools: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    since: str = "-1h"
    log_path: str = ""  # instead of the journal
    timeout: float = 30  # seconds for each step
    usage_interval: int = 0  # seconds from one time that it is found out who holds what to the next; 0: never
    usage_timeout: float = 600

    @classmethod
    def read(cls, path: str) -> ExporterConfig:
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))


Counters = t.Dict[str, t.Dict[str, int]]  # kind of event -> severity -> number


def _counters_of(kept: t.Mapping[str, t.Any]) -> Counters:
    """Return counters as they were kept; until version 1.0.0 kind and severity were one key."""
    found: Counters = {}
    for key, value in kept.items():
        kind, _space, severity = key.partition(" ")
        found.setdefault(kind, {}).update({severity: value} if severity else value)
    return found


@dataclass
class ExporterState:
    """What is kept from run to run, over reboots too: where the journal was read to, and what was counted there."""

    cursor: str = ""
    counters: dict[str, Counters] = field(default_factory=dict)  # by "VG/NAME"
    gaps: int = 0
    last_success: float = 0
    pools: list[str] = field(default_factory=list)
    usage: dict[str, dict[str, t.Any]] = field(default_factory=dict)  # "VG/NAME" -> when it was asked, what was told
    past: dict[str, dict[str, dict[str, t.Any]]] = field(default_factory=dict)  # "VG/NAME" -> kind -> EventSummary
    engines: dict[str, str] = field(default_factory=dict)  # "VG/NAME" -> whose it is, empty where nobody is known
    engines_asked: float = 0
    history: dict[str, list[forecast.Point]] = field(default_factory=dict)  # "VG/NAME" -> what was in use, and when

    @classmethod
    def read(cls, path: str) -> ExporterState:
        """Return what was kept; nothing if that was lost or damaged, which costs the counters and no more."""
        try:
            found = cls(**files.load(path))
            found.counters = {name: _counters_of(kept) for name, kept in found.counters.items()}
            found._check()
        except (AttributeError, LookupError, TypeError, ValueError):
            return cls()
        return found

    def _check(self) -> None:
        """Raise an error if anything is not of the form in which it is written."""
        _all_text(self.cursor, *self.pools)
        _all_numbers(self.gaps, self.last_success, self.engines_asked)
        _all_text(*self.engines, *self.engines.values())
        for points in self.history.values():
            forecast.valid(points)
        for counted in self.counters.values():
            for by_severity in counted.values():
                _all_text(*by_severity)
                _all_numbers(*by_severity.values())
        for kept in self.usage.values():
            _all_numbers(kept["asked"], kept["told"])
            for name, labels, value in kept["samples"]:
                _all_text(metrics.FAMILIES[name][0], *labels, *labels.values())
                _all_numbers(value)
        for pool in self.past:
            for row in self.happened(pool).values():
                _all_text(row.kind, row.severity, row.message)
                _all_numbers(row.last, row.count, row.first)

    def happened(self, name: str) -> dict[str, verdicts.EventSummary]:
        return {kind: verdicts.EventSummary(**row) for kind, row in self.past.get(name, {}).items()}


def _all_text(*values: t.Any) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"not all text: {values}")


def _all_numbers(*values: t.Any) -> None:
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise TypeError(f"not all numbers: {values}")


def main(path: str) -> int:
    started, now = time.monotonic(), time.time()
    configuration = ExporterConfig.read(path)
    memory = ExporterState.read(os.path.join(configuration.state_dir, STATE))
    run = Run(configuration, memory, now)
    try:
        # Held also by every program that is started, until it ends: while one of an earlier run still hangs, another
        # would only come to hang beside it.
        with locks.locked(os.path.join(configuration.state_dir, "lock"), 0, create=True) as lock, process.inherit_lock(
            lock
        ):
            run.work()
    except RefusedError:
        run.errors["lock"] = "what an earlier run started has not ended yet: see 'systemd-cgls'"
    else:
        try:
            replace(os.path.join(configuration.state_dir, STATE), json.dumps(memory.__dict__))
        except (OSError, RefusedError) as error:
            run.errors["state"] = str(error)
    samples = [*run.samples(), Sample("thin_pool_monitor_duration_seconds", {}, round(time.monotonic() - started, 3))]
    replace(os.path.join(configuration.textfile_dir, FILE), metrics.render(samples))
    for step, reason in run.errors.items():
        sys.stderr.write(f"{step}: {reason}\n")
    return 0


class Run:
    """One run: steps, each of which may fail or hang without the others."""

    STEPS = ("lock", "pools", "events", "usage")

    def __init__(self, configuration: ExporterConfig, memory: ExporterState, now: float) -> None:
        self._configuration, self._memory, self._now = configuration, memory, now
        self._verdicts: list[verdicts.Verdict] = []
        self._full: set[str] = set()
        self._suspended: suspended_devices.SuspendedError | None = None
        self.errors: dict[str, str] = {}

    def work(self) -> None:
        configuration, memory = self._configuration, self._memory
        wanted = [PoolName.parse(name) for name in configuration.pools]
        snapshot = self._step("pools", collect.look)
        if snapshot:
            names = wanted or verdicts.names(snapshot)
            memory.pools = [str(name) for name in names]
            self._full = {str(pool.pool_name) for pool in snapshot.pools if pool.is_full}
            snapshot = self._with_forecasts(self._with_engines(snapshot))
        found = self._step("events", self._read_events)
        if found:
            self._count(*found)
        if snapshot:
            limits = pool_health.Limits(**configuration.limits)
            self._verdicts = verdicts.of_host(snapshot, wanted, limits, lambda name: memory.happened(str(name)))
            for pool in self._due(snapshot) if configuration.usage_interval else []:
                read = functools.partial(self._read_usage, snapshot, pool)
                self._step("usage", read, configuration.usage_timeout)
        if not self.errors:
            memory.last_success = self._now

    def _step(self, name: str, work: t.Callable[[], Found], seconds: float = 0) -> Found | None:
        """Return what a step finds, None where it failed."""
        try:
            with limited(seconds or self._configuration.timeout):
                return work()
        except Exception as error:
            # Of whichever kind: what one step makes of what others wrote must not cost the metrics of the other steps.
            is_known = isinstance(error, (TimeLimitError, RefusedError, process.ProcessError, OSError))
            self.errors[name] = str(error) if is_known else f"{type(error).__name__}: {error}"
            if isinstance(error, suspended_devices.SuspendedError):
                self._suspended = error
            return None

    def _with_engines(self, snapshot: verdicts.PoolSnapshot) -> verdicts.PoolSnapshot:
        """Return the pools with whose they are, which is asked once an hour, and at once for a pool that is new."""
        memory = self._memory
        names = {str(pool.pool_name): pool.volume.dm_name for pool in snapshot.pools}
        age = self._now - memory.engines_asked
        if not 0 <= age < ENGINES_KEPT or not set(names) <= set(memory.engines):
            memory.engines_asked = self._now
            # Not a step of its own: what is told of a pool does not depend on it.
            found: dict[str, str] = {}
            with contextlib.suppress(TimeLimitError), limited(self._configuration.timeout):
                found = collect.find_engines(names.values())
            memory.engines = {name: found.get(dm_name, "") for name, dm_name in names.items()}
        return collect.with_engines(snapshot, memory.engines)

    def _with_forecasts(self, snapshot: verdicts.PoolSnapshot) -> verdicts.PoolSnapshot:
        """Return the pools with how long they have got; what is in use now is kept for the runs to come."""
        kept: dict[str, list[forecast.Point]] = {}
        pools = []
        for pool in snapshot.pools:
            name = str(pool.pool_name)
            if name in self._memory.pools:
                kept[name] = forecast.valid(self._memory.history.get(name, []))
                if pool.status and pool.status.data_total:
                    data = pool.status.data_used * pool.volume.chunk_size
                    metadata = pool.status.metadata_used * metrics.METADATA_BLOCK
                    kept[name] = forecast.keep(kept[name], (round(self._now, 1), data, metadata))
                pool = pool.with_history(kept[name], self._now)
            pools.append(pool)
        self._memory.history = kept
        return dataclasses.replace(snapshot, pools=pools)

    def _read_events(self) -> tuple[list[dm_events.Event], journal.Reading]:
        memory, path = self._memory, self._configuration.log_path
        # What is over the time of this step would be read again from the same place by every later run.
        seconds = self._configuration.timeout * 0.6
        if memory.cursor:
            with contextlib.suppress(RefusedError):
                return collect.read_events(cursor=memory.cursor, path=path, seconds=seconds)
        since = f"{memory.last_success:.3f}" if memory.last_success else self._configuration.since
        found = collect.read_events(since=since, path=path, seconds=seconds)
        if memory.cursor:
            # It is no place in this journal: that was made anew, or a log file is read now and was not before.
            memory.cursor, memory.gaps = "", memory.gaps + 1
        return found

    def _due(self, snapshot: verdicts.PoolSnapshot) -> list[pool_health.Pool]:
        """Return the pools of which it is to be found out again who holds what; those that cannot be read are left."""
        kept = self._memory.usage
        for name in [name for name in kept if name not in self._memory.pools]:
            del kept[name]
        # Some seconds early, so that a run that starts a little sooner than the one before does not leave it out.
        latest = self._now - self._configuration.usage_interval + 5
        return [
            pool
            for pool in snapshot.pools
            if str(pool.pool_name) in self._memory.pools
            and pool.status is not None
            and pool.status.mode in ("rw", "out_of_data_space")
            and not pool.group.missing_devices  # its metadata may be on one of them (seen)
            and not latest < kept.get(str(pool.pool_name), {}).get("asked", 0) <= self._now
        ]

    def _read_usage(self, snapshot: verdicts.PoolSnapshot, pool: pool_health.Pool) -> None:
        kept = self._memory.usage
        # Before it is tried, so that what fails is tried again in its turn and not every minute.
        name = str(pool.pool_name)
        kept[name] = {"told": 0, "samples": [], **kept.get(name, {}), "asked": self._now}
        told = pool_usage.read(snapshot.lvm, pool.volume, pool_usage.places())
        kept[name].update(told=self._now, samples=list(metrics.of_usage(told, LARGEST)))

    def _count(self, events: list[dm_events.Event], reading: journal.Reading) -> None:
        """Count what happened to the pools that are known, and keep what the verdicts need of it while they do."""
        memory, known = self._memory, self._memory.pools
        memory.gaps += bool(memory.cursor) and not reading.complete
        memory.cursor = reading.cursor
        # What names a group that has no pool may name any: each would be a series for ever.
        names = {*known, "/", *(f"{PoolName.of(name).vg}/" for name in known)}
        for event in events:
            name = str(PoolName(event.vg or "", event.pool or ""))
            if name in names:
                counted = memory.counters.setdefault(name, {}).setdefault(event.kind, {})
                counted[event.severity] = counted.get(event.severity, 0) + 1
        since = timestamps.parse_time(self._configuration.since, self._now) or 0
        past = {}
        for name in known:
            happened = verdicts.history(events, PoolName.of(name), memory.happened(name))
            past[name] = {
                kind: row.as_dict()
                for kind, row in happened.items()
                if row.last >= since or (name in self._full and kind in _FULL)
            }
        memory.past = past
        memory.counters = {name: counted for name, counted in memory.counters.items() if name in names}

    def samples(self) -> t.Iterator[Sample]:
        if self._verdicts:
            yield from metrics.of_pools(self._verdicts)
        elif "pools" in self.errors or "lock" in self.errors:
            # They could not be asked, so they are not well for all one knows.
            for name in self._configuration.pools or self._memory.pools:
                labels = labels_of(name)
                if self._suspended and self._suspended.concerns(PoolName.of(name).dm_name):
                    yield from metrics.of_health(labels, "critical")
                    yield Sample("thin_pool_problem", {**labels, "kind": "suspended", "severity": "critical"}, 1)
                else:
                    yield from metrics.of_health(labels, "unknown")
        yield from self._counters()
        if self._configuration.usage_interval:
            yield from self._usage()
        for step in self.STEPS if self._configuration.usage_interval else self.STEPS[:-1]:
            yield Sample("thin_pool_monitor_step_success", {"step": step}, step not in self.errors)
        yield Sample("thin_pool_monitor_journal_gaps_total", {}, self._memory.gaps)
        yield Sample("thin_pool_monitor_last_run_timestamp_seconds", {}, round(self._now, 3))
        yield Sample("thin_pool_monitor_last_success_timestamp_seconds", {}, round(self._memory.last_success, 3))

    def _usage(self) -> t.Iterator[Sample]:
        for name, kept in self._memory.usage.items():
            for row in kept["samples"]:
                yield Sample(*row)
            yield Sample("thin_pool_usage_timestamp_seconds", labels_of(name), round(kept["told"], 3))

    def _counters(self) -> t.Iterator[Sample]:
        known = self._memory.pools or self._configuration.pools
        for name in sorted({*known, "/", *self._memory.counters}):
            from_the_start = metrics.FROM_THE_START if name in known else metrics.WITHOUT_A_POOL if name == "/" else ()
            counted = {(kind, dm_events.KINDS[kind]): 0 for kind in from_the_start}
            for kind, by_severity in self._memory.counters.get(name, {}).items():
                counted.update({(kind, severity): number for severity, number in by_severity.items()})
            for (kind, severity), number in sorted(counted.items()):
                yield Sample("thin_pool_events_total", {**labels_of(name), "kind": kind, "severity": severity}, number)


def labels_of(name: str) -> dict[str, str]:
    vg, pool = PoolName.of(name)
    return {"vg": vg, "pool": pool}


@contextlib.contextmanager
def limited(seconds: float) -> t.Iterator[None]:
    """Raise TimeLimitError in what takes longer; a program that it waits for goes on, and keeps the lock to its end."""

    def ring(*_arguments: t.Any) -> None:
        raise TimeLimitError(f"had not ended after {seconds:.0f} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def replace(path: str, text: str) -> None:
    """Replace a file at once, for readers that come at any moment; node_exporter reads only *.prom."""
    with files.replacing(path, 0o644, keeps_suffix=False) as new:
        # A name that somebody gave a container may be no text at all.
        new.write_down(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
