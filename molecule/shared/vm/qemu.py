# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest on qemu: the distribution's own kernel and initramfs, real virtio disks; with KVM, or emulated."""

from __future__ import annotations

import json
import os
import re
import socket

from vm.common import GuestError, run
from vm.guest import Guest, Machine
from vm.image import image

# Code that lies elsewhere in every process is translated anew for each: lvs 0.80 s, or 0.53 s so. What an emulated
# processor cannot leak needs no mitigations: 44 s of processor time for a boot, or 34 s.
EMULATED = " norandmaps mitigations=off"


def drive(name: str) -> list[str]:
    """Return qemu's options for a disk of the guest's folder."""
    return [
        *("-drive", f"if=none,id={name},file={name}.qcow2,format=qcow2,discard=unmap"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}"),
    ]


class QemuGuest(Guest):
    """A guest whose process is qemu."""

    seconds_to_boot = 900

    def make_disks(self, machine: Machine) -> None:
        """Put an overlay of the image and the blank disks into the folder."""
        base = image(machine.release, machine.prepared) / "root.img"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", self.folder / "root.qcow2"])
        for disk in machine.disks:
            run(["qemu-img", "create", "-q", "-f", "qcow2", self.folder / f"{disk.serial}.qcow2", disk.size])

    def command(self, machine: Machine, port: int) -> list[str]:
        """Return the qemu command line; files are named relative to the guest's folder."""
        boot = image(machine.release, machine.prepared)
        command = ["qemu-system-x86_64", "-machine", "pc", "-accel", machine.accelerator]
        # Under emulation the plainest processor is the fastest: boot 21 s, against 28 s with `max`.
        command += ["-cpu", "host" if machine.accelerator == "kvm" else "qemu64"]
        # With two processors the 6.12 kernel crashes under emulation.
        command += ["-smp", "1", "-m", str(machine.memory), "-rtc", "base=utc", "-nodefaults", "-display", "none"]
        command += ["-kernel", str(boot / "kernel"), "-initrd", str(boot / "initrd")]
        command += ["-append", f"root=LABEL=debvm rw console=ttyS0{EMULATED if machine.accelerator == 'tcg' else ''}"]
        # Port 0 lets the kernel choose a free one, without a race between guests that start at the same time.
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        for name in ("root", *(disk.serial for disk in machine.disks)):
            command += drive(name)
        command += ["-chardev", "socket,id=console,path=console,server=on,wait=off,logfile=console.log,logappend=on"]
        command += ["-serial", "chardev:console", "-qmp", "unix:monitor,server=on,wait=off", "-daemonize"]
        return [*command, "-pidfile", str(self.folder / "pid")]

    def launch(self, machine: Machine, port: int) -> int:
        """Start qemu."""
        run(self.command(machine, port), cwd=self.folder)
        if port:
            return port
        return int(re.search(r"HOST_FORWARD\]\s+\S+\s+\S+\s+(\d+)", self.monitor("info usernet"))[1])  # type: ignore[index]

    def problem(self) -> str:
        """Return why the guest cannot come up any more, or nothing."""
        ended = super().problem()
        if not ended and "internal-error" in self.monitor("info status"):
            return "the processor stopped with an internal error of KVM"
        return ended

    def monitor(self, command: str) -> str:
        """Return the answer of qemu's monitor to one command of its command line."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(120)
                # By way of /proc, since the path of a socket may not be longer than 107 bytes.
                channel.connect(f"/proc/self/fd/{folder}/monitor")
                call = {"execute": "human-monitor-command", "arguments": {"command-line": command}}
                channel.sendall(b'{"execute": "qmp_capabilities"}' + json.dumps(call).encode())
                answers = (json.loads(line) for line in channel.makefile())
                texts = (answer["return"] for answer in answers if isinstance(answer.get("return"), str))
                return next(texts, "")
        except OSError as error:
            raise GuestError(f"the monitor of guest {self.name} does not answer: {error}") from error
        finally:
            os.close(folder)
