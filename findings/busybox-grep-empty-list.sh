#!/bin/bash
# What: an empty list of patterns matches nothing in BusyBox' grep, unless -F and -x, or -w, come with it: then every line.
#
# `grep -v -x -F -f LIST` takes the lines of a list out of another one: modules that an initramfs does not load, say. By POSIX
# and in GNU grep an empty list takes out nothing. In BusyBox it takes out all; with each of -F and -x alone, nothing.
#
# Versions: Debian 12: busybox-static 1:1.35.0-4+deb12u1+b1, grep 3.8-5.
# Expected before it was run: BusyBox takes an empty file for an empty pattern, which matches everything, in all cases; or for
# none, in all.
# Seen: of three lines, those that match an empty list with no option, -F, -x, -F -x, -w; those that are left by -v -F -x:
#   GNU: 0 0 0 0 0; 3
#   busybox: 0 0 0 3 3; 0
. "$(dirname "$0")/lib/debian"
packages bookworm busybox-static=1:1.35.0-4+deb12u1+b1 grep=3.8-5
printf 'ahci\nnvme\nvirtio_blk\n' > "$t/root/lines"
: > "$t/root/empty"
lines() { inside "$@" -f /empty /lines | wc -l || true; }
row() { echo "$(lines "$@") $(lines "$@" -F) $(lines "$@" -x) $(lines "$@" -F -x) $(lines "$@" -w); $(lines "$@" -v -F -x)"; }
expect GNU "$(row grep)" "0 0 0 0 0; 3"
expect busybox "$(row busybox grep)" "0 0 0 3 3; 0"
exit $changed
