#include "smp.h"

#define GDT_SIZE 0x70
#define TSS_AT   0x80
#define TSS_SIZE 0x68
#define DF_TOP   0x500
#define NMI_TOP  0x800

extern const uint8_t trampoline[], trampoline_end[];

static void (*smp_main)(unsigned self);
static volatile uint32_t starts[SMP_MAX];
static bool smp_x2apic;

unsigned smp_count(void)
{
    unsigned count = 0;

    for (unsigned level = 0; cpuid(0xb, level).ecx >> 8 & 0xff; level++)
        count = cpuid(0xb, level).ebx & 0xffff;
    if (count < 1 || count > SMP_MAX)
        fail("leaf 0Bh says that there are %u vCPUs", count);
    return count;
}

unsigned smp_self(void)
{
    uint32_t id = lapic_read(0x20);

    return smp_x2apic ? id : id >> 24;
}

unsigned smp_starts(unsigned id)
{
    return starts[id];
}

/* Its own GDT and TSS, for the stack that NMIs are taken on. */
static void load_tables(unsigned self)
{
    uint8_t *area = (uint8_t *)(uint64_t)(SMP_AREAS + self * SMP_AREA_SIZE);
    uint64_t *gdt = (uint64_t *)area, own_tss = (uint64_t)area + TSS_AT;
    struct {
        uint16_t limit;
        uint64_t base;
    } PACKED p = {GDT_SIZE - 1, (uint64_t)area};

    memcpy(gdt, boot_gdt, GDT_SIZE);
    gdt[6] = 0x0000890000000000 | (TSS_SIZE - 1) | (own_tss & 0xffffff) << 16;
    gdt[7] = 0;
    memset(area + TSS_AT, 0, TSS_SIZE);
    *(uint64_t *)(area + TSS_AT + 0x24) = (uint64_t)area + NMI_TOP;
    *(uint64_t *)(area + TSS_AT + 0x2c) = (uint64_t)area + DF_TOP;
    *(uint16_t *)(area + TSS_AT + 0x66) = TSS_SIZE;
    asm volatile("lgdt %0; ltr %w1" ::"m"(p), "r"(0x30) : "memory");
    load_idt(idt, sizeof(idt) - 1);
}

void smp_arrive(unsigned self);
void smp_arrive(unsigned self)
{
    if (self >= SMP_MAX)
        fail("a vCPU has APIC id %u by CPUID leaf 1", self);
    load_tables(self);
    lapic_on(smp_x2apic);
    add(&starts[self], 1);
    smp_main(self);
}

void smp_prepare(bool x2apic, void (*main)(unsigned self))
{
    memcpy((void *)(uint64_t)SMP_TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    smp_main = main;
    smp_x2apic = x2apic;
    lapic_on(x2apic);
}

void smp_send(uint32_t dest, uint32_t icr)
{
    if (smp_x2apic) {
        wrmsr(0x830, (uint64_t)dest << 32 | icr);
        return;
    }
    for (unsigned i = 0; lapic_read(0x300) & BIT(12); i++)
        if (i == 100000)
            fail("the last IPI is on its way for ever");
    lapic_write(0x310, dest << 24);
    lapic_write(0x300, icr);
}

void smp_restart(unsigned id)
{
    smp_send(id, SMP_INIT);
    smp_send(id, SMP_STARTUP);
}

bool smp_wait(volatile uint32_t *what, uint32_t value)
{
    uint64_t end = rdtsc() + tsc_hz();

    while (*what != value) {
        if ((int64_t)(rdtsc() - end) > 0)
            return false;
        pause();
    }
    return true;
}

void smp_finish(volatile uint32_t *done, unsigned count)
{
    for (unsigned i = 0; i < 20 && *done != count; i++)
        smp_wait(done, count);
    CHECK(*done == count, "%u of %u vCPUs have come to their end", *done, count);
}

unsigned smp_start(bool x2apic, void (*main)(unsigned self))
{
    unsigned count = smp_count();
    uint32_t before[SMP_MAX];

    smp_prepare(x2apic, main);
    for (unsigned i = 1; i < count; i++)
        before[i] = starts[i];
    smp_send(0, SMP_INIT | SMP_OTHERS);
    delay_us(100);
    smp_send(0, SMP_STARTUP | SMP_OTHERS);
    delay_us(100);
    smp_send(0, SMP_STARTUP | SMP_OTHERS);
    for (unsigned i = 1; i < count; i++)
        if (!smp_wait(&starts[i], before[i] + 1))
            fail("vCPU %u of %u was started %u times, not once", i, count, starts[i] - before[i]);
    return count;
}

void smp_meet(unsigned count)
{
    static volatile uint32_t waiting, round;
    uint32_t now = round;
    uint64_t end = rdtsc() + 10 * tsc_hz();

    if (add(&waiting, 1) == count) {
        waiting = 0;
        add(&round, 1);
        return;
    }
    while (round == now) {
        if ((int64_t)(rdtsc() - end) > 0)
            fail("only %u of %u vCPUs have come so far", waiting, count);
        pause();
    }
}
