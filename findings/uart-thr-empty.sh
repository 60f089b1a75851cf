#!/bin/bash
# What: Bochs 2.7's 16550A interrupts once, and never again, when the handler answers each "transmitter holding register
# empty" with the next byte and does not read the interrupt identification register (IIR).
#
# The NS16550A's data sheet has two ways to take back that interrupt: reading IIR, or writing the transmitter holding
# register. So each byte that has left is a new edge on IRQ 4. QEMU's device does that; in Bochs only the read counts: the
# line stays high, the edge-triggered 8259 sees no second edge, and the driver's queue stands still after one byte.
#
# Versions: Debian 12: Bochs 2.7+dfsg-4+deb12u1, QEMU 7.2+dfsg-7+deb12u18+b3, NASM 2.16.01-1.
# Expected before it was run: 14 (20 bytes, hexadecimal) in both.
# Seen: interrupts for 20 bytes, LSR, IIR:
#   Bochs: 01 60 02
#   QEMU: 14 60 02
. "$(dirname "$0")/lib/debian"
packages bookworm $BOCHS27 $QEMU72 $NASM
boot_sector << 'ASM'
        mov word [0ch * 4], irq
        mov [0ch * 4 + 2], es
        mov al, 0efh            ; IRQ 4 alone
        out 21h, al
        mov dx, 3fbh            ; 115200 baud, 8N1
        mov al, 83h
        out dx, al
        mov dx, 3f8h
        mov al, 1
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        mov dx, 3fbh
        mov al, 3
        out dx, al
        inc dx                  ; DTR, RTS, OUT2
        mov al, 0bh
        out dx, al
        mov dx, 3fah            ; nothing pends
        in al, dx
        mov dx, 3f9h            ; interrupt on an empty holding register
        mov al, 2
        out dx, al
        sti
        mov ecx, 3000000
.wait:  in al, 84h
        dec ecx
        jnz .wait
        cli
        mov al, [count]
        call hex
        mov al, ' '
        out 0e9h, al
        mov dx, 3fdh
        in al, dx
        call hex
        mov al, ' '
        out 0e9h, al
        mov dx, 3fah
        in al, dx
        call hex
        jmp done
irq:    push ax
        push dx
        cmp byte [count], 20
        jae .last
        inc byte [count]
        mov dx, 3f8h
        mov al, 'x'
        out dx, al
.last:  mov al, 20h
        out 20h, al
        pop dx
        pop ax
        iret
count:  db 0
ASM
expect Bochs "$(bochs corei7_haswell_4770)" "01 60 02"
expect QEMU "$(qemu)" "14 60 02"
exit $changed
