# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two modules return alike is described alike in both.

These twins cannot come from one fragment yet: ansible-core puts fragments into RETURN from 2.20 on, and the collection
is for 2.19 too.
"""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")  # not on managed hosts

FOLDER = Path(__file__).resolve().parents[3] / "plugins" / "modules"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py"))


def returned(module: str, *keys: str) -> dict[str, t.Any]:
    """Return the documentation of what a module returns, or of the parts of a key of it."""
    loaded = importlib.import_module(f"ansible_collections.devicemapper.containers.plugins.modules.{module}")
    found = yaml.safe_load(loaded.RETURN)
    for key in keys:
        found = found[key]["contains"]
    return found


def bare(documented: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what a value is, without the example of one."""
    return {name: value for name, value in documented.items() if name != "sample"}


def test_every_changing_module_tells_its_steps_alike():
    told = {module: bare(returned(module)["actions"]) for module in MODULES if "actions" in returned(module)}
    foretelling = told.pop("thin_pool_plan")
    assert foretelling["description"].startswith("Every step of the chain")
    first = next(iter(told.values()))
    assert told == dict.fromkeys(told, first)
    assert len(told) >= 10


def test_a_pool_is_described_alike_where_it_is_made_and_where_it_is_looked_at():
    made, seen = returned("lvm_thin_pool", "thin_pool"), returned("lvm_thin_pool_info", "thin_pools")
    assert made.keys() <= seen.keys()
    assert {key: bare(made[key]) for key in made} == {key: bare(seen[key]) for key in made}
