# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""One verdict on each pool: how it is now, what happened to it that still matters, and what may be set right. Pure.

How a pool is now comes first: an event only counts where the pool's state cannot show what it tells, or does not
disprove it. See of_events() for each of them.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import human
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import obstacles, pool_status
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.device_names import PoolName
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.lvm_state import LvmState
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.pool_status import PoolStatus
from ansible_collections.devicemapper.containers.plugins.module_utils._lvm.profiles import Policy
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import judgement, pool_health, timestamps
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.dm_events import SEVERITIES, Event
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor.pool_health import Limits, Pool, Reason

SOON = 30 * 86400  # seconds; later than that is not worth telling
# Writes failed where one of these came, whatever the pool is now.
_WRITES_FAILED = (
    "data_full_erroring",
    "data_full",
    "metadata_full",
    "metadata_read_only",
    "metadata_abort",
    "pool_failed",
)
# Why LVM could not activate a pool.
_NOT_ACTIVATED = ("repair_needed", "transaction_mismatch", "config_error")
# What must be seen to by a person, before anything else of the pool is changed.
_BROKEN = {
    "activation_failed",
    "device_missing",
    "device_shrunk",
    "duplicate",
    "exported",
    "failed",
    "foreign",
    "inactive",
    "metadata_damaged",
    "metadata_read_only",
    "name_twice",
    "needs_check",
    "read_only",
    "shared",
    "suspended",
}


@dataclass(frozen=True)
class EventSummary:
    """The events of one kind: how often, and the last of them."""

    kind: str
    last: float  # seconds since 1970
    count: int = 1
    severity: str = "info"
    message: str = ""
    named: bool = True  # whether it named the pool; else it may be of another one
    first: float = 0.0  # as last; 0: not known

    @property
    def time(self) -> str:
        return timestamps.iso_seconds(self.last)

    @property
    def sentence(self) -> str:
        """What a person reads: when, what, how often, and the line itself."""
        often = f" ({self.count} times, the last then)" if self.count > 1 else ""
        return f"{self.time} {self.kind}{often}: {self.message}"

    def as_dict(self) -> dict[str, t.Any]:
        return asdict(self)


EventHistory = t.Mapping[str, EventSummary]


def history(events: t.Iterable[Event], pool: PoolName, before: EventHistory | None = None) -> dict[str, EventSummary]:
    """Return what happened to a pool by kind, its group's events and those that may be of any pool included."""
    found = dict(before or {})
    for event in events:
        if event.concerns([pool], [pool.vg]):
            known = found.get(event.kind)
            # What may be of any pool, as the kernel's line of a device that is gone, says nothing new of this one.
            if known and known.named and event.pool is None and event.vg is None:
                continue
            found[event.kind] = EventSummary(
                kind=event.kind,
                last=event.line.time,
                count=known.count + 1 if known else 1,
                severity=event.severity,
                message=event.line.message.strip(),
                named=event.pool is not None,
                first=(known.first or known.last) if known else event.line.time,
            )
    return found


def of_events(pool: Pool, past: EventHistory) -> t.Iterator[Reason]:
    """Return what is wrong with a pool by what happened to it, where that still matters.

    - An extension that failed: while the pool is above its threshold, and LVM could extend it now. Where it still could
      not, the pool's state says so with the figures; below the threshold nothing is to be extended.
    - Writes that failed: while the pool can be written again, because filesystems on it may not have taken it well.
    - Damaged metadata that the kernel came upon: always, since nothing but a check can disprove it.
    - dmeventd that ended with an error: while the pool is not monitored.
    - A pool that LVM refused to activate: while it is not active.
    - An own command of dmeventd's that failed: until one did not.
    - Metadata of the largest size: always.
    """
    name, volume, policy = pool.pool_name, pool.volume, pool.policy

    def last(*kinds: str) -> float:
        return max((past[kind].last for kind in kinds if kind in past), default=0.0)

    damage = past.get("metadata_corrupt")
    if damage:
        whose = f"the metadata of {name}" if damage.named else f"the metadata of a pool, which may be {name},"
        yield Reason(
            "metadata_damaged",
            "critical",
            f"the kernel found {whose} damaged at {damage.time} ('{damage.message}'): stop what uses it, 'lvchange "
            f"--activate n {name}', and 'lvconvert --repair {name}' (lvmthin(7), 'Metadata check and repair')",
        )
    refused = max(
        (past[kind] for kind in _NOT_ACTIVATED if kind in past), key=lambda happened: happened.last, default=None
    )
    if refused and not volume.active and refused.last > last("activated"):
        yield Reason(
            "activation_failed",
            "critical",
            f"{name} could not be activated at {refused.time} ('{refused.message}'): 'lvconvert --repair {name}' "
            "repairs its metadata (lvmthin(7), 'Metadata check and repair')",
        )
    ended = past.get("daemon_failed")
    if ended and volume.active and not volume.monitored:
        yield Reason(
            "dmeventd_failed",
            "critical",
            f"dmeventd ended at {ended.time} ('{ended.message}') and has not watched {name} since, so it is not "
            f"extended: run 'lvchange --monitor y {name}', and see 'journalctl --unit dm-event' for why it ended",
            pool.whose.repair() if pool.policy.can_monitor else "",
        )
    failed = past.get("autoextend_failed")
    if failed and failed.last > last("extended", "grown") and _could_be_extended(pool):
        why = past.get("vg_full") or failed
        yield Reason(
            "extension_failed",
            "critical",
            f"dmeventd could not extend {name}, last at {failed.time} ('{why.message}'). It is above "
            f"{policy.threshold} percent and there is room now, but after failures dmeventd waits up to 42 minutes: "
            f"run 'lvextend --yes --use-policies {name}'",
            pool.whose.shell(f"lvextend --yes --use-policies {name}"),
        )
    writes = max(
        (past[kind] for kind in _WRITES_FAILED if kind in past and past[kind].named), key=lambda h: h.last, default=None
    )
    if writes and pool.writes == "ok" and not pool.needs_check:
        yield Reason(
            "writes_failed",
            "warning",
            f"writes to {name} failed at {writes.time} ('{writes.message}'). It can be written again, but filesystems "
            "on it may have lost files or turned read-only: look at what runs on it, and restart what complains",
        )
    hooks = [past[kind] for kind in ("hook_failed", "hook_finished") if kind in past]
    hook = max(hooks, key=lambda happened: happened.last, default=None)
    if hook and hook.severity != "info":
        yield Reason(
            "hook_failed",
            "warning",
            f"the command of lvm.conf's dmeventd/thin_command failed at {hook.time} ('{hook.message}'), and nothing "
            f"else extends {name}: see 'journalctl --unit dm-event'",
        )
    if "metadata_max" in past:
        yield Reason(
            "metadata_max",
            "warning",
            f"the metadata of {name} has the largest size that there is, and cannot be extended any more: remove "
            "images and containers that are not needed",
        )


def _could_be_extended(pool: Pool) -> bool:
    """Whether a half is above the threshold, and its extension would succeed."""
    return any(
        percent is not None and percent > pool.policy.threshold and possible
        for percent, possible in (
            (pool.data_percent, pool.extension.data_possible),
            (pool.metadata_percent, pool.extension.metadata_possible),
        )
    )


# --- The verdict ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repair:
    """What can be set right while the pool is in use, in the words of the module lvm_thin_pool."""

    monitor: bool = False
    profile: str = ""  # to be attached, or already attached but not in the kernel's table


@dataclass(frozen=True)
class Verdict:
    """What there is to say of one pool."""

    pool_name: PoolName
    reasons: tuple[Reason, ...] = ()  # the worst first
    pool: Pool | None = None  # None: LVM has no such pool
    status: PoolStatus | None = None  # the kernel's, which may run one all the same
    past: EventHistory = field(default_factory=dict)
    repair: Repair | None = None

    @property
    def health(self) -> str:
        return pool_health.worst(reason.severity for reason in self.reasons)

    @property
    def sentence(self) -> str:
        """The one sentence: what is worst and what to do, or that all is well and for how much more."""
        if self.reasons:
            return self.reasons[0].message
        extension = t.cast(Pool, self.pool).extension  # what LVM does not have is not well
        needed, free, size = extension.data_needed, extension.free, extension.extent_size
        return (
            f"{self.pool_name} is well: its next extension takes {human(needed * size)}, and {human(free * size)} are "
            f"free in volume group {self.pool_name.vg}"
        )

    @property
    def figures(self) -> str:
        if self.pool is None:
            return ""
        volume, group = self.pool.volume, self.pool.group
        return ", ".join(
            [
                *(
                    f"{part} {'?' if percent is None else f'{percent:.2f}'} % of {human(size)}"
                    for part, percent, size in (
                        ("data", self.pool.data_percent, volume.size),
                        ("metadata", self.pool.metadata_percent, volume.metadata_size),
                    )
                ),
                f"{human(group.extents_free * group.extent_size)} free in {self.pool_name.vg}",
                *(f"{one.part} full {one.words}" for one in self.pool.forecasts if one.seconds < SOON),
                *(f"{human(size)} more on {path}, which was enlarged" for path, size in self.pool.unused.items()),
            ]
        )

    @property
    def lines(self) -> list[str]:
        """What a person reads: the word and the figures, every reason, and what happened that is worth knowing."""
        head = f"{self.pool_name}: {self.health.upper()}"
        return [
            f"{head}, {self.figures}" if self.figures else head,
            *(line for reason in self.reasons for line in _lines_of(reason)),
            *(f"    {happened.sentence}" for happened in worth_telling(self.past) if happened.named),
        ]


def _lines_of(reason: Reason) -> t.Iterator[str]:
    yield f"    {reason.severity}: {reason.message}"
    if reason.command:
        yield f"      run: {reason.command}"
    if reason.guide and reason.severity == "critical":
        yield f"      see: {reason.guide}"


def worth_telling(past: EventHistory) -> list[EventSummary]:
    """Return what a person wants to know of, in its order: trouble, and that a pool grew."""
    worth = [
        happened
        for happened in past.values()
        if happened.kind in ("extended", "unknown") or SEVERITIES.index(happened.severity) >= _TROUBLE
    ]
    return sorted(worth, key=lambda happened: happened.last)


_TROUBLE = SEVERITIES.index("warning")


def of_pool(pool: Pool, limits: Limits, past: EventHistory, own: Policy | None) -> Verdict:
    """Return the verdict on a pool that LVM knows.

    ``own`` is the policy of the profile that the role direct_lvm would attach, None where there is none.
    """
    pool = with_times(pool, past)
    # Among equals what is broken goes first, then what happened, which tells more than the state that it led to.
    found = [*of_events(pool, past), *(_with_profile(reason, pool, own) for reason in judgement.judge(pool, limits))]
    found.sort(key=lambda reason: (-pool_health.ORDER.index(reason.severity), reason.kind not in _BROKEN))
    reasons = tuple(found)
    repair = None if pool.obstacles else _repair(pool, {reason.kind for reason in reasons}, own)
    return Verdict(pool.pool_name, reasons, pool, pool.status, past, repair)


def with_times(pool: Pool, past: EventHistory) -> Pool:
    """Return a full pool with since when what is written to it waits, or fails, as far as the kernel's lines tell."""

    def last(kind: str) -> float:
        found = past.get(kind)
        # Room since then ended it, and the state is of another time than the line.
        return found.last if found and found.named and found.last >= recovered else 0.0

    recovered = past["recovered"].last if "recovered" in past and past["recovered"].named else 0.0
    if not pool.is_full:
        return pool
    waiting, failing = last("data_full_queueing"), last("data_full_erroring")
    if waiting and not failing and pool.no_space_timeout:
        failing = waiting + pool.no_space_timeout
    if pool.writes == "failing":
        return replace(pool, failing_since=failing)
    return replace(pool, waiting_since=waiting) if pool.writes == "waiting" else pool


def _with_profile(reason: Reason, pool: Pool, own: Policy | None) -> Reason:
    """Return the reason with what to do about a profile that is not attached."""
    if reason.kind != "no_autoextend" or pool.profile:
        return reason
    name, profile = pool.pool_name, pool.volume.dm_name
    if own is None:
        return replace(
            reason,
            message=f"{reason.message}, and there is no profile {profile} that could be attached. Make one (module "
            f"lvm_profile, name: {profile}) and attach it (module lvm_thin_pool, profile: {profile})",
        )
    return replace(
        reason,
        message=f"{reason.message}. There is one, {profile}: run 'lvchange --metadataprofile {profile} {name}' and "
        f"'lvchange --refresh {name}'",
        command=pool.whose.repair(),
    )


def _repair(pool: Pool, kinds: set[str], own: Policy | None) -> Repair | None:
    """Return what can be set right without a person's judgement: nothing of a pool that is not well otherwise."""
    if kinds & {*_BROKEN, "no_status"}:
        return None
    monitor = "not_monitored" in kinds and pool.policy.can_monitor
    profile = ""
    if "out_of_data" not in kinds:  # loading its table anew would wait for what waits to be written
        if "not_armed" in kinds:
            profile = pool.volume.profile
        elif "no_autoextend" in kinds and not pool.profile and own is not None:
            profile = pool.volume.dm_name
    return Repair(monitor, profile) if monitor or profile else None


@dataclass(frozen=True)
class PoolSnapshot:
    """A host's pools, as they were read at one moment."""

    lvm: LvmState
    statuses: t.Mapping[str, PoolStatus]  # what the kernel runs, by device-mapper name
    pools: t.Sequence[Pool]
    own: t.Mapping[PoolName, Policy]  # of pools without a profile: that of the one with their name, where there is one


def of_host(
    snapshot: PoolSnapshot,
    wanted: t.Sequence[PoolName],
    limits: Limits,
    past_of: t.Callable[[PoolName], EventHistory],
) -> list[Verdict]:
    """Return a verdict on each pool that is wanted, or else on each that is found, the worst first."""
    found = []
    for name in wanted or names(snapshot):
        pool = next((pool for pool in snapshot.pools if pool.pool_name == name), None)
        past = past_of(name)
        if pool is None:
            found.append(_without_pool(snapshot, name, past))
        else:
            found.append(of_pool(pool, limits, past, snapshot.own.get(pool.pool_name)))
    return sorted(found, key=lambda verdict: (-pool_health.ORDER.index(verdict.health), verdict.pool_name))


def names(snapshot: PoolSnapshot) -> list[PoolName]:
    """Return the pools that there are: LVM's, and those that the kernel runs and LVM no longer knows.

    Of the latter those with a name as LVM gives them, as Docker's pool in loop-lvm mode has not.
    """
    found = [pool.pool_name for pool in snapshot.pools]
    running = map(PoolName.of_device, snapshot.statuses)
    return found + [name for name in running if name and name not in found]


def _without_pool(snapshot: PoolSnapshot, name: PoolName, past: EventHistory) -> Verdict:
    _device, status = pool_status.find(snapshot.statuses, name.dm_name)
    volume, group = snapshot.lvm.volume(*name), snapshot.lvm.group(name.vg)
    in_the_way = obstacles.of_group(snapshot.lvm, group) if group else []
    if in_the_way:
        reasons = tuple(Reason(obstacle.kind, "critical", obstacle.message) for obstacle in in_the_way)
        return Verdict(name, reasons, None, status, past)
    if status:
        reason = Reason(
            "not_in_lvm",
            "critical",
            f"{name} still runs, but LVM knows no such pool any more: its devices are gone, or LVM may not use "
            "them. See 'pvs --all' and 'dmesg', and bring them back",
        )
    elif volume:
        reason = Reason("no_pool", "critical", f"{name} is a volume of type {volume.type}, and no thin pool")
    else:
        what = "its volume group is not there either" if group is None else "its volume group is"
        reason = Reason(
            "missing",
            "critical",
            f"there is no thin pool {name}; {what}. See 'lvs' and 'pvs', bring its devices back, or no longer "
            "name it in thin_pool_monitor_pools",
        )
    return Verdict(name, (reason,), None, status, past)
