# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# shellcheck shell=bash
# Makes one device of each kind. Prints "device<TAB>kind<TAB>words of the refusal" for each; a line's device must be refused
# with these words. Kinds whose words are "is not blank" may be taken once wiping is asked for, and data without a
# signature once destroying that is; no others ever.
set -euo pipefail
exec 3>&1 >&2
export LVM_SUPPRESS_FD_WARNINGS=1
disk=/dev/disk/by-id/virtio-data1
part() { echo "$disk-part$1"; }
told() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >&3; }
magic() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

{ echo 'label: gpt'; for _ in $(seq 36); do echo 'size=400M'; done; echo 'size=1M'; } | sfdisk --quiet "$disk"
udevadm settle
told "$disk" 'parent of used partitions' 'has partitions'

mkfs.ext4 -q "$(part 1)";                       told "$(part 1)" ext4 'is not blank: it holds ext4 at 0x438'
mkfs.xfs -q "$(part 2)";                        told "$(part 2)" xfs 'is not blank: it holds xfs at 0x0'
mkfs.btrfs -q "$(part 3)";                      told "$(part 3)" btrfs 'is not blank: it holds btrfs at 0x10040'
mkswap -q "$(part 4)";                          told "$(part 4)" swap 'is not blank: it holds swap at 0xff6'
mkswap -q "$(part 5)"; swapon "$(part 5)";      told "$(part 5)" 'swap in use' 'is swap in use'
mkfs.vfat "$(part 6)" > /dev/null;              told "$(part 6)" vfat 'is not blank: it holds vfat'
genisoimage -quiet -o "$(part 7)" /etc/hostname; told "$(part 7)" iso9660 'is not blank: it holds iso9660 at 0x8001'
echo secret | cryptsetup --batch-mode luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - "$(part 8)"
told "$(part 8)" LUKS 'is not blank: it holds crypto_LUKS at 0x0'
echo secret | cryptsetup --batch-mode luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - "$(part 9)"
echo secret | cryptsetup open --key-file - "$(part 9)" opened
told "$(part 9)" 'LUKS, opened' '(opened)'
mdadm --create --quiet --run /dev/md/stopped --level=0 --force --raid-devices=1 "$(part 10)"
mdadm --stop --quiet /dev/md/stopped
told "$(part 10)" 'md member, stopped' 'is not blank: it holds linux_raid_member'
mdadm --create --quiet --run /dev/md/running --level=0 --force --raid-devices=1 "$(part 11)"
told "$(part 11)" 'md member, running' 'is held by md'

vgcreate -q somebody "$(part 12)";              told "$(part 12)" 'volume group of somebody' 'belongs to volume group somebody'
vgcreate -q exported "$(part 13)"; vgexport -q exported
told "$(part 13)" 'exported volume group' 'belongs to volume group exported'
vgcreate -q --systemid elsewhere elsewhere "$(part 14)"
told "$(part 14)" 'volume group of another system' 'belongs to volume group elsewhere'
pvcreate -q --metadatacopies 0 "$(part 15)"; vgcreate -q halved "$(part 15)" "$(part 16)"
told "$(part 15)" 'member of a group whose metadata is missing' 'is marked as used by a volume group whose metadata is missing'
dd if=/dev/zero of="$(part 16)" bs=1M count=4 conv=fsync status=none
vgcreate -q layered "$(part 17)"; lvcreate -q -y -n volume -L 100M layered
told /dev/layered/volume 'logical volume' 'is a logical volume'

mkfs.ext4 -q "$(part 18)"; mount -o ro "$(part 18)" /mnt
told "$(part 18)" mounted 'is mounted at /mnt'
mkfs.ext4 -q "$(part 19)"
unshare --mount --propagation private sh -c "mount -o ro $(part 19) /srv && exec sleep infinity" < /dev/null > /dev/null 2>&1 3>&- &
told "$(part 19)" 'mounted in another namespace' 'is mounted at /srv in the mount namespace of process'
mkfs.ext4 -q "$(part 20)"; loop=$(losetup --find --show "$(part 20)"); mkdir -p /media/loop; mount -o ro "$loop" /media/loop
told "$(part 20)" 'behind a mounted loop device' "is the backing device of $loop"
told "$loop" 'loop device, mounted' 'is mounted at /media/loop'
dmsetup create taken --table "0 2048 linear $(part 21) 0"
told "$(part 21)" 'held by device-mapper' '(taken)'

# Labels whose makers are not in the distribution or need a kernel module of their own, as libblkid knows them.
for block in $(seq 0 7); do magic "$(part 22)" $((131072 + block * 1024)) '\x0c\xb1\xba\x00\x00\x00\x00\x00'; done
told "$(part 22)" zfs 'is not blank: it holds zfs_member'
magic "$(part 23)" 4120 '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81'
magic "$(part 23)" 4104 '\x08\x00\x00\x00\x00\x00\x00\x00'
told "$(part 23)" bcache 'is not blank: it holds bcache'
magic "$(part 24)" 0 'bluestore block device\n'
told "$(part 24)" bluestore 'is not blank: it holds ceph_bluestore'

pvcreate -q "$(part 26)"; magic "$(part 26)" 0 'bluestore block device\n'
told "$(part 26)" 'physical volume that is something else too' 'is a physical volume in no group, and holds ceph_bluestore at 0x0 too'

blockdev --setro "$(part 25)";                  told "$(part 25)" 'read-only' 'is read-only'
told "$(part 37)" 'too small' 'is too small'

# What has no signature at all.
unsigned() { told "$1" "$2" "holds data without a known signature (seen at byte $3)"; }
tar --format=v7 -cf - -C / etc/hostname | dd of="$(part 27)" bs=64K conv=notrunc status=none
unsigned "$(part 27)" 'raw tar' 0
head -c 3M /dev/urandom | gzip | dd of="$(part 28)" bs=64K conv=notrunc iflag=fullblock status=none
unsigned "$(part 28)" 'gzip image' 0
dd if=/dev/urandom of="$(part 29)" bs=1M status=none || true
unsigned "$(part 29)" 'random data, as plain dm-crypt' 0
dd if=/dev/urandom of="$(part 30)" bs=1M seek=1 count=8 status=none
unsigned "$(part 30)" 'data from 1 MiB on' 1048576
magic "$(part 31)" 0 '\x5f\x1e\xa3\x01'; magic "$(part 31)" 12 '\x00\x00\x00\x08'; magic "$(part 31)" 16384 '\x5f\x1e\xa3\x02'
unsigned "$(part 31)" 'an InnoDB-like raw file' 0
dd if=/dev/urandom of="$(part 32)" bs=4K seek=$((400 * 256 - 1)) count=1 status=none
unsigned "$(part 32)" 'data in the last block' $((400 * 1048576 - 4096))
sh -c 'exec sleep infinity 4<> "$1"' sh "$(part 33)" < /dev/null > /dev/null 2>&1 3>&- &
told "$(part 33)" 'open in a process' 'is open for writing by sleep (process'

printf 'label: gpt\n' | sfdisk --quiet /dev/disk/by-id/virtio-data2
told /dev/disk/by-id/virtio-data2 GPT 'is not blank: it holds gpt at 0x200'
printf 'label: dos\n' | sfdisk --quiet /dev/disk/by-id/virtio-data3
told /dev/disk/by-id/virtio-data3 MBR 'is not blank: it holds dos at 0x1fe'
printf 'label: gpt\n' | sfdisk --quiet /dev/disk/by-id/virtio-data4
dd if=/dev/zero of=/dev/disk/by-id/virtio-data4 bs=512 count=34 conv=fsync status=none
told /dev/disk/by-id/virtio-data4 'GPT, only its backup' 'is not blank: it holds gpt at 0x3ffffe00'
told "$(findmnt --noheadings --output SOURCE /)" 'the root disk' 'is mounted at /'
modprobe zram num_devices=1; echo 64M > /sys/block/zram0/disksize
told /dev/zram0 'zram, which keeps nothing' 'is not a disk that keeps what is written to it'
told /dev/null 'no block device' 'is not a block device'
told /dev/disk/by-id/virtio-gone 'no device at all' 'does not exist on this host'
sync
udevadm settle
