# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# shellcheck shell=bash
# Makes a pool for each thing that will happen. Chunks of 64k and metadata of 2m, so that little fills them.
set -euo pipefail
export LVM_SUPPRESS_FD_WARNINGS=1
disk() { readlink -f "/dev/disk/by-id/virtio-data$1"; }
pool() {
    local name=$1
    shift
    lvcreate --quiet --yes --type thin-pool --name "${name#*/}" --chunksize 64k --zero n --poolmetadatasize 2m "$@" "${name%/*}"
}
profile() {
    printf 'activation {\n\tthin_pool_autoextend_threshold=80\n\tthin_pool_autoextend_percent=20\n}\n' > "/etc/lvm/profile/$1.profile"
}

vgcreate --quiet grows "$(disk 1)"
vgcreate --quiet short "$(disk 2)"
vgcreate --quiet many "$(disk 3)"
vgcreate --quiet two "$(disk 4)" "$(disk 5)"
vgcreate --quiet gone "$(disk 6)"
vgcreate --quiet --physicalextentsize 1m meta "$(disk 7)"
vgcreate --quiet heals "$(disk 9)"

for name in grows-pool heals-pool short-pool two-pool gone-pool meta-pool many-well many-unwatched many-nofile many-detached many-inactive; do
    profile $name
done
pool grows/pool --size 200m --metadataprofile grows-pool
# As the manual does it, so that no extension has room.
pool short/pool --extents 95%VG --metadataprofile short-pool
pool heals/pool --extents 90%VG --metadataprofile heals-pool
# LVM takes the first disk alone: the second can go, and the pool goes on.
pool two/pool --size 200m --metadataprofile two-pool
pool gone/pool --size 100m --metadataprofile gone-pool
for name in well unwatched nofile detached inactive; do
    pool many/$name --size 20m --metadataprofile many-$name
done
pool many/full --size 20m
pool many/warned --size 8m

# Metadata that is full but for some blocks: 380 devices, each with a block of its own.
pool meta/pool --size 10m --metadataprofile meta-pool
lvcreate --quiet --yes --name filled --size 2m meta
{
    echo '<superblock uuid="" time="0" transaction="0" data_block_size="128" nr_data_blocks="160">'
    for id in $(seq 380); do
        echo "<device dev_id=\"$id\" mapped_blocks=\"37\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">"
        echo '<range_mapping origin_begin="0" data_begin="0" length="37" time="0"/></device>'
    done
    echo '</superblock>'
} > /root/filled.xml
