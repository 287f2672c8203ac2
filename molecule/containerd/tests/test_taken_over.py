# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pool that somebody made by hand is taken over with what is in it; one of containerd's loop script is refused."""

from __future__ import annotations

import pytest
import seen
from test_containerd import DISK, FOLDER, PACKAGED, POOL, ROLE, run, state

ABSENT = (ROLE[0], "--extra-vars=containerd_devmapper_state=absent")
# As in containerd's own guide (docs/snapshotters/devmapper.md): two files, two loop devices, one pool of the kernel's.
LOOP_SCRIPT = f"""
set -e
mkdir -p {FOLDER}
truncate --size 2G {FOLDER}/data && truncate --size 64M {FOLDER}/meta
data=$(losetup --find --show {FOLDER}/data) && meta=$(losetup --find --show {FOLDER}/meta)
dmsetup create devpool --table "0 $(blockdev --getsz $data) thin-pool $meta $data 128 32768 1 skip_block_zeroing"
"""
BY_HAND = f"""
set -e
pvcreate {DISK}
vgcreate containerd {DISK}
lvcreate --wipesignatures y --yes --name thinpool --extents 80%VG containerd
lvcreate --wipesignatures y --yes --name thinpoolmeta --extents 1%VG containerd
lvconvert --yes --zero n --chunksize 512K --thinpool containerd/thinpool --poolmetadata containerd/thinpoolmeta
"""


def configure(host, pool: str) -> str:
    section = f"""
# mine
[plugins."io.containerd.snapshotter.v1.devmapper"]
  base_image_size = "5GB" # enough for us
  pool_name = "{pool}"
"""
    seen.root(host, f"cat > /etc/containerd/config.toml <<'END'\n{PACKAGED}{section}END\nsystemctl restart containerd")
    assert state(host) == "ok"
    return section


def test_a_pool_of_the_loop_script_is_refused_with_what_is_in_it(host):
    status, output = seen.run_playbook(*ABSENT)
    assert status == 0, output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    seen.root(host, LOOP_SCRIPT)
    configure(host, "devpool")
    run(host, "looped", "echo kept > /kept", "")
    status, output = seen.run_playbook(*ROLE)
    assert status != 0
    assert f"{FOLDER} holds the records of another pool (0 devices, " in output
    assert "changed=0" in output
    assert seen.root(host, f"wipefs --no-act {DISK}") == ""
    assert seen.kept_in_snapshot(host, "looped") == "kept\n"
    seen.root(
        host,
        "ctr containers delete looped && systemctl stop containerd && "
        f"{seen.REMOVE_THIN_DEVICES} && "
        f"dmsetup remove devpool && losetup --detach-all && rm -r {FOLDER} && rm -r /var/lib/containerd/*metadata*",
    )


@pytest.fixture(scope="module")
def section(host) -> str:
    """Return the section of a host whose pool was made by hand, with a container on it."""
    seen.root(host, BY_HAND)
    found = configure(host, POOL)
    run(host, "mine", "echo kept > /kept", "")
    return found


def test_check_mode_foretells_that_it_is_taken_over(host, section):
    status, output = seen.run_playbook(*ROLE, "--check", "--diff")
    assert status == 0, output
    assert "create thin pool" not in output
    # With containerd 2.x more is set behind these.
    assert "set base_image_size, root_path, async_remove, discard_blocks, fs_type" in output


def test_a_pool_made_by_hand_is_taken_over_with_what_is_in_it(host, section):
    size = seen.volumes(host)["thinpool"]["lv_size"]
    status, output = seen.run_playbook(*ROLE)
    assert status == 0, output
    assert seen.volumes(host)["thinpool"]["lv_size"] == size
    assert state(host) == "ok"
    assert seen.kept_in_snapshot(host, "mine") == "kept\n"
    seen.assert_pool_is_kept_alive(host, POOL)
    text = seen.root(host, "cat /etc/containerd/config.toml")
    assert text.startswith(f"{PACKAGED}\n# mine\n")
    assert "# enough for us" in text
    status, output = seen.run_playbook(*ROLE)
    assert (status, "changed=0" in output) == (0, True), output


def test_what_others_made_is_not_taken_apart(host, section):
    status, output = seen.run_playbook(*ABSENT)
    assert status != 0
    assert "devicemapper.containers" in output
    assert seen.kept_in_snapshot(host, "mine") == "kept\n"
