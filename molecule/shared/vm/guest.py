# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all guests have in common: a folder with disks and settings, ssh, and an end."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NoReturn

from vm.common import KEY, GuestError, run

# A guest's host key is made anew with its image, and its port goes to another guest tomorrow: nothing to remember.
SSH_OPTIONS = (
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oLogLevel=ERROR",
    "-oIdentitiesOnly=yes",
    # A guest that reboots or loses its power never closes its connections, and what forwards them keeps them open.
    "-oServerAliveInterval=10",
    "-oServerAliveCountMax=6",
)


@dataclasses.dataclass(frozen=True)
class Disk:
    """A blank disk; the guest sees it as /dev/disk/by-id/virtio-<serial>."""

    serial: str
    size: str

    @classmethod
    def parse(cls, text: str) -> Disk:
        """Read SERIAL:SIZE. virtio cuts a serial after 20 characters, and the disk's file is named after it."""
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_-]{0,19}):(\d+[MGT])", text)
        if not match or match[1] == "root":
            raise argparse.ArgumentTypeError(f"{text!r} is not SERIAL:SIZE, for example data1:10G")
        return cls(match[1], match[2])


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a guest is made of; accelerator is kvm, uml or tcg (kinds.py)."""

    release: str
    disks: tuple[Disk, ...] = ()
    memory: int = 1536  # MiB
    accelerator: str = "tcg"
    prepared: str = ""

    @classmethod
    def from_settings(cls, values: dict) -> Machine:
        """Return the machine that guest.json describes."""
        return cls(**{**values, "disks": tuple(Disk(**disk) for disk in values["disks"])})


class Guest:
    """A folder with disks, console.log and guest.json, and the process that runs on it, if one does.

    A kind of guest adds how its disks are made, how it is started, and what its console is.
    """

    seconds_to_boot = 300  # ten suffice on a machine with nothing else to do

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    def make_disks(self, machine: Machine) -> None:
        """Put a copy of the image and the blank disks into the folder."""
        raise NotImplementedError

    def launch(self, machine: Machine, port: int) -> int:
        """Start the machine on the disks in the folder, and return the port of 127.0.0.1 that leads to its ssh."""
        raise NotImplementedError

    def problem(self) -> str:
        """Return why the guest that is starting cannot come up any more, or nothing."""
        return "" if self.pid else "its process ended"

    def console(self) -> NoReturn:
        """Become a terminal on the guest's serial console."""
        os.chdir(self.folder)
        os.execvp("socat", ["socat", "-,raw,echo=0,escape=0x1d", "UNIX-CONNECT:console"])

    def monitor(self, command: str) -> str:
        """Return the answer of the machine's monitor to a command."""
        raise GuestError(f"guest {self.name} has no monitor; only qemu has one")

    @property
    def preparation(self) -> str:
        """Return commands for root that a guest of this kind needs once, after its first boot."""
        return ""

    @property
    def pid(self) -> int:
        """Return the process id of this guest; 0 if it is not running, or if the id is now another process."""
        file = self.folder / "pid"
        try:
            pid = int(file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return 0
        return pid if os.fsencode(file) in words else 0

    def start(self, machine: Machine, port: int = 0) -> None:
        """Start the machine on the disks in the folder and wait until ssh answers; port 0 takes a free one."""
        for leftover in ("pid", "monitor", "console"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / leftover).unlink()
        port = self.launch(machine, port)
        (self.folder / "guest.json").write_text(json.dumps({"port": port, "machine": dataclasses.asdict(machine)}))
        self.wait()

    def restart(self) -> None:
        """Boot the guest again that was cut off or powered off, on its own disks and port."""
        settings = self.settings()
        if self.pid:
            raise GuestError(f"guest {self.name} runs already")
        self.start(Machine.from_settings(settings["machine"]), port=settings["port"])

    def wait(self) -> None:
        """Wait until a command runs over ssh; end a guest that does not get there, and show its console."""
        deadline = time.monotonic() + self.seconds_to_boot
        reason = f"no answer on ssh within {self.seconds_to_boot} s"
        while time.monotonic() < deadline:
            problem = self.problem()
            if problem:
                reason = problem
                break
            login = [*self.ssh(), "true"]
            if subprocess.run(login, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
                return
            time.sleep(0.3)
        log = self.folder / "console.log"
        lines = log.read_text(errors="replace").splitlines()[-40:] if log.exists() else []
        self.kill()
        raise GuestError("\n".join([f"guest {self.name} did not come up: {reason}. The end of {log}:", *lines]))

    def kill(self) -> None:
        """End the machine at once, as a power cut would: what it has not written to its disks is lost."""
        pid = self.pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.pid:
            time.sleep(0.05)

    def remove(self) -> None:
        """End the guest and forget it."""
        self.kill()
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def settings(self) -> dict:
        """Return what was written down when the guest was started."""
        try:
            return json.loads((self.folder / "guest.json").read_text())
        except FileNotFoundError:
            raise GuestError(f"there is no guest {self.name}; `guest.py list` shows those there are") from None

    def ssh(self) -> list[str]:
        """Return the ssh command line, complete but for a remote command."""
        port = self.settings()["port"]
        return ["ssh", *SSH_OPTIONS, "-oConnectTimeout=10", "-i", str(KEY), "-p", str(port), "ansible@127.0.0.1"]

    def introduce(self, machine: Machine) -> None:
        """Give the new guest its name, and see that its disks are there."""
        script = f"hostname {self.name}; hostname > /etc/hostname; echo 127.0.0.1 localhost {self.name} > /etc/hosts"
        for disk in machine.disks:
            # Debian 11's udevadm cannot wait for a device.
            script += f"; for i in $(seq 600); do [ -e /dev/disk/by-id/virtio-{disk.serial} ] && break; sleep 0.1; done"
            script += f"; test -b /dev/disk/by-id/virtio-{disk.serial}"
        run([*self.ssh(), f"sudo sh -ec {shlex.quote('; '.join(filter(None, [script, self.preparation])))}"])
