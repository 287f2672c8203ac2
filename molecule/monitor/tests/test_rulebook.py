# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool that runs full and has no room is healed by ansible-rulebook, with no hand on it.

A story of its own, on a pool of its own: heals/pool, and the disk spare9.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import seen

ROOT = Path(__file__).resolve().parents[3]
EXTENT = 4 * seen.MIB
PLAY = "PLAY [Grow a thin pool while it is in use]"
# What dmeventd writes when an extension fails. The pool that has room gives it no reason to.
FAILURE = "logger --tag dmeventd -- 'Failed command for heals-pool.'"


def pool(host) -> dict[str, str]:
    fields = "lv_size,data_percent,seg_monitor,vg_extent_count,vg_free_count,pv_count"
    row = seen.root(host, f"lvs --noheadings --nosuffix --units b --separator , -o {fields} heals/pool")
    return dict(zip(fields.split(","), row.strip().split(",")))


class Rulebook:
    """ansible-rulebook on this machine, at work on the guest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self.log = folder / "log"
        inventory = json.loads(
            Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory", "guests.yml").read_text(encoding="utf-8")
        )
        ((name, way),) = inventory["all"]["hosts"].items()
        # What an inventory has for the playbook grow in any case, and the spare disk.
        inventory["all"]["vars"] = {
            "direct_lvm_chunk_size": "64K",
            "grow_spare_devices": ["/dev/disk/by-id/virtio-spare9"],
        }
        (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
        self.cursor = folder / "cursors" / f"{name}.cursor"
        ssh = ["ssh", *shlex.split(way["ansible_ssh_common_args"]), "-oBatchMode=yes", "-oServerAliveInterval=15"]
        variables = {
            "dm_event_hosts": [{"name": name, "destination": f"{way['ansible_user']}@{way['ansible_host']}"}],
            "dm_event_ssh": [*ssh, "-i", way["ansible_ssh_private_key_file"], "-p", str(way["ansible_port"])],
            "grow_pools": ["heals/pool"],
            "grow_cursor_dir": str(folder / "cursors"),
        }
        (folder / "variables.yml").write_text(json.dumps(variables), encoding="utf-8")

    @contextlib.contextmanager
    def running(self):
        self.starts += 1
        self.log = self.folder / f"log{self.starts}"
        tool = [sys.executable, str(ROOT / "tests" / "tools" / "environments.py"), "rulebook"]
        programs = subprocess.run(tool, check=True, stdout=subprocess.PIPE, text=True).stdout.strip() + "/bin"
        with open(self.log, "wb") as log:
            program = subprocess.Popen(
                [
                    *(f"{programs}/ansible-rulebook", "--rulebook", "devicemapper.containers.grow"),
                    *("--inventory", "inventory.yml", "--vars", "variables.yml"),
                ],
                cwd=self.folder,
                env={**os.environ, **seen.PLAIN, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield self
            assert program.poll() is None, self.output()
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait(120)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def runs(self) -> int:
        return self.output().count(PLAY)

    def has_run(self) -> bool:
        return "PLAY RECAP" in self.output()

    def place(self) -> str:
        return self.cursor.read_text(encoding="ascii").strip() if self.cursor.exists() else ""


def fail(host) -> str:
    """Write a failure into the journal, and return its place there."""
    seen.root(host, FAILURE)
    newest = "journalctl --quiet --lines=1 --output=json SYSLOG_IDENTIFIER=dmeventd"
    return json.loads(seen.root(host, f"journalctl --sync; {newest}"))["__CURSOR"]


def test_a_pool_that_runs_full_is_healed_with_no_hand_on_it(host, tmp_path):
    seen.root(host, "lvchange --quiet --monitor y heals/pool")
    before = pool(host)
    assert before["pv_count"] == "1"
    # A fifth of its 56 extents is more than there is.
    assert (int(before["lv_size"]) // EXTENT, int(before["vg_free_count"])) == (56, 5)
    rulebook = Rulebook(tmp_path)

    with rulebook.running():
        seen.wait_until(120, rulebook.place, "the rulebook follows the journal")
        seen.root(
            host,
            "dmsetup message heals-pool 0 'create_thin 0' && "
            "dmsetup create thin-heals --table '0 1048576 thin /dev/mapper/heals-pool 0' && "
            "dd if=/dev/zero of=/dev/mapper/thin-heals bs=1M count=190 oflag=direct status=none",
        )
        seen.wait_until(300, rulebook.has_run, "the rulebook has run the playbook grow")
        assert "failed=0" in rulebook.output(), rulebook.output()
        healed = pool(host)
        assert healed["pv_count"] == "2", rulebook.output()
        assert int(healed["lv_size"]) // EXTENT >= int(healed["vg_extent_count"]) * 80 // 100
        assert float(healed["data_percent"]) < 80
        assert healed["seg_monitor"] == "monitored"
        chunks = int(healed["lv_size"]) // 65536
        assert seen.root(host, "dmsetup table heals-pool").split()[6] == str(chunks * 20 // 100)

        # The burst of failures was one run, and one more failure is none.
        place = fail(host)
        seen.wait_until(120, lambda: rulebook.place() == place, "the rulebook has taken the failure")
        seen.root(host, "sleep 10")
        assert rulebook.runs() == 1, rulebook.output()

    # Nothing of it is left on the guest, and what happens now is not lost.
    seen.wait_until(
        30, lambda: not seen.root(host, "pgrep -fa '[j]ournalctl.*--follow' || true"), "journalctl has ended"
    )
    fail(host)
    with rulebook.running():
        seen.wait_until(300, rulebook.has_run, "the rulebook has run the playbook for what happened while it was away")
        assert rulebook.runs() == 1, rulebook.output()
        # The disk is in the group already.
        assert "changed=0" in rulebook.output(), rulebook.output()
        assert "failed=0" in rulebook.output(), rulebook.output()
    assert pool(host) == healed
    seen.root(host, "dmsetup remove --retry thin-heals")
