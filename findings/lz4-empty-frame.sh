#!/bin/bash
# What: libarchive stops at an empty LZ4 frame, leaves out all frames behind it, and reports success.
#
# LZ4 frames may be concatenated, and one may be empty: `lz4 < /dev/null` writes such. Pieces that are compressed one by
# one and appended, as logs or layers are, come out whole of lz4 and zstd. bsdcat and bsdtar, and whatever reads archives
# by libarchive, end at the first piece without content. gzip's, xz's and Zstandard's empty pieces are passed over.
#
# Versions: Debian 12: libarchive-tools 3.6.2-1+deb12u4, lz4 1.9.4-1, zstd 1.5.4+dfsg2-5.
# Expected before it was run: "one two" from all.
# Seen: what comes of three frames, `one`, nothing, `two`, and the exit status:
#   lz4: one two 0
#   zstd: one two 0
#   bsdcat: one 0
#   bsdcat, frames by zstd: one two 0
. "$(dirname "$0")/lib/debian"
packages bookworm libarchive-tools=3.6.2-1+deb12u4 lz4=1.9.4-1 zstd=1.5.4+dfsg2-5
# three NAME COMMAND...: the three frames
three() {
    local name=$1 word
    shift
    for word in "one " "" two; do printf %s "$word" | inside "$@"; done > "$t/root/$name"
}
three lz4 lz4 -c
three zst zstd -q -c
come() {
    local status=0
    inside "$@" > "$t/said" 2> "$t/err" || status=$?
    echo "$(sed 's/ $//' "$t/said") $status"
}
expect lz4 "$(come lz4 -dc /lz4)" "one two 0"
expect zstd "$(come zstd -dc --format=lz4 /lz4)" "one two 0"
expect bsdcat "$(come bsdcat /lz4)" "one 0"
expect "bsdcat, frames by zstd" "$(come bsdcat /zst)" "one two 0"
exit $changed
