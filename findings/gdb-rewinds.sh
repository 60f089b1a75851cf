#!/bin/bash
# What: with breakpoints at two neighbouring bytes, GDB on QEMU reports the first one when a jump has led to the second, moves
# the processor back, and has it run an instruction that was never reached.
#
# On x86 a debugger's INT3 leaves the program counter one byte behind it. GDB takes that byte off after each trap, unless the
# stub has said what it stopped for (swbreak in qSupported, manual: "swbreak stop reason"). QEMU stops in front of a
# breakpoint and does not say. Where the byte before holds a breakpoint too, an RET at a function's end and the next
# function's first instruction, say, GDB's guess is wrong, and the program under test does something else than without it.
#
# Versions: Debian 12: QEMU 7.2+dfsg-7+deb12u18+b3, GDB 13.1-3, NASM 2.16.01-1.
# Expected before it was run: GDB stops where the processor is; AX counts nothing.
# Seen: a jump over INC AX to the byte behind it: the breakpoint that is reported, its distance from INC AX, AX at the end:
#   both breakpoints: 1 0 1
#   the second alone: 2 1 0
. "$(dirname "$0")/lib/debian"
packages bookworm $QEMU72 $NASM gdb=13.1-3
boot_sector << 'ASM'
        xor ax, ax
        times 100h - ($ - $$) nop
        jmp second              ; 7d00h
        inc ax                  ; 7d02h
second: nop                     ; 7d03h
stay:   jmp stay                ; 7d04h
ASM
# stop COMMAND...: GDB's to set breakpoints; then what is seen
stop() {
    local port=$((20000 + RANDOM % 10000)) commands=() command machine
    for command; do commands+=(-ex "$command"); done
    inside /usr/bin/qemu-system-x86_64 -accel tcg -m 32 -display none -nodefaults -S -gdb "tcp:127.0.0.1:$port" \
        -drive file=/b.img,format=raw,if=floppy,file.locking=off -boot a 2>> "$t/err" &
    machine=$!
    sleep 3
    SLOT='' inside /usr/bin/gdb -nx -batch -ex "target remote 127.0.0.1:$port" "${commands[@]}" -ex continue \
        -ex 'printf "pc %d\n", $pc - 0x7d02' -ex delete -ex 'break *0x7d04' -ex continue \
        -ex 'printf "ax %d\n", $rax & 0xffff' -ex kill > "$t/said" 2>> "$t/err" || true
    wait $machine || true
    sed -n 's/^Breakpoint \([0-9]\), .*/\1/p' "$t/said" | head -1
    sed -n 's/^[pa][cx] //p' "$t/said"
}
both=$(stop 'break *0x7d02' 'break *0x7d03' | tr '\n' ' ')
alone=$(stop 'break *0x7000' 'break *0x7d03' | tr '\n' ' ')
expect "both breakpoints" "${both% }" "1 0 1"
expect "the second alone" "${alone% }" "2 1 0"
exit $changed
