; Code that is far-called in segments of other sizes, and that exits there.
bits 64
global far_call, far_result, code_64, code_32, code_16

section .bss
far_result:
        resd 1

section .text
far_call:                               ; edi selector, rsi code
        push    rbx
        push    rbp
        mov     [target], esi
        mov     [target + 4], di
        call far dword [target]
        mov     eax, 0x18
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        pop     rbp
        pop     rbx
        ret

code_64:
        xor     eax, eax
        cpuid
        mov     [far_result], eax
        retf

bits 32
code_32:
        mov     eax, 0x18
        mov     ds, eax
        xor     eax, eax
        cpuid
        mov     [far_result], eax
        retf

section .data
target: dd 0
        dw 0

; 16-bit code must lie below 64 KiB of its segment's base, which is 0: it is reached by a 32-bit offset all the same,
; as IP is 32 bits wide until the first near jump.
section .text
bits 16
code_16:
        mov     eax, 0x18
        mov     ds, eax
        xor     eax, eax
        cpuid
        mov     [dword far_result], eax
        o32 retf
