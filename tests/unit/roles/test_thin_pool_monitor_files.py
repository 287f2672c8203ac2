# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules and the dashboard of the role thin_pool_monitor ask for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._lvm import obstacles
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import (
    judgement,
    metrics,
    remedies,
    verdicts,
)

yaml = pytest.importorskip("yaml")

FILES = Path(__file__).resolve().parents[3] / "roles" / "thin_pool_monitor" / "files"
RULES = [rule for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = DASHBOARD["templating"]["list"]


def metrics_in(text: str) -> set:
    return set(re.findall(r"\bthin_pool_\w+", re.sub(r'"[^"]*"', "", text)))


def kinds() -> set:
    """Return the kinds of all reasons that the code can give for a verdict."""
    sources = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (judgement, verdicts))
    found = set(re.findall(r'Reason\(\s*f?"([a-z_{}]+)"', sources))
    in_the_way = set(re.findall(r'Obstacle\(\s*"([a-z_]+)"', Path(obstacles.__file__).read_text(encoding="utf-8")))
    assert (len(found) > 20, len(in_the_way) > 5) == (True, True)
    found |= in_the_way
    return {kind.replace("{part}", part) for kind in found for part in ("data", "metadata")}


@pytest.mark.parametrize("expr", [*[rule["expr"] for rule in RULES], *QUERIES])
def test_queries_name_metrics_that_there_are(expr):
    assert metrics_in(expr)
    assert metrics_in(expr) <= set(metrics.FAMILIES)


def test_every_reason_raises_an_alert():
    patterns = [re.search(r'kind(=~?)"([^"]*)"', rule["expr"]) for rule in RULES if "thin_pool_problem" in rule["expr"]]
    alerted = {kind for kind in kinds() for pattern in patterns if pattern and re.fullmatch(pattern[2], kind)}
    # What could not be found out raises the alert ThinPoolUnknown; these name no pool, and have no metric.
    unknown = {"no_status", "data_unknown", "metadata_unknown"}
    assert kinds() - unknown == alerted


def test_rules_say_what_to_do():
    for rule in RULES:
        assert re.fullmatch("ThinPool[A-Za-z]+", rule["alert"])
        assert set(rule["annotations"]) | {"command"} == {"summary", "description", "command", "runbook_url"}
        assert rule["labels"]["severity"] in ("warning", "critical", "{{ $labels.severity }}")


def headings(path: Path) -> set:
    """Return the anchors that GitHub gives the headings of a page."""
    found = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize(
    "address",
    sorted({rule["annotations"]["runbook_url"] for rule in RULES} | {remedies.guide(kind) for kind in kinds()} - {""}),
)
def test_every_guide_that_is_named_has_that_place(address):
    page, _hash, place = address.partition("#")
    path = FILES.parents[2] / "docs" / "guides" / page.rpartition("/")[2]
    assert page == f"{remedies.GUIDES}/{path.name}"
    assert place in {"", *headings(path)}


def alert_of(kind: str) -> list:
    """Return the rules that are about a kind of reason, and not about the absence of it."""
    return [
        rule
        for rule in RULES
        if re.fullmatch(
            re.findall(r'thin_pool_problem\s*{kind=~?"([^"]*)"', rule["expr"] + 'thin_pool_problem{kind=""')[0], kind
        )
    ]


SICK = ("out_of_data", "metadata_read_only", "needs_check", "failed", "suspended")


def test_no_two_sick_states_share_an_alert():
    names = [rule["alert"] for kind in SICK for rule in alert_of(kind)]
    assert len(names) == len(set(names)) == len(SICK) + 1  # a full pool's writes wait, or fail


@pytest.mark.parametrize("kind", ["metadata_read_only", "needs_check", "failed", "suspended", "metadata_usage"])
def test_nobody_is_told_to_grow_the_data_where_it_is_the_metadata(kind):
    (rule,) = alert_of(kind)
    assert "containers.grow" not in str(rule["annotations"])
    assert "use-policies" not in str(rule["annotations"])


RASH = "docker system prune"


def test_nothing_advises_to_remove_all_that_does_not_run_just_now():
    root = FILES.parents[2]
    for folder in ("roles", "playbooks", "plugins", "extensions", "docs"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".yml", ".md", ".py", ".j2", ".json"):
                assert RASH not in path.read_text(encoding="utf-8"), path


def test_rules_that_join_series_join_those_of_one_cluster():
    joined = [labels for rule in RULES for labels in re.findall(r"\bon \(([^)]*)\)", rule["expr"])]
    assert len(joined) > 3
    assert {labels.split(", ")[0] for labels in joined} == {"cluster"}


def test_every_query_is_of_the_clusters_that_are_chosen():
    selectors = [selector for query in QUERIES for selector in re.findall(r"\bthin_pool_\w+({[^}]*})?", query)]
    assert len(selectors) > 15
    assert [selector for selector in selectors if not selector.startswith('{cluster=~"$cluster"')] == []
    assert [query for query in QUERIES if re.search(r"\bby \((?!cluster, )", query)] == []
    chain = ["cluster", "instance", "vg", "pool"]
    asked = [variable for variable in VARIABLES if variable["type"] == "query"]
    assert [variable["name"] for variable in asked] == chain
    for place, variable in enumerate(asked):
        assert re.findall(r"(\w+)=~", variable["definition"]) == chain[:place]
        assert variable["query"]["query"] == variable["definition"]
        # So that series without the label are among all.
        assert variable["allValue"] == ".*"


def test_every_panel_is_described_and_the_time_left_is_on_one():
    assert [panel["title"] for panel in PANELS if len(panel["description"]) < 20] == []
    assert "thin_pool_full_in_seconds" in {name for query in QUERIES for name in metrics_in(query)}


@pytest.mark.parametrize("link", DASHBOARD["links"], ids=lambda link: link["title"])
def test_links_of_the_dashboard_lead_to_guides(link):
    address, name = link["url"].rsplit("/", 1)
    assert address == remedies.GUIDES
    assert (FILES.parents[2] / "docs" / "guides" / name).is_file()


def test_silence_raises_an_alert():
    expressions = {rule["alert"]: rule["expr"] for rule in RULES}
    last = "thin_pool_monitor_last_success_timestamp_seconds"
    assert expressions["ThinPoolMetricsAbsent"] == f"absent({last})"
    assert expressions["ThinPoolMetricsGone"] == f"last_over_time({last}[1d]) unless {last}"


def test_panels_lie_side_by_side_on_the_grid():
    taken = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(x < 24 for x, _y in cells)
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_panels_take_the_data_source_and_the_variables_that_are_chosen():
    names = {variable["name"] for variable in VARIABLES}
    assert names == {"datasource", "cluster", "instance", "vg", "pool"}
    for panel in PANELS:
        assert panel["type"] in ("stat", "table", "timeseries")
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    used = {name for query in QUERIES for name in re.findall(r"\$(\w+)", query)}
    assert used == {"cluster", "instance", "vg", "pool", "__rate_interval"}
    asked = [variable["definition"] for variable in VARIABLES if variable["type"] == "query"]
    assert {name for query in asked for name in metrics_in(query)} == {"thin_pool_health"}
