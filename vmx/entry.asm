; The road into the guest and back. vmx_run keeps its frame for the whole stay, so one trip costs the guest's fifteen
; registers each way and one call: vcpu_exit decides, 0 goes straight back in.

%include "offsets.inc"

default rel
bits 64
section .text

extern vcpu_exit
extern vcpu_exit_watched
extern vcpu_exit_wrapped
global vmx_run
global vmx_exit_entry
global vmx_exit_entry_watched
global vmx_exit_entry_wrapped

; The guest's general registers from the vCPU at RDI.
%macro LOAD_GUEST 0
        mov     rax, [rdi + VCPU_RAX]
        mov     rcx, [rdi + VCPU_RCX]
        mov     rdx, [rdi + VCPU_RDX]
        mov     rbx, [rdi + VCPU_RBX]
        mov     rbp, [rdi + VCPU_RBP]
        mov     rsi, [rdi + VCPU_RSI]
        mov     r8,  [rdi + VCPU_R8]
        mov     r9,  [rdi + VCPU_R9]
        mov     r10, [rdi + VCPU_R10]
        mov     r11, [rdi + VCPU_R11]
        mov     r12, [rdi + VCPU_R12]
        mov     r13, [rdi + VCPU_R13]
        mov     r14, [rdi + VCPU_R14]
        mov     r15, [rdi + VCPU_R15]
        mov     rdi, [rdi + VCPU_RDI]
%endmacro

; int vmx_run(struct vmx_vcpu *v)
vmx_run:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi                     ; [rsp] = v from here on
        cmp     rsp, [rdi + VCPU_HOST_RSP]
        je      .host_rsp_is_set
        mov     [rdi + VCPU_HOST_RSP], rsp
        mov     eax, FIELD_HOST_RSP
        vmwrite rax, rsp
.host_rsp_is_set:
        cmp     qword [rdi + VCPU_LAUNCHED], 0
        jne     resume
        mov     qword [rdi + VCPU_LAUNCHED], 1 ; unless the entry fails: here, or by a VM exit (vmx_entry_failed)
        LOAD_GUEST
        vmlaunch
        mov     rdi, [rsp]
        mov     qword [rdi + VCPU_LAUNCHED], 0
        jmp     failed

resume:
        mov     rdi, [rsp]
        LOAD_GUEST
        vmresume

failed:                                 ; no VM exit happened: registers are still the guest's, RSP is ours
        mov     eax, -1
        jmp     leave_guest

; VM exit: RSP is [VMCS_HOST_RSP], every other general register the guest's. %1 decides what follows.
%macro VM_EXIT 1
        push    rdi
        mov     rdi, [rsp + 8]
        mov     [rdi + VCPU_RAX], rax
        mov     [rdi + VCPU_RDX], rdx
        mov     [rdi + VCPU_RCX], rcx
        mov     [rdi + VCPU_RBX], rbx
        mov     [rdi + VCPU_RBP], rbp
        mov     [rdi + VCPU_RSI], rsi
        mov     [rdi + VCPU_R8],  r8
        mov     [rdi + VCPU_R9],  r9
        mov     [rdi + VCPU_R10], r10
        mov     [rdi + VCPU_R11], r11
        mov     [rdi + VCPU_R12], r12
        mov     [rdi + VCPU_R13], r13
        mov     [rdi + VCPU_R14], r14
        mov     [rdi + VCPU_R15], r15
        pop     qword [rdi + VCPU_RDI]
        ; What the guest left in registers must not reach speculation in the handlers. RAX, RDX, RSI and RBP get
        ; values of ours here.
        xor     ecx, ecx
        xor     ebx, ebx
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        xor     r12d, r12d
        xor     r13d, r13d
        xor     r14d, r14d
        xor     r15d, r15d
        lea     rbp, [rsp + 48]         ; our frame pointer again, for backtraces
        rdtsc
        shl     rdx, 32
        or      rdx, rax
        mov     esi, FIELD_EXIT_REASON
        vmread  rsi, rsi
        call    %1                      ; (v, exit reason, the exit's TSC)
        test    eax, eax
        jz      resume
%endmacro

vmx_exit_entry_watched:
        VM_EXIT vcpu_exit_watched
        jmp     leave_guest

vmx_exit_entry_wrapped:
        VM_EXIT vcpu_exit_wrapped
        jmp     leave_guest

vmx_exit_entry:
        VM_EXIT vcpu_exit

leave_guest:
        pop     rdi
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

section .note.GNU-stack noalloc noexec nowrite progbits
