# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README, which Galaxy shows without the rest; and the map of the code in CONTRIBUTING.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HERE = "https://github.com/devicemapper/ansible-collection-containers/blob/main/"
LINKS = re.findall(r"\]\(([^)]*)\)", README)


@pytest.mark.parametrize(
    "section",
    ["Requirements", "Installation", "Use cases", "Contents", "Testing", "Support", "Release notes", "License"],
)
def test_has_the_sections_that_certification_asks_for(section: str) -> None:
    assert f"\n## {section}\n" in README


def test_links_are_absolute() -> None:
    assert LINKS
    assert [link for link in LINKS if not link.startswith("https://")] == []


def test_links_into_the_repository_lead_to_files() -> None:
    names = {link[len(HERE) :].partition("#")[0] for link in LINKS if link.startswith(HERE)}
    assert names
    assert [name for name in sorted(names) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("pattern", ["plugins/modules/*.py", "playbooks/*.yml", "roles/*"])
def test_names_everything_that_users_call(pattern: str) -> None:
    names = sorted(path.stem for path in ROOT.glob(pattern))
    assert names
    assert [name for name in names if f"`{name}`" not in README] == []


def test_the_map_of_the_code_names_every_room() -> None:
    rows = re.findall(r"^\| `(_\w+)` \| \S.* \|$", CONTRIBUTING, re.MULTILINE)
    assert sorted(rows) == sorted(path.name for path in ROOT.glob("plugins/module_utils/_[a-z]*"))


NAMES = {
    "Debian": {"11": "bullseye", "12": "bookworm", "13": "trixie"},
    "Ubuntu": {"20.04": "focal", "22.04": "jammy", "24.04": "noble"},
}


def platforms(column: int) -> dict[tuple[str, str], bool]:
    """Return which release of which platform a column of the table calls tested or expected, as Galaxy names them."""
    found = {}
    for row in re.findall(r"^\| ((?:Debian|Ubuntu|RHEL|the same).*) \|$", README, re.MULTILINE):
        cells = row.split(" | ")
        word = re.match("tested|expected|not supported", cells[column])
        assert word, cells[column]
        name = cells[0].split()[0]
        for release in re.findall(r"\d[\d.]*|forky", cells[0]):
            galaxy = (name, NAMES[name].get(release, release)) if name in NAMES else ("EL", release)
            found[galaxy] = word.group() != "not supported"
    return found


@pytest.mark.parametrize(
    ("role", "columns"),
    [
        ("direct_lvm", [1]),
        ("loop_lvm", [1]),
        ("containerd_devmapper", [2]),
        ("thin_pool", [1, 2]),
        ("thin_pool_monitor", [1, 2]),
    ],
)
def test_says_of_each_platform_what_the_role_says(role: str, columns: list[int]) -> None:
    meta = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text(encoding="utf-8"))
    named = {(entry["name"], release) for entry in meta["galaxy_info"]["platforms"] for release in entry["versions"]}
    # Galaxy knows no release that is not out yet.
    told = {platform for column in columns for platform, works in platforms(column).items() if works}
    assert told - {("Debian", "forky")} == named
