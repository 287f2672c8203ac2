# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    constants,
    containerd_config,
    cri_runtimes,
    toml,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import Runtime
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

CAPTURED = Path(__file__).resolve().parents[3] / "containerd"
NOTHING = containerd_config.ContainerdConfig("/etc/containerd/config.toml")
WISH = SnapshotterSettings(pool_name="containerd-thinpool", base_image_size="10GB")
KATA = Runtime(
    "kata-fc",
    "io.containerd.kata-fc.v2",
    pod_annotations=["io.katacontainers.*"],
    privileged_without_host_devices=True,
    options={"ConfigPath": "/etc/kata-containers/fc.toml"},
)
HANDLER = """
[plugins."{plugin}".containerd.runtimes.kata-fc]
  runtime_type = "io.containerd.kata-fc.v2"
  pod_annotations = ["io.katacontainers.*"]
  privileged_without_host_devices = true
  snapshotter = "devmapper"

[plugins."{plugin}".containerd.runtimes.kata-fc.options]
  ConfigPath = "/etc/kata-containers/fc.toml"
"""
IMAGES = """
[plugins."io.containerd.cri.v1.images".runtime_platforms.kata-fc]
  snapshotter = "devmapper"
"""
OF_VERSION_2 = HANDLER.format(plugin="io.containerd.grpc.v1.cri")
OF_VERSION_3 = HANDLER.format(plugin="io.containerd.cri.v1.runtime") + IMAGES


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "config.toml"


def decide(path: Path, containerd: str, *runtimes: Runtime, state: str = "present"):
    """Return the sentences and the files' texts afterwards, by their paths; written, so that the next run sees them."""
    current = containerd_config.read(str(path))
    own = toml.parse((CAPTURED / containerd / "default.toml").read_text(encoding="utf-8")).values
    others = cri_runtimes.parts(runtimes, current, version=2, containerd=containerd, effective=own, state=state)
    steps, changes = containerd_config.decide(current, WISH, state=state, others=others)
    for change in changes:
        if change.after is None:
            Path(change.path).unlink()
        else:
            Path(change.path).write_text(change.after, encoding="utf-8")
    return [step.action for step in steps], {change.path: change.after for change in changes}


@pytest.mark.parametrize(
    ("release", "handler"),
    [("1.7.24", OF_VERSION_2), ("2.0.9", OF_VERSION_3), ("2.1.9", OF_VERSION_3), ("2.3.4", OF_VERSION_3)],
)
def test_containerds_own_configuration_gets_the_handler_and_loses_it_again(path, release, handler):
    path.write_text((CAPTURED / release / "default.toml").read_text(encoding="utf-8"), encoding="utf-8")
    decide(path, release)
    before = path.read_text(encoding="utf-8")
    (sentence,), texts = decide(path, release, KATA)
    assert sentence == f"set handler kata-fc in {path}"
    assert texts == {str(path): before + handler}
    assert decide(path, release, KATA) == ([], {})
    decide(path, release, KATA, state="absent")
    left = path.read_text(encoding="utf-8")
    assert "kata" not in left
    assert toml.parse(left).values["plugins"].keys() == toml.parse(before).values["plugins"].keys() - {constants.PLUGIN}


def test_containerd_2_does_not_migrate_the_map_of_images_so_it_stands_there_by_its_new_name(path):
    path.write_text((CAPTURED / "2.1.9" / "packaged.toml").read_text(encoding="utf-8"), encoding="utf-8")
    decide(path, "2.1.9", KATA)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("version = 2")
    assert text.endswith(OF_VERSION_2 + IMAGES)


def test_a_configuration_that_is_made_anew_goes_as_it_came(path):
    decide(path, "1.7.24", KATA)
    assert path.read_text(encoding="utf-8").endswith(OF_VERSION_2)
    sentences, texts = decide(path, "1.7.24", KATA, state="absent")
    assert (sentences, texts) == ([f"remove {path}"], {str(path): None})


def test_the_handler_stands_where_its_plugin_does_and_the_pool_in_its_drop_in(path):
    folder = path.parent / "conf.d"
    folder.mkdir()
    cri = '\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n'
    path.write_text(f'version = 2\nimports = ["{folder}/*.toml"]\n{cri}', encoding="utf-8")
    sentences, texts = decide(path, "1.7.24", KATA)
    assert len(sentences) == 2
    assert texts[str(path)].endswith(OF_VERSION_2)
    assert "kata" not in texts[f"{folder}/thin-pool.toml"]
    assert decide(path, "1.7.24", KATA) == ([], {})
    sentences, _texts = decide(path, "1.7.24", KATA, state="absent")
    assert sentences == [
        f"remove {folder}/thin-pool.toml",
        f"take handler kata-fc out of {path}",
    ]
    assert path.read_text(encoding="utf-8").endswith(cri)
    assert list(folder.iterdir()) == []


def test_other_keys_of_the_handler_stay(path):
    decide(path, "1.7.24", replace(KATA, options={}))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('  snapshotter = "devmapper"', '  cni_max_conf_num = 2\n  snapshotter = "nydus"'))
    decide(path, "1.7.24", replace(KATA, options={}, pod_annotations=None, privileged_without_host_devices=False))
    handlers = toml.parse(path.read_text(encoding="utf-8")).values["plugins"]["io.containerd.grpc.v1.cri"]
    assert handlers["containerd"]["runtimes"]["kata-fc"] == {
        "runtime_type": "io.containerd.kata-fc.v2",
        "pod_annotations": ["io.katacontainers.*"],
        "privileged_without_host_devices": False,
        "cni_max_conf_num": 2,
        "snapshotter": "devmapper",
    }


def handlers(path: Path) -> dict:
    return toml.parse(path.read_text(encoding="utf-8")).values["plugins"]["io.containerd.grpc.v1.cri"]["containerd"][
        "runtimes"
    ]


def own_runc(release: str) -> dict:
    values = toml.parse((CAPTURED / release / "default.toml").read_text(encoding="utf-8")).values
    return values["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["runc"]


def test_containerd_1_keeps_its_own_handler_which_it_would_lose_and_gets_the_file_back_as_it_was(path):
    packaged = (CAPTURED / "1.7.24" / "packaged.toml").read_text(encoding="utf-8")
    path.write_text(packaged, encoding="utf-8")
    decide(path, "1.7.24", KATA)
    assert handlers(path)["runc"] == own_runc("1.7.24")
    assert list(handlers(path)) == ["runc", "kata-fc"]
    decide(path, "1.7.24", KATA, replace(KATA, name="kata-clh"))
    assert list(handlers(path)) == ["runc", "kata-fc", "kata-clh"]
    decide(path, "1.7.24", replace(KATA, name="kata-clh"), KATA, state="absent")
    assert path.read_text(encoding="utf-8") == packaged


def test_its_own_handler_stays_as_long_as_another_stands_there(path):
    decide(path, "1.7.24", KATA)
    theirs = '\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]\n  runtime_type = "x.y"\n'
    path.write_text(path.read_text(encoding="utf-8") + theirs, encoding="utf-8")
    decide(path, "1.7.24", KATA, state="absent")
    assert list(handlers(path)) == ["runc", "crun"]


def test_where_a_file_has_handlers_none_is_added_to_them(path):
    text = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]\n  runtime_type = "x.y"\n'
    path.write_text(text, encoding="utf-8")
    decide(path, "1.7.24", KATA)
    assert list(handlers(path)) == ["crun", "kata-fc"]


def test_its_own_handler_on_the_pool_keeps_its_other_keys(path):
    decide(path, "1.7.24", Runtime("runc", "io.containerd.runc.v2"))
    assert handlers(path)["runc"] == {**own_runc("1.7.24"), "snapshotter": "devmapper"}


@pytest.mark.parametrize(
    "text",
    [
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n',
        'version = 3\n[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n',
        "[plugins.cri.containerd]\ndiscard_unpacked_layers = true\n",
    ],
    ids=["version-2", "version-3", "version-1"],
)
def test_layers_that_are_thrown_away_are_refused_beside_a_handler(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match=r"config.toml, line [23]: discard_unpacked_layers throws an image's layers"):
        decide(path, "1.7.24", KATA)
    decide(path, "1.7.24")
    decide(path, "1.7.24", KATA, state="absent")


def test_a_plugin_in_two_files_is_refused(path):
    folder = path.parent / "conf.d"
    folder.mkdir()
    cri = '[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n'
    path.write_text(f'version = 2\nimports = ["{folder}/*.toml"]\n{cri}', encoding="utf-8")
    (folder / "other.toml").write_text(f"version = 2\n{cri}", encoding="utf-8")
    with pytest.raises(RefusedError, match=r'have a section \[plugins."io.containerd.grpc.v1.cri"\] each'):
        decide(path, "1.7.24", KATA)


def test_handlers_in_braces_are_refused_with_their_line(path):
    path.write_text('version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nruntimes = {}\n')
    with pytest.raises(RefusedError, match="config.toml, line 3: the section, or all plugins, in braces"):
        decide(path, "1.7.24", KATA)


def test_containerd_1_6_has_one_snapshotter_for_all_handlers():
    with pytest.raises(RefusedError, match=r"containerd 1.6.20 has one snapshotter for all handlers of Kubernetes"):
        cri_runtimes.parts([KATA], NOTHING, version=2, containerd="1.6.20", effective={})
    assert cri_runtimes.parts([], NOTHING, version=2, containerd="1.6.20", effective={}) == []
