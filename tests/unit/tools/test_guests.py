# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which kind of guest runs here, and what of a guest's description is refused before anything is built."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if sys.version_info < (3, 11):
    pytest.skip("the tools need a newer Python", allow_module_level=True)
sys.path.insert(0, str(ROOT / "molecule" / "shared"))

from vm import kinds  # noqa: E402
from vm.common import GuestError  # noqa: E402
from vm.guest import Disk, Guest, Machine  # noqa: E402


@pytest.mark.parametrize(
    ("working", "usual", "real"),
    [
        ({"kvm", "uml"}, "kvm", "kvm"),
        ({"kvm"}, "kvm", "kvm"),
        ({"uml"}, "uml", "tcg"),
        (set(), "tcg", "tcg"),
    ],
)
def test_the_fastest_kind_that_works_is_taken(working, usual, real, monkeypatch):
    monkeypatch.delenv("GUEST_ACCEL", raising=False)
    monkeypatch.setattr(kinds, "works", lambda kind: kind in working)
    assert kinds.accelerator() == usual
    assert kinds.accelerator(real=True) == real


@pytest.mark.parametrize(("choice", "real"), [("kvm", "kvm"), ("tcg", "tcg"), ("uml", "tcg")])
def test_a_choice_counts_without_a_try_but_uml_is_not_real(choice, real, monkeypatch):
    monkeypatch.setenv("GUEST_ACCEL", choice)
    monkeypatch.setattr(kinds, "works", lambda kind: False)
    assert kinds.accelerator() == choice
    assert kinds.accelerator(real=True) == real


def test_a_wrong_choice_is_refused(monkeypatch):
    monkeypatch.setenv("GUEST_ACCEL", "xen")
    with pytest.raises(GuestError, match="GUEST_ACCEL is 'xen'; it can be kvm, uml, tcg, or unset"):
        kinds.accelerator()


@pytest.mark.parametrize("text", ["data1", "root:1G", "data1:1", "a/b:1G", "twenty-one-characters:1G", "-a:1G", ":1G"])
def test_a_disk_that_cannot_be_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not SERIAL:SIZE"):
        Disk.parse(text)


def test_a_guest_is_started_again_as_it_was_made():
    machine = Machine("trixie", (Disk("data1", "2G"), Disk("data2", "512M")), 2048, "uml", "storage")
    written = {
        "release": "trixie",
        "disks": [{"serial": "data1", "size": "2G"}, {"serial": "data2", "size": "512M"}],
        "memory": 2048,
        "accelerator": "uml",
        "prepared": "storage",
    }
    assert Machine.from_settings(written) == machine


def test_a_guest_that_runs_no_more_has_no_process(tmp_path):
    guest = Guest(tmp_path)
    assert guest.pid == 0
    # The number is somebody else's by now.
    (tmp_path / "pid").write_text("1")
    assert guest.pid == 0


def test_user_mode_linux_has_no_monitor(tmp_path):
    with pytest.raises(GuestError, match=r"guest .* has no monitor; only qemu has one"):
        kinds.KINDS["uml"](tmp_path).monitor("info block")
