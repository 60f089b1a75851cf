#include "arch/x86/trap.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/panic.h"
#include "arch/x86/percpu.h"
#include "arch/x86/smp.h"
#include "arch/x86/split_lock.h"

#define IDT_ENTRIES    256
#define STUB_SIZE      16
#define GATE_INTERRUPT 0x8e00 /* present, DPL 0, 64-bit interrupt gate */

struct gate {
    uint16_t offset_low, selector, attributes, offset_middle;
    uint32_t offset_high, reserved;
};

struct handler {
    void (*fn)(void *);
    void *arg;
};

static void (*observer)(unsigned vector);

extern const uint8_t interrupt_stubs[IDT_ENTRIES][STUB_SIZE];
extern bool trap_try_run(void (*fn)(void *), void *arg, uint64_t *recovery);
extern const uint8_t trap_try_failed[];

/* A VM exit leaves IDTR's limit at 0xffff, which is more than 256 vectors can reach. */
static struct gate idt[IDT_ENTRIES] __attribute__((aligned(16)));
static struct handler handlers[IDT_ENTRIES - VECTOR_EXCEPTIONS];

static unsigned vector_ist(unsigned vector)
{
    switch (vector) {
    case VECTOR_NMI:
        return IST_NMI;
    case VECTOR_DF:
        return IST_DOUBLE_FAULT;
    case VECTOR_MC:
        return IST_MACHINE_CHECK;
    default:
        return 0;
    }
}

void idt_init(void)
{
    for (unsigned v = 0; v < IDT_ENTRIES; v++) {
        uint64_t stub = (uint64_t)interrupt_stubs[v];

        idt[v] = (struct gate){
            .offset_low = (uint16_t)stub,
            .selector = SELECTOR_CODE,
            .attributes = (uint16_t)(GATE_INTERRUPT | vector_ist(v)),
            .offset_middle = (uint16_t)(stub >> 16),
            .offset_high = (uint32_t)(stub >> 32),
        };
    }
}

void idt_load(void)
{
    struct descriptor_table idtr = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};

    __asm__ volatile("lidt %0" : : "m"(idtr), "m"(idt));
}

int interrupt_register(unsigned vector, void (*fn)(void *), void *arg)
{
    struct handler *h;

    if (vector < VECTOR_EXCEPTIONS || vector >= IDT_ENTRIES)
        return -EINVAL;
    h = &handlers[vector - VECTOR_EXCEPTIONS];
    if (fn && h->fn)
        return -EBUSY;
    h->arg = arg;
    h->fn = fn;
    return 0;
}

void interrupt_set_observer(void (*fn)(unsigned vector))
{
    observer = fn;
}

void interrupt_dispatch(unsigned vector)
{
    struct percpu *cpu = this_cpu();
    struct handler *h;

    if (vector < VECTOR_EXCEPTIONS || vector >= IDT_ENTRIES)
        return;
    cpu->interrupts++;
    if (UNLIKELY(observer))
        observer(vector);
    h = &handlers[vector - VECTOR_EXCEPTIONS];
    if (h->fn)
        h->fn(h->arg);
    else
        cpu->spurious++;
    /* A spurious interrupt has no bit in the in-service register; an EOI would end somebody else's.
     */
    if (vector != VECTOR_SPURIOUS)
        apic_eoi();
}

static bool recoverable(const struct trap_frame *frame)
{
    return frame->vector != VECTOR_DF && frame->vector != VECTOR_MC && this_cpu()->trap_recovery;
}

void trap_handle(struct trap_frame *frame)
{
    if (frame->vector == VECTOR_NMI) {
        this_cpu()->nmi_count++;
        this_cpu()->nmi_flag = 1;
        smp_stop_if_asked(this_cpu());
    } else if (frame->vector >= VECTOR_EXCEPTIONS) {
        interrupt_dispatch((unsigned)frame->vector);
    } else if (frame->vector == VECTOR_MC && machine_check_trap()) {
        return;
    } else if (frame->vector == VECTOR_AC && split_lock_trap()) {
        return;
    } else if (recoverable(frame)) {
        frame->rip = (uint64_t)trap_try_failed;
        frame->rsp = this_cpu()->trap_recovery;
    } else {
        panic_exception(frame);
    }
}

bool trap_try(void (*fn)(void *), void *arg)
{
    return trap_try_run(fn, arg, &this_cpu()->trap_recovery);
}

struct msr_access {
    uint32_t msr;
    uint64_t value;
};

static void msr_read(void *arg)
{
    struct msr_access *a = arg;

    a->value = rdmsr(a->msr);
}

static void msr_write(void *arg)
{
    struct msr_access *a = arg;

    wrmsr(a->msr, a->value);
}

bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    struct msr_access a = {.msr = msr};

    if (!trap_try(msr_read, &a))
        return false;
    *value = a.value;
    return true;
}

bool wrmsr_safe(uint32_t msr, uint64_t value)
{
    struct msr_access a = {.msr = msr, .value = value};

    return trap_try(msr_write, &a);
}

const char *exception_name(unsigned vector)
{
    static const char *const names[] = {
        "#DE divide error",
        "#DB debug",
        "NMI",
        "#BP breakpoint",
        "#OF overflow",
        "#BR bound range",
        "#UD invalid opcode",
        "#NM no FPU",
        "#DF double fault",
        "coprocessor overrun",
        "#TS invalid TSS",
        "#NP segment not present",
        "#SS stack segment",
        "#GP general protection",
        "#PF page fault",
        "vector 15",
        "#MF x87 error",
        "#AC alignment check",
        "#MC machine check",
        "#XM SIMD error",
        "#VE virtualization",
        "#CP control protection",
    };

    return vector < ARRAY_SIZE(names) ? names[vector] : "reserved exception";
}
