# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader of TOML, held to Python's own where there is one (3.11 and later), and to what it says of places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    containerd_config,
    containerd_daemon,
    engine_config,
    layouts,
    toml,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import Runtime
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.layouts import Layout
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process, systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

WISH = SnapshotterSettings(pool_name="containerd-thinpool", base_image_size="10GB")
KATA = Runtime("kata-fc", "io.containerd.kata-fc.v2")
GENERATED = """# generated; edits are lost
version = 3
imports = ["{folder}/config-v3.toml.d/*.toml"]

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
"""


@pytest.mark.parametrize("preset", sorted(layouts.PRESETS))
def test_a_preset_says_all_and_each_place_may_be_said_otherwise(preset):
    layout = layouts.of({"preset": preset, "socket": ""})
    assert layout == layouts.PRESETS[preset]
    assert all(path.startswith("/") for path in (layout.socket, layout.binary, layout.config))
    changed = layouts.of({"preset": preset, "unit": "x.service", "root": "/srv"})
    assert (changed.units, changed.root, changed.config) == (("x.service",), "/srv", layout.config)


def test_without_one_it_is_the_distributions():
    assert layouts.of({}) == layouts.of({"preset": None, "unit": ""}) == Layout()
    assert Layout().ctr == ("ctr",)


def test_ctr_is_the_one_beside_the_program_and_is_told_the_socket(tmp_path, monkeypatch):
    (tmp_path / "ctr").touch(mode=0o755)
    layout = Layout(socket="/run/k3s/containerd/containerd.sock", binary=f"{tmp_path}/containerd")
    assert layout.ctr == (f"{tmp_path}/ctr", "--address", "/run/k3s/containerd/containerd.sock")
    monkeypatch.setattr(process, "find", lambda program: None)
    assert layout.ctr[0] == "ctr"


def change(folder: Path, state: str = "present", containerd: str = "2.1.9") -> list[str]:
    current = containerd_config.read(str(folder / "config.toml"), str(folder / "config-v3.toml.d"))
    _steps, changes = engine_config.decide(current, WISH, [KATA], Containerd(version=containerd), state=state)
    for one in changes:
        if one.after is None:
            os.unlink(one.path)
        else:
            os.makedirs(os.path.dirname(one.path), exist_ok=True)
            Path(one.path).write_text(one.after, encoding="utf-8")
    return [one.path for one in changes]


@pytest.mark.parametrize("is_imported", [True, False], ids=["k3s", "k0s"])
def test_what_is_generated_is_never_written_to(tmp_path, is_imported):
    main = tmp_path / "config.toml"
    text = GENERATED.format(folder=tmp_path)
    main.write_text(text if is_imported else text.replace("imports", "#imports"), encoding="utf-8")
    before = main.read_text(encoding="utf-8")
    ours = str(tmp_path / "config-v3.toml.d" / "thin-pool.toml")
    assert change(tmp_path) == [ours]
    values = toml.parse(Path(ours).read_text(encoding="utf-8")).values
    assert values["version"] == 3
    assert set(values["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]) == {"kata-fc"}
    assert [one["snapshotter"] for one in values["plugins"]["io.containerd.transfer.v1.local"]["unpack_config"]] == [
        "overlayfs",
        "devmapper",
    ]
    assert change(tmp_path) == []
    assert change(tmp_path, "absent") == [ours]
    assert (main.read_text(encoding="utf-8"), os.path.exists(ours)) == (before, False)


def test_a_section_in_what_is_generated_is_refused(tmp_path):
    section = '[plugins."io.containerd.snapshotter.v1.devmapper"]\n  pool_name = "x"\n'
    (tmp_path / "config.toml").write_text(GENERATED.format(folder=tmp_path) + section, encoding="utf-8")
    with pytest.raises(RefusedError, match="config.toml is generated and has a section"):
        change(tmp_path)


def test_the_unit_is_the_one_that_there_is_and_containerd_its_child(monkeypatch, tmp_path, commands):
    units = {"k3s.service": {"LoadState": "not-found"}}
    units["k3s-agent.service"] = {"LoadState": "loaded", "ActiveState": "active", "MainPID": "7"}
    monkeypatch.setattr(systemd, "read_unit", units.__getitem__)
    monkeypatch.setattr(containerd_daemon, "PROC", str(tmp_path))
    for pid, name, parent in ((7, "k3s-agent", 1), (8, "containerd-shim", 7), (9, "containerd", 7)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        fields = " ".join(["S", str(parent), *["0"] * 20])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}\n", encoding="utf-8")
    os.symlink("/root/p.db", str(tmp_path / "9" / "fd" / "3"))
    layout = layouts.PRESETS["k3s"]
    commands.expect(f"{layout.binary} config default", "version = 3\n")
    commands.expect(
        f"/var/lib/rancher/k3s/data/current/bin/ctr --address {layout.socket} --connect-timeout 30s plugins ls"
    )
    commands.expect(f"{layout.binary} --version", "containerd github.com/k3s-io/containerd v2.0.4-k3s2 x\n")
    found = containerd_daemon.read(layout)
    assert (found.layout.unit, found.version, found.config) == ("k3s-agent.service", "2.0.4", layout.config)
    assert found.has_open("/root", "p")
