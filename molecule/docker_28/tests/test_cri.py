# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images reach the pool by every way that containerd 2.x has: ctr, CRI, Docker; and overlayfs goes on working."""

from __future__ import annotations

import base64
import json
import re

import pytest
import seen

POOL = "containerd-thinpool"
DISK = "/dev/disk/by-id/virtio-data1"
CONFIG = "/etc/containerd/config.toml"
VARIABLES = {
    "containerd_devmapper_devices": [DISK],
    "containerd_devmapper_docker": True,
    "containerd_devmapper_runtimes": [{"name": "pool", "runtime_type": "io.containerd.runc.v2"}],
}
ROLE = ("devicemapper.containers.containerd_devmapper", "--extra-vars=" + json.dumps(VARIABLES))
IMAGE = "localhost:5000/busybox"
PACKAGED = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""


BROKEN = """
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "gone"
"""


def states(host) -> dict[str, str]:
    """Return the state of every plugin of the running containerd, by its name in configurations."""
    rows = [line.split() for line in seen.root(host, "ctr plugins ls").splitlines()[1:]]
    return {f"{row[0]}.{row[1]}": row[-1] for row in rows}


def snapshots(host, snapshotter: str, namespace: str = "default") -> int:
    return len(
        seen.root(host, f"ctr --namespace {namespace} snapshots --snapshotter {snapshotter} ls").splitlines()[1:]
    )


def field(number: int, value: bytes) -> bytes:
    """Return a field of a message as protobuf spells it; all that are needed here are short texts and messages."""
    key = number << 3 | 2
    return bytes([key] if key < 128 else [key & 127 | 128, key >> 7]) + bytes([len(value)]) + value


def cri(host, method: str, message: bytes = b"") -> str:
    """Call a method of CRI on containerd's socket, and return the text in its answer; anything but success fails."""
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    command = (
        f"echo {base64.b64encode(frame).decode()} | base64 --decode | curl --silent --show-error --include "
        "--http2-prior-knowledge --unix-socket /run/containerd/containerd.sock "
        "--header 'content-type: application/grpc' --header 'te: trailers' --data-binary @- --output - "
        f"http://localhost/runtime.v1.{method} | tr -d '\\000'"
    )
    answer = seen.root(host, command)
    # The trailer follows the message at once.
    assert re.search(r"grpc-status: 0\r?\n", answer), answer
    return answer


def pull(host, image: str, handler: str = "") -> None:
    """Have CRI pull an image; for a handler by the annotation of a pod, which is what containerd 2.1 goes by."""
    annotation = field(1, b"io.containerd.cri.runtime-handler") + field(2, handler.encode())
    pod = field(3, field(7, annotation)) if handler else b""
    cri(host, "ImageService/PullImage", field(1, field(1, image.encode())) + pod)


@pytest.fixture(scope="module")
def registry(host) -> str:
    """Return an image in a registry on the guest, which is started for it."""
    seen.root(
        host,
        "systemctl is-active --quiet registry-of-the-tests || systemd-run --unit registry-of-the-tests "
        "docker-registry serve /etc/registry-of-the-tests.yml && "
        "until curl --silent --fail http://localhost:5000/v2/; do sleep 1; done",
    )
    seen.root(host, seen.IMPORT_ARCHIVE)
    for name in ("first", "second", "third"):
        seen.root(host, f"ctr images tag {seen.BUSYBOX} {IMAGE}:{name} && ctr images push --plain-http {IMAGE}:{name}")
        seen.root(host, f"ctr images rm {IMAGE}:{name}")
    return IMAGE


def test_every_plugin_works(host):
    found = states(host)
    assert [name for name, state in found.items() if state == "error"] == []
    for name in ("snapshotter.v1.devmapper", "snapshotter.v1.overlayfs", "transfer.v1.local", "grpc.v1.cri"):
        assert found[f"io.containerd.{name}"] == "ok", name


def test_an_image_is_imported_onto_the_pool_by_the_transfer_service(host):
    seen.root(host, seen.IMPORT_ARCHIVE.replace("--no-unpack", "--no-unpack --local"))
    before = snapshots(host, "devmapper")
    seen.root(host, "ctr images import --snapshotter devmapper $(ls -d /tmp/tmp.*/image.tar | head -n 1)")
    assert snapshots(host, "devmapper") > before
    command = f"{seen.CTR_RUN} --rm {seen.BUSYBOX} imported /bin/sh -c 'busybox mount | busybox grep \" / \"'"
    assert seen.root(host, command).startswith(f"/dev/mapper/{POOL}-snap-")


def test_an_image_is_pulled_onto_the_pool_and_onto_overlayfs_by_ctr(host, registry):
    for snapshotter in ("devmapper", "overlayfs"):
        name = f"{registry}:first"
        seen.root(host, f"ctr --namespace {snapshotter} images pull --plain-http --snapshotter {snapshotter} {name}")
        assert snapshots(host, snapshotter, snapshotter) == 1
    # overlayfs is what it takes where none is named.
    seen.root(host, f"ctr --namespace unnamed images pull --plain-http {registry}:first")
    assert (snapshots(host, "overlayfs", "unnamed"), snapshots(host, "devmapper", "unnamed")) == (1, 0)


def test_cri_answers_and_pulls_for_the_handler_onto_the_pool(host, registry):
    assert "containerd" in cri(host, "RuntimeService/Version")
    before = snapshots(host, "devmapper", "k8s.io")
    pull(host, f"{registry}:second")
    assert (snapshots(host, "overlayfs", "k8s.io"), snapshots(host, "devmapper", "k8s.io")) == (1, before)
    pull(host, f"{registry}:third", "pool")
    assert snapshots(host, "devmapper", "k8s.io") == before + 1


def test_the_handler_stands_beside_containerds_own(host):
    dumped = seen.root(host, "containerd config dump")
    assert set(re.findall(r"(?m)containerd\.runtimes\.(\w+)\]", dumped)) == {"pool", "runc"}


def test_docker_is_on_the_pool(host):
    info = seen.docker_info(host)
    assert (info["Driver"], info["storage"]) == ("devmapper", {"driver-type": "io.containerd.snapshotter.v1"})
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_where_a_plugin_would_not_work_any_more_the_file_is_put_back(host):
    # CRI takes this file and does not start with it, and config dump has no word about it.
    before = seen.root(host, f"cat {CONFIG}")
    seen.root(host, f"cat >> {CONFIG} <<'END'\n{BROKEN}END")
    changed = seen.root(host, f"cat {CONFIG}")
    assert changed != before
    try:
        # containerd still runs with the file from before, so CRI works.
        found = seen.run_module(
            "containerd_devmapper", pool_name=POOL, base_image_size="20GB", discard_blocks=True, restart=True
        )
        assert "containerd does without io.containerd.cri.v1.runtime (" in found["msg"]
        assert seen.root(host, f"cat {CONFIG}") == changed
    finally:
        seen.root(host, f"cat > {CONFIG} <<'END'\n{before}END\nsystemctl restart containerd docker")
    assert states(host)["io.containerd.grpc.v1.cri"] == "ok"
    assert "containerd" in cri(host, "RuntimeService/Version")


def test_reboot_brings_it_all_back(host):
    seen.reboot(host)
    assert [name for name, state in states(host).items() if state == "error"] == []
    assert "containerd" in cri(host, "RuntimeService/Version")
    assert seen.run_container(host, "echo it runs again") == "it runs again\n"
    assert snapshots(host, "devmapper", "k8s.io") > 0
    status, output = seen.run_playbook(*ROLE)
    assert (status, "changed=0" in output) == (0, True), output


def test_reset_gives_back_what_was_there(host):
    absent = (
        "--extra-vars=containerd_devmapper_state=absent",
        "--extra-vars=containerd_devmapper_stop_containers=true",
    )
    for options in (("--check", "--diff"), ()):
        status, output = seen.run_playbook("shared/containerd_devmapper.yml", ROLE[1], *absent, *options)
        assert status == 0, output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert seen.root(host, f"cat {CONFIG}") == PACKAGED
    assert [name for name, state in states(host).items() if state == "error"] == []
    assert "containerd" in cri(host, "RuntimeService/Version")
    assert snapshots(host, "overlayfs", "k8s.io") == 1
    # Without the handler, as the scenario docker_containerd has it, whose tests come next.
    without = "--extra-vars=" + json.dumps({**VARIABLES, "containerd_devmapper_runtimes": []})
    status, output = seen.run_playbook(ROLE[0], without)
    assert status == 0, output
