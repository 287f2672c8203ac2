# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From where a newer Debian's Python comes, and what is left and told where it does not come."""

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


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """Return what puts a shell script in the place of apt-get, and have the Python unpacked below a scratch folder."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(debian_python, "FOLDER", tmp_path / "python")

    def script(text: str) -> None:
        (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / "apt-get").chmod(0o755)

    return script


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("https://mirror.example.org/debian Debian", "https://mirror.example.org/debian"),
        ("http://b.example.org/d Debian\nhttp://a.example.org/d Debian", "http://a.example.org/d"),
        ("http://a.example.org/s Debian-Security\nhttp://b.example.org/d Debian", "http://b.example.org/d"),
        ("file:/srv/debian Debian", "http://deb.debian.org/debian"),
        ("", "http://deb.debian.org/debian"),
    ],
)
def test_the_machines_own_mirror_is_asked(apt: t.Callable[[str], None], targets: str, expected: str) -> None:
    apt(f"echo '{targets}'")
    assert debian_python.mirror() == expected


def test_apt_sees_that_release_alone_and_nothing_installed(apt: t.Callable[[str], None], tmp_path: Path) -> None:
    apt(f'echo "$*" >> {tmp_path}/said')
    folder = tmp_path / "python" / "apt"
    assert debian_python.download(folder) == []
    said = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    private = f"-c {folder}/settings --quiet --quiet --yes"
    assert said[1:] == [f"{private} update", f"{private} --download-only install python3.13-venv"]
    assert "Suites: trixie\n" in (folder / "sources" / "trixie.sources").read_text(encoding="utf-8")
    assert (folder / "status").read_text(encoding="utf-8") == ""
    settings = (folder / "settings").read_text(encoding="utf-8")
    for kept in ("State", "Cache", "Etc::SourceParts"):
        assert f'Dir::{kept} "{folder}' in settings


def test_a_failure_says_why_and_what_to_do_and_leaves_nothing_that_looks_whole(apt: t.Callable[[str], None]) -> None:
    apt("echo 'E: no such mirror' >&2; exit 100")
    with pytest.raises(SystemExit) as stopped:
        debian_python.fetch()
    assert "E: no such mirror\nA Python 3.13 with venv on the PATH, or pyenv's, is used instead" in str(stopped.value)
    assert not debian_python.is_complete()
