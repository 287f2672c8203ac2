# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``ansible-galaxy collection build`` packs in a checkout in which other things lie about."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Things that lie in checkouts, by their paths.
JUNK = (
    *(".env", ".git/config", ".vault_pass", ".venv/bin/python", ".idea/x.xml", ".vagrant/machines/x/private_key"),
    *("hosts", "hosts.yml", "inventory.yml", "inventory/hosts.yml", "group_vars/all.yml", "host_vars/node1.yml"),
    *("vault_pass", "vault.yml", "passwords.txt", "password", "secrets.yml", "id_rsa", "id_ed25519.pub", "key.pem"),
    *(
        "site.yml",
        "report.html",
        "ansible.cfg",
        "requirements.yml",
        "notes.md",
        "todo.txt",
        "venv/bin/python",
        "build/x",
    ),
    *("dist/devicemapper-containers-1.0.0.tar.gz", "backups/node1/docker.tar.gz", "core", "credentials.json", "x"),
    *("plugins/modules/.lvm_pv.py.swp", "plugins/modules/lvm_pv.py~", "plugins/modules/lvm_pv.py.orig"),
    *("playbooks/direct_lvm.retry", "roles/direct_lvm/.env", "roles/direct_lvm/vault.yml", "docs/.DS_Store"),
    *("molecule/default/inventory.yml", "tests/output/x", "changelogs/.plugin-cache.yaml", "README.md.rej"),
)
FOLDERS = ("changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles")
FILES = ("CHANGELOG.md", "LICENSE", "README.md", "bindep.txt", "galaxy.yml")


def built(tree: Path, to: Path) -> set[str]:
    """Return the names of the files in the archive that is built of a folder."""
    command = [sys.executable, "-m", "ansible", "galaxy", "collection", "build", "--output-path", str(to), str(tree)]
    environment = {**os.environ, "ANSIBLE_HOME": str(to / "home"), "LC_ALL": "C.UTF-8"}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    with tarfile.open(next(to.glob("*.tar.gz"))) as archive:
        return {member.name for member in archive.getmembers() if member.isfile()}


def test_nothing_that_lies_about_is_packed(tmp_path):
    tree = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in (*FILES, "CONTRIBUTING.md", "REUSE.toml", "Makefile"):
        shutil.copy2(ROOT / name, tree / name)
    clean = built(tree, tmp_path / "clean")
    for name in JUNK:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret", encoding="utf-8")
    assert built(tree, tmp_path / "littered") == clean
    packed = {name.split("/")[0] for name in clean} - {"MANIFEST.json", "FILES.json"}
    assert packed == {*FOLDERS, *FILES} - {"galaxy.yml"}
    for name in ("plugins/modules/lvm_pv.py", "plugins/plugin_utils/page.html.j2", "extensions/eda/rulebooks/grow.yml"):
        assert name in clean
    assert not [name for name in clean if name.startswith(("docs/conf.py", "changelogs/fragments"))]
