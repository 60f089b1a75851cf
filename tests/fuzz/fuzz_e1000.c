/* links: drivers/e1000.c drivers/e1000_ring.c drivers/e1000_models.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * A network card that lies: its registers read as anything, what it gives back has any length,
 * status and error, whenever it wants, also for descriptors that are not its own.
 */
#include "drivers/e1000.h"
#include "tests/fuzz/hostile_card.h"

static uint32_t reg[0x8000 / 4];
static struct e1000 *e;

uint64_t model_read(const struct io *r, unsigned offset, unsigned size)
{
    REQUIRE(size == 4 && offset % 4 == 0 && offset < sizeof(reg));
    if (lies)
        return next32();
    if (offset == 0xc0)
        return next();
    return offset == 8 ? (next() & 7) ? 2 : 0 : reg[offset / 4];
}

void model_write(const struct io *r, unsigned offset, unsigned size, uint64_t value)
{
    REQUIRE(size == 4 && offset % 4 == 0 && offset < sizeof(reg));
    if (offset == 0x2818 || offset == 0x3818)
        REQUIRE(value < E1000_RING);
    if (offset == 0)
        value &= ~BIT(26);
    reg[offset / 4] = (uint32_t)value;
}

static void new_ring(struct e1000_ring *r, paddr at)
{
    r->at = at;
    r->descriptor = (void *)(ram + at);
    for (unsigned i = 0; i < E1000_PAGES; i++) {
        r->page_at[i] = at + (1 + i) * PAGE_SIZE;
        r->page[i] = ram + r->page_at[i];
    }
}

int e1000_prepare(struct net_card *c)
{
    new_ring(&e->in, 0);
    new_ring(&e->out, MIB);
    return 0;
}

static void lie_in_a_descriptor(volatile struct e1000_descriptor *d)
{
    uint8_t what = next();

    if (what & 1)
        d->word[0] = next32();
    if (what & 2)
        d->word[1] = next32();
    if (what & 4)
        d->address = next32();
}

/* As a good card, mostly. */
static void some_arrive(void)
{
    unsigned at = e->in.next, new = e->model->flags &E1000_ADVANCED ? 1 : 0;

    for (unsigned i = next() % 64; i > 0; i--, at = (at + 1) % E1000_RING) {
        uint8_t what = next();

        e->in.descriptor[at].word[new] = what < 8 ? next32() : what * 8u;
        e->in.descriptor[at].word[!new] =
            (what % 5 ? 3 : 1) | (what == 9 ? 1u << (new ? 24 : 8) : 0);
    }
}

static void act(void)
{
    uint8_t what = next();

    switch (what % 8) {
    case 0:
        lie_in_a_descriptor(&e->in.descriptor[next()]);
        break;
    case 1:
        lie_in_a_descriptor(&e->out.descriptor[next()]);
        break;
    case 2:
        some_arrive();
        break;
    case 3:
        net_card_interrupt(&e->card);
        break;
    case 4:
        now += tsc_hz / 3;
        (void)net_cards_work();
        break;
    case 5:
        lies = what & 0x40;
        break;
    default:
        some_go(&e->card);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ids[] = {0x100e, 0x10d3, 0x10c9, 0x1533};
    static struct e1000 card;

    begin(data, size);
    buffers = ram + PAGE_SIZE;
    memset(reg, 0, sizeof(reg));
    reg[0x5400 / 4] = 0x12005452;
    reg[0x5404 / 4] = 0x80005634;
    card.model = e1000_find(ids[next() % 4]);
    add(&card.card);
    e = &card;
    if (e1000_init(e) == 0)
        run(&e->card, act);
    return 0;
}
