#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Install packages into the tree of an image, from the .deb files that wait in it; run by guest.py in a mount namespace of
# its own, with which the mounts go. The initrd stays that of a host without them.
set -eu
root=$1
shift

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
# Nothing of what is installed is started here (policy-rc.d(8)).
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
# A folder for temporary files that this machine's user has chosen is not there.
chroot "$root" env --unset=TMPDIR DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-download "$@"
rm "$root/usr/sbin/policy-rc.d"
case " $* " in
*" docker.io "*)
    # Its first start is for those who have said what storage it shall use.
    chroot "$root" systemctl disable docker.socket docker.service
    ;;
esac
