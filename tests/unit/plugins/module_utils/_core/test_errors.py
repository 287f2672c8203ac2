# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors


def test_several_refusals_are_one_with_all_their_reasons():
    with pytest.raises(RefusedError) as refusal:
        raise RefusedErrors(reason for reason in ("one", "two"))
    assert str(refusal.value) == "one\ntwo"
    assert isinstance(refusal.value, RefusedErrors)
    assert refusal.value.reasons == ("one", "two")
