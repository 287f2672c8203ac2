# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to nowhere: each module call of a play gets the answer that a real host gave to the same play.

So the controller's own work for many hosts is measured, without the hosts.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: standin
short_description: Answers what a real host answered
description: The module calls of a play get the answers in a folder, one after the other.
author: The devicemapper.containers contributors
options:
  answers:
    description: The folder with the files C(0), C(1) and so on, each what a module printed.
    type: path
    required: true
    vars:
      - name: standin_answers
  places:
    description: The folder that holds for each host how many answers it has had.
    type: path
    required: true
    vars:
      - name: standin_places
"""


class Connection(ConnectionBase):
    transport = "standin"
    has_pipelining = True
    always_pipeline_modules = True

    def _connect(self) -> t.Any:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if not in_data:
            # A folder is made or removed for files, of which none are sent.
            return 0, b"/tmp/standin\n", b""
        # A task is a process of its own, so the place cannot be kept in this object.
        place = Path(self.get_option("places"), self._play_context.remote_addr)
        number = int(place.read_text()) if place.exists() else 0
        answer = Path(self.get_option("answers"), str(number))
        if not answer.exists():
            raise AnsibleConnectionFailure(f"the play makes more module calls than the {number} in {answer.parent}")
        place.write_text(str(number + 1))
        return 0, answer.read_bytes(), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleConnectionFailure(f"{in_path} would be sent: the play changes something, or does not pipeline")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleConnectionFailure(f"{in_path} would be fetched")

    def close(self) -> None:
        self._connected = False
