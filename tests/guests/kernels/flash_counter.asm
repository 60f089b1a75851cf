; Firmware that counts its starts by what it leaves in its flash chip, which is a volume of variables as far as can be told
; by its header: says on COM1 how often it has been here, and powers off.
bits 16
org 0

ROM     equ 0xffff0000                  ; this file ends at 4 GiB
LEFT    equ ROM + 0x800                 ; of its bits one is cleared in each start

        dq      0, 0
        dd      0xfff12b8d              ; gEfiSystemNvDataFvGuid
        dw      0x7696, 0x4c8b
        db      0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50
        dq      0x1000                  ; bytes of the volume
        db      "_FVH"
        times 0x1000 - ($ - $$) db 0xff

gdt:    dq      0
        dq      0x00cf93000000ffff      ; data, all memory
.end:
gdtr:   dw      gdt.end - gdt - 1
        dd      ROM + gdt
text:   db      "flash_counter: start ", 0
newline: db     13, 10, 0

start:  cli
        o32 lgdt [cs:gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        mov     ax, 8
        mov     ds, ax
        mov     ss, ax
        mov     esp, 0x7000
        mov     bl, [dword LEFT]
        mov     esi, ROM + text
        call    say
        mov     al, bl
        mov     ah, '0'
.count: shr     al, 1
        jc      .counted
        inc     ah
        jmp     .count
.counted: call  put
        mov     esi, ROM + newline
        call    say
        mov     al, bl
        dec     al
        and     al, bl
        mov     byte [dword LEFT], 0x10 ; program a byte; then show bytes again
        mov     [dword LEFT], al
        mov     byte [dword LEFT], 0xff
.sent:  mov     dx, 0x3fd
        in      al, dx
        test    al, 0x40
        jz      .sent
        mov     dx, 0x604               ; PM1 control: S5
        mov     ax, 1 << 13
        out     dx, ax
        hlt

say:    mov     ah, [esi]
        inc     esi
        or      ah, ah
        jz      .end
        call    put
        jmp     say
.end:   ret

put:    mov     dx, 0x3fd
.wait:  in      al, dx
        test    al, 0x20
        jz      .wait
        mov     dx, 0x3f8
        mov     al, ah
        out     dx, al
        ret

        times 0xfff0 - ($ - $$) db 0
        jmp     start
        times 0x10000 - ($ - $$) db 0
