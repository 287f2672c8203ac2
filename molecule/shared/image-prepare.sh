#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Install packages into the tree of an image, from the .deb files that wait in it; run by guest.py in a mount namespace of
# its own, with which the mounts go. $1 is the tree, $2 the file that gets the initrd of a host with these packages.
set -eu
root=$1
initrd=$2
shift 2

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
# Nothing of what is installed is started here (policy-rc.d(8)).
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
# A folder for temporary files that this machine's user has chosen is not there.
chroot "$root" env --unset=TMPDIR DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-download "$@"
rm "$root/usr/sbin/policy-rc.d"
# What the tree has in its place does nothing (image-hook.sh).
chroot "$root" env --unset=TMPDIR update-initramfs.distrib -u
cp "$root"/boot/initrd.img-* "$initrd"
case " $* " in
*" docker.io "*)
    # Its first start is for those who have said what storage it shall use.
    chroot "$root" systemctl disable docker.socket docker.service
    ;;
esac
