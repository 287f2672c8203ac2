# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints a line for each task, or item, that ended on a host: which, and what it told, or said where it failed."""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

ATTRIBUTES = ("host", "task", "result")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "outcomes"

    def tell(self, outcome, failed):
        host, task, said = (getattr(outcome, name, None) or getattr(outcome, f"_{name}") for name in ATTRIBUTES)
        line = {
            "host": host.get_name(),
            "action": task.action,
            "failed": failed,
            "told": said.get("msg"),
            "said": str(said.get("msg")) if failed else "",
        }
        print(json.dumps(line))

    def v2_runner_on_ok(self, result):
        self.tell(result, False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.tell(result, True)

    def v2_runner_item_on_failed(self, result):
        self.tell(result, True)
