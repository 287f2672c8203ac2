# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, and tells on the screen how the pool is.

A task of its own that tells it would cost the controller as much for each host as the module does.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """The module, and a line on the screen."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return what the module returns."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        health = result.get("health")
        if health:
            lines = health["lines"][:1] if health["verdict"] == "ok" else health["lines"]
            name = (task_vars or {}).get("inventory_hostname", "")
            Display().display("\n".join(f"{name}: {line}" for line in lines))
        return result
