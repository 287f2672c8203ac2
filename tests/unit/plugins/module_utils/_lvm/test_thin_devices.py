# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import thin_devices
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.thin_devices import Owner, ThinDevice

CHUNK = 512 * 1024
WEB = Owner("docker", "container", "web", "abc", ("nginx",), 10737418240)


def test_devices_are_read_from_thin_ls(captured):
    devices = thin_devices.parse(captured("three_containers.thin_ls"))
    assert len(devices) == 8
    assert devices[0] == ThinDevice(1, mapped=470, exclusive=6, shared=464, transaction_id=0)
    assert devices[5] == ThinDevice(6, mapped=875, exclusive=405, shared=470, transaction_id=5)
    assert all(device.mapped == device.exclusive + device.shared for device in devices)


def test_a_pool_without_devices_has_none():
    assert thin_devices.parse("") == []


def test_active_devices_are_known_by_their_ids_in_their_pool(captured):
    active = thin_devices.parse_active(captured("thin.table"), "253:2")
    assert sorted(active) == [4, 6, 8]
    assert active[6].startswith("docker-254:0-131108-")
    assert thin_devices.parse_active(captured("thin.table"), "253:20") == {}
    assert thin_devices.parse_active("No devices found\n", "253:2") == {}


def test_volumes_of_lvm_are_known_by_their_names():
    active = {1: "docker-my--volume", 2: "docker-254:0-131108-x", 3: "other-my--volume", 4: "docker-gone"}
    found = thin_devices.volumes(active, "docker", ["my-volume"])
    assert found == {1: Owner("lvm", "volume", "docker/my-volume")}


def test_those_that_hold_most_for_themselves_come_first():
    devices = [
        ThinDevice(1, 9, 1, 8, 0),
        ThinDevice(2, 9, 5, 4, 1),
        ThinDevice(3, 20, 1, 19, 2),
        ThinDevice(4, 9, 1, 8, 3),
    ]
    rows = thin_devices.join(devices, {2: WEB}, {2: "docker-x"}, CHUNK)
    assert [row["device_id"] for row in rows] == [2, 3, 1, 4]
    assert rows[0] == {
        "device_id": 2,
        "mapped": 9 * CHUNK,
        "exclusive": 5 * CHUNK,
        "shared": 4 * CHUNK,
        "transaction_id": 1,
        "dm_name": "docker-x",
        "owner": {
            "engine": "docker",
            "kind": "container",
            "name": "web",
            "id": "abc",
            "images": ["nginx"],
            "size": 10737418240,
        },
    }
    assert thin_devices.total(rows) == {"devices": 4, "exclusive": 8 * CHUNK}


def test_what_nobody_owns_is_told_so():
    (row,) = thin_devices.join([ThinDevice(7, 3, 3, 0, 1)], {2: WEB}, {}, CHUNK)
    assert (row["owner"], row["dm_name"]) == (None, None)


@pytest.mark.parametrize("owner", [Owner("docker", "base", "base"), Owner("lvm", "volume", "docker/x")])
def test_what_has_no_id_has_none(owner):
    assert (thin_devices.as_result(owner) or {})["id"] is None
