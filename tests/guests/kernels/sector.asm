; A boot sector that checks how it was started and what stands in for the BIOS, says so on COM1 and powers off.
bits 16
org 0x7c00

start:  mov     ax, cs
        mov     bl, '1'                 ; which check failed
        or      ax, ax
        jnz     fail
        inc     bx
        cmp     dl, 0x80
        jne     fail
        inc     bx
        smsw    ax
        test    al, 1
        jnz     fail
        inc     bx
        cmp     sp, 0x7c00
        jne     fail
        inc     bx
        clc                             ; INT 13h: fails
        mov     ah, 2
        int     0x13
        jnc     fail
        inc     bx
        clc                             ; INT 8: comes back
        int     8
        jc      fail
        inc     bx
        cmp     word [0x400], 0x3f8     ; COM1's port
        jne     fail
        inc     bx
        cmp     word [0x413], 639       ; KiB of base memory
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
        mov     ax, 5 << 10 | 1 << 13
        out     dx, ax
        cli
        hlt

failed: db      "FAIL sector at check "
.number: db     0, 13, 10, 0

        times 510 - ($ - $$) db 0
        dw      0xaa55
        times 1024 - ($ - $$) db 0
passed: db      "PASS sector", 13, 10, 0 ; behind the sector itself, in the same file
