# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""All that containerd's configuration needs for a pool: snapshotter, unpacking of images, handlers of Kubernetes."""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    containerd_config,
    cri_runtimes,
    effective,
    transfer,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import (
    Change,
    ContainerdConfig,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_daemon import Containerd
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.cri_runtimes import Runtime
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step


def decide(
    current: ContainerdConfig,
    settings: SnapshotterSettings,
    runtimes: t.Sequence[Runtime],
    containerd: Containerd,
    *,
    state: str = "present",
    backup: bool = False,
) -> tuple[list[Step], list[Change]]:
    """Return the steps in the files, and how these change; ``containerd`` may be yet to be installed."""
    version = containerd.config_version
    handlers = cri_runtimes.parts(
        runtimes,
        current,
        version=version,
        containerd=containerd.version,
        effective=containerd.effective,
        state=state,
    )
    unpacking = transfer.parts(containerd.version, unusable=containerd.unusable_snapshotters, state=state)
    return containerd_config.decide(
        current, settings, state=state, version=version, others=[*unpacking, *handlers], backup=backup
    )


def check(
    current: ContainerdConfig, changes: t.Sequence[Change], runtimes: t.Sequence[Runtime], containerd: Containerd
) -> None:
    """Have an installed containerd read the files as they will be; what it would do beside what is asked is refused."""
    if containerd.effective:
        after = containerd_config.after(current, changes)
        texts = [source.text for source in after.sources] if after.main else []
        names = {runtime.name for runtime in runtimes}
        effective.check(containerd.effective, texts, names, current.path, containerd.layout.binary)
