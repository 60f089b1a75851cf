/* What the files of the virtual local APIC share among themselves. */
#pragma once

#include "guest/board/lapic.h"

/* Error status register */
#define ESR_SEND_ILLEGAL_VECTOR    0x20u
#define ESR_RECEIVE_ILLEGAL_VECTOR 0x40u
#define ESR_ILLEGAL_REGISTER       0x80u
#define ESR_VALID                  0xe0u

/* What a guest can set in each register; LVT delivery status and remote IRR are read-only. */
#define SVR_WRITABLE       0x3ffu
#define TDCR_WRITABLE      0xbu
#define DFR_READ_AS_ONE    0x0fffffffu
#define LVT_TIMER_WRITABLE 0x700ffu
#define LVT_PERF_WRITABLE  0x107ffu /* and thermal */
#define LVT_LINT_WRITABLE  0x1a7ffu
#define LVT_ERROR_WRITABLE 0x100ffu
#define LVT_COUNT          6u /* 320h-370h */
#define ICR_WRITABLE       0xccfffu

#define MESSAGE_MODE(low) (((low) >> 8) & 7) /* of LVT and ICR: enum apic_mode */

#define VECTOR_WORDS    8u
#define FIRST_VECTOR    16u
#define LINT_PIN_VALID  3u
#define LAPIC_MAX_SHIFT 16u

static inline uint32_t *vector_word(const struct lapic *l, unsigned offset, unsigned word)
{
    return &l->page[offset / 4 + word * 4];
}

/* What another CPU reads of a vCPU's registers may be old, but not torn. */
static inline uint32_t lapic_peek(const struct lapic *l, unsigned offset)
{
    return __atomic_load_n(&l->page[offset / 4], __ATOMIC_RELAXED);
}

/* What a guest may set in the LVT register number n, from the timer's at 320h on. */
extern const uint32_t lapic_lvt_writable[LVT_COUNT];

/* lapic.c: WRMSR IA32_APIC_BASE: 0 or -EINVAL. */
int lapic_write_base(struct lapic *l, uint64_t value);
/* lapic_irq.c: which words of IRR and ISR hold vectors, after the page was changed otherwise. */
void lapic_count_words(struct lapic *l);
void lapic_clear_posted(struct lapic *l);
/* lapic_ipi.c */
void lapic_write_icr(struct lapic *l, uint32_t low, uint32_t dest);
void lapic_self_ipi(struct lapic *l, uint8_t vector);
/* Note an error (bits of ESR) and raise the error interrupt. From any CPU. */
void lapic_error(struct lapic *l, uint32_t error);
/* lapic_timer.c */
void lapic_write_lvt_timer(struct lapic *l, uint32_t value);
void lapic_write_tmict(struct lapic *l, uint32_t value);
void lapic_write_tdcr(struct lapic *l, uint32_t value);
uint32_t lapic_read_tmcct(struct lapic *l);
/* The divide configuration's power of two. */
static inline uint8_t lapic_divide_shift(uint32_t tdcr)
{
    return (uint8_t)((((tdcr & 3) | ((tdcr >> 1) & 4)) + 1) & 7);
}
