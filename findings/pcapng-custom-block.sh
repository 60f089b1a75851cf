#!/bin/bash
# What: a custom block in a pcapng file is a frame for tshark, shifts the numbers of all frames behind it, and keeps editcap
# from converting the file to pcap. capinfos, of the same program, does not count it.
#
# The pcapng draft has Custom Blocks (type BADh, behind a Private Enterprise Number) for whatever a producer wants to leave in
# a file; a reader that does not know them passes over them, and so does tcpdump. A tool that finds frame N by tshark and
# the same frame by libpcap is off by the custom blocks before it.
#
# Versions: Debian 12: tshark and wireshark-common 4.0.17-0+deb12u3, tcpdump 4.99.3-1.
# Expected before it was run: one packet for both; the block is left out of the pcap file.
# Seen: packets of a file with a custom block (number 32473, for examples) and one frame, and of one with the frame alone; for
# editcap the status of a conversion to pcap:
#   tcpdump: 1 1
#   capinfos: 1 1
#   tshark: 2 1
#   editcap: 2 0
. "$(dirname "$0")/lib/debian"
packages bookworm tshark=4.0.17-0+deb12u3 wireshark-common=4.0.17-0+deb12u3 tcpdump=4.99.3-1
lib=$t/root/lib/x86_64-linux-gnu
# tcpdump outside of chroot, where it has to be able to become who it is
tcpdump() { "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$t/root/usr/lib/x86_64-linux-gnu" "$t/root/usr/bin/tcpdump" -Z root "$@"; }
begin() {
    bytes 4 0x0a0d0d0a 28 0x1a2b3c4d
    bytes 2 1 0
    bytes 8 -1
    bytes 4 28
    bytes 4 1 20
    bytes 2 1 0
    bytes 4 0 20
}
custom() { bytes 4 0xbad 24 32473; printf 'example!'; bytes 4 24; }
frame() { bytes 4 6 92 0 0 0 60 60; head -c 60 /dev/zero; bytes 4 92; }
{ begin; custom; frame; } > "$t/root/with"
{ begin; frame; } > "$t/root/without"
packets() { tcpdump -n -r "$t/root/$1" 2>> "$t/err" | wc -l; }
counted() { inside capinfos -c "/$1" 2>> "$t/err" | sed -n 's/^Number of packets: *//p'; }
frames() { inside tshark -n -r "/$1" 2>> "$t/err" | wc -l; }
convert() {
    local status=0
    inside editcap -F pcap "/$1" /out > "$t/said" 2>&1 || status=$?
    echo $status
}
expect tcpdump "$(packets with) $(packets without)" "1 1"
expect capinfos "$(counted with) $(counted without)" "1 1"
expect tshark "$(frames with) $(frames without)" "2 1"
expect editcap "$(convert with) $(convert without)" "2 0"
exit $changed
