# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that serve both engines, with one variable."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jinja2 import meta
from jinja2.nativetypes import NativeEnvironment

ROOT = Path(__file__).resolve().parents[3]
ENGINES = (None, "docker", "containerd")


def tasks(name: str) -> list[dict]:
    return yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))[0]["tasks"]


def defaults(role: str) -> dict:
    return yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8"))


def templated(value, **variables):
    """Return what a template comes to, as Ansible has it: variables may be templates of others.

    By Jinja alone: Ansible's own templar makes a controller of this process, where modules' tests run too.
    """
    if isinstance(value, dict):
        return {key: templated(one, **variables) for key, one in value.items()}
    if not isinstance(value, str):
        return value
    jinja = NativeEnvironment()
    used = meta.find_undeclared_variables(jinja.parse(value)) & set(variables)
    return jinja.from_string(value).render({name: templated(variables[name], **variables) for name in used})


@pytest.mark.parametrize(
    ("name", "roles"), [("verify", ("direct_lvm", "containerd_devmapper")), ("grow", ("direct_lvm", "direct_lvm"))]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_variable_chooses_one_role(name, roles, engine):
    given = {} if engine is None else {"thin_pool_engine": engine}
    run = [task for task in tasks(name) if templated(f"{{{{ {task['when']} }}}}", **given)]
    (task,) = run
    assert task["ansible.builtin.include_role"]["name"].rpartition(".")[2] == roles[engine == "containerd"]
    assert ("vars" in task) == (name == "grow" and engine == "containerd")


def test_containerds_pool_grows_by_its_own_variables_and_their_defaults():
    given = tasks("grow")[1]["vars"]
    own = defaults("containerd_devmapper")
    pools = {key.partition("direct_lvm_")[2] for key in defaults("direct_lvm")}
    both = {key for key in pools if f"containerd_devmapper_{key}" in own}
    # What the pool alone is about, and not whose it is.
    assert {key.partition("direct_lvm_")[2] for key in given} == {"devices", *both} - {
        "daemon_options",
        "existing_data",
        "monitor",
        "state",
        "stop_containers",
    }
    for key, text in given.items():
        name = key.replace("direct_lvm_", "containerd_devmapper_")
        if name in own:
            assert templated(text) == own[name], key
        assert templated(text, **{name: "x"}) == "x"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_backup_is_of_the_engines_pool(engine):
    play = yaml.safe_load((ROOT / "playbooks" / "backup.yml").read_text(encoding="utf-8"))[0]
    options = play["tasks"][0]["devicemapper.containers.thin_pool_backup"]
    given = {**play["vars"], **({} if engine is None else {"thin_pool_engine": engine})}
    assert templated(options["vg"], **given) == ("containerd" if engine == "containerd" else "docker")
    assert templated(options["name"], **given) == "thinpool"
    assert templated(options["vg"], **given, backup_vg="x") == "x"


@pytest.mark.parametrize("engine", ENGINES)
def test_space_is_reclaimed_in_the_engines_pool(engine):
    play = yaml.safe_load((ROOT / "playbooks" / "reclaim.yml").read_text(encoding="utf-8"))[0]
    options = play["tasks"][0]["devicemapper.containers.thin_pool_reclaim"]
    given = {**play["vars"], **({} if engine is None else {"thin_pool_engine": engine})}
    assert templated(options["vg"], **given) == ("containerd" if engine == "containerd" else "docker")
    assert templated(options["name"], **given) == "thinpool"
    assert templated(options["vg"], **given, reclaim_vg="x") == "x"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reserve_is_given_to_the_engines_pool(engine):
    play = yaml.safe_load((ROOT / "playbooks" / "release_reserve.yml").read_text(encoding="utf-8"))[0]
    options = play["tasks"][0]["devicemapper.containers.thin_pool_reserve"]
    given = {**play["vars"], **({} if engine is None else {"thin_pool_engine": engine})}
    assert options["state"] == "released"
    assert templated(options["vg"], **given) == ("containerd" if engine == "containerd" else "docker")
    assert templated(options["name"], **given) == "thinpool"
    assert templated(options["vg"], **given, release_vg="x") == "x"
