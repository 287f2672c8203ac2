# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader of TOML, held to Python's own where there is one (3.11 and later), and to what it says of places."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    config_text,
    containerd_config,
    toml,
    transfer,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

WISH = SnapshotterSettings(pool_name="containerd-thinpool", base_image_size="10GB")
OURS = {"platform": "linux", "snapshotter": "devmapper"}
OVERLAYFS = {"platform": "linux", "snapshotter": "overlayfs", "differ": "walking"}
EROFS = {"platform": "linux(+erofs)", "snapshotter": "erofs", "differ": "erofs", "optional": True}
HEADER = '[plugins."io.containerd.transfer.v1.local"]'
ARRAY = '[[plugins."io.containerd.transfer.v1.local".unpack_config]]'


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "config.toml"


def decide(path: Path, *, containerd: str = "2.1.9", state: str = "present", unusable=()) -> list[str]:
    """Write what is decided, and return the sentences."""
    current = containerd_config.read(str(path))
    others = transfer.parts(containerd, state=state, unusable=unusable)
    steps, changes = containerd_config.decide(current, WISH, state=state, others=others, version=3)
    for change in changes:
        if change.after is None:
            Path(change.path).unlink()
        else:
            Path(change.path).write_bytes(change.after.encode())
    return [step.action for step in steps]


def entries(path: Path) -> list[dict]:
    plugins = toml.parse(path.read_text(encoding="utf-8")).values["plugins"]
    return plugins.get("io.containerd.transfer.v1.local", {}).get("unpack_config", [])


@pytest.mark.parametrize(
    ("containerd", "expected"),
    [
        ("1.6.20", []),
        ("1.7.24", []),
        ("2.0.9", [OVERLAYFS, OURS]),
        ("2.1.9", [OVERLAYFS, OURS]),
        ("2.2.7", [OVERLAYFS, OURS]),
        ("2.3.4", [OVERLAYFS, EROFS, OURS]),
        ("10.0", [OVERLAYFS, EROFS, OURS]),
        ("", []),
    ],
)
def test_images_may_be_unpacked_onto_the_pool_and_onto_all_else_that_they_could_be(path, containerd, expected):
    (sentence,) = decide(path, containerd=containerd)
    assert (ARRAY in sentence) == bool(expected)
    assert entries(path) == expected
    assert decide(path, containerd=containerd) == []
    assert decide(path, containerd=containerd, state="absent") == [f"remove {path}"]


def test_a_snapshotter_that_does_not_work_here_is_not_named_since_the_service_would_not_start(path):
    decide(path, unusable={"overlayfs"})
    assert entries(path) == [OURS]


THEIRS = {"platform": "linux/amd64", "snapshotter": "nydus", "differ": "walking"}
WRITTEN = f"""{ARRAY}
  platform = "linux/amd64"
  snapshotter = "nydus"
  differ = "walking"
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("version = 3\n", [OVERLAYFS, OURS], id="none"),
        pytest.param(f"version = 3\n{HEADER}\nmax_concurrent_downloads = 5\n", [OVERLAYFS, OURS], id="other-keys"),
        pytest.param(f"version = 3\n{WRITTEN}", [THEIRS, OURS], id="theirs"),
        pytest.param(f"version = 3\n{WRITTEN}\n[debug]\nlevel = 'info'\n", [THEIRS, OURS], id="theirs-not-last"),
        pytest.param(f"version = 3\n{WRITTEN}".replace("\n", "\r\n"), [THEIRS, OURS], id="windows"),
        pytest.param(f"version = 3\n{WRITTEN}".rstrip(), [THEIRS, OURS], id="no-end"),
    ],
)
def test_what_is_there_stays_and_comes_back(path, text, expected):
    path.write_bytes(text.encode())
    decide(path)
    assert entries(path) == expected
    assert decide(path) == []
    decide(path, state="absent")
    assert path.read_bytes().decode() == text


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("[]", []),
        ("[ ]", []),
        ('[{platform = "linux", snapshotter = "native"}]', [{"platform": "linux", "snapshotter": "native"}]),
        (
            '[\n {platform = "linux", snapshotter = "native"}, # c ]\n]',
            [{"platform": "linux", "snapshotter": "native"}],
        ),
        ('[{platform = "linux", snapshotter = "native"} # ]\n]', [{"platform": "linux", "snapshotter": "native"}]),
    ],
)
def test_an_array_in_brackets_takes_one_more(path, written, there):
    path.write_text(f"version = 3\n{HEADER}\nunpack_config = {written} # c\n", encoding="utf-8")
    decide(path)
    assert entries(path) == [*there, OURS]
    assert decide(path) == []


def test_an_entry_of_somebody_elses_for_the_pool_is_enough(path):
    path.write_text(f'version = 3\n{ARRAY}\nplatform = "linux/amd64"\nsnapshotter = "devmapper"\n', encoding="utf-8")
    (sentence,) = decide(path)
    assert "unpack_config" not in sentence


def test_what_was_restated_stays_beside_an_entry_that_somebody_added(path):
    decide(path)
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{WRITTEN}", encoding="utf-8")
    decide(path, state="absent")
    assert entries(path) == [OVERLAYFS, THEIRS]
    assert config_text.RESTATED in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{ARRAY[1:-1]}\nplatform = 'linux'\n", r"line 2: unpack_config of .* is an array of tables: write \[\["),
        (f"{HEADER}\nunpack_config = 'x'\n", "line 3: unpack_config of .* must be an array of tables, not 'x'"),
        ("[plugins]\n'io.containerd.transfer.v1.local' = {}\n", "line 3: .* in braces or by dotted keys"),
        ("[plugins]\n'io.containerd.transfer.v1.local'.config_path = ''\n", "line 3: .* in braces or by dotted keys"),
    ],
)
def test_what_cannot_be_added_to_for_sure_is_refused_with_its_line(path, text, says):
    path.write_text(f"version = 3\n{text}", encoding="utf-8")
    with pytest.raises(RefusedError, match=says):
        decide(path)
