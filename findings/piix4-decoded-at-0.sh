#!/bin/bash
# What: a reset of Bochs' machine sets the PIIX4's power-management base to 0 and leaves its ports decoded.
#
# The PIIX4's datasheet has both registers among what a hard reset restores: PMBA (40h) to 1, which is base 0, and
# PMREGMISC (80h), whose bit 0 has the ports decoded, to 0. In Bochs 2.7 only the first one is. Firmware that takes the
# bit for "somebody has set the base already" then reads its timer at port 8, where no timer is. OVMF does: it starts
# once in Bochs' machine, and after a reset of it never again. QEMU clears the bit.
#
# Here a ROM of 64 KiB stands for firmware: it prints both registers, sets them as firmware does (B001h, 01h), resets the
# machine by port CF9h and prints them again.
#
# Versions: Debian 12: Bochs 2.7+dfsg-4+deb12u1, QEMU 7.2+dfsg-7+deb12u18+b3, NASM 2.16.01-1.
# Expected before it was run: 01 00 both times.
# Seen: low byte of PMBA, PMREGMISC, after power-on and after the reset:
#   Bochs: 01 00 01 01
#   QEMU: 01 00 01 00
. "$(dirname "$0")/lib/debian"
packages bookworm $BOCHS27 $QEMU72 $NASM
cat > "$t/root/rom.asm" << 'ASM'
        bits 16
        org 0
start:  cli
        cld
        mov al, 50h             ; a byte of the RTC's memory: has this been here before
        out 70h, al
        in al, 71h
        mov bl, al
        cmp bl, 0a5h
        je .show
        mov al, '<'
        out 0e9h, al
.show:  mov si, .pmba
        mov al, 40h
        jmp config
.pmba:  in al, dx
        mov di, .space
        jmp hex
.space: mov al, ' '
        out 0e9h, al
        mov si, .misc
        mov al, 80h
        jmp config
.misc:  in al, dx
        mov di, .shown
        jmp hex
.shown: cmp bl, 0a5h
        je done
        mov al, ' '
        out 0e9h, al
        mov al, 50h
        out 70h, al
        mov al, 0a5h
        out 71h, al
        mov si, .set
        mov al, 40h
        jmp config
.set:   mov eax, 0b001h
        out dx, eax
        mov si, .on
        mov al, 80h
        jmp config
.on:    mov al, 1
        out dx, al
        mov dx, 0cf9h
        mov al, 2
        out dx, al
        mov al, 6
        out dx, al
        hlt
done:   mov al, '>'
        out 0e9h, al
        mov si, .end
        mov dx, 8900h           ; Bochs ends
.next:  cs lodsb
        out dx, al
        test al, al
        jnz .next
        mov dx, 0f4h            ; QEMU ends
        out dx, al
        hlt
.end:   db "Shutdown", 0
config: movzx eax, al           ; register AL of function 0:1.3: DX is its port; on to SI
        or eax, 80000b00h
        mov dx, 0cf8h
        out dx, eax
        mov dx, 0cfch
        jmp si
hex:    mov ah, al              ; prints AL; on to DI
        shr al, 4
        add al, 90h
        daa
        adc al, 40h
        daa
        out 0e9h, al
        mov al, ah
        and al, 15
        add al, 90h
        daa
        adc al, 40h
        daa
        out 0e9h, al
        jmp di
        times 0fff0h - ($ - $$) db 0
        jmp 0f000h:start
        times 10000h - ($ - $$) db 0
ASM
SLOT='' inside /usr/bin/nasm -f bin -o /rom.bin /rom.asm
truncate -s 1474560 "$t/root/b.img"
cp --remove-destination "$t/root/rom.bin" "$t/root/usr/share/bochs/BIOS-bochs-latest"
cp --remove-destination "$t/root/rom.bin" "$t/root/usr/share/seabios/bios-256k.bin"
expect Bochs "$(bochs corei7_haswell_4770)" "01 00 01 01"
expect QEMU "$(qemu)" "01 00 01 00"
exit $changed
