#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Customize hook of mmdebstrap, run by guest.py on the machine that builds the image: $1 is the root of the new system.
# GUEST_OUTPUT is the folder that gets kernel and initrd; GUEST_KEY the public key that may log in; GUEST_DEBS the
# packages whose .deb files wait in the guest's apt cache, so that installing them there downloads nothing;
# GUEST_COMPILED what every Python of the guest imports.
set -eu
root=$1

cp "$root"/boot/vmlinuz-* "$GUEST_OUTPUT/kernel"
cp "$root"/boot/initrd.img-* "$GUEST_OUTPUT/initrd"
# The guest boots those two copies, so a new initrd inside it has no use, and costs minutes under emulation.
sed -i 's/^update_initramfs=.*/update_initramfs=no/' "$root/etc/initramfs-tools/update-initramfs.conf"

# Plays log in without privileges and use `become`, as users do.
chroot "$root" useradd --create-home --shell /bin/bash ansible
echo 'ansible ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/ansible"
install -d -m 700 "$root/home/ansible/.ssh"
install -m 600 "$GUEST_KEY" "$root/home/ansible/.ssh/authorized_keys"
chroot "$root" chown -R ansible:ansible /home/ansible/.ssh
# Or as root, where all plays use `become` and a second Python on the way there would be for nothing but time.
install -D -m 600 "$GUEST_KEY" "$root/root/.ssh/authorized_keys"

# The journal of the boot before this one is evidence in tests.
install -d "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\n' > "$root/etc/systemd/journald.conf.d/persistent.conf"

# The name of the folder is the one in compiled.py, for the Python of this release. Plays import with and without root.
packages=$root/usr/lib/python3/dist-packages
install -m 644 "$GUEST_COMPILED" "$packages/guest_compiled.py"
echo 'import guest_compiled' > "$packages/guest_compiled.pth"
tag=$(chroot "$root" python3 -c 'import sys; print(sys.implementation.cache_tag)')
install -d -m 1777 "$root/var/cache/compiled-$tag"

# pam_env complains about its absence at every login.
touch "$root/etc/default/locale"

# Nothing may take apt's lock, trim a disk or turn up in the journal of its own accord.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# A third of a boot: profiles of programs that are not here (Docker loads its own), snapshots of a file system that lies
# on no LVM, and drivers for what is not emulated.
for unit in apparmor.service e2scrub_reap.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
printf 'blacklist %s\n' kvm_amd kvm_intel powernow_k8 > "$root/etc/modprobe.d/guest.conf"

export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get clean
# shellcheck disable=SC2086  # a list of words
apt-get install --yes --download-only $GUEST_DEBS
