# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A made-up fleet: pools in every state that there is, in the words that the modules themselves find for them.

Made up is what LVM, the kernel and the journal say; verdicts, sentences and figures come from the code under test.
"""

from __future__ import annotations

import functools
import json
import random
import typing as t
from dataclasses import replace
from pathlib import Path

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import (
    lvm_state,
    pool_sizing,
    pool_status,
    profiles,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    dm_events,
    forecast,
    pool_health,
    remedies,
    timestamps,
    verdicts,
)
from ansible_collections.devicemapper.containers.plugins.modules import thin_pool_check_info

MIB = 1024**2
EXTENT = 4 * MIB
NOW = 1795435200.0  # 2026-11-23T12:00:00Z
DAY = 86400
HOST = "node1"  # what each host is called in the commands that help, until it has its own name
GENERATED = timestamps.iso_seconds(NOW + 40)

Answer = t.Dict[str, t.Any]
# Seconds before the host was asked, who wrote the line, and the line.
Lines = t.Sequence[t.Tuple[float, str, str]]

LOW = ("kernel", "device-mapper: thin: 253:2: reached low water mark for data device: sending event.")
HIGH = ("dmeventd", "WARNING: Thin pool docker-thinpool data is now 86.20% full.")
FULL = ("dmeventd", "Insufficient free space: 487 extents needed, but only 78 available")
FAILED = ("dmeventd", "Failed command for docker-thinpool.")
GREW = (
    "dmeventd",
    "Size of logical volume docker/thinpool_tdata changed from 80.00 GiB (20480 extents) to 96.00 GiB (24576 extents).",
)
QUEUE = ("kernel", "device-mapper: thin: 253:2: switching pool to out-of-data-space (queue IO) mode")
ERROR = ("kernel", "device-mapper: thin: 253:2: switching pool to out-of-data-space (error IO) mode")
READ_ONLY = ("kernel", "device-mapper: thin: 253:2: switching pool to read-only mode")
ABORT = ("kernel", "device-mapper: thin: 253:2: aborting current metadata transaction")
BACK = ("kernel", "device-mapper: thin: 253:2: switching pool to write mode")
KILLED = ("systemd", "dm-event.service: Main process exited, code=killed, status=9/KILL")


def pool(data: float = 40.0, metadata: float = 14.0, *, size: int = 100, free: int = 60, **changes: t.Any) -> t.Any:
    """Return a pool of some GiB that is watched; ``changes`` are fields of whichever part has them."""
    fields: dict[str, t.Any] = {
        "vg": "docker",
        "name": "thinpool",
        "type": "thin-pool",
        "size": size * 1024 * MIB,
        "metadata_size": size * 10 * MIB // EXTENT * EXTENT,
        "chunk_size": MIB // 2,
        "active": True,
        "profile": "docker-thinpool",
        "when_full": "queue",
        "monitored": True,
    }
    fields.update(
        {name: value for name, value in changes.items() if name in lvm_state.LogicalVolume.__dataclass_fields__}
    )
    volume = lvm_state.LogicalVolume(**fields)
    policy = profiles.Policy(changes.get("threshold", 80), 20, found=changes.get("found", True))
    chunks, blocks = volume.size // volume.chunk_size, volume.metadata_size // 4096
    status = pool_status.PoolStatus(
        mode=changes.get("mode", "rw"),
        data_used=round(chunks * data / 100),
        data_total=chunks,
        metadata_used=round(blocks * metadata / 100),
        metadata_total=blocks,
        needs_check=changes.get("needs_check", False),
        when_full=changes.get("kernel_when_full", "queue"),
    )
    mark = pool_status.low_water_mark(volume.size, volume.chunk_size, policy.threshold)
    volume = replace(volume, low_water_mark=changes.get("low_water_mark", mark))
    group = lvm_state.VolumeGroup(
        name=volume.vg,
        extent_size=EXTENT,
        extents=size * 512,
        extents_free=free * 1024 * MIB // EXTENT,
        missing_devices=changes.get("missing_devices", 0),
    )
    extension = pool_sizing.auto_extension(group, volume, None, policy.percent)
    running = status if volume.active else None
    whose = remedies.Whose(HOST, "containerd" if volume.vg == "containerd" else "docker")
    found = pool_health.Pool(volume, group, running, policy, extension, whose=whose, no_space_timeout=60)
    return replace(found, forecasts=tuple(changes.get("forecasts", ()))).held_back()


def full_in(seconds: float, rate: float, part: str = "data") -> forecast.Forecast:
    """Return a half that is full in so many seconds, at so many MiB an hour."""
    return forecast.Forecast(part, seconds, rate * MIB / 3600, 3600)


def check(*pools: t.Any, lines: Lines = (), wanted: t.Sequence[tuple[str, str]] = (), now: float = NOW) -> Answer:
    """Return what thin_pool_check_info answers on a host with these pools, in whose journal these lines are."""
    read = [
        dm_events.Line(now - before, message, source, pid=577)
        for before, source, message in sorted(lines, key=lambda line: -line[0])
    ]
    events = dm_events.events(read, {"253:2": "docker-thinpool"})
    report = lvm_state.LvmState(
        groups=tuple({one.group.name: one.group for one in pools}.values()),
        volumes=tuple(one.volume for one in pools),
    )
    snapshot = verdicts.PoolSnapshot(report, {one.volume.dm_name: one.status for one in pools if one.status}, pools, {})
    limits = pool_health.Limits()
    found = verdicts.of_host(
        snapshot, [PoolName(*name) for name in wanted], limits, lambda name: verdicts.history(events, name)
    )
    return thin_pool_check_info.answer(found, [], events, limits, now=now, since=now - DAY)


def device(number: int, exclusive: int, shared: int, kind: str = "container", **owner: t.Any) -> Answer:
    """Return a device as thin_pool_usage_info tells it, sizes in MiB; nobody's where it has no owner."""
    named = {"engine": "docker", "kind": kind, "name": "", "id": f"{number:064x}", "images": [], "size": None, **owner}
    return {
        "device_id": number,
        "exclusive": exclusive * MIB,
        "mapped": (exclusive + shared) * MIB,
        "shared": shared * MIB,
        "owner": named if owner else None,
    }


def usage(*devices: Answer, vg: str = "docker", name: str = "thinpool", total: int = 0) -> Answer:
    """Return what a loop of thin_pool_usage_info over one pool registers."""
    told = {"vg": vg, "name": name, "total": max(total, len(devices)), "devices": list(devices)}
    return {"results": [{"item": {"vg": vg, "name": name}, "thin_pools": [told]}]}


NO_USAGE: Answer = {"skipped": True}
UNREACHABLE: Answer = {
    "changed": False,
    "unreachable": True,
    "msg": "Failed to connect to the host via ssh: ssh: connect to host 10.20.0.17 port 22: Connection timed out",
}
NO_PYTHON: Answer = {
    "changed": False,
    "failed": True,
    "rc": 127,
    "msg": "The module interpreter '/usr/bin/python3' was not found.",
}
NO_SUDO: Answer = {"changed": False, "failed": True, "msg": "Missing sudo password"}

_IMAGES = ("nginx:1.27", "postgres:16", "redis:7", "registry.example.org/shop/web:2026.11.2", "busybox:latest")
_NAMES = ("web", "db", "cache", "shop-web", "batch", "mail", "search", "queue", "builder", "metrics")


def _holders(chance: random.Random) -> Answer:
    devices = [
        device(
            number,
            chance.randint(20, 12000),
            chance.randint(40, 900),
            name=f"{name}-{number}",
            images=[chance.choice(_IMAGES)],
        )
        for number, name in enumerate(chance.sample(_NAMES, 4), 3)
    ]
    image = chance.choice(_IMAGES)
    devices.append(device(9, chance.randint(20, 400), 600, "image_layer", name=image, images=[image]))
    devices.sort(key=lambda one: -one["exclusive"])
    return usage(*devices, total=chance.randint(12, 60))


def _in_trouble(chance: random.Random, now: float) -> list[tuple[str, Answer, Answer]]:
    """Return hosts in every kind of trouble."""
    hour, asked = 3600.0, functools.partial(check, now=now)
    repeated = [(before * 60.0, *line) for before in (9, 7, 5, 3) for line in (FULL, FAILED)]
    full = [(5 * hour, *LOW), (4.9 * hour, *HIGH), (2 * hour, *QUEUE), (1.98 * hour, *ERROR)]
    thin_group = pool(91.4, 41.0, free=3, forecasts=[full_in(2.6 * hour, 3400)])
    lost = usage(
        device(7, 41200, 900, name="builder-3", images=["registry.example.org/ci/builder:latest"]),
        device(12, 9100, 0),
        device(4, 2210, 310, name="postgres", images=["postgres:16"]),
        device(2, 640, 0, "image_layer", name="registry.example.org/ci/builder:latest"),
        total=41,
    )
    refused = {
        "results": [
            {
                "item": {"vg": "docker", "name": "thinpool"},
                "failed": False,
                "msg": "pool docker/thinpool is read-only: the kernel takes no snapshot of its metadata. Repair it "
                "first ('lvconvert --repair docker/thinpool')",
            }
        ]
    }
    return [
        ("ci-runner-02", asked(thin_group, lines=[(7 * hour, *LOW), (6.9 * hour, *HIGH), *repeated]), lost),
        (
            "shop-db-01",
            asked(pool(100.0, 22.0, free=0, mode="out_of_data_space", kernel_when_full="error"), lines=full),
            _holders(chance),
        ),
        (
            "legacy-07",
            asked(pool(55.0, 100.0, mode="ro", needs_check=True), lines=[(1800.0, *ABORT), (1764.0, *READ_ONLY)]),
            refused,
        ),
        ("backup-01", asked(wanted=[("docker", "thinpool")]), NO_USAGE),
        ("edge-paris-03", UNREACHABLE, NO_USAGE),
        ("edge-osaka-01", NO_PYTHON, NO_USAGE),
        ("new-host-11", asked(), NO_USAGE),
        (
            "shop-web-04",
            asked(
                pool(61.0, free=4, forecasts=[full_in(15 * hour, 2600)]),
                lines=[(20 * hour, *GREW), (20.01 * hour, *LOW)],
            ),
            _holders(chance),
        ),
        ("shop-web-05", asked(pool(77.9, 31.0)), _holders(chance)),
        ("mail-01", asked(pool(35.0, monitored=False)), _holders(chance)),
        ("mail-02", asked(pool(35.0, profile="", threshold=100)), _holders(chance)),
        ("search-01", asked(pool(20.0), lines=[(9 * hour, *ERROR), (8.8 * hour, *BACK)]), _holders(chance)),
    ]


def answers(number: int, *, now: float = NOW) -> list[tuple[str, Answer, Answer]]:
    """Return what so many hosts answer, the same ones each time: a dozen in trouble, the others well."""
    chance = random.Random(7)
    found = _in_trouble(chance, now)[:number]
    while len(found) < number:
        kind, place = chance.choice(("web", "api", "batch", "node")), chance.choice(("fra", "par", "osa"))
        name = f"{kind}-{place}-{len(found):03}"
        size, grew = chance.choice((40, 100, 200, 500)), chance.random() < 0.3
        lines = [(chance.uniform(3600, DAY), *LOW), (chance.uniform(600, 3500), *GREW)] if grew else []
        grows = [full_in(len(found) * 0.7 * DAY, 90)] if len(found) % 3 == 0 else []
        one = pool(
            chance.uniform(2, 74),
            chance.uniform(10.1, 40),
            size=size,
            free=chance.randint(size // 4, size),
            forecasts=grows,
        )
        found.append((name, check(one, lines=lines, now=now - chance.randint(0, 90)), _holders(chance)))
    for name, told, _usage in found:
        for reason in [reason for one in told.get("pools", []) for reason in one["reasons"]]:
            reason["command"] = reason["command"] and reason["command"].replace(HOST, name)
    return found


# Ansible runs it as a host's Python: it answers with what is recorded for the module that it is given.
_INTERPRETER = """#!/bin/sh
case "$*" in
    *thin_pool_check_info*) cat "${0%/*}/check.json" ;;
    *thin_pool_usage_info*) cat "${0%/*}/usage.json" ;;
esac
"""
# Nothing listens there.
_NOWHERE = {
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_common_args": "-o BatchMode=yes -o ConnectTimeout=2",
}


def inventory(folder: Path, hosts: t.Iterable[tuple[str, Answer, Answer]]) -> Path:
    """Write an inventory of hosts that answer so to the playbook report, and return its path."""
    variables: dict[str, dict[str, t.Any]] = {}
    for number, (name, checked, used) in enumerate(hosts):
        if checked.get("unreachable"):
            variables[name] = _NOWHERE
            continue
        home = folder / f"host{number}"
        home.mkdir(parents=True)
        (home / "check.json").write_text(json.dumps(checked), encoding="utf-8")
        told = (used.get("results") or [{}])[0]
        answer = {"changed": False, **{key: told[key] for key in ("thin_pools", "msg") if key in told}}
        answer["failed"] = "thin_pools" not in told
        (home / "usage.json").write_text(json.dumps(answer), encoding="utf-8")
        (home / "python").write_text(_INTERPRETER, encoding="utf-8")
        (home / "python").chmod(0o755)
        variables[name] = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_pipelining": False,  # the interpreter sees the module by its file's name
            "ansible_python_interpreter": str(home / "python"),
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": variables}}, indent=1), encoding="utf-8")
    return path
