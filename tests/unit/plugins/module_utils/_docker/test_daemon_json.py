# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import systemd
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError, RefusedErrors
from ansible_collections.devicemapper.containers.plugins.module_utils._docker import daemon_json, dockerd_keys
from ansible_collections.devicemapper.containers.plugins.module_utils._docker.daemon_json import DaemonJson

PATH = "/etc/docker/daemon.json"
POOL = "dm.thinpooldev=/dev/mapper/docker-thinpool"
WISH = {"storage_driver": "devicemapper", "storage_opts": [POOL]}
WISHED = {"storage-driver": "devicemapper", "storage-opts": [POOL]}


def decide(text, path, **wishes):
    """Return the steps, and the text of the file after them."""
    steps, after = daemon_json.decide(DaemonJson.of(text, path), **wishes)
    assert after.problem == ""
    assert after == DaemonJson.of(after.text, path)
    return steps, after.text


# The file, the wish, the keys afterwards and the sentence. Order counts in both.
CASES = [
    pytest.param(None, WISH, WISHED, f"write {PATH}: storage-driver, storage-opts", id="no-file"),
    pytest.param("", WISH, WISHED, f"change {PATH}: storage-driver, storage-opts", id="empty-file"),
    pytest.param("{}\n", WISH, WISHED, f"change {PATH}: storage-driver, storage-opts", id="no-keys"),
    pytest.param(
        {"log-level": "warn", "storage-driver": "overlay2", "debug": False, "storage-opts": ["overlay2.size=1G"]},
        WISH,
        {"log-level": "warn", "storage-driver": "devicemapper", "debug": False, "storage-opts": [POOL]},
        f"change {PATH}: storage-driver, storage-opts",
        id="foreign-keys-and-order-kept-overlay2-options-dropped",
    ),
    pytest.param(
        {"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]},
        {"storage_driver": "devicemapper"},
        {"storage-driver": "devicemapper"},
        f"change {PATH}: storage-driver, storage-opts",
        id="no-options-left",
    ),
    pytest.param(
        {**WISHED, "storage-opts": ["dm.fs=xfs", "dm.thinpooldev=/dev/mapper/old", "dm.basesize=20G"]},
        WISH,
        {**WISHED, "storage-opts": ["dm.fs=xfs", POOL, "dm.basesize=20G"]},
        f"change {PATH}: storage-opts",
        id="an-option-is-replaced-where-it-stands",
    ),
    pytest.param(
        {**WISHED, "storage-opts": [POOL, "dm.fs=xfs", "dm.fs=ext4"]},
        {"storage_opts": ["dm.fs=ext4", "dm.basesize=20G"]},
        {**WISHED, "storage-opts": [POOL, "dm.fs=ext4", "dm.basesize=20G"]},
        f"change {PATH}: storage-opts",
        id="an-option-that-stood-twice-stands-once",
    ),
    pytest.param(
        {**WISHED, "storage-opts": ["dm.mkfsarg=-O ^64bit", POOL]},
        {"storage_opts": ["dm.mkfsarg=-i 8192", "dm.mkfsarg=-m 0", "dm.mountopt=nodiscard", "dm.mountopt=noatime"]},
        {
            **WISHED,
            "storage-opts": [
                "dm.mkfsarg=-i 8192",
                "dm.mkfsarg=-m 0",
                POOL,
                "dm.mountopt=nodiscard",
                "dm.mountopt=noatime",
            ],
        },
        f"change {PATH}: storage-opts",
        id="options-that-may-stand-more-than-once",
    ),
    pytest.param(
        WISHED,
        {"storage_opts": ["dm.fs=ext4", "dm.fs=xfs"]},
        {**WISHED, "storage-opts": [POOL, "dm.fs=xfs"]},
        f"change {PATH}: storage-opts",
        id="the-last-of-two-wishes",
    ),
    pytest.param(
        {"log-driver": "json-file", "log-opts": {"max-size": "1m"}},
        {"options": {"log-opts": {"max-size": "10m"}, "live-restore": True}},
        {"log-driver": "json-file", "log-opts": {"max-size": "10m"}, "live-restore": True},
        f"change {PATH}: log-opts, live-restore",
        id="other-keys",
    ),
    pytest.param(
        {**WISHED, "log-level": "warn"},
        {**WISH, "state": "absent"},
        {"log-level": "warn"},
        f"change {PATH}: storage-driver, storage-opts",
        id="taken-out",
    ),
    pytest.param(
        {**WISHED, "storage-opts": [POOL, "dm.fs=xfs"]},
        {"storage_opts": [POOL], "state": "absent"},
        {**WISHED, "storage-opts": ["dm.fs=xfs"]},
        f"change {PATH}: storage-opts",
        id="one-option-taken-out",
    ),
]


def text_of(document):
    return document if document is None or isinstance(document, str) else json.dumps(document)


@pytest.mark.parametrize(("before", "spec", "after", "action"), CASES)
def test_a_wish_becomes_a_step(before, spec, after, action):
    (step,), text = decide(text_of(before), PATH, **spec)
    assert step.action == action
    assert (step.write.path, step.write.text) == (PATH, text)
    assert list(json.loads(text).items()) == list(after.items())


@pytest.mark.parametrize(("before", "spec", "after", "action"), CASES)
def test_what_is_foretold_needs_nothing_more(before, spec, after, action):
    _steps, text = decide(text_of(before), PATH, **spec)
    assert decide(text, PATH, **spec) == ([], text)


@pytest.mark.parametrize(
    ("before", "spec"),
    [
        pytest.param(WISHED, WISH, id="as-wished"),
        pytest.param(
            f'{{"storage-opts":["{POOL}"],\n\n"storage-driver":"devicemapper"}}', WISH, id="in-another-layout"
        ),
        pytest.param({**WISHED, "storage-opts": ["dm.fs=xfs", POOL]}, WISH, id="other-options-stay"),
        pytest.param({"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]}, {}, id="nothing-asked"),
        pytest.param({"storage-driver": "overlay2", "storage-opts": ["dm.fs=xfs"]}, {}, id="odd-but-nothing-asked"),
        pytest.param(None, {}, id="nothing-asked-and-no-file"),
        pytest.param(None, {**WISH, "state": "absent"}, id="absent-already"),
        pytest.param(
            {"storage-driver": "overlay2"},
            {"storage_driver": "devicemapper", "state": "absent"},
            id="another-driver-stays",
        ),
        pytest.param({"debug": True}, {"options": {"debug": False}, "state": "absent"}, id="another-value-stays"),
    ],
)
def test_a_file_as_wished_is_left_alone(before, spec):
    text = text_of(before)
    assert decide(text, PATH, **spec) == ([], text)


def test_a_file_that_has_no_keys_left_is_removed():
    (step,), text = decide(json.dumps(WISHED), PATH, **WISH, state="absent", backup=True)
    assert step.action == f"remove {PATH}: storage-driver, storage-opts"
    assert (text, step.write.text, step.write.backup) == (None, None, True)


def test_text_that_is_not_ascii_stays_as_it_is():
    _steps, text = decide('{"labels": ["ort=Köln"]}', PATH, **WISH)
    assert text == (
        '{\n    "labels": [\n        "ort=Köln"\n    ],\n    "storage-driver": "devicemapper",\n'
        f'    "storage-opts": [\n        "{POOL}"\n    ]\n}}\n'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            '{"debug": true,}', "is not valid JSON .*so Docker would not start with it: correct it first", id="comma"
        ),
        pytest.param("debug = true", "is not valid JSON", id="no-json"),
        pytest.param('{"debug": NaN}', r"is not valid JSON \(NaN is no number in JSON\)", id="nan"),
        pytest.param('{"mtu": Infinity}', "is not valid JSON", id="infinity"),
        pytest.param('{"mtu": -Infinity}', "is not valid JSON", id="negative-infinity"),
        pytest.param('["debug"]', r"holds an array where Docker wants an object \(\{\.\.\.\}\)", id="a-list"),
        pytest.param(
            '{"debug": true, "hosts": [], "debug": false, "hosts": []}', "has debug, hosts twice", id="keys-twice"
        ),
        pytest.param('{"log-opts": {"a": "1", "a": "2"}}', "has a twice", id="inner-key-twice"),
        pytest.param('{"storage-opts": "dm.fs=xfs"}', '"storage-opts" must be a list of strings', id="options-no-list"),
        pytest.param('{"storage-opts": [1]}', '"storage-opts" must be a list of strings', id="options-no-strings"),
    ],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_file_that_docker_would_not_take_is_refused(text, message, state):
    with pytest.raises(RefusedError) as refusal:
        decide(text, PATH, **WISH, state=state)
    assert re.search(f"^{PATH}:? {message}", str(refusal.value))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        pytest.param(
            "dm.thinpool=/dev/x",
            "'dm.thinpool' is not known to .*: it knows dm.basesize, .*dm.thinpooldev",
            id="unknown",
        ),
        pytest.param("dm.use-deferred-removal=true", "did you mean dm.use_deferred_removal?", id="hyphens"),
        pytest.param("dm.fs", "storage option 'dm.fs' has no value: write key=value", id="no-value"),
        pytest.param("dm.fs=btrfs", "dm.fs must be ext4 or xfs, not 'btrfs'", id="filesystem"),
        pytest.param("dm.basesize=big", "dm.basesize must be a size such as 10G, not 'big'", id="size"),
        pytest.param("dm.min_free_space=10", "dm.min_free_space must be a percentage below 100", id="no-percent-sign"),
        pytest.param("dm.min_free_space=100%", "dm.min_free_space must be a percentage below 100", id="all-of-it"),
        pytest.param("dm.use_deferred_removal=yes", "must be true or false, not 'yes'", id="boolean"),
        pytest.param("dm.libdm_log_level=8", "must be 2 to 7, not '8'", id="log-level"),
        pytest.param("dm.xfs_nospace_max_retries=-1", "must be a whole number from 0 to 2147", id="whole-number"),
        pytest.param("dm.xfs_nospace_max_retries=2147483648", "must be a whole number from 0 to", id="not-an-int"),
        pytest.param("dm.min_free_space=x", "must be a percentage below 100", id="share"),
        pytest.param("dm.mountopt=", "dm.mountopt must be mount options, not ''", id="empty"),
        pytest.param("dm.thinpooldev=", "must be the pool's path", id="empty-pool"),
        pytest.param("dm.directlvm_device_force=x", "dm.directlvm_device_force must be true or false", id="force"),
        pytest.param("dm.Fs=xfs", "did you mean dm.fs?", id="case"),
        pytest.param("dm.basesize=0", "dm.basesize must be a size such as 10G, not '0'", id="no-size"),
        pytest.param("dm.blocksize=100K", "dm.blocksize must be a multiple of 64K up to 1G, not '100K'", id="chunk"),
        pytest.param("dm.blocksize=2G", "dm.blocksize must be a multiple of 64K up to 1G", id="large-chunk"),
        pytest.param(
            "dm.thinpooldev=/dev/docker/thinpool",
            "dm.thinpooldev must be the pool's path under /dev/mapper, not '/dev/docker/thinpool'",
            id="another-path-of-the-pool",
        ),
        pytest.param("dm.thinp_percent=100", "dm.thinp_percent must be a percentage from 0 to 99", id="no-metadata"),
        pytest.param("dm.thinp_autoextend_percent=101", "must be a percentage from 0 to 100", id="extension"),
        pytest.param(
            "dm.directlvm_device=/dev/vdb", "dm.directlvm_device cannot stand beside dm.thinpooldev", id="two-ways"
        ),
        pytest.param(
            "dm.thinp_autoextend_percent=20",
            "dm.thinp_autoextend_percent cannot stand beside dm.thinpooldev: Docker would not start",
            id="an-option-of-another-way",
        ),
        pytest.param(
            "dm.datadev=/dev/vdb", "dm.datadev cannot stand beside .*Docker would not use it", id="of-the-oldest-way"
        ),
        pytest.param(
            "dm.use_deferred_removal=false",
            "dm.use_deferred_removal=false needs dm.use_deferred_deletion=false beside it",
            id="deletion-without-removal",
        ),
    ],
)
def test_an_option_that_docker_would_end_at_is_refused(option, message):
    with pytest.raises(RefusedErrors) as refusal:
        decide(None, PATH, storage_driver="devicemapper", storage_opts=[POOL, option])
    (reason,) = refusal.value.reasons
    assert re.search(message, reason)


@pytest.mark.parametrize(
    "option",
    [
        "dm.basesize=10G",
        "dm.basesize=10 GiB",
        "dm.blocksize=65536",
        "dm.min_free_space=0%",
        "dm.min_free_space=99%",
        "dm.fs=ext4",
        "dm.fs=xfs",
        "dm.mkfsarg=-O ^64bit,size=1",
        "dm.blkdiscard=0",
        "dm.override_udev_sync_check=TRUE",
        "dm.xfs_nospace_max_retries=0",
        "dm.libdm_log_level=2",
        "dm.thinp_percent=99",
        "dm.thinp_percent=95%",
        "dm.thinp_autoextend_threshold=100",
        "dm.thinpooldev=docker-thinpool",
        "dm.blocksize=128K",
        "overlay2.size=1G",
    ],
)
def test_an_option_that_docker_takes_is_taken(option):
    daemon_json.check_options([option])


DISK = "dm.directlvm_device=/dev/vdb"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["dm.thinp_autoextend_percent=20"],
            "dm.thinp_autoextend_percent needs dm.directlvm_device, the disk of the pool",
            id="no-disk",
        ),
        pytest.param([DISK, "dm.thinp_percent=95"], "need each other: with one of them alone", id="data-alone"),
        pytest.param(
            [DISK, "dm.thinp_percent=0", "dm.thinp_metapercent=1"], "need each other", id="metadata-and-no-data"
        ),
        pytest.param(
            [DISK, "dm.thinp_percent=99", "dm.thinp_metapercent=2%"],
            "come to 101 percent of the volume group",
            id="more-than-there-is",
        ),
        pytest.param([DISK, "dm.metadatadev=/dev/vdc"], "dm.metadatadev cannot stand beside", id="two-ways"),
        pytest.param(
            ["dm.use_deferred_removal=0", "dm.use_deferred_deletion=true"], "needs dm.use_deferred_d", id="deletion"
        ),
    ],
)
def test_options_that_docker_would_end_at_together_are_refused(options, message):
    with pytest.raises(RefusedErrors) as refusal:
        decide(None, PATH, storage_driver="devicemapper", storage_opts=options)
    (reason,) = refusal.value.reasons
    assert re.search(message, reason)


@pytest.mark.parametrize(
    "options",
    [
        [DISK],
        [DISK, "dm.thinp_percent=0"],
        [DISK, "dm.thinp_percent=99", "dm.thinp_metapercent=1", "dm.thinp_autoextend_threshold=0"],
        [DISK, "dm.thinp_percent=95", "dm.thinp_metapercent=9", "dm.thinp_metapercent=1"],
        ["dm.thinp_percent=0", "dm.directlvm_device_force=true"],
        [POOL, "dm.thinp_percent=0", "dm.directlvm_device_force=true", "dm.loopdatasize=1G"],
        ["dm.use_deferred_removal=false", "dm.use_deferred_deletion=false"],
        ["dm.use_deferred_removal=true", "dm.use_deferred_deletion=false"],
        ["dm.use_deferred_deletion=false"],
        ["dm.datadev=/dev/vdb", "dm.metadatadev=/dev/vdc"],
    ],
)
def test_options_that_docker_takes_together_are_taken(options):
    daemon_json.check_options(options, "devicemapper", whole=True)


def test_options_of_a_part_are_not_held_to_what_is_in_the_file():
    text = json.dumps({"storage-driver": "devicemapper", "storage-opts": [DISK, "dm.thinp_metapercent=1"]})
    after = decide(text, PATH, storage_opts=["dm.thinp_percent=95"])[1]
    assert json.loads(after)["storage-opts"] == [DISK, "dm.thinp_metapercent=1", "dm.thinp_percent=95"]


GIB = 1024**3


@pytest.mark.parametrize("options", [["dm.basesize=10G"], ["dm.basesize=20GB"], ["dm.fs=xfs"], []])
def test_a_base_device_may_grow_or_stay(options):
    daemon_json.check_base(DaemonJson(known={"storage-opts": options}), 10 * GIB)


def test_a_base_device_does_not_shrink():
    with pytest.raises(RefusedError) as refusal:
        daemon_json.check_base(DaemonJson(known={"storage-opts": ["dm.basesize=20G", "dm.basesize=10G"]}), 20 * GIB)
    assert str(refusal.value) == (
        "storage option dm.basesize is 10.00 GiB, and the base device that all images are made from has 20.00 GiB: it "
        "can only grow, and Docker would not start. Set dm.basesize to that or more, or leave it out"
    )


def test_a_device_is_named_by_its_path():
    with pytest.raises(RefusedError, match="dm.datadev must be the path of a device, not 'vdb'"):
        daemon_json.check_options(["dm.datadev=vdb"])


def test_all_wrong_options_are_told_at_once():
    with pytest.raises(RefusedErrors) as refusal:
        daemon_json.check_options(["dm.fs", "dm.foo=1", "dm.fs=zfs", "dm.basesize=1G"])
    assert len(refusal.value.reasons) == 3


def test_a_wrong_option_that_stays_in_the_file_is_refused():
    with pytest.raises(RefusedErrors, match=f"^{PATH}: storage option 'dm.foo' is not known"):
        decide('{"storage-opts": ["dm.foo=1"]}', PATH, **WISH)


@pytest.mark.parametrize("value", ["dm.fs=xfs", ["dm.fs=xfs", 1], None])
def test_storage_options_that_are_no_list_are_refused(value):
    with pytest.raises(RefusedError, match='^options: "storage-opts" must be a list'):
        decide(None, PATH, storage_driver="devicemapper", options={"storage-opts": value})


def test_wrong_options_can_be_taken_out():
    before = '{"debug": true, "storage-opts": ["dm.foo=1"]}'
    _steps, text = decide(before, PATH, storage_opts=["dm.foo=1"], state="absent")
    assert json.loads(text) == {"debug": True}


def unit_of(text):
    """Return systemd's properties from the lines of a captured ``systemctl show``."""
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param(
            ["-H", "fd://", "--containerd=/run/x.sock"], {"hosts": "-H", "containerd": "--containerd"}, id="debians"
        ),
        pytest.param(["--storage-driver=overlay2"], {"storage-driver": "--storage-driver"}, id="long"),
        pytest.param(["--storage-opt", "dm.fs=xfs"], {"storage-opts": "--storage-opt"}, id="plural-in-the-file"),
        pytest.param(["-s", "overlay2"], {"storage-driver": "-s"}, id="short"),
        pytest.param(["-soverlay2"], {"storage-driver": "-s"}, id="short-with-its-value"),
        pytest.param(["-g/srv/docker", "-D"], {"graph": "-g", "debug": "-D"}, id="several"),
        pytest.param(
            ["--label=a=b", "--insecure-registry=x"],
            {"labels": "--label", "insecure-registries": "--insecure-registry"},
            id="lists",
        ),
        pytest.param(
            ["--default-address-pool=base=10.0.0.0/8,size=24", "--node-generic-resource", "a=b"],
            {
                "default-address-pools": "--default-address-pool",
                "node-generic-resources": "--node-generic-resource",
            },
            id="lists-of-networks-and-resources",
        ),
        pytest.param([], {}, id="none"),
    ],
)
def test_flags_are_known_by_their_keys(flags, expected):
    assert dockerd_keys.flag_keys(flags) == expected


def test_flags_in_an_environment_file_that_clash_are_refused(captured, tmp_path):
    environment = tmp_path / "docker"
    environment.write_text('# Debian\nDOCKER_OPTS="--storage-driver=overlay2 --log-level warn"\n', encoding="utf-8")
    text = captured("docker_unit.txt").replace("/etc/default/docker", str(environment))
    flags = systemd.flags(unit_of(text))
    with pytest.raises(RefusedError) as refusal:
        decide('{"log-level": "info"}', PATH, **WISH, flags=flags)
    assert str(refusal.value).startswith(
        "dockerd's unit already sets --storage-driver (storage-driver), --log-level (log-level); a "
        "key that stands both there "
        f"and in {PATH} keeps Docker from starting."
    )
    assert "systemctl cat docker" in str(refusal.value)


def test_flags_that_the_file_does_not_repeat_are_no_clash(captured):
    flags = systemd.flags(unit_of(captured("docker_unit.txt").replace("/etc/default/docker", "/nonexistent")))
    steps, _text = decide(None, PATH, **WISH, flags=flags)
    assert len(steps) == 1


def test_the_last_value_of_an_option_counts():
    document = {"storage-opts": ["dm.fs=ext4", "dm.mkfsarg=a=b", "dm.fs=xfs"]}
    assert daemon_json.storage_option(document, "dm.fs") == "xfs"
    assert daemon_json.storage_option(document, "dm.mkfsarg") == "a=b"
    assert daemon_json.storage_option({}, "dm.fs") is None


@pytest.mark.parametrize(
    ("options", "wished", "expected"),
    [
        pytest.param(
            ["dm.directlvm_device=/dev/vdb", "dm.thinp_percent=95", "dm.fs=xfs"],
            [POOL],
            ["dm.fs=xfs", POOL],
            id="a-given-pool-takes-the-place-of-dockers-own",
        ),
        pytest.param(
            ["dm.fs=xfs", POOL],
            ["dm.directlvm_device=/dev/vdb"],
            ["dm.fs=xfs", "dm.directlvm_device=/dev/vdb"],
            id="dockers-own-takes-the-place-of-a-given-pool",
        ),
    ],
)
def test_a_pool_has_one_origin(options, wished, expected):
    text = json.dumps({"storage-driver": "devicemapper", "storage-opts": options})
    new = decide(text, PATH, storage_driver="devicemapper", storage_opts=wished)[1]
    assert json.loads(new)["storage-opts"] == expected


def test_options_of_a_driver_go_with_it():
    text = json.dumps({"debug": True, "storage-driver": "devicemapper", "storage-opts": [POOL, "dm.fs=xfs", "x.y=1"]})
    new = decide(text, PATH, state="absent", storage_driver="devicemapper", storage_opts=[POOL])[1]
    assert json.loads(new) == {"debug": True, "storage-opts": ["x.y=1"]}


def test_options_stay_with_another_driver():
    text = json.dumps({"storage-driver": "overlay2", "storage-opts": ["overlay2.size=1G"]})
    steps, new = decide(text, PATH, state="absent", storage_driver="devicemapper", storage_opts=[POOL])
    assert (steps, new) == ([], text)
