# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking apart what the other tests used; records without their pool, and a pool without its records, are refused."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import seen
import yaml
from test_containerd import DISK, FOLDER, PACKAGED, POOL, ROLE, run, state

ABSENT = ("shared/containerd_devmapper.yml", "--extra-vars=containerd_devmapper_state=absent")
STOP = "--extra-vars=containerd_devmapper_stop_containers=true"


def test_pool_whose_records_are_gone_is_refused(host):
    seen.root(host, f"systemctl stop containerd && mv {FOLDER} {FOLDER}.away")
    try:
        status, output = seen.run_playbook(*ROLE)
    finally:
        seen.root(host, f"rm -rf {FOLDER} && mv {FOLDER}.away {FOLDER} && systemctl start containerd")
    assert status != 0
    assert f"and {FOLDER}/{POOL}.db has no records of them" in output
    assert state(host) == "ok"


def test_reset_is_refused_while_a_container_runs(host):
    run(host, "web", "busybox sleep 100000", "--detach")
    status, output = seen.run_playbook(*ABSENT)
    assert status != 0
    assert "containers run on containerd/thinpool: default/web. Stop them, or set stop_containers: true" in output
    assert "RUNNING" in seen.root(host, "ctr tasks ls")


def test_reset_does_what_check_mode_foretells(host):
    # The file system of a container that was just started is written some seconds later, and not by check mode.
    seen.root(host, f"cp -r {FOLDER} /root/records && sync")
    for options in (["--check", "--diff", STOP], [STOP]):
        status, output = seen.run_playbook(*ABSENT, *options)
        assert status == 0, output
    assert "stop containers web of namespace default" in output


def test_nothing_is_left_of_the_pool(host):
    assert json.loads(seen.root(host, "vgs --reportformat json"))["report"] == [{"vg": []}]
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert POOL not in seen.root(host, "dmsetup ls")
    assert seen.root(host, "cat /etc/containerd/config.toml") == PACKAGED
    assert seen.root(host, f"ls {FOLDER}") == ""
    with host.sudo():
        assert not host.file(f"/etc/lvm/profile/{POOL}.profile").exists
        assert not host.file("/etc/systemd/system/containerd.service.d/thin-pool-containerd-thinpool.conf").exists
    assert host.service("containerd").is_running
    assert state(host) in ("skip", "error")  # containerd 1.6 calls one that is not configured an error
    assert seen.root(host, "ctr containers ls --quiet") == ""


def test_a_second_reset_finds_nothing_to_do(host):
    status, output = seen.run_playbook(*ABSENT)
    assert status == 0, output
    assert "changed=0" in output


def test_the_modules_examples_run_as_they_stand(host, tmp_path):
    module = Path(__file__).resolve().parents[3] / "plugins" / "modules" / "containerd_devmapper.py"
    (text,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXAMPLES"
    )
    restart = {"name": "Restart containerd", "ansible.builtin.systemd_service": {"name": "containerd"}}
    restart["ansible.builtin.systemd_service"]["state"] = "restarted"
    play = {"hosts": "all", "become": True, "gather_facts": False, "handlers": [restart]}
    give, kata, take = yaml.safe_load(text)
    knows_handlers = not seen.root(host, "containerd --version").split()[2].startswith("1.6")
    for number, (task, changed, pool, handler) in enumerate(
        ((give, 2, True, False), (kata, 2, True, True), (take, 1, False, False))
    ):
        path = tmp_path / f"{number}.yml"
        path.write_text(json.dumps([{**play, "tasks": [task]}]))
        status, output = seen.run_playbook(str(path))
        if task is kata and not knows_handlers:
            assert status != 0
            assert "has one snapshotter for all handlers of Kubernetes" in output
            continue
        assert (status, output.count("changed: [")) == (0, changed), output
        dumped = seen.root(host, "containerd config dump").replace("'", '"')  # of 2.x
        assert (f'pool_name = "{POOL}"' in dumped, "runtimes.kata-fc]" in dumped) == (pool, handler)
    assert seen.root(host, "cat /etc/containerd/config.toml") == PACKAGED


def test_a_new_pool_beside_old_records_is_refused(host):
    seen.root(host, f"cp /root/records/*.db {FOLDER}/")
    status, output = seen.run_playbook(*ROLE)
    assert status != 0
    assert f"{FOLDER} holds the records of another pool" in output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    seen.root(host, f"rm {FOLDER}/*.db")


def test_a_pool_is_made_again_and_works(host):
    status, output = seen.run_playbook(*ROLE)
    assert status == 0, output
    assert state(host) == "ok"
    assert run(host, "again", "echo it runs again").splitlines()[-1] == "it runs again"
