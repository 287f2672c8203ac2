# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._containerd import (
    config_text,
    constants,
    containerd_config,
    toml,
    version_1,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._containerd.snapshotter_settings import (
    SnapshotterSettings,
)
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.steps import actions

CAPTURED = Path(__file__).resolve().parents[3] / "containerd"
RELEASES = sorted(path.name for path in CAPTURED.iterdir() if path.is_dir())
HEADER = '[plugins."io.containerd.snapshotter.v1.devmapper"]'
WISH = SnapshotterSettings(
    pool_name="containerd-thinpool",
    root_path="/var/lib/containerd/devmapper",
    base_image_size="10GB",
    discard_blocks=True,
)
SECTION = f"""{HEADER}
  root_path = "/var/lib/containerd/devmapper"
  pool_name = "containerd-thinpool"
  base_image_size = "10GB"
  discard_blocks = true
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def decide(folder, text=None, spec=WISH, **options):
    """Return the sentences, the new text (the old one without a change), and the path that changes."""
    path = folder / "config.toml"
    if text is not None:
        path.write_bytes(text.encode())
    current = containerd_config.read(str(path))
    steps, changes = containerd_config.decide(current, spec, **options)
    assert len(steps) == len(changes) <= 1
    return actions(steps), changes[0].after if changes else text, Path(changes[0].path).name if changes else None


def refused(folder, text, spec=WISH, **options):
    with pytest.raises(RefusedError) as refusal:
        decide(folder, text, spec, **options)
    return str(refusal.value).replace(str(folder), "")


@pytest.mark.parametrize(("version", "said"), [(2, "version = 2"), (3, "version = 3")])
def test_without_a_file_one_is_made(folder, version, said):
    sentences, text, _name = decide(folder, version=version)
    assert sentences == [
        f"set root_path, pool_name, base_image_size, discard_blocks in {folder}/config.toml",
    ]
    assert text == f"{config_text.MARK}{said}\n\n{SECTION}"


@pytest.mark.parametrize("release", RELEASES)
def test_of_containerds_own_configuration_only_our_lines_change(folder, release):
    before = (CAPTURED / release / "default.toml").read_text(encoding="utf-8")
    sentences, after, _name = decide(folder, before)
    assert sentences == [f"set {', '.join(changed(release))} in {folder}/config.toml"]
    lines = [line for line in difflib.ndiff(before.splitlines(True), after.splitlines(True)) if line[0] in "+-"]
    quote = '"' if release.startswith("1.") else "'"
    was = {"root_path": quote * 2, "pool_name": quote * 2, "base_image_size": quote * 2, "discard_blocks": "false"}
    now = {
        "root_path": '"/var/lib/containerd/devmapper"',
        "pool_name": '"containerd-thinpool"',
        "base_image_size": '"10GB"',
        "discard_blocks": "true",
    }
    assert sorted(lines) == sorted(
        [f"- {'    '}{key} = {value}\n" for key, value in was.items()]
        + [f"+ {'    '}{key} = {value}\n" for key, value in now.items()]
    )
    values = toml.parse(after).values
    values["plugins"][constants.PLUGIN].update(
        {"root_path": "", "pool_name": "", "base_image_size": "", "discard_blocks": False}
    )
    assert values == toml.parse(before).values
    assert decide(folder, after)[0] == []


def changed(release):
    """Return the keys in the order of the release's own file: 1.x writes them sorted."""
    keys = ["root_path", "pool_name", "base_image_size", "discard_blocks"]
    return sorted(keys) if release.startswith("1.") else keys


@pytest.mark.parametrize("release", RELEASES)
def test_a_packaged_configuration_gets_the_section_at_its_end_and_loses_it_again(folder, release):
    packaged = CAPTURED / release / "packaged.toml"
    if not packaged.exists():
        pytest.skip("not packaged")
    before = packaged.read_text(encoding="utf-8")
    _sentences, after, _name = decide(folder, before)
    assert after == f"{before}\n{SECTION}"
    assert decide(folder, after)[0] == []
    sentences, text, _name = decide(folder, after, SnapshotterSettings(pool_name="containerd-thinpool"), state="absent")
    assert sentences == [f"take {HEADER} out of {folder}/config.toml"]
    assert text == before


UGLY = f"""# containerd here
version = 2 # not 1

[plugins] # all of them
    # [plugins."io.containerd.snapshotter.v1.devmapper"]
\t[ plugins . 'io.containerd.snapshotter.v1.devmapper' ]   # ours
\tpool_name='old'# why
\t# root_path = "/elsewhere"
\tfs_options = '''
nodiscard'''
\t"base_image_size" = "8192MB"

    # about the next one
    [plugins."io.containerd.grpc.v1.cri"]
    note = \"\"\"
{HEADER}
pool_name = "not this one"
\"\"\"
"""


def test_an_ugly_file_keeps_every_other_byte(folder):
    _sentences, after, _name = decide(
        folder, UGLY, SnapshotterSettings(pool_name="new", base_image_size="10GB", async_remove=True)
    )
    expected = UGLY.replace("pool_name='old'# why", 'pool_name="new"# why')
    expected = expected.replace('"8192MB"\n', '"10GB"\n\tasync_remove = true\n')
    assert after == expected


def test_an_ugly_file_loses_our_lines_alone(folder):
    _sentences, after, _name = decide(folder, UGLY, SnapshotterSettings(), state="absent")
    lines = UGLY.splitlines(keepends=True)
    assert after == "".join(lines[:5] + lines[7:8] + lines[11:])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("version = 2\r\n", "version = 2\r\n\r\n" + SECTION.replace("\n", "\r\n"), id="windows"),
        pytest.param("version = 2", f"version = 2\n{config_text._NO_END}\n{SECTION}", id="no-newline-at-the-end"),
        pytest.param(
            "# nothing yet\n", f"# nothing yet\nversion = 2{config_text._VERSION}\n\n{SECTION}", id="comments-alone"
        ),
        pytest.param("", f"version = 2{config_text._VERSION}\n\n{SECTION}", id="empty"),
        pytest.param(f"version = 3\n{HEADER}", f"version = 3\n{SECTION}", id="header-alone"),
        pytest.param(
            f"version = 3\r\n{HEADER}\r\n\r\n[debug]\r\n",
            "version = 3\r\n" + SECTION.replace("\n", "\r\n") + "\r\n[debug]\r\n",
            id="windows-header",
        ),
        pytest.param(
            f"version = 2\n  {HEADER} # c\n  [plugins.x]\n",
            "version = 2\n  " + SECTION.replace("]\n", "] # c\n").replace("\n  ", "\n    ") + "  [plugins.x]\n",
            id="indented-header",
        ),
        pytest.param(
            f"version = 2\n{HEADER}\nother = 1\n",
            f"version = 2\n{HEADER}\nother = 1\n" + SECTION.partition("\n")[2].replace("  ", ""),
            id="a-key-of-others-first",
        ),
    ],
)
def test_where_the_keys_are_put(folder, before, after):
    assert decide(folder, before)[1].splitlines() == after.splitlines()
    if not before.endswith('"]') and before != "version = 2":
        assert decide(folder, before)[1] == after


OF_DOCKER = """#   Copyright 2018-2022 Docker Inc.

#   Licensed under the Apache License, Version 2.0 (the "License");

disabled_plugins = ["cri"]

#root = "/var/lib/containerd"
#[debug]
#  level = "info"
"""


@pytest.mark.parametrize(
    ("before", "converted"),
    [
        pytest.param(
            OF_DOCKER,
            OF_DOCKER.replace(
                'disabled_plugins = ["cri"]',
                f'{version_1._VERSION}\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]',
            ),
            id="docker.com",
        ),
        pytest.param("version = 1\nroot = '/x'\n", "version = 2\nroot = '/x'\n", id="version-1"),
        pytest.param(
            "oom_score = -999\nrequired_plugins = [ 'bolt', \"task\" ] # both\n[plugins]\n  [plugins.cri.containerd]\n"
            '    snapshotter = "cri"\n  [ plugins . "cri" . cni ]\n[plugins.zfs]\n',
            f"{version_1._VERSION}\noom_score = -999\n"
            'required_plugins = [ "io.containerd.metadata.v1.bolt", "io.containerd.runtime.v2.task" ] # both\n'
            '[plugins]\n  [plugins."io.containerd.grpc.v1.cri".containerd]\n    snapshotter = "cri"\n'
            '  [ plugins . "io.containerd.grpc.v1.cri" . cni ]\n[plugins."io.containerd.snapshotter.v1.zfs"]\n',
            id="names",
        ),
    ],
)
def test_version_1_is_written_as_version_2(folder, before, converted):
    (sentence,), after, _name = decide(folder, before)
    assert after == f"{converted}\n{SECTION}"
    assert sentence == (
        "set version 2 with whole names of plugins, root_path, pool_name, base_image_size, discard_blocks in "
        f"{folder}/config.toml"
    )
    assert decide(folder, after)[0] == []


def test_version_1_with_the_section_keeps_it(folder):
    before = "[plugins.devmapper]\n  pool_name = 'old'\n  base_image_size = '1GB'\n"
    after = decide(folder, before, SnapshotterSettings(pool_name="new"))[1]
    assert after == f"{version_1._VERSION}\n{HEADER}\n  pool_name = \"new\"\n  base_image_size = '1GB'\n"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(OF_DOCKER, id="docker.com"),
        pytest.param("oom_score = 1", id="no-end"),
        pytest.param("[plugins.cri]\n  sandbox_image = 'x'\n\n\n", id="blank-lines-at-the-end"),
        pytest.param("", id="empty"),
        pytest.param("# nothing yet", id="comment-without-end"),
        pytest.param("# nothing\r\n# yet\r\n", id="comments-of-windows"),
        pytest.param("version = 2\n[debug]\n", id="header-without-keys"),
        pytest.param("version = 2", id="version-without-end"),
    ],
)
def test_absent_gives_back_every_byte(folder, before):
    after = decide(folder, before)[1]
    assert after != before
    assert decide(folder, after, SnapshotterSettings(), state="absent")[1] == before


IMPORTING = 'version = 2\nimports = ["{folder}/conf.d/*.toml"]\n'


def test_where_a_folder_is_imported_the_section_gets_a_file_of_its_own(folder):
    main = IMPORTING.format(folder=folder)
    sentences, text, name = decide(folder, main)
    assert (name, text) == ("thin-pool.toml", f"{config_text.MARK}version = 2\n\n{SECTION}")
    assert sentences[0].endswith(f", discard_blocks in {folder}/conf.d/thin-pool.toml")
    (folder / "conf.d" / name).write_text(text, encoding="utf-8")
    assert decide(folder, main)[0] == []
    assert decide(folder, main, SnapshotterSettings(pool_name="other"), state="absent")[0] == []
    sentences, text, _name = decide(folder, main, SnapshotterSettings(pool_name="containerd-thinpool"), state="absent")
    assert (sentences, text) == ([f"remove {folder}/conf.d/thin-pool.toml"], None)


def test_an_imported_file_waits_where_no_pattern_finds_it(folder):
    (folder / "config.toml").write_text(IMPORTING.format(folder=folder), encoding="utf-8")
    (step,), _changes = containerd_config.decide(containerd_config.read(str(folder / "config.toml")), WISH)
    assert not step.write.keeps_suffix


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("other.toml", id="one-file"),
        pytest.param("*/config.toml", id="a-file-in-each-folder"),
        pytest.param("conf.d/*.conf", id="another-suffix"),
    ],
)
def test_where_no_folder_is_imported_the_section_goes_into_the_main_file(folder, pattern):
    assert decide(folder, f'version = 2\nimports = ["{pattern}"]\n')[2] == "config.toml"


def test_a_relative_pattern_is_read_but_gets_no_file_since_containerd_1_6_looks_elsewhere(folder):
    main = 'version = 3\nimports = ["conf.d/*.toml"]\n'
    assert decide(folder, main)[2] == "config.toml"
    (folder / "conf.d" / "theirs.toml").write_text(f'{HEADER}\npool_name = "old"\n', encoding="utf-8")
    assert decide(folder, main)[2] == "theirs.toml"


def test_a_section_in_an_imported_file_is_changed_there(folder):
    theirs = folder / "conf.d" / "theirs.toml"
    theirs.write_text(f'{HEADER}\npool_name = "old"\nbase_image_size = "8GB"\n', encoding="utf-8")
    sentences, text, name = decide(folder, IMPORTING.format(folder=folder), SnapshotterSettings(pool_name="new"))
    assert (sentences, name) == ([f"set pool_name in {theirs}"], "theirs.toml")
    assert text == f'{HEADER}\npool_name = "new"\nbase_image_size = "8GB"\n'


def test_a_section_that_stands_twice_is_refused(folder):
    (folder / "conf.d" / "theirs.toml").write_text(f"{HEADER}\n", encoding="utf-8")
    says = refused(folder, IMPORTING.format(folder=folder) + f"{HEADER}\n")
    assert says.startswith("/config.toml and /conf.d/theirs.toml have a section [plugins.")
    assert says.endswith("leave one of them")


def test_imports_in_a_circle_are_read_once(folder):
    (folder / "conf.d" / "a.toml").write_text('imports = ["../config.toml", "a.toml", "gone.toml"]\n', encoding="utf-8")
    assert decide(folder, IMPORTING.format(folder=folder))[2] == "thin-pool.toml"


PLUGIN = '"io.containerd.snapshotter.v1.devmapper"'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('disabled_plugins = ["web"]\n', "line 1, .* of version 1: there is no plugin 'web'", id="name"),
        pytest.param("[plugins.web]\n", "line 1, in .* of version 1: there is no plugin 'web'", id="section-name"),
        pytest.param("[plugins]\ncri.x = 1\n", "line 2, in .* 1: plugins in braces or by dotted keys", id="old-dotted"),
        pytest.param("version = 1\nimports = ['x']\n", "line 2, .* 1: what is imported would have", id="old-imports"),
        pytest.param("version = 5\n", "/config.toml, line 1: version 5 is none of 2, 3, 4", id="version-5"),
        pytest.param('version = "2"\n', "version '2' is none of 2, 3, 4", id="version-text"),
        pytest.param("version = true\n", "version True is none of", id="version-boolean"),
        pytest.param("version = 2\n[debug\n", "/config.toml, line 2: not valid TOML", id="not-toml"),
        pytest.param(f"version = 2\n{HEADER}\n{HEADER}\n", "/config.toml, line 3: not valid TOML", id="twice"),
        pytest.param(f"version = 2\n[[plugins.{PLUGIN}]]\n", "line 2: an array of tables", id="array"),
        pytest.param(
            f"version = 2\n[plugins]\n{PLUGIN} = {{}}\n", "line 3: the section, or all plugins, in b", id="braces"
        ),
        pytest.param(
            "version = 2\nplugins = {}\n", "line 2: the section, or all plugins, in braces", id="all-in-braces"
        ),
        pytest.param(
            f"version = 2\nplugins.{PLUGIN}.pool_name = 'x'\n", "line 2: the section by dotted keys", id="dotted"
        ),
        pytest.param(
            f"version = 2\n[plugins]\n{PLUGIN}.pool_name = 'x'\n", "line 3: the section by do", id="dotted-below"
        ),
        pytest.param(
            f"version = 2\n[plugins.{PLUGIN}.x]\n", "line 2: a table in .*, which has no header", id="no-header"
        ),
        pytest.param(f"version = 2\n{HEADER}\nPool_Name = 'x'\n", "line 3: Pool_Name is read as pool_name", id="case"),
        pytest.param(
            f"version = 2\ndisabled_plugins = [{PLUGIN}]\n", "line 2: disabled_plugins switches io.containerd", id="off"
        ),
        pytest.param("version = 2\nimports = 'x'\n", "imports must be an array of strings", id="imports"),
    ],
)
def test_what_cannot_be_changed_for_sure_is_refused_with_its_line(folder, text, says):
    assert re.search(says, refused(folder, text))
    if "[[" not in text and (f"plugins.{PLUGIN}" in text or f"\n{PLUGIN}" in text):
        assert re.search(says, refused(folder, text, state="absent"))


def test_where_there_is_no_section_none_is_taken_out(folder):
    assert decide(folder, 'disabled_plugins = ["cri"]\n', state="absent")[0] == []
    assert decide(folder, state="absent")[0] == []


@pytest.mark.parametrize(
    ("section", "spec", "says"),
    [
        pytest.param("", SnapshotterSettings(pool_name="p"), "no base_image_size: set base_image_size", id="no-size"),
        pytest.param("", SnapshotterSettings(base_image_size="1GB"), "no pool_name: set pool_name", id="no-pool"),
        pytest.param('fs_type = "zfs"', WISH, "/config.toml: fs_type must be ext4, xfs, ext2, not 'zfs'", id="theirs"),
        pytest.param('fs_type = "xfs"\nfs_options = "x"', WISH, "fs_options are for ext4 and ext2 alone", id="both"),
    ],
)
def test_a_section_that_the_snapshotter_would_not_start_with_is_refused(folder, section, spec, says):
    assert says in refused(folder, f"version = 2\n{HEADER}\n{section}\n", spec)


def test_where_things_are_is_told(folder):
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "/srv/containerd"\n{HEADER}\npool_name = "p"\n', encoding="utf-8"
    )
    current = containerd_config.read(str(folder / "config.toml"))
    assert (current.pool_name, current.root_path) == ("p", f"/srv/containerd/{constants.PLUGIN}")
    empty = containerd_config.read(str(folder / "gone.toml"))
    assert (empty.pool_name, empty.root_path) == ("", f"/var/lib/containerd/{constants.PLUGIN}")
