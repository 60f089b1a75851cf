#!/bin/bash
# What: BusyBox' unxz calls an .xz file corrupted that has padding at its end, after it has written all of its content. The
# same padding between two streams it passes over.
#
# The .xz format lets zero bytes, a multiple of four, stand behind any stream ("Stream Padding"); it is what an image of flash
# or a partition looks like that is filled up to a block. `xz -t` says that all is well. A script that goes by unxz's
# status throws good content away, or ends.
#
# Versions: Debian 12: busybox-static 1:1.35.0-4+deb12u1+b1, xz-utils 5.4.1-1+deb12u1.
# Expected before it was run: no difference.
# Seen: what comes of a stream with 4 bytes of padding, with 508, of two with 508 between them, and the exit statuses:
#   xz: one 0; one 0; one two 0
#   busybox: one 1; one 1; one two 0
. "$(dirname "$0")/lib/debian"
packages bookworm busybox-static=1:1.35.0-4+deb12u1+b1 xz-utils=5.4.1-1+deb12u1
stream() { printf %s "$1" | inside xz -c; }
padding() { head -c "$1" /dev/zero; }
{ stream one; padding 4; } > "$t/root/4.xz"
{ stream one; padding 508; } > "$t/root/508.xz"
{ stream "one "; padding 508; stream two; } > "$t/root/between.xz"
# come FILE COMMAND...
come() {
    local file=$1 status=0
    shift
    inside "$@" -dc "/$file.xz" 2>> "$t/err" || status=$?
    echo " $status"
}
row() { echo "$(come 4 "$@"); $(come 508 "$@"); $(come between "$@")"; }
expect xz "$(row xz)" "one 0; one 0; one two 0"
expect busybox "$(row busybox xz)" "one 1; one 1; one two 0"
exit $changed
