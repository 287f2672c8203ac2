# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about a host with pools in trouble, as test_monitor.py left them, and about one that nobody answers for."""

from __future__ import annotations

import json
import re

import pytest
import seen

ROLE = "devicemapper.containers.report"
NOWHERE = {
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_common_args": "-o BatchMode=yes -o ConnectTimeout=5",
}


def cards(html: str) -> dict[tuple[str, str], str]:
    """Return the text of each card by host and pool."""
    found = {}
    for article in re.findall(r"<article .*?</article>", html, re.DOTALL):
        names = re.search(r"<h3[^>]*><bdi>(.*?)</bdi>(?: <span class=\"pool\"><bdi>(.*?)</bdi>)?", article)
        assert names, article[:300]
        found[names[1], names[2] or ""] = article
    return found


def verdict(card: str) -> str:
    (word,) = re.findall(r'<article class="(\w+)"', card)
    return word


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Run the playbook on the guest and on a host that is not there; return the page's cards."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "gone.json").write_text(json.dumps({"all": {"hosts": {"<gone>": NOWHERE}}}), encoding="utf-8")
    options = [f"--inventory={folder / 'gone.json'}", f"--extra-vars=report_dest={folder / 'report.html'}"]
    returned, output = seen.run_playbook(ROLE, *options, "--check")
    assert returned == 0, output
    assert not (folder / "report.html").exists()
    returned, output = seen.run_playbook(ROLE, *options)
    assert returned == 0, output
    assert "changed=1" in output
    return cards((folder / "report.html").read_text(encoding="utf-8"))


def test_each_pool_is_on_the_page_with_its_verdict(host, report):
    # The same time as the playbook's, because events count in the verdict.
    pools = seen.run_module("thin_pool_check_info", since="-24h")["pools"]
    assert len(pools) > 8
    verdicts = {f"{pool['vg']}/{pool['name']}": pool["verdict"] for pool in pools}
    assert {pool: verdict(card) for (name, pool), card in report.items() if name != "&lt;gone&gt;" and pool} == verdicts
    assert len(set(verdicts.values())) > 1


def test_the_worst_come_first(host, report):
    order = ["critical", "unknown", "warning", "ok"]
    places = [order.index(verdict(card)) for card in report.values()]
    assert places == sorted(places)


def test_a_host_that_cannot_be_reached_is_on_the_page(host, report):
    card = report["&lt;gone&gt;", ""]
    assert verdict(card) == "unknown"
    assert "it cannot be reached: " in card
    assert "Connection refused" in card


def test_figures_are_those_of_the_kernel(host, report):
    used, total = seen.root(host, "dmsetup status --noflush grows-pool").split()[5].split("/")
    (card,) = (card for (_name, pool), card in report.items() if pool == "grows/pool")
    assert f"<b>{100 * int(used) / int(total):.2f}&nbsp;%</b>" in card
    assert "(fits)" in card


def test_what_happened_is_on_a_time_line(host, report):
    (card,) = (card for (_name, pool), card in report.items() if pool == "short/pool")
    (label,) = re.findall(r'aria-label="Time line\. (.*?)"', card)
    assert "vg full, " in label
    assert "Insufficient free space: " in card


def test_who_holds_a_pool_is_told_and_no_snapshot_is_left(host, report):
    # No Docker made it, so it is nobody's; 170 MiB were written to it.
    (card,) = (card for (_name, pool), card in report.items() if pool == "grows/pool")
    row = r"<bdi>device 0</bdi></th><td>nobody&#39;s</td><td><bdi></bdi></td><td class=\"size\">170\.00 MiB</td>"
    assert re.search(row, card), card
    # NAME: START LENGTH thin-pool TRANSACTION METADATA DATA ROOT ..., or "Fail" after the target.
    lines = [line.split() for line in seen.root(host, "dmsetup status --noflush --target thin-pool").splitlines()]
    assert [words[0] for words in lines if len(words) > 7 and words[7] != "-"] == []
