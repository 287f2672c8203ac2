# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""The distribution's packages: which this job needs, which are missing, and which Docker would come."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.devicemapper.containers.plugins.module_utils._core import process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

STORAGE = {
    "debian": ("lvm2", "thin-provisioning-tools", "dmeventd"),
    "redhat": ("lvm2", "device-mapper-persistent-data", "device-mapper-event"),
}
# Where Docker makes its pool of two files, LVM is not asked.
LOOP = {"debian": ("dmsetup",), "redhat": ("device-mapper",)}
# What brings thin_check.
THIN_CHECK = {"thin-provisioning-tools", "device-mapper-persistent-data"}
# Docker does not depend on what makes its base filesystem, and ends where it is missing (seen).
MKFS = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}
# What the packages of Docker's engine are called: Debian's and Ubuntu's, Docker's own, Fedora's, Docker's old ones.
ENGINES = ("docker.io", "docker-ce", "moby-engine", "docker-engine", "docker")
# A name, with a version or release, or what else apt and dnf take; but no option of theirs.
_NAME = re.compile(r"[A-Za-z0-9@/][!-~]*")


@dataclass(frozen=True)
class Candidate:
    """The version that an install would bring; empty: the package lists do not know the package."""

    package: str
    version: str


def family(os_release: str) -> str:
    """Return debian or redhat, from the text of /etc/os-release (os-release(5): ID and ID_LIKE)."""
    values = dict(re.findall(r"(?m)^(ID|ID_LIKE)=[\"']?([^\"'\n]*)", os_release))
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".split()
    for name, ids in (("debian", {"debian", "ubuntu"}), ("redhat", {"rhel", "fedora", "centos"})):
        if ids & set(words):
            return name
    raise RefusedError(
        "this role knows the packages of the Debian and Red Hat families, not those of "
        f"{values.get('ID') or 'this system'} (/etc/os-release)"
    )


def read_family() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            return family(file.read())
    except OSError as error:
        raise RefusedError(
            f"/etc/os-release cannot be read ({error.strerror}), so the distribution is unknown"
        ) from error


def missing(family_name: str, packages: t.Sequence[str]) -> list[str]:
    """Return those of the packages that are not installed, in their order: one process."""
    for package in packages:
        if not _NAME.fullmatch(package):
            raise RefusedError(
                f"{package!r} is not the name of a package: name one in each entry of the list, such as docker.io or "
                "docker-ce-24.0.9"
            )
    if not packages:
        return []
    names = [_bare(package) for package in packages]
    if family_name == "debian":
        show = ("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n")
        lines = process.run(*show, *names, accept=(0, 1)).splitlines()
        return [package for package, name in zip(packages, names) if f"{name} installed" not in lines]
    # rpm names what it does not know among its answers (lib/query.c, "package %s is not installed").
    lines = process.run("rpm", "--query", *names, accept=range(256)).splitlines()
    return [package for package, name in zip(packages, names) if f"package {name} is not installed" in lines]


def candidates(family_name: str, packages: t.Sequence[str]) -> list[Candidate]:
    """Return what an install of each package would bring, from the lists that the host has: mostly one process.

    A package with a version (``docker-ce=5:24.0.9-1``, ``docker-ce=5:24.*``) brings that one. A pattern that leaves the
    release open is asked for like a bare name.
    """
    found = {package: package.partition("=")[2] for package in packages if re.search(r"=(\d+:)?\d+\.", package)}
    if family_name == "redhat":
        query = ("dnf", "--quiet", "repoquery", "--latest-limit=1", "--queryformat", "%{name} %{version}\n")
        asked = [package for package in packages if package not in found]
        out = process.run(*query, *asked, accept=range(256)) if asked else ""
        for line in out.splitlines():
            name, _space, version = line.partition(" ")
            found.update((package, version) for package in asked if package == name or package.startswith(f"{name}-"))
        return [Candidate(package, found.get(package, "")) for package in packages]
    # name/release, as apt-get(8) takes it, asks in that release.
    for release in dict.fromkeys(package.partition("/")[2] for package in packages if package not in found):
        asked = [package for package in packages if package not in found and package.partition("/")[2] == release]
        where = (f"--option=APT::Default-Release={release}",) if release else ()
        known = parse_policy(process.run("apt-cache", "policy", *where, *map(_bare, asked), accept=range(256)))
        found.update((package, known.get(_bare(package), "")) for package in asked)
    return [Candidate(package, found[package]) for package in packages]


def _bare(package: str) -> str:
    """Return a package's name without the architecture, version or release that apt is asked for (apt-get(8))."""
    return re.split("[=/:]", package)[0]


def parse_policy(text: str) -> dict[str, str]:
    """Return the candidate version of each package in the output of ``apt-cache policy``."""
    found = {}
    for block in re.finditer(r"(?m)^(\S+):\n(?:  .*\n?)*", text):
        match = re.search(r"(?m)^  Candidate: (\S+)$", block[0])
        if match and match[1] != "(none)":
            found[block[1]] = match[1]
    return found


def engine(packages: t.Iterable[str]) -> str:
    """Return the one of the packages that is Docker's engine; empty where none is."""
    with_version = re.compile(rf"(?:{'|'.join(map(re.escape, ENGINES))})-\d.*")  # as dnf is asked for one
    return next((name for name in packages if _bare(name) in ENGINES or with_version.fullmatch(name)), "")


def needs_apparmor(find: t.Callable[[str], t.Any]) -> bool:
    """Whether the kernel confines by AppArmor and its loader is missing, without which no container starts (seen)."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().strip() == "Y" and not find("apparmor_parser")
    except OSError:
        return False
