# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What guests boot: an image of a Debian release with the distribution's kernel, and User-Mode Linux; built once."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

from vm.common import CACHE, KEY, GuestError, build_once, key_of, lock, run, say

SHARED = Path(__file__).resolve().parents[1]
HOOK = SHARED / "image-hook.sh"
PREPARE = SHARED / "image-prepare.sh"

# Beyond what debvm puts into every image: systemd, a cloud kernel, networkd, apt.
INSTALLED = (
    "openssh-server",
    "sudo",
    "passwd",
    "dbus",
    "python3",
    "python3-apt",
    "ca-certificates",
    "busybox-static",
)
# What the roles under test install: only downloaded, so that they have something to do and need no network for it.
STORAGE = ("lvm2", "thin-provisioning-tools", "dmeventd", "xfsprogs", "e2fsprogs")
# What makes a disk of somebody else's look like one.
OTHERS = ("btrfs-progs", "dosfstools", "genisoimage", "cryptsetup-bin", "mdadm", "fdisk")
# What the Red Hat family installs packages with, and makes them of.
REDHAT = ("dnf", "python3-dnf", "rpm", "createrepo-c")
# A registry on the guest, and what speaks HTTP/2 to CRI.
REGISTRY = ("docker-registry", "curl")
# Installed while the image is built, for scenarios that are not about installing.
PREPARED = {
    "storage": (*STORAGE, "apparmor"),
    "docker": (*STORAGE, "apparmor", "docker.io"),
    "others": (*STORAGE, "apparmor", *OTHERS),
    "redhat": (*STORAGE, "apparmor", "docker.io", *REDHAT),
}
DOWNLOADED = {
    "bullseye": (*STORAGE, "docker.io", "apparmor"),
    "bookworm": (*STORAGE, "docker.io", "apparmor", *OTHERS, *REDHAT),
    "trixie": (*STORAGE, "docker.io", "docker-cli", "containerd", "apparmor", "fdisk"),
    "forky": (*STORAGE, "docker.io", "docker-cli", "containerd", "apparmor", *REGISTRY),
}
# The only Debian with a User-Mode Linux that knows seccomp (Linux 6.16 and later): a process starts in half the time.
UML_RELEASE = "forky"
# While a release is being made, its lists may be older than they themselves allow. They are signed all the same.
OUTDATED_LISTS = '--aptopt=Acquire::Check-Valid-Until "false"'
TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*")


def debian_mirror() -> str:
    """Return the mirror that this machine installs Debian from; empty where it has none that a guest can use."""
    listing = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Origin: Debian"])
    lines = [line.partition(" ") for line in listing.splitlines()]
    return min((uri for uri, _space, label in lines if label == "Debian" and uri.startswith("http")), default="")


def ssh_key() -> Path:
    """Return the private key that opens every guest, made here on first use."""
    with lock(KEY.with_suffix(".lock")):
        if not KEY.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devicemapper.containers guests", "-f", KEY])
    return KEY


def built_as_root(folder: Path, arguments: list[str]) -> None:
    """Have another process of guest.py, which is root, build what only root can."""
    if shutil.which("sudo") is None:
        raise GuestError("building an image needs root, and there is no sudo here: run the same as root once")
    say("building an image needs root: asking sudo")
    command = ["sudo", "env", f"XDG_CACHE_HOME={CACHE.parent}", sys.executable, str(SHARED / "guest.py")]
    subprocess.run([*command, *arguments], check=False)
    if not folder.is_dir():
        raise GuestError("the image was not built")


def uml_kernel() -> Path:
    """Return a tree with User-Mode Linux, its modules and the libraries that it needs, whatever runs here."""
    folder = CACHE / "kernels" / f"uml-{key_of(inspect.getsource(uml_kernel), UML_RELEASE)}"
    if not folder.is_dir() and os.geteuid() != 0:
        built_as_root(folder, ["kernel"])

    def build(scratch: Path) -> None:
        say("fetching User-Mode Linux, once, half a minute ...")
        command = ["mmdebstrap", "--variant=extract", "--format=directory", "--include=user-mode-linux,libc6,libgcc-s1"]
        run([*command, OUTDATED_LISTS, UML_RELEASE, scratch / "tree", debian_mirror()])
        # What uml_init.py mounts.
        for name in ("proc", "dev", "tmp", "guest"):
            (scratch / "tree" / name).mkdir(exist_ok=True)
        for name in ("lib", "lib64"):
            if not (scratch / "tree" / name).exists():
                (scratch / "tree" / name).symlink_to(f"usr/{name}")

    return build_once(folder, build) / "tree"


def image(release: str, prepared: str = "") -> Path:
    """Return the folder with root.img, kernel and initrd of a release; only building it needs root."""
    public = ssh_key().with_suffix(".pub")
    install = PREPARED.get(prepared, ())
    files = [path.read_text() for path in (HOOK, public, *([PREPARE] if prepared else []))]
    kernel = uml_kernel()
    parts = (inspect.getsource(image), INSTALLED, install, DOWNLOADED[release], str(kernel), *files)
    folder = CACHE / "images" / f"{release}-{key_of(*parts)}"
    if not folder.is_dir() and os.geteuid() != 0:
        built_as_root(folder, ["image", release, *([f"--prepared={prepared}"] if prepared else [])])

    def debootstrap(scratch: Path, tree: Path) -> None:
        say(f"building the {release} image, once, 1 to 3 minutes ...")
        create = ["debvm-create", "-h", "guest", "-r", release, "-s", "ext4", "-o", tree, "--", "--format=directory"]
        create += [f"--include={','.join(INSTALLED)}", "--skip=cleanup/apt/lists,cleanup/apt/cache", OUTDATED_LISTS]
        # These stay in force inside the guest, where recommended packages would have to be downloaded.
        create += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
        create += [f"--dpkgopt={word}" for word in ("force-unsafe-io", "path-exclude=/usr/share/man/*")]
        create += ["--dpkgopt=path-exclude=/usr/share/doc/*", f"--customize-hook={HOOK}"]
        create += [mirror for mirror in [debian_mirror()] if mirror]
        settings = {"GUEST_OUTPUT": str(scratch), "GUEST_KEY": str(public), "GUEST_DEBS": " ".join(DOWNLOADED[release])}
        run(create, env={**os.environ, **settings, "GUEST_MODULES": str(kernel / "usr/lib/uml/modules")})
        # As an archive, and for its maker alone: old programs that run as root must not lie about.
        run([*TAR, "--create", "--file", scratch / "root.tar", "--directory", tree, "."])
        (scratch / "root.tar").chmod(0o600)

    def prepare(scratch: Path, tree: Path) -> None:
        plain = image(release)
        say(f"building the {release} image with {prepared}, once, 15 to 40 seconds ...")
        tree.mkdir()
        run([*TAR, "--extract", "--preserve-permissions", "--file", plain / "root.tar", "--directory", tree])
        run(["unshare", "--mount", "sh", PREPARE, tree, scratch / "initrd", *install])
        shutil.copy(plain / "kernel", scratch)

    def build(scratch: Path) -> None:
        tree = scratch / "root"
        (prepare if prepared else debootstrap)(scratch, tree)
        # debvm's own file system is a converted ext2 with 1 KiB blocks and directories without types of entries, which
        # no real host has, and on which no overlayfs works. Features that Debian 11 does not know stay off.
        file_system = ["mke2fs", "-q", "-t", "ext4", "-L", "debvm", "-E", "lazy_itable_init=0", "-O"]
        file_system += ["filetype,^orphan_file,^metadata_csum_seed", "-d", tree, scratch / "root.img", "6G"]
        run(file_system)
        shutil.rmtree(tree)

    return build_once(folder, build)
