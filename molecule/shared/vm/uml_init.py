# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first process in the namespaces of a guest on User-Mode Linux: starts its kernel, leads ssh and console to it.

Usage: uml_init.py PID-FILE KERNEL-TREE LISTENING-SOCKET MEMORY-IN-MIB SERIAL...

The kernel ends at a reboot (`noreboot`) and is started again here, as the firmware of a machine would: left to itself
it starts anew within its process, where the network device is still open. All ends with this process, for it is the
first in its namespace of processes: to kill it is to cut the power.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import tty
from pathlib import Path

# Both are seen in the guest's own namespace only.
HERE, GUEST = "192.168.77.1", "192.168.77.2"
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
# What the kernel says last before it ends at a reboot.
REBOOTS = b"reboot: Restarting system"


def prepare(kernel: str, folder: Path) -> None:
    """Make the network device, and what the kernel needs in its tree, of which it sees nothing else of this machine."""
    # With huge pages a guest takes a tenth less of the processor.
    pages = ",huge=within_size" if HUGE_PAGES.exists() else ""
    commands = [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "tuntap", "add", "dev", "tap0", "mode", "tap"],
        ["ip", "address", "add", f"{HERE}/24", "dev", "tap0"],
        ["ip", "link", "set", "tap0", "up"],
        ["mount", "-t", "proc", "proc", f"{kernel}/proc"],
        ["mount", "--rbind", "/dev", f"{kernel}/dev"],
        # The guest's memory is a file here, which must be executable.
        ["mount", "-t", "tmpfs", "-o", f"size=100%,exec{pages}", "memory", f"{kernel}/tmp"],
        ["mount", "--bind", str(folder), f"{kernel}/guest"],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    # A guest that boots is asked for ten times a second, and not once.
    Path("/proc/sys/net/ipv4/neigh/tap0/retrans_time_ms").write_text("100")


class Console:
    """The guest's serial line: all that it says goes into a log, and to those who are connected."""

    def __init__(self, log: Path) -> None:
        self.line, self.guest_end = pty.openpty()
        tty.setraw(self.guest_end)
        self.log = log.open("ab", buffering=0)
        self.readers: set[asyncio.StreamWriter] = set()
        self.last = b""

    def read(self) -> None:
        """Pass on what the guest says."""
        said = os.read(self.line, 65536)
        self.last = (self.last + said)[-4096:]
        self.log.write(said)
        for reader in self.readers:
            reader.write(said)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let somebody type, for as long as they like."""
        self.readers.add(writer)
        try:
            while typed := await reader.read(4096):
                os.write(self.line, typed)
        finally:
            self.readers.discard(writer)
            writer.close()


class Forwarder:
    """Connections from outside to the guest's ssh. They end with the kernel, which would never close them."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            with contextlib.suppress(OSError):
                guest_reader, guest_writer = await asyncio.open_connection(GUEST, 22)
                self.open |= {writer, guest_writer}
                await asyncio.gather(self.carry(reader, guest_writer), self.carry(guest_reader, writer))
        finally:
            writer.close()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what one side says to the other, until it ends."""
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            self.open.discard(writer)
            writer.close()

    def end_all(self) -> None:
        """End all connections."""
        for writer in list(self.open):
            writer.transport.abort()


def end_others() -> None:
    """End what the kernel left: processes of the guest, which are processes of this namespace."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0):
            pass


async def main() -> None:
    """Run the guest until it is powered off."""
    pid_file, kernel, listener, memory, *serials = sys.argv[1:]
    folder = Path(pid_file).parent
    # This machine's /proc, so this is the number by which this process is known outside.
    outside = os.readlink("/proc/self")
    prepare(kernel, folder)
    console, forwarder = Console(folder / "console.log"), Forwarder()
    asyncio.get_running_loop().add_reader(console.line, console.read)
    # Relative, since the path of a socket may not be longer than 107 bytes.
    await asyncio.start_unix_server(console.connect, "console")
    await asyncio.start_server(forwarder.connect, sock=socket.socket(fileno=int(listener)))
    command = ["chroot", kernel, "/usr/bin/linux.uml", f"mem={memory}M", "umid=guest", "uml_dir=/tmp", "noreboot"]
    # Processes of the guest work with its kernel by way of a filter on their calls: twice as fast as being traced.
    command += ["seccomp=on", "root=/dev/ubda", "rw", "vec0:transport=tap,ifname=tap0,depth=128,gro=1"]
    command += ["con=null", "ssl=null", f"ssl0=fd:{console.guest_end}", "console=ttyS0"]
    # Not virtio over vhost-user: qemu-storage-daemon gives up on mkfs.xfs ("virtio: invalid address for buffers").
    command += [f"ubd{number}=/guest/{serial}.img,,{serial}" for number, serial in enumerate(["root", *serials])]
    Path(f"{pid_file}.new").write_text(outside)
    Path(f"{pid_file}.new").rename(pid_file)
    while True:
        console.last = b""
        running = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "TMPDIR": "/tmp"}, pass_fds=(console.guest_end,)
        )
        await running.wait()
        forwarder.end_all()
        end_others()
        await asyncio.sleep(0.1)  # what it said last is read
        if REBOOTS not in console.last:
            # Not by way of asyncio, which complains of connections that are still being made.
            os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
