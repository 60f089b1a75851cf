#!/bin/bash
# What: BusyBox' wget sends a file with --post-file as far as its first zero byte, says a Content-Length that fits, and
# ends with success.
#
# GNU wget, from which the option has its name, sends the whole file whatever is in it. A script of an initramfs that
# sends a picture, an archive or a core file to a server loses all behind the first zero, and neither side can notice.
#
# Versions: Debian 12: busybox-static 1:1.35.0-4+deb12u1+b1, wget 1.21.3-1+deb12u1.
# Expected before it was run: the whole file from both, as the option's help does not speak of text.
# Seen: of a file of 7 bytes, `abc`, zero, `def`: the length that is announced, the bytes that come, the exit status:
#   busybox wget: 3 3 0
#   GNU wget: 7 7 0
. "$(dirname "$0")/lib/debian"
packages bookworm busybox-static=1:1.35.0-4+deb12u1+b1 wget=1.21.3-1+deb12u1
printf 'abc\0def' > "$t/root/file"
# post CLIENT...: the length that it announces, the bytes that come, its exit status
post() {
    local port=$((20000 + RANDOM % 10000)) status=0
    printf 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n' | inside busybox nc -l -p "$port" > "$t/request" &
    sleep 2
    inside "$@" -q -O /answer --post-file /file "http://127.0.0.1:$port/" || status=$?
    wait
    tr -d '\r' < "$t/request" | sed -n 's/^Content-Length: //p' | tr '\n' ' '
    echo "$(sed '1,/^\r$/d' "$t/request" | wc -c) $status"
}
expect "busybox wget" "$(post busybox wget)" "3 3 0"
expect "GNU wget" "$(post wget)" "7 7 0"
exit $changed
