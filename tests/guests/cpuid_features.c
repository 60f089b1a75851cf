/* Every instruction whose CPUID bit is set runs; those that Corbel hides raise #UD where the
 * processor lets it. */
#include "guest.h"

#define USABLE(bit, name, code, ...)                                                               \
    do {                                                                                           \
        if (bit) {                                                                                 \
            int vector_ = TRY(code, __VA_ARGS__);                                                  \
            CHECK(vector_ == -1, name " is shown by CPUID but raises vector %d", vector_);         \
        }                                                                                          \
    } while (0)

static uint8_t area[4096] __attribute__((aligned(64)));
static struct {
    uint64_t pcid, address;
} invpcid_descriptor;

void test(void)
{
    struct regs one = cpuid(1, 0), seven = cpuid(7, 0), extended = cpuid(0x80000001, 0), d1 = {0};
    uint64_t scratch = 0, other;

    CHECK(one.edx >> 9 & 1, "no APIC");
    CHECK(one.ecx >> 21 & 1, "no x2APIC");
    CHECK(one.ecx >> 24 & 1, "no TSC deadline");
    CHECK(!(one.ecx >> 27 & 1), "OSXSAVE is set while CR4.OSXSAVE is not");

    USABLE(one.ecx >> 20 & 1, "SSE4.2", "crc32q %1, %0", : "+r"(scratch) : "r"(scratch) : "memory");
    USABLE(one.ecx >> 23 & 1, "POPCNT", "popcntq %1, %0",
           : "+r"(scratch)
           : "r"(scratch)
           : "memory");
    USABLE(one.ecx >> 25 & 1, "AES", "aesenc %%xmm1, %%xmm0", ::: "memory");
    USABLE(one.ecx >> 1 & 1, "PCLMULQDQ", "pclmulqdq $0, %%xmm1, %%xmm0", ::: "memory");
    USABLE(one.ecx >> 9 & 1, "SSSE3", "pabsb %%xmm1, %%xmm0", ::: "memory");
    USABLE(one.ecx >> 22 & 1, "MOVBE", "movbe %1, %0", : "=r"(other) : "m"(scratch) : "memory");
    USABLE(one.ecx >> 30 & 1, "RDRAND", "rdrand %0", : "=r"(other)::"memory");
    USABLE(one.ecx >> 13 & 1, "CMPXCHG16B", "lock cmpxchg16b %0",
           : "+m"(area)::"rax", "rbx", "rcx", "rdx", "memory");
    USABLE(seven.ebx >> 3 & 1, "BMI1", "andn %1, %1, %0", : "=r"(other) : "r"(scratch) : "memory");
    USABLE(seven.ebx >> 8 & 1, "BMI2", "rorx $1, %1, %0", : "=r"(other) : "r"(scratch) : "memory");
    USABLE(seven.ebx >> 19 & 1, "ADX", "adcx %1, %0", : "+r"(scratch) : "r"(scratch) : "memory");
    USABLE(seven.ebx >> 18 & 1, "RDSEED", "rdseed %0", : "=r"(other)::"memory");
    USABLE(seven.ebx >> 23 & 1, "CLFLUSHOPT", "clflushopt %0", : "+m"(area)::"memory");
    USABLE(seven.ebx >> 24 & 1, "CLWB", "clwb %0", : "+m"(area)::"memory");
    USABLE(seven.ebx >> 29 & 1, "SHA", "sha1msg1 %%xmm1, %%xmm0", ::: "memory");
    USABLE(seven.ebx >> 10 & 1, "INVPCID", "invpcid %0, %1", ::"m"(invpcid_descriptor), "r"(2ULL)
           : "memory");
    USABLE(seven.ecx >> 22 & 1, "RDPID", "rdpid %0", : "=r"(other)::"memory");
    USABLE(seven.ecx >> 5 & 1, "WAITPKG", "tpause %%ebx", ::"a"(0), "d"(0), "b"(1) : "memory");
    USABLE(extended.edx >> 27 & 1, "RDTSCP", "rdtscp", ::: "rax", "rcx", "rdx", "memory");
    USABLE(extended.ecx >> 5 & 1, "LZCNT", "lzcntq %1, %0",
           : "=r"(other)
           : "r"(scratch)
           : "memory");
    USABLE(extended.ecx & 1, "LAHF", "lahf", ::: "rax", "memory");
    if (seven.ebx & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(16));
        USABLE(1, "FSGSBASE", "rdfsbase %0; wrfsbase %0", : "=r"(other)::"memory");
    }
    if (one.ecx >> 26 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(18));
        CHECK(cpuid(1, 0).ecx >> 27 & 1, "OSXSAVE does not follow CR4");
        uint32_t all = cpuid(0xd, 0).eax;
        USABLE(1, "XSETBV", "xsetbv", ::"a"(all), "d"(0), "c"(0) : "memory");
        CHECK(cpuid(0xd, 0).ebx == cpuid(0xd, 0).ecx, "size %x of all states is not %x",
              cpuid(0xd, 0).ebx, cpuid(0xd, 0).ecx);
        CHECK(cpuid(0xd, 0).ecx <= sizeof(area), "XSAVE area of %x bytes", cpuid(0xd, 0).ecx);
        USABLE(1, "XSAVE", "xsave64 %0", : "+m"(area) : "a"(~0u), "d"(~0u) : "memory");
        d1 = cpuid(0xd, 1);
        USABLE(d1.eax & 1, "XSAVEOPT", "xsaveopt64 %0",
               : "+m"(area)
               : "a"(~0u), "d"(~0u)
               : "memory");
        USABLE(d1.eax >> 1 & 1, "XSAVEC", "xsavec64 %0",
               : "+m"(area)
               : "a"(~0u), "d"(~0u)
               : "memory");
        USABLE(d1.eax >> 2 & 1, "XGETBV(1)", "xgetbv", ::"c"(1) : "rax", "rdx", "memory");
        USABLE(d1.eax >> 3 & 1, "XSAVES", "xsaves64 %0; xrstors64 %0",
               : "+m"(area)
               : "a"(~0u), "d"(~0u)
               : "memory");
        USABLE(one.ecx >> 28 & 1, "AVX", "vaddps %%ymm1, %%ymm2, %%ymm3", ::: "memory");
        USABLE(one.ecx >> 12 & 1, "FMA", "vfmadd132ps %%ymm1, %%ymm2, %%ymm3", ::: "memory");
        USABLE(seven.ebx >> 5 & 1, "AVX2", "vpaddd %%ymm1, %%ymm2, %%ymm3", ::: "memory");
        USABLE(seven.ebx >> 16 & 1, "AVX512F", "vaddps %%zmm1, %%zmm2, %%zmm3", ::: "memory");
    }

    /* what Corbel adds and hides */
    CHECK(cpuid(0, 0).eax >= 0x16, "highest basic leaf is %x", cpuid(0, 0).eax);
    CHECK(!(one.ecx & (1 << 3 | 1 << 5 | 1 << 6)), "MONITOR, VMX or SMX in %x", one.ecx);
    CHECK(cpuid(0xa, 0).eax == 0, "a PMU is shown: %x", cpuid(0xa, 0).eax);
    int vector = TRY("monitor", ::"a"(area), "c"(0), "d"(0) : "memory");
    CHECK(vector == UD, "MONITOR is hidden, but gives vector %d", vector);
    if (vector == UD) /* else it would wait */
        vector = TRY("mwait", ::"a"(0), "c"(0) : "memory");
    CHECK(vector == UD, "MWAIT is hidden, but gives vector %d", vector);
}
