/* IPIs of every kind to vCPUs that do not exist reach nobody, and harm nobody. */
#include "smp.h"

#define VECTOR 0x66

static volatile uint32_t interrupts, nmis, heard, go;

static void on_interrupt(struct frame *f)
{
    lapic_eoi();
    add(&interrupts, 1);
}

static void on_nmi(struct frame *f)
{
    add(&nmis, 1);
}

static void listen(unsigned self)
{
    add(&heard, 1);
    for (;;)
        asm volatile("sti; hlt" ::: "memory");
}

static void shout(uint32_t dest)
{
    smp_send(dest, SMP_FIXED(VECTOR));
    smp_send(dest, SMP_NMI);
    smp_send(dest, SMP_INIT);
    smp_send(dest, SMP_STARTUP);
    smp_send(dest, SMP_FIXED(0));              /* no vector */
    smp_send(dest, SMP_FIXED(VECTOR) | 0x100); /* lowest priority */
    smp_send(dest, 0x4200);                    /* SMI */
    smp_send(dest, 0x4300);                    /* reserved */
    smp_send(dest, 0x4700);
}

static void try(bool x2apic)
{
    unsigned count = smp_start(x2apic, listen);
    uint32_t starts[SMP_MAX];

    interrupts = nmis = 0;
    for (unsigned i = 1; i < count; i++)
        starts[i] = smp_starts(i);
    for (uint32_t id = count; id < 255; id++)
        shout(id);
    if (x2apic) {
        for (unsigned bit = 8; bit < 32; bit++)
            shout(BIT(bit) | 1);
        shout(0xfffffffe);
        smp_send(0x00050001, SMP_FIXED(VECTOR) | SMP_LOGICAL); /* a cluster that is not there */
    } else {
        smp_send(0x80, SMP_FIXED(VECTOR) | SMP_LOGICAL); /* whom none of the LDRs names */
    }
    asm volatile("sti; nop; nop; cli" ::: "memory");
    delay_us(50);
    CHECK(interrupts == 0 && nmis == 0, "%u interrupts and %u NMIs reached somebody", interrupts,
          nmis);
    for (unsigned i = 1; i < count; i++)
        CHECK(smp_starts(i) == starts[i], "vCPU %u was started again", i);
    smp_send(0, SMP_FIXED(VECTOR) | SMP_OTHERS);
    CHECK(smp_wait(&interrupts, count - 1), "%u of %u vCPUs still listen", interrupts, count - 1);
}

void test(void)
{
    handle(VECTOR, on_interrupt);
    handle(NMI, on_nmi);
    try(false);
    try(true);
}
