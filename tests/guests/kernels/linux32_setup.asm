; The setup of a bzImage of boot protocol 2.06, as kernels had it that knew neither a 64-bit entry nor a preferred address: the
; 32-bit kernel behind it is loaded where code32_start says (Linux, Documentation/arch/x86/boot.rst).
bits 16
org 0
        times 0x1f1 - ($ - $$) db 0xcc
        db      1                       ; setup_sects
        dw      0
        dd      PARAGRAPHS              ; syssize
        times 0x1fe - ($ - $$) db 0
        dw      0xaa55
        jmp     short setup             ; the header ends there
        db      "HdrS"
        dw      0x0206
        times 0x211 - ($ - $$) db 0
        db      1                       ; loadflags: LOADED_HIGH
        times 0x214 - ($ - $$) db 0
        dd      0x200000                ; code32_start
        times 0x22c - ($ - $$) db 0
        dd      0x37ffffff              ; initrd_addr_max
        times 0x238 - ($ - $$) db 0
        dd      2047                    ; cmdline_size
setup:  times 0x400 - ($ - $$) db 0xcc  ; code of the real mode, which nobody runs
