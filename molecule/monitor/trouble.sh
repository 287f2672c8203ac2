# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# shellcheck shell=bash
# Lets everything happen that can happen to a pool, each to its own.
set -euo pipefail
export LVM_SUPPRESS_FD_WARNINGS=1
thin() { # DM NAME, MEBIBYTES: a device as Docker makes it
    dmsetup message "$1" 0 "create_thin 0"
    dmsetup create "thin-$1" --table "0 $(($2 * 2048)) thin /dev/mapper/$1 0"
}
fill() { dd if=/dev/zero of="/dev/mapper/thin-$1" bs=1M count="$2" oflag=direct status=none; }

lvchange --quiet --monitor n many/unwatched
rm /etc/lvm/profile/many-nofile.profile
lvchange --quiet --detachprofile many/detached
lvchange --quiet --activate n many/inactive
thin many-full 40
# Fails when the pool is full; it is meant to.
fill many-full 30 < /dev/null > /dev/null 2>&1 &
thin grows-pool 400
fill grows-pool 170
thin short-pool 1200
fill short-pool 800

lvchange --quiet --activate n meta/pool
thin_restore --input /root/filled.xml --output /dev/meta/filled > /dev/null
# The profile would give it more metadata in time.
lvchange --quiet --detachprofile meta/pool
lvconvert --quiet --yes --thinpool meta/pool --poolmetadata meta/filled
lvchange --quiet --activate y meta/pool
id=1000
while dmsetup message meta-pool 0 "create_thin $id" 2> /dev/null; do id=$((id + 1)); done

for serial in data5 data6; do
    # What a disk does that is pulled out; on User-Mode Linux, which lets go of no disk in use, it is out of LVM's sight.
    disk=$(readlink -f "/dev/disk/by-id/virtio-$serial")
    remove=$(readlink -f "/sys/block/$(basename "$disk")/device/..")/remove
    if [ -e "$remove" ]; then echo 1 > "$remove"; else rm "$disk"; fi
done
