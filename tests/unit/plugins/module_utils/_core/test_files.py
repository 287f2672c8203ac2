# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import types

import pytest

from ansible_collections.devicemapper.containers.plugins.module_utils._core import files, process
from ansible_collections.devicemapper.containers.plugins.module_utils._core.errors import RefusedError
from ansible_collections.devicemapper.containers.plugins.module_utils._core.files import Write


class Module:
    """What writing needs of an AnsibleModule."""

    def selinux_enabled(self):
        return False


def test_a_file_is_read(tmp_path):
    (tmp_path / "a").write_text("Köln\n", encoding="utf-8")
    assert files.read(str(tmp_path / "a")) == "Köln\n"


def test_no_file_has_no_text(tmp_path):
    assert files.read(str(tmp_path / "absent" / "a")) is None


def test_what_is_no_readable_text_is_refused(tmp_path):
    (tmp_path / "bytes").write_bytes(b"ab\xff")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        (".", "is a directory, not a file: move it away"),
        ("bytes", r"is not UTF-8 text \(byte 2\): correct it or move it away"),
        ("loop", "cannot be read: Too many levels"),
    ):
        with pytest.raises(RefusedError, match=message) as refusal:
            files.read(str(tmp_path / name))
        assert str(refusal.value).startswith(str(tmp_path / name))


def test_a_new_file_gets_its_mode_and_its_directory(tmp_path):
    path = tmp_path / "docker" / "daemon.json"
    assert files.carry_out(Module(), Write(str(path), "{}\n", mode=0o600)) is None
    assert path.read_text(encoding="utf-8") == "{}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["daemon.json"]


def test_a_file_is_removed(tmp_path):
    path = tmp_path / "a"
    path.touch()
    synced = []
    real = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", lambda descriptor: (synced.append(path.exists()), real(descriptor)))
        files.carry_out(Module(), Write(str(path), None))
    assert not path.exists()
    assert synced == [False]


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    files.carry_out(Module(), Write(str(link), "new"))
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"


def test_text_that_is_not_accepted_does_not_take_the_place_of_the_old(tmp_path):
    path = tmp_path / "x.profile"
    path.write_text("old", encoding="utf-8")
    check = "import sys, glob; [name] = glob.glob(sys.argv[1]); sys.exit(open(name).read() != 'good')"
    validate = (sys.executable, "-c", check, f"{tmp_path}/{{name}}.profile")
    with pytest.raises(process.ProcessError, match="failed with status 1"):
        files.carry_out(Module(), Write(str(path), "bad", validate=validate))
    assert path.read_text(encoding="utf-8") == "old"
    files.carry_out(Module(), Write(str(path), "good", validate=validate))
    assert path.read_text(encoding="utf-8") == "good"
    assert os.listdir(tmp_path) == ["x.profile"]


def test_what_a_killed_run_left_beside_a_file_is_gone_after_the_next(tmp_path):
    path = tmp_path / "x.profile"
    (tmp_path / ".x.ansible-new.profile").write_text("half", encoding="utf-8")
    files.carry_out(Module(), Write(str(path), "whole"))
    assert path.read_text(encoding="utf-8") == "whole"
    assert os.listdir(tmp_path) == ["x.profile"]


@pytest.fixture
def umask():
    """Let new files be open to everybody unless said otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    path = tmp_path / "daemon.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    files.carry_out(Module(), Write(str(path), "new"))
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.parametrize("keeps_mode", [False, True])
def test_what_is_secret_is_so_from_the_first_byte_on(tmp_path, umask, keeps_mode):
    path = tmp_path / "secret.json"
    if keeps_mode:
        path.touch(0o600)
    with files.replacing(str(path), 0o644 if keeps_mode else 0o600, keeps_mode=keeps_mode) as new:
        assert os.stat(new.path).st_mode & 0o777 == 0o600
        new.write_down(b"secret")
        assert os.stat(new.path).st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_name_of_a_file_that_waits_is_known_to_nobody(tmp_path):
    names = set()
    for _attempt in range(2):
        with files.replacing(str(tmp_path / "x.toml"), 0o644) as new:
            names.add(os.path.basename(new.path))
    assert len(names) == 2
    assert all(name.startswith(".x.ansible-new-") and name.endswith(".toml") for name in names)
    with files.replacing(str(tmp_path / "x.prom"), 0o644, keeps_suffix=False) as new:
        assert not new.path.endswith(".prom")


def test_a_link_that_lies_in_wait_is_not_written_through(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.write_text("of somebody else's", encoding="utf-8")
    monkeypatch.setattr(files.secrets, "token_hex", lambda number: "0" * 2 * number)
    monkeypatch.setattr(files, "_remove_left", lambda directory, stem: None)
    (tmp_path / f".x.ansible-new-{'0' * 16}").symlink_to(other)
    with pytest.raises(FileExistsError), files.replacing(str(tmp_path / "x"), 0o644):
        pytest.fail("it was opened")
    assert other.read_text(encoding="utf-8") == "of somebody else's"


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path):
    other, path = tmp_path / "other", tmp_path / "x"
    other.write_text("of somebody else's", encoding="utf-8")
    path.symlink_to(other)
    with files.replacing(str(path), 0o644) as new:
        new.write_down(b"ours")
    assert (path.is_symlink(), path.read_bytes(), other.read_text(encoding="utf-8")) == (
        False,
        b"ours",
        "of somebody else's",
    )


def test_a_folder_that_is_a_link_leads_to_the_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with files.replacing(str(tmp_path / "link" / "x"), 0o644) as new:
        new.write_down(b"there")
    assert (tmp_path / "real" / "x").read_bytes() == b"there"


class Late(BaseException):
    """As what a signal raises."""


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, Late])
def test_where_it_fails_the_file_is_as_it_was_and_nothing_is_left(tmp_path, error):
    path = tmp_path / "x"
    path.write_text("old", encoding="utf-8")

    def fail():
        with files.replacing(str(path), 0o644) as new:
            new.write_down(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_file_and_folder_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    done = []
    real = {"fsync": os.fsync, "replace": os.replace}
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (done.append("fsync"), real["fsync"](descriptor)))
    monkeypatch.setattr(
        files.os, "replace", lambda *names, **folders: (done.append("replace"), real["replace"](*names, **folders))
    )
    with files.replacing(str(tmp_path / "x"), 0o644) as new:
        new.file.write(b"text")
    assert done == ["fsync", "replace", "fsync"]


def test_what_killed_runs_left_is_gone_whatever_they_were_killed_at(tmp_path):
    for name in (".x.ansible-new-0123456789abcdef.toml", ".x.ansible-new-0123456789abcdef", ".x.ansible-new.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".x.ansible-new-of-another").touch()
    files.carry_out(Module(), Write(str(tmp_path / "x.toml"), "whole"))
    assert sorted(os.listdir(tmp_path)) == [".x.ansible-new-of-another", "x.toml"]


def test_removed_is_the_link_and_not_what_it_points_to(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("of somebody else's", encoding="utf-8")
    link.symlink_to(target)
    backup = files.carry_out(Module(), Write(str(link), None, backup=True))
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(backup), "target"])
    assert target.read_text(encoding="utf-8") == "of somebody else's"
    with open(backup, encoding="utf-8") as copy:
        assert copy.read() == "of somebody else's"


@pytest.fixture(params=["FIFO", "device", "folder"])
def odd(request, tmp_path):
    """Return something that is no file and no link, in the place of one."""
    path = tmp_path / "x.prom"
    if request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no device can be made here")
    return path


def test_what_is_no_file_is_neither_replaced_nor_waited_for(odd):
    before = odd.stat()
    with pytest.raises(RefusedError, match=f"{odd} is not a regular file: move it away"), files.replacing(
        str(odd), 0o644
    ):
        pytest.fail("it was opened")
    assert odd.stat() == before
    assert os.listdir(odd.parent) == [odd.name]


def test_what_is_no_file_has_no_content(odd):
    with pytest.raises(OSError, match="(not a regular file|Is a directory|No such device)"):
        files.read_limited(str(odd))
    assert files.load(str(odd)) == {}


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 101)
    with pytest.raises(OSError, match="File too large"):
        files.read_limited(str(path), 100)
    assert files.read_limited(str(path), 101) == b"x" * 101
    with open(path, "wb") as file:
        file.truncate(files.LARGEST + 1)
    with pytest.raises(RefusedError, match="is larger than 16 MiB, so it is none of its kind: move it away"):
        files.read(str(path))


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "{", "[]", "\udcff"])
def test_json_that_is_none_or_too_deep_is_empty(tmp_path, text):
    (tmp_path / "x").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = files.load(str(tmp_path / "x"))
    assert found == {} or next(iter(found)) == "a"  # how deep is too deep is the Python's


def test_a_backup_is_read_by_nobody_who_may_not_read_the_file(tmp_path, umask, monkeypatch):
    path = tmp_path / "daemon.json"
    path.write_text("secret", encoding="utf-8")
    path.chmod(0o600)
    modes = []
    real = files.shutil.copyfileobj

    def look(source, copy):
        real(source, copy)
        modes.append(os.fstat(copy.fileno()).st_mode & 0o777)

    monkeypatch.setattr(files.shutil, "copyfileobj", look)
    backup = files.carry_out(Module(), Write(str(path), "new", backup=True))
    assert modes == [0o600]
    assert os.stat(backup).st_mode & 0o777 == 0o600
    assert backup.startswith(f"{path}.{os.getpid()}.")


def test_a_backup_for_which_there_is_no_room_is_none_and_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "daemon.json"
    path.write_text("old", encoding="utf-8")

    def fill(source, copy):
        copy.write(b"ol")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.shutil, "copyfileobj", fill)
    with pytest.raises(RefusedError, match="cannot be written: No space left on device. It is as it was"):
        files.carry_out(Module(), Write(str(path), "new", backup=True))
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["daemon.json"]


# --- What cannot be written is refused when it is planned -------------------------------------------------------------


@pytest.fixture
def room(monkeypatch):
    """Return a function that gives the filesystem of every folder other figures."""
    real = os.statvfs("/")

    def give(**changes):
        names = ("f_flag", "f_bavail", "f_frsize", "f_files", "f_favail")
        figures = {**{name: getattr(real, name) for name in names}, "f_flag": 0, "f_bavail": 10**6, **changes}
        monkeypatch.setattr(files.os, "statvfs", lambda folder: types.SimpleNamespace(**figures))

    return give


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"f_flag": os.ST_RDONLY}, "is read-only: mount it writable"),
        ({"f_bavail": 0}, "is full: make room there"),
        ({"f_files": 1000, "f_favail": 0}, "has no inodes left"),
    ],
)
@pytest.mark.parametrize("text", ["{}", None])
def test_a_filesystem_that_takes_nothing_is_a_refusal(tmp_path, room, changes, reason, text):
    room(**changes)
    path = tmp_path / "docker" / "daemon.json"
    with pytest.raises(RefusedError, match=f"^{path} cannot be written: the filesystem of {tmp_path} {reason}"):
        Write(str(path), text)


def test_a_filesystem_without_figures_for_inodes_takes_files(tmp_path, room):
    room(f_files=0, f_favail=0)
    assert files.obstacle(str(tmp_path / "x")) == ""


def test_a_file_that_is_mounted_by_itself_is_a_refusal(tmp_path, monkeypatch):
    path = tmp_path / "daemon.json"
    path.touch()
    mounted = files.mounts.Mounted("0:1", str(path), "ext4", "/dev/vda1")
    monkeypatch.setattr(files.mounts, "parse", lambda text: [mounted])
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link"):
        with pytest.raises(RefusedError, match="it is mounted there by itself"):
            Write(str(name), "{}")
    assert Write(str(tmp_path / "other"), "{}")


@pytest.mark.parametrize(
    ("flags", "what", "letter"), [(0x10, "file", "i"), (0x20, "file", "a"), (0x10, "folder", "i"), (0x20, "folder", "")]
)
def test_an_attribute_that_keeps_a_file_as_it_is_is_a_refusal(tmp_path, monkeypatch, flags, what, letter):
    path = tmp_path / "daemon.json"
    path.touch()
    there = path if what == "file" else tmp_path
    monkeypatch.setattr(files, "_flags", lambda name: 0x80000 | (flags if name == str(there) else 0))
    expected = f"{there} has the attribute {letter}: take it away with 'chattr -{letter} {there}'" if letter else ""
    assert files.obstacle(str(path)) == expected


def test_attributes_are_those_that_the_kernel_has(tmp_path):
    """As far as this filesystem has any; setting them takes root and such a filesystem."""
    path = tmp_path / "x"
    path.touch()
    assert files._flags(str(path)) & 0x30 == 0
    if (
        shutil.which("chattr") is None
        or subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode
    ):
        pytest.skip("no attributes can be set here")
    try:
        assert files.obstacle(str(path)) == f"{path} has the attribute i: take it away with 'chattr -i {path}'"
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert files.obstacle(str(path)) == ""
