# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start containerd with each configuration of a folder, as it is and as the module makes it, and tell what works.

Runs on the guest, beside the collection's code. Prints JSON: by file what worked before and after, what no longer does,
what was said where it was refused, and whether the way back gives the file back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, "/root/tried")

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (  # noqa: E402
    containerd_config,
    containerd_daemon,
    engine_config,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import (  # noqa: E402
    Runtime,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (  # noqa: E402
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core import process  # noqa: E402
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError  # noqa: E402

CONFIG = Path("/etc/containerd/config.toml")
FOLDERS = ("/etc/containerd/config.d", "/etc/containerd/k0s.d")
POOL = SnapshotterSettings(
    pool_name="containerd-thinpool",
    root_path="/var/lib/containerd/io.containerd.snapshotter.v1.devmapper",
    base_image_size="10GB",
)
KATA = Runtime(
    "kata-fc", "io.containerd.kata-fc.v2", privileged_without_host_devices=True, options={"ConfigPath": "/x"}
)


def start() -> tuple:
    """Return the plugins of a containerd that was started anew; none where it does not start."""
    subprocess.run(["systemctl", "reset-failed", "containerd"], check=True)
    started = subprocess.run(["systemctl", "restart", "containerd"], check=False)
    return containerd_daemon.ask() if started.returncode == 0 else ()


def change(containerd: containerd_daemon.Containerd, runtimes: list, state: str) -> None:
    current = containerd_config.read(str(CONFIG))
    _steps, changes = engine_config.decide(current, POOL, runtimes, containerd, state=state)
    engine_config.check(current, changes, runtimes, containerd)
    for one in changes:
        if one.after is None:
            os.unlink(one.path)
        else:
            Path(one.path).write_bytes(one.after.encode())


def files() -> dict:
    there = [CONFIG, *(Path(folder) / name for folder in FOLDERS for name in os.listdir(folder))]
    return {str(path): path.read_bytes() for path in there if path.exists()}


def tried(path: Path) -> dict:
    text = path.read_bytes()
    # Not kept so: no file of a collection has such lines.
    CONFIG.write_bytes(text.replace(b"\n", b"\r\n") if path.stem == "windows_lines" else text)
    before = start()
    found: dict = {"before": [plugin.uri for plugin in before if not plugin.error]}
    as_it_was = files()
    containerd = containerd_daemon.configured(str(CONFIG))
    runtimes = [] if containerd.version.startswith("1.6") else [KATA]
    try:
        change(containerd, runtimes, "present")
    except (RefusedError, process.ProcessError) as refusal:
        return {**found, "said": str(refusal), "is_as_it_was": files() == as_it_was}
    after = start()
    found["after"] = [plugin.uri for plugin in after if not plugin.error]
    found["lost"] = containerd_daemon.lost(before, after) if after else ["it does not start"]
    found["devmapper"] = containerd_daemon.state_of(after)
    change(containerd_daemon.configured(str(CONFIG)), runtimes, "absent")
    return {**found, "is_as_it_was": files() == as_it_was}


if __name__ == "__main__":
    for name in FOLDERS:
        os.makedirs(name, exist_ok=True)
    print(json.dumps({path.stem: tried(path) for path in sorted(Path("/root/tried/files").iterdir())}))
