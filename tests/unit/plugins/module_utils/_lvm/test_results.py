# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How modules return LVM's values."""

from __future__ import annotations

import json

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_sizing, results


def test_a_pool_is_returned_with_every_form_of_its_name(report):
    found = results.pool(report("pool_in_use_by_docker").volume("docker", "thinpool"))
    assert (found["vg"], found["name"]) == ("docker", "thinpool")
    assert (found["dm_name"], found["path"]) == ("docker-thinpool", "/dev/mapper/docker-thinpool")
    assert json.loads(json.dumps(found)) == found


def test_what_is_not_there_is_null(report):
    lvm = report("blank")
    assert results.pool(lvm.volume("docker", "thinpool")) is None
    assert results.volume_group(lvm, "docker") is None
    assert results.physical_volumes(lvm, ["/dev/vdb"]) == []


def test_a_group_is_returned_in_bytes_with_its_devices(report):
    lvm = report("pool")
    found, group = results.volume_group(lvm, "docker"), lvm.group("docker")
    assert found["name"] == "docker"
    assert found["size"] == group.extents * group.extent_size
    (volume,) = results.physical_volumes(lvm, found["devices"])
    assert (volume["device"], volume["vg"]) == (found["devices"][0], "docker")


def test_an_extension_is_returned_with_what_it_takes(report):
    lvm = report("pool")
    volume = lvm.volume("docker", "thinpool")
    extension = pool_sizing.auto_extension(lvm.group("docker"), volume, lvm.spare("docker"), 20)
    found = results.auto_extension(extension)
    assert json.loads(json.dumps(found)) == found
    assert extension.data_needed in found.values()
