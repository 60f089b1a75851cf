/* See net_card.h. */
#include "drivers/net_card.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/pci.h"

#define POLL_HZ   1000
#define MORE_HZ   5000 /* what one look has left over, at most */
#define TAKE_PART 2000 /* of a second: as long frames are taken in one go, and one frame more */
#define LOOK_HZ   2    /* links and hangs */
#define DEAF      3    /* looks in which there was no room for anything and nothing came */

static struct net_card *cards[NET_CARDS];
static unsigned count, left_out;
static void (*attention)(void);

static void add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static enum net_card_state state_of(const struct net_card *c)
{
    return __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);
}

static void set_state(struct net_card *c, enum net_card_state state)
{
    spin_lock(&c->lock);
    __atomic_store_n(&c->state, state, __ATOMIC_RELEASE);
    c->queued = false;
    spin_unlock(&c->lock);
}

/* --- sending --- */

bool net_card_send(struct net_card *c, const struct net_piece *piece, unsigned pieces,
                   uint32_t length)
{
    bool sent;

    spin_lock(&c->lock);
    sent = c->state == NET_CARD_RUNS && length <= c->longest;
    if (sent && !c->ops->send(c, piece, pieces, length)) {
        (void)c->ops->settle(c);
        sent = c->ops->send(c, piece, pieces, length);
    }
    if (sent) {
        c->queued = true;
        add(&c->counts.sent, 1);
        add(&c->counts.sent_bytes, length);
    } else {
        add(&c->counts.no_room, 1);
    }
    spin_unlock(&c->lock);
    return sent;
}

void net_card_spread(const struct net_piece *piece, unsigned pieces, uint32_t skip, uint32_t size,
                     uint8_t *(*buffer)(const void *ring, unsigned n), const void *ring)
{
    uint8_t *into = buffer(ring, 0);
    uint32_t used = skip;
    unsigned n = 0;

    for (unsigned i = 0; i < pieces; i++) {
        const uint8_t *data = piece[i].data;

        for (uint32_t left = piece[i].length, part; left; left -= part, data += part) {
            if (used == size) {
                into = buffer(ring, ++n);
                used = 0;
            }
            part = MIN(left, size - used);
            memcpy(into + used, data, part);
            used += part;
        }
    }
}

void net_card_sent(struct net_card *c)
{
    spin_lock(&c->lock);
    if (c->queued && c->state == NET_CARD_RUNS)
        c->ops->kick(c);
    c->queued = false;
    spin_unlock(&c->lock);
}

/* --- what comes; on processor 0 --- */

static void set_link(struct net_card *c, bool up)
{
    if (c->up == up)
        return;
    c->up = up;
    c->for_nothing = 0;
    c->user->link(c->context, up);
}

/* When somebody looks after it: a link may come and go more quickly than anybody could read. */
static void say_link(struct net_card *c)
{
    if (c->said_up == c->up)
        return;
    c->said_up = c->up;
    log_info("%s: link %s", c->name, c->up ? "up" : "down");
}

/* What a frame begins with is looked at, in its first piece alone. */
static bool begins_well(const struct net_arrival *a)
{
    return a->count == 1 || a->piece[0].length >= NET_CARD_FIRST;
}

/* True: there may be more. One frame that goes to many may take long. */
static bool receive(struct net_card *c)
{
    uint64_t start = rdtsc();
    struct net_arrival a;
    unsigned n = 0;
    bool any = false, more = false;
    int result;

    while (!more && (result = c->ops->take(c, &a)) != 0) {
        n++;
        if (result < 0 || !begins_well(&a)) {
            add(&c->counts.bad, 1);
        } else {
            add(&c->counts.received, 1);
            add(&c->counts.received_bytes, a.length);
            c->user->receive(c->context, &a);
            any = true;
        }
        more = n == NET_CARD_BUDGET || rdtsc() - start >= tsc_hz / TAKE_PART;
    }
    if (n) {
        c->for_nothing = 0;
        c->ops->give(c);
    }
    if (any)
        c->user->received(c->context);
    return more;
}

/* Whatever somebody outside sends, half of the processor is for others: behind a whole look it is
 * not interrupted, and the next one has its time. True: that has just been found. */
static bool take(struct net_card *c, uint64_t now)
{
    bool was_quiet = c->next_take, more;
    uint64_t end;

    if (now < c->next_take)
        return false;
    more = receive(c);
    if (was_quiet && !more) { /* what has come since was not told */
        c->ops->quiet(c, false);
        more = receive(c);
        was_quiet = false;
    }
    if (more && !was_quiet)
        c->ops->quiet(c, true);
    end = rdtsc();
    c->next_take = more ? end + MAX(tsc_hz / MORE_HZ, end - now) : 0;
    return more;
}

static void note_causes(struct net_card *c, unsigned causes)
{
    if (causes & NET_CARD_CAUSE_LINK)
        set_link(c, c->ops->link(c));
    if (causes & NET_CARD_CAUSE_OVERRUN) {
        add(&c->counts.overruns, 1);
        c->overrun = true;
    }
}

/* Those of somebody else, on a line that both share, or the card's own: where they never stop, the
 * line is not for us. Without one the card is reset when somebody looks after it. */
static void give_up_line(struct net_card *c)
{
    c->disconnect(c);
    c->disconnect = NULL;
    c->interrupting = false;
    c->for_nothing = 0;
    log_warn("%s: its line interrupts again and again, and nothing comes: it is polled", c->name);
    if (attention)
        attention();
}

void net_card_interrupt(void *card)
{
    struct net_card *c = card;
    unsigned causes = c->ops->causes(c);

    add(causes ? &c->counts.interrupts : &c->counts.strays, 1);
    c->for_nothing++;
    if (state_of(c) == NET_CARD_RUNS) {
        note_causes(c, causes);
        /* What is in memory is the truth: some models do not tell the cause. */
        if (take(c, rdtsc()) && attention)
            attention();
    }
    if (c->for_nothing >= NET_CARD_STRAYS && c->disconnect)
        give_up_line(c);
}

/* --- hangs --- */

static void lose(struct net_card *c)
{
    set_state(c, NET_CARD_LOST);
    c->ops->stop(c);
    if (c->pci)
        host_pci_command(c->pci, 0, HOST_PCI_MASTER);
    log_error("%s: the card does not work any more, and is not used until the next start", c->name);
    set_link(c, false);
    say_link(c);
}

/* Another reset: whether that is too much of it. */
static bool is_worn(struct net_card *c)
{
    uint64_t now = rdtsc(), rest = NET_CARD_REST * tsc_hz;

    c->forgotten = MAX(c->forgotten, now) + rest;
    return c->in_vain++ == NET_CARD_TRIES || c->forgotten - now > NET_CARD_WORN * rest;
}

static void reset(struct net_card *c, const char *why)
{
    if (is_worn(c)) {
        lose(c);
        return;
    }
    log_warn("%s: %s: it is reset", c->name, why);
    set_state(c, NET_CARD_RESETS);
    add(&c->counts.resets, 1);
    c->ops->stop(c);
    if (c->ops->start(c) < 0) {
        lose(c);
        return;
    }
    c->hang_from = c->next_take = 0;
    c->deaf = 0;
    set_state(c, NET_CARD_RUNS);
    set_link(c, c->ops->link(c));
}

/* Something has waited too long to be sent, where there is a link. */
static bool hangs(struct net_card *c, uint64_t now)
{
    unsigned waiting;
    uint64_t gone;

    spin_lock(&c->lock);
    waiting = c->ops->settle(c);
    gone = c->gone;
    spin_unlock(&c->lock);
    if (gone != c->gone_before)
        c->in_vain = 0;
    if (!waiting || gone != c->gone_before || !c->up || !c->hang_from)
        c->hang_from = waiting && c->up ? now : 0;
    c->gone_before = gone;
    return c->hang_from && now - c->hang_from >= NET_CARD_HANG * tsc_hz;
}

/* No room for what comes, and nothing that has come, be it bad. */
static bool is_deaf(struct net_card *c)
{
    uint64_t came = c->counts.received + c->counts.bad;

    c->deaf = c->overrun && came == c->came_before ? c->deaf + 1 : 0;
    c->overrun = false;
    c->came_before = came;
    return c->deaf >= DEAF;
}

static void look_after(struct net_card *c, uint64_t now)
{
    bool strayed = c->strayed;

    c->strayed = false;
    if (c->ops->gone(c)) {
        lose(c);
        return;
    }
    set_link(c, c->ops->link(c));
    if (strayed)
        reset(c, "it reached for memory that is not its");
    else if (c->ops->sick && c->ops->sick(c))
        reset(c, "it does not work as it should");
    else if (c->for_nothing >= NET_CARD_STRAYS)
        reset(c, "it interrupts for nothing");
    else if (hangs(c, now))
        reset(c, "what is to be sent does not go");
    else if (is_deaf(c))
        reset(c, "what comes is not taken");
    c->for_nothing = 0;
    say_link(c);
}

/* When it wants to be looked at again. */
static uint64_t next_of(const struct net_card *c, uint64_t now)
{
    if (c->next_take)
        return MIN(c->next_look, c->next_take);
    return c->interrupting ? c->next_look : MIN(c->next_look, now + tsc_hz / POLL_HZ);
}

uint64_t net_cards_work(void)
{
    uint64_t wake = UINT64_MAX;

    for (unsigned i = 0; i < count; i++) {
        struct net_card *c = cards[i];
        uint64_t now = rdtsc(), next;

        if (state_of(c) != NET_CARD_RUNS)
            continue;
        if (!c->interrupting || c->next_take)
            note_causes(c, c->ops->causes(c));
        (void)take(c, now);
        if (now >= c->next_look) {
            look_after(c, now);
            c->next_look = now + tsc_hz / LOOK_HZ;
        }
        next = next_of(c, now);
        wake = MIN(wake, next);
    }
    return wake;
}

void net_cards_strayed(const struct host_pci *p)
{
    for (unsigned i = 0; i < count; i++)
        if (cards[i]->pci == p) {
            cards[i]->strayed = true;
            cards[i]->next_look = 0;
        }
    if (attention)
        attention();
}

void net_cards_set_attention(void (*fn)(void))
{
    attention = fn;
}

/* --- life --- */

int net_card_add(struct net_card *c)
{
    if (count == NET_CARDS) {
        if (!left_out++)
            log_warn("network cards beyond the first %u are not used", NET_CARDS);
        return -ENOSPC;
    }
    spin_init(&c->lock, RANK_NET_CARD);
    format(c->name, sizeof(c->name), "net%u", count);
    cards[count++] = c;
    return 0;
}

struct net_card *net_card_get(unsigned index)
{
    return index < count ? cards[index] : NULL;
}

int net_card_start(struct net_card *c, const struct net_card_user *user, void *context,
                   uint32_t longest)
{
    int error;

    if (state_of(c) != NET_CARD_IDLE)
        return state_of(c) == NET_CARD_LOST ? -EIO : -EBUSY;
    if (longest > c->longest)
        return -EINVAL;
    error = c->ops->prepare(c);
    if (error)
        return error;
    c->user = user;
    c->context = context;
    c->longest = longest;
    c->up = c->said_up = false;
    c->hang_from = c->next_look = c->next_take = c->forgotten = 0;
    c->in_vain = c->for_nothing = 0;
    error = c->ops->start(c);
    if (error) {
        c->ops->stop(c);
        return error;
    }
    set_state(c, NET_CARD_RUNS);
    set_link(c, c->ops->link(c));
    say_link(c);
    return 0;
}

void net_card_stop(struct net_card *c)
{
    if (state_of(c) != NET_CARD_RUNS)
        return;
    set_state(c, NET_CARD_IDLE);
    c->ops->stop(c);
    c->up = false;
}

enum net_card_state net_card_look(struct net_card *c, struct net_card_counts *out)
{
    const uint64_t *from = (const uint64_t *)&c->counts;
    uint64_t *to = (uint64_t *)out;

    for (unsigned i = 0; i < sizeof(*out) / sizeof(*to); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    return state_of(c);
}
