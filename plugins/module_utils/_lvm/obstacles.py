# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What keeps LVM from a volume group, each with its way out."""

from __future__ import annotations

import typing as t

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState, VolumeGroup


class Obstacle(t.NamedTuple):
    """What keeps a group from being changed: a word for programs, and the sentence with the way out."""

    kind: str
    message: str


def of_group(lvm: LvmState, group: VolumeGroup) -> list[Obstacle]:
    """Return why the group may not be changed from this host; empty where it may."""
    name, found = group.name, []
    if lvm.is_foreign(group):
        # lvmsystemid(7), "Overriding system ID"
        own = f"has the system ID {lvm.system_id}" if lvm.system_id else "has no system ID"
        found.append(
            Obstacle(
                "foreign",
                f"volume group {name} belongs to another system (system ID {group.system_id}; this host {own}). If "
                "no other host uses it, as when this host was renamed, take it over while nothing of it is active: "
                "vgchange --yes --config "
                f'\'global/system_id_source="lvmlocal" local/system_id="{group.system_id}"\' --systemid '
                f'"{lvm.system_id}" {name}',
            )
        )
    others = [] if lvm.is_foreign(group) else lvm.namesakes(group)
    if others:
        which = " and ".join(_where(lvm, one) for one in (group, *others))
        found.append(
            Obstacle(
                "name_twice",
                f"volume group {name} is there {1 + len(others)} times, and LVM does nothing with a name that "
                f"stands for several: {which}. Rename what is not meant: 'vgrename UUID NEWNAME'",
            )
        )
    if group.attributes[2:3] == "x":
        found.append(
            Obstacle("exported", f"volume group {name} is exported: if it is to be used here, 'vgimport {name}'")
        )
    if group.attributes[0:1] == "r":
        found.append(
            Obstacle(
                "read_only",
                # No command changes this; vgchange has no --permission (vgchange(8)).
                f"volume group {name} is read-only, so LVM neither changes nor activates it. To make it writeable "
                f"again: 'vgcfgbackup --file FILE {name}', add \"WRITE\" to the first status in FILE, and "
                f"'vgcfgrestore --force --file FILE {name}' while nothing of it is active",
            )
        )
    if group.attributes[5:6] in ("c", "s") or group.lock_type not in ("", "none"):
        found.append(
            Obstacle(
                "shared",
                f"volume group {name} is shared with other hosts; a pool for containers needs its own",
            )
        )
    if group.missing_devices:
        found.append(
            Obstacle(
                "device_missing",
                # vgreduce(8) refuses by itself where a volume would lose a part. A power cut right after vgextend
                # leaves this too, where the new disk had not written its label through yet (seen).
                f"volume group {name} misses {group.missing_devices} of its devices. Bring them back and run "
                f"'vgchange --refresh {name}'; or, if they are gone for good and nothing of the group lies on them, "
                f"run 'vgreduce --removemissing {name}'",
            )
        )
    for device in (device for device in lvm.devices if lvm.holds(group, device)):
        copies = [copy.device for copy in lvm.duplicates if copy.of == device.uuid]
        if copies:
            found.append(
                Obstacle(
                    "duplicate",
                    f"{device.device} of volume group {name} is there more than once: {', '.join(copies)} "
                    "has the same physical volume on it, as a copied disk or a second path to the same disk has. "
                    "LVM changes and activates nothing of the group until one is gone: detach the copy, give it "
                    "other names with 'vgimportclone', or bring the paths under multipathd",
                )
            )
    return found


def _where(lvm: LvmState, group: VolumeGroup) -> str:
    """Return a group's UUID and its devices, in words."""
    paths = sorted(device.device for device in lvm.devices if lvm.holds(group, device))
    return f"{group.uuid} on {', '.join(paths) or 'no device that is here'}"
