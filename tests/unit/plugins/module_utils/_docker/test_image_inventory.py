# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory of a migration."""

from __future__ import annotations

import json

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import image_inventory
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.dockerd import Image
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.image_inventory import Inventory

APP = Image("sha256:" + "ab" * 32, ("app:1", "app:latest"), (), 300)
NAMELESS = Image("sha256:" + "cd" * 32, (), (), 200)


def test_an_inventory_is_read_as_it_was_written():
    written = Inventory("overlay2", (APP, NAMELESS), verified=True)
    text = image_inventory.render(written, "devicemapper")
    assert image_inventory.parse(text, "/x") == written
    assert (written.size, json.loads(text)["target"]) == (500, "devicemapper")
    assert image_inventory.parse(None, "/x") is None


@pytest.mark.parametrize("change", [{"format": 99}, {"images": None}, {"images": [{}]}])
def test_another_one_is_never_overwritten(change):
    text = image_inventory.render(Inventory("overlay2", (APP,)), "devicemapper")
    with pytest.raises(RefusedError, match="/x is not an inventory that this collection wrote"):
        image_inventory.parse(json.dumps({**json.loads(text), **change}), "/x")


def test_an_image_without_a_name_is_told_by_the_beginning_of_its_id():
    assert image_inventory.name_of(APP) == "app:1, app:latest"
    assert image_inventory.name_of(NAMELESS) == "cdcdcdcdcdcd"
