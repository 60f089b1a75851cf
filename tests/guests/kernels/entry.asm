; Entries of 32-bit kernels: by Multiboot (with -DFLAGS=..., the header's), by Multiboot 2 (with -DMULTIBOOT2), by Linux' 32-bit
; boot protocol (with -DLINUX), or else by PVH.
bits 32

extern image_start, data_end, bss_end, told_by_multiboot, told_by_multiboot2, told_by_linux, told_by_start_info

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
%elifdef MULTIBOOT2
global multiboot_entry
section .multiboot progbits alloc noexec nowrite align=8
header: dd      0xe85250d6, 0, header_end - header, -(0xe85250d6 + header_end - header)
        dw      1, 0                    ; asks for: command line, modules, memory map, screen, sections, RSDP, base
        dd      request_end - $ + 4, 1, 3, 6, 8, 9, 15, 21
request_end:
        align   8, db 0
        dw      3, 0                    ; entry
        dd      12, multiboot_entry, 0
        dw      5, 1                    ; a screen, if there is one
        dd      20, 800, 600, 32, 0
        dw      6, 0                    ; modules on pages
        dd      8
        dw      10, 0                   ; may lie elsewhere, and is there best where it was linked to
        dd      24, 0x100000, 0xffffffff, 4096, 0
        dw      0, 0
        dd      8
header_end:

section .text
multiboot_entry:
        mov     esp, stack_top
        push    ebx
        push    eax
        call    told_by_multiboot2
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
