; The microkernel inside the loader's file, so that one file (and one signature) is the whole.
section .data
global kernel_elf:data hidden
global kernel_elf_end:data hidden
align 16
kernel_elf:
    incbin  KERNEL
kernel_elf_end:

section .note.GNU-stack noalloc noexec nowrite progbits
