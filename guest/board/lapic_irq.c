/* Vectors: posted, requested, in service, completed. */
#include "guest/board/lapic_internal.h"

bool lapic_post(struct lapic *l, uint8_t vector, bool level)
{
    uint64_t bit = BIT(vector % 64);
    unsigned word = vector / 64u;

    /* The trigger mode goes first, so that who sees the vector sees its mode. It seldom changes. */
    if (UNLIKELY(level)) {
        __atomic_fetch_or(&l->level[word], bit, __ATOMIC_RELAXED);
    } else if (UNLIKELY(__atomic_load_n(&l->level[word], __ATOMIC_RELAXED) & bit)) {
        __atomic_fetch_and(&l->level[word], ~bit, __ATOMIC_RELAXED);
    }
    __atomic_fetch_or(&l->posted.pir[word], bit, __ATOMIC_SEQ_CST);
    return !(__atomic_fetch_or(&l->posted.control, POSTED_ON, __ATOMIC_SEQ_CST) & POSTED_ON);
}

void lapic_sync_posted(struct lapic *l)
{
    /* ON before PIR: a vector posted in between is picked up now and notified once too often, never
     * lost. */
    __atomic_fetch_and(&l->posted.control, ~POSTED_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(l->posted.pir); i++) {
        if (__atomic_load_n(&l->posted.pir[i], __ATOMIC_RELAXED) == 0) {
            continue;
        }
        uint64_t vectors = __atomic_exchange_n(&l->posted.pir[i], 0, __ATOMIC_SEQ_CST);
        uint64_t level = __atomic_load_n(&l->level[i], __ATOMIC_RELAXED) & vectors;
        for (unsigned half = 0; half < 2; half++) {
            unsigned word = i * 2 + half;
            uint32_t bits = (uint32_t)(vectors >> (half * 32));
            if (bits != 0) {
                uint32_t *tmr = vector_word(l, LAPIC_TMR, word);
                *tmr = (*tmr & ~bits) | (uint32_t)(level >> (half * 32));
                *vector_word(l, LAPIC_IRR, word) |= bits;
                l->irr_words |= (uint8_t)(1u << word);
            }
        }
    }
}

void lapic_clear_posted(struct lapic *l)
{
    __atomic_fetch_and(&l->posted.control, ~POSTED_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(l->posted.pir); i++) {
        __atomic_store_n(&l->posted.pir[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&l->level[i], 0, __ATOMIC_RELAXED);
    }
}

void lapic_raise(struct lapic *l, uint8_t vector)
{
    unsigned word = vector / 32u;
    uint32_t bit = 1u << (vector % 32);

    *vector_word(l, LAPIC_IRR, word) |= bit;
    *vector_word(l, LAPIC_TMR, word) &= ~bit;
    l->irr_words |= (uint8_t)(1u << word);
}

/* The highest vector of IRR or ISR, looking only at the words that may be non-zero. */
static inline int highest_vector(const struct lapic *l, unsigned offset, unsigned words)
{
    while (words != 0) {
        unsigned word = (unsigned)__builtin_clz(words) ^ 31;
        uint32_t bits = *vector_word(l, offset, word);
        if (LIKELY(bits != 0)) {
            return (int)(word * 32 + ((unsigned)__builtin_clz(bits) ^ 31));
        }
        words &= ~(1u << word);
    }
    return -1;
}

/* Without virtual-interrupt delivery, words says exactly which words are non-zero. */
static inline void clear_bit(const struct lapic *l, unsigned offset, unsigned word, uint32_t bit,
                             uint8_t *words)
{
    uint32_t left = *vector_word(l, offset, word) & ~bit;

    *vector_word(l, offset, word) = left;
    if (left == 0 && !l->virtual_delivery) {
        *words &= (uint8_t) ~(1u << word);
    }
}

static inline uint8_t priority(const struct lapic *l)
{
    uint8_t tpr = lapic_tpr(l);
    int isr = highest_vector(l, LAPIC_ISR, l->isr_words);

    return isr >> 4 > tpr >> 4 ? (uint8_t)(isr & 0xf0) : tpr;
}

int lapic_highest_irr(const struct lapic *l)
{
    return highest_vector(l, LAPIC_IRR, l->irr_words);
}

int lapic_highest_isr(const struct lapic *l)
{
    return highest_vector(l, LAPIC_ISR, l->isr_words);
}

void lapic_count_words(struct lapic *l)
{
    l->irr_words = 0;
    l->isr_words = 0;
    for (unsigned word = 0; word < VECTOR_WORDS; word++) {
        if (l->virtual_delivery || *vector_word(l, LAPIC_IRR, word) != 0) {
            l->irr_words |= (uint8_t)(1u << word);
        }
        if (l->virtual_delivery || *vector_word(l, LAPIC_ISR, word) != 0) {
            l->isr_words |= (uint8_t)(1u << word);
        }
    }
}

void lapic_set_virtual_delivery(struct lapic *l, bool on)
{
    l->virtual_delivery = on;
    lapic_count_words(l);
}

uint8_t lapic_update_ppr(struct lapic *l)
{
    uint8_t ppr = priority(l);

    l->page[LAPIC_PPR / 4] = ppr;
    return ppr;
}

int lapic_evaluate(const struct lapic *l)
{
    int irr = highest_vector(l, LAPIC_IRR, l->irr_words);

    return irr >> 4 > priority(l) >> 4 ? irr : -1;
}

void lapic_accept(struct lapic *l, uint8_t vector)
{
    unsigned word = vector / 32u;
    uint32_t bit = 1u << (vector % 32);

    clear_bit(l, LAPIC_IRR, word, bit, &l->irr_words);
    *vector_word(l, LAPIC_ISR, word) |= bit;
    l->isr_words |= (uint8_t)(1u << word);
    l->page[LAPIC_PPR / 4] = vector & 0xf0u;
}

void lapic_eoi(struct lapic *l)
{
    int vector = highest_vector(l, LAPIC_ISR, l->isr_words);
    unsigned word = (unsigned)vector / 32;
    uint32_t bit = 1u << ((unsigned)vector % 32);

    if (vector < 0) {
        return;
    }
    clear_bit(l, LAPIC_ISR, word, bit, &l->isr_words);
    if (UNLIKELY(*vector_word(l, LAPIC_TMR, word) & bit)) {
        lapic_broadcast_eoi(l, (uint8_t)vector);
    }
}

bool lapic_eoi_is_plain(const struct lapic *l)
{
    if (l->virtual_delivery || l->irr_words != 0) {
        return false;
    }
    int vector = lapic_highest_isr(l);
    return vector >= 0 &&
           !(*vector_word(l, LAPIC_TMR, (unsigned)vector / 32) >> (unsigned)vector % 32 & 1);
}

void lapic_eoi_exit(struct lapic *l, uint8_t vector)
{
    /* The exit was asked for by the EOI-exit bitmap; TMR may have changed since. */
    lapic_broadcast_eoi(l, vector);
}

unsigned lapic_blocking_class(const struct lapic *l)
{
    int request = highest_vector(l, LAPIC_IRR, l->irr_words) >> 4;

    /* While a vector of that class or above is in service, its EOI comes first and exits anyhow. */
    if (request <= 0 || lapic_tpr(l) >> 4 < request ||
        highest_vector(l, LAPIC_ISR, l->isr_words) >> 4 >= request) {
        return 0;
    }
    return (unsigned)request;
}

uint16_t lapic_interrupt_status(const struct lapic *l)
{
    int irr = lapic_highest_irr(l);
    int isr = lapic_highest_isr(l);

    return (uint16_t)((isr < 0 ? 0 : isr) << 8 | (irr < 0 ? 0 : irr));
}

void lapic_eoi_bitmap(const struct lapic *l, uint64_t bitmap[4])
{
    for (unsigned word = 0; word < VECTOR_WORDS; word++) {
        uint32_t in_flight = *vector_word(l, LAPIC_IRR, word) | *vector_word(l, LAPIC_ISR, word);
        uint64_t level = in_flight & *vector_word(l, LAPIC_TMR, word);
        bitmap[word / 2] |= level << (word % 2 * 32);
    }
}
