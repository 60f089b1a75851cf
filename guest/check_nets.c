/* `mode = check`: which network cards there are, and what they hear. */
#include "guest/check.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/net_cards.h"
#include "guest/net/arp.h"

#define SECONDS 10 /* that each card listens */
#define HEARD   16 /* others that are told of */
#define MAC_FMT "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC(m)  (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]
#define IP_FMT  "%u.%u.%u.%u"
#define IP(a)   (a)[0], (a)[1], (a)[2], (a)[3]

/* --- what there is --- */

static void list(const struct host_pci *p)
{
    const struct net_card *c = net_card_of(p);
    unsigned bus = p->address >> 8, device = p->address >> 3 & 31, function = p->address & 7;

    if (!c)
        log_info("network card at %02x:%02x.%u: %04x:%04x, which Corbel does not drive", bus,
                 device, function, p->vendor, p->device);
    else
        log_info("network card %s at %02x:%02x.%u: %s%s, " MAC_FMT ", link %s; %s", c->name, bus,
                 device, function, c->model, c->tried ? "" : " (not tried yet)", MAC(c->mac),
                 c->ops->link((struct net_card *)c) ? "up" : "down",
                 c->interrupting ? "with interrupts" : "polled");
}

/* --- what it hears --- */

struct host {
    uint8_t mac[6], ip[4];
    bool answers;
};

static struct {
    struct net_card *card;
    uint8_t ip[4]; /* that the card has for now */
    uint64_t frames, asked, answered;
    unsigned count;
    struct host host[HEARD];
} ear;

static void say(uint16_t operation, const uint8_t *to_mac, const uint8_t *to_ip)
{
    uint8_t frame[ARP_FRAME];
    struct net_piece piece = {frame, sizeof(frame)};

    arp_make(frame, operation, ear.card->mac, ear.ip, to_mac, to_ip);
    (void)net_card_send(ear.card, &piece, 1, sizeof(frame));
    net_card_sent(ear.card);
}

/* Somebody of whom nobody has heard yet is asked. */
static void note(const struct arp *a)
{
    struct host *h;

    for (unsigned i = 0; i < ear.count; i++) {
        h = &ear.host[i];
        if (memcmp(h->ip, a->from_ip, 4) == 0 && memcmp(h->mac, a->from_mac, 6) == 0) {
            h->answers = h->answers || a->operation == ARP_REPLY;
            return;
        }
    }
    if (ear.count == HEARD)
        return;
    h = &ear.host[ear.count++];
    *h = (struct host){.answers = a->operation == ARP_REPLY};
    memcpy(h->mac, a->from_mac, 6);
    memcpy(h->ip, a->from_ip, 4);
    if (!h->answers)
        say(ARP_REQUEST, NULL, h->ip);
}

static void on_frame(void *context, const struct net_arrival *f)
{
    static const uint8_t nobody[4];
    struct arp a;

    ear.frames++;
    if (!arp_read(f->piece[0].data, f->piece[0].length, &a) ||
        memcmp(a.from_mac, ear.card->mac, 6) == 0)
        return;
    if (a.operation == ARP_REQUEST && memcmp(a.to_ip, ear.ip, 4) == 0) {
        ear.asked++;
        say(ARP_REPLY, a.from_mac, a.from_ip);
    }
    if (memcmp(a.from_ip, nobody, 4) != 0)
        note(&a);
}

static void on_end(void *context)
{
}

static void on_link(void *context, bool up)
{
    if (up) /* "ARP Announcement" of RFC 5227: this is mine */
        say(ARP_REQUEST, NULL, ear.ip);
}

static const struct net_card_user ear_user = {on_frame, on_end, on_link};

static void tell(void)
{
    struct net_card_counts n;
    enum net_card_state state = net_card_look(ear.card, &n);
    const char *name = ear.card->name;

    log_info("%s: as " IP_FMT ": %lu frames heard, %lu sent, asked for %lu times", name, IP(ear.ip),
             ear.frames, n.sent, ear.asked);
    for (unsigned i = 0; i < ear.count; i++)
        log_info("  " IP_FMT " is at " MAC_FMT "%s", IP(ear.host[i].ip), MAC(ear.host[i].mac),
                 ear.host[i].answers ? ", and answers" : "; it has not answered");
    log_info("%s: %lu bad frames, %lu overruns, %lu resets; %lu interrupts%s", name, n.bad,
             n.overruns, n.resets, n.interrupts,
             state == NET_CARD_LOST ? "; the card is lost" : "");
}

static void listen(struct net_card *c)
{
    uint64_t end = rdtsc() + SECONDS * tsc_hz;
    int error;

    memset(&ear, 0, sizeof(ear));
    ear.card = c;
    arp_own_address(c->mac, ear.ip);
    error = net_card_start(c, &ear_user, NULL, 1500 + NET_CARD_HEADER);
    if (error) {
        log_error("%s: the card does not work as it should (error %d)", c->name, -error);
        return;
    }
    while (rdtsc() < end) {
        (void)net_cards_work();
        net_cards_wait();
    }
    net_card_stop(c);
    tell();
}

void check_nets(bool ask)
{
    unsigned count = host_pci_find(), found = 0;
    struct net_card *c;

    net_cards_init();
    for (unsigned i = 0; i < count; i++)
        if (net_card_is(host_pci_get(i))) {
            list(host_pci_get(i));
            found++;
        }
    if (!found)
        log_info("no network cards");
    for (unsigned i = 0; ask && (c = net_card_get(i)); i++)
        listen(c);
}
