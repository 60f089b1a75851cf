#include "arch/x86/percpu.h"

#include "arch/x86/cpu.h"

#define GDT_CODE                                                                                   \
    0x00af9b000000ffffULL /* 64-bit, present, accessed: the CPU has no reason to write */
#define GDT_DATA 0x00cf93000000ffffULL
#define GDT_TSS                                                                                    \
    0x0000890000000000ULL /* available: LTR refuses a busy one, so each load builds it anew */

/*
 * The GDT's limit is exact here, and 0xffff after every VM exit. That is harmless: only the
 * selectors in percpu.h are ever loaded in root mode.
 */
static void gdt_fill(struct percpu *p)
{
    uint64_t base = (uint64_t)&p->tss, limit = sizeof(p->tss) - 1;

    p->gdt[0] = 0;
    p->gdt[SELECTOR_CODE / 8] = GDT_CODE;
    p->gdt[SELECTOR_DATA / 8] = GDT_DATA;
    p->gdt[SELECTOR_TSS / 8] =
        GDT_TSS | limit | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    p->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
}

static void segments_load(void)
{
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"(SELECTOR_DATA));
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" : : "r"(0));
    __asm__ volatile("pushq %0\n"
                     "leaq 1f(%%rip), %%rax\n"
                     "pushq %%rax\n"
                     "lretq\n"
                     "1:"
                     :
                     : "i"(SELECTOR_CODE)
                     : "rax", "memory");
}

void percpu_load(struct percpu *p, uint32_t number, uint32_t apic_id,
                 const struct percpu_stacks *stacks)
{
    struct descriptor_table gdtr = {.limit = sizeof(p->gdt) - 1, .base = (uint64_t)p->gdt};

    p->self = p;
    p->number = number;
    p->apic_id = apic_id;
    p->stacks = *stacks;
    p->tss.rsp[0] = stacks->main.top;
    for (unsigned i = 0; i < IST_COUNT; i++)
        p->tss.ist[i] = stacks->ist[i].top;
    p->tss.io_map_base = sizeof(p->tss);
    gdt_fill(p);

    __asm__ volatile("lgdt %0" : : "m"(gdtr), "m"(p->gdt));
    segments_load();
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, (uint64_t)p);
    __asm__ volatile("lldt %w0" : : "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS) : "memory");
}
