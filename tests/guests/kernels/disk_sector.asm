; The boot sector of a disk in a VM with a BIOS: checks what the BIOS does for it, says so on COM1 and powers off.
bits 16
org 0x7c00

start:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        mov     bl, '1'                 ; which check failed
        cmp     dl, 0x80
        jne     fail
        inc     bx
        push    bx
        mov     ax, 0x0201              ; INT 13h: the disk's next sector
        mov     cx, 2
        xor     dh, dh
        mov     bx, 0x7e00
        int     0x13
        pop     bx
        jc      fail
        inc     bx
        cmp     dword [0x7e00], 'next'
        jne     fail
        inc     bx
        int     0x12                    ; base memory
        cmp     ax, 600
        jb      fail
        inc     bx
        push    bx
        xor     ebx, ebx                ; INT 15h E820h: the map's first range is RAM from 0 on
        mov     eax, 0xe820
        mov     edx, 0x534d4150
        mov     ecx, 20
        mov     di, 0x600
        int     0x15
        pop     bx
        jc      fail
        inc     bx
        mov     eax, [0x600]
        or      eax, [0x604]
        jnz     fail
        inc     bx
        cmp     dword [0x610], 1
        jne     fail
        inc     bx
        push    0xf000                  ; the BIOS is at its place, and it cannot be written
        pop     ds
        mov     al, [0xfff0]
        not     byte [0xfff0]
        cmp     al, [0xfff0]
        push    0
        pop     ds
        jne     fail
        mov     si, passed
        jmp     say

fail:   mov     [failed.number], bl
        mov     si, failed
say:    lodsb
        or      al, al
        jz      end
        mov     ah, al
        mov     dx, 0x3fd
.wait:  in      al, dx
        test    al, 0x20
        jz      .wait
        mov     dx, 0x3f8
        mov     al, ah
        out     dx, al
        jmp     say

end:    mov     dx, 0x3fd
.wait:  in      al, dx
        test    al, 0x40
        jz      .wait
        mov     dx, 0x604               ; PM1 control: S5
        mov     ax, 1 << 13
        out     dx, ax
        cli
        hlt

failed: db      "FAIL disk_sector at check "
.number: db     0, 13, 10, 0
passed: db      "PASS disk_sector", 13, 10, 0

        times 510 - ($ - $$) db 0
        dw      0xaa55
        db      "next"
        times 65536 - ($ - $$) db 0
