; The first process of a measured Linux boot: its first instructions switch the VM off by ACPI S5, so that the summary
; that Corbel prints ends where user space begins. A static program: make bench puts it into the initramfs.

%define SYS_IOPL     172
%define PM1A_CONTROL 0x604
%define SLP_TYP_S5   (0 << 10) ; guest/board/ports.h
%define SLP_EN       (1 << 13)

bits 64
section .text
global _start
_start:
        mov     eax, SYS_IOPL
        mov     edi, 3
        syscall
        mov     edx, PM1A_CONTROL
        mov     eax, SLP_TYP_S5 | SLP_EN
        out     dx, ax
.stay:  pause
        jmp     .stay
