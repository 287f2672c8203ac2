# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import systemd


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
