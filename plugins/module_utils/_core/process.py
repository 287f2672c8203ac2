# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The one place that starts processes on the managed host."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import typing as t

# A volume group lock may be held by dmeventd for as long as an extension takes, and zeroing 16 GiB of pool
# metadata on a slow disk takes minutes: long enough for both, short enough that a play does not hang for ever.
TIMEOUT = 600

# Bytes of a line of the journal, as JSON. LVM's are below 1 KiB, the kernel's below 2; the rest is the fields' names.
LONGEST_LINE = 64 * 1024
_LONGEST_REASON = 64 * 1024  # bytes of what a program complains of

# LVM_SUPPRESS_FD_WARNINGS: Ansible's open pipes are no concern of LVM's (lvm(8)).
_ENVIRONMENT = {"LC_ALL": "C", "LANGUAGE": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
# Somebody's wishes for LVM commands of their own, which would send or shape the output of ours (lvm(8)).
_NOT_INHERITED = ("LVM_COMMAND_PROFILE", "LVM_OUT_FD", "LVM_ERR_FD", "LVM_REPORT_FD")
# LVM lives in sbin, which a shell reached through su or a bare ssh command may not have in its PATH.
_PATH = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
)

# What programs get as standard input; see inherit_lock().
_standard_input = [subprocess.DEVNULL]


@contextlib.contextmanager
def inherit_lock(descriptor: int) -> t.Iterator[None]:
    """Let every program hold the lock on an empty file as well, until it ends: the file is its standard input.

    A program outlives a module that is killed. The next run must wait for it, since what it reads before would be what
    the program is about to change. LVM closes all descriptors but the first three, so it cannot be another one.
    """
    _standard_input.append(descriptor)
    try:
        yield
    finally:
        _standard_input.pop()


class ProcessError(Exception):
    """A command that could not be started, did not end in time, or failed."""

    def __init__(self, message: str, command: t.Sequence[str], rc: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.command = tuple(command)
        self.rc = rc
        self.stderr = stderr

    def as_result(self) -> dict[str, t.Any]:
        """Return the keys of a failed module result."""
        return {"msg": str(self), "cmd": list(self.command), "rc": self.rc, "stderr": self.stderr}


def find(program: str) -> str | None:
    """Return the path of a program on this host, or None."""
    return shutil.which(program, path=_PATH)


def run(*command: str, accept: t.Container[int] = (0,), timeout: float = TIMEOUT, ends_with_us: bool = False) -> str:
    """Run a command and return its standard output; anything but an accepted exit status is a ProcessError.

    Standard input has nothing in it, so that nothing waits for an answer, and the two outputs are kept apart,
    because LVM's errors would land inside its JSON. A program that ``ends_with_us`` is over when this is left, by an
    exception of a signal's or a time limit's too; others go on then, and keep the lock that they inherited.
    """
    return finish(*command, accept=accept, timeout=timeout, ends_with_us=ends_with_us)[1]


def finish(
    *command: str, accept: t.Container[int] = (0,), timeout: float = TIMEOUT, ends_with_us: bool = False
) -> tuple[int, str, str]:
    """Run a command like :func:`run` and return its exit status, its output, and what it complained of."""
    process = _start(command, subprocess.PIPE)
    try:
        out, err = (text.decode("utf-8", "replace") for text in process.communicate(timeout=timeout))
    except subprocess.TimeoutExpired as error:
        process.terminate()
        if ends_with_us:
            _end(process)
        raise ProcessError(
            f"{_in_words(command)} had not ended after {timeout:.0f} seconds and was asked to stop. Another LVM "
            "command may hold the volume group's lock, or a device no longer answers: see 'ps -ef | grep lv' and the "
            "kernel log",
            command,
        ) from error
    except BaseException:
        if ends_with_us:
            _end(process)
        raise
    _check(command, process.returncode, accept, err)
    return process.returncode, out, err


def lines(*command: str, timeout: float = TIMEOUT, longest: int = LONGEST_LINE) -> t.Iterator[bytes]:
    """Yield a program's output line by line while it is written; where the iteration ends, so does the program.

    No more than a line is kept at a time. One of more than so many bytes is left out, and so is an incomplete last one.
    """
    with tempfile.TemporaryFile() as errors:
        process = _start(command, errors)
        timer = threading.Timer(timeout, process.terminate)
        timer.daemon = True
        timer.start()
        try:
            yield from _complete(process.stdout, longest)
            process.wait()
        finally:
            is_late = not timer.is_alive()
            timer.cancel()
            process.stdout.close()
            _end(process)
        if is_late:
            raise ProcessError(
                f"{_in_words(command)} had not ended after {timeout:.0f} seconds and was asked to stop", command
            )
        errors.seek(0)
        _check(command, process.returncode, (0,), errors.read(_LONGEST_REASON).decode("utf-8", "replace"))


@contextlib.contextmanager
def running(*command: str) -> t.Iterator[t.Callable[[], bool]]:
    """Run a command meanwhile, and yield what tells whether it still runs; that it failed is a ProcessError then.

    It is asked to stop where this is left. It does not hold the lock of inherit_lock(): one that sleeps, and is left
    behind when the run is killed, keeps nobody waiting.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        process = _start(command, errors, output=output, standard_input=subprocess.DEVNULL)

        def is_running() -> bool:
            if process.poll() is None:
                return True
            errors.seek(0)
            _check(command, process.returncode, (0,), errors.read(_LONGEST_REASON).decode("utf-8", "replace"))
            return False

        try:
            yield is_running
        finally:
            # More than once: LVM forgets a signal that comes while it changes something (seen).
            for _attempt in range(30):
                if process.poll() is not None:
                    break
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=2)


def _complete(output: t.BinaryIO, longest: int) -> t.Iterator[bytes]:
    is_rest = False
    for row in iter(lambda: output.readline(longest), b""):
        is_end = row.endswith(b"\n")
        if is_end and not is_rest:
            yield row
        is_rest = not is_end


def _start(
    command: tuple[str, ...],
    errors: t.Any,
    *,
    output: t.Any = subprocess.PIPE,
    standard_input: int | None = None,
) -> t.Any:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    try:
        # Not AnsibleModule.run_command(), which knows no timeout, nor subprocess.run(), which kills outright at the end
        # of one: an LVM command that is killed may leave a device suspended, and all its I/O hanging.
        return subprocess.Popen(  # pylint: disable=ansible-bad-function
            command,
            stdin=_standard_input[-1] if standard_input is None else standard_input,
            stdout=output,
            stderr=errors,
            env={**inherited, **_ENVIRONMENT, "PATH": _PATH},
            executable=find(command[0]),
        )
    except (OSError, ValueError) as error:  # the latter: a null character, or half of one, in a word
        reason = getattr(error, "strerror", None) or error
        raise ProcessError(f"{command[0]} could not be started: {reason}", command) from error


def _end(process: t.Any) -> None:
    """End a program that only reads, and wait for it; one that waits for a device may not be ended by anything."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)


def _in_words(command: t.Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in command)


def _check(command: tuple[str, ...], status: int, accept: t.Container[int], err: str) -> None:
    if status not in accept:
        reason = "; ".join(line.strip() for line in err.splitlines() if line.strip()) or "it gave no reason"
        raise ProcessError(f"{_in_words(command)} failed with status {status}: {reason}", command, status, err)
