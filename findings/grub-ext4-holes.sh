#!/bin/bash
# What: GRUB reads a file on ext4 wrongly where blocks are set aside and not written yet: it gives what the disk holds there, and
# for a hole behind them the blocks of other files, without an error. A file that begins with a hole it does not read at all.
#
# ext4 marks an extent as not written by 32768 added to its length; it and any hole read as zeros (fallocate(2)). GRUB takes
# the sum for the length. An image made by `qemu-img create -o preallocation=falloc` or `fallocate` and filled later has such
# extents; an ISO image copied by `cp --sparse=always` begins with a hole, its 32 KiB in front of the volume descriptor. GRUB's
# `loopback` gets garbage from the one and an error from the other. On ext2, which knows holes too, all is well.
#
# Versions: Debian 12: grub-common 2.06-13+deb12u2, e2fsprogs 1.47.0-2+b2.
# Expected before it was run: zeros.
# Seen: e2fsck's status; the first byte of each block (. for 0) and the exit status. "front" has a hole of seven blocks and one with F; "set aside"
# one with A, three set aside where a deleted file had D, and a hole of four; another file with N was written in between:
#   e2fsck: 0
#   debugfs, front: .......F 0
#   debugfs, set aside: A....... 0
#   GRUB, front: something wrong with extent 1
#   GRUB, set aside: ADDDNNNN 0
#   GRUB, front on ext2: .......F 0
. "$(dirname "$0")/lib/debian"
packages bookworm grub-common=2.06-13+deb12u2 e2fsprogs=1.47.0-2+b2
# blocks LETTER NUMBER
blocks() { head -c $(($2 * 1024)) /dev/zero | tr '\0' "$1"; }
mkdir "$t/root/files"
{ head -c 7168 /dev/zero; blocks F 1; } | dd of="$t/root/files/front" bs=1024 conv=sparse status=none
blocks D 3000 > "$t/root/deleted"
blocks A 1 > "$t/root/aside"
blocks N 100 > "$t/root/next"
for kind in 4 2; do
    truncate -s 8M "$t/root/ext$kind"
    inside mke2fs -q -t "ext$kind" -b 1024 -d /files "/ext$kind" 2>> "$t/err"
done
cat > "$t/root/commands" << 'EOR'
write /deleted deleted
rm deleted
write /aside aside
fallocate aside 1 3
sif aside size 8192
write /next next
EOR
inside debugfs -w -f /commands /ext4 > "$t/log" 2>> "$t/err"
# content COMMAND...: the first byte of each block, or what the command complains of, and its exit status
content() {
    local status=0
    inside "$@" > "$t/said" 2> "$t/complaint" || status=$?
    echo "$(tr '\0' . < "$t/said" | fold -w 1024 | cut -c 1 | tr -d '\n'
        grep -o 'something wrong with extent' "$t/complaint" || true) $status"
}
expect e2fsck "$(inside e2fsck -fn /ext4 > "$t/said" 2>&1; echo $?)" 0
expect "debugfs, front" "$(content debugfs -R "cat front" /ext4)" ".......F 0"
expect "debugfs, set aside" "$(content debugfs -R "cat aside" /ext4)" "A....... 0"
expect "GRUB, front" "$(content grub-fstest /ext4 cat /front)" "something wrong with extent 1"
expect "GRUB, set aside" "$(content grub-fstest /ext4 cat /aside)" "ADDDNNNN 0"
expect "GRUB, front on ext2" "$(content grub-fstest /ext2 cat /front)" ".......F 0"
exit $changed
