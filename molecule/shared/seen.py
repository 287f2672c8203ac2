# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests ask a guest: LVM, the kernel, the journal and the running Docker, never a file that we wrote."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import time
from pathlib import Path

import preloaded

DOCS = Path(__file__).resolve().parents[2] / "docs"
MIB = 1024 * 1024
# What Ansible prints is read here, so lines must be whole.
PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}

# One file system image of a single static program: no registry is needed.
IMPORT_IMAGE = (
    "docker image inspect busybox >/dev/null 2>&1 || { d=$(mktemp -d) && mkdir $d/bin && cp /bin/busybox $d/bin/ && "
    "ln -s busybox $d/bin/sh && tar -C $d -c . | docker import - busybox; }"
)


# The same for ctr, as docker save would write it (github.com/moby/docker-image-spec): one layer, its configuration, and
# a manifest that names both.
IMPORT_ARCHIVE = """
set -e
ctr images ls --quiet | grep -q busybox || {
  d=$(mktemp -d) && mkdir -p $d/root/bin && cp /bin/busybox $d/root/bin/ && ln -s busybox $d/root/bin/sh
  tar -C $d/root -cf $d/layer.tar .
  sum=$(sha256sum $d/layer.tar | cut -d ' ' -f 1)
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers",
    "diff_ids":["sha256:%s"]}}' $sum > $d/config.json
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' example.org/busybox:latest \\
    > $d/manifest.json
  tar -C $d -cf $d/image.tar manifest.json config.json layer.tar
  ctr images import --no-unpack $d/image.tar
}
"""
CTR_RUN = "ctr run --snapshotter devmapper"
# What containerd leaves in the kernel when it stops; nothing, where it had collected its garbage before.
REMOVE_THIN_DEVICES = (
    "dmsetup ls --target thin | awk '/[(]/ { print $1 }' | xargs --no-run-if-empty --max-args 1 dmsetup remove --retry"
)
BUSYBOX = "example.org/busybox:latest"


def root(host, command: str) -> str:
    """Run a shell command as root and return its output; its own words are the failure when it fails."""
    with host.sudo():
        done = host.run(command)
    assert done.rc == 0, f"{command}: status {done.rc}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def blocks(page: str, part: str) -> list[str]:
    """Return the commands that a page shows for a part, block by block."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"<!-- run: {re.escape(part)} -->\n```console\n(.*?)```", text, re.DOTALL)
    assert found, part
    return found


def follow(host, page: str, part: str, *, fails: bool = False) -> str:
    """Run the commands that a page shows for a part, one after the other in one shell, as a reader would.

    Those with a prompt are root's, on the host; the others are typed on this machine, in the reader's folder.
    """
    script = "".join(blocks(page, part))
    lines = script.splitlines()
    if any(line.startswith("# ") for line in lines):
        assert all(line.startswith("# ") for line in lines), lines
        return root(host, "\n".join(["set -eux", *(line[2:] for line in lines)]))
    done = subprocess.run(
        ["sh", "-eux", "-c", script],
        check=False,
        cwd=reader(),
        env={**os.environ, **PLAIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def reader() -> Path:
    """Return the folder on this machine in which a reader has the inventory, and types."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "reader"
    folder.mkdir(exist_ok=True)
    return folder


def copy_to(path: Path, to: str) -> None:
    """Copy a file of this machine to the scenario's guest."""
    folder = os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]
    command = ["ansible", "all", f"--inventory={folder}/inventory", "--become", "--module-name=ansible.builtin.copy"]
    variables = {**os.environ, **PLAIN}
    subprocess.run([*command, f"--args=src={path} dest={to} mode=0600"], check=True, env=variables)


def volumes(host) -> dict[str, dict[str, str]]:
    """Return LVM's report of every volume, the hidden ones too, by name."""
    fields = "lv_name,lv_attr,lv_size,segtype,chunk_size,zero,lv_profile,seg_monitor,data_percent,vg_free_count"
    report = json.loads(root(host, f"lvs --all --units b --nosuffix --reportformat json -o {fields}"))["report"]
    return {row["lv_name"].strip("[]"): row for element in report for row in element["lv"]}


def low_water_mark(host, pool: str = "docker-thinpool") -> int:
    """Return the mark in the table that the kernel runs."""
    table = root(host, f"dmsetup table {pool}").split()
    assert table[2] == "thin-pool", table
    return int(table[6])


def docker_info(host) -> dict:
    """Return what the running daemon says of itself, with its storage lines as a dictionary."""
    info = json.loads(root(host, "docker info --format '{{json .}}'"))
    info["storage"] = dict(info["DriverStatus"])
    return info


def run_container(host, command: str) -> str:
    root(host, IMPORT_IMAGE)
    return root(host, f"docker run --rm --network none busybox /bin/busybox {command}")


def stop_docker(host) -> None:
    """Stop the containers, then Docker: on a busy machine it gives up on them, and cannot start those again (seen)."""
    root(host, "docker ps --quiet | xargs --no-run-if-empty docker stop --time 1")
    root(host, "systemctl stop docker.socket docker.service")


def fill(host, mebibytes: int, container: str) -> None:
    """Let a container write so much, and leave it there."""
    root(host, IMPORT_IMAGE)
    write = f"dd if=/dev/zero of=/filled bs=4M count={math.ceil(mebibytes / 4)} conv=fsync"
    script = f"{write} && echo kept > /kept"
    root(host, f"docker run --name {container} --network none busybox /bin/sh -c '{script}'")


def is_kept(host, container: str) -> bool:
    """Whether what the container wrote is still there."""
    return root(host, f"docker cp {container}:/kept - | tar -xO") == "kept\n"


def kept_in_snapshot(host, container: str) -> str:
    """Return what a container of containerd's wrote, read from its snapshot."""
    # Not as the command prints it, which has an option without a value where there are none.
    mounts = f"ctr snapshots --snapshotter devmapper mounts /mnt {container} | grep --only-matching '/dev/mapper/[^ ]*'"
    return root(host, f"mount $({mounts}) /mnt && cat /mnt/kept && umount /mnt")


def wait_until(seconds: float, look, what: str):
    """Return what ``look`` finds once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(2)


def module_words(module: str, *flags: str, **options) -> list[str]:
    """Return the command that runs a module of the collection on the scenario's guest."""
    folder = os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]
    command = ["ansible", "all", f"--inventory={folder}/inventory", "--become", *flags]
    command.append(f"--module-name=devicemapper.containers.{module}")
    return [*command, f"--args={json.dumps(options)}"] if options else command


def start_module(module: str, *flags: str, **options) -> subprocess.Popen[str]:
    """Start a module of the collection on the scenario's guest."""
    words = module_words(module, *flags, **options)
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **PLAIN})


def run_module(module: str, *flags: str, **options) -> dict:
    """Run a module of the collection on the scenario's guest, and return its result."""
    output = preloaded.run(module_words(module, *flags, **options), PLAIN, only_output=True)[1]
    return json.loads(output.partition("=>")[2])


def playbook_words(playbook: str, *options: str) -> list[str]:
    """Return the command that runs a playbook, by its path under molecule/ or its name in the collection."""
    folder = os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]
    if "/" in playbook:
        playbook = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), playbook)
    return ["ansible-playbook", f"--inventory={folder}/inventory", playbook, *options]


def start_playbook(playbook: str, *options: str) -> subprocess.Popen[str]:
    """Start a playbook against the scenario's guest."""
    return subprocess.Popen(
        playbook_words(playbook, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **PLAIN},
    )


def run_playbook(playbook: str, *options: str) -> tuple[int, str]:
    """Run a playbook to its end, and return its status and what it printed."""
    return preloaded.run(playbook_words(playbook, *options), PLAIN)


def journal(host, since: str) -> str:
    return root(host, f"journalctl --no-pager --output=cat --since '{since}' _COMM=dmeventd")


def now(host) -> str:
    return root(host, "date '+%Y-%m-%d %H:%M:%S'").strip()


def reboot(host) -> None:
    """Reboot the guest and wait until it answers again."""
    boot = root(host, "cat /proc/sys/kernel/random/boot_id")
    # Detached, so that the answer comes before the network goes.
    root(host, "systemd-run --on-active=1 systemctl reboot")

    def answer(command: str) -> str:
        try:
            return host.run(command).stdout.strip()
        except RuntimeError:  # testinfra's word for an ssh that found nobody
            return ""

    wait_until(
        900, lambda: answer("cat /proc/sys/kernel/random/boot_id") not in ("", boot.strip()), "the guest is back"
    )
    wait_until(300, lambda: answer("systemctl is-system-running") in ("running", "degraded"), "its boot has ended")


def pool_extents(host) -> tuple[int, int]:
    """Return the extents of the pool's data and metadata."""
    found = volumes(host)
    return int(found["thinpool_tdata"]["lv_size"]) // (4 * MIB), int(found["thinpool_tmeta"]["lv_size"]) // (4 * MIB)


def assert_pool_is_kept_alive(host, name: str = "docker-thinpool") -> None:
    """See the pool active, with its profile, monitored, and armed for the size that it has."""
    pool = volumes(host)["thinpool"]
    assert re.match(r"twi-a", pool["lv_attr"]), pool
    assert pool["lv_profile"] == name
    assert pool["seg_monitor"] == "monitored"
    chunks = int(pool["lv_size"]) // int(pool["chunk_size"])
    assert low_water_mark(host, name) == chunks * 20 // 100
