# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd


def unit_of(text):
    """Return systemd's properties from the lines of a captured ``systemctl show``."""
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_captured_units_flags_are_read(captured):
    unit = unit_of(captured("docker_unit.txt").replace("/etc/default/docker", "/nonexistent"))
    assert systemd.flags(unit) == ("-H", "fd://", "--containerd=/run/containerd/containerd.sock")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param('DOCKER_OPTS="--debug --log-level=warn"', ("--debug", "--log-level=warn"), id="double-quotes"),
        pytest.param("DOCKER_OPTS='-s overlay2'", ("-s", "overlay2"), id="single-quotes"),
        pytest.param("DOCKER_OPTS=-D", ("-D",), id="no-quotes"),
        pytest.param("# DOCKER_OPTS=-D", (), id="comment"),
        pytest.param("#DOCKER_OPTS=-D", (), id="comment-without-a-blank"),
        pytest.param("OTHER=-D", (), id="another-variable"),
        pytest.param("DOCKER_OPTS=", (), id="empty"),
        pytest.param("DOCKER_OPTS=-D\nDOCKER_OPTS=-l info", ("-l", "info"), id="the-last-counts"),
    ],
)
def test_variables_of_an_environment_file_are_put_in(captured, tmp_path, line, words):
    environment = tmp_path / "docker"
    environment.write_text(line + "\n", encoding="utf-8")
    unit = unit_of(captured("docker_unit.txt").replace("/etc/default/docker", str(environment)))
    assert systemd.flags(unit)[3:] == words


def test_variables_of_the_unit_are_put_in(captured):
    text = captured("docker_unit.txt").replace("/etc/default/docker", "/nonexistent")
    text = text.replace("Environment=\n", 'Environment=LANG=C "DOCKER_OPTS=-s overlay2" HOST=fd://\n')
    text = text.replace("-H fd://", "-H ${HOST}")
    assert systemd.flags(unit_of(text)) == (
        *("-H", "fd://", "--containerd=/run/containerd/containerd.sock"),
        *("-s", "overlay2"),
    )


def test_the_environment_file_counts_more_than_the_unit(captured, tmp_path):
    environment = tmp_path / "docker"
    environment.write_text("DOCKER_OPTS=-D\n", encoding="utf-8")
    text = captured("docker_unit.txt").replace("/etc/default/docker", str(environment))
    text = text.replace("Environment=\n", "Environment=DOCKER_OPTS=--tls\n")
    assert systemd.flags(unit_of(text))[3:] == ("-D",)


@pytest.mark.parametrize("unit", [{}, {"LoadState": "not-found"}, {"ExecStart": ""}])
def test_a_unit_that_is_not_there_has_no_flags(unit):
    assert systemd.flags(unit) == ()


class TestAUnitThatDoesNotStart:
    STARTED = ("systemctl", "start", "thin-pool-monitor.service")

    @pytest.fixture
    def asked(self, monkeypatch):
        """Have a journal, and return the commands that ask it."""
        commands = []

        def run(*command, timeout):
            commands.append(command)
            return "first\n\nhttps://me:secret@host failed, token=abc\n"

        monkeypatch.setattr(process, "run", run)
        return commands

    def test_its_journal_tells_why(self, asked):
        error = process.ProcessError("it failed", self.STARTED, 1, "Job failed.")
        told = systemd.with_journal(error)
        assert str(told) == (
            "it failed. The last lines of its journal: first; https://********@host failed, token=********"
        )
        assert (told.command, told.rc, told.stderr) == (error.command, 1, "Job failed.")
        assert [command[-1] for command in asked] == ["--unit=thin-pool-monitor.service"]

    def test_options_are_no_units(self, asked):
        systemd.with_journal(
            process.ProcessError("it failed", ("systemctl", "enable", "--now", "--quiet", "a.timer"), 1)
        )
        assert [word for word in asked[0] if word.startswith("--unit")] == ["--unit=a.timer"]

    @pytest.mark.parametrize(
        "command", [("systemctl", "daemon-reload"), ("systemctl", "stop", "docker.service"), ("lvs",), ()]
    )
    def test_other_errors_are_as_they_were(self, asked, command):
        error = process.ProcessError("it failed", command, 1)
        assert systemd.with_journal(error) is error
        assert not asked

    def test_a_journal_that_cannot_be_read_hides_no_error(self, monkeypatch):
        def run(*command, timeout):
            raise process.ProcessError("no journal", command)

        monkeypatch.setattr(process, "run", run)
        error = process.ProcessError("it failed", self.STARTED, 1)
        assert systemd.with_journal(error) is error
