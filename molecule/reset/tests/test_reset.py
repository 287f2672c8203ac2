# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking apart what the other tests used: refused while a container runs, then a blank disk, and everything again."""

from __future__ import annotations

import json

import seen

DISK = "/dev/disk/by-id/virtio-data1"
ROLE = ("devicemapper.containers.direct_lvm", "--extra-vars=" + json.dumps({"direct_lvm_devices": [DISK]}))
STOP = "--extra-vars=direct_lvm_stop_containers=true"


def test_reset_is_refused_while_a_container_runs(host):
    seen.root(host, "docker volume create kept && echo here > /var/lib/docker/volumes/kept/_data/file")
    seen.root(host, f"{seen.IMPORT_IMAGE}; docker run -d --name web --network none busybox /bin/busybox sleep 100000")
    sequence = seen.root(host, "vgs --noheadings -o vg_seqno docker")
    status, output = seen.run_playbook("shared/reset.yml")
    assert status != 0
    assert "containers run on docker/thinpool: web. Stop them, or set stop_containers: true" in output
    assert seen.root(host, "vgs --noheadings -o vg_seqno docker") == sequence
    assert seen.root(host, "docker ps --format '{{.Names}}'") == "web\n"


def test_reset_does_what_check_mode_foretells(host):
    for options in (["--check", "--diff", STOP], [STOP]):
        status, output = seen.run_playbook("shared/reset.yml", *options)
        assert status == 0, output
    assert "stop containers web" in output


def test_nothing_is_left_of_the_pool(host):
    assert json.loads(seen.root(host, "vgs --reportformat json"))["report"] == [{"vg": []}]
    assert json.loads(seen.root(host, "pvs --all --reportformat json -o pv_name -S pv_uuid!=''"))["report"] == [
        {"pv": []}
    ]
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert "thinpool" not in seen.root(host, "dmsetup ls")
    with host.sudo():
        assert not host.file("/etc/lvm/profile/docker-thinpool.profile").exists
        assert not host.file("/etc/docker/daemon.json").exists
        assert not host.file("/var/lib/docker/devicemapper").exists
        assert not host.file("/var/lib/docker/image/devicemapper").exists
        assert host.file("/var/lib/docker/containers").listdir() == []
    assert not host.service("docker").is_running


def test_a_second_reset_finds_nothing_to_do(host):
    status, output = seen.run_playbook("shared/reset.yml")
    assert status == 0, output
    assert "changed=0" in output


def test_two_runs_at_once_end_as_one_would(host):
    runs = [seen.start_playbook(*ROLE) for _run in range(2)]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
    status, output = seen.run_playbook(*ROLE)
    assert status == 0, output
    assert "changed=0" in output
    assert set(seen.volumes(host)) == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"}
    assert seen.pool_extents(host) == (2047, 25)
    seen.assert_pool_is_kept_alive(host)
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert seen.run_container(host, "echo it runs once more") == "it runs once more\n"


def test_volumes_were_not_touched(host):
    assert seen.root(host, "cat /var/lib/docker/volumes/kept/_data/file") == "here\n"
    assert seen.root(host, "docker volume ls --quiet") == "kept\n"
