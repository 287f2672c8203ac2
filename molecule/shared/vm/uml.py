# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest on User-Mode Linux: a Linux kernel that is a process of this machine, for where KVM does not work.

The kernel, all its processes and the network device that leads to it live in namespaces of their own (unshare(1)):
nothing of this machine's network is touched, and the end of the first process ends all of them at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from vm.common import CACHE, GUESTS, GuestError, lock, run
from vm.guest import Guest, Machine
from vm.image import image, uml_kernel

INIT = Path(__file__).with_name("uml_init.py")
# The kernel has neither iptables' tables nor nftables' families, so Docker cannot set up a network; Debian's unit of
# Docker takes these. Nothing that is tested here is about networks.
WITHOUT_NETFILTER = "DOCKER_OPTS=--iptables=false --ip6tables=false --bridge=none"


def bind(listener: socket.socket, port: int) -> None:
    """Take the port, also if unshare(1) of a guest that was just cut off still has it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            listener.bind(("127.0.0.1", port))
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise GuestError(f"port {port} of 127.0.0.1: {error.strerror}") from error
            time.sleep(0.05)


def idle_processor() -> int:
    """Return the processor of this machine that the fewest guests run on."""
    used: list[int] = []
    for file in GUESTS.glob("*/pid"):
        pid = Guest(file.parent).pid
        with contextlib.suppress(ProcessLookupError):
            used += os.sched_getaffinity(pid) if pid else ()
    return min(sorted(os.sched_getaffinity(0)), key=used.count)


class UmlGuest(Guest):
    """A guest whose process is uml_init.py, the first one in the guest's namespaces."""

    @property
    def preparation(self) -> str:
        """Let Docker start without netfilter."""
        folder = "/etc/systemd/system/docker.service.d"
        unit = f"printf '[Service]\\nEnvironment=\"{WITHOUT_NETFILTER}\"\\n' > {folder}/without-netfilter.conf"
        return f"mkdir -p {folder}; {unit}; systemctl daemon-reload"

    def make_disks(self, machine: Machine) -> None:
        """Put a copy of the image and the blank disks into the folder; with a copy-on-write file a boot takes twice."""
        base = image(machine.release, machine.prepared) / "root.img"
        run(["cp", "--sparse=always", "--reflink=auto", base, self.folder / "root.img"])
        for disk in machine.disks:
            run(["truncate", "--size", disk.size, self.folder / f"{disk.serial}.img"])

    def launch(self, machine: Machine, port: int) -> int:
        """Start the first process of the guest's namespaces, which starts the kernel, on one processor.

        The kernel and the process that it runs take turns. On two processors each turn wakes the other one up: 300
        processes take 3.6 s there, and 1.5 s on one.
        """
        with socket.socket() as listener, lock(CACHE / "processor.lock"), open(
            self.folder / "console.log", "ab"
        ) as log:
            # A socket belongs to the namespace that it was made in, so this one leads into the guest's from here.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind(listener, port)
            listener.listen(64)
            port, number = listener.getsockname()[1], listener.fileno()
            command = ["taskset", "--cpu-list", str(idle_processor()), "unshare", "--net", "--mount", "--pid", "--fork"]
            command += ["--kill-child", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
            command += [sys.executable, str(INIT), str(self.folder / "pid"), str(uml_kernel()), str(number)]
            command += [str(machine.memory), *(disk.serial for disk in machine.disks)]
            started = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(number,),
                start_new_session=True,
            )
            while not self.pid:
                if started.poll() is not None:
                    said = (self.folder / "console.log").read_text(errors="replace")[-2000:]
                    raise GuestError(f"guest {self.name} did not start:\n{said}")
                time.sleep(0.05)
        return port
