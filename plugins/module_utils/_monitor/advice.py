# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What helps a pool in each of its states, in words and as a command that can be copied. Pure."""

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LogicalVolume
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.pool_health import Pool
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.timestamps import iso_seconds


def activate(pool: Pool) -> tuple[str, str]:
    """Return what brings an inactive pool up, of what LVM does in its state, in words and as a command."""
    name = pool.volume.full_name
    commands = [f"lvchange --activate n {' '.join(pool.active_parts)}"] if pool.active_parts else []
    if pool.volume.skips_activation:
        commands.append(f"lvchange --setactivationskip n {name}")
    commands.append(f"lvchange --activate y {name}")
    words, command = " && ".join(commands), pool.whose.shell(*commands)
    if pool.obstacles:
        return f"see to its volume group first, then run '{words}'", ""
    if pool.active_parts:
        # LVM prohibits the one while the other is active (seen after lvconvert was killed).
        return f"a part of it is active by itself, as an interrupted command leaves it. Run '{words}'", command
    if pool.volume.skips_activation:
        return f"it has the activation skip flag. Run '{words}' if it may be active", ""
    return f"run '{words}'", command


def unstick(volume: LogicalVolume) -> str:
    """Return the commands that bring a pool back into use as LVM has it, whatever was loaded for it and not used."""
    parts = (volume.name, volume.data_volume, volume.metadata_volume)
    names = " ".join(device_names.join(volume.vg, part) for part in parts if part)
    return f"dmsetup clear {names} && lvchange --refresh {volume.full_name}"


def until(pool: Pool) -> str:
    """Return in words when writes that wait begin to fail."""
    if pool.no_space_timeout is None:
        return ", and fails after a minute"
    if pool.no_space_timeout == 0:
        return ", for as long as it takes (no_space_timeout is 0)"
    if pool.waiting_since:
        return f", and fails at {iso_seconds(pool.waiting_since + pool.no_space_timeout)}"
    return f", and fails {pool.no_space_timeout} seconds after it began to"


def room(pool: Pool) -> tuple[str, str]:
    """Return what gives the data of a pool room, in words and as a command, what is fastest first."""
    extension, by = pool.extension, ""
    if extension.data_possible and pool.policy.threshold < 100:
        by = "--use-policies"
    elif pool.reserve:
        words = f"give it the {human(pool.reserve)} that are kept for it (playbook release_reserve), and add a device"
        return words, pool.whose.release(pool.pool_name)
    elif extension.data_possible:
        # Without a threshold there is no policy that would extend it: by a fifth, as the default is.
        fifth = pool.volume.size // (extension.extent_size or pool.volume.size) // 5
        by = f"--extents +{max(min(fifth, extension.free), 1)}"
    if by:
        extend = f"lvextend --yes {by} {pool.pool_name}"
        return f"its volume group has room, so run '{extend}'", pool.whose.shell(extend)
    return make_room(pool, extension.data_refusal)


def less_use(pool: Pool, part: str) -> tuple[str, str]:
    """Return what to do about a half that is nearly full, in words and as a command.

    Nothing where another reason says what to do first: each state has one advice.
    """
    name, extension = pool.pool_name, pool.extension
    if pool.has_sick_metadata or pool.is_full:
        return "", ""
    if part == "metadata":
        larger = f"lvextend --poolmetadatasize +{extension.metadata_growth * extension.extent_size}b {name}"
        if extension.metadata_growth and extension.metadata_possible:
            return f": remove images and containers that are not needed, or run '{larger}'", pool.whose.shell(larger)
        return ": remove images and containers that are not needed, or give the volume group room for more of it", ""
    if extension.data_possible and pool.policy.threshold < 100:
        words = ": see what holds most and remove what is not needed, and have back what containers have deleted"
        return f"{words} (playbook reclaim)", pool.whose.holders(name)
    return f": remove what is not needed, or {pool.whose.add_a_device(name)}", pool.whose.grow()


def make_room(pool: Pool, refusal: str) -> tuple[str, str]:
    """Return what gives a pool the room that it lacks, nearest first, in words and as a command."""
    extend = f"lvextend --yes --use-policies {pool.pool_name}"
    if refusal and pool.not_allocatable:
        allow = f"pvchange --allocatable y {' '.join(pool.not_allocatable)}"
        return f"let LVM use all devices ('{allow}'), or add one", pool.whose.shell(allow, extend)
    if pool.unused:
        resize = f"pvresize {' '.join(pool.unused)}"
        return (
            f"let LVM use the {human(sum(pool.unused.values()))} more of enlarged devices ('{resize}', or the role's "
            f"variable {pool.whose.variables}_resize_devices) and run the playbook grow"
        ), pool.whose.shell(resize, extend)
    if refusal:
        return "add devices until it has what LVM asks for, as many as the pool's data has stripes or copies", ""
    return pool.whose.add_a_device(pool.pool_name), pool.whose.grow()
