# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import masking

# Names as daemon.json, containerd's configuration and log drivers have them, and whether what they name is secret.
NAMES = {
    "splunk-token": True,
    "logentries-token": True,
    "password": True,
    "identitytoken": True,
    "auth": True,
    "auths": True,
    "SECRET_KEY": True,
    "awslogs-credentials-endpoint": True,
    "Authorization": True,
    "X-Registry-Auth": True,
    "client_secret": True,
    "api-key": True,
    "storage-driver": False,
    "storage-opts": False,
    "log-driver": False,
    "authorization-plugins": False,
    "insecure-registries": False,
    "pool_name": False,
    "runtime_type": False,
    "tlscacert": False,
    "max-file": False,
    "bypass": False,
    "author": False,
    "tlskey": False,
    "registry.key": True,
}


@pytest.mark.parametrize(("name", "secret"), NAMES.items())
def test_a_name_says_whether_it_is_a_secret(name, secret):
    assert masking.is_secret(name) is secret


def test_secrets_of_json_are_hidden_wherever_they_stand():
    given = {
        "proxies": {"http-proxy": "http://me:s3cr3t@proxy:3128", "no-proxy": "localhost"},
        "log-opts": {"splunk-token": "s3cr3t", "splunk-url": "https://splunk/?token=s3cr3t&x=1", "tag": "{{.Name}}"},
        "exec-opts": ["native.cgroupdriver=systemd", "API_KEY=s3cr3t"],
        "list": [{"password": "s3cr3t"}, ["ftp://s3cr3t@host/"]],
        "auth": {"deep": ["s3cr3t"]},
        "tokens": None,
        "debug": True,
    }
    found = masking.masked(given)
    assert "s3cr3t" not in repr(found)
    assert found["proxies"] == {"http-proxy": f"http://{masking.HIDDEN}@proxy:3128", "no-proxy": "localhost"}
    assert found["log-opts"]["tag"] == "{{.Name}}"
    assert found["log-opts"]["splunk-url"] == f"https://splunk/?token={masking.HIDDEN}&x=1"
    assert found["exec-opts"] == ["native.cgroupdriver=systemd", f"API_KEY={masking.HIDDEN}"]
    assert (found["tokens"], found["debug"]) == (None, True)
    assert given["log-opts"]["splunk-token"] == "s3cr3t"


def test_only_lines_that_differ_are_shown_and_where_they_stand():
    before = 'version = 2\n[a]\nx = 1\ny = 2\n[b]\nz = 3\nkept = "something"\n'
    after = 'version = 2\n[a]\nx = 1\ny = 4\n[b]\nz = 3\nkept = "something"\n[c]\nnew = 5\n'
    assert masking.changes(before, after) == ("[a]\ny = 2\n", "[a]\ny = 4\n[c]\nnew = 5\n")
    assert masking.changes("", "[a]\nx = 1\n") == ("", "[a]\nx = 1\n")
    assert masking.changes(before, before) == ("", "")


def test_of_a_very_long_text_what_lies_between_the_ends_is_shown():
    lines = [f"key{number} = {number}\n" for number in range(10000)]
    changed = [*lines[:5000], "other = 1\n", *lines[5001:]]
    assert masking.changes("".join(lines), "".join(changed)) == ("key5000 = 5000\n", "other = 1\n")
    assert masking.changes("".join(lines), "".join(lines[:9999])) == ("key9999 = 9999\n", "")
    assert masking.changes("".join(lines[1:]), "".join(lines)) == ("", "key0 = 0\n")


@pytest.mark.parametrize("piece", ["password", "password=", "a://", "x-", "=,", "a://b@", "token=x&"])
def test_masking_takes_time_in_proportion_to_the_text(piece):
    durations = []
    for size in (200_000, 400_000):
        text = piece * (size // len(piece))
        started = time.perf_counter()
        masking.masked(text)
        durations.append(time.perf_counter() - started)
    assert durations[1] < 4 * durations[0] + 0.2
