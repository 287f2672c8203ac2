# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python for machines whose own are too old or too new: that of Debian 13, unpacked into the cache, not installed.

An apt of its own, which knows that release alone and takes nothing for installed, fetches the packages with all that
they need, the C library too, and checks their signatures. The program is then told to find its libraries beside itself.
It needs no root, and makes environments like any other Python.

Usage: debian_python.py   print its path
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from workshop import CACHE, give_up, only_one, say

RELEASE, VERSION = "trixie", "3.13"
FOLDER = CACHE / "pythons" / f"{RELEASE}-{VERSION}"
PROGRAM = FOLDER / "usr" / "bin" / f"python{VERSION}"
# Where the package with pip keeps it, as Python has been told.
WHEELS = "/usr/share/python-wheels/"
SOURCES = f"""Types: deb
URIs: %s
Suites: {RELEASE}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
# Read after the machine's own settings, of which a proxy counts here too.
SETTINGS = """Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{0}/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{0}/state";
Dir::State::Status "{0}/status";
Dir::Cache "{0}/cache";
APT::Default-Release "";
APT::Install-Recommends "false";
Acquire::Languages "none";
// Root's apt would fetch as a user who cannot write into the folder.
APT::Sandbox::User "root";
// What the machine does after an update of its own.
#clear APT::Update;
"""


def is_complete() -> bool:
    return (FOLDER / "complete").exists()


def can_be_fetched() -> bool:
    return all(map(shutil.which, ("apt-get", "dpkg-deb", "patchelf")))


def fetch() -> None:
    """Have the Python in its folder, unpacked now if it is not there."""
    with only_one(FOLDER):
        if is_complete():
            return
        say(f"fetching Python {VERSION} of Debian {RELEASE} (20 MB, once)")
        shutil.rmtree(FOLDER, ignore_errors=True)
        archives = download(FOLDER / "apt")
        for archive in archives:
            run("unpack a package", "dpkg-deb", "--extract", archive, FOLDER)
        shutil.rmtree(FOLDER / "apt")
        settle()
        run(f"start Python {VERSION}", PROGRAM, "-c", "import ctypes, ensurepip, lzma, sqlite3, ssl, venv")
        # Written last: an interrupted run leaves none, and the next starts afresh.
        (FOLDER / "complete").touch()


def download(folder: Path) -> list[Path]:
    """Fetch the packages of Python, and what these need, into the folder."""
    for name in ("sources", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources" / f"{RELEASE}.sources").write_text(SOURCES % mirror())
    (folder / "settings").write_text(SETTINGS.format(folder))
    apt = ["apt-get", "-c", folder / "settings", "--quiet", "--quiet", "--yes"]
    run(f"read what there is of Debian {RELEASE}", *apt, "update")
    run(f"fetch Python {VERSION}", *apt, "--download-only", "install", f"python{VERSION}-venv")
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def mirror() -> str:
    """Return the mirror that this machine itself installs Debian from, or Debian's own."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Origin: Debian"]
    listed = subprocess.run(asked, check=False, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.partition(" ") for line in listed.splitlines()]
    known = sorted({uri for uri, _space, label in lines if label == "Debian" and uri.startswith("http")})
    return known[0] if known else "http://deb.debian.org/debian"


def settle() -> None:
    """Make what was unpacked find its own parts where they are now."""
    loader = FOLDER / "usr" / run("read the program", "patchelf", "--print-interpreter", PROGRAM).lstrip("/")
    (library,) = FOLDER.glob("usr/lib/*/libc.so.6")
    # An RPATH, unlike the newer RUNPATH, holds for the libraries that a library needs too.
    change = ["patchelf", "--set-interpreter", loader, "--force-rpath", "--set-rpath", library.parent, PROGRAM]
    run("change the program", *change)
    for settings in FOLDER.glob(f"usr/lib/python{VERSION}/_sysconfigdata_*.py"):
        if not settings.is_symlink():
            settings.write_text(settings.read_text().replace(WHEELS, f"{FOLDER}{WHEELS}"))


def run(what: str, *command: t.Any) -> str:
    """Run a command and return what it printed, or give up with what was to be done and why it was not."""
    words = [str(word) for word in command]
    ran = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode:
        give_up(
            f"could not {what}: {' '.join(words)}:\n{ran.stderr.strip()}\n"
            f"A Python {VERSION} with venv on the PATH, or pyenv's, is used instead"
        )
    return ran.stdout.strip()


if __name__ == "__main__":
    if not can_be_fetched():
        give_up("this needs apt-get, dpkg-deb and patchelf")
    fetch()
    sys.stdout.write(f"{PROGRAM}\n")
