; The test guests' first instructions and exception entries.
bits 64
default rel

extern entry32, runtime_start, runtime_trap, bss_start, bss_end
global entry, trap_stubs, stack_top, boot_gdt, gdt_end, tss, ist_nmi_top, ist_df_top

section .head progbits alloc exec write
        jmp     strict near entry32     ; the 32-bit entry, which bios.asm takes
        times 0x200 - ($ - $$) int3
entry:
        cli
        cld
        mov     rbx, rsi                ; boot_params
        mov     rdi, bss_start
        mov     rcx, bss_end
        sub     rcx, rdi
        xor     eax, eax
        rep     stosb
        lea     rsp, [stack_top]
        lgdt    [gdt_pointer]
        mov     rax, tss                ; the TSS descriptor's base is split over its fields
        mov     [boot_gdt + 0x30 + 2], ax
        shr     rax, 16
        mov     [boot_gdt + 0x30 + 4], al
        mov     [boot_gdt + 0x30 + 7], ah
        mov     eax, 0x18
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        push    0x10
        lea     rax, [.reloaded]
        push    rax
        retfq
.reloaded:
        lea     rax, [ist_nmi_top]
        mov     [tss + 0x24], rax       ; IST1
        lea     rax, [ist_df_top]
        mov     [tss + 0x2c], rax       ; IST2
        lea     rax, [stack_top]
        mov     [tss + 4], rax          ; RSP0, for tests that go to ring 3
        mov     word [tss + 0x66], 0x68 ; no I/O bitmap
        mov     eax, 0x30
        ltr     ax
        mov     rax, cr0
        and     eax, ~4                 ; EM
        or      eax, 2                  ; MP
        mov     cr0, rax
        mov     rax, cr4
        or      eax, 0x600              ; OSFXSR, OSXMMEXCPT
        mov     cr4, rax
        mov     rdi, rbx
        call    runtime_start
.stop:  cli
        hlt
        jmp     .stop

section .data
align 16
gdt_pointer:
        dw      gdt_end - boot_gdt - 1
        dq      boot_gdt
align 16
boot_gdt:
        dq      0, 0
        dq      0x00af9b000000ffff      ; 10h: 64-bit code
        dq      0x00cf93000000ffff      ; 18h: data
        dq      0x00cffb000000ffff      ; 20h: 32-bit code, ring 3
        dq      0x00cff3000000ffff      ; 28h: data, ring 3
        dq      0x0000890000000067, 0   ; 30h: TSS
        dq      0x00affb000000ffff      ; 40h: 64-bit code, ring 3
        dq      0x00cf9b000000ffff      ; 48h: 32-bit code
        dq      0x008f9b000000ffff      ; 50h: 16-bit code
        dq      0x000093000000ffff      ; 58h: 16-bit data, limit 64 KiB
        dq      0x00af9f000000ffff      ; 60h: 64-bit code, conforming
        dq      0x00af1b000000ffff      ; 68h: 64-bit code, not present
gdt_end:

section .text
; Each stub pushes an error code where the processor does not, and its vector. 16 bytes apart.
align 16
trap_stubs:
%assign v 0
%rep 256
align 16
%if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21
%else
        push    qword 0
%endif
        push    qword v
        jmp     near trap_common
%assign v v+1
%endrep

trap_common:
        push    rax
        push    rcx
        push    rdx
        push    rbx
        push    rbp
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        mov     rdi, rsp
        mov     rbp, rsp
        and     rsp, ~15
        cld
        call    runtime_trap
        mov     rsp, rbp
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rbp
        pop     rbx
        pop     rdx
        pop     rcx
        pop     rax
        add     rsp, 16
        iretq

section .bss
alignb 16
tss:    resb 0x68
alignb 4096
        resb 8192
ist_nmi_top:
        resb 8192
ist_df_top:
        resb 16384
stack_top:
