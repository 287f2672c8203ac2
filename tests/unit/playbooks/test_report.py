# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook report, run against made-up hosts: what stands for their Python answers with recorded results."""

from __future__ import annotations

import importlib.util
import json
import re
import typing as t
from pathlib import Path

import pytest

# A managed host has ansible.module_utils alone. Not imported, because that would turn this process into a controller.
if importlib.util.find_spec("ansible.playbook") is None:
    pytest.skip("there is no ansible-playbook", allow_module_level=True)


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fleet = load(Path(__file__).resolve().parents[2] / "page" / "fleet.py")

Run = t.Callable[..., t.Tuple[int, str]]


@pytest.fixture
def report(ansible_playbook: t.Callable, tmp_path: Path) -> Run:
    """Return a function that runs the playbook with variables, in tmp_path, on hosts that answer so."""

    def run(*hosts: tuple, check: bool = False, of: dict | None = None, **variables: t.Any) -> tuple[int, str]:
        inventory = fleet.inventory(tmp_path / "fleet", hosts)
        known = json.loads(inventory.read_text(encoding="utf-8"))
        for name, own in (of or {}).items():
            known["all"]["hosts"][name].update(own)
        inventory.write_text(json.dumps(known), encoding="utf-8")
        command = ["-i", str(inventory), f"-e{json.dumps(variables)}", "devicemapper.containers.report"]
        settings = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_STRATEGY": "free", "PWD": str(tmp_path)}
        ran = ansible_playbook(tmp_path, *command, *(["--check"] if check else []), cwd="/", **settings)
        return ran.returncode, f"{ran.stdout}\n{ran.stderr}"

    return run


def cards(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<article class="(\w+)".*?<h3[^>]*><bdi>(.*?)</bdi>', html, re.DOTALL)


FULL = ("full", fleet.check(fleet.pool(95.0)), fleet.usage(fleet.device(3, 512, 0, name="web", images=["nginx"])))
WELL = ("well", fleet.check(fleet.pool()), fleet.NO_USAGE)
GONE = ("a-gone", fleet.UNREACHABLE, fleet.NO_USAGE)
FAILED = ("b-failed", fleet.NO_SUDO, fleet.NO_USAGE)


def test_all_hosts_are_on_the_page_also_those_that_did_not_answer(report, tmp_path):
    status, output = report(GONE, FAILED, WELL, FULL)
    assert status == 0, output
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert cards(html) == [("critical", "full"), ("unknown", "a-gone"), ("unknown", "b-failed"), ("ok", "well")]
    assert re.search("it cannot be reached: .*port 1: Connection refused", html)
    assert "it was asked, and did not answer: Missing sudo password" in html
    assert '<th scope="row"><bdi>web</bdi></th><td>container</td><td><bdi>nginx</bdi></td>' in html
    assert "<title>1 critical, 2 not known, Thin pools</title>" in html
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o644
    assert "changed=1" in output


def test_there_is_a_page_where_no_host_can_be_reached(report, tmp_path):
    status, output = report(GONE, ("z-gone", fleet.UNREACHABLE, {}), report_dest="all.html", report_title="Shop & Co")
    assert status == 0, output
    html = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert cards(html) == [("unknown", "a-gone"), ("unknown", "z-gone")]
    assert "<h1><bdi>Shop &amp; Co</bdi></h1>" in html


def test_check_mode_asks_and_foretells_and_writes_nothing(report, tmp_path):
    status, output = report(FULL, GONE, check=True)
    assert status == 0, output
    assert "changed=1" in output
    assert not (tmp_path / "report.html").exists()


def test_holders_are_asked_for_only_where_they_are_wanted(report, tmp_path):
    status, output = report(FULL, report_usage=False)
    assert status == 0, output
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert cards(html) == [("critical", "full")]
    assert "What holds most" not in html


def test_holders_that_cannot_be_told_do_not_fail_the_report(report, tmp_path):
    refused = {"results": [{"msg": "thin_ls is not installed"}]}
    status, output = report(("full", FULL[1], refused))
    assert status == 0, output
    assert "did not answer: thin_ls is not installed" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_name_with_markup_stays_a_name(report, tmp_path):
    name = "<script>alert(1)</script>"
    status, output = report((name, FULL[1], FULL[2]))
    assert status == 0, output
    assert name not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in (tmp_path / "report.html").read_text(encoding="utf-8")


WRONG = [
    ("report_dest", "", "must be the path of a file"),
    ("report_dest", ["report.html"], "must be the path of a file"),
    ("report_dest", "folder/", "is a folder"),
    ("report_dest", "/tmp", "'/tmp' is a folder"),
    ("report_dest", "/none/report.html", "there is no folder /none on this machine"),
    ("report_title", " ", "must be a text"),
    ("report_title", ["Shop"], "must be a text"),
    ("report_since", "", "must be a point in time such as -24h"),
    ("report_since", {"a": 1}, "must be a point in time such as -24h"),
    ("report_usage", "perhaps", "must be true or false, not 'perhaps'"),
    ("report_holders", 0, "must be 1 to 999, not '0'"),
    ("report_holders", "many", "must be 1 to 999, not 'many'"),
    ("report_timeout", -1, "must be 1 to 99999 seconds, not '-1'"),
    ("report_timeout", "long", "must be 1 to 99999 seconds"),
]


def test_wrong_variables_are_refused_before_any_host_is_asked(report, tmp_path):
    hosts = [(f"wrong{place}", WELL[1], {}) for place in range(len(WRONG))]
    own = {f"wrong{place}": {row[0]: row[1]} for place, row in enumerate(WRONG)}
    status, output = report(WELL, *hosts, of=own)
    assert status != 0
    for place, (variable, _value, says) in enumerate(WRONG):
        (said,) = re.findall(rf'fatal: \[wrong{place}\]: FAILED! .*"msg": "(.*)"', output)
        assert said.startswith(variable), said
        assert says in said
    assert "Ask each host" not in output
    assert list(tmp_path.glob("*.html")) == []


def test_every_variable_of_the_playbook_has_its_wrong_values():
    text = (Path(__file__).resolve().parents[3] / "playbooks" / "report.yml").read_text(encoding="utf-8")
    assert {row[0] for row in WRONG} == set(re.findall(r"(?<!_)\breport_[a-z]+", text.split("tasks:")[0]))
