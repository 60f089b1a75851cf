; Entries of 32-bit kernels: by Multiboot (with -DFLAGS=..., the header's), by Linux' 32-bit boot protocol (with -DLINUX), or
; else by PVH.
bits 32

extern image_start, data_end, bss_end, told_by_multiboot, told_by_linux, told_by_start_info

%ifdef FLAGS
global multiboot_entry
section .multiboot progbits alloc noexec nowrite align=4
header: dd      0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
        dd      header, image_start, data_end, bss_end, multiboot_entry

section .text
multiboot_entry:
        mov     esp, stack_top
        push    ebx
        push    eax
        call    told_by_multiboot
%elifdef LINUX
global linux_entry
section .multiboot progbits alloc exec nowrite align=4 ; the image's first byte
linux_entry:
        mov     esp, stack_top
        push    edi
        push    ebp
        push    ebx
        push    esi
        call    told_by_linux
%else
global pvh_entry
section .note.pvh progbits alloc noexec nowrite align=4
        dd      4, 4, 18                ; name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
        db      "Xen", 0
        dd      pvh_entry

section .text
pvh_entry:
        mov     esp, stack_top
        push    ebx
        call    told_by_start_info
%endif

section .bss
        resb    8192
stack_top:
