; From the firmware's page tables to the microkernel's: copied to a page of its own, which the new tables map
; executable at its physical address.
bits 64
section .text

%define IA32_EFER     0xc0000080
%define EFER_NXE      (1 << 11)
%define CR0_WP        (1 << 16)
%define CR4_PGE       (1 << 7)

; switch_begin(rdi = struct handover, rsi = CR3, rdx = entry, rcx = stack top); does not return
global switch_begin:function hidden
global switch_end:function hidden
switch_begin:
    cli
    cld
    mov     r8, rdx
    mov     r9, rcx
    mov     ecx, IA32_EFER
    rdmsr
    or      eax, EFER_NXE
    wrmsr
    mov     rax, cr0
    or      rax, CR0_WP
    mov     rdx, cr4
    and     rdx, ~CR4_PGE           ; or translations marked global outlive the new CR3
    mov     cr4, rdx
    mov     cr3, rsi
    mov     cr0, rax                ; only now: firmware may rely on writing to read-only pages
    mov     rsp, r9
    xor     ebp, ebp
    push    rbp                     ; the return address that a called function expects
    jmp     r8
switch_end:

section .note.GNU-stack noalloc noexec nowrite progbits
