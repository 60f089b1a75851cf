/* EIP wraps behind a HLT in the last byte of 4 GiB, also when another vCPU has had the processor
 * meanwhile: the VM entry that refuses such an EIP is then the first one of a VMCS that is loaded
 * anew. */
#include "smp.h"

#define BASE   0x30000ULL
#define ROUNDS 10
#define WAKE   0x40

static volatile uint32_t waiting, woken;

static void on_wake(struct frame *f)
{
    woken++;
    lapic_eoi();
}

/* Spins beside the one that is halted, and wakes it now and then. */
static void wake(unsigned self)
{
    for (;;) {
        uint64_t end = rdtsc() + tsc_hz() / 2000;
        while ((int64_t)(end - rdtsc()) > 0)
            pause();
        if (self == 1 && waiting)
            smp_send(0, SMP_FIXED(WAKE));
    }
}

void test(void)
{
    static const struct {
        uint32_t offset;
        uint16_t selector;
    } PACKED target = {0xffffffff, 0x48};
    static const uint8_t code[] = {0xf4, 0xcb}; /* hlt; retf */

    memcpy((void *)(BASE - 1), code, sizeof(code));
    boot_gdt[9] |= BASE << 16; /* 32-bit code */
    handle(WAKE, on_wake);
    smp_start(true, wake);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t before = woken;
        waiting = 1;
        sti();
        asm volatile("lcall *%0" ::"m"(target) : "memory");
        cli();
        waiting = 0;
        CHECK(woken != before, "HLT number %u ended without an interrupt", i);
    }
}
