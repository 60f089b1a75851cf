/* A virtual machine and its virtual CPUs. */
#pragma once

#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "guest/config/config.h"
#include "guest/cpu/cpuid.h"
#include "guest/board/device.h"
#include "guest/board/board.h"
#include "guest/board/class.h"
#include "guest/cpu/debugged.h"
#include "guest/cpu/ending.h"
#include "guest/load/e820.h"
#include "guest/insn/insn.h"
#include "guest/load/sink.h"
#include "guest/cpu/msr.h"
#include "guest/cpu/nmi.h"
#include "guest/cpu/progress.h"
#include "guest/run/task.h"
#include "guest/cpu/step.h"
#include "guest/cpu/watched.h"
#include "mm/guest_memory.h"
#include "vmx/ept.h"
#include "vmx/exit.h"

/* The local APIC timer counts at tsc_hz / 2^LAPIC_BUS_SHIFT, which CPUID leaf 15h gives as crystal
 * clock. */
#define LAPIC_BUS_SHIFT 2

/* Why vmx_run() came back; 0 is what vcpu_exit() returns to stay in the guest. */
enum vcpu_leave {
    VCPU_STAY,
    VCPU_HALTED,    /* HLT, or waits for a start-up IPI, with nothing that would end that */
    VCPU_PREEMPTED, /* the processor has something else to do */
    VCPU_REQUEST,   /* the VM wants to end, to restart or to be paused */
};

/* Bits of struct task.requests: looked at before each VM entry. */
#define REQUEST_RESCHEDULE TASK_RESCHEDULE
#define REQUEST_LEAVE      TASK_LEAVE /* see guest/cpu/ending.h */
#define REQUEST_TIMER      TASK_TIMER
#define REQUEST_EVENT                                                                              \
    BIT(TASK_OWN + 0) /* interrupts, exceptions or NMIs may have to be delivered */
#define REQUEST_HALT BIT(TASK_OWN + 1)
#define REQUEST_RELOAD                                                                             \
    BIT(TASK_OWN + 2)                     /* kept set while the reload test is on: see vm_state.h  \
                                           */
#define REQUEST_INIT    BIT(TASK_OWN + 3) /* an INIT has arrived */
#define REQUEST_STARTUP BIT(TASK_OWN + 4) /* a start-up IPI has arrived: startup_vector */
#define REQUEST_EOI_EXITS                                                                          \
    BIT(TASK_OWN + 5) /* the I/O APIC's level-triggered vectors have changed */

struct vcpu {
    struct vmx_vcpu hw; /* first: the exit path goes from one to the other for nothing */

    /* --- the exit path's part --- */
    struct task task; /* how its processor's loop sees it */
    bool halted;
    bool wait_for_startup; /* INIT has stopped it */
    bool virtual_delivery; /* virtual-interrupt delivery is in force */
    bool tpr_shadow;
    uint8_t nmis;         /* that wait (nmi.h); atomic */
    bool accepts_startup; /* atomic: INIT has come, and no start-up IPI since */
    uint64_t next_exit;   /* host TSC at which the guest must be left: a timer, or task.until */
    uint64_t timer_armed; /* without preemption timer: what the host's APIC timer is set to */
    /* By exit reason, what has none last: how often, and host TSC ticks from exit to entry. While
     * one is being handled its ticks lack the host's TSC: see vcpu_root_ticks(). */
    uint64_t exits[VMX_EXIT_REASONS];
    uint64_t ticks[VMX_EXIT_REASONS + 1];
    struct vm_exit exit;    /* the one being handled */
    struct bus_view device; /* where the last device access was */
    struct insn_mov mov;    /* a device access: the instruction that makes it, and its bytes */
    uint8_t code[16];
    struct vmx_event event; /* to be delivered first; info 0: none */

    struct vm *vm;
    unsigned id;
    struct lapic lapic;
    struct cpuid_table cpuid;
    struct msr_state msr;
    struct msr_env msr_env;
    paddr lapic_page, msr_bitmap;
    struct gdb_vcpu debug;
    struct step step;
    struct watch_vcpu watch;
    struct ept_window apic_view; /* its EPT while its local APIC is not where it was at power-on */
    uint32_t trace;              /* BIT(enum trace_class): what is recorded of it */
    uint8_t traced_vector;       /* requested of virtual-interrupt delivery, when last looked at */
    uint16_t interrupt_status;   /* what the VMCS holds */
    uint8_t tpr_threshold;       /* what the VMCS holds */
    uint8_t startup_vector;      /* of REQUEST_STARTUP */
    struct progress progress;    /* exits that have left it where it was */
};

struct vm {
    char name[CONFIG_MAX_NAME + 1];
    unsigned id;
    const struct vm_config *config;

    struct ending ending;
    bool debugged;             /* a debugger may stop it; changes while its vCPUs are away */
    bool stopping;             /* and one of its vCPUs has come to a stop; atomic */
    unsigned turns;            /* vCPUs that have not had their turn since it was resumed; atomic */
    struct watch_set *watches; /* NULL: nobody has watched it yet */
    struct task_group tasks;   /* its vCPUs, as the processors' loops see them */

    struct guest_memory memory;
    struct gpa_layout layout;
    struct ept ept;
    paddr apic_access_page;
    paddr ioapic_page; /* what reads of the I/O APIC give: mapped read-only */

    uint32_t cleared; /* 2 MiB blocks of its RAM, before it boots */
    uint64_t started; /* host TSC */
    /* From the loader's hand-over to its first instruction, and what of that cleared its RAM and
     * loaded its files. */
    uint64_t start_ticks, clear_ticks, load_ticks;
    const char *kind; /* what its kernel's file was taken for */
    unsigned resets;
    /* the reload test */
    unsigned reload_in, reloads;
    uint64_t random;

    struct vcpu *vcpu[CONFIG_MAX_CPUS];
    unsigned vcpu_count;

    /* Device models are run with its lock held: by one CPU at a time. */
    struct board board;
    struct device_list devices;
};

struct file {
    const void *data;
    uint64_t size;
};

/* What a VM is made of beside its config: the contents of its files, which stay in place while it
 * lives. */
struct vm_files {
    struct file kernel, initrd;
    struct file module[CONFIG_MAX_MODULES]; /* as many as the config names */
};

/* The reload test (guest/vm/vm_state.h), called before VM entries; NULL: it is off. Set before the
 * first vCPU is made. */
extern void (*vcpu_reload_test)(struct vcpu *v);

/* --- vm.c: a VM's life --- */

/* Build everything but the guest's software. 0, or an error that has been logged with the config's
 * line. */
int vm_create(struct vm **out, unsigned id, const struct vm_config *config) MUST_CHECK;
/* Load kernel and initrd and put the boot vCPU at their entry. 0, or an error that has been logged.
 */
int vm_boot(struct vm *vm, const struct vm_files *files) MUST_CHECK;
/* Power-on state for every device and vCPU; vm_clear_some() comes next. */
void vm_reset(struct vm *vm);
/* Clear its RAM until that host TSC; false: that was all of it, and vm_boot() may come. */
bool vm_clear_some(struct vm *vm, uint64_t until);
void vm_destroy(struct vm *vm);
/* Its vCPUs are away: its clock goes on delta ticks later than it would. */
void vm_move_clock(struct vm *vm, uint64_t delta);

/* --- vcpu.c, reset.c: one vCPU's life and its stay in the guest --- */

int vcpu_create(struct vcpu **out, struct vm *vm, unsigned id) MUST_CHECK;
void vcpu_destroy(struct vcpu *v);
/* Power-on and RESET, with what makes the host's TSC 0 now; INIT, only for the vCPU that is loaded.
 */
void vcpu_reset(struct vcpu *v, uint64_t tsc_offset);
void vcpu_init_reset(struct vcpu *v);
/* Have it loaded on this CPU, unless it is already; vcpu_release() with the result undoes that. */
bool vcpu_hold(struct vcpu *v);
void vcpu_release(struct vcpu *v, bool held);
/* Put it at the state in which a guest's software starts. */
void vcpu_start_at(struct vcpu *v, const struct guest_start *start);
/* Run the loaded vCPU until there is a reason to leave; an enum vcpu_leave. */
int vcpu_run(struct vcpu *v);
/* An exception for the guest; combined with one that was being delivered as the SDM says. */
void vcpu_exception(struct vcpu *v, unsigned vector, uint32_t error);
void vcpu_page_fault(struct vcpu *v, uint64_t address, uint32_t error);

/* Ask something of the vCPU that this CPU runs, or of one that is not running anywhere. */
static inline void vcpu_ask(struct vcpu *v, uint32_t request)
{
    task_ask(&v->task, request);
}

/* The same of any vCPU: one that runs on another CPU leaves its guest for it, one that is halted
 * wakes. */
static inline void vcpu_notify(struct vcpu *v, uint32_t request)
{
    task_notify(&v->task, request);
}

/* run_inspect() for a vCPU. */
int vcpu_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg) MUST_CHECK;
/* run_again_at(): the vCPU that runs here, if one does, leaves its guest by then. */
void vcpu_again_at(uint64_t deadline);

/* --- exit.c: what VM exits mean --- */

/* More ticks for the exit that is being handled. */
static inline void vcpu_account(struct vcpu *v, uint64_t ticks)
{
    v->ticks[v->exit.reason] += ticks;
}

/* Serve what was asked for and arm the timer before vmx_run(); an enum vcpu_leave. */
int vcpu_prepare(struct vcpu *v);
/* Host TSC ticks from VM exits for that reason (below VMX_EXIT_REASONS + 1) to VM entries. */
uint64_t vcpu_root_ticks(const struct vcpu *v, unsigned reason);
/* The handler of this exit has neither moved RIP nor delivered anything: too many in a row end the
 * VM. what: the address, or whatever else tells one cause from another. */
void vcpu_no_progress(struct vcpu *v, uint64_t what);
/* In place of vcpu_exit(): the instruction is not carried out, and exits again. */
int vcpu_exit_again(struct vcpu *v, uint64_t reason, uint64_t tsc);
/* Between vcpu_exit() and VM entry: leave the guest at that host TSC at the latest. */
void vcpu_leave_by(struct vcpu *v, uint64_t tsc);

enum exit_result { EXIT_RESUME, EXIT_SKIP /* RIP moves past the instruction */ };

typedef enum exit_result (*exit_handler)(struct vcpu *v, struct vm_exit *e);

enum exit_result exit_io(struct vcpu *v, struct vm_exit *e);            /* exit_io.c */
enum exit_result exit_ept_violation(struct vcpu *v, struct vm_exit *e); /* exit_memory.c */
enum exit_result exit_apic_access(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_cr_access(struct vcpu *v, struct vm_exit *e);    /* exit_control.c */
enum exit_result exit_monitor_trap(struct vcpu *v, struct vm_exit *e); /* step.c */
enum exit_result exit_xsetbv(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_task_switch(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_rdmsr(struct vcpu *v, struct vm_exit *e); /* exit_msr.c */
enum exit_result exit_wrmsr(struct vcpu *v, struct vm_exit *e);

/* --- events.c: what is delivered into the guest before the next VM entry --- */

void vcpu_deliver_events(struct vcpu *v);
/* An NMI arrives for it; on any CPU. */
void vcpu_nmi(struct vcpu *v);
/* Whether a halted vCPU has something that ends the halt. */
bool vcpu_wakes(struct vcpu *v);
/* INIT and start-up IPIs have arrived: REQUEST_INIT, REQUEST_STARTUP. */
void vcpu_startup_message(struct vcpu *v, uint32_t requests);
/* The APIC's mode changed: VMX controls, MSR bitmap and CPUID follow. */
void vcpu_apic_mode(struct vcpu *v);
void vcpu_write_eoi_bitmap(struct vcpu *v);

/* --- apic_page.c: where the local APIC's page is --- */

/* The local APIC has moved, or its mode has changed: the loaded vCPU's EPT follows. */
void vcpu_place_apic(struct vcpu *v);
/* The VM's EPT has changed, perhaps: so does the view of a vCPU that has one. */
void vcpu_refresh_view(struct vcpu *v);
/* Put the local APIC into a view of the VM's EPT that this vCPU is to use. -ENOMEM. */
int vcpu_put_apic(const struct vcpu *v, struct ept_window *w) MUST_CHECK;
/* The EPTP that it uses as long as no page is open for an instruction of it. */
static inline uint64_t vcpu_ept_pointer(const struct vcpu *v)
{
    return v->hw.own_ept ? v->hw.own_ept : ept_pointer(&v->vm->ept);
}

/* --- timers.c: the vCPU's deadlines --- */

/* Guest TSC of this vCPU now. */
uint64_t vcpu_tsc(const struct vcpu *v);
/* Fire what is due of the local APIC's and (boot vCPU) the devices' timers, and find the next
 * deadline. */
bool vcpu_run_timers(struct vcpu *v);
/* The host TSC at which its next timer fires; UINT64_MAX when none is set. */
uint64_t vcpu_timer_deadline(const struct vcpu *v);
/* The same of a vCPU that is halted or waits for a start-up IPI, and is loaded. *dead: only another
 * one of its VM can wake it. */
uint64_t vcpu_sleeps_until(const struct vcpu *v, bool *dead);
/* Find the next deadline anew after one of them has changed. */
void vcpu_update_deadline(struct vcpu *v);

/* --- linear.c: guest-linear memory --- */

/* The 16 bytes at RIP, when there is a quick way to them. */
bool linear_fetch_quick(struct vcpu *v, uint64_t rip, uint8_t bytes[16]);
/* Read size bytes (at most a page) at a linear address as the guest's code would fetch or read
 * them; how many could. */
size_t linear_fetch(struct vcpu *v, uint64_t linear, void *data, size_t size);
/* Translate; -EFAULT with the page fault's error code. access: WALK_* of guest/cpu/walk.h. */
int linear_translate(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa,
                     uint32_t *error) MUST_CHECK;
/* Copy, a #PF noted in the vCPU and -EFAULT when the guest's tables forbid it. */
int linear_read(struct vcpu *v, uint64_t linear, void *data, size_t size) MUST_CHECK;
int linear_write(struct vcpu *v, uint64_t linear, const void *data, size_t size) MUST_CHECK;
/* Whether size bytes (1 to 8) could be written; else as linear_write(). */
int linear_writable(struct vcpu *v, uint64_t linear, size_t size) MUST_CHECK;
/* 16, 32 or 64: the width of code at CS:RIP. */
unsigned vcpu_code_width(const struct vcpu *v);
unsigned vcpu_cpl(void);
/* What comes behind the last byte of a page: outside 64-bit mode linear addresses end at 4 GiB. */
uint64_t linear_wrap(const struct vcpu *v, uint64_t linear);
/* The linear address of the instruction at CS:RIP. */
uint64_t vcpu_linear_rip(const struct vcpu *v);
/* Read what the guest's page tables show there, whatever its rights, and note nothing in the guest.
 * How many bytes could be read. */
size_t linear_peek(struct vcpu *v, uint64_t linear, void *data, size_t size);
/* The same for its guest-physical address; -EFAULT. */
int linear_find(struct vcpu *v, uint64_t linear, uint64_t *gpa) MUST_CHECK;

/* --- dump.c --- */

/* The vCPU's registers, the exit's cause and the code bytes at RIP, line by line; it is loaded. */
void vcpu_describe(struct vcpu *v, void (*line)(void *ctx, const char *text), void *ctx);
/* The same on the log. */
void vcpu_dump(struct vcpu *v);
