/* See nets.h. */
#include "guest/vm/nets.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/net_cards.h"
#include "guest/config/net.h"
#include "guest/devices/e1000/e1000.h"
#include "guest/devices/virtio/net.h"
#include "guest/net/uplink.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

_Static_assert(CONFIG_MAC == NET_MAC && CONFIG_VLAN_MAX == NET_VLAN_MAX &&
                   CONFIG_MAX_NAME <= NET_NAME && CONFIG_RATE_MIN / 8 >= BUCKET_RATE_MIN &&
                   CONFIG_PAIRS == VIRTIO_NET_PAIRS,
               "what the config allows is what a switch can");

static struct net_switch *switches[CONFIG_MAX_SWITCHES];
static struct uplink *uplinks[CONFIG_MAX_SWITCHES]; /* of these, or NULL */
static unsigned count;

static uint64_t now(void)
{
    return rdtsc();
}

static struct net_switch *make(const struct switch_config *config)
{
    struct net_switch *s = heap_alloc(sizeof(*s));

    if (!s)
        return NULL;
    memcpy(s->name, config->name.data, config->name.length);
    s->mtu = config->mtu;
    s->vlans = config->vlans;
    s->now = now;
    s->hz = tsc_hz;
    net_switch_init(s, rdtsc());
    return s;
}

/* --- ways out --- */

static bool is_it(const struct net_card *c, const struct config_uplink *which)
{
    if (which->by_place)
        return c->pci->address == which->place;
    return !which->by_mac || memcmp(c->mac, which->mac, NET_MAC) == 0;
}

/* The card; where any will do, one that nobody has yet. */
static struct net_card *find_card(const struct config_uplink *which)
{
    bool any = !which->by_place && !which->by_mac;
    struct net_card_counts unused;
    struct net_card *c;

    for (unsigned i = 0; (c = net_card_get(i)); i++)
        if (is_it(c, which) && !(any && net_card_look(c, &unused) != NET_CARD_IDLE))
            return c;
    return NULL;
}

static void start_uplink(unsigned n, const struct switch_config *config)
{
    uint32_t line = config->key_line[CONFIG_SWITCH_UPLINK];
    struct uplink *u = heap_alloc(sizeof(*u));
    struct config_uplink which;
    struct net_card *card;
    int error;

    if (!config_uplink_parse(config->uplink, &which) || !u) {
        heap_free(u);
        return;
    }
    card = find_card(&which);
    error = card ? uplink_start(u, switches[n], card) : -ENODEV;
    if (error == 0) {
        uplinks[n] = u;
        log_info("switch %s: its uplink is %s, %s", switches[n]->name, card->name, card->model);
        return;
    }
    heap_free(u);
    log_error("corbel.conf:%u: [switch %s] has no uplink: %s", line, switches[n]->name,
              error == -ENODEV   ? "there is no such card that Corbel drives; see `mode = check`"
              : error == -EBUSY  ? "that card is another switch's"
              : error == -EINVAL ? "that card has no frames as long as this mtu"
              : error == -EEXIST ? "its address is another card's"
              : error == -ENOMEM ? "no memory is left"
                                 : "that card does not work as it should");
}

/* Cards are looked after on processor 0. */
static void attention(void)
{
    run_attention(0);
}

/* Only where a switch names one are cards touched at all. */
static void start_uplinks(const struct config *config)
{
    bool any = false;

    for (unsigned i = 0; i < count; i++)
        any = any || config->switches[i].uplink.data;
    if (!any)
        return;
    net_cards_set_attention(attention);
    net_cards_init();
    for (unsigned i = 0; i < count; i++)
        if (config->switches[i].uplink.data)
            start_uplink(i, &config->switches[i]);
}

const struct uplink *nets_uplink(unsigned index)
{
    return index < count ? uplinks[index] : NULL;
}

void nets_begin(const struct config *config)
{
    for (size_t i = 0; i < config->switch_count; i++) {
        struct net_switch *s = make(&config->switches[i]);

        if (!s) {
            log_error("corbel.conf:%u: no memory is left for this switch and those behind it",
                      config->switches[i].section_line);
            break;
        }
        switches[count++] = s;
    }
    start_uplinks(config);
}

struct net_switch *nets_get(unsigned index)
{
    return index < count ? switches[index] : NULL;
}

/* Its number, or `count`. */
static unsigned find(struct config_span name)
{
    unsigned i = 0;

    while (i < count && (strlen(switches[i]->name) != name.length ||
                         memcmp(switches[i]->name, name.data, name.length) != 0))
        i++;
    return i;
}

/* Which of the VM's lines that is. */
static unsigned card_number(const struct vm_config *config, const char *text)
{
    unsigned i = 0;

    while (i < config->nets.count && config->nets.item[i].text.data != text)
        i++;
    return i;
}

int net_open(void *context, const char *text, size_t length, struct net_switch **on,
             struct net_port_setup *what, char *error)
{
    struct vm *vm = context;
    unsigned number = card_number(vm->config, text), at;
    struct config_net net;
    int result = config_net_parse(text, length, &net, error);

    if (result < 0)
        return result;
    at = find(net.on);
    if (at == count)
        return -ENOMEM; /* nets_begin() has said why */
    *on = switches[at];
    if (net.vlan && uplinks[at] && uplink_add_vlan(uplinks[at], net.vlan) < 0)
        log_warn("switch %s: no port is left for VLAN %u at its uplink", (*on)->name, net.vlan);
    format(what->name, sizeof(what->name), "%s/%u", vm->name, number);
    if (!net.has_mac)
        config_net_mac(vm->config->name, number, net.mac);
    memcpy(what->mac, net.mac, NET_MAC);
    what->vlan = net.vlan;
    what->isolated = net.isolated;
    what->any_mac = net.any_mac;
    what->rate = net.rate / 8;
    what->pairs = net.queues ? net.queues : (uint8_t)MIN(vm->config->cpus, CONFIG_PAIRS);
    return 0;
}

/* Whether a line's card is an e1000. */
static bool is_e1000(const struct vm *vm, unsigned line)
{
    const struct config_span text = vm->config->nets.item[line].text;
    char error[CONFIG_MESSAGE];
    struct config_net net;

    return config_net_parse(text.data, text.length, &net, error) == 0 && net.e1000;
}

int nets_plug(struct vm *vm, unsigned card, bool in)
{
    unsigned before = 0; /* of its model: those are found in the order of their lines */
    bool e1000;
    struct device *d;

    if (card >= vm->config->nets.count)
        return -ENOENT;
    e1000 = is_e1000(vm, card);
    for (unsigned i = 0; i < card; i++)
        before += is_e1000(vm, i) == e1000;
    d = device_list_find(&vm->life->devices, e1000 ? &e1000_class : &virtio_net_class, before);
    if (!d)
        return -ENOENT;
    (e1000 ? e1000_plug : virtio_net_plug)(d, in);
    return 0;
}
