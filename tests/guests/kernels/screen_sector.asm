; The boot sector of a disk in a VM with a BIOS and a display: shows what is typed. F1 leads to 640 by 480 points of 256
; colours, of which the first 65536 have colours by the upper byte of their number; F10 powers off.
bits 16
org 0x7c00

start:  xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        mov     si, hello
.next:  lodsb
        or      al, al
        jz      typed
        call    show
        jmp     .next

typed:  xor     ah, ah                  ; INT 16h: the next key
        int     0x16
        cmp     ah, 0x3b                ; F1
        je      points
        cmp     ah, 0x44                ; F10
        je      end
        or      al, al
        jz      typed
        call    show
        cmp     al, 13
        jne     typed
        mov     al, 10
        call    show
        jmp     typed

show:   pusha
        mov     ah, 0x0e                ; INT 10h: a letter
        mov     bx, 7
        int     0x10
        popa
        ret

points: mov     ax, 0x4f02              ; VBE: by the window at A0000h
        mov     bx, 0x0101
        int     0x10
        cmp     ax, 0x004f
        jne     end
        mov     ax, 0xa000
        mov     es, ax
        xor     di, di
.next:  mov     ax, di
        mov     al, ah
        stosb
        or      di, di
        jnz     .next
        jmp     typed

end:    mov     dx, 0x604               ; PM1 control: S5
        mov     ax, 1 << 13
        out     dx, ax
        cli
        hlt

hello:  db      "the sector listens", 13, 10, 0

        times 510 - ($ - $$) db 0
        dw      0xaa55
        times 65536 - ($ - $$) db 0
