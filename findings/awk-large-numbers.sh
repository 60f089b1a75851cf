#!/bin/bash
# What: neither mawk, Debian's awk, nor BusyBox' can print a number above 2^31 by %d, and each prints another wrong one; with
# %x mawk stops at ffffffff. Nothing is said, and the exit status is 0.
#
# awk's numbers are doubles, exact up to 2^53, and gawk prints them whole. Scripts that turn sectors into bytes, or add to
# an address of /proc/iomem, do so rightly in gawk and on small disks. On a disk of 3 GiB, or above 4 GiB of memory, mawk
# gives the same offset for everything, and BusyBox' awk, the one of an initramfs, a negative one.
#
# Versions: Debian 12: mawk 1.3.4.20200120-3.1, busybox-static 1:1.35.0-4+deb12u1+b1, gawk 1:5.2.1-2.
# Expected before it was run: 64 bits in all three.
# Seen: 6291456 sectors of 512 bytes by %d; twice that, by %d; 4 GiB and 4 GiB + 1 MiB by %x:
#   gawk: 3221225472 6442450944 100000000 100100000
#   mawk: 2147483647 2147483647 ffffffff ffffffff
#   busybox: -2147483648 -2147483648 80000000 80000000
. "$(dirname "$0")/lib/debian"
packages bookworm mawk=1.3.4.20200120-3.1 busybox-static=1:1.35.0-4+deb12u1+b1 gawk=1:5.2.1-2
program='{ printf "%d %d %x %x\n", $1 * 512, $1 * 1024, $2, $2 + 1048576 }'
print() { echo 6291456 4294967296 | inside "$@" "$program"; }
expect gawk "$(print gawk)" "3221225472 6442450944 100000000 100100000"
expect mawk "$(print mawk)" "2147483647 2147483647 ffffffff ffffffff"
expect busybox "$(print busybox awk)" "-2147483648 -2147483648 80000000 80000000"
exit $changed
