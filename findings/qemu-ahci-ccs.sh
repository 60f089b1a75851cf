#!/bin/bash
# What: after a failed command QEMU's AHCI controller names slot 0 as the one that failed, and runs the failed command again
# as soon as another one is issued.
#
# AHCI 1.3.1 has PxCMD.CCS tell which slot a command was taken from, and error recovery without queued commands begins with
# reading it there ("Non-Queued Error Recovery"). A controller that has met an error takes no command until software has
# cleared PxCMD.ST. A driver that goes by this gives slot 0's request the error of another slot's; and a command that is
# carried out while the driver recovers interrupts behind its back.
#
# Here QEMU is driven by its own test protocol (-qtest) in a guest's place: sector 100 of a disk cannot be read (blkdebug).
#
# Versions: Debian 12: QEMU 7.2+dfsg-7+deb12u18+b3.
# Expected before it was run: CCS says 3; PxIS stays 0 behind the second command, which stays in PxCI.
# Seen: slot 3 reads sector 100; its status and error; PxCI; CCS. PxIS is cleared, and slot 5 is given sector 0 to read: PxIS
# (40000000h is an error), PxCI:
#   QEMU: 441 8 0; 40000001 28
. "$(dirname "$0")/lib/debian"
packages bookworm $QEMU72
truncate -s 1M "$t/root/disk"
printf '[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "100"\n' > "$t/root/rules"
coproc QEMU { inside /usr/bin/qemu-system-x86_64 -machine q35 -accel tcg -S -qtest stdio -m 32 -display none -nodefaults \
    -drive if=none,id=d,format=raw,file=blkdebug:/rules:/disk,file.image.locking=off,rerror=report \
    -device ide-hd,drive=d,bus=ide.0 2>> "$t/err"; }
# q COMMAND...: one of the protocol; what it answers
q() {
    local answer
    echo "$*" >&"${QEMU[1]}"
    while read -r answer <&"${QEMU[0]}"; do
        case $answer in OK*) echo "${answer#OK}"; return ;; esac
    done
}
port=$((0xe0000100))
put() { q writel $((port + $1)) "$2" > /dev/null; }
get() { printf '%x' $(($(q readl $((port + $1))))); }
# read_sector SLOT SECTOR
read_sector() {
    local header=$((0x100000 + 32 * $1)) table=$((0x102000 + 256 * $1))
    q writel $header 0x10005 > /dev/null
    q writel $((header + 8)) $table > /dev/null
    q writel $table 0x00c88027 > /dev/null
    q writel $((table + 4)) $((0xe0000000 + $2)) > /dev/null
    q writel $((table + 12)) 1 > /dev/null
    q writel $((table + 128)) 0x200000 > /dev/null
    q writel $((table + 140)) 511 > /dev/null
    put 0x38 $((1 << $1))
    sleep 1
}
q outl 0xcf8 0x8000fa24 > /dev/null
q outl 0xcfc 0xe0000000 > /dev/null
q outl 0xcf8 0x8000fa04 > /dev/null
q outl 0xcfc 6 > /dev/null
q writel 0xe0000004 0x80000000 > /dev/null
put 0 0x100000
put 8 0x101000
put 0x18 0x10
put 0x18 0x11
put 0x10 0xffffffff
read_sector 3 100
seen="$(get 0x20) $(get 0x38) $((0x$(get 0x18) >> 8 & 31))"
put 0x10 0xffffffff
read_sector 5 0
seen="$seen; $(get 0x10) $(get 0x38)"
kill "$QEMU_PID" 2> /dev/null || true
expect QEMU "$seen" "441 8 0; 40000001 28"
exit $changed
