# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils import _plan
from ansible_collections.devicemapper.containers.plugins.module_utils._file import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import Refused, Step, Unwanted

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
            raise RuntimeError(command)

    def write(self, change):
        self.asked.append(change)


def test_steps_are_taken_in_their_order():
    host = Recorder()
    _plan.carry_out(STEPS, host)
    assert host.asked == [("lvs",), WRITE, WRITE, ("dmeventd", "-R")]


def test_the_first_failure_ends_it():
    host = Recorder(failing=("lvs",))
    with pytest.raises(RuntimeError):
        _plan.carry_out(STEPS, host)
    assert host.asked == [("lvs",)]


def test_the_sentences_are_told():
    assert _plan.actions(STEPS) == ["tell", "run", "write", "both"]


def test_several_refusals_are_one_with_a_line_each():
    refusal = Unwanted(iter(["a", "b"]))
    assert isinstance(refusal, Refused)
    assert (str(refusal), refusal.reasons) == ("a\nb", ("a", "b"))
