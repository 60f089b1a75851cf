/* Segment states that are legal but unusual survive an exit and an entry: null SS, conforming CS,
 * null LDTR, 16 bits. */
#include "guest.h"

void far_call(uint32_t selector, void (*code)(void));
extern void code_32(void), code_16(void), code_64(void);
extern uint32_t far_result;

void test(void)
{
    static const struct {
        uint32_t offset;
        uint16_t selector;
    } PACKED not_present = {0, 0x68};
    uint32_t leaf = cpuid(0, 0).eax, a = 0, c = 0;
    asm volatile("mov %%ss, %%esi; mov %%eax, %%ss; cpuid; mov %%esi, %%ss"
                 : "+a"(a), "+c"(c)::"rbx", "rdx", "rsi", "memory");
    CHECK(a == leaf, "CPUID under a null SS gives %x", a);
    a = c = 0;
    asm volatile("lldt %%ax; cpuid" : "+a"(a), "+c"(c)::"rbx", "rdx", "memory");
    CHECK(a == leaf, "CPUID under a null LDTR gives %x", a);
    a = c = 0;
    asm volatile(
        "mov %%ds, %%esi; mov %%eax, %%ds; mov %%eax, %%es; cpuid; mov %%esi, %%ds; mov %%esi, %%es"
        : "+a"(a), "+c"(c)::"rbx", "rdx", "rsi", "memory");
    CHECK(a == leaf, "CPUID under null DS and ES gives %x", a);
    far_call(0x60, code_64);
    CHECK(far_result == leaf, "conforming code: %x", far_result);
    far_call(0x48, code_32);
    CHECK(far_result == leaf, "32-bit code: %x", far_result);
    far_result = 0;
    far_call(0x50, code_16);
    CHECK(far_result == leaf, "16-bit code: %x", far_result);
    int vector = TRY("ltr %%ax", ::"a"(0x30) : "memory");
    CHECK(vector == GP && caught.error == 0x30, "LTR of a busy TSS: vector %d, error %lx", vector,
          caught.error);
    vector = TRY("ltr %%ax", ::"a"(0) : "memory");
    CHECK(vector == GP && caught.error == 0, "LTR of 0: vector %d", vector);
    vector = TRY("mov %%eax, %%ss", ::"a"(0x10) : "memory");
    CHECK(vector == GP && caught.error == 0x10, "SS of code: vector %d, error %lx", vector,
          caught.error);
    vector = TRY("mov %%eax, %%ds", ::"a"(0x7f8) : "memory");
    CHECK(vector == GP && caught.error == 0x7f8, "DS beyond the GDT: vector %d, error %lx", vector,
          caught.error);
    vector = TRY("ljmpl *%0", ::"m"(not_present) : "memory");
    CHECK(vector == NP && caught.error == 0x68,
          "far jump to code not present: vector %d, error %lx", vector, caught.error);
}
