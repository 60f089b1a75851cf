/* How a guest loader writes guest memory, and the state in which a vCPU starts what was loaded. */
#pragma once

#include "arch/x86/lib/types.h"

/* Both return 0, or a negative error when any byte is not the guest's RAM. Copies are as large as
 * the data allows. */
struct guest_sink {
    int (*write)(void *ctx, uint64_t gpa, const void *data, uint64_t size);
    int (*zero)(void *ctx, uint64_t gpa, uint64_t size);
    void *ctx;
};

enum guest_mode {
    GUEST_REAL,      /* base 0, limit 64 KiB, whatever the selectors; GDT as at reset */
    GUEST_PROTECTED, /* 32-bit, without paging (cr3 and efer 0) */
    GUEST_LONG,      /* 64-bit */
};

/*
 * The boot processor's start: flat segments (unless in real mode) from the GDT at gdt_base,
 * interrupts off, every register not named 0.
 */
struct guest_start {
    enum guest_mode mode;
    uint64_t rip, rsp, rax, rbx, rdx, rsi, rdi;
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_base;
    uint16_t gdt_limit;
    uint16_t code_selector; /* base 0, limit 4 GiB, DPL 0; L=1 in long mode */
    uint16_t data_selector; /* DS, ES, SS, FS, GS: base 0, limit 4 GiB, writable */
};
