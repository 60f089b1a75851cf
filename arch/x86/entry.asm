; The microkernel's first instruction, on the boot processor: the loader's page tables, interrupts off, RDI the
; direct-map address of struct handover. The stack that it takes stays the boot processor's for good; the page below
; it is taken out of the map by space_init().

default rel
bits 64

global kernel_entry
global boot_stack_guard
global boot_stack_base
global boot_stack_top
extern kernel_start

section .text.entry progbits alloc exec nowrite align=16
kernel_entry:
        cli
        cld
        mov     rsp, boot_stack_top
        xor     ebp, ebp                ; backtraces end here
        push    rbp
        push    rbp
        call    kernel_start
.stop:
        hlt
        jmp     .stop

section .bss.stack nobits alloc noexec write align=4096
boot_stack_guard:
        resb    4096
boot_stack_base:
        resb    16384
boot_stack_top:

section .note.GNU-stack noalloc noexec nowrite progbits
