# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks and the archive take what git tracks, as it stands in the checkout, and nothing else that lies about."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The tools are scripts that import each other by their folder. They run on newer Pythons than modules do.
if sys.version_info < (3, 11):
    pytest.skip("the tools need a newer Python", allow_module_level=True)
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import collection  # noqa: E402
import workshop  # noqa: E402


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, cwd=self.root, stdout=subprocess.DEVNULL)

    def write(self, name: str, text: str = "") -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Checkout]:
    """Return files without a repository, of which one is built by running things."""
    # Neither the user's settings, nor what git tells its hooks, nor a repository that the folder for tests may lie in.
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for module in (workshop, collection):
        monkeypatch.setattr(module, "ROOT", tmp_path / "checkout")
    here = Checkout(tmp_path / "checkout")
    here.write(".gitignore", "/dist/\n*.pyc\n")
    here.write("galaxy.yml", "name: containers\n")
    here.write("plugins/modules/lvm_pv.py")
    here.write("dist/old.tar.gz")
    workshop.tracked_files.cache_clear()
    yield here
    workshop.tracked_files.cache_clear()


@pytest.fixture
def checkout(unpacked: Checkout) -> Checkout:
    """Return the same as a repository in which all of it is added."""
    unpacked.git("init", "--quiet")
    unpacked.git("add", ".")
    return unpacked


ALL = [".gitignore", "galaxy.yml", "plugins/modules/lvm_pv.py"]
STRAY = ["importer_result.json", "bad.py", "bad.yml", "plugins/modules/scratch.py", ".vault password"]


def test_what_git_does_not_track_is_left_out_and_told(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    for name in STRAY:
        checkout.write(name, "{ nonsense")
    assert workshop.tracked_files() == ALL
    said = capsys.readouterr().err
    assert "since git does not track it (git add): .vault password, bad.py, bad.yml, importer_result.json" in said


def test_says_nothing_where_all_is_tracked(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    workshop.tracked_files()
    assert capsys.readouterr().err == ""


def test_a_file_counts_from_git_add_on(checkout: Checkout) -> None:
    checkout.write("playbooks/new one.yml")
    checkout.git("add", "playbooks")
    assert workshop.tracked_files() == [*ALL[:2], "playbooks/new one.yml", ALL[2]]


def test_a_file_that_is_gone_does_not_count(checkout: Checkout) -> None:
    (checkout.root / "galaxy.yml").unlink()
    assert workshop.tracked_files() == [ALL[0], ALL[2]]


def test_an_ignored_file_counts_once_it_is_tracked(checkout: Checkout) -> None:
    checkout.write("docs/kept.pyc")
    checkout.git("add", "--force", "docs/kept.pyc")
    assert "docs/kept.pyc" in workshop.tracked_files()


def test_a_copy_has_changes_that_are_not_committed_and_no_strays(checkout: Checkout) -> None:
    checkout.write("galaxy.yml", "name: changed\n")
    checkout.write("bad.py", "def")
    with collection.copied() as tree:
        copied = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
        assert copied == ALL
        assert (tree / "galaxy.yml").read_text(encoding="utf-8") == "name: changed\n"


def test_without_a_repository_all_counts_but_what_git_would_ignore(unpacked: Checkout) -> None:
    unpacked.write("importer_result.json")
    assert workshop.tracked_files() == [*ALL[:2], "importer_result.json", ALL[2]]


@pytest.mark.parametrize("ignored", ["", "/checkout/\n"])
def test_a_repository_around_an_unpacked_archive_is_not_asked(unpacked: Checkout, ignored: str) -> None:
    around = Checkout(unpacked.root.parent)
    around.git("init", "--quiet")
    around.write(".gitignore", ignored)
    around.git("add", ".gitignore")
    assert workshop.tracked_files() == ALL


def test_a_pattern_is_one_of_the_whole_name(checkout: Checkout) -> None:
    checkout.write("tests/unit/plugins/modules/test_lvm_pv.py")
    checkout.git("add", "tests")
    checkout.write("plugins/modules/scratch.py")
    assert workshop.tracked("plugins/modules/*.py") == [checkout.root / "plugins/modules/lvm_pv.py"]
