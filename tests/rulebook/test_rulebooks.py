# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's rulebooks, run by ansible-rulebook, on journals that were captured; and a grow that only says so."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/unit/extensions/eda"))
stand_in = importlib.import_module("stand_in")
sys.path.pop(0)

CAPTURED = (ROOT / "tests/unit/reports/2.03.16-debian12/journal.json").read_text(encoding="utf-8").splitlines()
FREE = "Insufficient free space: 31 extents needed, but only 0 available"
GROW = """
- name: Say what is asked
  hosts: all
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: >-
          grows {{ direct_lvm_vg }}/{{ direct_lvm_pool }} of {{ inventory_hostname }} by {{ direct_lvm_devices }}!
      when: thin_pool_engine == 'docker'
    - name: Say it of containerd
      ansible.builtin.debug:
        msg: >-
          grows containerd's {{ containerd_devmapper_vg }}/{{ containerd_devmapper_pool }} of {{ inventory_hostname }}
          by {{ containerd_devmapper_devices }}!
      when: thin_pool_engine == 'containerd'
"""


class Rulebook:
    """A rulebook at work on the journal of a host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = stand_in.Host(folder / "host")
        collection = folder / "ansible_collections/devicemapper/containers"
        (collection / "playbooks").mkdir(parents=True)
        for name in ("extensions", "galaxy.yml", "meta", "plugins", "README.md"):
            (collection / name).symlink_to(ROOT / name)
        (collection / "playbooks/grow.yml").write_text(GROW)
        inventory = {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "hosts": {
                "node1": {"grow_spare_devices": ["/dev/spare1"]},
                "node2": {"grow_spare_devices": ["/dev/spare2"]},
            },
        }
        (folder / "inventory.yml").write_text(yaml.safe_dump({"all": inventory}))
        self.running: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self, name: str, *options: str, **variables: t.Any) -> None:
        self.starts += 1
        variables = {f"{name}_cursor_dir": str(self.folder / "cursors"), "dm_event_hosts": ["node1"], **variables}
        (self.folder / "variables.yml").write_text(yaml.safe_dump(variables))
        programs = os.path.dirname(sys.executable)
        command = [f"{programs}/ansible-rulebook", "--rulebook", f"devicemapper.containers.{name}"]
        environment = {
            **os.environ,
            "PATH": f"{self.host.programs}:{programs}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_NOCOLOR": "1",
        }
        with open(self.log, "wb") as log:
            self.running = subprocess.Popen(
                [*command, "--vars", str(self.folder / "variables.yml"), *options],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> Path:
        return self.folder / f"log{self.starts}"

    def output(self) -> str:
        return self.log.read_text()

    def until(self, look: t.Callable[[], t.Any]) -> None:
        end = time.monotonic() + 120
        while not look():
            assert time.monotonic() < end, self.output()
            assert self.running is None or self.running.poll() is None, self.output()
            time.sleep(0.1)

    def reads(self) -> bool:
        asked = self.host.folder / "asked"
        return asked.exists() and "--follow" in asked.read_text().splitlines()[-1]

    def has_read_all(self) -> bool:
        cursor = self.folder / "cursors/node1.cursor"
        return cursor.exists() and cursor.read_text().strip() == self.host.entries()[-1]["__CURSOR"]

    def grown(self) -> list[str]:
        return re.findall(r'"msg": "grows (.*)!"', self.output())

    def stop(self) -> None:
        """End it, and see that it leaves no process."""
        assert self.running is not None
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
        # Java may take the signal before Python does, and then ends both.
        assert self.running.wait(60) in (0, 1, 128 + signal.SIGTERM)
        end = time.monotonic() + 10
        while self.host.running():
            assert time.monotonic() < end, "journalctl still runs"
            time.sleep(0.1)


@pytest.fixture
def rulebook(tmp_path):
    found = Rulebook(tmp_path)
    yield found
    if found.running is not None:
        found.stop()


def test_grow_runs_once_for_each_pool_that_could_not_be_extended_and_on_its_host_alone(rulebook):
    inventory = ("--inventory", "inventory.yml")
    variables = {"grow_pools": ["ev-a/thin-pool", "ev-a/mp"], "dm_event_since": 1}
    # One that names no pool; the group alone does not say which would have to grow.
    rulebook.host.say(FREE)
    rulebook.host.write(*CAPTURED)
    rulebook.start("grow", *inventory, **variables)
    rulebook.until(lambda: rulebook.has_read_all() and len(rulebook.grown()) == 2)
    rulebook.host.say("Failed command for ev--a-mp.")
    rulebook.until(rulebook.has_read_all)
    time.sleep(5)
    pools = ["ev-a/mp of node1 by ['/dev/spare1']", "ev-a/thin-pool of node1 by ['/dev/spare1']"]
    assert sorted(rulebook.grown()) == pools
    rulebook.stop()

    # Started again it has done with all that; and a spare may be the same for all.
    rulebook.start("grow", *inventory, **variables, grow_spare_devices=["/dev/spare"])
    (rulebook.host.folder / "asked").unlink()
    rulebook.until(rulebook.reads)
    assert rulebook.grown() == []
    rulebook.host.say("Failed command for ev--a-mp.")
    rulebook.until(rulebook.grown)
    assert rulebook.grown() == ["ev-a/mp of node1 by ['/dev/spare']"]


def test_grow_of_containerds_pools_heeds_its_variables(rulebook):
    rulebook.host.write(*CAPTURED)
    rulebook.start("grow", "--inventory", "inventory.yml", grow_engine="containerd", dm_event_since=1)
    rulebook.until(rulebook.has_read_all)
    rulebook.host.say("Failed command for docker-thinpool.")
    rulebook.host.say("Failed command for containerd-thinpool.")
    rulebook.until(rulebook.grown)
    assert rulebook.grown() == ["containerd's containerd/thinpool of node1 by ['/dev/spare1']"]


def test_notify_tells_what_is_a_warning_or_worse(rulebook):
    rulebook.host.write(*CAPTURED)
    rulebook.start("notify", dm_event_since=1)
    rulebook.until(lambda: rulebook.has_read_all() and "Suppressed 17 messages" in rulebook.output())
    told = re.findall(r"^\S+Z node1 (\w+) (\w+): (.*)$", rulebook.output(), re.MULTILINE)
    mark = "device-mapper: thin: 253:2: reached low water mark for data device: sending event."
    # It was extended in between, which is as it should be.
    assert told[:2] == [("warning", "data_low_water", mark)] * 2
    assert told[2:4] == [
        ("critical", "vg_full", FREE),
        ("error", "autoextend_failed", "Failed command for ev--a-thin--pool."),
    ]
    assert {severity for severity, _kind, _message in told} == {"warning", "error", "critical", "emergency"}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"grow_pools": "docker/thinpool"}, "pools 'docker/thinpool' is not a list of words"),
        ({"dm_event_hosts": ["web*"]}, "hosts: 'web*' is no name of a host in an inventory"),
        ({"grow_cursor_dir": "/dev/null/x"}, "cursor_dir /dev/null/x cannot be written: Not a directory"),
    ],
)
def test_bad_variables_end_it_with_the_reason(rulebook, variables, says):
    rulebook.start("grow", "--inventory", "inventory.yml", **variables)
    assert rulebook.running.wait(60) == 1
    assert says in rulebook.output()
