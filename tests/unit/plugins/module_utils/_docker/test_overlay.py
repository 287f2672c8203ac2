# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._docker import overlay


def test_types_of_entries_are_asked_for(tmp_path):
    assert overlay.tells_types(str(tmp_path)) is None
    (tmp_path / "file").touch()
    assert overlay.tells_types(str(tmp_path)) is True
    assert overlay.tells_types(str(tmp_path / "absent")) is None
