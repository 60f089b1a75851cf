/* Guest-linear memory, as the code that a vCPU executes reaches it. */
#pragma once

#include "guest/cpu/vcpu.h"

/* The 16 bytes at RIP, when there is a quick way to them. */
bool linear_fetch_quick(struct vcpu *v, uint64_t rip, uint8_t bytes[16]);
/* Read size bytes (at most a page) at a linear address as the guest's code would fetch or read
 * them; how many could. */
size_t linear_fetch(struct vcpu *v, uint64_t linear, void *data, size_t size);
/* Translate; -EFAULT with the page fault's error code. access: WALK_* of guest/cpu/walk.h. */
int linear_translate(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa,
                     uint32_t *error) MUST_CHECK;
/* Copy, a #PF noted in the vCPU and -EFAULT when the guest's tables forbid it. -ENOMEM: the VM is
 * to stand still until there is memory for that. */
int linear_read(struct vcpu *v, uint64_t linear, void *data, size_t size) MUST_CHECK;
int linear_write(struct vcpu *v, uint64_t linear, const void *data, size_t size) MUST_CHECK;
/* Whether size bytes (1 to 8) could be written; else as linear_write(). */
int linear_writable(struct vcpu *v, uint64_t linear, size_t size) MUST_CHECK;
/* 16, 32 or 64: the width of code at CS:RIP. */
unsigned vcpu_code_width(const struct vcpu *v);
unsigned vcpu_cpl(void);
/* What comes behind the last byte of a page: outside 64-bit mode linear addresses end at 4 GiB. */
uint64_t linear_wrap(const struct vcpu *v, uint64_t linear);
/* The linear address of the instruction at CS:RIP. */
uint64_t vcpu_linear_rip(const struct vcpu *v);
/* Read what the guest's page tables show there, whatever its rights, and note nothing in the guest.
 * How many bytes could be read. */
size_t linear_peek(struct vcpu *v, uint64_t linear, void *data, size_t size);
/* The same for its guest-physical address; -EFAULT. */
int linear_find(struct vcpu *v, uint64_t linear, uint64_t *gpa) MUST_CHECK;
