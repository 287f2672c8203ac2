#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Customize hook of mmdebstrap, run by guest.py on the machine that builds the image: $1 is the root of the new system.
# GUEST_OUTPUT is the folder that gets kernel and initrd; GUEST_KEY the public key that may log in; GUEST_DEBS the
# packages whose .deb files wait in the guest's apt cache, so that installing them there downloads nothing;
# GUEST_MODULES the folder with the modules of User-Mode Linux.
set -eu
root=$1

cp "$root"/boot/vmlinuz-* "$GUEST_OUTPUT/kernel"
cp "$root"/boot/initrd.img-* "$GUEST_OUTPUT/initrd"
# The guest boots those two copies, so a new initrd inside it has no use, and costs minutes under emulation.
chroot "$root" dpkg-divert --quiet --local --rename --add /usr/sbin/update-initramfs
ln -s /bin/true "$root/usr/sbin/update-initramfs"

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

# pam_env complains about its absence at every login.
touch "$root/etc/default/locale"

# Nothing may take apt's lock, trim a disk or turn up in the journal of its own accord.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer man-db.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# Where the machine is emulated, a third of a boot: profiles of programs that are not here (Docker loads its own),
# snapshots of a file system that lies on no LVM.
for unit in apparmor.service e2scrub_reap.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# As a guest on User-Mode Linux: its kernel's modules, its network, and the names that virtio would give its disks.
cp -r "$GUEST_MODULES"/* "$root/lib/modules/"
for version in "$GUEST_MODULES"/*; do
    chroot "$root" depmod "$(basename "$version")"
done
cat > "$root/etc/systemd/network/20-uml.network" <<'END'
[Match]
Name=vec0
[Network]
Address=192.168.77.2/24
END
cat > "$root/etc/udev/rules.d/59-uml-disks.rules" <<'END'
KERNEL=="ubd*", ENV{DEVTYPE}=="disk", ATTR{serial}=="?*", ENV{ID_SERIAL}="$attr{serial}", \
    SYMLINK+="disk/by-id/virtio-$attr{serial}"
KERNEL=="ubd*", ENV{DEVTYPE}=="partition", ATTRS{serial}=="?*", ENV{ID_SERIAL}="$attr{serial}", \
    SYMLINK+="disk/by-id/virtio-$attr{serial}-part%n"
END

export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get clean
# shellcheck disable=SC2086  # a list of words
apt-get install --yes --download-only $GUEST_DEBS
