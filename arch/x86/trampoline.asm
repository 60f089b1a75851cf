; Where a startup IPI sends a processor: real mode, CS:IP = page:0, nothing else known. The page is a copy of this code
; (trampoline.h); SDM, "Switching to Protected Mode" and "Initializing IA-32e Mode".

%include "offsets.inc"

global trampoline_begin
global trampoline_protected
global trampoline_long
global trampoline_gdt
global trampoline_gdt_end
global trampoline_data
global trampoline_end

%define DATA (trampoline_data - trampoline_begin)
%define CR0_PE  1
%define CR0_REST ((1 << 31) | (1 << 16) | (1 << 5))     ; PG, WP, NE
%define EFER 0xc0000080
%define EFER_LME_NXE ((1 << 8) | (1 << 11))

section .rodata.trampoline progbits alloc noexec nowrite align=16
trampoline_begin:
bits 16
        cli
        cld
        mov     ax, cs
        mov     ds, ax
        xor     ebx, ebx
        mov     bx, ax
        shl     ebx, 4                  ; the page's address
        xor     eax, eax
        xchg    eax, [DATA + TRAMPOLINE_TOKEN]  ; locked by itself
        test    eax, eax
        jz      .late
        o32 lgdt [DATA + TRAMPOLINE_GDT]
        mov     eax, cr0                ; CD and NW stay as they are: cpu_setup() writes back, then enables caches
        or      al, CR0_PE
        mov     cr0, eax
        jmp     far dword [DATA + TRAMPOLINE_PROTECTED]
.late:
        hlt
        jmp     .late

bits 32
trampoline_protected:
        mov     eax, TRAMPOLINE_DATA_SELECTOR
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     eax, [ebx + DATA + TRAMPOLINE_CR4]
        mov     cr4, eax
        mov     eax, [ebx + DATA + TRAMPOLINE_CR3]
        mov     cr3, eax
        mov     ecx, EFER
        mov     eax, EFER_LME_NXE       ; NXE before paging: the tables have NX bits
        xor     edx, edx
        wrmsr
        mov     eax, cr0
        or      eax, CR0_REST
        mov     cr0, eax
        jmp     far dword [ebx + DATA + TRAMPOLINE_LONG]

bits 64
trampoline_long:
        mov     ebx, ebx
        mov     rsp, [rbx + DATA + TRAMPOLINE_STACK]
        mov     rdi, [rbx + DATA + TRAMPOLINE_ARGUMENT]
        mov     rax, [rbx + DATA + TRAMPOLINE_ENTRY]
        xor     ebp, ebp                ; backtraces end here
        push    rbp
        jmp     rax

        ; All with the accessed bit set: the page is not writable.
        align   8
trampoline_gdt:
        dq      0
        dq      0x00cf9b000000ffff      ; 32-bit code
        dq      0x00cf93000000ffff      ; data
        dq      0x00af9b000000ffff      ; 64-bit code
trampoline_gdt_end:

        align   16
trampoline_data:
        times   TRAMPOLINE_DATA_SIZE db 0
trampoline_end:

section .note.GNU-stack noalloc noexec nowrite progbits
