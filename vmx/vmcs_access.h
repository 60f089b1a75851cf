/*
 * Reading and writing fields of the current VMCS. The macros take a constant field and refuse one
 * of another width at compile time; the _any forms serve tables, dumps and the auditor. Hosted code
 * supplies the three functions itself.
 */
#pragma once

#include "arch/x86/count.h"
#include "vmx/vmcs.h"

#if __STDC_HOSTED__
uint64_t vmread_any(enum vmcs_field field);
void vmwrite_any(enum vmcs_field field, uint64_t value);
bool vmread_checked(enum vmcs_field field, uint64_t *value);
#define vmwrite_hot_any vmwrite_any
#else
static inline uint64_t vmread_any(enum vmcs_field field)
{
    uint64_t value;

    COUNT(vmread);
    __asm__ volatile("vmread %1, %0" : "=rm"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

/* Says on the log which field a refused VMWRITE was for. */
void vmwrite_failed(enum vmcs_field field, uint64_t value);

static inline void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    COUNT(vmwrite);
    __asm__ goto("vmwrite %1, %0\n\tjbe %l2" ::"r"((uint64_t)field), "rm"(value)
                 : "cc", "memory"
                 : failed);
    return;
failed:
    vmwrite_failed(field, value);
}

/* For fields that every CPU has, where each instruction counts: such a write cannot be refused. */
static inline void vmwrite_hot_any(enum vmcs_field field, uint64_t value)
{
    COUNT(vmwrite);
    __asm__ volatile("vmwrite %1, %0" ::"r"((uint64_t)field), "rm"(value) : "cc", "memory");
}

/* VMREAD of a field that this CPU may lack: false when it does. */
static inline bool vmread_checked(enum vmcs_field field, uint64_t *value)
{
    bool ok;

    *value = 0;
    __asm__ volatile("vmread %2, %0" : "+r"(*value), "=@cca"(ok) : "r"((uint64_t)field));
    return ok;
}
#endif

#define VMCS_ASSERT_WIDTH(field, width)                                                            \
    _Static_assert(VMCS_FIELD_WIDTH(field) == (width), "VMCS field of another width: " #field)

#define vmread16(field)                                                                            \
    ({                                                                                             \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_16);                                                   \
        (uint16_t) vmread_any(field);                                                              \
    })
#define vmread32(field)                                                                            \
    ({                                                                                             \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_32);                                                   \
        (uint32_t) vmread_any(field);                                                              \
    })
#define vmread64(field)                                                                            \
    ({                                                                                             \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_64);                                                   \
        vmread_any(field);                                                                         \
    })
#define vmread_natural(field)                                                                      \
    ({                                                                                             \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_NATURAL);                                              \
        vmread_any(field);                                                                         \
    })
#define vmwrite_hot32(field, value)                                                                \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_32);                                                   \
        vmwrite_hot_any(field, value); /* the upper half is ignored */                             \
    } while (0)
#define vmwrite_hot_natural(field, value)                                                          \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_NATURAL);                                              \
        vmwrite_hot_any(field, value);                                                             \
    } while (0)
#define vmwrite16(field, value)                                                                    \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_16);                                                   \
        vmwrite_any(field, (uint16_t)(value));                                                     \
    } while (0)
#define vmwrite32(field, value)                                                                    \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_32);                                                   \
        vmwrite_any(field, (uint32_t)(value));                                                     \
    } while (0)
#define vmwrite64(field, value)                                                                    \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_64);                                                   \
        vmwrite_any(field, value);                                                                 \
    } while (0)
#define vmwrite_natural(field, value)                                                              \
    do {                                                                                           \
        VMCS_ASSERT_WIDTH(field, VMCS_WIDTH_NATURAL);                                              \
        vmwrite_any(field, value);                                                                 \
    } while (0)
