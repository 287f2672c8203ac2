# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What of a change of containerd's configuration is shown: no secret, and nobody's name before a password."""

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import toml
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import Change
from ansible_collections.devicemapper.containers.plugins.module_utils._core import masking


def difference(change: Change) -> dict[str, str]:
    """Return a change as Ansible's diff: the lines that differ, without credentials of registries and other secrets."""
    before, after = masking.changes(*(masked(text or "") for text in (change.before, change.after)))
    return {"before_header": change.path, "after_header": change.path, "before": before, "after": after}


def masked(text: str) -> str:
    """Return a configuration without the secrets in it."""
    pieces, at = [], 0
    for entry in toml.parse(text).entries:
        is_secret = any(masking.is_secret(part) for part in entry.path)
        if is_secret or masking.masked(entry.value) != entry.value:
            hidden = entry.value if not is_secret and isinstance(entry.value, str) else masking.HIDDEN
            pieces += [text[at : entry.value_start], toml.basic_string(masking.masked(hidden))]
            at = entry.value_end
    return masking.without_users("".join([*pieces, text[at:]]))
