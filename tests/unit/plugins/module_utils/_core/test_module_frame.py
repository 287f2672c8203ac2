# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The frame around every module."""

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks, module_frame, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import ProcessError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step


class Ended(Exception):
    pass


class Module:
    """A module as far as it is asked here."""

    def __init__(self, check_mode=False):
        self.check_mode = check_mode
        self.said = {}

    def exit_json(self, **result):
        self.said = result
        raise Ended

    def fail_json(self, **result):
        self.said = {"failed": True, **result}
        raise Ended


def answer(work, check_mode=False, **options):
    module = Module(check_mode)
    with pytest.raises(Ended):
        module_frame.run(module, work, **options)
    return module.said


def fails(error):
    def work():
        raise error

    return work


def test_the_result_of_the_work_is_that_of_the_module():
    assert answer(lambda: {"changed": False}) == {"changed": False}


def test_a_refusal_is_told_as_it_is():
    assert answer(fails(RefusedError("no such disk"))) == {"failed": True, "msg": "no such disk"}


def test_a_command_that_failed_is_told_with_its_status():
    said = answer(fails(ProcessError("lvs failed", ["lvs"], 5, "some error")))
    assert said == {"failed": True, "msg": "lvs failed", "cmd": ["lvs"], "rc": 5, "stderr": "some error"}


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        pytest.param({}, True, id="changes"),
        pytest.param({"check_mode": True}, False, id="check-mode"),
        pytest.param({"only_reads": True}, False, id="only-reads"),
    ],
)
def test_only_what_changes_something_takes_the_lock(lock, monkeypatch, options, waits):
    monkeypatch.setattr(process, "TIMEOUT", 0)
    with locks.locked(str(lock), 0, create=True):
        assert answer(lambda: {"changed": False}, **options).get("failed", False) is waits


def test_in_check_mode_no_step_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "run", None)
    steps = [Step("run", ("lvs",)), Step("write", write=Write(str(tmp_path / "x"), "text"))]
    assert module_frame.carry_out(Module(check_mode=True), steps) == []
    assert list(tmp_path.iterdir()) == []


def test_steps_are_taken_where_it_is_no_check(commands):
    commands.expect("lvs")
    assert module_frame.carry_out(Module(), [Step("run", ("lvs",))]) == []


@pytest.mark.parametrize("steps", [[], [Step("run", ("lvs",))]])
def test_a_result_has_a_diff_where_there_are_steps(steps):
    found = module_frame.result(steps, {"a": 1}, {"a": 2}, "it", more=3)
    assert (found["changed"], found["actions"], found["more"]) == (bool(steps), ["run"] * len(steps), 3)
    assert found.get("diff") == (
        {"before_header": "it", "after_header": "it", "before": {"a": 1}, "after": {"a": 2}} if steps else None
    )
