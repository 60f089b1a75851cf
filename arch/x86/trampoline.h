/* The first steps of a processor that starts: the page to which a startup IPI sends it. */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * What the page tells the processor, behind the code. token lets one pass, and only one: who comes
 * late, when its turn has been given away, stops for good before it has touched anything.
 */
struct PACKED trampoline_data {
    uint32_t token; /* 1: taken by the one that passes */
    uint32_t cr3;   /* maps this page to itself, and the microkernel */
    uint32_t cr4;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint32_t protected_offset; /* far pointers into this page, by linear address */
    uint16_t protected_selector;
    uint32_t long_offset;
    uint16_t long_selector;
    uint64_t stack;
    uint64_t entry; /* void entry(void *argument), on stack */
    uint64_t argument;
};

extern const uint8_t trampoline_begin[], trampoline_protected[], trampoline_long[];
extern const uint8_t trampoline_gdt[], trampoline_gdt_end[], trampoline_data[], trampoline_end[];

#define TRAMPOLINE_CODE32 0x08
#define TRAMPOLINE_DATA   0x10
#define TRAMPOLINE_CODE64 0x18
