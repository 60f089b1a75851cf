; Of watched.c: a page of code of its own, and a ring 3 that makes system calls.
bits 64
default rel

global code_page, code_function, code_end, syscall_entry, run_user
global take_interrupts, back
extern syscalls

section .text align=4096
code_page:
        times 32 int3
code_function:                          ; uint32_t code_function(void)
        mov     eax, 1
        nop
        ret
code_end:
        times 4096 - ($ - code_page) int3

; void run_user(uint64_t calls): ring 3 makes that many system calls, each with its number in RAX, and one more.
run_user:
        push    rbx
        push    rbp
        mov     [kernel_stack], rsp
        mov     rbx, rdi
        lea     rcx, [user]
        mov     r11d, 2
        o64 sysret

user:
        mov     rax, rbx
        syscall
        dec     rbx
        jnz     user
        mov     rax, -1
        syscall
        int3

; LSTAR: CS and SS are the kernel's, RSP still the user's.
syscall_entry:
        cmp     rax, -1
        je      .leave
        inc     qword [syscalls]
        o64 sysret
.leave:
        mov     rsp, [kernel_stack]
        mov     eax, 0x18
        mov     ss, eax
        pop     rbp
        pop     rbx
        ret

; void take_interrupts(void *stack_top): INT 41h, and 41h by the local APIC in xAPIC mode, on a stack of its own.
take_interrupts:
        mov     rdx, rsp
        mov     rsp, rdi
        int     0x41
        mov     esi, 0xfee00300         ; ICR: to itself
        mov     dword [rsi], 0x44041
        sti
        nop
        cli
        mov     rsp, rdx
        ret
back:
        in      al, 0x80                ; exits: what the delivery has had opened is closed
        iretq

section .bss
kernel_stack:
        resq    1
