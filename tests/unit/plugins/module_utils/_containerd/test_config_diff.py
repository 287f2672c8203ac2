# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import config_diff
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.containerd_config import Change

SECRETS = [
    'password = "s3cr3t"',
    "password = 's3cr3t'",
    'identitytoken="a\\"s3cr3t"',
    '"X-Token" = ["s3cr3t"]',
    'auth = { username = "me", x = "s3cr3t" }',
    'auth = """\ns3cr3t\n"""',
    "auth = '''\n[s3cr3t]\n'''",
    'endpoint = ["https://me:s3cr3t@registry"]',
    'inner = { username = "me", password = "s3cr3t" }',
    '[plugins."io.containerd.grpc.v1.cri".registry.configs."x".auth]\n  token = "s3cr3t"',
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_of_toml_are_hidden(text):
    found = config_diff.masked(f'a = 1\n{text}\npool_name = "docker-thinpool"\n')
    assert "s3cr3t" not in found
    assert found.startswith("a = 1\n")
    # Behind a table of credentials it would be one of them.
    assert found.endswith('\npool_name = "docker-thinpool"\n') or ".auth]" in text


def test_a_diff_has_what_changes_and_no_secret():
    registry = '[plugins."x".registry.configs."r".auth]\n  username = "me"\n  password = "s3cr3t"\n'
    before = f'version = 2\n{registry}[plugins."io.containerd.snapshotter.v1.devmapper"]\n  pool_name = "a"\n'
    found = config_diff.difference(Change("/x", before, before.replace('"a"', '"b"')))
    assert found["before"] == '[plugins."io.containerd.snapshotter.v1.devmapper"]\n  pool_name = "a"\n'
    assert found["after"] == '[plugins."io.containerd.snapshotter.v1.devmapper"]\n  pool_name = "b"\n'
    removed = config_diff.difference(Change("/x", before, None))
    assert "s3cr3t" not in removed["before"]
    assert '"me"' not in removed["before"]
