; The IDT's 256 entry points, 16 bytes apart: each pushes what struct trap_frame (trap.h) expects. CS, SS and GS base
; are root mode's already, since root mode has no lower privilege to come from.

default rel
bits 64

global interrupt_stubs
global trap_try_run
global trap_try_failed
extern trap_handle

section .text

; Exceptions that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP, and two of AMD's.
%define ERROR_CODES ((1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17) | (1 << 21) | (1 << 29) | (1 << 30))

        align   16
interrupt_stubs:
%assign vector 0
%rep 256
        align   16
%if vector >= 32 || ((ERROR_CODES >> vector) & 1) == 0
        push    0
%endif
        push    vector
        jmp     save_all
%assign vector vector + 1
%endrep

        align   16
save_all:
        push    rax
        push    rbx
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    rbp
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        cld
        mov     rdi, rsp                ; 16-byte aligned: the CPU aligned RSP, and 22 quadwords follow
        call    trap_handle
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rbp
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rbx
        pop     rax
        add     rsp, 16
        iretq

; bool trap_try_run(void (*fn)(void *), void *arg, uint64_t *recovery): *recovery holds the stack pointer to come back
; to while fn runs; trap_handle() sends an exception to trap_try_failed with it.
trap_try_run:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdx
        mov     [rdx], rsp
        mov     rax, rdi
        mov     rdi, rsi
        db      0x2e, 0x2e, 0x2e        ; room for another branch: arch/x86/branches.h
        call    rax
        mov     eax, 1
        jmp     done
trap_try_failed:
        xor     eax, eax
done:
        pop     rdx
        mov     qword [rdx], 0
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

section .note.GNU-stack noalloc noexec nowrite progbits
