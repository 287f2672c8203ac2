# Copyright (c) 2026, The devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the playbook direct_lvm beside the manual's commands, on one guest in one run.

The packages are there beforehand, since fetching and unpacking them would drown every difference. Processes are counted
by the kernel's process events (forkstat), module calls by the sudo that begins each of them. Called by make bench with
the environment that tests/tools/guests.py describes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GUEST = [sys.executable, str(Path(__file__).resolve().parents[2] / "molecule" / "shared" / "guest.py")]
NAME = "bench"
VARIABLES = {"direct_lvm_devices": ["/dev/disk/by-id/virtio-data1"], "direct_lvm_docker_packages": ["docker.io"]}

PREPARE = """
export DEBIAN_FRONTEND=noninteractive
apt-get install -y lvm2 thin-provisioning-tools dmeventd e2fsprogs apparmor docker.io >/dev/null 2>&1
"""
# Docker's manual, "Configure direct-lvm mode manually", as one types it.
MANUAL = """
set -e
systemctl stop docker.socket docker.service
pvcreate /dev/disk/by-id/virtio-data1
vgcreate docker /dev/disk/by-id/virtio-data1
lvcreate --wipesignatures y -n thinpool docker -l 95%VG
lvcreate --wipesignatures y -n thinpoolmeta docker -l 1%VG
lvconvert -y --zero n -c 512K --thinpool docker/thinpool --poolmetadata docker/thinpoolmeta
printf 'activation {\\n  thin_pool_autoextend_threshold=80\\n  thin_pool_autoextend_percent=20\\n}\\n' \
    > /etc/lvm/profile/docker-thinpool.profile
lvchange --metadataprofile docker-thinpool docker/thinpool
lvs -o+seg_monitor
mkdir -p /etc/docker
printf '{"storage-driver": "devicemapper", "storage-opts": ["dm.thinpooldev=/dev/mapper/docker-thinpool"]}\\n' \
    > /etc/docker/daemon.json
systemctl start docker.service
docker info
"""
# Back to blank disks and a Docker that never ran, so that the next measurement begins where the last one did.
BLANK = """
systemctl stop docker.socket docker.service
for device in $(dmsetup ls --target thin | cut -f 1); do test "$device" = No || dmsetup remove "$device"; done
if vgs docker >/dev/null 2>&1; then lvremove -y docker/thinpool; vgremove docker; fi
if pvs /dev/disk/by-id/virtio-data1 >/dev/null 2>&1; then pvremove /dev/disk/by-id/virtio-data1; fi
rm -rf /var/lib/docker /etc/docker /etc/lvm/profile/docker-thinpool.profile
systemctl start docker.service; systemctl stop docker.socket docker.service; rm -rf /var/lib/docker
systemctl start docker.socket
"""
COUNTER = (
    "sudo systemd-run --quiet --collect --unit=bench-count --property=StandardOutput=truncate:/run/bench-count "
    "forkstat -e exec -l"
)


def ssh(script: str) -> None:
    command = [*GUEST, "ssh", NAME, "sudo", "bash", "-s"]
    done = subprocess.run(
        command, check=False, input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"error: on the guest, status {done.returncode}:\n{done.stdout}")


def guest(*words: str) -> str:
    return subprocess.run([*GUEST, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def measured(what: str, work) -> None:
    """Print a row: wall time, module calls and processes started on the guest while ``work`` runs."""
    guest("ssh", NAME, f"{COUNTER} && sleep 2")
    start = time.monotonic()
    work()
    seconds = time.monotonic() - start
    guest("ssh", NAME, "sudo systemctl stop bench-count")
    started = re.findall(r"(?m)^\S+ +exec +\d+ +(.*)$", guest("ssh", NAME, "sudo cat /run/bench-count"))
    modules = sum("BECOME-SUCCESS" in process and process.startswith("sudo") for process in started)
    print(f"{what:<42} {seconds:>7.1f} s {modules:>8} {len(started):>11}", flush=True)


def main() -> None:
    subprocess.run([*GUEST, "down", NAME], check=True)
    guest("up", NAME, "--release", "bookworm", "--disk", "data1:10G", "--disk", "data2:10G")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as inventory:
        inventory.write(guest("inventory", NAME))
        inventory.flush()
        playbook = ["ansible-playbook", "devicemapper.containers.direct_lvm", "-i", inventory.name]
        playbook += ["--extra-vars", json.dumps(VARIABLES)]

        def role() -> None:
            done = subprocess.run(playbook, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit(f"error: the playbook failed:\n{done.stdout}")

        ssh(PREPARE + BLANK)
        print(f"{'one guest, one run; packages there before':<42} {'wall':>9} {'modules':>8} {'processes':>11}")
        measured("the manual's commands, one ssh connection", lambda: ssh(MANUAL))
        ssh(BLANK)
        measured("direct_lvm, first run", role)
        measured("direct_lvm, converged run", role)
    subprocess.run([*GUEST, "down", NAME], check=True)


if __name__ == "__main__":
    main()
