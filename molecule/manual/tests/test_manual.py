# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's manual to the letter, 95 and 1 percent: it works, cannot grow, and the role says so with LVM's figures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import seen


def test_volumes_of_the_manual_were_converted(host):
    found = seen.volumes(host)
    assert set(found) == {"thinpool", "thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare"}
    assert seen.pool_extents(host) == (2431, 25)
    assert found["thinpool"]["vg_free_count"] == "78"
    assert "lvconvert" in seen.root(host, "cat /etc/lvm/archive/*.vg /etc/lvm/backup/docker")


def test_group_that_somebody_else_made_is_not_marked_as_ours(host):
    assert seen.root(host, "vgs --noheadings -o vg_tags docker").strip() == ""


def test_pool_is_kept_alive_and_docker_runs_on_it(host):
    seen.assert_pool_is_kept_alive(host)
    info = seen.docker_info(host)
    assert (info["Driver"], info["storage"]["Pool Name"]) == ("devicemapper", "docker-thinpool")
    assert info["storage"]["Udev Sync Supported"] == "true"
    assert seen.run_container(host, "echo it runs") == "it runs\n"


def test_role_said_beforehand_that_the_pool_cannot_grow():
    foretold = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "foretold.manual.json").read_text())
    assert (foretold["autoextend"]["data_needed"], foretold["autoextend"]["free"]) == (487, 78)
    assert foretold["autoextend"]["data_possible"] is False
    (warning,) = foretold["warnings"]
    assert "docker/thinpool cannot be extended automatically" in warning
    assert "487 extents" in warning
    assert "78 free" in warning


def test_pool_that_fills_past_the_threshold_fails_to_grow_with_those_figures(host):
    since = seen.now(host)
    seen.fill(host, 7900, "filler")
    sentence = "Insufficient free space: 487 extents needed, but only 78 available"
    seen.wait_until(120, lambda: sentence in seen.journal(host, since), sentence)
    assert seen.pool_extents(host) == (2431, 25)
