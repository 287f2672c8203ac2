# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways to files that others may have had a hand in. Who is root here is whoever runs the tests."""

from __future__ import annotations

import os

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, folders
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError

OTHER = 65534


def given_to(path, uid):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    os.chown(path, uid, -1)


@pytest.fixture(params=["another's", "everybody's", "a group's"])
def shared(request, tmp_path):
    """Return a folder in which others than root can rename and make things."""
    folder = tmp_path / "shared"
    folder.mkdir()
    if request.param == "another's":
        given_to(folder, OTHER)
    elif request.param == "everybody's":
        folder.chmod(0o777)
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder to a group that it is not in")
        os.chown(folder, -1, OTHER)
        folder.chmod(0o775)
    return folder


def test_a_folder_of_roots_alone_is_nobody_elses(tmp_path):
    (tmp_path / "a").mkdir()
    assert folders.intruder(str(tmp_path / "a")) == ""
    assert folders.intruder(str(tmp_path / "a" / "that" / "is" / "yet" / "to be made")) == ""


def test_who_else_may_write_to_a_folder_is_told(shared):
    for path in (shared, shared / "yet to be made"):
        assert folders.intruder(str(path)).startswith(str(shared))


def test_who_may_rename_a_folder_is_told(shared):
    (shared / "ours").mkdir()
    assert folders.intruder(str(shared / "ours")).startswith(str(shared))


def test_a_folder_of_roots_in_a_sticky_one_cannot_be_renamed(tmp_path):
    sticky = tmp_path / "tmp"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "ours").mkdir()
    assert folders.intruder(str(sticky / "ours")) == ""
    assert folders.intruder(str(sticky / "theirs")) == f"{sticky} may be written to by everybody"
    assert folders.intruder(str(sticky)) == f"{sticky} may be written to by everybody"


def test_an_access_list_counts_as_others(tmp_path, monkeypatch):
    tmp_path.chmod(0o770)
    assert folders.intruder(str(tmp_path)) == ""
    monkeypatch.setattr(folders.os, "listxattr", lambda folder: ["system.posix_acl_access"])
    assert "may be written to by group" in folders.intruder(str(tmp_path))


def test_a_folder_that_others_may_change_is_refused_with_what_to_do(shared):
    with pytest.raises(RefusedError, match=f"dest: {shared} .*chown root:root.*dpkg-statoverride.*name another one"):
        files.check_folder("dest", str(shared / "backups"))


def test_a_link_of_somebody_elses_is_not_followed_on_the_way(shared, tmp_path):
    (tmp_path / "secret").mkdir()
    (shared / "folder").symlink_to(tmp_path / "secret")
    with pytest.raises(RefusedError, match="is a symbolic link to .*/secret, and .*/shared "), files.replacing(
        str(shared / "folder" / "x"), 0o644
    ):
        pytest.fail("it was opened")
    assert os.listdir(tmp_path / "secret") == []


def test_a_link_of_somebody_elses_is_not_followed_at_the_end(shared, tmp_path):
    secret = tmp_path / "shadow"
    secret.write_text("secret", encoding="utf-8")
    secret.chmod(0o600)
    (shared / "daemon.json").symlink_to(secret)
    with pytest.raises(RefusedError, match="is a symbolic link"):
        files.carry_out(None, files.Write(str(shared / "daemon.json"), "{}"))
    assert (secret.read_text(encoding="utf-8"), secret.stat().st_mode & 0o777) == ("secret", 0o600)


def test_a_link_of_roots_into_a_folder_of_somebody_elses_leads_no_further(shared, tmp_path):
    """The first link is root's own wish; the second one is not."""
    secret = tmp_path / "shadow"
    secret.write_text("secret", encoding="utf-8")
    (shared / "daemon.json").symlink_to(secret)
    (tmp_path / "daemon.json").symlink_to(shared / "daemon.json")
    with pytest.raises(RefusedError, match="is a symbolic link"):
        files.carry_out(None, files.Write(str(tmp_path / "daemon.json"), "{}"))
    assert secret.read_text(encoding="utf-8") == "secret"


def test_links_of_roots_are_followed_relative_absolute_and_up(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("a/b")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "a" / "up").symlink_to("../absolute/./")
    with folders.opened(str(tmp_path / "a" / "up" / "x")) as place:
        assert place.path == str(tmp_path / "a" / "b" / "x")
        assert os.path.sameopenfile(place.folder, os.open(tmp_path / "a" / "b", os.O_RDONLY))


def test_links_in_a_circle_are_an_error_and_no_hang(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"), folders.opened(str(tmp_path / "a" / "x")):
        pytest.fail("there is no end")


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(tmp_path, monkeypatch):
    """Between the look and the opening a folder is swapped for a link, as who may rename it can."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").mkdir()
    real = os.open

    def swap(path, flags, *arguments, **options):
        if path == "folder":
            (tmp_path / "folder").rename(tmp_path / "away")
            (tmp_path / "folder").symlink_to("secret")
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(folders.os, "open", swap)
    with pytest.raises(OSError, match="(Not a directory|Too many levels)"), files.replacing(
        str(tmp_path / "folder" / "x"), 0o644
    ):
        pytest.fail("it was opened")
    assert os.listdir(tmp_path / "secret") == []


def test_descriptors_do_not_leak(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "loop").symlink_to("loop")
    for name in ("x", "absent/x", "loop/x"):
        for create in (False, True):
            try:
                with folders.opened(str(tmp_path / name), create=create):
                    pass
            except OSError:
                pass
    assert len(os.listdir("/proc/self/fd")) == before
