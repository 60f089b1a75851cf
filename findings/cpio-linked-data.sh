#!/bin/bash
# What: two names of one file in a cpio archive, each with data of its own: BusyBox' cpio unpacks them as two files, GNU cpio as one
# with the first data, bsdcpio as one with the last. None of them warns.
#
# The kernel's description of an initramfs permits the data at each name, at any of them, or at several, where what comes later
# overwrites what was there: by that the kernel unpacks as bsdcpio does. Who unpacks an initramfs to change or check it sees other files
# than the kernel that boots with it. With the data at one name only, the usual case, all three agree.
#
# Versions: Debian 12: cpio 2.13+dfsg-7.1, busybox-static 1:1.35.0-4+deb12u1+b1, libarchive-tools 3.6.2-1+deb12u4.
# Expected before it was run: one file with the last data from all.
# Seen: links and content of the names a and b, if the data is at a, at b, the same at both, and if it is "one" at a and "later" at b;
# and the exit status of each run:
#   cpio: 2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0
#   busybox: 2 one 2 one 0; 2 one 2 one 0; 1 one 1 one 0; 1 one 1 later 0
#   bsdcpio: 2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0; 2 later 2 later 0
. "$(dirname "$0")/lib/debian"
packages bookworm cpio=2.13+dfsg-7.1 busybox-static=1:1.35.0-4+deb12u1+b1 libarchive-tools=3.6.2-1+deb12u4
# entry NAME INODE MODE LINKS DATA: of format newc
entry() {
    local name=$1 data=$5
    printf 070701
    printf %08X "$2" "$3" 0 0 "$4" 1700000000 ${#data} 8 1 0 0 $((${#name} + 1)) 0
    printf '%s\0' "$name"
    head -c $(((2 + 4 - (${#name} + 1) % 4) % 4)) /dev/zero
    printf %s "$data"
    head -c $(((4 - ${#data} % 4) % 4)) /dev/zero
}
# archive A B: what is at the two names
archive() {
    entry a 5 0100644 2 "$1"
    entry b 5 0100644 2 "$2"
    entry 'TRAILER!!!' 0 0 1 ""
}
# row COMMAND...
row() {
    local data a b status name
    for data in "one -" "- one" "one one" "one later"; do
        read -r a b <<< "$data"
        rm -rf "$t/root/into"
        mkdir "$t/root/into"
        archive "${a/-/}" "${b/-/}" > "$t/archive"
        status=0
        inside busybox sh -c 'cd /into && "$@" -i' - "$@" < "$t/archive" 2>> "$t/err" || status=$?
        for name in a b; do printf '%s %s ' "$(stat -c %h "$t/root/into/$name")" "$(cat "$t/root/into/$name")"; done
        echo "$status"
    done | paste -sd ';' | sed 's/;/; /g'
}
expect cpio "$(row cpio)" "2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0"
expect busybox "$(row busybox cpio)" "2 one 2 one 0; 2 one 2 one 0; 1 one 1 one 0; 1 one 1 later 0"
expect bsdcpio "$(row bsdcpio)" "2 one 2 one 0; 2 one 2 one 0; 2 one 2 one 0; 2 later 2 later 0"
exit $changed
