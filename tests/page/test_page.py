# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of the playbook report, in a browser: what is seen, on what screen, with what help."""

from __future__ import annotations

import json
import time
from pathlib import Path

import axe_core_python
import browser as chromium
import fleet
import pytest

from ansible_collections.devicemapper.containers.plugins.plugin_utils import _page

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
HOSTILE = "<img src=x onerror=alert(1)>\"'</style></title><script>alert(1)</script>"
# (name, width, scheme)
LOOKS = chromium.LOOKS


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(_page.render(fleet.answers(40), generated=fleet.GENERATED, title="Thin pools"), encoding="utf-8")
    return path


def opened(browser: chromium.Browser, page: Path, width: int = 1280, scheme: str = "light", **media: str) -> None:
    browser.look(width, color_scheme=scheme, **media)
    browser.open(page)


def troubles(browser: chromium.Browser) -> list[str]:
    """Return what the browser itself complained of."""
    return [
        json.dumps(event["params"])[:300]
        for event in browser.events
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    ]


def requests(browser: chromium.Browser) -> list[str]:
    urls = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:")]


@pytest.mark.parametrize(("name", "width", "scheme"), LOOKS)
def test_axe_finds_nothing_that_shuts_somebody_out(browser, page, name, width, scheme):
    opened(browser, page, width, scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.evaluate(AXE)
    found = browser.evaluate(
        "axe.run().then(({violations, passes}) => ({violations, passes: passes.map(({id}) => id)}))"
    )
    nodes = [(one["id"], node) for one in found["violations"] for node in one["nodes"][:2]]
    assert [f"{rule}: {node['html'][:200]} {node['failureSummary']}" for rule, node in nodes] == []
    assert {"color-contrast", "aria-meter-name", "heading-order", "region"} <= set(found["passes"])


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2560])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    opened(browser, page, width)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    # SVG draws half a mark beyond its edge, by intent, and within the card.
    beyond = """[...document.querySelectorAll('article, article *:not(svg *)')].filter(one =>
        !one.closest('.hidden') && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)"""
    assert browser.evaluate(beyond) == []


def test_the_page_is_one_file_and_the_browser_has_no_word_against_it(browser, page):
    opened(browser, page)
    assert requests(browser) == [page.resolve().as_uri()]
    assert troubles(browser) == []


def test_dark_and_light_are_two_looks(browser, page):
    grounds = {}
    for scheme in ("light", "dark"):
        opened(browser, page, scheme=scheme)
        grounds[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(243, 245, 247)", "dark": "rgb(13, 17, 23)"}


def test_a_screen_reader_is_told_of_places_headings_and_figures(browser, page):
    opened(browser, page)
    places = [role for role, _name in browser.names("banner", "main", "navigation")]
    assert sorted(places) == ["banner", "main", "navigation", "navigation"]
    headings = [name for _role, name in browser.names("heading")]
    assert headings[:3] == ["Thin pools", "Critical 4", "backup-01 docker/thinpool"]
    meters = [name for _role, name in browser.names("meter")]
    assert set(meters) == {"Data", "Metadata"}
    # Those of the pools that are well are folded away, and their figures in a table.
    assert len(meters) == 2 * 8
    columns = [name for _role, name in browser.names("columnheader")][:5]
    assert columns == ["Name", "What it is", "Image", "Its own", "With shared"]
    assert ("columnheader", "Host and pool") in browser.names("columnheader")
    pictures = [name for _role, name in browser.names("image", "img") if name.startswith("Time line")]
    assert pictures[0].startswith("Time line. 1: metadata abort, 2026-11-23 11:30:00; ")


def test_tables_stay_tables_on_a_phone(browser, page):
    opened(browser, page, 390)
    assert len(browser.names("columnheader")) > 4
    assert len(browser.names("rowheader")) > 4


def test_all_of_it_is_reached_by_keyboard(browser, page):
    opened(browser, page)
    focused = "document.activeElement.textContent.trim()"
    browser.press("Tab", 9)
    assert browser.evaluate(focused) == "Skip to the pools"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.getAttribute('href')") == "#critical"
    browser.evaluate("document.querySelector('.group-warning summary').focus()")
    before = browser.evaluate("document.activeElement.parentElement.open")
    browser.press("Enter", 13, "\r")
    assert (before, browser.evaluate("document.activeElement.parentElement.open")) == (False, True)


def test_critical_pools_are_unfolded_and_others_are_not(browser, page):
    opened(browser, page)
    script = "[...document.querySelectorAll('article.%s details')].map(one => one.open)"
    assert set(browser.evaluate(script % "critical")) == {True}
    for verdict in ("warning", "ok"):
        assert set(browser.evaluate(script % verdict)) == {False}
    assert browser.evaluate("document.querySelector('.their-cards').open") is False


def test_a_row_leads_to_its_card_though_that_is_folded(browser, page):
    opened(browser, page)
    browser.evaluate("document.querySelector('.well tbody a').click()")
    time.sleep(0.5)
    assert browser.evaluate("document.querySelector('.their-cards').open") is True
    assert browser.evaluate("document.querySelector(location.hash).offsetHeight") > 0


def test_thirty_pools_that_are_well_take_little_room(browser, page):
    opened(browser, page)
    assert browser.evaluate("document.querySelectorAll('.well tbody tr').length") == 28
    assert browser.evaluate("document.querySelector('[aria-labelledby=ok]').offsetHeight") < 1200


def test_the_table_is_sorted_by_a_click_or_a_key_and_what_is_not_known_comes_last(browser, page):
    opened(browser, page)
    head = "document.querySelectorAll('.well thead th')[%d]"
    keys = "[...document.querySelectorAll('.well tbody tr')].map(row => row.cells[%d].%s)"
    browser.evaluate(head % 1 + ".querySelector('button').click()")
    told = [float(key) for key in browser.evaluate(keys % (1, "dataset.by"))]
    assert told == sorted(told, reverse=True)
    browser.evaluate(head % 3 + ".querySelector('button').focus()")
    for order in ("ascending", "descending"):
        browser.press("Enter", 13, "\r")
        assert browser.evaluate(head % 3 + ".getAttribute('aria-sort')") == order
        told = browser.evaluate(keys % (3, "dataset.by"))
        known = [float(key) for key in told if key]
        assert 5 < len(known) < len(told)
        assert told[len(known) :] == [""] * (len(told) - len(known))
        assert known == sorted(known, reverse=order == "descending")
    assert browser.evaluate("document.querySelectorAll('[aria-sort]').length") == 1
    browser.evaluate(head % 0 + ".querySelector('button').click()")
    names = browser.evaluate(keys % (0, "textContent"))
    assert names == sorted(names)
    assert browser.evaluate("document.getElementById('told').textContent") == "Sorted by Host and pool, ascending"


def test_a_button_copies_the_command_before_it(browser, page):
    opened(browser, page)
    browser.evaluate("""
        document.addEventListener('copy', () => { globalThis.copied = getSelection().toString(); });
        document.querySelector('.copy').focus();
    """)
    # A browser lets a page copy only while its user presses something.
    browser.press("Enter", 13, "\r")
    wanted = browser.evaluate("document.querySelector('pre.run').textContent")
    assert browser.evaluate("globalThis.copied") == wanted != ""
    assert browser.evaluate("document.querySelector('.copy > span').textContent") == "Copied"
    assert browser.evaluate("document.getElementById('told').textContent") == "Copied"
    assert browser.evaluate("document.querySelectorAll('.copy').length") > 5


def test_the_age_is_told_by_the_clock_of_the_reader(browser, tmp_path):
    for before, says in ((0, ""), (300, ", 5 min ago"), (3 * 3600, ", 3 h ago"), (3 * 86400, ", 3 days ago")):
        path = tmp_path / "report.html"
        written = fleet.timestamps.iso_seconds(time.time() - before)
        path.write_text(_page.render([], generated=written, title="Thin pools"), encoding="utf-8")
        opened(browser, path)
        assert browser.evaluate("document.getElementById('age').textContent") == says


def test_without_script_all_of_it_is_there(browser, page):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        opened(browser, page)
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert set(browser.evaluate("[...document.querySelectorAll('.copy')].map(one => one.offsetHeight)")) == {0}
    assert browser.evaluate("document.querySelectorAll('.well thead button').length") == 0
    assert browser.evaluate("getComputedStyle(document.querySelector('pre.run')).userSelect") == "all"


def test_print_shows_what_is_folded_of_those_in_trouble(browser, page, tmp_path):
    opened(browser, page, media="print")
    height = "[...document.querySelectorAll('.%s article details > :last-child')].map(one => one.offsetHeight > 0)"
    assert set(browser.evaluate(height % "group-warning")) == {True}
    assert browser.evaluate("getComputedStyle(document.querySelector('.index')).display") == "none"
    browser.pdf(tmp_path / "print.pdf")
    assert (tmp_path / "print.pdf").read_bytes().startswith(b"%PDF")


def test_paper_is_light_though_the_screen_is_dark(browser, page):
    opened(browser, page, scheme="dark", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('article')).color") == "rgb(27, 31, 36)"


def test_hostile_names_are_read_and_not_run(browser, tmp_path):
    answer = fleet.check(fleet.pool(95.0), lines=[(60.0, *fleet.FAILED)])
    answer["pools"][0].update(vg=HOSTILE, sentence=HOSTILE)
    answer["pools"][0]["events"][0].update(kind=HOSTILE, message=HOSTILE)
    used = fleet.usage(fleet.device(3, 10, 10, HOSTILE, name=HOSTILE, images=[HOSTILE]), vg=HOSTILE)
    path = tmp_path / "report.html"
    answers = [(HOSTILE, answer, used), ("lost", {"failed": True, "msg": HOSTILE}, {})]
    path.write_text(_page.render(answers, generated=fleet.GENERATED, title=HOSTILE), encoding="utf-8")
    opened(browser, path)
    assert troubles(browser) == []
    assert requests(browser) == [path.resolve().as_uri()]
    assert browser.evaluate("document.querySelectorAll('img, [onerror]').length") == 0
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert browser.evaluate("document.title") == f"1 critical, 1 not known, {HOSTILE}"
    assert browser.evaluate("document.querySelector('article h3 bdi').textContent") == HOSTILE


def test_a_thousand_hosts_stay_usable(browser, tmp_path):
    answers = fleet.answers(1000)
    path = tmp_path / "report.html"
    start = time.monotonic()
    html = _page.render(answers, generated=fleet.GENERATED, title="Thin pools")
    rendered = time.monotonic() - start
    path.write_text(html, encoding="utf-8")
    start = time.monotonic()
    opened(browser, path, 390)
    assert browser.evaluate("document.querySelectorAll('article').length") == 1000
    # Laid out anew, as it is when the window changes.
    browser.look(1280)
    assert browser.evaluate("document.documentElement.scrollWidth") == 1280
    shown = time.monotonic() - start
    print(f"1000 hosts: {len(html)} bytes, rendered in {rendered:.1f} s, shown twice in {shown:.1f} s")
    # Far above what is seen, for machines that do much else meanwhile.
    assert rendered < 30
    assert shown < 60
