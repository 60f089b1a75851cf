/* See e1000.h: what is in its rings, and in their buffers. Names are the manuals'. */
#include "drivers/e1000.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* Of what is sent the first word has the length and these, in either kind of descriptor; the second
 * one has DD when it has gone. */
#define TX_EOP          BIT(24)
#define TX_FCS          BIT(25)
#define TX_RS           BIT(27)
#define TX_ADVANCED     (BIT(29) | 3u << 20) /* DEXT, an advanced data descriptor */
#define TX_PAYLEN_SHIFT 14                   /* in the second word of an advanced one */
#define TX_DD           BIT(0)

#define RX_DD  BIT(0)
#define RX_EOP BIT(1)
#define RX_BAD (BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(7)) /* CE, SE, SEQ, CXE, RXE */

static unsigned after(unsigned n)
{
    return (n + 1) % E1000_RING;
}

static bool is_advanced(const struct e1000 *e)
{
    return e->model->flags & E1000_ADVANCED;
}

static uint8_t *buffer_of(const struct e1000_ring *r, unsigned n)
{
    return r->page[n / 2] + n % 2 * E1000_BUFFER;
}

/* An empty descriptor, with the buffer that is always its own. */
static struct e1000_descriptor fresh(const struct e1000_ring *r, unsigned n)
{
    return (struct e1000_descriptor){.address = r->page_at[n / 2] + n % 2 * E1000_BUFFER};
}

static void ring_init(struct e1000_ring *r)
{
    for (unsigned i = 0; i < E1000_RING; i++)
        r->descriptor[i] = fresh(r, i);
    r->next = r->last = 0;
}

void e1000_rings_init(struct e1000 *e)
{
    ring_init(&e->in);
    ring_init(&e->out);
    e->skips = false;
}

/* --- sending --- */

unsigned e1000_settle(struct net_card *c)
{
    struct e1000_ring *r = &CONTAINER_OF(c, struct e1000, card)->out;

    for (; r->last != r->next && (r->descriptor[r->last].word[1] & TX_DD); r->last = after(r->last))
        c->gone++;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return (r->next + E1000_RING - r->last) % E1000_RING;
}

/* Of those that are to be filled. */
static uint8_t *free_buffer(const void *ring, unsigned n)
{
    const struct e1000_ring *r = ring;

    return buffer_of(r, (r->next + n) % E1000_RING);
}

bool e1000_send(struct net_card *c, const struct net_piece *piece, unsigned count, uint32_t length)
{
    struct e1000 *e = CONTAINER_OF(c, struct e1000, card);
    struct e1000_ring *r = &e->out;
    uint32_t total = MAX(length, NET_CARD_SHORT);
    unsigned needs = (total + E1000_BUFFER - 1) / E1000_BUFFER,
             room = (r->last + E1000_RING - r->next - 1) % E1000_RING;

    if (needs > room)
        return false;
    net_card_spread(piece, count, 0, E1000_BUFFER, free_buffer, r);
    if (length < total) /* what an earlier frame has left there is nobody's to see */
        memset(buffer_of(r, r->next) + length, 0, total - length);
    for (uint32_t left = total, size; left; left -= size, r->next = after(r->next)) {
        struct e1000_descriptor d = fresh(r, r->next);

        size = MIN(left, E1000_BUFFER);
        d.word[0] = (uint32_t)(size | TX_FCS | TX_RS | (size == left ? TX_EOP : 0));
        if (is_advanced(e)) {
            d.word[0] |= (uint32_t)TX_ADVANCED;
            d.word[1] = total << TX_PAYLEN_SHIFT;
        }
        r->descriptor[r->next] = d;
    }
    return true;
}

/* --- what comes: nothing that a descriptor says is believed --- */

struct arrived {
    uint8_t status, errors;
    uint16_t length;
};

static struct arrived look(const struct e1000 *e, unsigned n)
{
    const volatile struct e1000_descriptor *d = &e->in.descriptor[n];
    uint32_t first = d->word[0], second = d->word[1];

    if (is_advanced(e))
        return (struct arrived){(uint8_t)first, (uint8_t)(first >> 24), (uint16_t)second};
    return (struct arrived){(uint8_t)second, (uint8_t)(second >> 8), (uint16_t)first};
}

/* Adds one buffer to a frame: whether it is a good one still. */
static bool add_piece(const struct e1000_ring *r, unsigned n, uint16_t length, uint8_t errors,
                      struct net_arrival *a)
{
    if ((errors & RX_BAD) || length == 0 || length > E1000_BUFFER || a->count == NET_CARD_PIECES)
        return false;
    a->piece[a->count++] = (struct net_piece){buffer_of(r, n), length};
    a->length += length;
    return true;
}

/* How many descriptors a frame has that is there as a whole; 0: it is not. One that has more than
 * it may is cut off. */
static unsigned whole_frame(const struct e1000 *e, bool *ends)
{
    unsigned n = e->in.next;

    *ends = false;
    for (unsigned count = 1; count <= NET_CARD_PIECES; count++, n = after(n)) {
        uint8_t status = look(e, n).status;

        if (!(status & RX_DD))
            return 0;
        if (status & RX_EOP) {
            *ends = true;
            return count;
        }
    }
    return NET_CARD_PIECES;
}

int e1000_take(struct net_card *c, struct net_arrival *a)
{
    struct e1000 *e = CONTAINER_OF(c, struct e1000, card);
    struct e1000_ring *r = &e->in;
    bool ends, good = !e->skips;
    unsigned count = whole_frame(e, &ends);

    /* One is always ours, so that the ring is never taken for empty. */
    if (count == 0 || (r->next + E1000_RING - r->last) % E1000_RING + count >= E1000_RING)
        return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *a = (struct net_arrival){0};
    for (unsigned i = 0; i < count; i++, r->next = after(r->next)) {
        struct arrived d = look(e, r->next);

        good = add_piece(r, r->next, d.length, d.errors, a) && good;
    }
    e->skips = !ends;
    return good && ends && a->length >= 14 && a->length <= c->longest ? 1 : -EIO;
}

unsigned e1000_refill(struct e1000 *e)
{
    struct e1000_ring *r = &e->in;

    for (; r->last != r->next; r->last = after(r->last))
        r->descriptor[r->last] = fresh(r, r->last);
    return (r->last + E1000_RING - 1) % E1000_RING;
}
