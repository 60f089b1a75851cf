/* The CPU models of tests/unit/data/cpus as something that can be probed. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "vmx/caps.h"

struct cpu {
    struct {
        uint32_t leaf, subleaf, regs[4];
    } cpuid[96];
    struct {
        uint32_t number;
        uint64_t value;
    } msr[40];
    unsigned cpuids, msrs;
};

static void cpu_load(struct cpu *cpu, const char *name)
{
    char path[128], line[256];

    memset(cpu, 0, sizeof(*cpu));
    snprintf(path, sizeof(path), "tests/unit/data/cpus/%s.txt", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        unsigned a, b, r[4], msr;
        unsigned long long v;
        if (sscanf(line, "cpuid %x %x = %x %x %x %x", &a, &b, &r[0], &r[1], &r[2], &r[3]) == 6) {
            assert_uint_in_range(cpu->cpuids, 0, 95);
            cpu->cpuid[cpu->cpuids].leaf = a;
            cpu->cpuid[cpu->cpuids].subleaf = b;
            memcpy(cpu->cpuid[cpu->cpuids++].regs, r, sizeof(r));
        } else if (sscanf(line, "msr %x = %llx", &msr, &v) == 2) {
            assert_uint_in_range(cpu->msrs, 0, 39);
            cpu->msr[cpu->msrs].number = msr;
            cpu->msr[cpu->msrs++].value = v;
        } else {
            fail_msg("%s: %s", path, line);
        }
    }
    fclose(f);
    if (!cpu->cpuid[0].regs[1]) { /* a short file: leaf 1 and MSRs only */
        cpu->cpuid[cpu->cpuids].leaf = 0;
        memcpy(cpu->cpuid[cpu->cpuids++].regs, (uint32_t[4]){1, 0x756e6547, 0x6c65746e, 0x49656e69},
               16);
    }
}

static uint64_t *cpu_msr(struct cpu *cpu, uint32_t msr)
{
    for (unsigned i = 0; i < cpu->msrs; i++)
        if (cpu->msr[i].number == msr)
            return &cpu->msr[i].value;
    return NULL;
}

static uint64_t mock_rdmsr(void *ctx, uint32_t msr)
{
    uint64_t *v = cpu_msr(ctx, msr);

    /* The program that recorded the files did not know of this one. */
    if (!v && msr == 0x492 && *cpu_msr(ctx, 0x482) >> 32 & BIT(17))
        return 0;
    if (!v)
        fail_msg("#GP: RDMSR of %x, which this CPU does not have", msr);
    return *v;
}

static void mock_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpu *cpu = ctx;

    memset(regs, 0, 16);
    for (unsigned i = 0; i < cpu->cpuids; i++)
        if (cpu->cpuid[i].leaf == leaf && cpu->cpuid[i].subleaf == subleaf)
            memcpy(regs, cpu->cpuid[i].regs, 16);
}

static __attribute__((unused)) void cpu_probe(struct cpu *cpu, struct vmx_caps *caps)
{
    vmx_caps_read(caps, &(struct vmx_probe){cpu, mock_rdmsr, mock_cpuid});
}
