# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import shlex
import subprocess
import types
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from collections.abc import Iterator

# Captured on real guests, in this order of states; a folder's name says which LVM and distribution.
REPORTS = sorted((Path(__file__).resolve().parents[1] / "reports").iterdir())

# States whose running kernel table was not captured, because the command that led to them leaves it alone:
# vgextend and lvchange --monitor n came after pool.table, the manual's lvconvert without a profile left what
# pool_not_armed.table shows, and the two foreign groups stood beside the pool.
SAME_TABLE = {
    "pool_and_second_disk": "pool",
    "pool_not_monitored": "pool",
    "pool_without_profile": "pool_not_armed",
    "exported_group": "pool",
    "foreign_group": "pool",
}


@pytest.fixture(params=REPORTS, ids=lambda folder: folder.name)
def captured(request: pytest.FixtureRequest) -> t.Callable[[str], str]:
    """Return the text of a file that was captured on a real guest, by its name.

    What Docker makes of a pool was captured on the first of them alone: later ones have no Docker with that driver.
    """
    return lambda name: next(
        path for folder in (request.param, REPORTS[0]) for path in [folder / name] if path.exists()
    ).read_text(encoding="utf-8")


@pytest.fixture
def table(captured: t.Callable[[str], str]) -> t.Callable[[str], str]:
    """Return what ``dmsetup table`` said in a captured state."""
    return lambda state: captured(f"{SAME_TABLE.get(state, state)}.table")


@pytest.fixture
def report(captured, table, monkeypatch) -> t.Callable[[str], t.Any]:
    """Return the typed report of a captured state, as a module on that guest would have read it."""
    from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state

    def read(state: str) -> lvm_state.LvmState:
        def answer(*command: str, **_limits: t.Any) -> tuple:
            if command == ("lvm", "systemid"):
                return 0, "  system ID: \n"  # the guest had none
            return 0, table(state) if command[0] == "dmsetup" else captured(f"{state}.json")

        with monkeypatch.context() as patch:
            patch.setattr(process, "find", lambda program: f"/usr/sbin/{program}")
            patch.setattr(process, "finish", lambda *command, **limits: (*answer(*command, **limits), ""))
            return lvm_state.read()

    return read


class Commands:
    """A host's programs, scripted: each answers once, in the expected order; any other command fails the test."""

    PIPE, DEVNULL, TimeoutExpired = subprocess.PIPE, subprocess.DEVNULL, subprocess.TimeoutExpired

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._expected: list[tuple[str, str, str, int]] = []
        self.options: list[dict[str, t.Any]] = []

    def expect(self, start: str, stdout: str = "", *, stderr: str = "", rc: int = 0) -> None:
        """Answer the next command, which begins with these words."""
        self._expected.append((start, stdout, stderr, rc))

    def forget(self, start: str) -> None:
        """Expect no command that begins with these words after all."""
        self._expected = [expected for expected in self._expected if not expected[0].startswith(start)]

    @property
    def missing(self) -> list[str]:
        """What was expected and did not come."""
        return [start for start, *_rest in self._expected]

    @property
    def writing(self) -> list[str]:
        """The commands that ran and change something."""
        reading = (
            "lvm fullreport",
            "lvm systemid",
            "lvmconfig",
            "dmsetup table",
            "dmsetup status",
            "wipefs --no-act",
            "dpkg-query",
            "apt-cache",
        )
        return [command for command in self.ran if not command.startswith(reading) and " --test " not in command]

    def Popen(self, command: t.Sequence[str], **options: t.Any) -> types.SimpleNamespace:  # noqa: N802
        words = " ".join(shlex.quote(word) for word in command)
        assert self._expected, f"unexpected command: {words}"
        start, stdout, stderr, rc = self._expected.pop(0)
        assert words.startswith(start), f"expected {start!r}, not {words!r}"
        self.ran.append(words)
        self.options.append(options)
        outputs = (stdout.encode(), stderr.encode())
        if options["stderr"] != self.PIPE:
            options["stderr"].write(outputs[1])
        return types.SimpleNamespace(
            returncode=rc,
            communicate=lambda timeout: outputs,
            stdout=io.BytesIO(outputs[0]),
            wait=lambda: rc,
            poll=lambda: rc,
            terminate=lambda: None,
        )


@pytest.fixture
def commands(monkeypatch) -> Iterator[Commands]:
    """Return the script of a host on which every program is installed; what it was promised must come."""
    from ansible_collections.devicemapper.containers.plugins.module_utils._core import process

    script = Commands()
    monkeypatch.setattr(process, "subprocess", script)
    monkeypatch.setattr(process, "find", lambda program: f"/usr/sbin/{program}")
    yield script
    assert script.missing == []


@pytest.fixture
def no_dmeventd(monkeypatch) -> None:
    """Keep a dmeventd of the machine that runs the tests out of them."""
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import profiles

    monkeypatch.setattr(profiles, "_dmeventd_started", lambda: None)


@pytest.fixture
def disks(monkeypatch, commands, tmp_path_factory) -> t.Callable[..., dict]:
    """Return a function that gives this machine block devices, blank unless said otherwise, until they are wiped.

    It returns them by their paths; what a test changes in that dictionary is found at the next look.
    """
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import block_devices, disk_contents

    def give(*devices: block_devices.BlockDevice) -> dict:
        by_path = {device.path: device for device in devices}
        erased: list[str] = []

        def examine(name: str, *, look: bool = True) -> block_devices.BlockDevice:
            return replace(by_path[name], signatures=()) if name in erased else by_path[name]

        node = tmp_path_factory.mktemp("dev") / "disk"
        node.touch()
        monkeypatch.setattr(block_devices, "resolve", lambda names: {name: name for name in names})
        monkeypatch.setattr(block_devices, "examine", examine)
        monkeypatch.setattr(disk_contents, "erase", lambda path, signatures=(): erased.append(path))
        monkeypatch.setattr(block_devices, "_whole_disk", lambda path: str(node))
        return by_path

    return give


@pytest.fixture(autouse=True)
def dev(monkeypatch, tmp_path_factory) -> Path:
    """Keep the names in this machine's /dev out of the tests; return the folder that stands for it."""
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_state

    path = tmp_path_factory.mktemp("dev")
    monkeypatch.setattr(lvm_state, "DEVICES", str(path))
    return path


@pytest.fixture(autouse=True)
def lock(monkeypatch, tmp_path_factory) -> Path:
    """Give each test a lock of its own, so that tests do not wait for one another; return its path."""
    from ansible_collections.devicemapper.containers.plugins.module_utils._core import locks

    path = tmp_path_factory.mktemp("run") / "lock"
    monkeypatch.setattr(locks, "RUN", str(path))
    return path


@pytest.fixture
def standard_json() -> t.Callable[[str], str]:
    """Return a function that writes a report as ``--reportformat json_std`` does (lvmreport(7), since 2.03.17).

    Numbers without quotes, null for what is not known, tags as a list.
    """
    names = ("pv_name", "vg_name", "lv_name", "vg_systemid", "lv_profile", "data_lv", "metadata_lv", "pool_lv")
    numeric = ("_size", "_count", "_seqno", "_major", "_minor", "_percent", "pe_start", "transaction_id")

    def value(field: str, text: str) -> t.Any:
        if field.endswith("_tags"):
            return text.split(",") if text else []
        if field not in names and field.endswith(numeric):
            return json.loads(text) if text else None
        return text

    def write(text: str) -> str:
        document = json.loads(text)
        for element in document["report"]:
            for rows in element.values():
                rows[:] = [{field: value(field, was) for field, was in row.items()} for row in rows]
        return json.dumps(document)

    return write


@pytest.fixture
def docker_root(tmp_path) -> t.Callable[..., Path]:
    """Return a function that lays out a data root as Docker 20.10 on a guest does, and returns its path.

    A driver's name alone, with 0 images, is what Docker leaves that was started once.
    """

    def make(
        images: t.Mapping[str, int] | None = None,
        containers: t.Sequence[str] = (),
        *,
        transaction: int | None = None,
        loop_files: bool = False,
        set_up_device: str = "",
    ) -> Path:
        root = tmp_path / "docker"
        for folder in ("containers", "image", "volumes", "overlay2", "tmp"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for driver, number in (images or {}).items():
            content = root / "image" / driver / "imagedb" / "content" / "sha256"
            content.mkdir(parents=True)
            (root / "image" / driver / "layerdb").mkdir()
            (root / "image" / driver / "repositories.json").write_text('{"Repositories":{}}', encoding="utf-8")
            for index in range(number):
                (content / f"{index:064x}").write_text("{}", encoding="utf-8")
        for index, driver in enumerate(containers):
            folder = root / "containers" / f"{index:064x}"
            folder.mkdir()
            (folder / "config.v2.json").write_text(json.dumps({"ID": folder.name, "Driver": driver}), encoding="utf-8")
        if transaction is not None:
            metadata = root / "devicemapper" / "metadata"
            metadata.mkdir(parents=True)
            records = {"open_transaction_id": transaction, "device_hash": "", "device_id": 1}
            (metadata / "transaction-metadata").write_text(json.dumps(records), encoding="utf-8")
            (metadata / "deviceset-metadata").write_text('{"next_device_id":1}', encoding="utf-8")
            (metadata / "base").write_text('{"device_id":1,"initialized":true}', encoding="utf-8")
        if loop_files:
            folder = root / "devicemapper" / "devicemapper"
            folder.mkdir(parents=True)
            (folder / "data").touch()
            (folder / "metadata").touch()
        if set_up_device:
            (root / "devicemapper").mkdir(exist_ok=True)
            (root / "devicemapper" / "setup-config.json").write_text(
                json.dumps({"Device": set_up_device, "ThinpPercent": 95}), encoding="utf-8"
            )
        return root

    return make


@pytest.fixture
def records(captured, tmp_path) -> Path:
    """Return a data root with the records that Docker 20.10 on a guest had of three containers, the logs left out."""
    root = tmp_path / "docker"
    for name, text in json.loads(captured("docker_records.json")).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def elf() -> t.Callable[..., bytes]:
    """Return a function that makes the headers of a 64-bit program with segments of these types (elf(5))."""

    def make(*types_of_segments: int, order: str = "little") -> bytes:
        out = io.BytesIO()
        out.write(b"\x7fELF\x02" + (b"\x01" if order == "little" else b"\x02"))
        for at, size, number in ((32, 8, 64), (54, 2, 56), (56, 2, len(types_of_segments))):
            out.seek(at)
            out.write(number.to_bytes(size, order))
        for index, kind in enumerate(types_of_segments):
            out.seek(64 + 56 * index)
            out.write(kind.to_bytes(4, order) + bytes(52))
        return out.getvalue()

    return make
