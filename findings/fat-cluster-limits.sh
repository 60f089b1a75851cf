#!/bin/bash
# What: GRUB does not read the smallest FAT16, blkid calls the largest FAT12 a FAT16, and for the largest FAT16 it knows no version
# at all. The three volumes are sound for fsck.fat and mtools; two of them come from mformat as they are.
#
# The number of clusters alone tells the kind, says the FAT specification: below 4085 FAT12, below 65525 FAT16. It also
# advises to keep 16 clusters away from both limits, as programs are known to be off by a few there. mformat does not, and a
# boot volume that is filled exactly may be of any number. udev has its ID_FS_VERSION from blkid's library.
#
# Versions: Debian 12: mtools 4.0.33-1+really4.0.32-1, dosfstools 4.2-1, util-linux 2.38.1-5+deb12u3, grub-common 2.06-13+deb12u2.
# Expected before it was run: all go by the rule.
# Seen: for each number of clusters: bits per entry by fsck.fat and its status; blkid's version; whether a file of five clusters is
# read whole by mtools and by GRUB, or GRUB's error:
#   4084: 12 0, FAT16, yes, yes
#   4085: 16 0, FAT16, yes, invalid cluster
#   4086: 16 0, FAT16, yes, yes
#   65523: 16 0, FAT16, yes, yes
#   65524: 16 0, none, yes, yes
. "$(dirname "$0")/lib/debian"
packages bookworm mtools=4.0.33-1+really4.0.32-1 dosfstools=4.2-1 util-linux=2.38.1-5+deb12u3 grub-common=2.06-13+deb12u2
seq 600 | head -c 2400 > "$t/root/content"
# volume SECTORS LESS: as mformat makes it, with so many clusters less at its end
volume() {
    rm -f "$t/root/fat"
    inside mformat -C -i /fat -T "$1" -c 1 -h 255 -s 63 ::
    if [ "$2" -gt 0 ]; then bytes 2 $(($1 - $2)) | dd of="$t/root/fat" bs=1 seek=19 conv=notrunc status=none; fi
    inside mcopy -i /fat /content ::content
}
# whole COMMAND...: whether it prints the file, or GRUB's complaint
whole() {
    inside "$@" > "$t/said" 2> "$t/complaint" || true
    if cmp -s "$t/said" "$t/root/content"; then echo yes; else grep -o 'invalid cluster' "$t/complaint" || echo no; fi
}
row() {
    local status=0 version
    inside fsck.fat -nv /fat > "$t/fsck" 2>&1 || status=$?
    version=$(inside blkid -p -s VERSION -o value /fat || true)
    echo "$(sed -n 's/.* \([0-9]*\) bit entries/\1/p' "$t/fsck") $status, ${version:-none}," \
        "$(whole mtype -i /fat ::content), $(whole grub-fstest /fat cat /content)"
}
# expect_row SECTORS LESS CLUSTERS WANTED
expect_row() {
    volume "$1" "$2"
    expect "$3" "$(row)" "$4"
    grep -q "[^0-9]$3 data clusters" "$t/fsck" || { echo "changed: it has another number of clusters"; changed=1; }
}
expect_row 4141 0 4084 "12 0, FAT16, yes, yes"
expect_row 4150 15 4085 "16 0, FAT16, yes, invalid cluster"
expect_row 4150 14 4086 "16 0, FAT16, yes, yes"
expect_row 66068 0 65523 "16 0, FAT16, yes, yes"
expect_row 66069 0 65524 "16 0, none, yes, yes"
exit $changed
