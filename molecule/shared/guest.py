# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests: virtual machines with blank disks, for the molecule scenarios and `make demo`.

This is the only file that knows debvm and qemu. An image is built once per Debian release, a machine without blank
disks is booted once and its state saved, and every guest is a copy of that state, resumed within seconds and then given
its disks. Everything is kept under ~/.cache/devicemapper.containers (XDG_CACHE_HOME is heeded); README.md beside this
file tells more.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Callable, Iterator, NoReturn, Sequence

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devicemapper.containers"
GUESTS = Path(os.environ.get("GUEST_DIR") or CACHE / "guests").absolute()
KEY = CACHE / "ssh_key"
HOOK = Path(__file__).resolve().with_name("image-hook.sh")
COMPILED = HOOK.with_name("compiled.py")
PREPARE = HOOK.with_name("image-prepare.sh")

# Beyond what debvm puts into every image: systemd, a cloud kernel, networkd, apt.
INSTALLED = (
    "openssh-server",
    "sudo",
    "dbus",
    "python3",
    "python3-apt",
    "ca-certificates",
    "busybox-static",
    "forkstat",
)
# What the roles under test install: only downloaded, so that they have something to do and need no network for it.
STORAGE = ("lvm2", "thin-provisioning-tools", "dmeventd", "xfsprogs", "e2fsprogs")
# What makes a disk of somebody else's look like one.
OTHERS = ("btrfs-progs", "dosfstools", "genisoimage", "cryptsetup-bin", "mdadm", "fdisk")
# Installing these takes minutes under emulation, and seconds while the image is built.
PREPARED = {
    "storage": (*STORAGE, "apparmor"),
    "docker": (*STORAGE, "apparmor", "docker.io"),
    "others": (*STORAGE, "apparmor", *OTHERS),
}
DOWNLOADED = {
    "bookworm": (*STORAGE, "docker.io", "apparmor", *OTHERS),
    "trixie": (*STORAGE, "docker.io", "docker-cli", "containerd", "apparmor"),
}
# A guest's host key is made anew with its image, and its port goes to another guest tomorrow: nothing to remember.
SSH_OPTIONS = (
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oLogLevel=ERROR",
    "-oIdentitiesOnly=yes",
    # A guest that reboots or loses its power never closes its connections, and qemu's network keeps them open (seen).
    "-oServerAliveInterval=10",
    "-oServerAliveCountMax=6",
)
SNAPSHOT = "ready"


class GuestError(Exception):
    """Something that the person at the terminal must know; shown without a traceback."""


def say(text: str) -> None:
    """Tell what takes its time; standard output belongs to what a caller reads."""
    print(text, file=sys.stderr, flush=True)


def run(argv: Sequence[object], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; its own last words are the error when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd, env=env
        )
    except FileNotFoundError as error:
        raise GuestError(f"{words[0]} is not installed; molecule/shared/README.md names the packages") from error
    if done.returncode:
        raise GuestError(f"{words[0]} failed with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def key_of(*parts: object) -> str:
    """Name a thing after everything it was made from, so that another recipe never finds the old result."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time through; the kernel frees the lock when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unmount_below(folder: Path) -> None:
    """Unmount what an image's build that was killed left: /dev/pts and others of this machine, not to be deleted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounts if path.startswith(f"{folder}/")), reverse=True):
        run(["umount", path])


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return the folder, built if it is not there yet; a build that was killed leaves nothing that looks finished."""
    if folder.is_dir():
        return folder
    with lock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            scratch = folder.with_name(folder.name + ".building")
            unmount_below(scratch)
            Guest(scratch).remove()
            scratch.mkdir()
            build(scratch)
            scratch.rename(folder)
    return folder


# --- Images -----------------------------------------------------------------------------------------------------------


def debian_mirrors() -> list[str]:
    """Return the mirrors that this machine itself installs Debian from, as far as a guest can use them too."""
    listing = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Origin: Debian"])
    lines = [line.partition(" ") for line in listing.splitlines()]
    return sorted({uri for uri, _suite, label in lines if label == "Debian" and uri.startswith("http")})


def ssh_key() -> Path:
    """Return the private key that opens every guest, made here on first use."""
    with lock(KEY.with_suffix(".lock")):
        if not KEY.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devicemapper.containers guests", "-f", KEY])
    return KEY


def image(release: str, prepared: str = "") -> Path:
    """Return the folder with root.img, kernel and initrd of a release; only building it needs root."""
    public = ssh_key().with_suffix(".pub")
    install = PREPARED.get(prepared, ())
    files = [path.read_text() for path in (HOOK, COMPILED, public, *([PREPARE] if prepared else []))]
    parts = (inspect.getsource(image), INSTALLED, install, DOWNLOADED[release], *files)
    folder = CACHE / "images" / f"{release}-{key_of(*parts)}"
    if not folder.is_dir() and os.geteuid() != 0:
        say("building an image needs root: asking sudo")
        again = ["sudo", "env", f"XDG_CACHE_HOME={CACHE.parent}", sys.executable, __file__, "image", release]
        subprocess.run([*again, *([f"--prepared={prepared}"] if prepared else [])], check=False)
        if not folder.is_dir():
            raise GuestError("the image was not built")
    tar = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*"]

    def debootstrap(scratch: Path, tree: Path) -> None:
        say(f"building the {release} image, once, 1 to 3 minutes ...")
        # debvm's own file system is a converted ext2 with 1 KiB blocks and no d_type, which no real host has.
        create = ["debvm-create", "-h", "guest", "-r", release, "-s", "ext4", "-o", tree, "--", "--format=directory"]
        create += [f"--include={','.join(INSTALLED)}", "--skip=cleanup/apt/lists,cleanup/apt/cache"]
        # These stay in force inside the guest, where recommended packages would have to be downloaded.
        create += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
        create += [f"--dpkgopt={word}" for word in ("force-unsafe-io", "path-exclude=/usr/share/man/*")]
        create += ["--dpkgopt=path-exclude=/usr/share/doc/*", f"--customize-hook={HOOK}", *debian_mirrors()[:1]]
        settings = {"GUEST_OUTPUT": str(scratch), "GUEST_KEY": str(public), "GUEST_DEBS": " ".join(DOWNLOADED[release])}
        run(create, env={**os.environ, **settings, "GUEST_COMPILED": str(COMPILED)})
        # As an archive, and for its maker alone: old programs that run as root must not lie about.
        run([*tar, "--create", "--file", scratch / "root.tar", "--directory", tree, "."])
        (scratch / "root.tar").chmod(0o600)

    def prepare(scratch: Path, tree: Path) -> None:
        plain = image(release)
        say(f"building the {release} image with {prepared}, once, 15 to 40 seconds ...")
        tree.mkdir()
        run([*tar, "--extract", "--preserve-permissions", "--file", plain / "root.tar", "--directory", tree])
        run(["unshare", "--mount", "sh", PREPARE, tree, *install])
        for name in ("kernel", "initrd"):
            shutil.copy(plain / name, scratch)

    def build(scratch: Path) -> None:
        tree = scratch / "root"
        (prepare if prepared else debootstrap)(scratch, tree)
        file_system = ["mke2fs", "-q", "-t", "ext4", "-L", "debvm", "-E", "lazy_itable_init=0"]
        run([*file_system, "-d", tree, scratch / "root.img", "6G"])
        shutil.rmtree(tree)

    return build_once(folder, build)


# --- Machines ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Disk:
    """A blank disk; the guest sees it as /dev/disk/by-id/virtio-<serial>."""

    serial: str
    size: str

    @classmethod
    def parse(cls, text: str) -> Disk:
        """Read SERIAL:SIZE. virtio cuts a serial after 20 characters, and the drive's file is named after it."""
        match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_-]{0,19}):(\d+[MGT])", text)
        if not match or match[1] == "root":
            raise argparse.ArgumentTypeError(f"{text!r} is not SERIAL:SIZE, for example data1:10G")
        return cls(match[1], match[2])


def drive(name: str, folder: str = "") -> str:
    """Return qemu's option for what a disk's file is, in the folder or where qemu was started."""
    file = f"{folder}{name}.qcow2".replace(",", ",,")
    return f"if=none,id={name},file={file},format=qcow2,discard=unmap"


def device(name: str) -> str:
    """Return qemu's option for how a disk is seen."""
    return f"virtio-blk-pci,drive={name},serial={name}"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What qemu is told to emulate; guests whose machines differ in blank disks alone resume the same saved state."""

    release: str
    disks: tuple[Disk, ...] = ()
    memory: int = 1536
    accelerator: str = "tcg"
    prepared: str = ""

    def without_disks(self) -> Machine:
        """Return the machine without blank disks, as it is booted once for all that differ in these."""
        return dataclasses.replace(self, disks=())

    def command(self, port: int) -> list[str]:
        """Return the qemu command line; files are named relative to the guest's folder."""
        boot = image(self.release, self.prepared)
        command = ["qemu-system-x86_64", "-machine", "pc", "-accel", self.accelerator]
        # Under emulation the plainest processor is the fastest: boot 21 s, against 28 s with `max`.
        command += ["-cpu", "host" if self.accelerator == "kvm" else "qemu64"]
        # With two processors the 6.12 kernel crashes under emulation.
        command += ["-smp", "1", "-m", str(self.memory), "-rtc", "base=utc", "-nodefaults", "-display", "none"]
        command += ["-kernel", str(boot / "kernel"), "-initrd", str(boot / "initrd")]
        # Code that lies elsewhere in every process is translated anew for each: lvs 0.80 s, or 0.53 s. What
        # an emulated processor cannot leak needs no mitigations: 44 s of processor time for a boot, or 34 s.
        command += ["-append", "root=LABEL=debvm rw console=ttyS0 norandmaps mitigations=off"]
        # Port 0 lets the kernel choose a free one, without a race between guests that start at the same time.
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        for name in ("root", *(disk.serial for disk in self.disks)):
            command += ["-drive", drive(name), "-device", device(name)]
        command += ["-chardev", "socket,id=console,path=console,server=on,wait=off,logfile=console.log,logappend=on"]
        return [*command, "-serial", "chardev:console", "-qmp", "unix:monitor,server=on,wait=off", "-daemonize"]

    def make_disks(self, folder: Path) -> None:
        """Put an overlay of the image and the blank disks into the folder."""
        base = image(self.release, self.prepared) / "root.img"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", folder / "root.qcow2"])
        for disk in self.disks:
            run(["qemu-img", "create", "-q", "-f", "qcow2", folder / f"{disk.serial}.qcow2", disk.size])


class Guest:
    """A folder with disks, console log and monitor socket, and the qemu that runs on it, if one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @property
    def pid(self) -> int:
        """Return the process id of this guest's qemu; 0 if it is not running, or if the id is now another process."""
        file = self.folder / "pid"
        try:
            pid = int(file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return 0
        return pid if os.fsencode(file) in words else 0

    def start(self, machine: Machine, port: int = 0, saved: bool = False) -> None:
        """Start qemu on the disks in the folder and wait until ssh answers."""
        for leftover in ("pid", "monitor", "console"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / leftover).unlink()
        command = [*machine.without_disks().command(port), "-loadvm", SNAPSHOT] if saved else machine.command(port)
        run([*command, "-pidfile", self.folder / "pid"], cwd=self.folder)
        if not port:
            port = int(re.search(r"HOST_FORWARD\]\s+\S+\s+\S+\s+(\d+)", self.monitor("info usernet"))[1])  # type: ignore[index]
        (self.folder / "guest.json").write_text(json.dumps({"port": port, "machine": dataclasses.asdict(machine)}))
        self.wait(60 if machine.accelerator == "kvm" else 300)

    def wait(self, seconds: int) -> None:
        """Wait until a command runs over ssh; end a guest that does not get there, and show its console."""
        deadline = time.monotonic() + seconds
        reason = f"no answer on ssh within {seconds} s"
        while time.monotonic() < deadline:
            if not self.pid:
                reason = "qemu ended"
                break
            if "internal-error" in self.monitor("info status"):
                reason = "the processor stopped with an internal error of KVM"
                break
            login = [*self.ssh(), "true"]
            if subprocess.run(login, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
                return
            time.sleep(0.3)
        log = self.folder / "console.log"
        lines = log.read_text(errors="replace").splitlines()[-40:] if log.exists() else []
        self.kill()
        raise GuestError("\n".join([f"guest {self.name} did not come up: {reason}. The end of {log}:", *lines]))

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

    def plug_in(self, machine: Machine) -> None:
        """Give a running guest its blank disks, in the order that they have when it is booted with them."""
        for disk in machine.disks:
            # qemu has left the folder.
            options = drive(disk.serial, f"{self.folder}/").replace("\\", "\\\\").replace('"', '\\"')
            for command in (f'drive_add 0 "{options}"', f"device_add {device(disk.serial)}"):
                answer = self.monitor(command).strip()
                if answer not in ("", "OK"):
                    raise GuestError(f"qemu could not add disk {disk.serial} to guest {self.name}: {answer}")

    def kill(self) -> None:
        """End qemu at once, as a power cut would."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGKILL)
        while self.pid:
            time.sleep(0.05)

    def quit(self) -> None:
        """End qemu with its disk files in order."""
        with contextlib.suppress(GuestError):  # It may hang up before it answers.
            self.monitor("quit")
        for _attempt in range(600):
            if not self.pid:
                return
            time.sleep(0.1)
        raise GuestError(f"qemu (process {self.pid}) of guest {self.name} does not end")

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

    def introduce(self, resumed: bool, machine: Machine) -> None:
        """Give the guest its own name and, where it is a copy, the time, an identity and disks of its own."""
        script = f"hostname {self.name}; hostname > /etc/hostname; echo 127.0.0.1 localhost {self.name} > /etc/hosts"
        if resumed:
            script += f"; date -s @{time.time():.0f}; echo {uuid.uuid4().hex} > /etc/machine-id"
            script += "; systemctl restart systemd-journald"
            self.plug_in(machine)
        for disk in machine.disks:
            script += f"; udevadm wait --timeout=60 /dev/disk/by-id/virtio-{disk.serial}"
        run([*self.ssh(), f"sudo sh -ec {shlex.quote(script)}"])


def accelerator() -> str:
    """Return "kvm" where it really runs a guest, "tcg" (emulation) elsewhere; found out once per boot of this machine.

    /dev/kvm is no proof: inside some virtual machines qemu gives up at once, or lives on with a processor that stopped.
    """
    choice = os.environ.get("GUEST_ACCEL", "")
    if choice not in ("", "kvm", "tcg"):
        raise GuestError(f"GUEST_ACCEL is {choice!r}; it can be kvm, tcg, or unset to find out")
    if choice or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return choice or "tcg"

    def probe(folder: Path) -> None:
        guest, machine, answer = Guest(folder), Machine("bookworm", accelerator="kvm"), "kvm"
        machine.make_disks(folder)
        try:
            guest.start(machine)
        except GuestError as error:
            answer = "tcg"
            (folder / "reason").write_text(f"{error}\n")
        guest.kill()
        (folder / "answer").write_text(answer)

    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    return (build_once(CACHE / "accelerator" / key_of(boot_id), probe) / "answer").read_text()


def saved_state(machine: Machine) -> Path:
    """Return the folder with the disk of a machine that was booted without others and then saved while it ran."""
    machine = machine.without_disks()

    def build(folder: Path) -> None:
        prepared = f", prepared for {machine.prepared}" if machine.prepared else ""
        say(f"booting a {machine.release} machine{prepared}, once, to save its state ...")
        guest = Guest(folder)
        machine.make_disks(folder)
        guest.start(machine)
        # Once the boot is over, use what every play uses, so that guests have it in memory from their first second.
        warm = "sudo systemctl is-system-running --wait; sudo apt-get check; python3 -m json.tool --help"
        subprocess.run([*guest.ssh(), warm], check=False, stdin=subprocess.DEVNULL, capture_output=True)
        answer = guest.monitor(f"savevm {SNAPSHOT}")
        if answer:
            raise GuestError(f"qemu could not save the state: {answer}; GUEST_SAVED_STATE=0 does without")
        guest.quit()

    version = run(["qemu-system-x86_64", "--version"]).splitlines()[0]
    return build_once(CACHE / "saved" / f"{machine.release}-{key_of(machine, machine.command(0), version)}", build)


# --- Commands ---------------------------------------------------------------------------------------------------------


def build_image(args: argparse.Namespace) -> None:
    """Build the image of a release, if that was not done yet, and print its folder."""
    print(image(args.release, args.prepared))


def up(args: argparse.Namespace) -> None:
    """Make a guest and wait for it."""
    guest = Guest(GUESTS / args.name)
    if guest.folder.exists():
        raise GuestError(f"guest {args.name} exists ({guest.folder}); `guest.py down {args.name}` ends it")
    machine = Machine(args.release, tuple(args.disk), args.memory, accelerator(), args.prepared)
    resume = os.environ.get("GUEST_SAVED_STATE") != "0"
    source = saved_state(machine) if resume else None
    guest.folder.mkdir(parents=True)
    machine.make_disks(guest.folder)
    if source:
        run(["cp", "--sparse=always", "--reflink=auto", source / "root.qcow2", guest.folder])
    guest.start(machine, saved=resume)
    guest.introduce(resume, machine)
    print(shlex.join(guest.ssh()))


def start(args: argparse.Namespace) -> None:
    """Boot a guest again that was cut off, on its own disks and port."""
    guest = Guest(GUESTS / args.name)
    settings = guest.settings()
    if guest.pid:
        raise GuestError(f"guest {args.name} runs already")
    values = settings["machine"]
    values["disks"] = tuple(Disk(**disk) for disk in values["disks"])
    guest.start(Machine(**values), port=settings["port"])


def cut(args: argparse.Namespace) -> None:
    """Cut the guest's power: qemu is killed, the disks stay."""
    Guest(GUESTS / args.name).kill()


def down(args: argparse.Namespace) -> None:
    """End guests and delete their disks; one that is not there is no error."""
    for name in args.names:
        Guest(GUESTS / name).remove()


def list_guests(_args: argparse.Namespace) -> None:
    """Show every guest, whether it runs, and how to log in."""
    for file in sorted(GUESTS.glob("*/guest.json")):
        guest = Guest(file.parent)
        machine = guest.settings()["machine"]
        state = f"process {guest.pid}" if guest.pid else "not running"
        print(f"{guest.name}  {machine['release']}  {machine['accelerator']}  {state}  {shlex.join(guest.ssh())}")


def inventory(args: argparse.Namespace) -> None:
    """Print an Ansible inventory of guests; each is in a group named after its release."""
    hosts: dict[str, dict] = {}
    children: dict[str, dict] = {}
    for name in args.names:
        settings = Guest(GUESTS / name).settings()
        hosts[name] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": settings["port"],
            **({"ansible_user": "root", "ansible_become": False} if args.root else {"ansible_user": "ansible"}),
            "ansible_ssh_private_key_file": str(KEY),
            "ansible_ssh_common_args": shlex.join(SSH_OPTIONS),
            "ansible_ssh_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            # Where plays run by mitogen (base.yml), no module sees what another left in memory.
            "mitogen_task_isolation": "fork",
        }
        children.setdefault(settings["machine"]["release"], {"hosts": {}})["hosts"][name] = {}
    print(json.dumps({"all": {"hosts": hosts, "children": children}}, indent=2))


def print_accelerator(_args: argparse.Namespace) -> None:
    """Print what guests run on here: kvm, or tcg, which is emulation."""
    print(accelerator())


def ssh(args: argparse.Namespace) -> NoReturn:
    """Log in to a guest, or run a command there."""
    command = Guest(GUESTS / args.name).ssh()
    os.execvp(command[0], [*command, *args.words])


def console(args: argparse.Namespace) -> NoReturn:
    """Open the serial console, logged in as root; Ctrl-] leaves it. console.log beside the disks has what was said."""
    os.chdir(GUESTS / args.name)
    os.execvp("socat", ["socat", "-,raw,echo=0,escape=0x1d", "UNIX-CONNECT:console"])


def monitor(args: argparse.Namespace) -> None:
    """Ask qemu's monitor, for example `info block`."""
    print(Guest(GUESTS / args.name).monitor(" ".join(args.words)), end="")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; every command's help is the docstring of the function that carries it out."""
    parser = argparse.ArgumentParser(description="Virtual machines with blank disks.")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, function: Callable[[argparse.Namespace], None], *positional: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        for word in positional:
            choices = sorted(DOWNLOADED) if word == "release" else None
            sub.add_argument(word, nargs={"names": "+", "words": argparse.REMAINDER}.get(word), choices=choices)
        return sub

    sub = command("image", build_image, "release")
    installed = "with LVM installed; with Docker too, which is not started; or with what uses disks otherwise"
    prepared = {"default": "", "choices": list(PREPARED), "help": installed}
    sub.add_argument("--prepared", **prepared)
    sub = command("up", up, "name")
    sub.add_argument("--prepared", **prepared)
    sub.add_argument("--release", default="bookworm", choices=sorted(DOWNLOADED))
    sub.add_argument("--disk", action="append", default=[], type=Disk.parse, metavar="SERIAL:SIZE")
    sub.add_argument("--memory", type=int, default=1536, metavar="MIB")
    command("start", start, "name")
    command("cut", cut, "name")
    command("down", down, "names")
    command("list", list_guests)
    sub = command("inventory", inventory, "names")
    sub.add_argument("--root", action="store_true", help="log in as root, and do without become")
    command("accelerator", print_accelerator)
    command("ssh", ssh, "name", "words")
    command("console", console, "name")
    command("monitor", monitor, "name", "words")
    return parser.parse_args(argv)


def main() -> int:
    """Carry out one command."""
    args = parse(sys.argv[1:])
    # mitogen pins a process that runs a task to one processor, which all guests would share for as long as they live.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        args.function(args)
    except GuestError as error:
        print(f"guest.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
