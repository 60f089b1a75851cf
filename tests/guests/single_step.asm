; Instructions to be stepped over, and where each ends.
bits 64
default rel
global step_run, step_marks, step_count, step_hypercall

%macro mark 0
%%at:
[section .rodata]
        dd      %%at - step_run
__?SECT?__
%endmacro

section .rodata
align 8
step_marks:
section .text
step_run:
        push    rbx
        pushfq
        or      qword [rsp], 0x100
        popfq
        nop
        mark
        xor     eax, eax
        mark
        xor     ecx, ecx
        mark
        cpuid
        mark
        mov     ecx, 0x2ff               ; IA32_MTRR_DEF_TYPE
        mark
        rdmsr
        mark
        wrmsr
        mark
        out     0x80, al
        mark
        in      al, 0x80
        mark
        mov     eax, 0x1234
        mark
step_hypercall:
        vmcall
        mark
        wbinvd
        mark
        mov     edi, 0xfec00000
        mark
        mov     eax, [rdi]
        mark
        mov     [rdi], eax
        mark
        mov     rax, cr0
        mark
        mov     cr0, rax
        mark
        mov     rax, cr4
        mark
        mov     cr4, rax
        mark
        rdtsc
        mark
        pushfq
        mark
        and     qword [rsp], ~0x100
        mark
        popfq
        lea     rax, [step_run]
        pop     rbx
        ret
section .rodata
align 8
step_end:
step_count:
        dq      (step_end - step_marks) / 4
