# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ansible-core and which Python the commands take."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The tools are scripts that import each other by their folder. They run on newer Pythons than modules do.
if sys.version_info < (3, 11):
    pytest.skip("the tools need a newer Python", allow_module_level=True)
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import debian_python  # noqa: E402
import environments  # noqa: E402


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of requirement files."""
    for name, pythons in {
        "core-2.9": "3.8 - 3.9",
        "core-2.19": "3.11 - 3.13",
        "core-2.22": "3.13 - 3.14",
        "guest-2.10": "3.11 - 3.13",
        "target-3.8": "3.8 - 3.8",
    }.items():
        (tmp_path / f"requirements-{name}.txt").write_text(f"# Python {pythons}\n", encoding="utf-8")
    monkeypatch.setattr(environments, "TOOLS", tmp_path)
    return tmp_path


class Machine:
    def __init__(self, *versions: str) -> None:
        self.found = {version: f"/usr/bin/python{version}" for version in versions}
        self.fetched = 0

    def fetch(self) -> None:
        self.fetched += 1
        self.found[debian_python.VERSION] = str(debian_python.PROGRAM)


@pytest.fixture
def machine(tools: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Machine]:
    """Return what makes this a machine with these Pythons, and an apt unless told otherwise."""

    def with_pythons(*versions: str, apt: bool = True) -> Machine:
        here = Machine(*versions)

        def interpreters() -> dict[str, str]:
            return here.found

        interpreters.cache_clear = lambda: None  # type: ignore[attr-defined]
        monkeypatch.setattr(environments, "interpreters", interpreters)
        monkeypatch.setattr(debian_python, "can_be_fetched", lambda: apt)
        monkeypatch.setattr(debian_python, "fetch", here.fetch)
        return here

    return with_pythons


def test_cores_are_in_the_order_of_their_numbers(tools: Path) -> None:
    assert environments.known_cores("core") == ["2.9", "2.19", "2.22"]
    assert environments.core_for("core", "") == "2.9"
    assert environments.core_for("core", "2.22") == "2.22"


@pytest.mark.parametrize("wrong", ["2.18", "2.1", "newest", "2.22.0rc1", " 2.22"])
def test_another_core_is_refused_with_those_there_are(tools: Path, wrong: str) -> None:
    with pytest.raises(SystemExit, match=rf"CORE is '{wrong}'; for this it can be 2.9 or 2.19 or 2.22$"):
        environments.core_for("core", wrong)


def test_the_oldest_python_that_fits_is_taken(machine: t.Callable[..., Machine]) -> None:
    here = machine("3.9", "3.13", "3.11", "3.12")
    assert environments.interpreter_for("core-2.19") == ("3.11", "/usr/bin/python3.11")
    assert environments.interpreter_for("core-2.22") == ("3.13", "/usr/bin/python3.13")
    assert here.fetched == 0


@pytest.mark.parametrize("own", ["3.11", "3.14"])
def test_where_none_fits_debians_is_fetched(machine: t.Callable[..., Machine], own: str) -> None:
    here = machine(own)
    name = {"3.11": "core-2.22", "3.14": "core-2.19"}[own]
    assert environments.interpreter_for(name) == ("3.13", str(debian_python.PROGRAM))
    assert here.fetched == 1


def test_nothing_is_fetched_that_does_not_fit(machine: t.Callable[..., Machine]) -> None:
    here = machine("3.11")
    assert environments.interpreter_for("target-3.8") is None
    assert here.fetched == 0


def test_without_apt_what_cannot_run_is_left_out_and_told(
    machine: t.Callable[..., Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    machine("3.11", apt=False)
    assert environments.cores() == ["2.19"]
    assert "ansible-core 2.22 left out: no Python 3.13 to 3.14 here" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no Python here runs"):
        environments.cores("2.22")


def test_debians_python_is_found_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "usr" / "bin" / "python3.13"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {program}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    monkeypatch.setattr(debian_python, "FOLDER", tmp_path)
    monkeypatch.setattr(debian_python, "PROGRAM", program)
    assert environments.interpreters.__wrapped__() == {}
    (tmp_path / "complete").touch()
    assert environments.interpreters.__wrapped__() == {"3.13": str(program)}


def test_the_machines_own_python_goes_before_pyenvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever pyenv puts first on the PATH of what it starts."""
    own, shims = tmp_path / "usr" / "bin", tmp_path / "pyenv" / "shims"
    selected, another = (tmp_path / "pyenv" / "versions" / version / "bin" for version in ("3.11.7", "3.12.1"))
    for folder, version in ((own, "3.11"), (shims, "3.11"), (selected, "3.11"), (another, "3.12")):
        folder.mkdir(parents=True)
        program = folder / f"python{version}"
        program.write_text(f"#!/bin/sh\necho {program}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{selected}:{shims}:{own}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(debian_python, "FOLDER", tmp_path / "nowhere")
    assert environments.interpreters.__wrapped__() == {
        "3.11": str(own / "python3.11"),
        "3.12": str(another / "python3.12"),
    }


def test_every_environment_says_which_pythons_it_is_for() -> None:
    names = [path.stem[len("requirements-") :] for path in (ROOT / "tests" / "tools").glob("requirements-*.txt")]
    assert names
    for name in names:
        oldest, newest = map(environments.minor, environments.python_range(name))
        assert oldest <= newest


def test_guests_are_run_with_the_oldest_and_the_newest_core() -> None:
    cores = environments.known_cores("core")
    assert environments.known_cores("molecule") == [cores[0], cores[-1]]
