; Copied to 30000h and run there: string I/O in real mode. offset_wrap_run(what), below 1 MiB, carries out entry `what` of
; the table with the registers of real_input and leaves them in real_output; real_vector is the exception's, or -1.
bits 64
LOW equ 0x30000
%define at(label) (LOW + label - wrap_code)
global wrap_code, wrap_end, wrap_input, wrap_output

section .data
align 16
wrap_code:
        push    rbx
        push    rbp
        mov     [at(saved_rsp)], rsp
        sgdt    [at(saved_gdt)]
        sidt    [at(saved_idt)]
        mov     ebp, edi                ; which
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
        mov     eax, cr0
        and     eax, 0x7fffffff
        mov     cr0, eax
        mov     ecx, 0xc0000080
        rdmsr
        and     eax, ~0x100
        wrmsr                           ; LME off
        jmp     0x18:(sixteen - wrap_code)

bits 16
sixteen:
        mov     ax, 0x20
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     (LOW >> 4):(.real - wrap_code)
.real:  mov     ax, LOW >> 4
        mov     ss, ax
        mov     sp, 0x8000
        xor     ax, ax
        mov     ds, ax
        push    dword [13 * 4]
        push    dword [12 * 4]
        mov     word [13 * 4], fault13 - wrap_code
        mov     word [13 * 4 + 2], LOW >> 4
        mov     word [12 * 4], fault12 - wrap_code
        mov     word [12 * 4 + 2], LOW >> 4
        mov     word [cs:wrap_vector - wrap_code], -1
        mov     [cs:resume_sp - wrap_code], sp
        mov     esi, [cs:wrap_input - wrap_code]
        mov     edi, [cs:wrap_input + 4 - wrap_code]
        mov     ecx, [cs:wrap_input + 8 - wrap_code]
        mov     edx, [cs:wrap_input + 12 - wrap_code]
        mov     ax, [cs:wrap_input + 16 - wrap_code]
        mov     es, ax
        mov     ax, [cs:wrap_input + 18 - wrap_code]
        mov     ds, ax
        add     bp, bp
        jmp     [cs:bp + table - wrap_code]
done:
        cld
        mov     [cs:wrap_output - wrap_code], esi
        mov     [cs:wrap_output + 4 - wrap_code], edi
        mov     [cs:wrap_output + 8 - wrap_code], ecx
        xor     ax, ax
        mov     ds, ax
        pop     dword [12 * 4]
        pop     dword [13 * 4]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 8:at(protected_again)

do_outsb:
        rep     outsb
        jmp     done
do_insb:
        rep     insb
        jmp     done
do_std_outsb:
        std
        rep     outsb
        jmp     done
do_std_insb:
        std
        rep     insb
        jmp     done
do_outsd:
        rep     outsd
        jmp     done
do_insw:
        rep     insw
        jmp     done
do_es_outsb:
        es rep  outsb
        jmp     done
do_a32_outsb:
        a32 rep outsb
        jmp     done
do_ss_outsw:
        ss rep  outsw
        jmp     done
do_outsw:
        rep     outsw
        jmp     done

fault13:
        mov     word [cs:wrap_vector - wrap_code], 13
        jmp     faulted
fault12:
        mov     word [cs:wrap_vector - wrap_code], 12
faulted:
        mov     sp, [cs:resume_sp - wrap_code]
        jmp     done

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
        movsx   eax, word [at(wrap_vector)]
        pop     rbp
        pop     rbx
        pop     rcx
        push    0x10
        push    rcx
        retfq

align 8
table:  dw      do_outsb - wrap_code, do_insb - wrap_code, do_std_outsb - wrap_code, do_std_insb - wrap_code
        dw      do_outsd - wrap_code, do_insw - wrap_code, do_es_outsb - wrap_code, do_a32_outsb - wrap_code
        dw      do_ss_outsw - wrap_code, do_outsw - wrap_code
wrap_vector:
        dw      0
resume_sp:
        dw      0
align 8
wrap_input:
        dd      0, 0, 0, 0              ; ESI, EDI, ECX, EDX
        dw      0, 0                    ; ES, DS
align 8
wrap_output:
        dd      0, 0, 0                 ; ESI, EDI, ECX
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
wrap_end:
