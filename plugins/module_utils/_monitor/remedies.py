# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Commands that can be copied, for the host of a pool and the engine whose it is, and places in the guides. Pure."""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName

GUIDES = "https://github.com/devicemapper/ansible-collection-containers/blob/main/docs/guides"

# The place in a guide that is about each kind of reason; others are explained by their message alone.
_FULL, _METADATA = "full_pool.md", "full_pool.md#when-it-is-the-metadata"
_REPAIR = "backup.md#when-a-pool-is-read-only-or-must-be-checked"
_OTHER_STATES = "other_states.md#what-else-keeps-lvm-from-a-group"
_PLACES = {
    "activation_failed": _REPAIR,
    "data_extension_impossible": "full_pool.md#way-out-1-add-a-disk",
    "data_fills_up": "full_pool.md#way-out-3-free-space",
    "data_usage": "full_pool.md#way-out-3-free-space",
    "device_given_up": _OTHER_STATES,
    "device_missing": _OTHER_STATES,
    "device_shrunk": _OTHER_STATES,
    "duplicate": _OTHER_STATES,
    "exported": _OTHER_STATES,
    "extension_failed": "full_pool.md#way-out-1-add-a-disk",
    "failed": _REPAIR,
    "foreign": _OTHER_STATES,
    "metadata_damaged": _REPAIR,
    "metadata_extension_impossible": _METADATA,
    "metadata_fills_up": _METADATA,
    "metadata_read_only": _METADATA,
    "metadata_usage": _METADATA,
    "name_twice": "other_states.md#two-volume-groups-have-one-name",
    "needs_check": _REPAIR,
    "no_autoextend": "monitor.md#let-it-be-repaired",
    "not_armed": "monitor.md#let-it-be-repaired",
    "not_monitored": "monitor.md#let-it-be-repaired",
    "out_of_data": _FULL,
    "read_only": _OTHER_STATES,
    "shared": _OTHER_STATES,
    "suspended": "full_pool.md#what-never-to-do",
    "writes_failed": "full_pool.md#afterwards",
}


def guide(kind: str) -> str:
    """Return the address of what the guides say of a kind of reason; empty where they say nothing of it."""
    return f"{GUIDES}/{_PLACES[kind]}" if kind in _PLACES else ""


@dataclass(frozen=True)
class Whose:
    """Where a pool is, and who uses it: what commands need that others copy."""

    host: str = ""  # as the inventory has it; empty: not known, and so no command
    engine: str = ""  # docker or containerd; empty: not known

    def playbook(self, name: str, *variables: str) -> str:
        """Return the command that runs a playbook of the collection for this host."""
        more = [word for variable in variables for word in ("-e", variable)]
        words = ("ansible-playbook", f"devicemapper.containers.{name}", "-i", "inventory.yml", "--limit", self.host)
        return _line([*words, *more]) if self.host else ""

    def shell(self, *commands: str) -> str:
        """Return the command that runs commands on the host, as root, each only after the one before succeeded."""
        words = ("ansible", self.host, "-i", "inventory.yml", "--become", "--module-name", "ansible.builtin.shell")
        return _line([*words, "--args", " && ".join(commands)]) if self.host else ""

    def holders(self, pool: PoolName) -> str:
        """Return the command that tells who holds most of the pool."""
        words = ("ansible", self.host, "-i", "inventory.yml", "--become")
        module = ("--module-name", "devicemapper.containers.thin_pool_usage_info")
        return _line([*words, *module, "--args", f"vg={pool.vg} name={pool.name} limit=10"]) if self.host else ""

    def grow(self) -> str:
        """Return the command that adds the devices of the inventory; empty where it is not known whose pool it is."""
        variables = ("thin_pool_engine=containerd",) if self.engine == "containerd" else ()
        return self.playbook("grow", *variables) if self.engine else ""

    def release(self, pool: PoolName) -> str:
        """Return the command that gives a pool what is kept for it, whatever the inventory calls it."""
        return self.playbook("release_reserve", f"release_vg={pool.vg}", f"release_pool={pool.name}")

    def repair(self) -> str:
        """Return the command that sets right what can be set right while pools are in use."""
        return self.playbook("monitor", "thin_pool_monitor_repair=true")

    def add_a_device(self, pool: PoolName) -> str:
        """Return in words how a pool comes to a device more, in the way of the engine whose it is."""
        if self.engine == "docker":
            return "add a device (direct_lvm_devices) and run the playbook grow"
        if self.engine == "containerd":
            return (
                "add a device (containerd_devmapper_devices) and run the playbook grow with thin_pool_engine=containerd"
            )
        return f"add a device ('vgextend {pool.vg} DEVICE') and run 'lvextend --use-policies {pool}'"

    @property
    def variables(self) -> str:
        """The prefix of the variables of the role whose pool it is."""
        return "containerd_devmapper" if self.engine == "containerd" else "direct_lvm"


def _line(words: t.Iterable[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)
