# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which releases make release refuses, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The tools are scripts that import each other by their folder. They run on newer Pythons than modules do.
if sys.version_info < (3, 11):
    pytest.skip("the tools need a newer Python", allow_module_level=True)
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import environments  # noqa: E402
import release  # noqa: E402

IN_ORDER = [
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def test_versions_are_in_the_order_of_semver() -> None:
    ranks = [release.rank(version) for version in IN_ORDER]
    assert None not in ranks
    assert ranks == sorted(ranks)
    assert len({str(rank) for rank in ranks}) == len(IN_ORDER)


@pytest.mark.parametrize(
    "version", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+b", "1.0.0\n"]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    reason = release.refusal(version, [], [], True)
    assert reason is not None
    assert "give one like VERSION=1.2.0" in reason


def test_a_version_must_be_greater_than_the_last() -> None:
    released = ["1.9.0", "1.10.0", "1.2.0", "not-a-version"]
    for version in ("1.10.0", "1.9.1", "1.10.0-rc.1"):
        assert "1.10.0 is released already: give a greater one" in str(release.refusal(version, released, [], True))
    assert release.refusal("1.10.1", released, [], True) is None
    assert release.refusal("1.0.0", [], [], True) is None


def test_changes_and_a_missing_summary_are_refused_with_what_to_do() -> None:
    assert "commit or stash them first:\n M README.md" in str(release.refusal("1.0.0", [], [" M README.md"], True))
    assert "add changelogs/fragments/1.0.0.yml" in str(release.refusal("1.0.0", [], [], False))


def test_only_the_version_is_written() -> None:
    text = (ROOT / "galaxy.yml").read_text(encoding="utf-8")
    changed = release.with_version(text, "7.8.9")
    differing = [(old, new) for old, new in zip(text.splitlines(), changed.splitlines()) if old != new]
    assert [new for _old, new in differing] == ["version: 7.8.9"]
    assert len(text.splitlines()) == len(changed.splitlines())


def test_without_one_version_line_nothing_is_written() -> None:
    with pytest.raises(SystemExit, match="0 lines"):
        release.with_version("name: x\n", "1.0.0")


def test_tells_what_is_left() -> None:
    said = release.what_is_left("1.2.0", "dist/devicemapper-containers-1.2.0.tar.gz")
    assert "git push origin main 1.2.0" in said
    assert "publish dist/devicemapper-containers-1.2.0.tar.gz" in said


def test_pins_of_its_own_go_before_the_constraints() -> None:
    constraints = 'attrs==26.1.0\nPyYAML==6.0.3\npackaging==26.3; python_version >= "3.9"'
    assert environments.without(constraints, "# Python 3.11 - 3.13\nAttrs==23.2.0\npackaging==24.0") == "PyYAML==6.0.3"
