/* See msix.h. */
#include "guest/board/msix.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define CAPABILITY_ID   0x11
#define CAPABILITY_SIZE 12
#define CONTROL         2 /* 16 bits: the table's size less one, then */
#define CONTROL_HIGH    3
#define HIGH_MASK_ALL   BIT(6)
#define HIGH_ENABLE     BIT(7)
#define TABLE_OFFSET    4
#define PENDING_OFFSET  8
#define ENTRY_MASKED    BIT(0)
#define ENTRY_ADDRESS   (~3ULL) /* bits that there are: messages are dwords */

static void put32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof(value));
}

int msix_init(struct msix *m, struct pci_function *f, struct device *dev, unsigned vectors,
              unsigned bar, uint32_t table, uint32_t pending)
{
    int at;

    if (vectors < 1 || vectors > MSIX_VECTORS || bar >= PCI_BARS || (table | pending) % 8 != 0)
        return -EINVAL;
    at = pci_function_capability(f, CAPABILITY_ID, CAPABILITY_SIZE);
    if (at < 0)
        return at;
    *m = (struct msix){.function = f, .dev = dev, .capability = (unsigned)at, .vectors = vectors};
    f->config[at + CONTROL] = (uint8_t)(vectors - 1);
    f->writable[at + CONTROL_HIGH] = HIGH_ENABLE | HIGH_MASK_ALL;
    put32(f->config + at + TABLE_OFFSET, table | bar);
    put32(f->config + at + PENDING_OFFSET, pending | bar);
    msix_reset(m);
    return 0;
}

static uint8_t control(const struct msix *m)
{
    return m->function->config[m->capability + CONTROL_HIGH];
}

bool msix_enabled(const struct msix *m)
{
    return control(m) & HIGH_ENABLE;
}

static bool masked(const struct msix *m, unsigned vector)
{
    return (control(m) & (HIGH_ENABLE | HIGH_MASK_ALL)) != HIGH_ENABLE ||
           (m->entry[vector].control & ENTRY_MASKED);
}

static void send_unmasked(struct msix *m, unsigned vector)
{
    m->pending &= ~BIT(vector);
    device_msi(m->dev, m->entry[vector].address, m->entry[vector].data);
}

void msix_send(struct msix *m, unsigned vector)
{
    if (vector >= m->vectors || !msix_enabled(m))
        return;
    if (masked(m, vector))
        m->pending |= BIT(vector);
    else
        send_unmasked(m, vector);
}

void msix_written(struct msix *m)
{
    if (!m->pending)
        return;
    for (unsigned i = 0; i < m->vectors; i++)
        if ((m->pending & BIT(i)) && !masked(m, i))
            send_unmasked(m, i);
}

/* --- the table and the pending bits --- */

/* Accesses of other than 4 and 8 aligned bytes are undefined: they read ones and write nothing. */
static bool is_good(const struct msix *m, uint64_t offset, unsigned size)
{
    return (size == 4 || size == 8) && offset % size == 0 &&
           offset + size <= m->vectors * MSIX_ENTRY;
}

uint64_t msix_table_read(const struct msix *m, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    if (!is_good(m, offset, size))
        return UINT64_MAX;
    memcpy(&value, (const uint8_t *)m->entry + offset, size);
    return value;
}

void msix_table_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value)
{
    struct msix_entry *e;

    if (!is_good(m, offset, size))
        return;
    memcpy((uint8_t *)m->entry + offset, &value, size);
    e = &m->entry[offset / MSIX_ENTRY];
    e->address &= ENTRY_ADDRESS;
    e->control &= ENTRY_MASKED;
    msix_written(m);
}

uint64_t msix_pending_read(const struct msix *m, uint64_t offset, unsigned size)
{
    return offset < 8 ? m->pending >> (8 * offset) : 0;
}

/* --- life --- */

void msix_reset(struct msix *m)
{
    memset(m->entry, 0, sizeof(m->entry));
    for (unsigned i = 0; i < m->vectors; i++)
        m->entry[i].control = ENTRY_MASKED;
    m->pending = 0;
}

void msix_save(const struct msix *m, struct state_writer *w)
{
    for (unsigned i = 0; i < m->vectors; i++) {
        state_put_u64(w, m->entry[i].address);
        state_put_u32(w, m->entry[i].data);
        state_put_u8(w, m->entry[i].control & ENTRY_MASKED);
    }
    state_put_u64(w, m->pending);
}

void msix_load(struct msix *m, struct state_reader *r)
{
    for (unsigned i = 0; i < m->vectors; i++) {
        m->entry[i].address = state_get_u64(r) & ENTRY_ADDRESS;
        m->entry[i].data = state_get_u32(r);
        m->entry[i].control = state_get_u8(r) & ENTRY_MASKED;
    }
    m->pending = state_get_u64(r) & (m->vectors ? UINT64_MAX >> (64 - m->vectors) : 0);
}
