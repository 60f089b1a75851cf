; What a start-up IPI finds: copied to a page below 1 MiB, it writes the registers down as they are, behind itself, in
; the order of struct found in smp_reset.c.
global look, look_end, look_found

bits 16
section .text
look:
        mov     [cs:f_gpr], eax
        mov     [cs:f_gpr + 4], ecx
        mov     [cs:f_gpr + 8], edx
        mov     [cs:f_gpr + 12], ebx
        mov     [cs:f_gpr + 16], esp
        mov     [cs:f_gpr + 20], ebp
        mov     [cs:f_gpr + 24], esi
        mov     [cs:f_gpr + 28], edi
        mov     [cs:f_selector], ds
        mov     [cs:f_selector + 2], es
        mov     [cs:f_selector + 4], fs
        mov     [cs:f_selector + 6], gs
        mov     [cs:f_selector + 8], ss
        mov     ax, cs
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0xff0
        pushfd
        pop     dword [f_eflags]
        o32 sgdt [f_gdtr]
        o32 sidt [f_idtr]
        mov     eax, cr0
        mov     [f_cr], eax
        mov     eax, cr2
        mov     [f_cr + 4], eax
        mov     eax, cr3
        mov     [f_cr + 8], eax
        mov     eax, cr4
        mov     [f_cr + 12], eax
        mov     eax, dr0
        mov     [f_dr], eax
        mov     eax, dr1
        mov     [f_dr + 4], eax
        mov     eax, dr2
        mov     [f_dr + 8], eax
        mov     eax, dr3
        mov     [f_dr + 12], eax
        mov     eax, dr6
        mov     [f_dr + 16], eax
        mov     eax, dr7
        mov     [f_dr + 20], eax
        mov     si, msrs - look
        mov     di, f_msr
.next:  mov     ecx, [si]
        rdmsr
        mov     [di], eax
        mov     [di + 4], edx
        add     si, 4
        add     di, 8
        cmp     si, msrs_end - look
        jb      .next
        o32 fnstenv [f_x87]
        mov     eax, cr4
        or      eax, 0x200              ; OSFXSR
        mov     cr4, eax
        stmxcsr [f_mxcsr]
        movups  [f_xmm], xmm3
        mov     eax, 1
        cpuid
        bt      ecx, 26                 ; XSAVE
        jnc     .done
        mov     eax, cr4
        or      eax, 0x40000            ; OSXSAVE
        mov     cr4, eax
        xor     ecx, ecx
        xgetbv
        mov     [f_xcr0], eax
.done:  mov     dword [f_there], 1
.stop:  cli
        hlt
        jmp     .stop
align 4
msrs:   dd      0x1b, 0x174, 0x175, 0x176, 0x277, 0x1d9, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102
        dd      0x2ff, 0x3b, 0x10
msrs_end:
align 16
found_at:
found       equ     found_at - look
f_there     equ     found
f_eflags    equ     found + 4
f_gpr       equ     found + 8
f_cr        equ     found + 40
f_dr        equ     found + 56
f_selector  equ     found + 80
f_gdtr      equ     found + 90
f_idtr      equ     found + 96
f_x87       equ     found + 102
f_mxcsr     equ     found + 130
f_xmm       equ     found + 134
f_xcr0      equ     found + 150
f_msr       equ     found + 154
        times   154 + 14 * 8 db 0
look_end:

bits 64
section .rodata
look_found:
        dd      found
