# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of the exporter, one after the other, on a host of which only LVM, the kernel and the journal are replaced."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import dataclass, field, replace

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._contents import pool_usage
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import profiles, suspended_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.obstacles import Obstacle
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    collect,
    dm_events,
    exporter,
    journal,
    metrics,
    pool_health,
    verdicts,
)

FAILED = "Failed command for docker-thinpool."
SHORT = "Insufficient free space: 487 extents needed, but only 78 available"


@dataclass
class Host:
    """What the exporter finds, and what it wrote."""

    folder: str
    snapshot: verdicts.PoolSnapshot | None = None
    journal: list[str] = field(default_factory=list)
    asked: list[dict] = field(default_factory=list)
    error: Exception | None = None
    journal_error: Exception | None = None
    hangs: bool = False
    settings: dict = field(default_factory=dict)
    engines: list = field(default_factory=list)  # what was asked for whose pools there are

    def find_engines(self, dm_names):
        self.engines.append(sorted(dm_names))
        return {"docker-thinpool": "docker"}

    def look(self):
        if self.hangs:
            time.sleep(30)
        if self.error:
            raise self.error
        return self.snapshot

    def read_events(self, **options):
        """A journal whose cursor is the number of its lines."""
        self.asked.append(options)
        if self.journal_error:
            raise self.journal_error
        if not options.get("cursor", "0").isdigit():
            raise RefusedError("cursor is not one of the journal")
        start = int(options.get("cursor", 0))
        lines = [dm_events.Line(time.time(), text, "dmeventd", pid=577) for text in self.journal[start:]]
        reading = journal.Reading(tuple(lines), str(len(self.journal)), complete=start <= len(self.journal))
        return dm_events.events(lines), reading

    def run(self) -> dict[str, float]:
        """Run it once and return the samples by name and labels."""
        path = os.path.join(self.folder, "configuration.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"textfile_dir": self.folder, "state_dir": self.folder, "timeout": 0.2, **self.settings}, file)
        assert exporter.main(path) == 0
        with open(os.path.join(self.folder, exporter.FILE), encoding="utf-8") as file:
            return parsed(file.read())


def parsed(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _space, value = line.rpartition(" ")
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return found


def events(samples, kind, pool='vg="docker",pool="thinpool"'):
    return sum(
        value for name, value in samples.items() if name.startswith(f'thin_pool_events_total{{{pool},kind="{kind}"')
    )


def health(samples, pool='vg="docker",pool="thinpool"'):
    found = [
        match[1]
        for name, value in samples.items()
        for match in [re.fullmatch(f'thin_pool_health{{{pool},health="(.*)"}}', name)]
        if match and value == 1
    ]
    return found[0] if found else None


@pytest.fixture
def host(monkeypatch, tmp_path, report, captured):
    """Return a host with the pool of the manual's recipe, as it was captured."""
    with monkeypatch.context() as patch:
        patch.setattr(profiles, "policy", lambda name, **_options: profiles.Policy(80, 20))
        read = report("pool")
        status = PoolStatus(mode="rw", data_used=972, data_total=19448, metadata_used=2571, metadata_total=25600)
        statuses = {"docker-thinpool": status}
        pools = pool_health.pools(read, (volume for volume in read.volumes if volume.is_pool), statuses)
    found = Host(str(tmp_path), verdicts.PoolSnapshot(read, statuses, pools, {}))
    monkeypatch.setattr(collect, "look", found.look)
    monkeypatch.setattr(collect, "read_events", found.read_events)
    monkeypatch.setattr(collect, "find_engines", found.find_engines)
    return found


POOL = '{vg="docker",pool="thinpool"}'


def test_a_pool_is_told_in_base_units(host):
    samples = host.run()
    expected = {
        f"thin_pool_present{POOL}": 1,
        f"thin_pool_active{POOL}": 1,
        f"thin_pool_data_size_bytes{POOL}": 2431 * 4194304,
        f"thin_pool_data_used_bytes{POOL}": 972 * 524288,
        f"thin_pool_data_used_ratio{POOL}": 972 / 19448,
        f"thin_pool_metadata_size_bytes{POOL}": 25 * 4194304,
        f"thin_pool_metadata_used_bytes{POOL}": 2571 * 4096,
        f"thin_pool_metadata_used_ratio{POOL}": 2571 / 25600,
        f"thin_pool_needs_check{POOL}": 0,
        f"thin_pool_monitored{POOL}": 1,
        f"thin_pool_armed{POOL}": 1,
        f"thin_pool_autoextend_threshold_ratio{POOL}": 0.8,
        f"thin_pool_autoextend_step_ratio{POOL}": 0.2,
        'thin_pool_extension_needed_bytes{vg="docker",pool="thinpool",part="data"}': 487 * 4194304,
        'thin_pool_extension_possible{vg="docker",pool="thinpool",part="data"}': 0,
        'thin_pool_extension_possible{vg="docker",pool="thinpool",part="metadata"}': 1,
        'thin_pool_vg_free_bytes{vg="docker"}': 78 * 4194304,
        'thin_pool_vg_missing_devices{vg="docker"}': 0,
        'thin_pool_mode{vg="docker",pool="thinpool",mode="rw"}': 1,
        'thin_pool_mode{vg="docker",pool="thinpool",mode="ro"}': 0,
        'thin_pool_problem{vg="docker",pool="thinpool",kind="data_extension_impossible",severity="warning",'
        'engine="docker"}': 1,
        'thin_pool_monitor_step_success{step="pools"}': 1,
        'thin_pool_monitor_step_success{step="events"}': 1,
    }
    assert {name: samples.get(name) for name in expected} == expected
    assert health(samples) == "warning"
    last = samples["thin_pool_monitor_last_success_timestamp_seconds"]
    assert last == samples["thin_pool_monitor_last_run_timestamp_seconds"]
    assert abs(last - time.time()) < 60


def test_every_metric_is_one_that_is_described(host):
    host.run()
    with open(os.path.join(host.folder, exporter.FILE), encoding="utf-8") as file:
        text = file.read()
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {re.split("[{ ]", name)[0] for name in parsed(text)} == described
    # All of them, with this pool, but for what is not asked for.
    assert set(metrics.FAMILIES) - described == {
        "thin_pool_container_exclusive_bytes",
        "thin_pool_exclusive_bytes",
        "thin_pool_usage_timestamp_seconds",
        "thin_pool_full_in_seconds",
        "thin_pool_growth_bytes_per_second",
        "thin_pool_writes_since_timestamp_seconds",
    }


def test_each_event_is_counted_once(host):
    host.journal += [SHORT, FAILED]
    first = host.run()
    assert host.asked[-1] == {"since": "-1h", "path": "", "seconds": pytest.approx(0.12)}
    assert (events(first, "autoextend_failed"), events(first, "extended")) == (1, 0)
    assert events(host.run(), "autoextend_failed") == 1
    assert host.asked[-1] == {"cursor": "2", "path": "", "seconds": pytest.approx(0.12)}
    host.journal += [SHORT, FAILED, "something new"]
    third = host.run()
    assert events(third, "autoextend_failed") == 2
    assert events(third, "unknown", 'vg="",pool=""') == 1
    assert third["thin_pool_monitor_journal_gaps_total"] == 0


def test_a_journal_that_lost_its_place_is_told(host):
    host.journal += [FAILED, FAILED]
    host.run()
    del host.journal[:]
    assert host.run()["thin_pool_monitor_journal_gaps_total"] == 1


def test_a_place_that_is_none_in_this_journal_is_left_for_the_last_success(host):
    first = host.run()
    path = os.path.join(host.folder, exporter.STATE)
    with open(path, encoding="utf-8") as file:
        kept = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**kept, "cursor": "file=1;offset=2"}, file)
    samples = host.run()
    assert float(host.asked[-1]["since"]) == first["thin_pool_monitor_last_success_timestamp_seconds"]
    assert samples['thin_pool_monitor_step_success{step="events"}'] == 1
    assert samples["thin_pool_monitor_journal_gaps_total"] == 1
    assert host.run()["thin_pool_monitor_journal_gaps_total"] == 1


def test_events_of_other_pools_are_not_counted(host):
    host.journal += [FAILED, "Failed command for other-pool."]
    assert not any('vg="other"' in name for name in host.run())


def test_an_event_counts_for_health_as_long_as_it_matters(host, monkeypatch):
    pool = host.snapshot.pools[0]
    full = PoolStatus(mode="rw", data_used=16600, data_total=19448, metadata_used=2571, metadata_total=25600)
    extension = pool.extension.__class__(data_needed=10, metadata_needed=1, free=78, extent_size=4194304)
    changed = pool_health.Pool(pool.volume, pool.group, full, pool.policy, extension)
    host.snapshot = verdicts.PoolSnapshot(host.snapshot.lvm, {"docker-thinpool": full}, [changed], {})
    assert health(host.run()) == "warning"
    host.journal.append(FAILED)
    assert health(host.run()) == "critical"
    assert health(host.run()) == "critical"  # remembered, not read again
    later = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: later)
    assert health(host.run()) == "warning"


def test_a_missing_pool_is_told(host):
    host.settings["pools"] = ["docker/thinpool", "docker/gone"]
    samples = host.run()
    assert samples['thin_pool_present{vg="docker",pool="gone"}'] == 0
    assert health(samples, 'vg="docker",pool="gone"') == "critical"
    assert health(samples) == "warning"


@pytest.mark.parametrize("trouble", ["hangs", "error"])
def test_lvm_that_does_not_answer_is_told_and_the_rest_goes_on(host, trouble):
    host.journal.append(FAILED)
    before = host.run()
    if trouble == "hangs":
        host.hangs = True
    else:
        host.error = process.ProcessError("lvm failed", ["lvm"])
    host.journal.append(FAILED)
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 0
    assert samples['thin_pool_monitor_step_success{step="events"}'] == 1
    assert health(samples) == "unknown"
    assert events(samples, "autoextend_failed") == 2
    assert not any(name.startswith("thin_pool_data") for name in samples)
    name = "thin_pool_monitor_last_success_timestamp_seconds"
    assert samples[name] == before[name]
    assert samples["thin_pool_monitor_duration_seconds"] < 5


@pytest.mark.parametrize(
    ("names", "expected", "problem"),
    [
        (("docker-thinpool_tmeta", "docker-thinpool_tdata", "docker-thinpool"), "critical", 1),
        (("docker-253:2-131-web",), "unknown", None),
    ],
)
def test_a_pool_that_lvm_would_wait_for_is_told_as_suspended(host, names, expected, problem):
    host.run()
    host.error = suspended_devices.SuspendedError("they are suspended", names)
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 0
    assert health(samples) == expected
    assert samples.get('thin_pool_problem{vg="docker",pool="thinpool",kind="suspended",severity="critical"}') == problem


def test_a_journal_that_cannot_be_read_is_told_and_the_rest_goes_on(host):
    host.journal_error = RefusedError("no journal")
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="events"}'] == 0
    assert health(samples) == "warning"
    assert events(samples, "autoextend_failed") == 0


def test_nothing_is_started_while_a_program_of_an_earlier_run_hangs(host):
    host.journal.append(FAILED)
    host.run()
    with open(os.path.join(host.folder, "lock"), encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        samples = host.run()
    assert len(host.asked) == 1
    assert samples['thin_pool_monitor_step_success{step="lock"}'] == 0
    assert health(samples) == "unknown"
    assert events(samples, "autoextend_failed") == 1
    assert health(host.run()) == "warning"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"colour": "red"}', "null", "\0", "[" * 3000),
        '{"cursor": 5}',
        '{"pools": [1]}',
        '{"pools": 7}',
        '{"counters": []}',
        '{"counters": {"docker/thinpool": 1}}',
        '{"counters": {"docker/thinpool": {"vg_full": 1}}}',
        '{"counters": {"docker/thinpool": {"vg_full error": "x"}}}',
        '{"gaps": "many"}',
        '{"gaps": Infinity}',
        '{"last_success": NaN}',
        '{"usage": {"docker/thinpool": {}}}',
        '{"usage": {"docker/thinpool": {"asked": 1, "told": 1, "samples": [["thin_pool_info", {}]]}}}',
        '{"usage": {"docker/thinpool": {"asked": 1, "told": 1, "samples": [["unheard_of", {}, 1]]}}}',
        '{"usage": {"docker/thinpool": {"asked": 1, "told": 1, "samples": [["thin_pool_info", {"vg": 1}, 1]]}}}',
        '{"past": {"docker/thinpool": {"vg_full": {"colour": 1}}}}',
        '{"past": {"docker/thinpool": {"vg_full": {"kind": "vg_full", "last": "then"}}}}',
    ],
)
def test_a_damaged_memory_costs_the_counters_and_no_more(host, text):
    host.run()
    with open(os.path.join(host.folder, exporter.STATE), "w", encoding="utf-8") as file:
        file.write(text)
    host.settings["usage_interval"] = 900
    assert host.run()[f"thin_pool_present{POOL}"] == 1


def test_what_version_1_0_counted_is_counted_on(host):
    host.journal += [SHORT, FAILED]
    before = host.run()
    path = os.path.join(host.folder, exporter.STATE)
    with open(path, encoding="utf-8") as file:
        kept = json.load(file)
    assert kept["counters"]["docker/thinpool"]["autoextend_failed"] == {"error": 1}
    kept["counters"]["docker/thinpool"] = {"autoextend_failed error": 41}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(kept, file)
    host.journal.append(FAILED)
    samples = host.run()
    assert events(samples, "autoextend_failed") == 42
    assert samples.keys() == before.keys()


def test_a_state_that_is_not_regular_costs_the_counters_and_no_more(host):
    os.mkfifo(os.path.join(host.folder, exporter.STATE))
    samples = host.run()
    assert samples[f"thin_pool_present{POOL}"] == 1


@pytest.mark.parametrize("error", [RecursionError("too deep"), KeyError("digest"), MemoryError(), AttributeError("x")])
def test_whatever_a_step_comes_upon_costs_that_step_alone(host, error, capsys):
    host.journal_error = error
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="events"}'] == 0
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 1
    assert health(samples) == "warning"
    assert capsys.readouterr().err.startswith(f"events: {type(error).__name__}")


def test_an_event_of_a_group_without_pools_is_no_series(host):
    host.journal += [f'Volume group "made-up-{number}" not found' for number in range(50)]
    host.journal += ['Volume group "docker" not found', "Missed it"]
    samples = host.run()
    groups = {name.split('"')[1] for name in samples if name.startswith("thin_pool_events_total{")}
    assert groups == {"docker", ""}


def test_no_series_stands_twice_where_two_groups_have_one_name(host):
    host.snapshot = replace(host.snapshot, pools=[*host.snapshot.pools, *host.snapshot.pools])
    found = verdicts.of_host(host.snapshot, [], pool_health.Limits(), lambda name: {})
    names = parsed(metrics.render(metrics.of_pools([*found, *found])))
    assert f"thin_pool_present{POOL}" in names


def test_a_name_that_is_no_text_costs_no_metrics(host):
    told = {**USAGE, "devices": [device(1, "container", "\ud800" + "x" * 10000), device(2, "container", 'a"\\\n')]}
    samples = [metrics.Sample(*row) for row in metrics.of_usage(told, 10)]
    exporter.replace(os.path.join(host.folder, "x.prom"), metrics.render(samples))
    with open(os.path.join(host.folder, "x.prom"), encoding="utf-8") as file:
        text = file.read()
    assert max(map(len, text.splitlines())) < 400
    assert 'container="a\\"\\\\\\n"' in text


def test_the_reading_of_the_journal_ends_before_its_step_does(host):
    host.run()
    assert host.asked[0]["seconds"] < 0.2


def device(exclusive, kind=None, name=""):
    return {"exclusive": exclusive, "owner": {"kind": kind, "name": name} if kind else None}


USAGE = {
    "vg": "docker",
    "name": "thinpool",
    "devices": [
        device(1000, "container", "web"),
        device(500, "image_layer", "busybox:latest"),
        device(300, "image_layer", "busybox:latest"),
        device(70),
        device(5, "container", "db"),
        device(0, "container_init", "db"),
    ],
}


def test_usage_is_told_where_it_is_asked_for_and_in_its_turn(host, monkeypatch):
    asked = []

    def read(_report, pool, _places):
        asked.append(pool.full_name)
        return USAGE

    monkeypatch.setattr(pool_usage, "places", tuple)
    monkeypatch.setattr(pool_usage, "read", read)
    assert not any("exclusive" in name or "usage" in name for name in host.run())
    assert asked == []
    host.settings["usage_interval"] = 900
    for _run in range(2):
        samples = host.run()
        assert {name: value for name, value in samples.items() if "exclusive" in name} == {
            'thin_pool_exclusive_bytes{vg="docker",pool="thinpool",kind="container"}': 1005,
            'thin_pool_exclusive_bytes{vg="docker",pool="thinpool",kind="container_init"}': 0,
            'thin_pool_exclusive_bytes{vg="docker",pool="thinpool",kind="image_layer"}': 800,
            'thin_pool_exclusive_bytes{vg="docker",pool="thinpool",kind="unowned"}': 70,
            'thin_pool_container_exclusive_bytes{vg="docker",pool="thinpool",container="web"}': 1000,
            'thin_pool_container_exclusive_bytes{vg="docker",pool="thinpool",container="db"}': 5,
        }
        assert samples['thin_pool_monitor_step_success{step="usage"}'] == 1
        assert asked == ["docker/thinpool"]
    told = samples[f"thin_pool_usage_timestamp_seconds{POOL}"]
    later = time.time() + 900
    monkeypatch.setattr(time, "time", lambda: later)
    assert host.run()[f"thin_pool_usage_timestamp_seconds{POOL}"] >= told + 899
    assert len(asked) == 2


def test_usage_that_cannot_be_read_leaves_the_rest_and_what_was_known(host, monkeypatch):
    monkeypatch.setattr(pool_usage, "places", tuple)
    monkeypatch.setattr(pool_usage, "read", lambda *_arguments: USAGE)
    host.settings["usage_interval"] = 900
    before = host.run()
    later = time.time() + 900
    monkeypatch.setattr(time, "time", lambda: later)

    def refuse(*_arguments):
        raise RefusedError("somebody else holds a snapshot")

    monkeypatch.setattr(pool_usage, "read", refuse)
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="usage"}'] == 0
    assert health(samples) == "warning"
    name = f"thin_pool_usage_timestamp_seconds{POOL}"
    assert samples[name] == before[name] > 0
    assert samples['thin_pool_container_exclusive_bytes{vg="docker",pool="thinpool",container="web"}'] == 1000


@pytest.mark.parametrize("what", ["read-only", "device-missing"])
def test_a_pool_whose_metadata_may_not_be_readable_is_not_asked(host, monkeypatch, what):
    (pool,) = host.snapshot.pools
    if what == "read-only":
        pool = replace(pool, status=replace(pool.status, mode="ro"))
    else:
        group = replace(pool.group, missing_devices=1)
        pool = replace(pool, group=group, obstacles=(Obstacle("device_missing", "it misses one"),))
    host.snapshot = replace(host.snapshot, pools=[pool])
    monkeypatch.setattr(pool_usage, "places", lambda: pytest.fail("it was asked"))
    host.settings["usage_interval"] = 900
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="usage"}'] == 1
    assert health(samples) == "critical"


def test_nothing_is_left_beside_the_files(host):
    host.run()
    assert sorted(os.listdir(host.folder)) == ["configuration.json", "lock", "state.json", "thin_pool.prom"]
    assert os.stat(os.path.join(host.folder, exporter.FILE)).st_mode & 0o777 == 0o644


def full(host, when_full):
    status = replace(host.snapshot.statuses["docker-thinpool"], mode="out_of_data_space", when_full=when_full)
    pools = [replace(pool, status=status, no_space_timeout=60) for pool in host.snapshot.pools]
    host.snapshot = replace(host.snapshot, statuses={"docker-thinpool": status}, pools=pools)


def writes(samples):
    return {
        state: samples[f'thin_pool_writes{{vg="docker",pool="thinpool",state="{state}"}}'] for state in metrics.WRITES
    }


def test_writes_that_wait_and_writes_that_fail_are_told_apart(host):
    assert writes(host.run()) == {"ok": 1, "waiting": 0, "failing": 0}
    full(host, "queue")
    assert writes(host.run()) == {"ok": 0, "waiting": 1, "failing": 0}
    full(host, "error")
    assert writes(host.run()) == {"ok": 0, "waiting": 0, "failing": 1}


def test_since_when_writes_wait_is_known_for_as_long_as_the_pool_is_full(host, monkeypatch):
    """The journal is read from where it was left, so the line itself comes once."""
    hours_ago = time.time() - 3 * 3600
    line = dm_events.Line(
        hours_ago, "device-mapper: thin: 253:2: switching pool to out-of-data-space (queue IO) mode", "kernel"
    )
    happened = dm_events.events([line], {"253:2": "docker-thinpool"})
    full(host, "queue")
    for found in (happened, [], []):
        read = (found, journal.Reading((), "1", complete=True))
        monkeypatch.setattr(collect, "read_events", lambda read=read, **_options: read)
        samples = host.run()
        assert samples[f"thin_pool_writes_since_timestamp_seconds{POOL}"] == round(hours_ago, 3)


def test_whose_a_pool_is_is_asked_once_an_hour_and_for_a_new_pool(host, monkeypatch):
    for _run in range(3):
        samples = host.run()
    assert host.engines == [["docker-thinpool"]]
    assert any('engine="docker"' in name for name in samples)
    later = time.time() + exporter.ENGINES_KEPT + 1
    monkeypatch.setattr(time, "time", lambda: later)
    host.run()
    assert len(host.engines) == 2
    second = replace(host.snapshot.pools[0], volume=replace(host.snapshot.pools[0].volume, name="other"))
    host.snapshot = replace(host.snapshot, pools=[*host.snapshot.pools, second])
    host.run()
    assert host.engines[2] == ["docker-other", "docker-thinpool"]


def test_a_search_for_the_engine_that_hangs_costs_nothing_else(host, monkeypatch):
    monkeypatch.setattr(collect, "find_engines", lambda _names: time.sleep(30))
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 1
    assert health(samples) == "warning"


def grow(host, monkeypatch, minutes, chunks, metadata=0):
    """Run the exporter every minute while the pool grows by so many chunks and blocks each; return the last samples."""
    began = time.time()
    for minute in range(minutes):
        status = host.snapshot.statuses["docker-thinpool"]
        status = replace(status, data_used=status.data_used + chunks, metadata_used=status.metadata_used + metadata)
        pools = [replace(pool, status=status) for pool in host.snapshot.pools]
        host.snapshot = replace(host.snapshot, statuses={"docker-thinpool": status}, pools=pools)
        monkeypatch.setattr(time, "time", lambda minute=minute: began + 60 * minute)
        samples = host.run()
    return samples


DATA = '{vg="docker",pool="thinpool",part="data"}'
METADATA = '{vg="docker",pool="thinpool",part="metadata"}'


def test_how_long_a_pool_has_got_is_told_by_how_it_grew(host, monkeypatch):
    samples = grow(host, monkeypatch, 20, 40)
    assert samples[f"thin_pool_growth_bytes_per_second{DATA}"] == pytest.approx(40 * 524288 / 60)
    # The group has no room for an extension, so that what is left of the pool counts.
    left = 19448 - 972 - 20 * 40
    assert samples[f"thin_pool_full_in_seconds{DATA}"] == pytest.approx(left / 40 * 60, abs=1)
    assert f"thin_pool_full_in_seconds{METADATA}" not in samples
    problem = 'thin_pool_problem{vg="docker",pool="thinpool",kind="data_fills_up",severity="warning",engine="docker"}'
    assert samples[problem] == 1


def test_a_pool_that_has_hours_is_critical_and_one_that_rests_is_not(host, monkeypatch):
    assert health(grow(host, monkeypatch, 15, 100)) == "critical"
    assert not any("fills_up" in name for name in grow(host, monkeypatch, 90, 0))


def test_metadata_that_fills_up_is_told(host, monkeypatch):
    samples = grow(host, monkeypatch, 15, 0, metadata=100)
    # With the one extension that its profile makes.
    left = 25600 - 2571 - 15 * 100 + samples[f"thin_pool_metadata_size_bytes{POOL}"] // 4096 * 6 / 25
    assert samples[f"thin_pool_full_in_seconds{METADATA}"] == pytest.approx(left / 100 * 60, rel=0.02)


@pytest.mark.parametrize("history", [[], "x", {"docker/thinpool": "x"}, {"docker/thinpool": [[1]]}])
def test_a_history_that_is_none_costs_no_metrics(host, history):
    host.run()
    path = os.path.join(host.folder, exporter.STATE)
    with open(path, encoding="utf-8") as file:
        kept = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**kept, "history": history}, file)
    samples = host.run()
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 1
    assert health(samples) == "warning"
