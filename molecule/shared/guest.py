# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests: virtual machines with blank disks, for the molecule scenarios and `make demo`.

This is the command line; what it does is in the folder vm, and README.md beside this file tells more. Everything is
kept under ~/.cache/devicemapper.containers (XDG_CACHE_HOME is heeded).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Callable, NoReturn, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent))

from vm import image, kinds
from vm.common import GUESTS, KEY, GuestError
from vm.guest import SSH_OPTIONS, Disk, Guest, Machine


def build_image(args: argparse.Namespace) -> None:
    """Build the image of a release, if that was not done yet, and print its folder."""
    print(image.image(args.release, args.prepared))


def build_kernel(_args: argparse.Namespace) -> None:
    """Fetch User-Mode Linux, if that was not done yet, and print its folder."""
    print(image.uml_kernel())


def up(args: argparse.Namespace) -> None:
    """Make a guest and wait for it."""
    accelerator = kinds.accelerator(real=args.real)
    guest = kinds.KINDS[accelerator](GUESTS / args.name)
    if guest.folder.exists():
        raise GuestError(f"guest {args.name} exists ({guest.folder}); `guest.py down {args.name}` ends it")
    machine = Machine(args.release, tuple(args.disk), args.memory, accelerator, args.prepared)
    guest.folder.mkdir(parents=True)
    guest.make_disks(machine)
    guest.start(machine)
    guest.introduce(machine)
    print(shlex.join(guest.ssh()))


def start(args: argparse.Namespace) -> None:
    """Boot a guest again that was cut off or powered off, on its own disks and port."""
    kinds.guest_named(args.name).restart()


def cut(args: argparse.Namespace) -> None:
    """Cut the guest's power: its process is killed, the disks stay."""
    kinds.guest_named(args.name).kill()


def down(args: argparse.Namespace) -> None:
    """End guests and delete their disks; one that is not there is no error."""
    for name in args.names:
        kinds.guest_named(name).remove()


def list_guests(_args: argparse.Namespace) -> None:
    """Show every guest, whether it runs, and how to log in."""
    for file in sorted(GUESTS.glob("*/guest.json")):
        guest = kinds.guest_named(file.parent.name)
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
            "ansible_user": "ansible",
            "ansible_ssh_private_key_file": str(KEY),
            "ansible_ssh_common_args": shlex.join(SSH_OPTIONS),
            "ansible_ssh_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        children.setdefault(settings["machine"]["release"], {"hosts": {}})["hosts"][name] = {}
    print(json.dumps({"all": {"hosts": hosts, "children": children}}, indent=2))


def print_accelerator(args: argparse.Namespace) -> None:
    """Print what guests run on here: kvm, uml (User-Mode Linux), or tcg, which is emulation."""
    print(kinds.accelerator(real=args.real))


def ssh(args: argparse.Namespace) -> NoReturn:
    """Log in to a guest, or run a command there."""
    command = Guest(GUESTS / args.name).ssh()
    os.execvp(command[0], [*command, *args.words])


def console(args: argparse.Namespace) -> NoReturn:
    """Open the serial console, logged in as root; Ctrl-] leaves it. console.log beside the disks has what was said."""
    kinds.guest_named(args.name).console()


def monitor(args: argparse.Namespace) -> None:
    """Ask qemu's monitor, for example `info block`."""
    print(kinds.guest_named(args.name).monitor(" ".join(args.words)), end="")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; every command's help is the docstring of the function that carries it out."""
    parser = argparse.ArgumentParser(description="Virtual machines with blank disks.")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, function: Callable[[argparse.Namespace], None], *positional: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        for word in positional:
            choices = sorted(image.DOWNLOADED) if word == "release" else None
            sub.add_argument(word, nargs={"names": "+", "words": argparse.REMAINDER}.get(word), choices=choices)
        return sub

    def real(sub: argparse.ArgumentParser) -> None:
        kind = "boot as hardware does, with the distribution's kernel, an initramfs and virtio: with KVM, or emulated"
        sub.add_argument("--real", action="store_true", help=kind)

    sub = command("image", build_image, "release")
    installed = "what is installed beforehand: LVM; Docker too, which is not started; what uses disks otherwise; dnf"
    prepared = {"default": "", "choices": list(image.PREPARED), "help": installed}
    sub.add_argument("--prepared", **prepared)
    command("kernel", build_kernel)
    sub = command("up", up, "name")
    sub.add_argument("--prepared", **prepared)
    sub.add_argument("--release", default="bookworm", choices=sorted(image.DOWNLOADED))
    sub.add_argument("--disk", action="append", default=[], type=Disk.parse, metavar="SERIAL:SIZE")
    sub.add_argument("--memory", type=int, default=1536, metavar="MIB")
    real(sub)
    command("start", start, "name")
    command("cut", cut, "name")
    command("down", down, "names")
    command("list", list_guests)
    command("inventory", inventory, "names")
    real(command("accelerator", print_accelerator))
    command("ssh", ssh, "name", "words")
    command("console", console, "name")
    command("monitor", monitor, "name", "words")
    return parser.parse_args(argv)


def main() -> int:
    """Carry out one command."""
    args = parse(sys.argv[1:])
    try:
        args.function(args)
    except GuestError as error:
        print(f"guest.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
