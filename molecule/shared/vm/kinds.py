# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which kind of guest runs on this machine: KVM where it works, else User-Mode Linux, else emulation."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vm.common import CACHE, GUESTS, GuestError, build_once, key_of
from vm.guest import Guest, Machine
from vm.qemu import QemuGuest
from vm.uml import UmlGuest

KINDS: dict[str, type[Guest]] = {"kvm": QemuGuest, "uml": UmlGuest, "tcg": QemuGuest}
# What boots as hardware does: the distribution's kernel, an initramfs, virtio.
REAL = ("kvm", "tcg")


def works(kind: str) -> bool:
    """Return whether guests of a kind run here; found out once per boot of this machine, by running one.

    /dev/kvm is no proof: inside some virtual machines qemu gives up at once, or lives on with a processor that stopped.
    """
    if kind == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False

    def probe(folder: Path) -> None:
        machine = Machine("bookworm", accelerator=kind)
        guest = KINDS[kind](folder / "guest")
        guest.folder.mkdir()
        # One whose processor stopped would otherwise be waited for as long as one that is emulated.
        guest.seconds_to_boot = 120
        answer = "yes"
        try:
            guest.make_disks(machine)
            guest.start(machine)
        except GuestError as error:
            answer = "no"
            (folder / "reason").write_text(f"{error}\n")
        guest.remove()
        (folder / "answer").write_text(answer)

    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    return (build_once(CACHE / "accelerator" / f"{kind}-{key_of(boot_id)}", probe) / "answer").read_text() == "yes"


def accelerator(*, real: bool = False) -> str:
    """Return what guests run on here: kvm, uml or tcg (emulation); with `real`, what boots as hardware does."""
    choice = os.environ.get("GUEST_ACCEL", "")
    if choice and choice not in KINDS:
        raise GuestError(f"GUEST_ACCEL is {choice!r}; it can be {', '.join(KINDS)}, or unset to find out")
    if choice and not (real and choice not in REAL):
        return choice
    return next((kind for kind in ("kvm", "uml") if kind in (REAL if real else KINDS) and works(kind)), "tcg")


def guest_named(name: str) -> Guest:
    """Return the guest of that name, of the kind that it was started as; one that was never started is a plain one."""
    folder = GUESTS / name
    try:
        settings = json.loads((folder / "guest.json").read_text())
    except FileNotFoundError:
        return Guest(folder)
    return KINDS[settings["machine"]["accelerator"]](folder)
