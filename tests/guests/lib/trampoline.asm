; Where a start-up IPI makes a processor begin: copied to a page below 1 MiB, it goes from real mode straight to 64-bit
; mode on the boot processor's page tables, and from there to C on a stack of its own.
%include "smp.inc"

extern smp_arrive
global trampoline, trampoline_end

bits 16
section .text
trampoline:
        cli
        cld
        mov     ax, cs
        mov     ds, ax
        o32 lgdt [pointer - trampoline]
        mov     eax, 0x620              ; PAE, OSFXSR, OSXMMEXCPT
        mov     cr4, eax
        mov     eax, 0x2000
        mov     cr3, eax
        mov     ecx, 0xc0000080
        rdmsr
        or      eax, 0x100              ; LME
        wrmsr
        mov     eax, 0x80010033         ; PG, WP, NE, ET, MP, PE
        mov     cr0, eax
        jmp     dword 0x10:arrive
align 8
pointer:
        dw      23
        dd      SMP_TRAMPOLINE + gdt - trampoline
align 8
gdt:    dq      0, 0, 0x00af9b000000ffff
trampoline_end:

bits 64
arrive:
        xor     eax, eax
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     eax, 1
        cpuid
        shr     ebx, 24
        mov     edi, ebx                ; its APIC id is also its number
        imul    eax, ebx, SMP_AREA_SIZE
        lea     rsp, [rax + SMP_AREAS + SMP_AREA_SIZE]
        xor     ebp, ebp
        call    smp_arrive
.stop:  cli
        hlt
        jmp     .stop
