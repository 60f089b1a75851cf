; The road into the guest and back. vmx_run keeps its frame for the whole stay, so one trip costs the guest's fifteen
; registers each way and one call: vcpu_exit decides, 0 goes straight back in.
;
; There are two such roads. The guarded one is for processors with errata of speculation that ask for something at each exit
; or entry, and for guests that have written IA32_SPEC_CTRL; who needs neither does not pass it: where it can be needed,
; vmx/speculation.c makes the first five bytes of vmx_run a jump to vmx_run_guarded, and HOST_RIP says which way an exit goes.

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
global vmx_run_guarded
global vmx_guarded_entry
global vmx_guarded_entry_watched
global vmx_guarded_entry_wrapped
global vmx_fill_returns
global vmx_steps
global vmx_steps_end

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

; The rest of the frame behind RBP and RBX; ZF: the VMCS is not launched yet.
%macro BEGIN_STAY 0
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi                     ; [rsp] = v from here on
        cmp     rsp, [rdi + VCPU_HOST_RSP]
        je      %%host_rsp_is_set
        mov     [rdi + VCPU_HOST_RSP], rsp
        mov     eax, FIELD_HOST_RSP
        vmwrite rax, rsp
%%host_rsp_is_set:
        cmp     qword [rdi + VCPU_LAUNCHED], 0
%endmacro

; int vmx_run(struct vmx_vcpu *v)
vmx_run:
        push    rbp
        mov     rbp, rsp
        push    rbx
        times   5 - ($ - vmx_run) nop   ; room for the jump, or no build
.kept:
        BEGIN_STAY
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

; VM exit: RSP is [VMCS_HOST_RSP], every other general register the guest's.
%macro SAVE_GUEST 0
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
%endmacro

; %1 decides what follows.
%macro VM_EXIT 1
        rdtsc
        shl     rdx, 32
        or      rdx, rax
        mov     esi, FIELD_EXIT_REASON
        vmread  rsi, rsi
        call    %1                      ; (v, exit reason, the exit's TSC)
        test    eax, eax
%endmacro

vmx_exit_entry_watched:
        SAVE_GUEST
        VM_EXIT vcpu_exit_watched
        jz      resume
        jmp     leave_guest

vmx_exit_entry_wrapped:
        SAVE_GUEST
        VM_EXIT vcpu_exit_wrapped
        jz      resume
        jmp     leave_guest

vmx_exit_entry:
        SAVE_GUEST
        VM_EXIT vcpu_exit
        jz      resume

leave_guest:
        pop     rdi
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

; --- the guarded road ---

section .rodata.steps progbits alloc noexec nowrite align=8
vmx_steps:
section .text

; From here to ENDSTEP is jumped over unless BIT(%1) is among the steps: then a NOP of five bytes stands here.
%macro STEP 1
%push step
section .rodata.steps
        dq      %$site, %1
section .text
%$site: jmp     strict near %$end
%endmacro
%macro ENDSTEP 0
%$end:
%pop
%endmacro

; Returns that the guest has left in the stack of returns are pushed out of it: 32 calls, none of which comes back by itself.
%macro FILL_RETURNS 0
        mov     ecx, 16
%%two:  call    %%one
%%here: pause
        lfence
        jmp     %%here
%%one:  call    %%other
%%there: pause
        lfence
        jmp     %%there
%%other: dec    ecx
        jnz     %%two
        add     rsp, 32 * 8
        lfence
%endmacro

; Five times five pairs of taken branches, in calls inside each other: what Intel's guidance on Branch History Injection
; (software sequence for processors before Alder Lake) says overwrites the history. Each part begins a line.
%macro CLEAR_HISTORY 0
        mov     ecx, 5
        call    %%nest
        jmp     %%done
        align   64, int3
%%nest: call    %%turns
        ret
        align   64, int3
%%turns: mov    eax, 5
%%turn: jmp     %%back
        nop
%%back: dec     eax
        jnz     %%turn
        dec     ecx
        jnz     %%nest
        ret
%%done: lfence
%endmacro

; IA32_SPEC_CTRL becomes root mode's. [VCPU_SPEC_SWITCH] 0: it is; 1: the guest writes it as it likes, and it is kept for
; the guest; 2: it has to be written at each exit, and if [VCPU_SPEC_PASSED] that is kept, too. A prediction that it need not
; be written ends at the LFENCE.
%macro TAKE_SPEC_CTRL 0
        cmp     byte [rdi + VCPU_SPEC_SWITCH], 1
        jb      %%same
        mov     ecx, NUMBER_SPEC_CTRL
        cmp     byte [rdi + VCPU_SPEC_PASSED], 0
        je      %%write
        rdmsr
        shl     rdx, 32
        or      rdx, rax
        mov     [rdi + VCPU_SPEC_CTRL], rdx
        cmp     byte [rdi + VCPU_SPEC_SWITCH], 1
        ja      %%write
        cmp     rdx, [rdi + VCPU_HOST_SPEC_CTRL]
        je      %%same
%%write:
        mov     rax, [rdi + VCPU_HOST_SPEC_CTRL]
        mov     rdx, rax
        shr     rdx, 32
        wrmsr
%%same: lfence
%endmacro

; And the guest's, the last thing before its registers.
%macro GIVE_SPEC_CTRL 0
        cmp     byte [rdi + VCPU_SPEC_SWITCH], 1
        jb      %%same
        mov     rax, [rdi + VCPU_SPEC_CTRL]
        ja      %%write
        cmp     rax, [rdi + VCPU_HOST_SPEC_CTRL]
        je      %%same
%%write:
        mov     ecx, NUMBER_SPEC_CTRL
        mov     rdx, rax
        shr     rdx, 32
        wrmsr
%%same:
%endmacro

; Before the first return or indirect branch.
%macro GUARD_EXIT 0
        STEP    STEP_RSB_FILL
        FILL_RETURNS
        ENDSTEP
        STEP    STEP_RSB_ONE
        call    %%one                   ; a return behind the exit that matches no call of ours would go where the
        int3                            ; guest likes: so here is one that does
%%one:  add     rsp, 8
        lfence
        ENDSTEP
        TAKE_SPEC_CTRL
        STEP    STEP_BHI_CLEAR
        CLEAR_HISTORY
        ENDSTEP
        xor     ecx, ecx
%endmacro

%macro GUARD_ENTRY 0
        STEP    STEP_L1D
        mov     ecx, NUMBER_FLUSH_CMD
        mov     eax, 1
        xor     edx, edx
        wrmsr
        ENDSTEP
        GIVE_SPEC_CTRL
        LOAD_GUEST
        STEP    STEP_VERW
        verw    [data_selector]         ; behind it nothing of ours is loaded
        ENDSTEP
%endmacro

; void vmx_fill_returns(void): so that nobody returns where another VM's guest has called from.
vmx_fill_returns:
        FILL_RETURNS
        ret

; int vmx_run(struct vmx_vcpu *v), which jumps here.
vmx_run_guarded:
        push    rbp                     ; what stood in place of the jump
        mov     rbp, rsp
        push    rbx
        cmp     byte [rdi + VCPU_GUARDED], 0
        je      vmx_run.kept
        BEGIN_STAY
        jne     resume_guarded
        mov     qword [rdi + VCPU_LAUNCHED], 1
        GUARD_ENTRY
        vmlaunch
        mov     rdi, [rsp]
        mov     qword [rdi + VCPU_LAUNCHED], 0
        jmp     failed_guarded

resume_guarded:
        mov     rdi, [rsp]
        GUARD_ENTRY
        vmresume

failed_guarded:
        mov     rdi, [rsp]
        TAKE_SPEC_CTRL
        jmp     failed

vmx_guarded_entry_watched:
        SAVE_GUEST
        GUARD_EXIT
        VM_EXIT vcpu_exit_watched
        jz      resume_guarded
        jmp     leave_guest

vmx_guarded_entry_wrapped:
        SAVE_GUEST
        GUARD_EXIT
        VM_EXIT vcpu_exit_wrapped
        jz      resume_guarded
        jmp     leave_guest

vmx_guarded_entry:
        SAVE_GUEST
        GUARD_EXIT
        VM_EXIT vcpu_exit
        jz      resume_guarded
        jmp     leave_guest

section .rodata.steps
vmx_steps_end:
data_selector:
        dw      SELECTOR_DATA

section .note.GNU-stack noalloc noexec nowrite progbits
