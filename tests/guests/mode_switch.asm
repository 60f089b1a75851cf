; Copied to 20000h and run there, because real mode reaches no further than 1 MiB.
bits 64
LOW equ 0x20000
%define at(label) (LOW + label - modes_code)
global modes_code, modes_end

section .data
align 16
modes_code:
        push    rbx
        push    rbp
        mov     [at(saved_rsp)], rsp
        sgdt    [at(saved_gdt)]
        sidt    [at(saved_idt)]
        xor     ebp, ebp                ; what was seen
        lgdt    [at(gdt_pointer)]
        lidt    [at(real_idt)]
        push    8
        push    at(compatibility)
        retfq

bits 32
compatibility:
        mov     eax, 0x10
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, LOW + 0x8000
        mov     ecx, 0xc0000080
        rdmsr
        test    eax, 0x400
        jz      .paging_off
        or      ebp, 16
.paging_off:
        mov     eax, cr0
        and     eax, 0x7fffffff
        mov     cr0, eax
        mov     ecx, 0xc0000080
        rdmsr
        test    eax, 0x400
        jnz     .protected
        or      ebp, 2
.protected:
        and     eax, ~0x100
        wrmsr                           ; LME off
        xor     eax, eax
        cpuid
        cmp     ebx, 0x756e6547         ; "Genu"
        jne     .real
        or      ebp, 1
.real:  jmp     0x18:(sixteen - modes_code)

bits 16
sixteen:
        mov     ax, 0x20
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     (LOW >> 4):(.real - modes_code)
.real:  mov     ax, LOW >> 4
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x8000
        cmp     word [marker - modes_code], 0x1234
        jne     .vector
        or      ebp, 4
.vector:
        ; vector 60h of the real-mode IDT at 0
        push    ds
        xor     ax, ax
        mov     ds, ax
        push    dword [0x60 * 4]
        mov     word [0x60 * 4], interrupt - modes_code
        mov     word [0x60 * 4 + 2], LOW >> 4
        int     0x60
        pop     dword [0x60 * 4]
        pop     ds
        ; exits: a port that keeps a byte, and CPUID
        mov     dx, 0x3ff
        mov     al, 0x5a
        out     dx, al
        xor     eax, eax
        cpuid
        cmp     ebx, 0x756e6547         ; "Genu"
        jne     .back
        mov     dx, 0x3ff
        in      al, dx
        cmp     al, 0x5a
        jne     .back
        or      ebp, 8
.back:  mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 8:at(protected_again)
interrupt:
        or      ebp, 32
        iret

bits 32
protected_again:
        mov     eax, 0x10
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     ecx, 0xc0000080
        rdmsr
        or      eax, 0x100
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax
        jmp     0x28:at(long_again)

bits 64
long_again:
        mov     rsp, [at(saved_rsp)]
        lgdt    [at(saved_gdt)]
        lidt    [at(saved_idt)]
        mov     eax, 0x18
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     eax, ebp
        pop     rbp
        pop     rbx
        pop     rcx
        push    0x10
        push    rcx
        retfq

marker: dw      0x1234
align 8
saved_rsp:
        dq      0
saved_gdt:
        dw      0
        dq      0
saved_idt:
        dw      0
        dq      0
real_idt:
        dw      0x3ff
        dq      0
gdt_pointer:
        dw      gdt_end - gdt - 1
        dq      at(gdt)
align 8
gdt:    dq      0
        dq      0x00cf9b000000ffff      ; 08h: 32-bit code
        dq      0x00cf93000000ffff      ; 10h: data
        dq      0x00009b000000ffff | (LOW << 16) ; 18h: 16-bit code at LOW
        dq      0x000093000000ffff | (LOW << 16) ; 20h: 16-bit data at LOW
        dq      0x00af9b000000ffff      ; 28h: 64-bit code
gdt_end:
modes_end:
