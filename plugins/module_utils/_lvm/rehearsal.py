# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What LVM says of a command before it is run: its test mode decides as the command does, and writes nothing."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_config, obstacles
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_sizing import (
    AutoExtension,
    figures_suffice,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
    from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import (
        LogicalVolume,
        LvmState,
        VolumeGroup,
    )

# In test mode LVM tries for ever to wipe a signature of a new device, since it never goes (seen with 2.03.16). Devices
# with one are not asked about; this ends what was not foreseen.
TIMEOUT = 60  # seconds
WRITES_NOTHING = f"lvm.conf has {lvm_config.READ_ONLY}=1, with which LVM writes nothing"


def refusal(command: t.Sequence[str]) -> str:
    """Return in LVM's words why it would not carry a command out; nothing where it would."""
    try:
        process.run(command[0], "--test", *command[1:], timeout=TIMEOUT)
    except process.ProcessError as error:
        lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith(("TEST MODE", "WARNING", "Run `"))]
        # Where every label of a group is only pretended, LVM says at the very end that it could not write there (seen).
        if command[0] == "vgcreate" and told and all(_PRETENDED.fullmatch(line) for line in told):
            return _read_only()
        return "; ".join(dict.fromkeys(told or lines)) or str(error)
    return ""


_PRETENDED = re.compile(r"Failed to write VG \S+\.")


def _read_only() -> str:
    return "" if lvm_config.may_write(lvm_config.configuration(lvm_config.READ_ONLY)) else WRITES_NOTHING


def check(steps: t.Iterable[Step]) -> None:
    """Refuse steps that LVM would not carry out, before the first of them is taken."""
    reasons = []
    for step in steps:
        said = refusal(step.rehearsal) if step.rehearsal else ""
        if said:
            reasons.append(f"LVM would refuse to {step.action}: {said.rstrip('.')}. Nothing was written")
    if reasons:
        raise RefusedErrors(dict.fromkeys(reasons))


def asked(
    lvm: LvmState, group: VolumeGroup, pool: LogicalVolume, extension: AutoExtension, *, may_write: bool = True
) -> AutoExtension:
    """Return what the next extension takes, with LVM's own word on whether it can be, where figures do not settle it.

    ``may_write`` tells that lvm.conf lets LVM change anything.
    A process for each half that is asked about. Nothing of how LVM allocates is repeated here.
    """
    in_the_way = obstacles.of_group(lvm, group)
    if in_the_way:
        return replace(extension, data_refusal=in_the_way[0].message, metadata_refusal=in_the_way[0].message)
    if not may_write:
        # Not asked either: in its test mode LVM succeeds (seen).
        return replace(extension, data_refusal=WRITES_NOTHING, metadata_refusal=WRITES_NOTHING)
    plain = figures_suffice(lvm, group, pool)
    if not plain and extension.data_needed <= extension.free:
        wanted = ("lvextend", "--yes", "--extents", f"+{extension.data_needed}", pool.full_name)
        extension = replace(extension, data_refusal=refusal(wanted))
    # Whether the spare grows along depends on the version.
    spare_lacks = extension.metadata_growth <= extension.free < extension.metadata_needed
    if extension.metadata_growth <= extension.free and (not plain or spare_lacks):
        growth = extension.metadata_growth * extension.extent_size
        said = refusal(("lvextend", "--yes", "--poolmetadatasize", f"+{growth}b", pool.full_name))
        extension = replace(extension, metadata_refusal=said, spare_is_left=spare_lacks and not said)
    return extension
