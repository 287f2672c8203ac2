# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._plan import package_manager
from ansible_collections.devicemapper.containers.plugins.module_utils._plan.package_manager import Candidate


def test_the_captured_distribution_is_known(captured):
    assert package_manager.family(captured("os-release")) == "debian"


# ID and ID_LIKE as os-release(5) and the distributions' own files have them, put into the captured text.
@pytest.mark.parametrize(
    ("lines", "family"),
    [
        pytest.param("ID=ubuntu\nID_LIKE=debian", "debian", id="ubuntu"),
        pytest.param('ID=linuxmint\nID_LIKE="ubuntu debian"', "debian", id="like-two"),
        pytest.param('ID="rhel"\nID_LIKE="fedora"', "redhat", id="rhel"),
        pytest.param('ID="rocky"\nID_LIKE="rhel centos fedora"', "redhat", id="rocky"),
        pytest.param("ID=fedora", "redhat", id="fedora"),
        pytest.param("ID='centos'", "redhat", id="single-quotes"),
    ],
)
def test_a_family_is_known_by_id_or_likeness(captured, lines, family):
    assert package_manager.family(captured("os-release").replace("ID=debian", lines)) == family


@pytest.mark.parametrize(
    ("line", "name"),
    [("ID=alpine", "alpine"), ("ID=debian-ish", "debian-ish"), ("", "this system"), ("XID=debian", "this system")],
)
def test_another_family_is_refused_by_its_name(captured, line, name):
    with pytest.raises(RefusedError, match=f"not those of {name} ./etc/os-release"):
        package_manager.family(captured("os-release").replace("\nID=debian", f"\n{line}"))


def test_candidates_are_read(captured):
    assert package_manager.parse_policy(captured("apt_policy.txt")) == {
        "docker.io": "20.10.24+dfsg1-1+deb12u1+b6",
        "lvm2": "2.03.16-2",
    }


def test_a_package_that_the_lists_have_no_version_of_has_no_candidate(captured):
    text = captured("apt_policy.txt").replace("Candidate: 2.03.16-2", "Candidate: (none)")
    assert package_manager.parse_policy(text) == {"docker.io": "20.10.24+dfsg1-1+deb12u1+b6"}


def test_the_candidate_counts_and_not_what_is_installed(captured):
    text = captured("apt_policy.txt").replace("Installed: 2.03.16-2", "Installed: 2.02.1")
    assert package_manager.parse_policy(text)["lvm2"] == "2.03.16-2"


def test_every_asked_package_gets_an_answer(captured, commands):
    commands.expect("apt-cache policy docker.io absent lvm2", captured("apt_policy.txt"))
    assert package_manager.candidates("debian", ["docker.io", "absent", "lvm2"]) == [
        Candidate("docker.io", "20.10.24+dfsg1-1+deb12u1+b6"),
        Candidate("absent", ""),
        Candidate("lvm2", "2.03.16-2"),
    ]


def test_candidates_of_the_red_hat_family_are_read(commands):
    commands.expect("dnf --quiet repoquery --latest-limit=1", "lvm2 2.03.23\n\n")
    assert package_manager.candidates("redhat", ["lvm2", "x"]) == [Candidate("lvm2", "2.03.23"), Candidate("x", "")]


def test_only_what_is_wholly_installed_is_there(commands):
    commands.expect(
        "dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' lvm2 dmeventd docker.io xfsprogs",
        "dmeventd config-files\nlvm2 installed\nxfsprogs half-installed\n",
        stderr="dpkg-query: no packages found matching docker.io",
        rc=1,
    )
    assert package_manager.missing("debian", ["lvm2", "dmeventd", "docker.io", "xfsprogs"]) == [
        "dmeventd",
        "docker.io",
        "xfsprogs",
    ]


def test_missing_packages_of_the_red_hat_family_are_found(commands):
    commands.expect(
        "rpm --query lvm2 x docker-ce y",
        "lvm2-2.03.23-1.fc40.x86_64\npackage x is not installed\ndocker-ce-24.0.9-1.fc40.x86_64\n"
        "package y is not installed\n",
        rc=2,
    )
    assert package_manager.missing("redhat", ["lvm2", "x", "docker-ce", "y"]) == ["x", "y"]


def test_a_package_named_with_its_version_is_asked_for_without_it(commands):
    pinned = ["docker-ce=5:24.0.9-1~debian.12~bookworm", "lvm2"]
    commands.expect(
        "dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' docker-ce lvm2",
        "docker-ce installed\n",
        rc=1,
    )
    assert package_manager.missing("debian", pinned) == ["lvm2"]
    commands.expect("dpkg-query", stderr="dpkg-query: no packages found matching docker-ce", rc=1)
    assert package_manager.missing("debian", pinned) == pinned


def test_a_package_named_with_its_version_brings_that_one(captured, commands):
    commands.expect("apt-cache policy docker.io", captured("apt_policy.txt"))
    assert package_manager.candidates("debian", ["lvm2=2.03.11-2.1", "docker.io"]) == [
        Candidate("lvm2=2.03.11-2.1", "2.03.11-2.1"),
        Candidate("docker.io", "20.10.24+dfsg1-1+deb12u1+b6"),
    ]


# What apt-get(8) takes behind a package's name: a version, one with wildcards, a release.
@pytest.mark.parametrize(
    ("package", "command", "version"),
    [
        pytest.param("docker.io=20.10.*", None, "20.10.*", id="wildcard"),
        pytest.param("docker.io=5:24.0.9-1~debian.12", None, "5:24.0.9-1~debian.12", id="epoch"),
        pytest.param("docker.io=*", "apt-cache policy docker.io", "20.10.24+dfsg1-1+deb12u1+b6", id="any"),
        pytest.param(
            "docker.io/bookworm-backports",
            "apt-cache policy --option=APT::Default-Release=bookworm-backports docker.io",
            "20.10.24+dfsg1-1+deb12u1+b6",
            id="release",
        ),
    ],
)
def test_what_a_wish_for_a_version_brings_is_known(captured, commands, package, command, version):
    if command:
        commands.expect(command, captured("apt_policy.txt"))
    assert package_manager.candidates("debian", [package]) == [Candidate(package, version)]


def test_each_release_is_asked_once(captured, commands):
    text = captured("apt_policy.txt")
    commands.expect("apt-cache policy lvm2 absent", text.replace("Candidate: 2.03.16-2", "Candidate: 2.03.11-2"))
    commands.expect("apt-cache policy --option=APT::Default-Release=sid docker.io lvm2", text)
    assert package_manager.candidates("debian", ["lvm2", "docker.io/sid", "lvm2/sid", "absent"]) == [
        Candidate("lvm2", "2.03.11-2"),
        Candidate("docker.io/sid", "20.10.24+dfsg1-1+deb12u1+b6"),
        Candidate("lvm2/sid", "2.03.16-2"),
        Candidate("absent", ""),
    ]


def test_a_release_that_apt_does_not_know_brings_nothing(commands):
    commands.expect("apt-cache policy --option=APT::Default-Release=x", stderr="E: The value 'x' is invalid", rc=100)
    assert package_manager.candidates("debian", ["docker.io/x"]) == [Candidate("docker.io/x", "")]


def test_versions_of_the_red_hat_family_are_not_asked_for(commands):
    commands.expect(
        "dnf --quiet repoquery --latest-limit=1 --queryformat '%{name} %{version}\n' lvm2", "lvm2 2.03.23\n"
    )
    assert package_manager.candidates("redhat", ["docker-ce=24.0.9", "lvm2"]) == [
        Candidate("docker-ce=24.0.9", "24.0.9"),
        Candidate("lvm2", "2.03.23"),
    ]


@pytest.mark.parametrize("package", ["docker.io/bookworm-backports", "docker.io=20.10.*", "docker.io=*"])
def test_a_package_with_a_wish_for_its_version_is_looked_for_by_its_name(commands, package):
    commands.expect(
        "dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' docker.io", "docker.io installed\n"
    )
    assert package_manager.missing("debian", [package]) == []


# A version that says less than its first number, of which apt takes the highest there is.
@pytest.mark.parametrize("package", ["docker-ce=5:*", "docker-ce=5:2*"])
def test_a_pattern_that_leaves_the_release_open_is_not_taken_for_an_old_docker(captured, commands, package):
    policy = captured("apt_policy.txt").replace("docker.io:", "docker-ce:").replace("20.10.24", "5:28.1.1")
    commands.expect("apt-cache policy docker-ce", policy)
    assert package_manager.candidates("debian", [package]) != [Candidate(package, package.partition("=")[2])]


def test_the_lists_are_not_asked_where_every_package_has_its_version(commands):
    assert package_manager.candidates("debian", ["a=1.0"]) == [Candidate("a=1.0", "1.0")]


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_nothing_is_asked_about_no_packages(commands, family):
    assert package_manager.missing(family, []) == []
    assert package_manager.candidates(family, []) == []


@pytest.mark.parametrize(
    ("packages", "engine"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["docker-cli", "containerd.io"], "", id="no-engine"),
        pytest.param(["docker-cli", "docker.io"], "docker.io", id="debians"),
        pytest.param(
            ["docker-ce=5:24.0.9-1~debian.12~bookworm"], "docker-ce=5:24.0.9-1~debian.12~bookworm", id="pinned"
        ),
        pytest.param(["docker.io/bookworm"], "docker.io/bookworm", id="of-a-release"),
        pytest.param(["docker-ce-cli=5:24.0.9", "moby-engine"], "moby-engine", id="fedoras"),
    ],
)
def test_the_engine_is_found_among_the_packages(packages, engine):
    assert package_manager.engine(packages) == engine
