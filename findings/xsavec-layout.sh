#!/bin/bash
# What: Bochs 2.7's XSAVEC puts the high halves of the YMM registers into the legacy region instead of behind the header.
#
# In the compacted format the first extended component begins at byte 576, behind 512 bytes of FXSAVE's and 64 of the header
# (SDM Vol. 1, "Extended Region of an XSAVE Area"). Bochs counts as if the legacy region were itself made of components:
# with AVX alone it writes them at 160, where XMM0 belongs, with x87 and SSE asked for, too, at 416, from where 256 bytes
# reach over the header. XCOMP_BV, which names the components of the image, is right. So is XSAVE's standard format, so that
# only models with XSAVEC show it (Skylake-X and later).
#
# Versions: Debian 12: Bochs 2.7+dfsg-4+deb12u1 (cpu: model=corei7_skylake_x), NASM 2.16.01-1.
# Expected before it was run: 0240 three times, then 04 80.
# Seen: AVX's place in the standard format by CPUID.(0Dh,2):EBX, XSAVEC's with RFBM 4 and with 7, the lowest byte and the
# highest of XCOMP_BV after the one with RFBM 4:
#   Bochs: 0240 00A0 01A0 04 80
. "$(dirname "$0")/lib/debian"
packages bookworm $BOCHS27 $NASM
boot_sector << 'ASM'
        mov eax, cr4            ; OSXSAVE, OSFXSR
        or eax, 40200h
        mov cr4, eax
        mov eax, cr0            ; neither EM nor TS
        and al, 0f3h
        mov cr0, eax
        fninit
        xor ecx, ecx
        xor edx, edx
        mov eax, 7              ; x87, SSE, AVX
        xsetbv
        mov di, 8000h
        mov cx, 1800h
        xor ax, ax
        rep stosw
        mov eax, 0dh
        mov cl, 2
        cpuid
        mov ax, bx
        call word_
        mov dword [8000h + 24], 1f80h           ; a standard image: YMM0's high half begins with 5Ah
        mov byte [8000h + 512], 4
        mov byte [8000h + ebx], 5ah
        xor edx, edx
        mov eax, 7
        xrstor [8000h]
        mov eax, 4
        xsavec [9000h]
        mov si, 9000h
        call where
        mov eax, 7
        xsavec [0a000h]
        mov si, 0a000h
        call where
        mov al, [9000h + 520]
        call hex
        mov al, ' '
        out 0e9h, al
        mov al, [9000h + 527]
        call hex
        jmp done
where:  mov di, si
.next:  cmp byte [si], 5ah
        je .here
        inc si
        jmp .next
.here:  mov ax, si
        sub ax, di
word_:  push ax
        mov al, ah
        call hex
        pop ax
        call hex
        mov al, ' '
        out 0e9h, al
        ret
ASM
expect Bochs "$(bochs corei7_skylake_x)" "0240 00A0 01A0 04 80"
exit $changed
