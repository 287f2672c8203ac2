# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that no module of ours gives, and a host may give all the same: what they cost the page of a fleet."""

from __future__ import annotations

import copy
import json
import random
import time
import typing as t

import pytest

# A managed host has neither; the page is made on the controller alone.
pytest.importorskip("jinja2")

from ansible_collections.devicemapper.containers.plugins.plugin_utils import _page

GENERATED = "2026-11-23T10:00:00Z"
CHECK = {
    "time": GENERATED,
    "since": "2026-11-22T10:00:00Z",
    "limits": {"data_warning": 75, "data_critical": 90, "metadata_warning": 75, "metadata_critical": 90},
    "reasons": [{"severity": "warning", "message": "something"}],
    "pools": [
        {
            "vg": "docker",
            "name": "thinpool",
            "verdict": "warning",
            "sentence": "a sentence",
            "reasons": [{"severity": "warning", "message": "one"}, {"severity": "ok", "message": "two"}],
            "size": 2**33,
            "metadata_size": 2**26,
            "data_percent": 80.5,
            "metadata_percent": 1.5,
            "autoextend": {
                "extent_size": 4194304,
                "threshold": 80,
                "free": 100,
                "data_needed": 10,
                "data_possible": True,
                "metadata_needed": 1,
                "metadata_possible": False,
            },
            "events": [
                {
                    "kind": "vg_full",
                    "severity": "critical",
                    "count": 2,
                    "first": "2026-11-23T08:00:00Z",
                    "last": "2026-11-23T09:00:00Z",
                    "message": "Insufficient free space",
                    "named": True,
                }
            ],
        }
    ],
}
USAGE = {
    "results": [
        {
            "item": {"vg": "docker", "name": "thinpool"},
            "thin_pools": [
                {
                    "total": 2,
                    "devices": [
                        {
                            "device_id": 1,
                            "exclusive": 4096,
                            "mapped": 8192,
                            "owner": {"kind": "container", "name": "web", "images": ["nginx"]},
                        },
                        {"device_id": 2, "exclusive": 1, "mapped": 1, "owner": None},
                    ],
                }
            ],
        }
    ]
}
ODD = [
    None,
    True,
    -1,
    1e400,
    float("nan"),
    10**400,
    "x",
    "x" * 100_000,
    [],
    [[]],
    [None, 1, "x"],
    {},
    {"a": 1},
    "9" * 5000,
]


def page(*answers: t.Any) -> str:
    return _page.render(answers, generated=GENERATED, title="Thin pools")


def places(value: t.Any, path: tuple = ()) -> t.Iterator[tuple]:
    """Yield the way to each value in an answer."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_odd(answer: t.Any, path: tuple, odd: t.Any) -> t.Any:
    found = copy.deepcopy(answer)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return found


CASES = [(CHECK, path, 0) for path in places(CHECK)] + [(USAGE, path, 1) for path in places(USAGE)]


@pytest.mark.parametrize(("answer", "path", "which"), CASES, ids=[".".join(map(str, case[1])) for case in CASES])
def test_an_odd_value_anywhere_costs_no_other_host_its_card(answer, path, which):
    for odd in ODD:
        given = [CHECK, USAGE]
        given[which] = with_odd(answer, path, odd)
        found = page(("odd", *given), ("node2", CHECK, USAGE))
        assert found.count(">node2<") == page(("odd", CHECK, USAGE), ("node2", CHECK, USAGE)).count(">node2<")
        assert ">odd<" in found
        assert len(found) < 200_000


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_answer_that_is_none_has_a_card_that_says_so(odd):
    found = page(("odd", odd, odd), ("node2", CHECK, USAGE))
    assert "it was not asked" in found or "did not answer" in found
    assert "docker/thinpool" in found


def test_whatever_goes_wrong_with_an_answer_is_told_on_the_hosts_card(monkeypatch):
    real = _page._of_pool

    def fail(host, *rest):
        if host == "odd":
            raise ZeroDivisionError
        return real(host, *rest)

    monkeypatch.setattr(_page, "_of_pool", fail)
    found = page(("odd", CHECK, USAGE), ("node2", CHECK, USAGE))
    assert "what it answered makes no sense (ZeroDivisionError)" in found
    assert "docker/thinpool" in found


def test_of_very_many_pools_the_first_are_shown_and_the_rest_is_counted():
    many = {**CHECK, "pools": CHECK["pools"] * 5000}
    started = time.monotonic()
    found = page(("odd", many, USAGE), ("node2", CHECK, USAGE))
    assert time.monotonic() - started < 20
    assert "of 4800 more things that it calls pools nothing is shown" in found


@pytest.mark.parametrize("seed", range(50))
def test_several_odd_values_at_once(seed):
    chance = random.Random(seed)
    check, usage = CHECK, USAGE
    for _number in range(chance.randrange(1, 6)):
        check = with_odd(check, chance.choice(list(places(check))), chance.choice(ODD))
        usage = with_odd(usage, chance.choice(list(places(usage))), chance.choice(ODD)) or {}
    found = page(("odd", check, usage), ("node2", CHECK, USAGE))
    assert "node2" in found, json.dumps([check, usage], default=str)[:2000]
