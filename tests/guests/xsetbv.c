/* XSETBV takes what CPUID.0Dh allows, and refuses everything else with #GP(0); without CR4.OSXSAVE
 * it is #UD, and at CPL 3 #GP(0), where Bochs exits first. */
#include "guest.h"

static int xsetbv(uint32_t index, uint64_t value)
{
    return TRY("xsetbv", ::"c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
               : "memory");
}

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool legal(uint64_t supported, uint64_t v)
{
    uint64_t avx512 = v & 0xe0;
    return !(v & ~supported) && (v & 1) && (!(v & 4) || (v & 2)) &&
           (!avx512 || (avx512 == 0xe0 && (v & 4)));
}

static uint64_t kernel_rsp;

static void leave_ring_3(struct frame *f)
{
    caught.vector = (int64_t)f->vector;
    caught.error = f->error;
    f->rip = recover;
    f->cs = 0x10;
    f->ss = 0x18;
    f->rsp = kernel_rsp;
    recover = 0;
}

/* XSETBV, and UD2 if it is carried out, at CPL 3; the vector that comes back. */
static int xsetbv_at_ring_3(uint64_t value)
{
    for (uint64_t *entry = (uint64_t *)PAGE_TABLES; entry < (uint64_t *)(PAGE_TABLES + 0x6000);
         entry++)
        *entry |= *entry & 1 ? 4 : 0;
    WRITE_CR(3, READ_CR(3));
    uint64_t rsp0 = ((uint64_t)__builtin_frame_address(0) - 1024) & ~15ULL; /* below all of ours */
    memcpy(tss + 4, &rsp0, sizeof(rsp0));
    handle(GP, leave_ring_3);
    handle(UD, leave_ring_3);
    asm volatile("movq $1f, recover\n\t"
                 "movq %%rsp, %0\n\t"
                 "push $0x2b\n\t"
                 "push $0\n\t"
                 "push $2\n\t"
                 "push $0x43\n\t"
                 "push $2f\n\t"
                 "iretq\n"
                 "2:\txsetbv\n\t"
                 "ud2\n"
                 "1:"
                 : "=m"(kernel_rsp)
                 : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                 : "memory", "cc");
    handle(GP, NULL);
    handle(UD, NULL);
    return (int)caught.vector;
}

void test(void)
{
    if (!(cpuid(1, 0).ecx >> 26 & 1))
        return;
    CHECK(xsetbv(0, 1) == UD, "no #UD without CR4.OSXSAVE");
    WRITE_CR(4, READ_CR(4) | BIT(18));
    uint64_t supported = cpuid(0xd, 0).eax | (uint64_t)cpuid(0xd, 0).edx << 32, current = 1;
    CHECK(xgetbv() == 1, "XCR0 starts as %lx", xgetbv());
    for (uint64_t v = 0; v < 0x800; v++) {
        int vector = xsetbv(0, v);
        bool ok = legal(supported, v);
        CHECK(vector == (ok ? -1 : GP), "XCR0 = %lx of %lx gives vector %d", v, supported, vector);
        CHECK(ok || caught.error == 0, "error code %lx", caught.error);
        if (ok)
            current = v;
        CHECK(xgetbv() == current, "XCR0 is %lx after %lx", xgetbv(), v);
    }
    CHECK(xsetbv(0, BIT(63) | 1) == GP, "bit 63 is taken");
    CHECK(xsetbv(0, BIT(32) | 1) == GP, "bit 32 is taken");
    CHECK(xsetbv(1, 1) == GP, "XCR1 exists");
    CHECK(xsetbv(0xffffffff, 1) == GP, "XCR ffffffff exists");
    CHECK(xsetbv(0, 1) == -1 && xgetbv() == 1, "XCR0 is %lx", xgetbv());
    CHECK(xsetbv_at_ring_3(3) == GP && caught.error == 0, "at CPL 3: vector %ld, error code %lx",
          caught.vector, caught.error);
    CHECK(xgetbv() == 1, "XCR0 is %lx after an XSETBV at CPL 3", xgetbv());
    CHECK(xsetbv(0, 1) == -1 && cpuid(0xd, 0).ebx == 576, "size with x87 alone is %u",
          cpuid(0xd, 0).ebx);
}
