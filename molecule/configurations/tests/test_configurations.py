# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that works with a configuration stops to work with the pool in it, and the way back leaves no trace."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
import seen

HERE = Path(__file__).resolve().parents[1]
COLLECTION = HERE.parents[1]
FILES = sorted(path.stem for path in (HERE / "files").iterdir())
# Of version 3, which containerd 1.7 does not start with; 1.6 takes any number, and heeds none.
TABLE = COLLECTION / "docs" / "guides" / "containerd_configurations.md"
OF_VERSION_3 = {"k3s", "kata_deploy_3", "kubespray", "version_alone_3"}
# With the handler, containerd 2.1 would read keys that it does not heed by now.
REFUSED = {
    "ignored_snapshotter": "cri.v1.images.snapshotter otherwise than now",
    "stargz": "cri.v1.images.disable_snapshot_annotations otherwise than now",
    "version_1_cri": "cri.v1.images.pinned_images.sandbox otherwise than now",
}
# It has a section of the snapshotter itself, which is taken out.
WITH_A_POOL = {"firecracker"}


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> None:
    """Have the collection's code, and the files, on the guests."""
    archive = tmp_path_factory.mktemp("tried") / "tried.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(
            COLLECTION / "plugins" / "module_utils",
            "tried/ansible_collections/devicemapper/containers/plugins/module_utils",
        )
        tar.add(HERE / "files", "tried/files")
        tar.add(HERE / "try.py", "tried/try.py")
    seen.copy_to(archive, "/root/tried.tar")


@pytest.fixture(scope="module")
def results(host, copied) -> dict:
    return json.loads(seen.root(host, "tar -C /root -xf /root/tried.tar && python3 /root/tried/try.py"))


@pytest.fixture(scope="module")
def version(host) -> str:
    return seen.root(host, "containerd --version").split()[2]


@pytest.mark.parametrize("name", FILES)
def test_what_works_with_a_configuration_works_with_the_pool_in_it(results, version, name):
    found = results[name]
    if version.startswith("1.7") and name in OF_VERSION_3:
        assert found["before"] == []
        return
    assert "io.containerd.metadata.v1.bolt" in found["before"] or name in WITH_A_POOL
    if version.startswith("2.") and name in REFUSED:
        assert REFUSED[name] in found["said"]
    else:
        assert (found.get("said"), found["lost"], found["devmapper"]) == (None, [], "ok")
    assert found["is_as_it_was"] == (name not in WITH_A_POOL)


def test_the_table_in_the_guide_says_how_it_went(results, version):
    column = ("1.6", "1.7", "2.1").index(version[:3])
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \| (.+) \| (.+) \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {name: cells[column] for name, *cells in rows}
    assert sorted(told) == FILES
    for name, cell in told.items():
        found = results[name]
        assert (cell == "does not start") == (not found["before"]), name
        assert cell.endswith("refused") == (bool(found["before"]) and "said" in found), name
        if "after" in found:
            before, after = map(int, cell.split(", "))
            assert after > before, name
            assert set(found["before"]) < set(found["after"]), name


def test_there_are_thirty_and_they_were_tried(results):
    assert sorted(results) == FILES
    assert len(FILES) >= 30
