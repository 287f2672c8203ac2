#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_loop_files
short_description: Grow the files of Docker's loop-lvm mode while containers run
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - In loop-lvm mode Docker keeps its thin pool in two files, one for data and one for metadata. This grows them, their
    loop devices and the pool on these, without stopping Docker or a container. B(Nothing ever shrinks.)
  - The pool is not suspended by a command of its own, as in Docker's manual. The kernel suspends it, takes the new
    table and resumes it in one call, so that a run that is killed does not leave every container hanging. What another
    attempt left is put right, a suspended pool too.
  - While Docker does not run, only the files are grown, and Docker takes them as they are at its next start. Where
    there are none yet nothing is done, since Docker makes them.
  - Docker's own options C(dm.loopdatasize) and C(dm.loopmetadatasize) are not set here, see
    M(devicemapper.containers.docker_daemon). Smaller ones do no harm.
options:
  data_root:
    description:
      - Where Docker keeps its data.
      - By default what C(/etc/docker/daemon.json) or the flags of its unit say, else V(/var/lib/docker).
    type: path
  data_size:
    description:
      - What the data file shall at least have, such as V(200g), in LVM's units (powers of 1024), rounded up to a whole
        chunk of 64 KiB. The file takes room on the disk only as it fills.
    type: str
    default: 100g
  metadata_size:
    description: What the metadata file shall at least have, from V(2m) to V(15.8g), in the same words.
    type: str
    default: 2g
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.docker_daemon
  - name: Use the Device Mapper storage driver
    description: Docker's manual, which grows the files by hand.
    link: https://github.com/docker/docs/blob/v24.0/content/storage/storagedriver/device-mapper-driver.md
"""

EXAMPLES = r"""
- name: Let containers write up to 200 GiB
  devicemapper.containers.docker_loop_files:
    data_size: 200g
    metadata_size: 4g
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: ["grow /var/lib/docker/devicemapper/devicemapper/data from 100.00 GiB to 200.00 GiB"]
loop_files:
  description: The files after the run, the foretold ones in check mode. Sizes are in bytes.
  returned: success
  type: dict
  contains:
    data:
      description: The file for data.
      type: dict
      contains: &file
        path:
          description: Its path.
          type: str
        size:
          description: Its size, V(0) where there is none.
          type: int
        device:
          description: The loop device that it is attached to, V(null) if to none.
          type: str
          sample: /dev/loop0
        device_size:
          description: Size of that device, V(null) if there is none.
          type: int
        pool_size:
          description: What the running pool uses of it, V(null) where no pool runs.
          type: int
    metadata:
      description: The file for metadata.
      type: dict
      contains: *file
    pool:
      description: Device-mapper name of the pool, V(null) where none runs.
      type: str
      sample: docker-254:0-131108-pool
    suspended:
      description: Whether it is suspended, V(null) where none runs.
      type: bool
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    module_frame,
    sizes,
    systemd,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import (
    daemon_json,
    data_root,
    dockerd,
    loop_files,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "data_root": {"type": "path"},
            "data_size": {"type": "str", "default": loop_files.DEFAULT_DATA_SIZE},
            "metadata_size": {"type": "str", "default": loop_files.DEFAULT_METADATA_SIZE},
        },
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    wanted: dict[str, t.Any] = {
        name: sizes.option(name, loop_files.parse_size, module.params[name]) for name in ("data_size", "metadata_size")
    }
    root = module.params["data_root"]
    if root is None:
        flags = systemd.flags(dockerd.read_unit())
        root = data_root.find_root(daemon_json.read(), flags)
    elif not root.startswith("/"):
        raise errors.RefusedError(
            f"data_root must be the whole path of a directory, beginning with a slash, not {root!r}"
        )
    before = loop_files.read(root)
    steps, after = loop_files.decide(before, **wanted)
    module_frame.carry_out(module, steps)
    if steps and not module.check_mode:
        after = loop_files.read(root)
    now = loop_files.as_result(after)
    return module_frame.result(steps, loop_files.as_result(before), now, f"loop files in {root}", loop_files=now)


if __name__ == "__main__":
    main()
