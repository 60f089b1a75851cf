/*
 * EOI without an exit, where the hardware does not deliver interrupts itself. While an interrupt
 * is in service, and none waits, bit 0 of a byte of the guest's says that it may clear that instead
 * of writing the EOI register; at the next exit it is found. In root mode the bit is taken back, so
 * that everybody sees a local APIC that is up to date.
 */
#include "guest/cpu/pv.h"

#define MAY_CLEAR BIT(0)

void pv_take_eoi(struct vcpu *v)
{
    uint8_t byte;

    v->pv.eoi_left = false;
    if (guest_memory_exchange(&v->vm->memory, v->pv.eoi & ~PV_ON, 0, &byte) < 0 ||
        (byte & MAY_CLEAR)) /* not yet; it will write the register */
        return;
    lapic_eoi(&v->lapic);
    v->pv.eois++;
}

void pv_leave_eoi(struct vcpu *v)
{
    uint8_t byte;

    v->pv.eoi_left =
        guest_memory_exchange(&v->vm->memory, v->pv.eoi & ~PV_ON, MAY_CLEAR, &byte) == 0;
}
