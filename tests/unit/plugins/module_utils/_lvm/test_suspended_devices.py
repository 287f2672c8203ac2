# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state, suspended_devices

# The numbers are no order: what was made again has the lowest that was free.
POOL = {
    "dm-0": ("docker-thinpool", "LVM-vgid-tpool", ["dm-1", "dm-2"]),
    "dm-1": ("docker-thinpool_tmeta", "LVM-vgid-tmeta", ["vdb"]),
    "dm-2": ("docker-thinpool_tdata", "LVM-vgid-tdata", ["vdb"]),
}
CONTAINER = {"dm-3": ("docker-253:2-131-web", "", ["dm-0"])}
THIN = {"dm-3": ("docker-thin", "LVM-vgid", ["dm-0"])}
INTERRUPTED = ("dm-0", "dm-1", "dm-2")


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that only sleeping moves, and what shall happen while one sleeps."""
    now, during = [0.0], []

    def sleep(seconds):
        now[0] += seconds
        for act in during:
            act()

    monkeypatch.setattr(suspended_devices.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(suspended_devices.time, "sleep", sleep)
    return during


@pytest.fixture
def block(monkeypatch, tmp_path, clock):
    """Return a function that makes /sys/block as the kernel has it."""
    monkeypatch.setattr(suspended_devices, "BLOCK", str(tmp_path))

    def make(devices, suspended):
        for number, (name, uuid, slaves) in devices.items():
            folder = tmp_path / number
            for sub in ("dm", "slaves", "holders"):
                (folder / sub).mkdir(parents=True, exist_ok=True)
            (folder / "dm/name").write_text(f"{name}\n")
            (folder / "dm/uuid").write_text(f"{uuid}\n")
            (folder / "dm/suspended").write_text(f"{int(number in suspended)}\n")
            for slave in slaves:
                (folder / "slaves" / slave).mkdir()
                (tmp_path / slave / "holders" / number).mkdir(parents=True)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("devices", "suspended"),
    [
        pytest.param({}, (), id="no-device"),
        pytest.param({**POOL, **CONTAINER}, (), id="nothing-suspended"),
        pytest.param(POOL, INTERRUPTED, id="a-pool-that-nothing-lies-on"),
        pytest.param({**POOL, **THIN}, INTERRUPTED, id="a-pool-below-what-lvm-does-not-scan"),
    ],
)
def test_where_lvm_would_not_wait_nothing_is_said(block, devices, suspended):
    block(devices, suspended)
    suspended_devices.check()


@pytest.mark.parametrize(
    ("devices", "suspended", "message"),
    [
        pytest.param(
            {**POOL, **CONTAINER},
            INTERRUPTED,
            "docker-thinpool_tmeta, docker-thinpool_tdata, docker-thinpool are suspended for more than 10 seconds.*"
            "'dmsetup clear .* && dmsetup resume docker-thinpool_tmeta docker-thinpool_tdata docker-thinpool'$",
            id="a-pool-below-a-container",
        ),
        pytest.param(
            {**POOL, **CONTAINER},
            ("dm-3",),
            "docker-253:2-131-web is suspended for.*'dmsetup clear docker-2[^ ]* && dmsetup resume docker-2[^ ]*'$",
            id="a-container",
        ),
        pytest.param(
            {"dm-0": ("mpatha", "mpath-36001", ["sda"]), "dm-1": ("vg-lv", "LVM-vgid", ["dm-0"])},
            ("dm-0", "dm-1"),
            "'dmsetup clear mpatha vg-lv && dmsetup resume mpatha vg-lv'$",
            id="a-disk-of-several-paths",
        ),
    ],
)
def test_where_lvm_would_wait_it_is_not_started(block, commands, devices, suspended, message):
    block(devices, suspended)
    with pytest.raises(RefusedError, match=message):
        lvm_state.read()
    assert commands.ran == []


def test_a_command_that_suspends_for_a_moment_is_waited_for(block, clock):
    folder = block({**POOL, **CONTAINER}, INTERRUPTED)
    clock.append(lambda: (folder / "dm-2/dm/suspended").write_text("0\n"))
    clock.append(lambda: (folder / "dm-1/dm/suspended").write_text("0\n"))
    clock.append(lambda: (folder / "dm-0/dm/suspended").write_text("0\n"))
    suspended_devices.check()
