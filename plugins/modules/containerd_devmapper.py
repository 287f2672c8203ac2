#!/usr/bin/python
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: containerd_devmapper
short_description: Set up the devmapper snapshotter in containerd's configuration
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Sets keys of the section C([plugins."io.containerd.snapshotter.v1.devmapper"]) of containerd 1.6, 1.7 and 2.x.
    Every other byte of the file stays as it is, comments and the order of all included. Mode and owner are kept, and a
    file is replaced whole or not at all.
  - The section is changed where it stands, in the main file or in one that it imports. Where there is none, it becomes
    a file of its own, C(thin-pool.toml), in a folder whose files the main file imports
    (C(imports = ["/etc/containerd/conf.d/*.toml"])), or else the end of the main file.
  - containerd itself reads the new files (C(containerd config dump)) before they take the old ones' place, in check
    mode too. A change in what it reads that nobody asked for is refused.
  - With containerd 2.x, C(ctr), nerdctl and CRI can bring images onto the snapshotter only where an entry
    C(unpack_config) of its transfer service names it. That is written too, beside those that are there, and beside
    containerd's own, which it would lose otherwise.
  - A configuration of version 1, which one without a version is, is written as version 2 with the same meaning. That is
    what Docker's package C(containerd.io) brings, with CRI switched off.
  - Refuses, with the number of the line, what is not valid TOML, a section in braces or by dotted keys, and a section
    that stands in several files, which containerd 1.x and 2.x put together in different ways.
  - Restarts containerd only with O(restart=true). Otherwise the files count from its next start on.
  - One containerd has one such section, and so one pool and one O(base_image_size) for all containers on it.
options:
  path:
    description: Path of the main file. Its directory is made if needed.
    type: path
    default: /etc/containerd/config.toml
  pool_name:
    description:
      - Name of the thin pool under C(/dev/mapper), such as V(containerd-thinpool) for the pool C(thinpool) of the
        volume group C(containerd). LVM doubles hyphens within names there (V(my--vg-thin--pool)), see
        RV(devicemapper.containers.lvm_thin_pool#module:thin_pool.dm_name).
      - Required with O(state=present). With O(state=absent) a section that names another pool stays.
    type: str
  root_path:
    description:
      - Folder of the snapshotter's databases, C(metadata.db) and one that is named like the pool. They are worth
        nothing without the pool, and the pool nothing without them.
      - containerd's own default is C(io.containerd.snapshotter.v1.devmapper) in its data folder.
    type: path
  base_image_size:
    description:
      - Size of the filesystem of every container and image layer, at least V(1MB), with O(fs_type=xfs) at least
        V(300MB). Units are powers of 1024, in containerd's words (V(10GB) is 10 GiB). The pool holds only what is
        written.
      - It counts for what is made from then on.
    type: str
    default: 10GB
  discard_blocks:
    description:
      - Whether the blocks of a removed container are given back to the pool's disks, by C(blkdiscard).
      - containerd's own default is V(false).
    type: bool
  async_remove:
    description:
      - Whether devices are removed by containerd's garbage collector, and not while a removal waits.
      - containerd's own default is V(false).
    type: bool
  fs_type:
    description:
      - Filesystem of containers. V(ext2) from containerd 1.7 on.
      - containerd's own default is V(ext4).
    type: str
    choices: [ext4, xfs, ext2]
  fs_options:
    description:
      - Extended options for mkfs.ext4(8), joined by commas, such as V(nodiscard,lazy_itable_init=0). Not with V(xfs).
    type: str
  runtimes:
    description:
      - Runtime handlers of Kubernetes (CRI) whose containers shall be on the snapshotter, such as Kata Containers with
        Firecracker. For every other handler containerd's default snapshotter stays what it is.
      - Written beside what the plugin has there already, for containerd 2.x with the map by which images are unpacked
        for the handler (C(runtime_platforms)). containerd 1.6 has one snapshotter for all handlers, and is refused.
      - containerd 1.x loses its own handler C(runc) as soon as a file has another. It is written beside the first one.
      - Refused beside C(discard_unpacked_layers = true), with which no image could be unpacked for them.
      - With O(state=absent) the sections of these handlers are taken out with that of the snapshotter.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the handler, which a RuntimeClass has as its C(handler).
        type: str
        required: true
      runtime_type:
        description: What containerd finds the shim by, such as V(io.containerd.kata-fc.v2).
        type: str
        required: true
      runtime_path:
        description: Path of the shim's program, where it is not to be found by its type.
        type: str
      pod_annotations:
        description: Patterns of the annotations that are handed on to the shim, such as V(io.katacontainers.*).
        type: list
        elements: str
      privileged_without_host_devices:
        description: Whether a privileged container gets none of the host's devices, as Kata Containers wants it.
        type: bool
      options:
        description:
          - Keys of the handler's C(options), such as C(ConfigPath); texts, numbers, true or false.
        type: dict
        default: {}
  layout:
    description: Where a containerd has what that is not the distribution's.
    type: dict
    default: {}
    version_added: 1.1.0
    suboptions:
      preset:
        description:
          - Whose containerd it is, V(k3s), V(rke2), V(k0s), V(microk8s) or V(flintlock). The other suboptions take the
            place of what it says.
          - V(k3s), V(rke2) and V(k0s) generate the configuration; it is not written to, and the pool is named in a file
            of its own in their folder of drop-ins. For V(microk8s) it is named in its template.
          - Known from their documentation, and tried with Debian's containerd laid out like V(k3s) alone.
        type: str
      unit:
        description: The service of systemd that starts it.
        type: str
      socket:
        description: Path of its socket.
        type: str
      binary:
        description: Path of the program. C(ctr) is looked for beside it.
        type: str
      config:
        description: Path of its main file; for the module the same as O(path).
        type: str
      root:
        description: Folder of its data.
        type: str
      drop_in:
        description: Folder whose files the main file imports. With this, the main file is not written to.
        type: str
  backup:
    description: Keep a copy of the old file beside it, named with the time.
    type: bool
    default: false
  restart:
    description:
      - Whether containerd is restarted where a file changed, and enabled.
      - Every plugin that worked before, CRI among them, must work then as well. If one does not, or containerd does not
        start, the files are put back, containerd is started with them again, and the module fails.
    type: bool
    default: false
    version_added: 1.1.0
  state:
    description:
      - V(present) sets the keys that are given, and leaves others of the section as they are.
      - V(absent) takes the section out with all that was written for it, and removes a file that was made for it alone.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - devicemapper.containers.attributes
seealso:
  - module: devicemapper.containers.lvm_thin_pool
  - name: Devmapper snapshotter
    description: containerd's own guide.
    link: https://github.com/containerd/containerd/blob/main/docs/snapshotters/devmapper.md
"""

EXAMPLES = r"""
- name: Give containerd its pool
  devicemapper.containers.containerd_devmapper:
    pool_name: containerd-thinpool
    root_path: /var/lib/containerd/io.containerd.snapshotter.v1.devmapper
    base_image_size: 10GB
    discard_blocks: true
  notify: Restart containerd

- name: Let containers of Kata Containers with Firecracker be on it as well
  devicemapper.containers.containerd_devmapper:
    pool_name: containerd-thinpool
    runtimes:
      - name: kata-fc
        runtime_type: io.containerd.kata-fc.v2
        privileged_without_host_devices: true
        pod_annotations: ["io.katacontainers.*"]
  notify: Restart containerd

- name: Take the pool out again
  devicemapper.containers.containerd_devmapper:
    pool_name: containerd-thinpool
    runtimes:
      - name: kata-fc
        runtime_type: io.containerd.kata-fc.v2
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or foretold in check mode, as sentences in their order.
  returned: success
  type: list
  elements: str
  sample: ["set pool_name, base_image_size in /etc/containerd/config.toml"]
path:
  description: The file that the section stands in after the run, the foretold one in check mode; V(null) if none.
  returned: success
  type: str
  sample: /etc/containerd/config.toml
devmapper:
  description: The keys of the section after the run, the foretold ones in check mode.
  returned: success
  type: dict
  sample: {pool_name: containerd-thinpool, base_image_size: 10GB}
backup_file:
  description: Path of the first copy, as M(devicemapper.containers.docker_daemon) returns it.
  returned: when O(backup) was set and a file changed
  type: str
  sample: /etc/containerd/config.toml.3561.2026-11-23@20:21:55~
backup_files:
  description: Paths of the copies.
  returned: when O(backup) was set and a file changed
  type: list
  elements: str
  sample: ["/etc/containerd/config.toml.3561.2026-11-23@20:21:55~"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    config_diff,
    containerd_config,
    containerd_daemon,
    cri_runtimes,
    engine_config,
    layouts,
    snapshotter_settings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import (
    errors,
    files,
    module_frame,
    process,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step, actions
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import pool_status


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/containerd/config.toml"},
            "pool_name": {"type": "str"},
            "root_path": {"type": "path"},
            "base_image_size": {"type": "str", "default": "10GB"},
            "discard_blocks": {"type": "bool"},
            "async_remove": {"type": "bool"},
            "fs_type": {"type": "str", "choices": ["ext4", "xfs", "ext2"]},
            "fs_options": {"type": "str"},
            "runtimes": cri_runtimes.OPTION,
            "layout": layouts.OPTION,
            "backup": {"type": "bool", "default": False},
            "restart": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["pool_name"])],
        supports_check_mode=True,
    )
    module_frame.run(module, lambda: work(module))


def work(module: AnsibleModule) -> dict:
    params = dict(module.params)
    path, state, backup, restart = (params.pop(name) for name in ("path", "state", "backup", "restart"))
    layout = layouts.of(params.pop("layout"))
    runtimes = cri_runtimes.of(params.pop("runtimes"))
    if not path.startswith("/"):
        raise errors.RefusedError(f"path must be the whole path of a file, beginning with a slash, not {path!r}")
    settings = snapshotter_settings.SnapshotterSettings(**params)
    snapshotter_settings.check(settings, pool_status.read() if process.find("dmsetup") and state == "present" else ())
    cri_runtimes.check(runtimes)
    current = containerd_config.read(path, layout.drop_in)
    if state == "present":
        containerd_config.check_sources(containerd_config.upgraded(current))
    containerd = containerd_daemon.configured(path, layout)
    steps, changes = engine_config.decide(current, settings, runtimes, containerd, state=state, backup=backup)
    if steps:
        engine_config.check(current, changes, runtimes, containerd)
    if steps and restart:
        steps.append(Step(containerd_daemon.RESTART, work=lambda: start_anew(module, changes, containerd)))
    backups = module_frame.carry_out(module, steps)
    after = containerd_config.after(current, changes)
    found = {
        "changed": bool(steps),
        "actions": actions(steps),
        "path": after.holder,
        "devmapper": after.section(),
    }
    if steps:
        found["diff"] = [config_diff.difference(change) for change in changes]
    if backups:
        found["backup_file"], found["backup_files"] = backups[0], backups
    return found


def start_anew(
    module: AnsibleModule,
    changes: t.Sequence[containerd_config.Change],
    containerd: containerd_daemon.Containerd,
) -> None:
    """Start containerd with the new files, and with the old ones again where something does not work that did."""
    try:
        containerd_daemon.start(containerd.layout.unit)
        after = containerd_daemon.ask_started(containerd.layout) if containerd.plugins else ()
        lost = containerd_daemon.lost(containerd.plugins, after)
        if not lost:
            return
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        own = containerd_daemon.state_of(after)
        # With containerd 2.x little works beside a snapshotter that does not, whose error is the one to be read.
        cause = "" if own == "ok" else f"; its devmapper snapshotter says: {own}"
        reason = f"does without {', '.join(lost[:3])}{more}{cause}" if after else "does not answer"
    except process.ProcessError as error:
        reason = f"does not start ({error})"
    for change in changes:
        files.carry_out(module, files.Write(change.path, change.before))
    containerd_daemon.start(containerd.layout.unit)
    paths = " and ".join(change.path for change in changes)
    raise errors.RefusedError(
        f"with what was written to {paths} containerd {reason}. That is as it was before, and containerd runs with it "
        "again: see 'journalctl -u containerd'"
    )


if __name__ == "__main__":
    main()
