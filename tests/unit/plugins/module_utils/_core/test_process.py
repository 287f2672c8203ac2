# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.process import ProcessError


def python(code):
    return (sys.executable, "-c", code)


def test_the_two_outputs_are_kept_apart():
    assert process.run(*python("import sys; print('report'); print('WARNING', file=sys.stderr)")) == "report\n"


def test_standard_input_is_closed(commands):
    commands.expect("lvs")
    process.run("lvs")
    assert commands.options[0]["stdin"] == subprocess.DEVNULL


def test_programs_speak_english_and_find_sbin(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("KEPT", "yes")
    names = "LC_ALL LANGUAGE LVM_SUPPRESS_FD_WARNINGS KEPT PATH"
    out = process.run(*python(f"import os; print(*map(os.environ.get, '{names}'.split()), sep=chr(10))")).splitlines()
    assert out[:4] == ["C", "C", "1", "yes"]
    assert {"/usr/sbin", "/sbin"} <= set(out[4].split(":"))


def test_output_that_is_no_utf8_is_read():
    assert process.run(*python("import sys; sys.stdout.buffer.write(b'a' + bytes([255]))")) == "a\ufffd"


def test_a_failure_is_told_with_command_status_and_reason(commands):
    commands.expect("lvextend", stdout="x", stderr="  Insufficient free space:\n\n  487 needed\n", rc=5)
    with pytest.raises(ProcessError) as error:
        process.run("lvextend", "--yes", "a b")
    assert error.value.as_result() == {
        "msg": "lvextend --yes 'a b' failed with status 5: Insufficient free space:; 487 needed",
        "cmd": ["lvextend", "--yes", "a b"],
        "rc": 5,
        "stderr": "  Insufficient free space:\n\n  487 needed\n",
    }


def test_a_failure_without_words_says_so(commands):
    commands.expect("x", rc=1)
    with pytest.raises(ProcessError, match="x failed with status 1: it gave no reason"):
        process.run("x")


def test_an_accepted_status_is_no_failure(commands):
    commands.expect("lvm", "report", rc=5)
    assert process.finish("lvm", accept=(0, 5)) == (5, "report", "")


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        ProcessError, match="^/nonexistent/lvm could not be started: No such file or directory$"
    ) as error:
        process.run("/nonexistent/lvm")
    assert error.value.rc is None


def test_a_word_that_no_program_can_be_given_is_told():
    with pytest.raises(ProcessError, match="^true could not be started: embedded null byte$"):
        process.run("true", "a\0b")


def test_a_program_that_does_not_end_is_asked_to_stop(monkeypatch):
    processes = []

    def start(*words, **options):
        processes.append(subprocess.Popen(*words, **options))
        return processes[-1]

    script = type("script", (), {name: getattr(subprocess, name) for name in ("PIPE", "DEVNULL", "TimeoutExpired")})
    script.Popen = staticmethod(start)
    monkeypatch.setattr(process, "subprocess", script)
    with pytest.raises(
        ProcessError, match=r"had not ended after 0 seconds and was asked to stop\. Another LVM command"
    ):
        process.run(*python("import time; time.sleep(60)"), timeout=0.2)
    assert processes[0].wait(timeout=10) == -15


def test_a_program_is_found_on_this_host():
    assert process.find("sh")
    assert process.find("no-such-program-anywhere") is None


def test_a_program_that_outlives_its_module_keeps_the_lock(tmp_path):
    # What a killed module leaves running: its own descriptor is gone, the program's is not.
    path = str(tmp_path / "lock")
    with locks.locked(path, 0, create=True) as descriptor, process.inherit_lock(descriptor):
        assert process.run(*python("import sys; print(sys.stdin.read())")) == "\n"
        sleeper = subprocess.Popen(("sleep", "60"), stdin=descriptor)
    with pytest.raises(RefusedError, match="a program that an interrupted run started"), locks.locked(path, 0):
        pass
    sleeper.kill()
    sleeper.wait()
    with locks.locked(path, 0):
        pass


def test_only_within_a_run_is_a_lock_lent(commands, tmp_path):
    with locks.locked(str(tmp_path / "lock"), 0, create=True) as descriptor:
        with process.inherit_lock(descriptor):
            commands.expect("lvcreate")
            process.run("lvcreate")
        commands.expect("lvs")
        process.run("lvs")
    assert [options["stdin"] for options in commands.options] == [descriptor, subprocess.DEVNULL]


# --- Line by line -----------------------------------------------------------------------------------------------------


def test_lines_come_while_the_program_still_runs():
    script = "import sys, time; print('one', flush=True); print('half', end='', flush=True); time.sleep(60)"
    found = process.lines(*python(script))
    assert next(found) == b"one\n"
    started = time.monotonic()
    found.close()
    assert time.monotonic() - started < 10


def test_a_line_that_is_too_long_is_left_out_and_so_is_an_incomplete_one():
    script = "print('a' * 9); print('b' * 10); print('c' * 50); print('d'); print('e', end='')"
    assert list(process.lines(*python(script), longest=10)) == [b"a" * 9 + b"\n", b"d\n"]


def test_lines_of_a_program_that_fails_end_with_its_reason():
    script = "import sys; print('one'); print('broken', file=sys.stderr); sys.exit(3)"
    found = process.lines(*python(script))
    assert next(found) == b"one\n"
    with pytest.raises(ProcessError, match="failed with status 3: broken") as error:
        next(found)
    assert (error.value.rc, error.value.stderr) == (3, "broken\n")


def test_lines_of_a_program_that_does_not_end_have_an_end():
    with pytest.raises(ProcessError, match=r"had not ended after 0 seconds and was asked to stop$"):
        list(process.lines(*python("import time; time.sleep(60)"), timeout=0.3))


class Late(BaseException):
    """As what a signal raises."""


@pytest.mark.parametrize("ends_with_us", [True, False])
def test_a_program_that_reads_what_is_lent_to_it_ends_before_that_is_taken_back(tmp_path, ends_with_us):
    """thin_ls reads a snapshot that is released when this is left: by SIGTERM, or by the exporter's time limit."""
    alive = tmp_path / "alive"
    script = f"import pathlib, time; pathlib.Path({str(alive)!r}).touch(); time.sleep(60)"

    def ring(*_arguments):
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    started = []
    real = subprocess.Popen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            process.subprocess, "Popen", lambda *words, **options: started.append(real(*words, **options)) or started[0]
        )
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(Late):
                process.run(*python(script), ends_with_us=ends_with_us)
            assert (started[0].poll() is not None) is ends_with_us
        finally:
            signal.signal(signal.SIGALRM, before)
            started[0].kill()
            started[0].wait()


def test_wishes_for_other_lvm_commands_are_not_handed_on(commands, monkeypatch):
    for name in ("LVM_COMMAND_PROFILE", "LVM_OUT_FD", "LVM_ERR_FD", "LVM_REPORT_FD", "LVM_SYSTEM_DIR"):
        monkeypatch.setenv(name, "3")
    commands.expect("lvm", "report", stderr="WARNING: x\n", rc=5)
    assert process.finish("lvm", accept=(0, 5)) == (5, "report", "WARNING: x\n")
    (options,) = commands.options
    assert [name for name in sorted(options["env"]) if name.startswith("LVM_")] == [
        "LVM_SUPPRESS_FD_WARNINGS",
        "LVM_SYSTEM_DIR",
    ]


def test_a_program_that_runs_meanwhile_is_ended_and_holds_no_lock(tmp_path):
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    lent = "import os, time; print(os.readlink('/proc/self/fd/0'), file=open(%r, 'w')); time.sleep(100)"
    told = tmp_path / "told"
    with process.inherit_lock(lock), process.running(*python(lent % str(told))) as is_running:
        while not (told.exists() and told.read_text()):
            assert is_running()
            time.sleep(0.01)
        number = subprocess.run(["pgrep", "-f", str(told)], check=True, capture_output=True, text=True).stdout.split()[
            0
        ]
    assert told.read_text() == "/dev/null\n"
    assert not os.path.exists(f"/proc/{number}")
    os.close(lock)


def test_a_program_that_ignores_the_first_signal_is_asked_again():
    stubborn = (
        "import signal, sys, time\n"
        "def first(*_): signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGTERM, first); print('ready', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    begin = time.monotonic()
    with process.running(*python(stubborn)) as is_running:
        time.sleep(0.5)  # until it has its own answer to the signal
        assert is_running()
    assert time.monotonic() - begin < 20


def test_a_program_that_fails_meanwhile_ends_with_its_reason():
    script = "import sys; print('no such disk', file=sys.stderr); sys.exit(3)"

    def follow():
        with process.running(*python(script)) as is_running:
            while is_running():
                time.sleep(0.01)

    with pytest.raises(process.ProcessError, match="failed with status 3: no such disk"):
        follow()
