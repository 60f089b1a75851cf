/* See filter.h. Names of fields are those of RFC 791, RFC 826 and RFC 8200. */
#include "guest/capture/filter.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define TAGS 2u

#define IP4_SIZE        20u
#define IP4_FRAGMENT    6u
#define IP4_PROTOCOL    9u
#define IP4_SOURCE      12u
#define IP4_DESTINATION 16u
#define OFFSET_MASK     0x1fffu

#define IP6_SIZE     40u
#define IP6_NEXT     6u
#define EXTENSION    8u /* bytes, at least */
#define EXTENSIONS   8u /* that are walked */
#define FRAGMENT_AT  2u
#define HOP_BY_HOP   0u
#define ROUTING      43u
#define FRAGMENT     44u
#define AUTHENTIC    51u
#define DESTINATIONS 60u

#define ICMP  1u
#define TCP   6u
#define UDP   17u
#define ICMP6 58u
#define NONE  256u /* no protocol */

#define ARP_SIZE   28u
#define ARP_SENDER 14u
#define ARP_TARGET 24u

/* --- what a person types --- */

enum kind { KIND_TYPE, KIND_PROTOCOL, KIND_PORT, KIND_HOST, KIND_MAC, KIND_VLAN };
enum { ANY_IP = 0, ONLY_4 = 4, ONLY_6 = 6 };

/* Words that stand alone. number: an EtherType, or IP's protocol. */
static const struct word_alone {
    const char *text;
    enum kind kind;
    uint16_t number;
    uint8_t version; /* of a protocol's IP */
} alone[] = {
    {"arp", KIND_TYPE, NET_TYPE_ARP, 0},     {"ip", KIND_TYPE, NET_TYPE_IP4, 0},
    {"ip6", KIND_TYPE, NET_TYPE_IP6, 0},     {"icmp", KIND_PROTOCOL, ICMP, ONLY_4},
    {"icmp6", KIND_PROTOCOL, ICMP6, ONLY_6}, {"tcp", KIND_PROTOCOL, TCP, ANY_IP},
    {"udp", KIND_PROTOCOL, UDP, ANY_IP},
};

/* Those that something has to follow. */
static const struct word_before {
    const char *text, *what, *example;
    enum kind kind;
    uint32_t most; /* of a number */
} before[] = {
    {"port", "a port", "port 80", KIND_PORT, 65535},
    {"host", "an IPv4 address", "host 10.0.0.1", KIND_HOST, 0},
    {"mac", "a card's address", "mac 52:00:00:00:00:01", KIND_MAC, 0},
    {"vlan", "a VLAN", "vlan 10", KIND_VLAN, 4094},
};

struct reader {
    const char *text, *end;
    const char *word; /* the one that is looked at; length 0: there is none */
    size_t length;
    char *error;
};

static void advance(struct reader *r)
{
    r->word = r->text;
    while (r->word < r->end && *r->word == ' ')
        r->word++;
    r->text = r->word;
    while (r->text < r->end && *r->text != ' ')
        r->text++;
    r->length = (size_t)(r->text - r->word);
}

static bool is(const struct reader *r, const char *text)
{
    return r->length == strlen(text) && memcmp(r->word, text, r->length) == 0;
}

static bool take(struct reader *r, const char *text)
{
    if (!is(r, text))
        return false;
    advance(r);
    return true;
}

/* Decimal digits up to `most`, from text on: where they end; NULL: that is no such number. */
static const char *read_number(const char *text, const char *end, uint32_t most, uint32_t *value)
{
    const char *at = text;

    for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++) {
        *value = *value * 10 + (uint32_t)(*at - '0');
        if (*value > most)
            return NULL;
    }
    return at == text ? NULL : at;
}

static bool read_ip4(const char *text, const char *end, uint8_t *ip)
{
    uint32_t n;

    for (unsigned i = 0; i < 4; i++) {
        if (i > 0 && (text == end || *text++ != '.'))
            return false;
        text = read_number(text, end, 255, &n);
        if (!text)
            return false;
        ip[i] = (uint8_t)n;
    }
    return text == end;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_mac(const char *text, size_t length, uint8_t *mac)
{
    if (length != 3 * NET_MAC - 1)
        return false;
    for (unsigned i = 0; i < NET_MAC; i++, text += 3) {
        int high = hex_digit(text[0]), low = hex_digit(text[1]);

        if (high < 0 || low < 0 || (i < NET_MAC - 1 && text[2] != ':'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_value(struct reader *r, const struct word_before *b, struct filter_term *t)
{
    const char *end = r->word + r->length;
    uint32_t n = 0;
    bool good;

    if (b->kind == KIND_HOST)
        good = read_ip4(r->word, end, t->address);
    else if (b->kind == KIND_MAC)
        good = read_mac(r->word, r->length, t->address);
    else
        good = read_number(r->word, end, b->most, &n) == end;
    t->kind = (uint8_t)b->kind;
    t->number = (uint16_t)n;
    return good;
}

static int bad_word(struct reader *r, const char *wants)
{
    if (r->length)
        format(r->error, FILTER_ERROR, "'%.*s' stands where %s", (int)MIN(r->length, 40u), r->word,
               wants);
    else
        format(r->error, FILTER_ERROR, "the filter ends where %s", wants);
    return -EINVAL;
}

static int parse_before(struct reader *r, struct filter_term *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
        const struct word_before *b = &before[i];

        if (!take(r, b->text))
            continue;
        if (read_value(r, b, t)) {
            advance(r);
            return 0;
        }
        if (r->length)
            format(r->error, FILTER_ERROR, "'%.*s' is not %s, as in: %s", (int)MIN(r->length, 40u),
                   r->word, b->what, b->example);
        else
            format(r->error, FILTER_ERROR, "the filter ends where %s is expected, as in: %s",
                   b->what, b->example);
        return -EINVAL;
    }
    return bad_word(r, "arp, ip, ip6, icmp, icmp6, tcp, udp, port, host, mac or vlan is expected");
}

static int parse_term(struct reader *r, struct filter_term *t)
{
    while (take(r, "not"))
        t->negated = !t->negated;
    for (size_t i = 0; i < ARRAY_SIZE(alone); i++) {
        if (!take(r, alone[i].text))
            continue;
        t->kind = (uint8_t)alone[i].kind;
        t->number = alone[i].number;
        t->narrowed = alone[i].version;
        if ((t->number == TCP || t->number == UDP) && is(r, "port")) {
            t->narrowed = (uint8_t)t->number;
            return parse_before(r, t);
        }
        return 0;
    }
    return parse_before(r, t);
}

int filter_parse(const char *text, size_t length, struct filter *out, char *error)
{
    struct reader r = {.text = text, .end = text + length, .error = error};

    *out = (struct filter){0};
    advance(&r);
    while (r.length) {
        struct filter_term *t = &out->term[out->count];

        if (out->count > 0) {
            t->either = is(&r, "or");
            if (!take(&r, "or") && !take(&r, "and"))
                return bad_word(&r, "`and` or `or` is expected");
        }
        if (parse_term(&r, t) < 0)
            return -EINVAL;
        out->count++;
        if (r.length && out->count == FILTER_TERMS) {
            format(error, FILTER_ERROR, "a filter has %u terms at most", FILTER_TERMS);
            return -EINVAL;
        }
    }
    return 0;
}

/* --- what a frame is --- */

struct what {
    const uint8_t *head;
    uint32_t length;
    uint16_t vlan[1 + TAGS]; /* the port's, and those of tags */
    unsigned vlans;
    uint16_t type;            /* behind the tags; 0: none */
    unsigned version;         /* of IP: 4, 6 or 0 */
    unsigned protocol;        /* behind IP; or NONE */
    const uint8_t *from, *to; /* IPv4, in IP's or ARP's header; or NULL */
    bool ports;
    uint16_t from_port, to_port;
};

static bool has(const struct what *w, uint32_t at, uint32_t size)
{
    return at <= w->length && w->length - at >= size;
}

static void look_at_ports(struct what *w, uint32_t at)
{
    if ((w->protocol != TCP && w->protocol != UDP) || !has(w, at, 4))
        return;
    w->ports = true;
    w->from_port = net_get16(w->head + at);
    w->to_port = net_get16(w->head + at + 2);
}

static void look_at_ip4(struct what *w, uint32_t at)
{
    const uint8_t *ip = w->head + at;

    if (!has(w, at, IP4_SIZE) || ip[0] >> 4 != 4 || (ip[0] & 15) * 4u < IP4_SIZE)
        return;
    w->version = 4;
    w->protocol = ip[IP4_PROTOCOL];
    w->from = ip + IP4_SOURCE;
    w->to = ip + IP4_DESTINATION;
    if ((net_get16(ip + IP4_FRAGMENT) & OFFSET_MASK) == 0)
        look_at_ports(w, at + (ip[0] & 15) * 4u);
}

/* Behind extensions; of a fragment that is not the first one nothing else is known. */
static void look_at_ip6(struct what *w, uint32_t at)
{
    unsigned next;

    if (!has(w, at, IP6_SIZE) || w->head[at] >> 4 != 6)
        return;
    w->version = 6;
    next = w->head[at + IP6_NEXT];
    at += IP6_SIZE;
    for (unsigned i = 0; i < EXTENSIONS; i++) {
        const uint8_t *e = w->head + at;
        bool fragment = next == FRAGMENT;

        if (next != HOP_BY_HOP && next != ROUTING && next != DESTINATIONS && next != AUTHENTIC &&
            !fragment) {
            w->protocol = next;
            look_at_ports(w, at);
            return;
        }
        if (!has(w, at, EXTENSION))
            return;
        if (fragment && net_get16(e + FRAGMENT_AT) >> 3 != 0) {
            w->protocol = e[0];
            return;
        }
        at += fragment ? EXTENSION : next == AUTHENTIC ? (e[1] + 2u) * 4 : (e[1] + 1u) * 8;
        next = e[0];
    }
}

static void look_at_arp(struct what *w, uint32_t at)
{
    static const uint8_t ip_over_ethernet[] = {0, 1, NET_TYPE_IP4 >> 8, 0, NET_MAC, 4};

    if (!has(w, at, ARP_SIZE) || memcmp(w->head + at, ip_over_ethernet, 6) != 0)
        return;
    w->from = w->head + at + ARP_SENDER;
    w->to = w->head + at + ARP_TARGET;
}

static void look(struct what *w)
{
    uint32_t at = NET_ETHER;

    if (!has(w, 0, NET_ETHER))
        return;
    w->type = net_get16(w->head + at - 2);
    for (unsigned i = 0; i < TAGS && (w->type == NET_TYPE_TAGGED || w->type == NET_TYPE_SERVICE) &&
                         has(w, at, NET_TAG);
         i++) {
        w->vlan[w->vlans++] = net_get16(w->head + at) & NET_VID_MASK;
        at += NET_TAG;
        w->type = net_get16(w->head + at - 2);
    }
    if (w->type == NET_TYPE_IP4)
        look_at_ip4(w, at);
    else if (w->type == NET_TYPE_IP6)
        look_at_ip6(w, at);
    else if (w->type == NET_TYPE_ARP)
        look_at_arp(w, at);
}

/* --- whether it is wanted --- */

static bool is_in_vlan(const struct what *w, uint16_t vlan)
{
    for (unsigned i = 0; i < w->vlans; i++)
        if (w->vlan[i] == vlan)
            return true;
    return false;
}

static bool holds(const struct filter_term *t, const struct what *w)
{
    switch (t->kind) {
    case KIND_TYPE:
        return w->type == t->number;
    case KIND_PROTOCOL:
        return w->protocol == t->number && (!t->narrowed || w->version == t->narrowed);
    case KIND_PORT:
        return w->ports && (!t->narrowed || w->protocol == t->narrowed) &&
               (w->from_port == t->number || w->to_port == t->number);
    case KIND_HOST:
        return w->from &&
               (memcmp(w->from, t->address, 4) == 0 || memcmp(w->to, t->address, 4) == 0);
    case KIND_MAC:
        return has(w, 0, NET_ETHER) && (memcmp(w->head, t->address, NET_MAC) == 0 ||
                                        memcmp(w->head + NET_MAC, t->address, NET_MAC) == 0);
    default:
        return is_in_vlan(w, t->number);
    }
}

bool filter_match(const struct filter *f, const uint8_t *head, uint32_t length, uint16_t vlan)
{
    struct what w = {.head = head, .length = length, .protocol = NONE};
    bool result = true;

    if (f->count == 0)
        return true;
    if (vlan)
        w.vlan[w.vlans++] = vlan;
    look(&w);
    for (unsigned i = 0; i < f->count; i++) {
        bool term = holds(&f->term[i], &w) != f->term[i].negated;

        result = f->term[i].either ? result || term : result && term;
    }
    return result;
}
