/* A vCPU's registers between Corbel's form and gdb's. */
#pragma once

#include "guest/gdb/stub.h"
#include "guest/vm/vm.h"

/* Of the vCPU that is loaded. Setting returns -EINVAL, with nothing changed, for what the processor
 * would refuse. */
void gdb_get_registers(struct vcpu *v, struct gdb_registers *r);
int gdb_set_registers(struct vcpu *v, const struct gdb_registers *r) MUST_CHECK;
/* Guest-physical address behind a linear one by these registers' page tables, whatever its rights;
 * -EFAULT. */
int gdb_translate(const struct vcpu *v, const struct gdb_registers *r, uint64_t linear,
                  uint64_t *gpa) MUST_CHECK;
