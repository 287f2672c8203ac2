# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""dockerd's daemon.json: what it says, what it shall say, and every other key left as it is."""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, masking
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write
from ansible_collections.devicemapper.containers.plugins.module_utils._core.sizes import GIB, KIB, human, parse_ram
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import Step
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import dockerd_keys

DEFAULT_PATH = "/etc/docker/daemon.json"
DRIVER = "storage-driver"
OPTIONS = "storage-opts"


_ON = ("1", "t", "T", "true", "TRUE", "True")
_OFF = ("0", "f", "F", "false", "FALSE", "False")


def boolean(value: str) -> bool | None:
    """Return what strconv.ParseBool, which the driver uses, makes of a value; None where it is none."""
    return True if value in _ON else False if value in _OFF else None


def words(size: int) -> str:
    """Return a size in Docker's words, which it reads as exactly that many bytes."""
    steps = next((step for step in (4, 3, 2, 1) if size and size % 1024**step == 0), 0)
    return f"{size // 1024**steps}{' KMGT'[steps].strip()}"


def _is_boolean(value: str) -> bool:
    return boolean(value) is not None


def _is_size(value: str) -> bool:
    return bool(parse_ram(value))


def _is_chunk(value: str) -> bool:
    # Where Docker makes the pool's table itself (loop files), the kernel takes no other: Documentation/admin-guide/
    # device-mapper/thin-provisioning.rst, "data_block_size".
    found = parse_ram(value) or 0
    return 0 < found <= GIB and found % (64 * KIB) == 0


def _is_device(value: str) -> bool:
    return value.startswith("/")


def _share(largest: int) -> t.Callable[[str], bool]:
    return lambda value: bool(re.fullmatch("[0-9]{1,9}%?", value)) and int(value.rstrip("%")) <= largest


# The options of the driver in Docker 20.10 to 24, which ends at any other (moby, daemon/graphdriver/devmapper/
# deviceset.go NewDeviceSet()), and what each may be. docs/guides/docker_options.md has the same with its meaning.
_SHARE_OF_GROUP = (_share(99), "a percentage from 0 to 99")
_SHARE = (_share(100), "a percentage from 0 to 100")
DM_OPTIONS: dict[str, tuple[t.Callable[[str], bool], str]] = {
    "dm.basesize": (_is_size, "a size such as 10G"),
    "dm.loopdatasize": (_is_size, "a size such as 100G"),
    "dm.loopmetadatasize": (_is_size, "a size such as 2G"),
    "dm.fs": (lambda value: value in ("ext4", "xfs"), "ext4 or xfs"),
    "dm.mkfsarg": (bool, "an argument of mkfs"),
    "dm.mountopt": (bool, "mount options"),
    "dm.datadev": (_is_device, "the path of a device"),
    "dm.metadatadev": (_is_device, "the path of a device"),
    # Docker takes the prefix off and asks the kernel for what is left, which knows no slash in a name.
    "dm.thinpooldev": (
        lambda value: bool(re.fullmatch("(/dev/mapper/)?[^/]+", value)),
        "the pool's path under /dev/mapper",
    ),
    "dm.blkdiscard": (_is_boolean, "true or false"),
    "dm.blocksize": (_is_chunk, "a multiple of 64K up to 1G"),
    "dm.override_udev_sync_check": (_is_boolean, "true or false"),
    "dm.use_deferred_removal": (_is_boolean, "true or false"),
    "dm.use_deferred_deletion": (_is_boolean, "true or false"),
    "dm.min_free_space": (lambda v: bool(re.fullmatch(r"[0-9]{1,2}%", v)), "a percentage below 100, such as 10%"),
    # Written to a file of sysfs that is an int (fs/xfs/xfs_sysfs.c max_retries_store()), once a container is mounted.
    "dm.xfs_nospace_max_retries": (
        lambda v: bool(re.fullmatch("[0-9]{1,10}", v)) and int(v) < 1 << 31,
        "a whole number from 0 to 2147483647",
    ),
    "dm.directlvm_device": (_is_device, "the path of a device"),
    "dm.directlvm_device_force": (_is_boolean, "true or false"),
    "dm.thinp_percent": _SHARE_OF_GROUP,
    "dm.thinp_metapercent": _SHARE_OF_GROUP,
    "dm.thinp_autoextend_threshold": _SHARE,
    "dm.thinp_autoextend_percent": _SHARE,
    "dm.libdm_log_level": (lambda value: value in tuple("234567"), "2 to 7"),
}
# What says where the pool comes from, of which Docker takes one, and what only has a meaning there.
_DIRECT_LVM = (
    "dm.directlvm_device",
    "dm.thinp_percent",
    "dm.thinp_metapercent",
    "dm.thinp_autoextend_threshold",
    "dm.thinp_autoextend_percent",
)
_ORIGINS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("dm.thinpooldev",), ()),
    (_DIRECT_LVM, ("dm.directlvm_device_force",)),
    (("dm.datadev", "dm.metadatadev"), ("dm.loopdatasize", "dm.loopmetadatasize")),
)
# How the options of each storage driver begin; a driver ends at one that it does not know.
_PREFIXES = {"devicemapper": "dm.", "overlay2": "overlay2.", "btrfs": "btrfs.", "zfs": "zfs."}
# JSON's words for what Python reads it as.
_WORDS = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}
REPEATABLE = ("dm.mkfsarg", "dm.mountopt")


@dataclass(frozen=True)
class DaemonJson:
    """A daemon.json as it is, or shall be: its text, and what that says."""

    text: str | None = None  # None: there is none
    path: str = DEFAULT_PATH
    known: t.Mapping[str, t.Any] = field(default_factory=dict)  # no keys where the text is not understood
    problem: str = ""  # why it is not, and Docker would not start with it

    @classmethod
    def of(cls, text: str | None, path: str = "") -> DaemonJson:
        path = path or DEFAULT_PATH
        try:
            return cls(text, path, parse(text, path))
        except RefusedError as refusal:
            return cls(text, path, problem=str(refusal))

    @property
    def keys(self) -> t.Mapping[str, t.Any]:
        """What it says; one that is not understood is refused."""
        if self.problem:
            raise RefusedError(self.problem)
        return self.known

    @property
    def driver(self) -> str | None:
        return self.known.get(DRIVER)

    def option(self, key: str) -> str | None:
        """Return the last value of a storage option."""
        return storage_option(self.known, key)


def read(path: str = "") -> DaemonJson:
    """Return Docker's own file, or another one of that kind."""
    return DaemonJson.of(files.read(path or DEFAULT_PATH), path)


def parse(text: str | None, path: str) -> dict[str, t.Any]:
    """Return the keys of a daemon.json; an absent or empty file has none."""
    if text is None or not text.strip():
        return {}
    try:
        document = json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, path),
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            f"{path} is not valid JSON ({error}), so Docker would not start with it: correct it first"
        ) from error
    if not isinstance(document, dict):
        raise RefusedError(
            f"{path} holds {_WORDS[type(document)]} where Docker wants an object ({{...}}): correct it first"
        )
    _check_list(document, path)
    return document


def _check_list(document: t.Mapping[str, t.Any], where: str) -> None:
    options = document.get(OPTIONS, [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise RefusedError(f'{where}: "{OPTIONS}" must be a list of strings such as ["dm.fs=xfs"]: correct it first')


def _no_constant(word: str) -> t.NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(word: str) -> float:
    number = float(word)
    if math.isinf(number):
        raise ValueError(f"{word} is too large a number")
    return number


def _check_numbers(options: t.Mapping[str, t.Any]) -> None:
    """Refuse what JSON cannot write, such as YAML's .nan and .inf."""
    for key, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise RefusedError(f"options: {key} holds what is no number in JSON (not a number, or infinite)") from error


def _unique(pairs: list[tuple[str, t.Any]], path: str) -> dict[str, t.Any]:
    keys = [key for key, value in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise RefusedError(f"{path} has {', '.join(twice)} twice, and Docker would use the last: leave one")
    return dict(pairs)


def render(document: t.Mapping[str, t.Any], like: str | None = None) -> str:
    """Return the text of a daemon.json, indented as the text that it takes the place of."""
    found = re.search(r"^([ \t]+)\S", like or "", re.MULTILINE)
    return json.dumps(document, indent=found[1] if found else 4, ensure_ascii=False) + "\n"


def shown(before: DaemonJson, after: DaemonJson) -> tuple[str, str]:
    """Return what a diff shows of two states of the file: the keys that differ, without the secrets in them.

    The file has passwords of proxies, tokens of log drivers and the like in it, which are no concern of ours.
    """
    keys = [
        key
        for key in {**before.known, **after.known}
        if (key in before.known, before.known.get(key)) != (key in after.known, after.known.get(key))
    ]

    def text(daemon: DaemonJson) -> str:
        if daemon.text is None:
            return ""
        return render(masking.masked({key: daemon.known[key] for key in keys if key in daemon.known}))

    return text(before), text(after)


def check_options(options: t.Sequence[str], driver: str = "", *, whole: bool = False) -> None:
    """Refuse options that Docker's driver would end at, all of them at once; devicemapper's are known one by one.

    ``whole`` tells that these are all that Docker will get, so that what must stand together is known too.
    """
    problems = []
    prefix = _PREFIXES.get(driver, "")
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            problems.append(f"storage option {option!r} has no value: write key=value")
        elif not key.startswith(prefix):
            problems.append(f"storage option {key!r} is none of driver {driver}, whose options begin with {prefix}")
        elif key.startswith("dm."):
            if key not in DM_OPTIONS:
                near = [known for known in DM_OPTIONS if known.replace("_", "") == re.sub("[-_]", "", key.lower())]
                hint = f"; did you mean {near[0]}?" if near else f": it knows {', '.join(DM_OPTIONS)}"
                problems.append(f"storage option {key!r} is not known to Docker's devicemapper driver{hint}")
            elif not DM_OPTIONS[key][0](value):
                problems.append(f"storage option {key} must be {DM_OPTIONS[key][1]}, not {value!r}")
    if whole:
        problems += _contradictions({OPTIONS: list(options)})
    if problems:
        raise RefusedErrors(problems)


def _contradictions(document: t.Mapping[str, t.Any]) -> list[str]:
    """Return which options cannot stand together, each of them right by itself (moby, device_setup.go
    validateLVMConfig() and deviceset.go initDevmapper(), enableDeferredRemovalDeletion())."""

    def share(key: str) -> int:
        value = storage_option(document, key) or ""
        return int(value.rstrip("%")) if DM_OPTIONS[key][0](value) else 0

    found = []
    keys = {option.partition("=")[0] for option in document[OPTIONS]}
    shares = [key for key in _DIRECT_LVM if key in keys and DM_OPTIONS[key] in (_SHARE, _SHARE_OF_GROUP) and share(key)]
    if "dm.thinpooldev" in keys:
        for key in ("dm.directlvm_device", *shares):
            if key in keys:
                found.append(f"storage option {key} cannot stand beside dm.thinpooldev: Docker would not start")
    elif shares and "dm.directlvm_device" not in keys:
        found.append(
            f"storage option {shares[0]} needs dm.directlvm_device, the disk of the pool that Docker is to make: "
            "without it Docker would not start"
        )
    for key in ("dm.datadev", "dm.metadatadev"):
        if key in keys and keys & {"dm.thinpooldev", "dm.directlvm_device"}:
            found.append(
                f"storage option {key} cannot stand beside dm.thinpooldev or dm.directlvm_device: Docker would not use "
                "it, and name it as the pool's device all the same"
            )
    data, metadata = share("dm.thinp_percent"), share("dm.thinp_metapercent")
    if bool(data) != bool(metadata):
        found.append(
            "storage options dm.thinp_percent and dm.thinp_metapercent need each other: with one of them alone Docker "
            "would not start"
        )
    if data + metadata > 100:
        found.append(
            f"storage options dm.thinp_percent and dm.thinp_metapercent come to {data + metadata} percent of the "
            "volume group: Docker would not start with more than 100"
        )
    removal, deletion = (
        boolean(storage_option(document, f"dm.use_deferred_{what}") or "") for what in ("removal", "deletion")
    )
    # Both are on where nothing is said, on a kernel and library that can.
    if removal is False and deletion is not False:
        found.append(
            "storage option dm.use_deferred_removal=false needs dm.use_deferred_deletion=false beside it: with "
            "deferred deletion, which is on by default, Docker would not start"
        )
    return found


def check_base(daemon: DaemonJson, base_size: int) -> None:
    """Refuse a dm.basesize below that of the base device that Docker has on record, in bytes: it only grows.

    moby, deviceset.go checkGrowBaseDeviceFS().
    """
    wished = parse_ram(daemon.option("dm.basesize") or "")
    if wished is not None and wished < base_size:
        raise RefusedError(
            f"storage option dm.basesize is {human(wished)}, and the base device that all images are made from has "
            f"{human(base_size)}: it can only grow, and Docker would not start. Set dm.basesize to that or more, or "
            "leave it out"
        )


def decide(
    daemon: DaemonJson,
    *,
    storage_driver: str | None = None,
    storage_opts: t.Sequence[str] = (),
    options: t.Mapping[str, t.Any] | None = None,
    state: str = "present",
    backup: bool = False,
    flags: t.Sequence[str] = (),
    version: str = "",
) -> tuple[list[Step], DaemonJson]:
    """Return the steps that merge what is wished into a daemon.json (or take them out), and how it is then.

    ``flags`` are dockerd's command line in its unit: what stands there and in the file keeps it from starting.
    ``version`` is dockerd's, where that is known.
    """
    both = [
        key for key, given in ((DRIVER, storage_driver), (OPTIONS, storage_opts)) if given and key in (options or {})
    ]
    if both:
        raise RefusedError(f"options: {', '.join(both)} is set by an option of its own here: leave it out of options")
    current, path = dict(daemon.keys), daemon.path
    if state == "absent":
        wanted = _without(current, storage_driver, storage_opts, options or {})
    else:
        _check_list(options or {}, "options")
        _check_numbers(options or {})
        wanted = _merged(current, storage_driver, storage_opts, options or {})
        driver = wanted.get(DRIVER)
        check_options(storage_opts, str(driver))
        if driver == "devicemapper":
            try:
                check_options(wanted.get(OPTIONS, []), whole=True)
            except RefusedErrors as refusal:
                raise RefusedErrors(f"{path}: {reason}" for reason in refusal.reasons) from refusal
        _check_keys(wanted, flags, version, path)
    if wanted == current and list(wanted) == list(current):
        return [], daemon
    new = render(wanted, daemon.text) if wanted else None
    if new is None and daemon.text is None:
        return [], daemon
    changed = [
        key
        for key in {**current, **wanted}
        if current.get(key) != wanted.get(key) or (key in current) != (key in wanted)
    ]
    verb = "remove" if new is None else "change" if daemon.text is not None else "write"
    step = Step(f"{verb} {path}: {', '.join(changed)}", write=Write(path, new, backup=backup))
    return [step], DaemonJson(new, path, wanted)


def _merged(
    current: t.Mapping[str, t.Any], driver: str | None, storage_opts: t.Sequence[str], options: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    wanted = dict(current)
    wanted.update(options)
    if driver:
        wanted[DRIVER] = driver
    if storage_opts or (driver and OPTIONS in wanted):
        wanted[OPTIONS] = _merged_options(wanted.get(OPTIONS, []), storage_opts, wanted.get(DRIVER, ""))
        if not wanted[OPTIONS]:
            del wanted[OPTIONS]
    return wanted


def _merged_options(current: t.Sequence[str], wished: t.Sequence[str], driver: str) -> list[str]:
    """Return the driver's options: a wished key replaces its old values where they stand, other keys stay.

    Options of another driver go, and so do those of another origin of the pool than the wished ones are of.
    """
    prefix = _PREFIXES.get(driver, "")
    by_key: dict[str, list[str]] = {}
    for option in wished:
        key = option.partition("=")[0]
        by_key[key] = [*by_key.get(key, []), option] if key in REPEATABLE else [option]
    origin = next((found for found in _ORIGINS if any(key in by_key for key in found[0])), None)
    displaced = {key for other in _ORIGINS if origin and other is not origin for keys in other for key in keys}
    kept = [option for option in current if option.startswith(prefix) and option.partition("=")[0] not in displaced]
    merged: list[str] = []
    placed: set[str] = set()
    for option in kept:
        key = option.partition("=")[0]
        if key not in by_key:
            merged.append(option)
        elif key not in placed:
            merged += by_key[key]
            placed.add(key)
    return merged + [option for key, options in by_key.items() if key not in placed for option in options]


def _without(
    current: t.Mapping[str, t.Any], driver: str | None, storage_opts: t.Sequence[str], options: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return the document without the named keys, as far as they still have the named values.

    With a driver go all options of its own: the driver that Docker takes then would end at them.
    """
    left = {key: value for key, value in current.items() if key not in options or options[key] != value}
    gone = tuple(storage_opts)
    if driver and left.get(DRIVER) == driver:
        del left[DRIVER]
        prefix = _PREFIXES.get(driver)
        gone += tuple(option for option in left.get(OPTIONS, []) if prefix and option.startswith(prefix))
    remaining = [option for option in left.get(OPTIONS, []) if option not in gone]
    if OPTIONS in left:
        left[OPTIONS] = remaining
        if not remaining:
            del left[OPTIONS]
    return left


def _check_keys(wanted: t.Mapping[str, t.Any], flags: t.Sequence[str], version: str, path: str) -> None:
    """Refuse keys with which Docker would not start."""
    problems = [f"{path}: {problem}" for problem in dockerd_keys.problems(wanted, version)]
    clashes = dockerd_keys.clashes(wanted, flags)
    if clashes:
        named = ", ".join(f"{flag} ({key})" for key, flag in clashes.items())
        problems.append(
            f"dockerd's unit already sets {named}; a key that stands both there and in {path} keeps Docker from "
            "starting. Take the flag out of the unit or its environment file ('systemctl cat docker')"
        )
    if problems:
        raise RefusedErrors(problems)


def storage_option(document: t.Mapping[str, t.Any], key: str) -> str | None:
    """Return the last value of a storage option in a daemon.json."""
    values = [option.partition("=")[2] for option in document.get(OPTIONS, []) if option.partition("=")[0] == key]
    return values[-1] if values else None
