/* VMX instructions are undefined in a guest; VMCALL alone reaches Corbel, which knows no call yet.
 */
#include "guest.h"

static uint64_t memory[2];

void test(void)
{
    CHECK(TRY("vmxon %0", : "+m"(memory)::"memory") == UD, "VMXON is no #UD");
    CHECK(TRY("vmxoff", ::: "memory") == UD, "VMXOFF is no #UD");
    CHECK(TRY("vmlaunch", ::: "memory") == UD, "VMLAUNCH is no #UD");
    CHECK(TRY("vmresume", ::: "memory") == UD, "VMRESUME is no #UD");
    CHECK(TRY("vmclear %0", : "+m"(memory)::"memory") == UD, "VMCLEAR is no #UD");
    CHECK(TRY("vmptrld %0", : "+m"(memory)::"memory") == UD, "VMPTRLD is no #UD");
    CHECK(TRY("vmptrst %0", : "+m"(memory)::"memory") == UD, "VMPTRST is no #UD");
    CHECK(TRY("vmread %%rax, %%rcx", ::: "rcx", "memory") == UD, "VMREAD is no #UD");
    CHECK(TRY("vmwrite %%rax, %%rcx", ::: "memory") == UD, "VMWRITE is no #UD");
    CHECK(TRY("invept %0, %%rax", ::"m"(memory) : "memory") == UD, "INVEPT is no #UD");
    CHECK(TRY("invvpid %0, %%rax", ::"m"(memory) : "memory") == UD, "INVVPID is no #UD");
    CHECK(TRY("vmfunc", ::"a"(0), "c"(0) : "memory") == UD, "VMFUNC is no #UD");
    CHECK(TRY("mov %0, %%cr4", ::"r"(READ_CR(4) | BIT(13))
              : "memory") == GP,
          "CR4.VMXE can be set");
    CHECK(TRY("mov %0, %%cr4", ::"r"(READ_CR(4) | BIT(14))
              : "memory") == GP,
          "CR4.SMXE can be set");
    int64_t rax = 0x7777;
    int vector = TRY("vmcall", : "+a"(rax)::"memory");
    CHECK(vector == -1, "VMCALL gives vector %d", vector);
    CHECK(rax == -1000, "an unknown hypercall returns %ld", rax);
}
