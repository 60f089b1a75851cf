#!/bin/bash
# What: the real-time clock's flags cannot be polled: with its interrupts off, Bochs 2.7's register C shows neither a
# period's end (PF) nor an update's (UF), and QEMU 7.2's shows UF but never PF.
#
# The MC146818's data sheet sets the flags whatever register B's enables are, which only decide about the IRQ pin, and
# names polling register C as a way to use the clock. A loader that waits so for one period (976 us at the usual rate) waits
# for ever in both; one that waits for the next second gets on in QEMU and not in Bochs.
#
# Versions: Debian 12: Bochs 2.7+dfsg-4+deb12u1, QEMU 7.2+dfsg-7+deb12u18+b3, NASM 2.16.01-1.
# Expected before it was run: all flags in both.
# Seen: with the enables off, in up to two seconds: PF (1: seen), UF; then PF with its interrupt enabled and not unmasked:
#   Bochs: 00 00 01
#   QEMU: 00 01 01
. "$(dirname "$0")/lib/debian"
packages bookworm $BOCHS27 $QEMU72 $NASM
boot_sector << 'ASM'
        mov al, 0ffh            ; no interrupt but by asking
        out 21h, al
        mov al, 0ah             ; 32768 Hz time base, 1024 periods a second
        out 70h, al
        mov al, 26h
        out 71h, al
        mov al, 02h             ; 24 hours, no enables
        call poll
        mov al, bl
        call hex
        mov al, ' '
        out 0e9h, al
        mov al, bh
        call hex
        mov al, ' '
        out 0e9h, al
        mov al, 42h             ; PIE
        call poll
        mov al, bl
        call hex
        jmp done
poll:   mov ah, al              ; AL to register B; BL: PF has been seen, BH: UF
        mov al, 0bh
        out 70h, al
        mov al, ah
        out 71h, al
        mov al, 0ch
        out 70h, al
        in al, 71h
        xor bx, bx
        mov edi, 20000000       ; at 50 million instructions a second
.next:  in al, 71h
        test al, 40h
        jz .no
        mov bl, 1
.no:    test al, 10h
        jz .on
        cmp bh, 1               ; the second one: a whole second has been looked at
        je .end
        mov bh, 1
.on:    test ah, 40h            ; with PIE PF is enough
        jz .more
        test bl, bl
        jnz .end
.more:  dec edi
        jnz .next
.end:   ret
ASM
expect Bochs "$(bochs corei7_haswell_4770)" "00 00 01"
expect QEMU "$(qemu)" "00 01 01"
exit $changed
