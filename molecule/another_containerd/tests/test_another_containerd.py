# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A containerd that others bring along is on the pool, and what they generate is left to them."""

from __future__ import annotations

import json

import seen

POOL = "containerd-thinpool"
DISK = "/dev/disk/by-id/virtio-data1"
FOLDER = "/var/lib/rancher/k3s/agent"
DROP_IN = f"{FOLDER}/etc/containerd/config-v3.toml.d/thin-pool.toml"
CTR = "/var/lib/rancher/k3s/data/current/bin/ctr --address /run/k3s/containerd/containerd.sock"
VARIABLES = {
    "containerd_devmapper_devices": [DISK],
    "containerd_devmapper_preset": "k3s",
    "containerd_devmapper_runtimes": [{"name": "kata-fc", "runtime_type": "io.containerd.kata-fc.v2"}],
}
ROLE = ("devicemapper.containers.containerd_devmapper", "--extra-vars=" + json.dumps(VARIABLES))


def states(host) -> dict[str, str]:
    rows = [line.split() for line in seen.root(host, f"{CTR} plugins ls").splitlines()[1:]]
    return {f"{row[0]}.{row[1]}": row[-1] for row in rows}


def test_every_plugin_works_and_the_snapshotter_with_them(host):
    found = states(host)
    assert [name for name, state in found.items() if state == "error"] == []
    assert found["io.containerd.snapshotter.v1.devmapper"] == "ok"
    assert seen.root(host, f"ls {FOLDER}/containerd/io.containerd.snapshotter.v1.devmapper/{POOL}.db")


def test_what_is_generated_was_not_written_to(host):
    text = seen.root(host, f"cat {FOLDER}/etc/containerd/config.toml")
    assert "devmapper" not in text
    assert f'pool_name = "{POOL}"' in seen.root(host, f"cat {DROP_IN}")


def test_an_image_is_imported_onto_the_pool(host):
    script = seen.IMPORT_ARCHIVE.replace("ctr images", f"{CTR} images").replace("import --no-unpack", "import")
    seen.root(host, script.replace("images import", "images import --snapshotter devmapper"))
    assert len(seen.root(host, f"{CTR} snapshots --snapshotter devmapper ls").splitlines()) == 2


def test_a_new_pool_for_virtual_machines_is_zeroed(host):
    assert seen.volumes(host)["thinpool"]["zero"] == "zero"


def test_a_reboot_brings_the_pool_back_before_it(host):
    seen.reboot(host)
    seen.wait_until(60, lambda: "snapshotter.v1" in seen.root(host, f"{CTR} plugins ls || true"), "it answers")
    assert states(host)["io.containerd.snapshotter.v1.devmapper"] == "ok"
    status, output = seen.run_playbook(*ROLE)
    assert (status, "changed=0" in output) == (0, True), output


def test_verify_takes_containerds_pool(host):
    engine = "--extra-vars=thin_pool_engine=containerd"
    status, output = seen.run_playbook("devicemapper.containers.verify", ROLE[1], engine)
    assert status == 0, output
    assert "OK        role: nothing is left to do" in output


def test_it_is_taken_apart_and_goes_on(host):
    absent = "--extra-vars=containerd_devmapper_state=absent"
    for options in (["--check", "--diff"], []):
        status, output = seen.run_playbook("shared/containerd_devmapper.yml", ROLE[1], absent, *options)
        assert status == 0, output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert not host.file(DROP_IN).exists
    assert [name for name, state in states(host).items() if state == "error"] == []
