# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What containerd and its devmapper snapshotter are called, and where they keep what."""

from __future__ import annotations

SERVICE = "containerd.service"
SOCKET = "/run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
ROOT = "/var/lib/containerd"  # unless the configuration says otherwise
STATE = "/run/containerd"  # the same
SNAPSHOTTER = "devmapper"
SNAPSHOTTER_TYPE = "io.containerd.snapshotter.v1"
PLUGIN = f"{SNAPSHOTTER_TYPE}.{SNAPSHOTTER}"
SECTION = ("plugins", PLUGIN)


def metadata_path(root: str) -> str:
    """Return the database of containers and images by namespace (core/metadata)."""
    return f"{root}/io.containerd.metadata.v1.bolt/meta.db"


def snapshots_path(folder: str) -> str:
    """Return the database of snapshots in the snapshotter's folder (core/snapshots/storage)."""
    return f"{folder}/metadata.db"


def devices_path(folder: str, pool: str) -> str:
    """Return the database of thin devices in the snapshotter's folder (plugins/snapshots/devmapper)."""
    return f"{folder}/{pool}.db"
