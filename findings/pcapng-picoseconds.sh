#!/bin/bash
# What: Wireshark's tools make a wrong fraction of a second of a pcapng time stamp in picoseconds, and tcpdump reads the same
# file rightly. With 2^-40 s tcpdump's answer depends on whether it is to print micro- or nanoseconds.
#
# if_tsresol may be any power of ten or of two, and if_tsoffset adds whole seconds, so that picoseconds fit into 64 bits. Both
# tools take the file without a word; up to 10^-9 and 2^-30 they agree. editcap does not only show the wrong time, it
# writes it into the file that it converts to.
#
# Versions: Debian 12: wireshark-common 4.0.17-0+deb12u3, tcpdump 4.99.3-1.
# Expected before it was run: 1700000000.75 from all.
# Seen: 0.75 s, in units of 10^-9, 10^-12, 2^-30 and 2^-40 s, by if_tsoffset after 1700000000; what follows the dot:
#   tcpdump: 750000 750000 750000 750000
#   tcpdump, nanoseconds: 750000000 750000000 750000000 011802496
#   editcap: 750000000 012130237 750000000 011802496
. "$(dirname "$0")/lib/debian"
packages bookworm wireshark-common=4.0.17-0+deb12u3 tcpdump=4.99.3-1
lib=$t/root/lib/x86_64-linux-gnu
# tcpdump outside of chroot, where it has to be able to become who it is
tcpdump() { "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$t/root/usr/lib/x86_64-linux-gnu" "$t/root/usr/bin/tcpdump" -Z root "$@"; }
# capture NAME RESOLUTION TICKS: a file of one frame
capture() {
    {
        bytes 4 0x0a0d0d0a 28 0x1a2b3c4d
        bytes 2 1 0
        bytes 8 -1
        bytes 4 28
        bytes 4 1 44
        bytes 2 1 0
        bytes 4 0
        bytes 2 9 1
        bytes 1 "$2" 0 0 0
        bytes 2 14 8
        bytes 8 1700000000
        bytes 4 0 44
        bytes 4 6 92 0 $(($3 >> 32)) $(($3 & 0xffffffff)) 60 60
        head -c 60 /dev/zero
        bytes 4 92
    } > "$t/root/$1"
}
capture nano 9 750000000
capture pico 12 750000000000
capture 30 $((0x80 | 30)) $((3 << 28))
capture 40 $((0x80 | 40)) $((3 << 38))
# shown OPTION...: tcpdump's fractions
shown() {
    local file
    for file in nano pico 30 40; do
        tcpdump -tt -n "$@" -r "$t/root/$file" 2>> "$t/err" | sed -n 's/^1700000000\.\([0-9]*\) .*/\1/p'
    done | tr '\n' ' ' | sed 's/ $//'
}
# converted: the fractions in editcap's files
converted() {
    local file
    for file in nano pico 30 40; do
        inside editcap -F nsecpcap "/$file" /out >> "$t/err" 2>&1
        printf '%09d ' "$(od -An -tu4 -j28 -N4 "$t/root/out" | tr -d ' ')"
    done | sed 's/ $//'
}
expect tcpdump "$(shown)" "750000 750000 750000 750000"
expect "tcpdump, nanoseconds" "$(shown --time-stamp-precision=nano)" "750000000 750000000 750000000 011802496"
expect editcap "$(converted)" "750000000 012130237 750000000 011802496"
exit $changed
