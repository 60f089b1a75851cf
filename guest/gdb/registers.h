/*
 * A vCPU's registers as gdb numbers them, and the target description (XML) that tells gdb so: the
 * features org.gnu.gdb.i386.core, .sse and .segments, and Corbel's own, org.corbel.system. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* Beside the general registers, which gdb has in an order of its own: FCTRL, FSTAT, FTAG, FISEG,
 * FIOFF, FOSEG, FOOFF, FOP. */
#define GDB_FPU_WORDS 8

struct gdb_registers {
    uint64_t gpr[16]; /* enum gpr of vmx/vcpu.h */
    uint64_t rip;
    uint64_t fs_base, gs_base, k_gs_base;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, gdt_base, idt_base, tr_base;
    uint32_t eflags;
    uint32_t selector[6]; /* CS, SS, DS, ES, FS, GS */
    uint32_t fpu[GDB_FPU_WORDS], mxcsr;
    uint8_t st[8][10], xmm[16][16];
};

unsigned gdb_register_count(void);
/* The bytes of register n within r, little-endian, and how many; NULL when there is none. */
void *gdb_register(struct gdb_registers *r, unsigned n, size_t *size);
/* Whether gdb may change it: general registers, RIP, RFLAGS, FS and GS base, x87 and SSE. */
bool gdb_register_writable(unsigned n);

/*
 * Bytes offset to offset + size of the description; returns how many there are, fewer than size
 * only at its end.
 */
size_t gdb_target_xml(size_t offset, char *out, size_t size);
