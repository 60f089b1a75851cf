; A boot sector for a test guest on a PC without Corbel: sector 1 is where the guest's bzImage begins. It leaves what
; Corbel's loader would: the image at 1 MiB, the E820 map in boot_params, ACPI's ports at 600h.
bits 16
org 0x7c00

BOOT_PARAMS equ 0x8000
E820_COUNT  equ BOOT_PARAMS + 0x1e8
E820_TABLE  equ BOOT_PARAMS + 0x2d0
STAGING     equ 0x10000                 ; real mode's disk reads cannot reach 1 MiB
IMAGE       equ 0x100000
CHUNK       equ 64                      ; sectors per read
CHUNKS      equ 8

start:
        jmp     0:.here
.here:  cli
        cld
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     [drive], dl
        mov     di, BOOT_PARAMS
        mov     cx, 2048
        rep     stosw

        mov     di, E820_TABLE
        xor     ebx, ebx
.range: mov     eax, 0xe820
        mov     edx, 0x534d4150         ; "SMAP"
        mov     ecx, 20
        int     0x15
        jc      .read
        inc     byte [E820_COUNT]
        add     di, 20
        test    ebx, ebx
        jnz     .range

.read:  mov     ah, 0x42                ; extended read
        mov     dl, [drive]
        mov     si, packet
        int     0x13
        jc      .stop
        add     word [packet.segment], CHUNK * 512 / 16
        add     dword [packet.sector], CHUNK
        dec     byte [left]
        jnz     .read

        in      al, 0x92                ; A20
        or      al, 2
        and     al, ~1
        out     0x92, al
        mov     eax, 0x80000b40         ; the PIIX4's third function: where its power management has its ports
        mov     ebx, 0x601
        call    pci_write
        mov     eax, 0x80000b80
        mov     ebx, 1                  ; and that they are on
        call    pci_write
        cli
        lgdt    [pointer]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:protected
.stop:  hlt
        jmp     .stop

pci_write:
        mov     dx, 0xcf8
        out     dx, eax
        mov     dx, 0xcfc
        mov     eax, ebx
        out     dx, eax
        ret

bits 32
protected:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esi, STAGING
        mov     edi, IMAGE
        mov     ecx, CHUNKS * CHUNK * 512 / 4
        rep     movsd
        mov     esi, BOOT_PARAMS
        mov     eax, IMAGE              ; the 32-bit entry
        jmp     eax

align 4
packet: db      16, 0
        dw      CHUNK, 0
.segment:
        dw      STAGING / 16
.sector:
        dq      3                       ; behind this one and the guest's two setup sectors
drive:  db      0
left:   db      CHUNKS
pointer:
        dw      23
        dd      gdt
align 8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff

        times 510 - ($ - $$) db 0
        dw      0xaa55
