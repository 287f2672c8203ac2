# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The pool before the engine: a drop-in of the engine's unit that activates and watches the pool at every start.

LVM activates a pool by itself when its disks appear, at a moment that systemd does not order before the engine; not at
all where auto-activation is off (lvm.conf, activation/auto_activation_volume_list; vgchange --setautoactivation n); and
what is active is not watched where lvm2-monitor.service is off. Asking for it right before the engine starts does for
all of these. A unit of its own was rejected: it runs once a boot, and a pool can go at any time.
"""

from __future__ import annotations

from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import device_names

DEFAULT_SERVICE = "docker.service"
# How long disks may take to appear, in seconds.
PATIENCE = 30


def path(service: str, vg: str, pool: str) -> str:
    """Return the path of the drop-in (systemd.unit(5)); with the pool's name, so that two pools have two."""
    return f"/etc/systemd/system/{service}.d/thin-pool-{device_names.join(vg, pool)}.conf"


def text(vg: str, pool: str) -> str:
    """Return the drop-in's text."""
    name = f"{vg}/{pool}"
    # LVM succeeds without doing it where the pool has the activation skip flag, or where lvm.conf leaves the pool out
    # (activation/volume_list) or monitors nothing (activation/monitoring), all seen; so it is asked what came of it.
    # $$ is systemd's way to write a dollar sign (systemd.service(5), "Command lines"), % would need two as well.
    active = f"lvs --noheadings --options lv_name --select lv_active=active {name} | grep --quiet ."
    monitored = f"lvs --noheadings --options lv_name --select seg_monitor=monitored {name} | grep --quiet ."
    activate = (
        f"for second in $$(seq {PATIENCE}); do lvchange --activate y {name} && {active} && exit; sleep 1; done; "
        f'echo "thin pool {name} is not active, so nothing may start on it: see lvs --all {vg} and what LVM said; '
        "if it said nothing, the pool has the activation skip flag, or activation/volume_list in lvm.conf leaves it "
        'out" >&2; exit 1'
    )
    watch = (
        f"lvchange --monitor y {name} && {monitored} && exit; "
        f'echo "dmeventd does not watch thin pool {name}, so it would never be extended: see what LVM said; if it '
        'said nothing, see activation/monitoring in lvm.conf" >&2; exit 1'
    )
    return (
        "# Kept by the Ansible collection devicemapper.containers: the pool is active and watched before this starts.\n"
        "[Unit]\n"
        "Wants=dm-event.socket\n"
        "After=dm-event.socket lvm2-monitor.service\n"
        "\n"
        "[Service]\n"
        f"ExecStartPre=/bin/sh -c '{activate}'\n"
        f"ExecStartPre=/bin/sh -c '{watch}'\n"
    )


def decide(
    current: str | None, *, service: str, vg: str, pool: str, state: str = "present", needs_reload: bool = False
) -> tuple[list[Step], str | None]:
    """Return the steps that make the drop-in, or remove it, and its text after them.

    ``needs_reload`` tells that systemd still works with older files (systemctl show, NeedDaemonReload).
    """
    wanted = text(vg, pool) if state == "present" else None
    file = path(service, vg, pool)
    steps = []
    if current != wanted:
        verb = "write" if wanted else "remove"
        why = f", so that {service} starts with its pool active" if wanted else ""
        steps.append(Step(f"{verb} {file}{why}", write=Write(file, wanted)))
    if steps or (needs_reload and wanted):
        steps.append(Step("tell systemd of its changed files", ("systemctl", "daemon-reload")))
    return steps, wanted
