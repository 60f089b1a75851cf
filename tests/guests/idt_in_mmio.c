/* An IDT, a stack and page tables in device memory: the VM ends somehow, the host does not. */
#include "guest.h"

#define BYTE_OF_RUN 0x50

void test(void)
{
    uint8_t run = cmos_read(BYTE_OF_RUN);
    cmos_write(BYTE_OF_RUN, (uint8_t)(run < 0x91 || run > 0x94 ? 0x91 : run + 1));
    say("PASS idt_in_mmio, if Corbel is alive after this\n");
    switch (cmos_read(BYTE_OF_RUN)) {
    case 0x91:
        load_idt((void *)IOAPIC, 4095);
        asm volatile("int3" ::: "memory");
        break;
    case 0x92:
        asm volatile("mov %0, %%rsp; push %%rax; int3" ::"r"(IOAPIC + 0x800) : "memory");
        break;
    case 0x93:
        asm volatile("jmp *%0" ::"r"(IOAPIC) : "memory");
        break;
    case 0x94:
        WRITE_CR(3, IOAPIC);
        break;
    default:
        break;
    }
}
