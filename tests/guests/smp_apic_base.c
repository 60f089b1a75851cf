/* Each vCPU has its own IA32_APIC_BASE: where one has moved its registers, the others find what was
 * there. */
#include "smp.h"

#define EN     0x800u
#define VECTOR 0x50
#define LOOKS  50

static uint8_t page[4096] __attribute__((aligned(4096)));
static uint64_t at[SMP_MAX];
static volatile uint32_t ipis[SMP_MAX], done, version;

static void on_ipi(struct frame *f)
{
    unsigned self = read32((rdmsr(0x1b) & ~0xfffULL) + 0x20) >> 24;

    add(&ipis[self], 1);
    write32(at[self] + 0xb0, 0);
}

/* All but the boot vCPU: the odd ones on RAM, the even ones where nothing was. */
static void live(unsigned self)
{
    uint64_t to = self % 2 ? (uint64_t)page : 0xfd000000ULL;

    at[self] = LAPIC;
    smp_meet(smp_count());
    at[self] = to;
    wrmsr(0x1b, (rdmsr(0x1b) & 0xfff) | to);
    sti();
    smp_meet(smp_count());
    for (unsigned i = 0; i < LOOKS; i++) {
        write32(to + 0x80, 0x10);
        CHECK(read32(to + 0x30) == version, "vCPU %u: the version is %x", self, read32(to + 0x30));
        CHECK(read32(to + 0x80) == 0x10, "vCPU %u: TPR is %x", self, read32(to + 0x80));
        CHECK(read32(LAPIC + 0x30) == 0xffffffff, "vCPU %u: %x answers", self,
              read32(LAPIC + 0x30));
        delay_us(20);
    }
    CHECK(smp_wait(&ipis[self], 1), "vCPU %u took %u IPIs", self, ipis[self]);
    cli();
    wrmsr(0x1b, (rdmsr(0x1b) & 0xfff) | LAPIC);
    at[self] = LAPIC;
    CHECK(read32((uint64_t)page + 0x80) == 0x80808080, "vCPU %u: RAM is %x", self,
          read32((uint64_t)page + 0x80));
    add(&done, 1);
    for (;;)
        asm volatile("cli; hlt" ::: "memory");
}

void test(void)
{
    unsigned count;

    handle(VECTOR, on_ipi);
    at[0] = LAPIC;
    count = smp_start(false, live);
    version = read32(LAPIC + 0x30);
    smp_meet(count);
    for (unsigned i = 0; i < 4096; i += 4)
        write32((uint64_t)page + i, 0x01010101 * (i & 0xff));
    smp_meet(count);
    for (unsigned i = 0; i < LOOKS; i++) { /* RAM here, whatever the others do to theirs */
        CHECK(read32((uint64_t)page + 0x80) == 0x80808080 &&
                  read32((uint64_t)page + 0x30) == 0x30303030,
              "the page is %x, %x", read32((uint64_t)page + 0x80), read32((uint64_t)page + 0x30));
        CHECK(read32(LAPIC + 0x30) == version, "the boot vCPU's version is %x",
              read32(LAPIC + 0x30));
        delay_us(20);
    }
    for (unsigned i = 1; i < count; i++)
        smp_send(i, SMP_FIXED(VECTOR));
    smp_finish(&done, count - 1);
}
