#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Merge options into Docker's daemon.json
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Sets keys of dockerd's C(daemon.json) and leaves every other key, and the order of all, as it is. Mode and owner of
    the file are kept, and it is replaced whole or not at all.
  - Refuses a file that is not valid JSON, options that Docker's C(devicemapper) driver does not know, that are out of
    range or that cannot stand together, a C(dm.basesize) below that of the base device on record, and keys that flags
    in docker's systemd unit set too. Docker would not start with any of these.
  - Does not restart Docker. The file counts from its next start on.
options:
  path:
    description: Path of the file. Its directory is made if needed.
    type: path
    default: /etc/docker/daemon.json
  storage_driver:
    description:
      - The key C(storage-driver), such as V(devicemapper).
      - Options of another driver in C(storage-opts) are taken out with it, since a driver ends at options it does not
        know.
    type: str
  storage_opts:
    description:
      - Entries of the key C(storage-opts), such as V(dm.thinpooldev=/dev/mapper/docker-thinpool). An entry replaces the
        ones of the same name; others stay. C(dm.mkfsarg) and C(dm.mountopt) may stand more than once.
      - An entry that says where the pool comes from (C(dm.thinpooldev), C(dm.directlvm_device) and what belongs to it,
        C(dm.datadev)) takes the place of those that say it otherwise.
    type: list
    elements: str
    default: []
  options:
    description: Other keys of the file, by their names in it. Values replace the ones that are there.
    type: dict
    default: {}
  backup:
    description: Keep a copy of the old file beside it, named with the time.
    type: bool
    default: false
  state:
    description:
      - V(present) sets the keys.
      - V(absent) takes them out as far as they have the named values, and removes a file that is empty then.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - name: Options of Docker's devicemapper driver
    description: All of them, with default, range and meaning.
    link: https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides/docker_options.md
  - name: dockerd
    description: Docker's reference of the file and of the driver's options, for Docker 24.
    link: https://github.com/docker/cli/blob/v24.0.9/docs/reference/commandline/dockerd.md
"""

EXAMPLES = r"""
- name: Put Docker on a thin pool
  devicemapper.containers.docker_daemon:
    storage_driver: devicemapper
    storage_opts:
      - dm.thinpooldev=/dev/mapper/docker-thinpool
      - dm.min_free_space=10%
    backup: true

- name: Bound the logs of containers
  devicemapper.containers.docker_daemon:
    options:
      log-driver: json-file
      log-opts: {max-size: 10m, max-file: "3"}
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: ["write /etc/docker/daemon.json: storage-driver, storage-opts"]
daemon:
  description:
    - The keys of the file after the run, the foretold ones in check mode.
    - Of what is named as a secret (C(...-token), C(...password...) and the like), and of users in URLs, V(********).
  returned: success
  type: dict
  sample: {storage-driver: devicemapper, storage-opts: [dm.thinpooldev=/dev/mapper/docker-thinpool]}
backup_file:
  description: Path of the copy.
  returned: when O(backup) was set and the file changed
  type: str
  sample: /etc/docker/daemon.json.3561.2026-11-23@20:21:55~
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    masking,
    module_frame,
    systemd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, data_root, dockerd


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "storage_driver": {"type": "str"},
            "storage_opts": {"type": "list", "elements": "str", "default": []},
            "options": {"type": "dict", "default": {}},
            "backup": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    wanted = dict(module.params)
    path = wanted.pop("path")
    if not path.startswith("/"):
        raise errors.RefusedError(f"path must be the whole path of a file, beginning with a slash, not {path!r}")
    driver = wanted["storage_driver"]
    if driver is not None and not re.fullmatch(r"[\w./:@-]+", driver, re.ASCII):
        raise errors.RefusedError(
            f"storage_driver: {driver!r} is not the name of a storage driver, such as devicemapper"
        )
    current = daemon_json.read(path)
    # The unit's flags only matter for Docker's own file, not for one that is prepared elsewhere.
    flags = systemd.flags(dockerd.read_unit()) if path == daemon_json.DEFAULT_PATH else ()
    steps, after = daemon_json.decide(current, flags=flags, **wanted)
    is_dockers = path == daemon_json.DEFAULT_PATH and after.driver == data_root.DRIVER
    if is_dockers and wanted["state"] == "present":
        daemon_json.check_base(after, data_root.base_size(data_root.find_root(after, flags)))
    backups = module_frame.carry_out(module, steps)
    found = module_frame.result(
        steps, *daemon_json.shown(current, after), path, daemon=masking.masked(dict(after.known))
    )
    if backups:
        found["backup_file"] = backups[0]
    return found


if __name__ == "__main__":
    main()
