/* A board whose VM has no memory: nothing of what a test does reaches any. */
#pragma once

#include "arch/x86/lib/errno.h"
#include "mm/guest_memory.h"

int guest_memory_read(const struct guest_memory *gm, uint64_t gpa, void *data, uint64_t size)
{
    return -EFAULT;
}

int guest_memory_write(struct guest_memory *gm, uint64_t gpa, const void *data, uint64_t size)
{
    return -EFAULT;
}

int guest_memory_load(const struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t *value)
{
    return -EFAULT;
}

int guest_memory_store(struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t value)
{
    return -EFAULT;
}

int guest_memory_write_ram(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    return -EFAULT;
}

int guest_memory_read_operand(const struct guest_memory *gm, uint64_t gpa, unsigned size,
                              uint64_t *value)
{
    return -EFAULT;
}

int guest_memory_write_operand(struct guest_memory *gm, uint64_t gpa, unsigned size, uint64_t value)
{
    return -EFAULT;
}

int guest_memory_pin(struct guest_memory *gm, uint64_t gpa, uint64_t size, bool write,
                     paddr *address, uint64_t *length)
{
    return -EFAULT;
}

int guest_memory_back(const struct guest_memory *gm, uint64_t gpa)
{
    return -EFAULT;
}

uint64_t guest_memory_leaving(const struct guest_memory *gm)
{
    return 0;
}

bool guest_memory_settled(const struct guest_memory *gm, uint64_t leaving)
{
    return true;
}

void guest_memory_unpin(paddr address, uint64_t length)
{
}
