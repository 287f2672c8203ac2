# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the virtual environment that requirements-NAME.txt describes, once, and print its path.

Usage: environments.py NAME
"""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import debian_python
from workshop import CACHE, TOOLS, give_up, only_one, say

PROBE = "import sys, ensurepip, venv; print(sys._base_executable)"


def minor(version: str) -> int:
    return int(version.split(".")[1])


@functools.lru_cache(maxsize=None)
def interpreters() -> dict[str, str]:
    """Return every Python 3 here that can make virtual environments: version -> executable.

    pyenv's shims are passed over for what stands behind them: a shim fails where its version is not the selected one.
    What stands behind them comes after the machine's own, which are built to be fast: 1.5 times as fast as those that
    pyenv builds.
    """
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    # pyenv puts the folder of the selected version first on the PATH of what it starts.
    of_pyenv = sorted(glob.glob(f"{pyenv}/versions/*/bin"))
    folders = [folder for folder in os.get_exec_path() if Path(folder).name != "shims" and folder not in of_pyenv]
    folders += of_pyenv
    if debian_python.is_complete():
        folders.append(str(debian_python.PROGRAM.parent))
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(glob.glob(f"{folder}/python3.*")):
            version = Path(path).name[len("python") :]
            if version in found or not re.fullmatch(r"3\.\d+", version):
                continue
            # An interpreter without ensurepip answers with an error, and with nothing on its standard output.
            answer = subprocess.run(
                [path, "-c", PROBE], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ).stdout.strip()
            if answer:
                found[version] = answer
    return found


def interpreter_for(name: str) -> tuple[str, str] | None:
    """Return version and executable of the oldest Python here in the range that the requirements' first line gives.

    Where there is none, that of a newer Debian is fetched if it is in the range.
    """
    oldest, newest = map(minor, python_range(name))
    fitting = [version for version in interpreters() if oldest <= minor(version) <= newest]
    if not fitting and oldest <= minor(debian_python.VERSION) <= newest and debian_python.can_be_fetched():
        debian_python.fetch()
        interpreters.cache_clear()
        fitting = [version for version in interpreters() if version == debian_python.VERSION]
    version = min(fitting, key=minor, default=None)
    return (version, interpreters()[version]) if version else None


def python_range(name: str) -> tuple[str, str]:
    first_line = (TOOLS / f"requirements-{name}.txt").read_text().splitlines()[0]
    oldest, newest = re.findall(r"3\.\d+", first_line)
    return oldest, newest


def without(constraints: str, requirements: str) -> str:
    """Return the constraints on packages that the requirements do not pin themselves."""
    own = {line.partition("==")[0].lower() for line in requirements.splitlines()}
    return "\n".join(line for line in constraints.splitlines() if line.partition("==")[0].lower() not in own)


def environment(name: str) -> Path:
    """Return the folder of the environment, made now if it is not there or its requirements have changed."""
    found = interpreter_for(name)
    if found is None:
        give_up(
            f"{name} needs a Python {' to '.join(python_range(name))} with venv; here are: {', '.join(interpreters())}"
        )
    version, python = found
    listed, pinned = TOOLS / f"requirements-{name}.txt", TOOLS / "constraints.txt"
    key = hashlib.sha256(listed.read_bytes() + pinned.read_bytes() + python.encode()).hexdigest()[:12]
    folder = CACHE / "environments" / f"{name}-python{version}-{key}"
    own = str(folder / "bin" / "python")
    with only_one(folder):
        if not (folder / "complete").exists():
            say(f"making the environment {name} with Python {version} (once)")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            constraints = folder / "constraints.txt"
            constraints.write_text(without(pinned.read_text(), listed.read_text()))
            install = [own, "-m", "pip", "--disable-pip-version-check", "-qq", "install", "--no-compile"]
            for command in (
                [python, "-m", "venv", "--without-pip", str(folder)],
                [own, str(linked(TOOLS / "get_pip.py", CACHE))],
                [*install, "-r", str(listed), "-c", str(constraints)],
            ):
                if subprocess.run(command, check=False).returncode:
                    give_up(f"the environment {name} could not be made: {' '.join(command)}")
            # Written last: an interrupted installation leaves none and is started afresh next time.
            (folder / "complete").touch()
        if not (folder / "compiled").exists():
            # Python would keep what it compiles, but not where PYTHONDONTWRITEBYTECODE is set, as containers often have
            # it: there each start of Ansible compiles itself, for 0.9 of its 1.4 s. Some files are of other Pythons.
            subprocess.run([own, "-m", "compileall", "-qq", "-j", "0", str(folder / "lib")], check=False)
            (folder / "compiled").touch()
    return folder


def linked(path: Path, folder: Path, name: str = "") -> Path:
    """Return a link to a file, in a folder that others make their links in at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / (name or path.name)
    if not link.is_symlink() or os.readlink(link) != str(path):
        new = folder / f".{os.getpid()}"
        new.symlink_to(path)
        new.replace(link)
    return link


def interpreter_links() -> Path:
    """Return a folder of links python3.X to the real interpreters, to go first on the PATH of ansible-test."""
    folder = CACHE / "interpreters"
    for version, python in interpreters().items():
        linked(Path(python), folder, f"python{version}")
    return folder


def known_cores(kind: str) -> list[str]:
    """Return the versions of ansible-core that there are environments of a kind for, oldest first."""
    start = f"requirements-{kind}-"
    return sorted((path.stem[len(start) :] for path in TOOLS.glob(f"{start}*.txt")), key=minor)


def core_for(kind: str, wanted: str) -> str:
    """Return the version that is wanted, or the oldest."""
    known = known_cores(kind)
    if wanted and wanted not in known:
        give_up(f"CORE is {wanted!r}; for this it can be {' or '.join(known)}")
    return wanted or known[0]


def cores(wanted: str = "") -> list[str]:
    """Return the versions of ansible-core that can run here, oldest first, and tell which were left out and why."""
    usable = []
    for core in [core_for("core", wanted)] if wanted else known_cores("core"):
        found = interpreter_for(f"core-{core}")
        if found:
            say(f"ansible-core {core} on Python {found[0]}")
            usable.append(core)
        else:
            say(f"ansible-core {core} left out: no Python {' to '.join(python_range(f'core-{core}'))} here")
    if not usable:
        give_up("no Python here runs one of these: install one with its venv, or name another CORE")
    return usable


if __name__ == "__main__":
    print(environment(sys.argv[1]))
