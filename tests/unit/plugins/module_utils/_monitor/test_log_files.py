# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._monitor import log_files

pytestmark = pytest.mark.usefixtures("zone")

NOW = 1795428000.0  # 2026-11-23T10:00:00Z


# --- Log files --------------------------------------------------------------------------------------------------------

# The shapes are those of RFC 3164 and RFC 5424 and of rsyslog's, syslog-ng's and busybox's files.
MESSAGE = "Failed command for docker-thinpool."
MODIFIED = NOW + 3600


@pytest.mark.parametrize(
    ("row", "at", "source", "pid", "message"),
    [
        (f"Nov 23 11:00:00 host dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"<27>Nov 23 11:00:00 host dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"Nov 23 11:00:00 host lvm[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"Nov 23 11:00:00 host daemon.err dmeventd[577]: {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f"2026-11-23T10:00:00.250000+00:00 host dmeventd[577]: {MESSAGE}", NOW + 0.25, "dmeventd", 577, MESSAGE),
        (f"2026-11-23T11:00:00+01:00 host dmeventd: {MESSAGE}", NOW, "dmeventd", 0, MESSAGE),
        (f"<27>1 2026-11-23T10:00:00Z host dmeventd 577 - - {MESSAGE}", NOW, "dmeventd", 577, MESSAGE),
        (f'<27>1 2026-11-23T10:00:00Z host dmeventd - - [x@1 a="b"] {MESSAGE}', NOW, "dmeventd", 0, MESSAGE),
        ("Nov 23 11:00:00 host kernel: [   12.345678] device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("Nov 23 11:00:00 host kernel: device-mapper: thin: 253:2: x", NOW, "kernel", 0,
         "device-mapper: thin: 253:2: x"),
        ("Nov 23 11:00:00 host systemd[1]: dm-event.service: Failed with result 'signal'.", NOW, "systemd", 1,
         "dm-event.service: Failed with result 'signal'."),
        # Later in the year than the file was last written, so it is of the year before.
        (f"Dec  1 11:00:00 host dmeventd[577]: {MESSAGE}", NOW - 357 * 86400, "dmeventd", 577, MESSAGE),
        (f"Feb 29 11:00:00 host dmeventd[577]: {MESSAGE}", NOW - 998 * 86400, "dmeventd", 577, MESSAGE),
    ],
)  # fmt: skip
def test_a_line_of_syslog_is_read(row, at, source, pid, message):
    line = log_files.parse(row, MODIFIED, NOW - 60)
    assert (line.time, line.source, line.pid, line.message) == (pytest.approx(at), source, pid, message)
    assert line.current is (at > NOW - 60)


@pytest.mark.parametrize(
    "row",
    [
        "",
        "not a line of syslog with dmeventd in it",
        "Nov 23 11:00:00 host sshd[12]: user dmeventd",
        "Nov 23 11:00:00 host systemd[1]: Started lvm.",
        "Nov 23 11:00:00 host last message repeated 3 times",
        f"Foo 23 11:00:00 host dmeventd[577]: {MESSAGE}",
        f"2026-13-45T10:00:00Z host dmeventd[577]: {MESSAGE}",
    ],
)
def test_what_others_wrote_is_left_out(row):
    assert log_files.parse(row, MODIFIED, 0.0) is None


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(RefusedError, match=r"there is no log file .*/none"):
        log_files.read_file(str(tmp_path / "none"))
    with pytest.raises(RefusedError, match="cannot be read"):
        log_files.read_file(str(tmp_path))
