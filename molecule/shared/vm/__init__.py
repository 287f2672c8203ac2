# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual machines with blank disks. guest.py is their command line; README.md beside it tells how they work.

common    what the others share: where things are kept, running commands, building a thing once
image     what a guest boots: a root file system, the distribution's kernel, and User-Mode Linux
guest     what all guests have in common: folder, disks, ssh
qemu      a guest on qemu, with KVM or emulated
uml       a guest on User-Mode Linux; uml_init runs beside its kernel
kinds     which kind of guest runs on this machine
"""
