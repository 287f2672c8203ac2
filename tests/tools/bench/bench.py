# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the playbook direct_lvm beside the manual's commands and the usual role, and write docs/performance.md.

Three parts: "peers" on one guest, "chunks" for how fast the pool itself is, "fleet" on two guests and on many hosts
that are stand-ins. What was measured is kept in dist/bench; with a part named, that one is measured anew.

Usage: bench.py [PART], with the environment that tests/tools/guests.py describes
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import report  # noqa: E402
from environments import environment  # noqa: E402
from workshop import ROOT, give_up, say  # noqa: E402

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GUEST = [sys.executable, str(ROOT / "molecule" / "shared" / "guest.py")]
ONE, OTHER = "bench", "bench-other"
DISKS = ("/dev/disk/by-id/virtio-data1", "/dev/disk/by-id/virtio-data2")
FLEET = (1, 10, 50, 200)
FORKS = 20

# The packages are there beforehand: fetching and unpacking them would drown every difference.
PREPARE = """
export DEBIAN_FRONTEND=noninteractive
apt-get install -y lvm2 thin-provisioning-tools dmeventd e2fsprogs apparmor docker.io >/dev/null 2>&1
printf '#!/bin/sh\\nmkdir -p /run/answers && /usr/bin/python3 "$@" | tee /run/answers/$(ls /run/answers | wc -l)\\n' \
    > /usr/local/bin/recording-python3
chmod 755 /usr/local/bin/recording-python3
"""
# Docker's manual, "Configure direct-lvm mode manually", as one types it, with sizes that leave room for an extension.
MANUAL = """
set -e
systemctl stop docker.socket docker.service
pvcreate /dev/disk/by-id/virtio-data1
vgcreate docker /dev/disk/by-id/virtio-data1
lvcreate --wipesignatures y -n thinpool docker -l 80%VG
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
MANUAL_DISK = """
set -e
pvcreate /dev/disk/by-id/virtio-data2
vgextend docker /dev/disk/by-id/virtio-data2
lvextend -l 80%VG docker/thinpool
"""
# Back to blank disks and a Docker that never ran, so that the next measurement begins where the last one did.
BLANK = """
systemctl stop docker.socket docker.service
for device in $(dmsetup ls --target thin | cut -f 1); do test "$device" = No || dmsetup remove --retry "$device"; done
if vgs docker >/dev/null 2>&1; then lvremove -y docker/thinpool; vgremove docker; fi
for disk in /dev/disk/by-id/virtio-data1 /dev/disk/by-id/virtio-data2; do
    if pvs $disk >/dev/null 2>&1; then pvremove $disk; fi
done
rm -rf /var/lib/docker /etc/docker /etc/lvm/profile/docker-thinpool.profile
find /etc/systemd/system/docker.service.d -type f ! -name without-netfilter.conf -delete
systemctl daemon-reload
systemctl start docker.service; systemctl stop docker.socket docker.service; rm -rf /var/lib/docker
systemctl start docker.socket
"""
# What the guest's kernel has counted since it booted, a name and numbers a line: the ticks that its processor worked,
# processes started, calls of modules (each begins with the sudo that `become` is), bytes in and out.
COUNTED = """
awk '$1 == "cpu" { print "ticks", $2, $3, $4, $7, $8 } $1 == "processes" { print }' /proc/stat
echo modules $(sudo journalctl --boot --output=cat _COMM=sudo | grep --count 'COMMAND=.*BECOME-SUCCESS')
echo bytes $(cat /sys/class/net/[ev]*/statistics/[rt]x_bytes)
getconf CLK_TCK
"""


def guest(*words: str) -> str:
    return subprocess.run([*GUEST, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def ssh(script: str, *command: str, name: str = ONE) -> str:
    """Run a script on the guest as root, and return what it printed."""
    words = [*GUEST, "ssh", name, "sudo", *(command or ("bash", "-s"))]
    done = subprocess.run(words, check=False, input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        give_up(f"on the guest, status {done.returncode}:\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def guests(*names: str) -> Iterator[Path]:
    """Lend guests with two blank disks each, and their inventory."""
    subprocess.run([*GUEST, "down", *names], check=True)
    for name in names:
        guest("up", name, "--release", "bookworm", "--prepared", "docker", "--disk", "data1:10G", "--disk", "data2:10G")
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "guests.json")
        inventory.write_text(guest("inventory", *names))
        yield inventory
    subprocess.run([*GUEST, "down", *names], check=True)


def playbook(which: str, inventory: Path, disks: tuple[str, ...] = DISKS[:1], **given: object) -> Callable[[], str]:
    """Return what runs one of the two playbooks with disks and other variables; that returns what Ansible printed."""
    name, devices = {
        "ours": ("devicemapper.containers.direct_lvm", "direct_lvm_devices"),
        "peer": (str(HERE / "peer.yml"), "devices"),
    }[which]
    given[devices] = disks
    if which == "ours":
        given["direct_lvm_docker_packages"] = ["docker.io"]
    command = ["ansible-playbook", name, "-i", str(inventory), "--extra-vars", json.dumps(given)]
    # The same ansible-core and the same settings for both.
    collections = f"{os.environ['ANSIBLE_COLLECTIONS_PATH']}:{peers()}"
    settings = {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_FORKS": str(FORKS)}
    settings["ANSIBLE_CONNECTION_PLUGINS"] = str(HERE / "connection_plugins")

    def run() -> str:
        done = subprocess.run(
            command,
            check=False,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            give_up(f"{' '.join(command)}:\n{done.stdout}")
        return done.stdout

    return run


def peers() -> Path:
    return next((environment("peers") / "lib").glob("python3.*/site-packages"))


def versions() -> dict[str, str]:
    """Return what was measured with, by name."""
    manifest = json.loads((peers() / "ansible_collections/community/general/MANIFEST.json").read_text())
    asked = subprocess.run(["ansible", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    (core,) = re.findall(r"^ansible \[core (\S+)\]", asked)
    return {"ansible-core": core, "community.general": manifest["collection_info"]["version"]}


def see(expected: str, run: Callable[[], str]) -> Callable[[], str]:
    """Return what runs a playbook and gives up if its recap is not that every host changed, or that none did."""

    def seen() -> str:
        output = run()
        recap = re.findall(r"(?m)^\S+ +: ok=\d+ +changed=(\d+)", output)
        if not recap or any((number == "0") != (expected == "converged") for number in recap):
            give_up(f"this was to be a run that is {expected}:\n{output}")
        return output

    return seen


def measured(work: Callable[[], object]) -> report.Cost:
    before, start = counted(), time.monotonic()
    work()
    seconds, after = time.monotonic() - start, counted()
    ticks, processes, modules, sent = (
        after[name] - before[name] for name in ("ticks", "processes", "modules", "bytes")
    )
    return report.Cost(seconds, ticks / after["per second"], modules, processes, sent)


def counted() -> dict[str, int]:
    """Return what the guest has counted so far, by name."""
    *lines, ticks = guest("ssh", ONE, COUNTED).splitlines()
    sums = {name: sum(map(int, numbers)) for name, *numbers in map(str.split, lines)}
    return {**sums, "per second": int(ticks)}


def middle(costs: list[report.Cost]) -> report.Cost:
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def measure_peers() -> report.Peers:
    """Return way -> run -> cost, each the middle one of the rounds."""
    costs: dict[tuple[str, str], list[report.Cost]] = {}
    with guests(ONE) as inventory:
        ssh(PREPARE)
        nothing = measured(lambda: None)

        def note(way: str, run: str, cost: report.Cost) -> None:
            costs.setdefault((way, run), []).append(cost.less(nothing))
            say(f"{way}, {run}: {costs[way, run][-1]}")

        for _round in range(report.ROUNDS):
            ssh(BLANK)
            note("manual", "first", measured(lambda: ssh(MANUAL)))
            note("manual", "disk", measured(lambda: ssh(MANUAL_DISK)))
            for way in ("peer", "ours"):
                ssh(BLANK)
                play, grown = playbook(way, inventory), playbook(way, inventory, disks=DISKS)
                note(way, "first", measured(see("changed", play)))
                note(way, "converged", measured(see("converged", play)))
                note(way, "disk", measured(see("changed", grown)))
    found: report.Peers = {}
    for (way, run), several in costs.items():
        found.setdefault(way, {})[run] = middle(several)
    return found


def processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(run: Callable[[], str]) -> report.Spent:
    """Return wall time and the controller's processor time, in seconds, of a run that is converged."""
    wall, processor = time.monotonic(), processor_time()
    see("converged", run)()
    return report.Spent(time.monotonic() - wall, processor_time() - processor)


def measure_fleet() -> report.Fleet:
    """Return way -> number of hosts -> time spent; "2 guests" are real, the others answer as a real one did."""
    found: report.Fleet = {}
    with guests(ONE, OTHER) as inventory, tempfile.TemporaryDirectory() as folder:
        for name in (ONE, OTHER):
            ssh(PREPARE, name=name)
        for way in ("peer", "ours"):
            for name in (ONE, OTHER):
                ssh(BLANK, name=name)
            see("changed", playbook(way, inventory))()
            found[way] = {"2 guests": timed(playbook(way, inventory))}
            one = Path(folder, "one.json")
            one.write_text(guest("inventory", ONE))
            see("converged", playbook(way, one, ansible_python_interpreter="/usr/local/bin/recording-python3"))()
            answers = Path(folder, way)
            answers.mkdir()
            for number in range(int(ssh("ls /run/answers | wc -l"))):
                (answers / str(number)).write_text(ssh(f"cat /run/answers/{number}"))
            ssh("rm -r /run/answers")
            for count in FLEET:
                found[way][str(count)] = timed(playbook(way, stand_ins(Path(folder), answers, count)))
                say(f"{way}, {count} hosts: {found[way][str(count)]}")
    return found


def stand_ins(folder: Path, answers: Path, count: int) -> Path:
    """Return an inventory of so many hosts that give the recorded answers."""
    places = Path(tempfile.mkdtemp(dir=folder))
    shared = {"ansible_connection": "standin", "ansible_python_interpreter": "/usr/bin/python3"}
    shared.update(standin_answers=str(answers), standin_places=str(places))
    hosts = {f"node{number}": {} for number in range(count)}
    inventory = folder / f"{answers.name}-{count}.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    return inventory


def measure_chunks() -> report.Chunks:
    """Return pool and phase -> the figures of each round; "linear" is the volume to compare with."""
    with guests(ONE):
        ssh("DEBIAN_FRONTEND=noninteractive apt-get install -y lvm2 thin-provisioning-tools fio >/dev/null 2>&1")
        return json.loads(ssh((HERE / "chunks.py").read_text(), "python3", "-", DISKS[0], str(report.ROUNDS)))


PARTS = {
    "peers": (measure_peers, report.peers),
    "chunks": (measure_chunks, report.chunks),
    "fleet": (measure_fleet, report.fleet),
}


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        give_up(f"{unknown[0]} is not one of {', '.join(PARTS)}")
    sections = {part: ROOT / "dist" / "bench" / f"{part}.md" for part in PARTS}
    for part in wanted:
        measure, write = PARTS[part]
        sections[part].parent.mkdir(parents=True, exist_ok=True)
        sections[part].write_text(f"{write(measure())}\nMeasured on {time.strftime('%Y-%m-%d')}.\n")  # type: ignore[operator]
        print(sections[part].read_text(), flush=True)
    missing = [part for part, section in sections.items() if not section.exists()]
    if missing:
        say(f"docs/performance.md stays as it is: not measured yet: {', '.join(missing)}")
        return
    texts = [section.read_text() for section in sections.values()]
    page = ROOT / "docs" / "performance.md"
    page.write_text(report.page(texts, guest("accelerator").strip(), versions()))
    say(f"written to {page}")


if __name__ == "__main__":
    main()
