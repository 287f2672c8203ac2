# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that can happen to a pool, on pools of their own at the same time; the role tells each by its verdict.

The tests are one story, in their order.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import seen

ROLE = "devicemapper.containers.monitor"
FOLDER = "/var/lib/prometheus/node-exporter"
METRICS = f"--extra-vars=thin_pool_monitor_textfile_dir={FOLDER}"
NEVER = "--extra-vars=thin_pool_monitor_fail_on=never"
ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = (sys.executable, str(ROOT / "tests" / "tools" / "prometheus.py"))


def told(output: str) -> dict[str, list[str]]:
    """Return what the role printed of each pool: the word, and the sentences."""
    found: dict[str, list[str]] = {}
    for line in re.findall(r'^ {8}"(.*?)",?$', output, re.MULTILINE):
        head = re.match(r"([a-z]+/[a-z]+): ([A-Z]+)", line)
        if head:
            found[head[1]] = [head[2]]
        elif found and line.startswith("    "):
            found[list(found)[-1]].append(line.strip())
    return found


def run_role(*options: str, status: int = 0) -> dict[str, list[str]]:
    returned, output = seen.run_playbook(ROLE, *options)
    assert (returned != 0) == (status != 0), output
    return told(output)


def volumes(host) -> dict[str, dict[str, str]]:
    """Return LVM's report of every pool by its name."""
    fields = "vg_name,lv_name,lv_size,data_percent,metadata_percent,seg_monitor,lv_profile,vg_free"
    lines = seen.root(host, f"lvs --noheadings --nosuffix --units b --separator , -o {fields} -S segtype=thin-pool")
    rows = [dict(zip(fields.split(","), line.strip().split(","))) for line in lines.splitlines() if "," in line]
    return {f"{row['vg_name']}/{row['lv_name']}": row for row in rows}


def metrics(host) -> dict[str, float]:
    """Return the metrics as Prometheus reads them, after its own parser had no word against them."""
    text = seen.root(host, f"cat {FOLDER}/thin_pool.prom")
    promtool = [*PROMETHEUS, "promtool", "check", "metrics"]
    done = subprocess.run(promtool, check=False, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def of(pool: str, **labels: str) -> str:
    vg, name = pool.split("/")
    return "{" + ",".join(f'{key}="{value}"' for key, value in {"vg": vg, "pool": name, **labels}.items()) + "}"


def health(samples: dict[str, float], pool: str) -> list[str]:
    words = ("ok", "warning", "unknown", "critical")
    return [name for name in words if samples.get(f"thin_pool_health{of(pool, health=name)}") == 1]


WARNED = ("warning", "critical")  # below 95 percent, and above


def warnings(host, name: str) -> int:
    """Count what lvm2's own test thin-dmeventd-warns counts."""
    lines = seen.root(host, "journalctl --no-pager --output=cat _COMM=dmeventd").splitlines()
    return sum(bool(re.match(rf"WARNING: Thin pool {name} data is now", line)) for line in lines)


def test_pools_that_are_well_are_told_as_such(host):
    pools = run_role(METRICS)
    assert [pools[f"many/{name}"][0] for name in ("well", "unwatched", "nofile", "detached", "inactive")] == ["OK"] * 5
    assert pools["grows/pool"][0] == "OK"
    assert pools["short/pool"][0] == "WARNING"
    assert "cannot be extended: that takes 49 extents" in pools["short/pool"][1]


def test_lvm2s_own_counts_of_warnings_hold(host):
    write = "dd if=/dev/zero of=/dev/mapper/thin-many-warned bs=64k oflag=direct,seek_bytes status=none"
    seen.root(
        host,
        "dmsetup message many-warned 0 'create_thin 0' && "
        "dmsetup create thin-many-warned --table '0 16384 thin /dev/mapper/many-warned 0'",
    )
    # 8 MiB are 128 chunks: above 80, above 90, and all of it.
    for start, end, number in ((0, 104, 1), (104, 118, 2), (118, 128, 3)):
        seen.root(host, f"{write} seek={start * 65536} count={end - start}")
        seen.wait_until(60, lambda number=number: warnings(host, "many-warned") >= number, f"warning {number}")
        assert warnings(host, "many-warned") == number
    seen.root(host, "blkdiscard /dev/mapper/thin-many-warned && dmsetup status many-warned")
    seen.root(host, "sleep 12")  # dmeventd looks every ten seconds, and must see it empty
    seen.root(host, f"{write} count=118")
    seen.wait_until(60, lambda: warnings(host, "many-warned") >= 4, "the warning again")
    assert warnings(host, "many-warned") == 4
    events = seen.run_module("thin_pool_check_info", pools=["many/warned"])["pools"][0]["events"]
    assert [event["count"] for event in events if event["kind"] == "data_usage_high"] == [4]


@pytest.fixture(scope="module")
def in_trouble(host) -> dict[str, list[str]]:
    """Let everything happen, and return what the role says then; it fails, as it must."""
    with open(ROOT / "molecule" / "monitor" / "trouble.sh", encoding="utf-8") as file:
        script = file.read()
    with host.sudo():
        done = host.run("bash -c %s", script)
    assert done.rc == 0, done.stderr
    seen.wait_until(60, lambda: "Failed command for short-pool." in seen.journal(host, "-1h"), "vg_full")
    seen.wait_until(60, lambda: "logical volume grows/pool_tdata changed" in seen.journal(host, "-1h"), "extended")
    return run_role(METRICS, status=2)


@pytest.mark.parametrize(
    ("pool", "verdict", "says"),
    [
        ("many/well", "OK", []),
        (
            "grows/pool",
            "OK",
            ["data_low_water", "extended: Size of logical volume grows/pool_tdata changed from 200.00"],
        ),
        ("short/pool", "CRITICAL", ["critical: the data of short/pool cannot be extended", "autoextend_failed"]),
        ("many/full", "CRITICAL", ["critical: many/full is full, and what is written to it"]),
        ("meta/pool", "CRITICAL", ["critical: meta/pool can no longer write its metadata", "metadata_read_only"]),
        ("many/unwatched", "WARNING", ["warning: dmeventd does not watch many/unwatched"]),
        ("many/nofile", "WARNING", ["warning: the profile many-nofile of many/nofile has no file that LVM can read"]),
        ("many/detached", "WARNING", ["it has no profile. There is one, many-detached"]),
        ("many/inactive", "CRITICAL", ["critical: many/inactive is not active"]),
        ("two/pool", "CRITICAL", ["critical: volume group two misses 1 of its devices"]),
        ("gone/pool", "CRITICAL", ["critical: gone/pool still runs, but LVM knows no such pool any more"]),
    ],
)
def test_each_trouble_has_its_own_true_verdict(in_trouble, pool, verdict, says):
    lines = in_trouble[pool]
    assert lines[0] == verdict, lines
    for words in says:
        assert any(words in line for line in lines), lines


def test_figures_of_a_full_group_are_those_of_dmeventds_own_line(host, in_trouble):
    needed, free = re.findall(
        r"Insufficient free space: (\d+) extents needed, but only (\d+) available", seen.journal(host, "-1h")
    )[-1]
    (sentence,) = [line for line in in_trouble["short/pool"] if line.startswith("critical: ")]
    assert f"that takes {needed} extents" in sentence
    assert f"has {free} free" in sentence


def test_a_pool_that_is_named_and_not_there_is_critical(host):
    pools = run_role("--extra-vars={'thin_pool_monitor_pools': ['many/well', 'many/none']}", status=2)
    assert {name: lines[0] for name, lines in pools.items()} == {"many/none": "CRITICAL", "many/well": "OK"}


def test_metrics_are_what_lvm_and_the_role_say(host, in_trouble):
    seen.root(host, "systemctl start thin-pool-monitor.service")
    samples, reported = metrics(host), volumes(host)
    assert {name: health(samples, name) for name in in_trouble} == {
        name: [lines[0].lower()] for name, lines in in_trouble.items()
    }
    for name in ("grows/pool", "short/pool", "many/full", "many/warned"):
        row = reported[name]
        assert samples[f"thin_pool_data_size_bytes{of(name)}"] == float(row["lv_size"])
        ratio = samples[f"thin_pool_data_used_ratio{of(name)}"]
        assert ratio == pytest.approx(float(row["data_percent"]) / 100, abs=1e-4)
        assert samples[f"thin_pool_data_used_bytes{of(name)}"] == pytest.approx(ratio * float(row["lv_size"]))
        assert samples[f'thin_pool_vg_free_bytes{{vg="{row["vg_name"]}"}}'] == float(row["vg_free"])
    assert samples[f"thin_pool_monitored{of('many/unwatched')}"] == 0
    assert samples[f"thin_pool_armed{of('many/well')}"] == 1
    assert samples[f"thin_pool_extension_possible{of('short/pool', part='data')}"] == 0
    assert samples[f"thin_pool_extension_possible{of('grows/pool', part='data')}"] == 1
    assert samples['thin_pool_vg_missing_devices{vg="two"}'] == 1
    assert samples[f"thin_pool_mode{of('many/full', mode='out_of_data_space')}"] == 1
    assert samples[f"thin_pool_present{of('gone/pool')}"] == 0
    assert samples[f"thin_pool_events_total{of('many/warned', kind='data_usage_high', severity='critical')}"] == 1
    assert samples[f"thin_pool_events_total{of('many/warned', kind='data_usage_high', severity='warning')}"] == 3
    assert samples[f"thin_pool_events_total{of('grows/pool', kind='extended', severity='notice')}"] == 1


def writes(samples: dict[str, float], pool: str) -> list[str]:
    return [word for word in ("ok", "waiting", "failing") if samples[f"thin_pool_writes{of(pool, state=word)}"] == 1]


def status_of(host, name: str) -> str:
    return seen.root(host, f"dmsetup status --noflush {name}")


def check_of(name: str) -> dict:
    (pool,) = seen.run_module("thin_pool_check_info", pools=[name])["pools"]
    return pool


def test_writes_that_fail_are_told_by_the_kernels_word(host, in_trouble):
    """LVM says "queue" of the pool all the while."""
    seen.wait_until(90, lambda: "error_if_no_space" in status_of(host, "many-full"), "the kernel fails what waited")
    assert seen.root(host, "lvs --noheadings -o lv_when_full many/full").strip() == "queue"
    pool = check_of("many/full")
    assert pool["writes"] == "failing"
    assert pool["sentence"].startswith("many/full is full, and what is written to it fails since "), pool["sentence"]
    seen.root(host, "systemctl start thin-pool-monitor.service")
    assert writes(metrics(host), "many/full") == ["failing"]


TIMEOUT = "/sys/module/dm_thin_pool/parameters/no_space_timeout"


@pytest.fixture(scope="module")
def kept(host):
    """Have a pool with a reserve, and who writes more to it than it has."""
    seen.root(
        host,
        "lvcreate --quiet --yes --type thin-pool --name kept --chunksize 64k --zero n --poolmetadatasize 2m --size 20m "
        "many && dmsetup message many-kept 0 'create_thin 0' && "
        "dmsetup create thin-many-kept --table '0 245760 thin /dev/mapper/many-kept 0'",
    )
    found = seen.run_module("thin_pool_reserve", vg="many", name="kept", size="24m")
    assert (found["changed"], found["reserve"]) == (True, 24 * seen.MIB)
    assert not seen.run_module("thin_pool_reserve", vg="many", name="kept", size="24m")["changed"]
    write = "dd if=/root/written of=/dev/mapper/thin-many-kept bs=1M oflag=direct status=none; echo $? > /root/ended"
    # Long enough for a machine that has much else to do.
    seen.root(host, f"echo 300 > {TIMEOUT}; head -c 40M /dev/urandom > /root/written")
    seen.root(host, f"nohup sh -c '{write}' < /dev/null > /dev/null 2>&1 &")
    seen.wait_until(60, lambda: "out_of_data_space" in status_of(host, "many-kept"), "it is full")


WAITS = r"waits since (\S+Z), and fails at (\S+Z)\. Nothing is lost yet: give it the 24\.00 MiB that are kept for it"
RELEASE = (
    "devicemapper.containers.release_reserve",
    "--extra-vars=release_vg=many",
    "--extra-vars=release_pool=kept",
)


def test_a_writer_that_waits_goes_on_when_the_reserve_is_released(host, kept):
    pool = check_of("many/kept")
    assert pool["writes"] == "waiting"
    since = re.search(WAITS, pool["sentence"])
    assert since, pool["sentence"]
    assert pool["writes_since"] == since[1]
    seconds = [int(seen.root(host, f"date --date={moment} +%s")) for moment in since.groups()]
    assert seconds[1] - seconds[0] == 300
    command = pool["reasons"][0]["command"].split()
    assert command[:2] == ["ansible-playbook", RELEASE[0]]
    assert command[-4:] == ["-e", "release_vg=many", "-e", "release_pool=kept"]

    status, output = seen.run_playbook(*RELEASE)
    assert status == 0, output
    assert "give thin pool many/kept the 24.00 MiB that was kept for it" in output
    seen.wait_until(30, lambda: seen.root(host, "cat /root/ended || true").strip() == "0", "the writer has ended well")
    assert " rw " in status_of(host, "many-kept")
    seen.root(host, "dd if=/dev/mapper/thin-many-kept bs=1M count=40 iflag=direct status=none | cmp - /root/written")
    assert check_of("many/kept")["writes"] == "ok"


def test_what_was_released_is_released_once(host, kept):
    status, output = seen.run_playbook(*RELEASE)
    assert status == 0, output
    assert "There was nothing left to give." in output
    assert "changed=0" in output


def test_the_timer_releases_the_reserve_where_that_is_allowed(host, kept):
    """Once more, with nobody there; the first third of what is written fits."""
    assert seen.run_module("thin_pool_reserve", vg="many", name="kept", size="24m")["changed"]
    allowed = {"thin_pool_monitor_release_reserve": True, "thin_pool_monitor_interval": 10}
    run_role(METRICS, NEVER, f"--extra-vars={json.dumps(allowed)}")
    size = int(seen.root(host, "lvs --noheadings --nosuffix --units m -o lv_size many/kept").partition(".")[0])
    more = f"seek=40 count={size + 8 - 40}"
    write = f"dd if=/dev/zero of=/dev/mapper/thin-many-kept bs=1M {more} oflag=direct status=none"
    seen.root(host, f"timeout 250 {write}")
    assert "give thin pool many/kept the 24.00 MiB that was kept for it" in seen.root(
        host, "journalctl --no-pager --output=cat --unit thin-pool-monitor.service"
    )
    assert " rw " in status_of(host, "many-kept")
    seen.root(host, "dd if=/dev/mapper/thin-many-kept bs=1M count=40 iflag=direct status=none | cmp - /root/written")
    run_role(METRICS, NEVER)
    # It is no part of the story that follows.
    seen.root(
        host,
        f"echo 60 > {TIMEOUT}; dmsetup remove --retry thin-many-kept && lvremove --quiet --yes many/kept && "
        "rm /root/written /root/ended",
    )


def test_timer_writes_by_itself(host):
    name = "thin_pool_monitor_last_success_timestamp_seconds"
    before = metrics(host)[name]
    seen.wait_until(90, lambda: metrics(host)[name] > before, "the timer's next run")


def test_dmeventd_that_was_killed_is_critical(host):
    seen.root(host, "kill -KILL $(pidof dmeventd); sleep 1")
    pools = run_role(METRICS, status=2)
    assert pools["many/well"][0] == "CRITICAL"
    assert re.search("dmeventd ended at .*code=killed|dmeventd ended at .*signal", pools["many/well"][1])


def test_repair_is_foretold(host):
    run_role("--extra-vars=thin_pool_monitor_repair=true", "--check", status=2)
    assert volumes(host)["many/well"]["seg_monitor"] == "not monitored"


def test_repair_heals_what_it_may_and_nothing_else(host):
    pools = run_role("--extra-vars=thin_pool_monitor_repair=true", status=2)
    verdicts = {name: lines[0] for name, lines in pools.items()}
    healed = ("many/well", "many/unwatched", "many/detached", "grows/pool")
    assert {name: verdicts[name] for name in healed} == dict.fromkeys(healed, "OK")
    for name in ("short/pool", "many/full", "meta/pool", "many/inactive", "two/pool", "gone/pool"):
        assert verdicts[name] == "CRITICAL"
    reported = volumes(host)
    for name in (*healed, "short/pool", "many/full", "many/nofile"):
        assert reported[name]["seg_monitor"] == "monitored"
    assert reported["many/detached"]["lv_profile"] == "many-detached"
    assert seen.root(host, "dmsetup table many-detached").split()[6] == "64"  # a fifth of 320 chunks
    assert reported["many/inactive"]["seg_monitor"] == ""
    assert reported["two/pool"]["seg_monitor"] == "not monitored"


def test_a_second_repair_changes_nothing(host):
    returned, output = seen.run_playbook(ROLE, METRICS, NEVER, "--extra-vars=thin_pool_monitor_repair=true")
    assert returned == 0, output
    assert "changed=0" in output


@pytest.fixture
def alerts(tmp_path):
    """Start a node_exporter and a Prometheus with the alert rules on this machine; return what asks for what fires."""
    (tmp_path / "textfile").mkdir()
    with contextlib.ExitStack() as ports:
        sockets = [ports.enter_context(socket.create_server(("127.0.0.1", 0))) for _number in range(2)]
        exporter, server = (f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    (tmp_path / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{ROOT}/roles/thin_pool_monitor/files/alerts.yml"]
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["{exporter}"]}}]}}]
"""
    )
    commands = (
        ["prometheus-node-exporter", f"--web.listen-address={exporter}", "--collector.disable-defaults"]
        + ["--collector.textfile", f"--collector.textfile.directory={tmp_path}/textfile"],
        ["prometheus", f"--web.listen-address={server}", f"--config.file={tmp_path}/prometheus.yml"]
        + [f"--storage.tsdb.path={tmp_path}/data"],
    )

    def firing() -> list[tuple[str, str]]:
        try:
            with urllib.request.urlopen(f"http://{server}/api/v1/alerts", timeout=10) as answer:
                found = json.load(answer)["data"]["alerts"]
        except OSError:  # it is still starting
            return []
        labels = [alert["labels"] for alert in found if alert["state"] == "firing"]
        return [(one["alertname"], f"{one.get('vg')}/{one.get('pool')}") for one in labels]

    with open(tmp_path / "log", "wb") as log:
        running = [subprocess.Popen([*PROMETHEUS, *command], stdout=log, stderr=log) for command in commands]
    yield tmp_path / "textfile", firing
    for one in running:
        one.terminate()
        one.wait()


def test_alert_fires_and_is_resolved_once_the_pool_has_grown(host, alerts):
    folder, firing = alerts
    alert = ("ThinPoolCannotBeExtended", "short/pool")

    def scraped() -> None:
        seen.root(host, "systemctl start thin-pool-monitor.service")
        metrics(host)
        (folder / "new").write_text(seen.root(host, f"cat {FOLDER}/thin_pool.prom"), encoding="utf-8")
        (folder / "new").rename(folder / "thin_pool.prom")

    scraped()
    seen.wait_until(60, lambda: alert in firing(), f"{alert} fires")
    full = {("ThinPoolFullWritesWait", "many/full"), ("ThinPoolFullWritesFail", "many/full")}
    assert len(full & set(firing())) == 1
    assert not [name for name, pool in firing() if pool == "grows/pool"]
    variables = {
        "direct_lvm_vg": "short",
        "direct_lvm_pool": "pool",
        "direct_lvm_chunk_size": "64K",
        "direct_lvm_devices": [f"/dev/disk/by-id/virtio-data{number}" for number in (2, 8)],
    }
    returned, output = seen.run_playbook("devicemapper.containers.grow", f"--extra-vars={json.dumps(variables)}")
    assert returned == 0, output
    scraped()
    seen.wait_until(60, lambda: firing() and alert not in firing(), f"{alert} is resolved")


def test_usage_is_told_where_it_is_asked_for(host):
    run_role(METRICS, NEVER, "--extra-vars=thin_pool_monitor_usage_interval=60")
    samples = metrics(host)
    assert samples['thin_pool_monitor_step_success{step="usage"}'] == 1
    # The devices are nobody's, as no Docker made them.
    used = samples[f"thin_pool_data_used_bytes{of('grows/pool')}"]
    assert samples[f"thin_pool_exclusive_bytes{of('grows/pool', kind='unowned')}"] == used
    assert samples[f"thin_pool_exclusive_bytes{of('many/well', kind='unowned')}"] == 0
    status = seen.root(host, "dmsetup status --target thin-pool").splitlines()
    # A pool that has failed has one word for all of it.
    assert {line.split()[7] for line in status if len(line.split()) > 7} == {"-"}
    assert seen.root(host, "ls -A /var/lib/devicemapper.containers") == ""
    run_role(METRICS, NEVER)


def test_lvm_that_hangs_is_told_in_time(host):
    # A lock that somebody holds, as an LVM command that hangs would.
    configuration = "/etc/thin-pool-monitor.json"
    seen.root(
        host,
        f'sed -i \'s/"timeout": 30/"timeout": 3/\' {configuration}; systemctl stop thin-pool-monitor.timer; '
        "systemd-run --quiet --unit=holder flock /run/lock/lvm/V_many sleep 100; sleep 1; "
        "systemctl start thin-pool-monitor.service",
    )
    samples = metrics(host)
    assert samples['thin_pool_monitor_step_success{step="pools"}'] == 0
    assert samples['thin_pool_monitor_step_success{step="events"}'] == 1
    assert health(samples, "many/well") == ["unknown"]
    assert samples["thin_pool_monitor_duration_seconds"] < 20
    seen.root(host, "systemctl stop holder")
    returned, output = seen.run_playbook(ROLE, METRICS, NEVER)
    assert returned == 0, output
    assert "changed=1" in output
    assert health(metrics(host), "many/well") == ["ok"]


def test_pool_that_stays_suspended_below_a_device_is_critical(host):
    # LVM looks for its labels on the device and would wait for the pool, so that nobody could ask it anything.
    seen.root(
        host,
        "systemctl stop thin-pool-monitor.timer && dmsetup message many-well 0 'create_thin 0' && "
        "dmsetup create held --table '0 16384 thin /dev/mapper/many-well 0' && udevadm settle && "
        "dmsetup suspend many-well",
    )
    seen.root(host, "systemctl start thin-pool-monitor.service")
    samples = metrics(host)
    assert health(samples, "many/well") == ["critical"]
    assert samples[f"thin_pool_problem{of('many/well', kind='suspended', severity='critical')}"] == 1
    assert health(samples, "grows/pool") == ["unknown"]
    returned, output = seen.run_playbook(ROLE, METRICS, NEVER)
    assert returned == 2, output
    (command,) = set(re.findall("run '(dmsetup clear [^']+)'", output))
    seen.root(host, f"{command} && dmsetup remove --retry held && dmsetup message many-well 0 'delete 0'")
    returned, output = seen.run_playbook(ROLE, METRICS, NEVER)
    assert returned == 0, output
    seen.root(host, "systemctl start thin-pool-monitor.service")
    assert health(metrics(host), "many/well") == ["ok"]


def test_counters_are_kept_over_a_reboot(host):
    before = metrics(host)
    seen.reboot(host)
    after = seen.wait_until(120, lambda: fresh(host, before), "a run after the reboot")
    failures = f"thin_pool_events_total{of('short/pool', kind='autoextend_failed', severity='error')}"
    assert after[failures] >= before[failures] > 0
    assert after["thin_pool_monitor_journal_gaps_total"] == 0
    # At rest the counters are the numbers of lines in the journal of both boots, once dmeventd has said all it has to.
    seen.root(host, "systemctl stop thin-pool-monitor.timer")
    warned = [f"thin_pool_events_total{of('many/warned', kind='data_usage_high', severity=word)}" for word in WARNED]

    def at_rest() -> dict[str, float] | None:
        seen.root(host, "systemctl start thin-pool-monitor.service")
        samples = metrics(host)
        lines = seen.root(host, "journalctl --no-pager --output=cat _COMM=dmeventd").splitlines()
        counted = (samples[failures], sum(samples[name] for name in warned))
        logged = (lines.count("Failed command for short-pool."), warnings(host, "many-warned"))
        return samples if counted == logged else None

    samples = seen.wait_until(60, at_rest, "the counters are those of the journal")
    # The disk is back. How the pool is depends on what it was told when it was gone, and on a race at boot between LVM
    # and dmeventd (seen both ways): what is said is that there is one.
    assert before[f"thin_pool_present{of('gone/pool')}"] == 0
    assert samples[f"thin_pool_present{of('gone/pool')}"] == 1


def fresh(host, before: dict[str, float]) -> dict[str, float] | None:
    name = "thin_pool_monitor_last_success_timestamp_seconds"
    samples = metrics(host)
    return samples if samples[name] > before[name] else None


def test_nothing_is_left_when_it_is_taken_away(host):
    absent = "--extra-vars=thin_pool_monitor_state=absent"
    returned, output = seen.run_playbook(ROLE, absent)
    assert returned == 0, output
    assert "changed=1" in output
    listed = seen.root(host, "find /etc /usr /var /run -xdev -name '*thin-pool-monitor*' -o -name '*thin_pool*.prom*'")
    # What systemd and the journal keep of a unit that was there is theirs.
    assert [line for line in listed.splitlines() if not line.startswith(("/run/systemd", "/var/log"))] == []
    assert seen.root(host, f"ls {FOLDER} /usr/local/lib").split() == [
        "/usr/local/lib:",
        "python3.11",
        f"{FOLDER}:",
    ]
    assert "thin-pool-monitor" not in seen.root(host, "systemctl list-units --all --no-legend")
    returned, output = seen.run_playbook(ROLE, absent)
    assert returned == 0, output
    assert "changed=0" in output
