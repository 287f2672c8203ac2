# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command in the documentation exists, and a scenario runs it or the page says why none does.

Above a block of commands stands one of these, or another page has each of its lines in a block where one does::

    <!-- run: PART -->        a scenario calls seen.follow(host, PAGE, PART)
    <!-- not run: REASON -->
"""

from __future__ import annotations

import ast
import re
import shlex
import typing as t
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
NAME = "devicemapper.containers."
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml"))
# Programs of Debian that a reader types; what of them is run is known to work.
ON_HOSTS = {
    "dpkg-statoverride",
    *("awk", "cd", "cp", "ctr", "dd", "dmsetup", "docker", "echo", "grep", "journalctl", "lvchange", "lvconvert"),
    *(
        "lvcreate",
        "lvextend",
        "lvremove",
        "ls",
        "lvs",
        "mkdir",
        "mv",
        "pvcreate",
        "pvs",
        "python3",
        "rm",
        "sha256sum",
        "systemctl",
    ),
    *("tar", "thin_check", "thin_restore", "vgcfgrestore", "vgextend", "vgrename", "vgs", "wipefs", "xargs"),
}
HERE = {"ansible-builder", "ansible-navigator", "apt-get", "cd", "cp", "pip", "promtool", "python3", "rm"}


@dataclass(frozen=True)
class Block:
    page: str
    mark: str  # the comment above it, empty where there is none
    text: str

    @property
    def part(self) -> str:
        return self.mark.removeprefix("run: ") if self.mark.startswith("run: ") else ""

    @property
    def commands(self) -> list[str]:
        """Return the commands, each on one line."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line.strip() for line in joined.splitlines() if line.strip()]


def blocks_of(path: Path) -> list[Block]:
    found = re.findall(
        r"(?:^ *<!-- (.*?) -->\n)?^( *)```console\n(.*?)^ *```$",
        path.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    page = str(path.relative_to(DOCS) if DOCS in path.parents else path.relative_to(ROOT))
    return [Block(page, mark, text) for mark, _indent, text in found]


PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".git", "dist", "tests"} & set(path.relative_to(ROOT).parts[:-1])
)
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
MARKED = {command for block in BLOCKS if block.mark for command in block.commands}
COMMANDS = sorted({(block.page, command) for block in BLOCKS for command in block.commands})


@cache
def followed() -> set[tuple[str, str]]:
    """Return each page and part that a scenario follows."""
    found = set()
    for path in ROOT.glob("molecule/*/tests/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "seen.follow":
                page, part = (one.value if isinstance(one, ast.Constant) else names[one.id] for one in node.args[1:3])
                found.add((page, part))
    return found


# --- Each block is run, or it is said why not -------------------------------------------------------------------------


def test_pages_are_found():
    assert {"index.md", "README.md", "guides/full_pool.md"} <= {block.page for block in BLOCKS}
    fences = re.findall(r"^ *```(\w+)", "\n".join(page.read_text(encoding="utf-8") for page in PAGES), re.MULTILINE)
    assert fences.count("console") == len(BLOCKS)
    # Commands are in blocks of that name alone, so that none is overlooked.
    assert set(fences) == {"console", "ini", "text", "toml", "yaml"}


def what_is_missing(block: Block, scenarios: set[tuple[str, str]]) -> str:
    """Return why nobody knows whether the commands of a block work, or nothing."""
    if block.part:
        return "" if (block.page, block.part) in scenarios else "no scenario follows this part"
    if block.mark.startswith("not run: "):
        words = block.mark.split()[2:]
        return "" if len(words) >= 4 else "that is no reason"
    unknown = [command for command in block.commands if command not in MARKED]
    return f"neither 'run:' nor 'not run:' above it, and no other block that has one has {unknown}" if unknown else ""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}: {block.commands[0]}")
def test_block_is_run_or_says_why_not(block):
    assert not what_is_missing(block, followed())


@pytest.mark.parametrize(
    ("mark", "text", "says"),
    [
        ("", "ansible-playbook devicemapper.containers.nobody\n", "neither 'run:' nor 'not run:'"),
        ("run: nobody follows this", "# lvs\n", "no scenario follows"),
        ("not run: just so", "# lvs\n", "no reason"),
        ("wrong: word", "# lvs --all --nobody\n", "neither 'run:' nor 'not run:'"),
        ("run: look", "# lvs\n", ""),
    ],
)
def test_block_that_nobody_runs_is_noticed(mark, text, says):
    missing = what_is_missing(Block("guides/full_pool.md", mark, text), followed())
    assert says in missing
    assert bool(says) is bool(missing)


def test_every_part_that_a_scenario_follows_is_there():
    assert followed() <= {(block.page, block.part) for block in BLOCKS}


def test_a_reason_names_scenarios_that_are_there():
    named = re.findall(r"\bscenario (\w+)", "\n".join(block.mark for block in BLOCKS))
    assert named
    assert all((ROOT / "molecule" / name / "molecule.yml").exists() for name in named)


# --- Each command exists ----------------------------------------------------------------------------------------------


@cache
def variables_of_roles() -> set[str]:
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found |= set(entry.get("options", {}))
    return found


def variables_of_playbook(name: str) -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob(f"playbooks/**/{name}.*"))
    return set(re.findall(rf"\b{name}_\w+", text)) | variables_of_roles()


def options_of_module(name: str) -> set[str]:
    for node in ast.parse((ROOT / f"plugins/modules/{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            return set(yaml.safe_load(ast.literal_eval(node.value))["options"])
    raise AssertionError(f"{name} has no documentation")


def own(word: str) -> str:
    """Return the part of a full name behind the collection's."""
    assert word.startswith(NAME), word
    return word.removeprefix(NAME)


def after(words: list[str], *options: str) -> list[str]:
    return [value for option, value in zip(words, words[1:]) if option in options]


def check_playbook(words: list[str]) -> None:
    name = own(words[1])
    assert (ROOT / f"playbooks/{name}.yml").exists()
    for given in after(words, "-e", "--extra-vars"):
        assert given.partition("=")[0] in variables_of_playbook(name), given


def check_module(words: list[str]) -> None:
    (module,) = after(words, "--module-name", "-m")
    (given,) = after(words, "--args", "-a")
    assert {one.partition("=")[0] for one in shlex.split(given)} <= options_of_module(own(module))


def check_documentation(words: list[str]) -> None:
    if "--list" in words:
        assert words[-1] == NAME.rstrip(".")
    elif after(words, "--type") == ["role"]:
        assert own(words[-1]) in ROLES
    else:
        assert (ROOT / f"plugins/modules/{own(words[-1])}.py").exists()


def check_galaxy(words: list[str]) -> None:
    assert words[1:3] == ["collection", "install"]
    assert words[3] == NAME.rstrip(".") or re.fullmatch(r"dist/devicemapper-containers-\*\.tar\.gz", words[3])


def check_rulebook(words: list[str]) -> None:
    (rulebook,) = after(words, "--rulebook")
    assert (ROOT / f"extensions/eda/rulebooks/{own(rulebook)}.yml").exists()


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words[1:]:
        name, equals, _value = word.partition("=")
        assert re.search(rf"^{name} \?=" if equals else rf"^{name}:", makefile, re.MULTILINE), word


CHECKS: dict[str, t.Callable[[list[str]], None]] = {
    "ansible": check_module,
    "ansible-doc": check_documentation,
    "ansible-galaxy": check_galaxy,
    "ansible-playbook": check_playbook,
    "ansible-rulebook": check_rulebook,
    "make": check_make,
}


def check(command: str) -> None:
    """See that what a command names is there."""
    if command.startswith("# "):
        for part in re.split(r" (?:\||\|\|) ", command[2:]):
            program = part.split()[0]
            assert program in ON_HOSTS or re.match(r"\w+=", program), program
        return
    words = shlex.split(command, comments=True)
    if words[0] in CHECKS:
        CHECKS[words[0]](words)
    else:
        assert words[0] in HERE, words[0]
        assert words[0] != "python3" or (ROOT / words[1]).exists()


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_exists(page, command):
    check(command)


@pytest.mark.parametrize(
    "command",
    [
        "ansible-playbook devicemapper.containers.nothing -i inventory.yml",
        "ansible-playbook devicemapper.containers.grow -i inventory.yml -e direct_lvm_nothing=1",
        "ansible-playbook community.general.grow",
        "ansible all --module-name devicemapper.containers.thin_pool_usage_info --args 'pool=thinpool'",
        "ansible-doc devicemapper.containers.nothing",
        "ansible-rulebook --rulebook devicemapper.containers.nothing",
        "make nothing",
        "make molecule NOTHING=default",
        "# lvextned docker/thinpool",
        "# lvs | gerp thinpool",
        "python3 nothing.py",
        "nothing",
    ],
)
def test_command_that_does_not_exist_is_noticed(command):
    with pytest.raises((AssertionError, FileNotFoundError)):
        check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_that_a_page_names_exist(page):
    # Metrics and modules begin as the role does that only other roles call.
    called = "|".join(role for role in ROLES if role != "thin_pool")
    named = set(re.findall(rf"\b(?:{called})_[a-z_]*[a-z]\b", page.read_text(encoding="utf-8")))
    modules = {path.stem for path in ROOT.glob("plugins/modules/*.py")}
    # A metric may begin as the role does that writes it.
    alerts = (ROOT / "roles/thin_pool_monitor/files/alerts.yml").read_text(encoding="utf-8")
    assert named <= variables_of_roles() | modules | set(re.findall(r"\w+", alerts))
