#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What a run that only foretells must leave as it is, one line each: every file of /etc, every sector of the data disks
# (by the kernel's count of sectors written, since reading 10 GiB takes minutes under emulation), LVM's own count of
# changes, the packages and the services.
set -eu
find /etc -type f -exec sha256sum {} + | sort
# Not into the file systems of containers, which these write to; in loop-lvm mode through files, whose sizes count alone.
find /etc /var/lib/docker -xdev \
    \( -path '/var/lib/docker/devicemapper/devicemapper/*' -printf '%y %m %u %g %s %p\n' \
    -o -printf '%y %m %u %g %T@ %p %l\n' \) 2>/dev/null | sort
# A Docker that runs writes to them all the while.
if ! systemctl is-active --quiet docker; then
    for disk in /dev/disk/by-id/virtio-data*; do
        name=$(basename "$(readlink -f "$disk")")
        awk -v disk="$disk" '{ print disk, "sectors written:", $7, "discarded:", $14 }' "/sys/block/$name/stat"
    done
fi
if command -v vgs > /dev/null; then vgs --noheadings -o vg_name,vg_seqno,vg_tags; fi
dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\n'
systemctl list-units --no-legend --plain --type service --state active,failed | awk '{ print $1, $3, $4 }' | grep -v -e '^user' -e '^session'
