# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""To a pool, back to overlay2, to a pool again from loop-lvm: the same images by their ids, the same volume."""

from __future__ import annotations

import json

import pytest
import seen

PLAYBOOK = "devicemapper.containers.migrate"
STATE = "/var/lib/docker.migration"
VARIABLES = {"direct_lvm_devices": ["/dev/disk/by-id/virtio-data1"], "direct_lvm_storage_opts": ["dm.basesize=2G"]}


def migrate(to: str, *options: str, **variables) -> tuple[int, str]:
    given = json.dumps({**VARIABLES, "migrate_to": to, **variables})
    return seen.run_playbook(PLAYBOOK, f"--extra-vars={given}", *options)


def interrupted(host, where: str, to: str, **variables) -> str:
    """Run it with whatever starts the program that the pattern fits killed in that program's place."""
    seen.root(host, f"echo '{where}' > /run/interrupt")
    status, output = migrate(to, migrate_stop_containers=True, **variables)
    assert status != 0, output
    assert not host.file("/run/interrupt").exists, f"nothing was interrupted at {where}: {output}"
    return output


def images(host) -> dict[str, list[str]]:
    """Return the names of all images by their ids."""
    text = seen.root(host, "docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}'")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        digest, name = line.split()
        found.setdefault(digest, []).extend([] if "<none>" in name else [name])
    return {digest: sorted(names) for digest, names in found.items()}


def volume(host) -> str:
    return seen.root(
        host,
        "cd /var/lib/docker/volumes && docker volume inspect kept && sha256sum kept/_data/file && "
        "find kept -printf '%p %m %u %T@\n' | sort",
    )


def archives(host) -> int:
    return int(seen.root(host, f"ls {STATE} | grep --count '\\.tar$' || true"))


def driver(host) -> str:
    return seen.docker_info(host)["Driver"]


@pytest.fixture(scope="module")
def before(host) -> dict:
    return {"images": images(host), "volume": volume(host)}


def test_there_is_something_to_carry(host, before):
    names = sorted(before["images"].values())
    assert names == [[], ["app:1", "registry.example/team/app:latest"], ["base:latest"]]
    assert driver(host) == "overlay2"


def test_check_mode_counts_and_touches_nothing(host, before):
    status, output = migrate("devicemapper", "--check", "--diff", migrate_stop_containers=True)
    assert status == 0, output
    assert "save image app:1, registry.example/team/app:latest" in output
    assert "stop containers web" in output
    assert "create thin pool docker/thinpool" in output
    assert "load image base:latest" in output
    assert '"layers"' in output
    with host.sudo():
        assert not host.file(STATE).exists
    assert seen.root(host, "docker ps --format '{{.Names}}'") == "web\n"
    assert seen.root(host, "vgs --noheadings") == ""


def test_running_containers_and_more_than_fits_are_refused_at_once(host):
    seen.root(host, "mkdir -p /mnt/small && mount -t tmpfs -o size=1M,mode=755 tmpfs /mnt/small")
    status, output = migrate("devicemapper", migrate_directory="/mnt/small/images")
    seen.root(host, "umount /mnt/small")
    assert status != 0
    assert "containers run: web. They are not carried over" in output
    assert "and the filesystem of /mnt/small/images has 1.00 MiB free" in output
    assert seen.root(host, "docker ps --format '{{.Names}}'") == "web\n"


def test_interrupted_at_every_stage_on_the_way_to_the_pool(host, before):
    to = "devicemapper"
    interrupted(host, "^docker image save .*\\.tar\\.part", to)
    assert (archives(host), driver(host)) == (0, "overlay2")
    # What a save leaves that is killed amid its own writing.
    seen.root(host, f"touch {STATE}/.docker_temp_123 {STATE}/{'0' * 64}.tar.part")
    interrupted(host, "^lvcreate ", to)
    assert (archives(host), driver(host)) == (3, "overlay2")
    assert "temp" not in seen.root(host, f"ls -a {STATE}")
    assert seen.root(host, "docker ps --quiet") != ""  # what was stopped runs again where the pool was not made
    interrupted(host, "^systemctl enable --now docker", to)
    assert "inactive" in seen.root(host, "systemctl is-active docker || true")
    interrupted(host, "^docker image tag .*latest", to)
    assert driver(host) == "devicemapper"
    assert set(images(host)) < set(before["images"])
    status, output = migrate(to, migrate_stop_containers=True)
    assert status == 0, output


def test_all_is_on_the_pool(host, before):
    info = seen.docker_info(host)
    assert info["storage"]["Pool Name"] == "docker-thinpool"
    assert images(host) == before["images"]
    assert volume(host) == before["volume"]
    assert seen.root(host, "docker ps --all --quiet") == ""
    run = "docker run --rm --network none --volume kept:/data app:1 /bin/busybox sha256sum /data/file"
    assert seen.root(host, run).split()[0] in before["volume"]
    kept = json.loads(seen.root(host, f"cat {STATE}/to-devicemapper.json"))
    assert kept["verified"] is True
    assert sorted(one["Name"] for one in kept["containers"]) == ["/idle", "/web"]
    assert [one["State"]["Running"] for one in kept["containers"] if one["Name"] == "/web"] == [True]
    assert seen.root(host, f"stat -c %a {STATE} {STATE}/to-devicemapper.json").split() == ["700", "600"]


def test_a_second_run_finds_nothing_to_do(host):
    status, output = migrate("devicemapper")
    assert status == 0, output
    assert "changed=0" in output


def test_back_to_overlay2_interrupted_too(host, before):
    to = "overlay2"
    seen.root(host, "echo new > /tmp/kind && tar -C /tmp -c kind | docker import - base:latest")
    now = images(host)
    interrupted(host, "^systemctl start docker.service", to)
    status, output = migrate(to)
    assert status == 0, output
    assert driver(host) == "overlay2"
    # What was there before is there again, and the name is with the image that had it last.
    assert images(host) == {**{digest: [] for digest in before["images"]}, **now}
    assert volume(host) == before["volume"]
    assert seen.root(host, "docker ps --all --format '{{.Names}}' | sort").split() == ["idle", "web"]
    assert seen.root(host, "docker start web") == "web\n"
    assert "docker-thinpool" in seen.root(host, "dmsetup ls")
    seen.root(host, "docker stop --time 0 web")


def test_old_data_is_removed_when_it_is_told(host):
    with host.sudo():
        assert host.file("/var/lib/docker/devicemapper").is_directory
    status, output = migrate("overlay2", migrate_remove_old=True)
    assert status == 0, output
    with host.sudo():
        assert not host.file("/var/lib/docker/devicemapper").exists
        assert not host.file("/var/lib/docker/image/devicemapper").exists
        assert host.file("/var/lib/docker/image/overlay2").is_directory
    assert archives(host) == 0
    # The pool is left to reset.
    assert "docker-thinpool" in seen.root(host, "dmsetup ls")
    status, output = seen.run_playbook("devicemapper.containers.reset")
    assert status == 0, output
    assert json.loads(seen.root(host, "vgs --reportformat json"))["report"] == [{"vg": []}]
    assert driver(host) == "overlay2"


def test_docker_is_as_it_was_where_its_configuration_cannot_be_written(host):
    """Nobody can know it before: the folder is locked when Docker stops, and its data lies aside by then."""
    now = images(host)
    unit = "[Service]\nExecStopPost=chattr +i /etc/docker\nExecStartPre=chattr -i /etc/docker\n"
    folder = "/run/systemd/system/docker.service.d"
    seen.root(host, f"mkdir -p {folder} && printf '{unit}' > {folder}/locks.conf && systemctl daemon-reload")
    given = json.dumps({**VARIABLES, "direct_lvm_existing_data": "backup", "direct_lvm_stop_containers": True})
    status, output = seen.run_playbook("devicemapper.containers.direct_lvm", f"--extra-vars={given}")
    seen.root(host, f"rm {folder}/locks.conf && systemctl daemon-reload")
    assert status != 0
    assert "has the attribute i: take it away with" in " ".join(output.split())
    assert "moved to" not in output
    assert (driver(host), images(host)) == ("overlay2", now)
    # The pool was made, and the next run finds it.
    assert "docker-thinpool" in seen.root(host, "dmsetup ls")


def test_from_loop_lvm(host, before):
    seen.root(
        host,
        "docker save --output /root/app.tar app:1 && systemctl stop docker.socket docker && "
        'echo \'{"storage-driver": "devicemapper", "storage-opts": ["dm.loopdatasize=3G", "dm.basesize=2G"]}\' '
        "> /etc/docker/daemon.json && systemctl start docker && docker load --input /root/app.tar && "
        "docker create --name looped app:1 /bin/sh && docker tag app:1 again:1",
    )
    now = images(host)
    assert seen.docker_info(host)["storage"]["Data loop file"].startswith("/var/lib/docker/devicemapper/")
    interrupted(host, "^mv .*/var/lib/docker/devicemapper ", "devicemapper")
    assert images(host) == now
    status, output = migrate("devicemapper")
    assert status == 0, output
    assert seen.docker_info(host)["storage"]["Pool Name"] == "docker-thinpool"
    assert images(host) == now
    assert volume(host) == before["volume"]
    assert seen.root(host, "docker ps --all --quiet") == ""
    assert seen.root(host, "docker run --rm --network none again:1 /bin/busybox echo it runs") == "it runs\n"
    aside = seen.root(host, "ls -d /var/lib/docker/devicemapper.*Z").split()
    assert len(aside) == 1
    assert "data" in seen.root(host, f"ls {aside[0]}/devicemapper/devicemapper")
    assert len(seen.root(host, f"ls {aside[0]}/containers").split()) == 1
    status, output = migrate("devicemapper", migrate_remove_old=True)
    assert status == 0, output
    with host.sudo():
        assert not host.file(aside[0]).exists
        assert not host.file(STATE).exists
