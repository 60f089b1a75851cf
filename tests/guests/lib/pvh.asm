; A second way in, by the PVH note that QEMU's -kernel understands: a test guest can so be run on QEMU's own processor
; model, to tell a wrong test from a wrong hypervisor. Sets up what Corbel's loader would, and goes to the same entry; so
; does the bzImage's 32-bit entry, with boot_params at ESI.
bits 32

extern entry
global entry32
section .note.pvh progbits alloc noexec nowrite align=4
        dd      4, 4, 18                ; name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
        db      "Xen", 0
        dd      pvh_entry

section .text
pvh_entry:
        mov     esi, 0x8000             ; boot_params: none, but for the command line
        mov     eax, [ebx + 24]         ; hvm_start_info.cmdline_paddr
        mov     [esi + 0x228], eax
entry32:
        cli
        mov     edi, 0x2000             ; PML4, PDPT, four page directories
        mov     ecx, 6 * 1024
        xor     eax, eax
        rep     stosd
        mov     dword [0x2000], 0x3003
        mov     dword [0x3000], 0x4003
        mov     dword [0x3008], 0x5003
        mov     dword [0x3010], 0x6003
        mov     dword [0x3018], 0x7003
        mov     edi, 0x4000
        mov     eax, 0x83
        mov     ecx, 2048
.page:  mov     [edi], eax
        add     edi, 8
        add     eax, 0x200000
        loop    .page
        mov     eax, 0x20
        mov     cr4, eax
        mov     eax, 0x2000
        mov     cr3, eax
        mov     ecx, 0xc0000080
        rdmsr
        or      eax, 0x100
        wrmsr
        mov     eax, 0x80010031
        mov     cr0, eax
        lgdt    [pointer]
        jmp     0x10:entry

section .data
pointer:
        dw      31
        dd      gdt
align 8
gdt:    dq      0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
