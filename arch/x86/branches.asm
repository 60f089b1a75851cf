; Room for the code that indirect branches go by where a processor asks for it: branches.h.

%include "offsets.inc"

global branch_stubs

section .text.branch_stubs progbits alloc exec nowrite align=64
branch_stubs:
        times   STUBS_SIZE db 0xcc

section .note.GNU-stack noalloc noexec nowrite progbits
