/* The guest's FPU, XCR0 and IA32_XSS: loaded while its vCPU is, also in root mode, which uses none
 * of them. */
#pragma once

#include "vmx/vcpu.h"

/* Bytes of struct vmx_vcpu.fpu on this CPU. */
size_t fpu_size(void);
/* Registers to area, area to registers. */
void fpu_save(struct vmx_vcpu *v);
void fpu_load(struct vmx_vcpu *v);
/* Whether XSAVEC does what the SDM says, or is not there. No vCPU is loaded. */
bool fpu_xsavec_right(void);
/* The area, XCR0 and XSS as after RESET. */
void fpu_reset(struct vmx_vcpu *v);
/* Whether fpu_load() would be accepted by the CPU: for state from outside. */
bool fpu_valid(const struct vmx_vcpu *v);
