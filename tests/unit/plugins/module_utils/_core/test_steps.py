# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import steps
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import ProcessError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step

WRITE = Write("/etc/docker/daemon.json", "{}\n")
STEPS = [Step("tell"), Step("run", ("lvs",)), Step("write", write=WRITE), Step("both", ("dmeventd", "-R"), WRITE)]


class Recorder:
    """A host that only notes what it is asked."""

    def __init__(self, failing=()):
        self.asked = []
        self.failing = failing

    def run(self, *command):
        self.asked.append(command)
        if command == self.failing:
            raise ProcessError("failed", command)

    def write(self, change):
        self.asked.append(change)


class Disk:
    """A device that notes with its host when it is held."""

    def __init__(self, path, host, *, granted=True):
        self.path = path
        self.host = host
        self.granted = granted

    @contextlib.contextmanager
    def locked(self):
        if not self.granted:
            raise RefusedError(self.path)
        self.host.asked.append(f"hold {self.path}")
        try:
            yield
        finally:
            self.host.asked.append(f"let go of {self.path}")


def test_steps_are_taken_in_their_order():
    host = Recorder()
    steps.take_steps(STEPS, host)
    assert host.asked == [("lvs",), WRITE, WRITE, ("dmeventd", "-R")]


def test_the_first_failure_ends_it():
    host = Recorder(failing=("lvs",))
    with pytest.raises(ProcessError):
        steps.take_steps(STEPS, host)
    assert host.asked == [("lvs",)]


REMEDIED = [Step("restart", ("dmeventd", "-R"), remedy=("vgchange", "--monitor", "y")), Step("run", ("lvs",))]


@pytest.mark.parametrize(
    ("failing", "asked"),
    [
        ((), [("dmeventd", "-R"), ("lvs",)]),
        (("dmeventd", "-R"), [("dmeventd", "-R"), ("vgchange", "--monitor", "y"), ("lvs",)]),
    ],
)
def test_a_remedy_is_taken_where_its_command_fails(failing, asked):
    host = Recorder(failing)
    steps.take_steps(REMEDIED, host)
    assert host.asked == asked


def on_devices(host, *, granted=True):
    vdb, vdc = Disk("/dev/vdb", host, granted=granted), Disk("/dev/vdc", host)
    return [
        Step("wipe", ("wipefs", "/dev/vdb"), device=vdb),
        Step("write", write=WRITE, device=vdb),
        Step("run", ("lvs",)),
        Step("wipe", ("wipefs", "/dev/vdc"), device=vdc),
    ]


def test_a_device_is_held_for_its_step_alone():
    host = Recorder()
    steps.take_steps(on_devices(host), host)
    assert host.asked == [
        "hold /dev/vdb",
        ("wipefs", "/dev/vdb"),
        "let go of /dev/vdb",
        "hold /dev/vdb",
        WRITE,
        "let go of /dev/vdb",
        ("lvs",),
        "hold /dev/vdc",
        ("wipefs", "/dev/vdc"),
        "let go of /dev/vdc",
    ]


def test_a_device_that_is_not_granted_is_left_alone_and_ends_it():
    host = Recorder()
    with pytest.raises(RefusedError, match="/dev/vdb"):
        steps.take_steps([Step("run", ("lvs",)), *on_devices(host, granted=False)], host)
    assert host.asked == [("lvs",)]


def test_a_device_is_let_go_of_where_its_step_fails():
    host = Recorder(failing=("wipefs", "/dev/vdb"))
    with pytest.raises(ProcessError):
        steps.take_steps(on_devices(host), host)
    assert host.asked == ["hold /dev/vdb", ("wipefs", "/dev/vdb"), "let go of /dev/vdb"]


def test_the_sentences_are_told():
    assert steps.actions(STEPS) == ["tell", "run", "write", "both"]


def test_several_refusals_are_one_with_a_line_each():
    refusal = RefusedErrors(iter(["a", "b"]))
    assert isinstance(refusal, RefusedError)
    assert (str(refusal), refusal.reasons) == ("a\nb", ("a", "b"))


def test_what_no_command_does_is_done_after_what_one_does():
    host = Recorder()
    steps.take_steps([Step("both", ("lvs",), work=lambda: host.asked.append("worked")), Step("run", ("vgs",))], host)
    assert host.asked == [("lvs",), "worked", ("vgs",)]


def test_what_was_done_for_a_step_that_fails_is_taken_back():
    one = Step("label one", ("pvcreate", "1"), undo=("pvremove", "1"))
    two = Step("label two", ("pvcreate", "2"), undo=("pvremove", "2"))
    last = Step("make a group", ("vgcreate",))
    host = Recorder(failing=("vgcreate",))
    with pytest.raises(ProcessError):
        steps.take_steps([one, Step("tell"), two, last], host)
    assert host.asked[2:] == [("vgcreate",), ("pvremove", "2"), ("pvremove", "1")]


def test_only_what_was_done_is_taken_back():
    """What failed may have become somebody else's meanwhile."""
    host = Recorder(failing=("pvcreate", "2"))
    one, two = (Step("label", ("pvcreate", name), undo=("pvremove", name)) for name in ("1", "2"))
    with pytest.raises(ProcessError):
        steps.take_steps([one, two], host)
    assert host.asked == [("pvcreate", "1"), ("pvcreate", "2"), ("pvremove", "1")]


def test_what_cannot_be_taken_back_hides_no_error():
    class Stubborn(Recorder):
        def run(self, *command):
            self.asked.append(command)
            if command[0] != "pvcreate":
                raise ProcessError(command[0], command)

    host = Stubborn()
    with pytest.raises(ProcessError, match="vgcreate"):
        steps.take_steps([Step("a", ("pvcreate",), undo=("pvremove",)), Step("b", ("vgcreate",))], host)
    assert host.asked == [("pvcreate",), ("vgcreate",), ("pvremove",)]


def test_nothing_is_taken_back_where_all_goes_well():
    host = Recorder()
    steps.take_steps([Step("label", ("pvcreate",), undo=("pvremove",)), Step("group", ("vgcreate",))], host)
    assert host.asked == [("pvcreate",), ("vgcreate",)]
