#!/bin/bash
# What: in Bochs 2.7 an 8259's interrupts reach the processor although its local APIC's LINT0 is masked.
#
# With the local APIC on, INTR arrives by its LINT0 pin, and the entry of the local vector table (350h) has a mask bit.
# QEMU honours it. In Bochs the register takes the bit and reads it back, and the timer ticks on: the 8259 is wired to the
# processor past its APIC. A kernel that masks LINT0 instead of the 8259, or that tests on which processor it is open,
# finds interrupts with vectors that it gave to nobody.
#
# Versions: Debian 12: Bochs 2.7+dfsg-4+deb12u1, QEMU 7.2+dfsg-7+deb12u18+b3, NASM 2.16.01-1.
# Expected before it was run: ticks of the 8254 with LINT0 open, none with LINT0 masked, in both.
# Seen: does it tick with LINT0 open (1: yes), does it with LINT0 masked, the mask bit as it reads then:
#   Bochs: 01 01 01
#   QEMU: 01 00 01
. "$(dirname "$0")/lib/debian"
packages bookworm $BOCHS27 $QEMU72 $NASM
boot_sector << 'ASM'
        mov word [8 * 4], irq
        mov [8 * 4 + 2], es
        mov al, 0feh            ; IRQ 0 alone
        out 21h, al
        lgdt [gdtr]             ; FS reaches 4 GiB
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp $ + 2
        mov bx, 8
        mov fs, bx
        and al, 0feh
        mov cr0, eax
        mov ebx, 0fee00000h
        mov dword [fs:ebx + 0f0h], 1ffh         ; the APIC is on
        mov dword [fs:ebx + 350h], 700h         ; LINT0: ExtINT
        call ticks
        mov dword [fs:ebx + 350h], 10700h       ; the same, masked
        call ticks
        mov eax, [fs:ebx + 350h]
        shr eax, 16
        call hex
        jmp done
ticks:  mov byte [count], 0
        mov ecx, 4000000
        sti
.wait:  in al, 84h
        cmp byte [count], 4     ; one may have been on its way
        jae .seen
        dec ecx
        jnz .wait
.seen:  cli
        mov al, [count]
        shr al, 2
        call hex
        mov al, ' '
        out 0e9h, al
        ret
irq:    push ax
        inc byte [count]
        mov al, 20h
        out 20h, al
        pop ax
        iret
count:  db 0
gdtr:   dw 15
        dd gdt
gdt:    dq 0, 0cf92000000ffffh
ASM
expect Bochs "$(bochs corei7_haswell_4770)" "01 01 01"
expect QEMU "$(qemu)" "01 00 01"
exit $changed
