; All general registers but RSP: loaded, taken through one exit, stored.
bits 64
default rel
global registers_run
extern registers_before, registers_after        ; fifteen each

%macro each 1
        %1      rax, 0
        %1      rcx, 1
        %1      rdx, 2
        %1      rbx, 3
        %1      rbp, 4
        %1      rsi, 5
        %1      r8, 6
        %1      r9, 7
        %1      r10, 8
        %1      r11, 9
        %1      r12, 10
        %1      r13, 11
        %1      r14, 12
        %1      r15, 13
        %1      rdi, 14
%endmacro
%macro load 2
        mov     %1, [registers_before + 8 * %2]
%endmacro
%macro store 2
        mov     [registers_after + 8 * %2], %1
%endmacro

section .bss
how:    resd    1

section .text
; void registers_run(unsigned how): 0 OUT, 1 a store to the I/O APIC, 2 WBINVD
registers_run:
        push    rbx
        push    rbp
        push    r12
        push    r13
        push    r14
        push    r15
        mov     [how], edi
        each    load
        cmp     dword [how], 1
        je      .memory
        ja      .cache
        out     0x80, al
        jmp     .done
.memory:
        mov     [abs qword 0xfec00000], al
        jmp     .done
.cache:
        wbinvd
.done:
        each    store
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret
