/* Commands for networks. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/monitor/text.h"
#include "guest/net/uplink.h"
#include "guest/vm/control.h"
#include "guest/vm/nets.h"

#define UPLINK_TEXT 64

static void print_row(const struct column *columns, unsigned count, const char *const *cells)
{
    char row[TEXT_ROW];

    text_row(row, columns, count, cells);
    job_line("%s", row);
}

/* --- nets --- */

static unsigned cards_at(struct net_switch *s)
{
    struct net_port_view view;
    unsigned cards = 0;
    int result;

    for (unsigned i = 0; (result = net_switch_look(s, i, &view)) >= 0; i++)
        cards += (unsigned)result;
    return cards;
}

/* By which card frames leave it, and how that is. */
static const char *describe_uplink(unsigned index, char *text)
{
    const struct uplink *u = nets_uplink(index);
    struct net_card *c = u ? u->card : NULL;
    struct net_card_counts counts;
    enum net_card_state state;

    if (!c)
        return "-";
    state = net_card_look(c, &counts);
    format(text, UPLINK_TEXT, "%s %s, %s%s", c->name, c->model,
           state == NET_CARD_LOST ? "lost"
           : c->up                ? "up"
                                  : "down",
           c->interrupting ? "" : ", polled");
    return text;
}

static void show_card(unsigned index)
{
    const struct uplink *u = nets_uplink(index);
    struct net_card_counts n;

    if (!u)
        return;
    (void)net_card_look(u->card, &n);
    job_line("  %s: %lu sent, %lu heard, %lu interrupts; lost: %lu no room, %lu bad; %lu overruns, "
             "%lu resets",
             u->card->name, n.sent, n.received, n.interrupts, n.no_room, n.bad, n.overruns,
             n.resets);
    if (u->elsewhere)
        job_line("  %lu came in no VLAN of the switch's", u->elsewhere);
}

bool command_nets(struct job *job)
{
    static const struct column columns[] = {{"SWITCH", 16, false},
                                            {"MTU", 5, true},
                                            {"VLANS", 5, false},
                                            {"CARDS", 5, true},
                                            {"UPLINK", 40, false}};
    struct net_switch *s = job->step ? nets_get(job->step - 1) : NULL;
    char mtu[TEXT_CELL], cards[TEXT_CELL], uplink[UPLINK_TEXT];

    if (job->step == 0 && !nets_get(0)) {
        job_line("the config has no [switch NAME]");
        return false;
    }
    if (job->step == 0) {
        print_row(columns, ARRAY_SIZE(columns), NULL);
        return true;
    }
    const char *const cells[] = {s->name, text_number(mtu, s->mtu), s->vlans ? "yes" : "no",
                                 text_number(cards, cards_at(s)),
                                 describe_uplink((unsigned)job->step - 1, uplink)};
    print_row(columns, ARRAY_SIZE(columns), cells);
    show_card((unsigned)job->step - 1);
    return nets_get(job->step) != NULL;
}

/* --- switch --- */

static struct net_switch *find_switch(struct word name)
{
    struct net_switch *s;

    for (unsigned i = 0; (s = nets_get(i)); i++)
        if (word_is(name, s->name))
            return s;
    job_line("there is no switch '%.*s': nets lists them", (int)MIN(name.length, 40), name.text);
    return NULL;
}

static const struct column port_columns[] = {
    {"CARD", 16, false}, {"ADDRESS", 17, false}, {"VLAN", 4, true},  {"LINK", 4, false},
    {"SENT", 9, true},   {"BYTES", 6, true},     {"HEARD", 9, true}, {"BYTES", 6, true},
    {"LOST", 9, true},   {"", 20, false},
};

static void show_drops(const struct net_counts *c)
{
    char text[TEXT_ROW];
    size_t used = 0;

    for (unsigned i = 1; i < NET_DROPS && used < sizeof(text); i++)
        if (c->dropped[i])
            used += (size_t)format(text + used, sizeof(text) - used, "%s%lu %s", used ? ", " : "",
                                   c->dropped[i], net_drop_text((enum net_drop)i));
    if (used)
        job_line("  lost: %s", text);
}

static void show_port(const struct net_port_view *v)
{
    char mac[TEXT_CELL], vlan[TEXT_CELL], sent[TEXT_CELL], sent_bytes[TEXT_CELL], more[64];
    char received[TEXT_CELL], received_bytes[TEXT_CELL], lost[TEXT_CELL], rate[TEXT_CELL];
    uint64_t dropped = 0;

    for (unsigned i = 1; i < NET_DROPS; i++)
        dropped += v->counts.dropped[i];
    format(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", v->mac[0], v->mac[1], v->mac[2],
           v->mac[3], v->mac[4], v->mac[5]);
    format(rate, sizeof(rate), " %lu kbit/s", v->rate * 8 / 1000);
    format(more, sizeof(more), "%s%s%s%s", v->open ? "" : " no driver", v->rate ? rate : "",
           v->isolated ? " isolated" : "", v->any_mac ? " any-mac" : "");
    const char *const cells[] = {
        v->name,
        mac,
        v->vlan ? text_number(vlan, v->vlan) : "-",
        v->plugged ? "up" : "down",
        text_number(sent, v->counts.sent),
        text_size(sent_bytes, v->counts.sent_bytes),
        text_number(received, v->counts.received),
        text_size(received_bytes, v->counts.received_bytes),
        text_number(lost, dropped),
        more[0] ? more + 1 : "",
    };
    print_row(port_columns, ARRAY_SIZE(port_columns), cells);
    show_drops(&v->counts);
    if (v->learned)
        job_line("  %u addresses behind it", v->learned);
}

bool command_switch(struct job *job)
{
    struct net_switch *s = find_switch(job->words.word[1]);
    struct net_port_view view;
    int result;

    if (!s)
        return false;
    if (job->step == 0) {
        print_row(port_columns, ARRAY_SIZE(port_columns), NULL);
        return true;
    }
    while ((result = net_switch_look(s, job->next++, &view)) == 0)
        ;
    if (result > 0)
        show_port(&view);
    return result > 0;
}

/* --- link --- */

bool command_link(struct job *job)
{
    const struct words *w = &job->words;
    struct vm_slot *slot = job_vm(job, 1);
    bool in = word_is(w->word[2], "up");
    uint64_t first = 0, last = CONFIG_MAX_NETS - 1;
    unsigned cards = 0;

    if (!slot)
        return false;
    if (!in && !word_is(w->word[2], "down")) {
        job_line("'%.*s' is not up or down", (int)MIN(w->word[2].length, 40), w->word[2].text);
        return false;
    }
    if (w->count > 3) {
        if (word_number(w->word[3], last, &first) < 0) {
            job_line("'%.*s' is not a card's number, from 0", (int)MIN(w->word[3].length, 40),
                     w->word[3].text);
            return false;
        }
        last = first;
    }
    if (!slot->vm) {
        job_line("%s is off", slot->name);
        return false;
    }
    for (uint64_t i = first; i <= last; i++)
        cards += nets_plug(slot->vm, (unsigned)i, in) == 0;
    if (cards)
        job_line("%s: link %s", slot->name, in ? "up" : "down");
    else
        job_line("%s has no such network card", slot->name);
    return false;
}
