#!/bin/bash
# What: a GPT whose entries have 256 bytes is there for sfdisk and GRUB, a lone protective MBR for blkid and partx, which are
# made from the same source package as sfdisk, and an empty disk without problems for sgdisk.
#
# UEFI lets an entry have 128 * 2^n bytes, and says so in the header (SizeOfPartitionEntry); both headers and both arrays
# here are right by their CRCs. A tool that looks with blkid whether a disk is empty gets another answer than one that
# asks sfdisk; and `sgdisk --verify`, the usual judge, ends with success on a table that it has thrown away.
#
# Versions: Debian 12: util-linux and fdisk 2.38.1-5+deb12u3, gdisk 1.0.9-2.1, grub-common 2.06-13+deb12u2.
# Expected before it was run: GRUB reads it, all others refuse it with an error, sfdisk and blkid alike.
# Seen: partitions listed, exit status; for blkid the kind of table, for sgdisk also its verdict:
#   sfdisk: 2 0
#   GRUB: 2 0
#   blkid: PMBR 0
#   partx: 0 0
#   sgdisk: 0 0 No problems found
. "$(dirname "$0")/lib/debian"
packages bookworm util-linux=2.38.1-5+deb12u3 fdisk=2.38.1-5+deb12u3 gdisk=1.0.9-2.1 grub-common=2.06-13+deb12u2
zeros() { head -c "$1" /dev/zero; }
crc32() { gzip -c "$1" | tail -c 8 | head -c 4; }
# entry FIRST LAST: a Linux partition
entry() {
    printf '\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4unique %08d!' "$1"
    bytes 8 "$1" "$2" 0
    zeros 200
}
# header OWN OTHER ARRAY: their sectors, of a disk of 8192
header() {
    {
        printf 'EFI PART'
        bytes 4 0x10000 92 0 0
        bytes 8 "$1" "$2" 66 8126
        printf 'disk identifier!'
        bytes 8 "$3"
        bytes 4 128 256
        crc32 "$t/array"
    } > "$t/header"
    { head -c 16 "$t/header"; crc32 "$t/header"; tail -c +21 "$t/header"; zeros 420; }
}
{ entry 2048 4095; entry 4096 6143; zeros $((126 * 256)); } > "$t/array"
{
    zeros 446
    printf '\0\0\2\0\xee\xff\xff\xff'
    bytes 4 1 8191
    zeros 48
    printf '\x55\xaa'
    header 1 8191 2
    cat "$t/array"
    zeros $(((8127 - 66) * 512))
    cat "$t/array"
    header 8191 1 8127
} > "$t/root/disk"
# look LINE COMMAND...: how many lines of what it says have LINE, and its exit status
look() {
    local line=$1 status=0
    shift
    inside "$@" > "$t/said" 2> "$t/err" || status=$?
    echo "$(grep -c -- "$line" "$t/said" || true) $status"
}
expect sfdisk "$(look start= sfdisk --dump /disk)" "2 0"
grub=$(look gpt grub-fstest /disk ls)
expect GRUB "$(grep -o 'loop0,gpt' "$t/said" | wc -l) ${grub#* }" "2 0"
blkid=$(look . blkid -p -s PTTYPE -o value /disk)
expect blkid "$(cat "$t/said") ${blkid#* }" "PMBR 0"
expect partx "$(look . partx --show --noheadings /disk)" "0 0"
sgdisk=$(look '^ *[12] ' sgdisk --print --verify /disk)
expect sgdisk "$sgdisk $(grep -o 'No problems found' "$t/said")" "0 0 No problems found"
exit $changed
