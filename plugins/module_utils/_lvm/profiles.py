# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The autoextend profile: a file in the directory that LVM reports, and the daemon that keeps a copy of it."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import lvm_config

DEFAULT_DIRECTORY = "/etc/lvm/profile"  # where LVM is not installed yet; what Debian's and Red Hat's packages use
THRESHOLD = "thin_pool_autoextend_threshold"
PERCENT = "thin_pool_autoextend_percent"

_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}")  # those of volumes, after which the role names it
_SETTING = r"(?m)^(\s*(?:activation/)?%s\s*=\s*)([^\s#]+)([ \t]*(?:#.*)?)$"


@dataclass(frozen=True)
class Profile:
    """A profile's file as it is, and whether the running dmeventd read an older one."""

    path: str
    text: str | None = None  # None: no such file
    dmeventd_running: bool = False
    dmeventd_stale: bool = False

    def value(self, setting: str) -> int | None:
        """Return a setting's value in the file, None where it is not set or no integer."""
        found = re.search(_SETTING % setting, self.text or "")
        return int(found[2]) if found and re.fullmatch(r"[0-9]{1,9}", found[2]) else None

    @property
    def others(self) -> list[str]:
        """The lines of the file that set something else than automatic extension."""
        return [
            line.strip()
            for line in (self.text or "").splitlines()
            if re.sub(r"#.*", "", line).strip(" \t{}") not in ("", "activation")
            and not re.match(_SETTING % r"thin_pool_autoextend_\w+", line)
        ]


def check_name(name: str) -> None:
    """Refuse a name that is none for a file in the profile directory, or none for LVM's command line."""
    if not _NAME.fullmatch(name):
        raise RefusedError(
            f"{name!r} is not a name for a profile: use letters, digits and + _ . - of ASCII, at most 127 of them, and "
            "no hyphen at the beginning"
        )


def read(name: str, *, directory: str | None = None) -> Profile:
    """Return the profile of a name. The directory is LVM's own word (config/profile_dir), one lvmconfig process."""
    check_name(name)
    path = os.path.join(directory or profile_directory(), f"{name}.profile")
    text = files.read(path)
    started = _dmeventd_started()
    # The time of change, not of modification: a copy that keeps the latter is new all the same.
    stale = text is not None and started is not None and os.stat(path).st_ctime_ns > started
    return Profile(path=path, text=text, dmeventd_running=started is not None, dmeventd_stale=stale)


def profile_directory() -> str:
    """Return the directory of LVM's profiles on this host."""
    return lvm_config.configuration("config/profile_dir").get("profile_dir") or DEFAULT_DIRECTORY


@dataclass(frozen=True)
class Policy:
    """What LVM does for a pool with a profile, or with none: percent of use, and percent to add."""

    threshold: int
    percent: int
    found: bool = True  # the profile's file could be read
    missing_thin_check: str = ""  # the program that LVM would check the metadata with, where it is not there
    can_monitor: bool = True  # lvm.conf, activation/monitoring
    may_write: bool = True  # lvm.conf, global/metadata_read_only


def policy(name: str, *, required: bool = False) -> Policy:
    """Return the policy as LVM itself sees it: one lvmconfig process.

    A profile whose file is gone protects nothing: LVM falls back to its defaults, where nothing is extended. One that
    is ``required`` is to be attached, which LVM does not do without its file.
    """
    if required:
        check_name(name)
    try:
        keys = (
            *(f"activation/{THRESHOLD}", f"activation/{PERCENT}"),
            *(lvm_config.THIN_CHECK, lvm_config.MONITORING, lvm_config.READ_ONLY),
        )
        found = lvm_config.configuration(*keys, profile=name)
    except process.ProcessError as error:
        if required:
            raise RefusedError(
                f"profile {name} cannot be attached: LVM does not find it, or does not take it. Make it first (module "
                f"lvm_profile), or correct its name. {error}"
            ) from error
        return Policy(100, 20, found=False)
    return Policy(
        int(found.get(THRESHOLD, 100)),
        int(found.get(PERCENT, 20)),
        missing_thin_check=lvm_config.missing_thin_check(found),
        can_monitor=lvm_config.can_monitor(found),
        may_write=lvm_config.may_write(found),
    )


def decide(
    current: Profile, *, threshold: int, percent: int, state: str = "present", used_by: t.Sequence[str] = ()
) -> tuple[list[Step], Profile]:
    """Return the steps that make the profile what is wished (or remove it), and the profile after them."""
    if state == "absent":
        if current.text is None:
            return [], current
        if used_by:
            raise RefusedError(
                f"{current.path} is attached to {', '.join(used_by)}: without it these pools would never be "
                f"extended. Detach it first ('lvchange --detachprofile {used_by[0]}')"
            )
        return [Step(f"remove profile {current.path}", write=Write(current.path, None))], replace(current, text=None)
    check(threshold, percent)
    steps = []
    after = current
    if (current.value(THRESHOLD), current.value(PERCENT)) != (threshold, percent):
        text = render(current, threshold, percent)
        words = f"{THRESHOLD} {threshold}, {PERCENT} {percent}"
        # Checks names and types; --profile in its place would check a command profile (lvmconfig(8)).
        validate = ("lvmconfig", "--validate", "--metadataprofile", "{name}")
        steps.append(Step(f"write profile {current.path}: {words}", write=Write(current.path, text, validate=validate)))
        after = replace(current, text=text, dmeventd_stale=current.dmeventd_running)
    if after.dmeventd_stale:
        # dmeventd reads a profile once and keeps it (lib/config/config.c, load_profile() returns early), so a changed
        # value would only count after its next start. -R takes over what is monitored (dmeventd(8)).
        # On a busy host the new one may not answer in time ("No input from event server", seen): then no pool of the
        # host is watched. So do what lvm2-monitor.service does at boot, which starts one. If it is the old one that did
        # not let go, the next run finds that it is older than the profile.
        restart = Step(
            "restart dmeventd, which keeps profiles in memory",
            ("dmeventd", "-R"),
            remedy=("vgchange", "--monitor", "y"),
        )
        steps.append(restart)
        after = replace(after, dmeventd_stale=False)
    return steps, after


def check(threshold: int, percent: int) -> None:
    """Refuse values outside the ranges in which LVM does what they say.

    lvmconfig --validate looks at types only. Below 50 LVM uses 50 (dmeventd_thin.c, CHECK_MINIMUM), from 100 on
    nothing is extended, and with 0 percent the extension itself fails (lib/metadata/lv_manip.c).
    """
    if not (50 <= threshold <= 99 or threshold == 100):
        raise RefusedError(
            f"{THRESHOLD} must be 50 to 99 (percent of the pool in use), or 100 to switch automatic extension off, "
            f"not {threshold}"
        )
    if not 1 <= percent <= 100:
        raise RefusedError(f"{PERCENT} must be 1 to 100 (percent of the pool's size to add), not {percent}")


def render(current: Profile, threshold: int, percent: int) -> str:
    """Return the file's new text; what else an administrator set in it stays."""
    text = current.text or ""
    if current.value(THRESHOLD) is not None and current.value(PERCENT) is not None:
        text = re.sub(_SETTING % THRESHOLD, rf"\g<1>{threshold}\g<3>", text)
        return re.sub(_SETTING % PERCENT, rf"\g<1>{percent}\g<3>", text)
    if current.others:
        raise RefusedError(
            f"{current.path} has settings of its own ({'; '.join(current.others)}) but not both {THRESHOLD} and "
            f"{PERCENT}: add the two to its activation section, or name another profile"
        )
    return (
        "# Kept by the module devicemapper.containers.lvm_profile. lvmthin(7) explains the settings.\n"
        + f"activation {{\n\t{THRESHOLD}={threshold}\n\t{PERCENT}={percent}\n}}\n"
    )


def _dmeventd_started() -> int | None:
    """Return when the running dmeventd was started, in nanoseconds since 1970; None where none runs.

    It writes the file of its process number first of all, and that file's time comes from the same clock as the
    profile's. The start time in /proc counts from a boot time in whole seconds, which is too coarse (seen).
    """
    try:
        with open("/run/dmeventd.pid", encoding="ascii") as file:
            pid, started = int(file.read()), os.fstat(file.fileno()).st_mtime_ns
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
            return started if file.read().strip() == "dmeventd" else None
    except (OSError, ValueError):
        return None
