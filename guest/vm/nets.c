/* See nets.h. */
#include "guest/vm/nets.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/config/net.h"
#include "guest/devices/virtio/net.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

_Static_assert(CONFIG_MAC == NET_MAC && CONFIG_VLAN_MAX == NET_VLAN_MAX &&
                   CONFIG_MAX_NAME <= NET_NAME && CONFIG_RATE_MIN / 8 >= BUCKET_RATE_MIN,
               "what the config allows is what a switch can");

static struct net_switch *switches[CONFIG_MAX_SWITCHES];
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

void nets_begin(const struct config *config)
{
    for (size_t i = 0; i < config->switch_count; i++) {
        struct net_switch *s = make(&config->switches[i]);

        if (s)
            switches[count++] = s;
        else
            log_error("corbel.conf:%u: no memory is left for this switch",
                      config->switches[i].section_line);
    }
}

struct net_switch *nets_get(unsigned index)
{
    return index < count ? switches[index] : NULL;
}

static struct net_switch *find(struct config_span name)
{
    for (unsigned i = 0; i < count; i++)
        if (strlen(switches[i]->name) == name.length &&
            memcmp(switches[i]->name, name.data, name.length) == 0)
            return switches[i];
    return NULL;
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
    unsigned number = card_number(vm->config, text);
    struct config_net net;
    int result = config_net_parse(text, length, &net, error);

    if (result < 0)
        return result;
    *on = find(net.on);
    if (!*on)
        return -ENOMEM; /* nets_begin() has said why */
    format(what->name, sizeof(what->name), "%s/%u", vm->name, number);
    if (!net.has_mac)
        config_net_mac(vm->config->name, number, net.mac);
    memcpy(what->mac, net.mac, NET_MAC);
    what->vlan = net.vlan;
    what->isolated = net.isolated;
    what->any_mac = net.any_mac;
    what->rate = net.rate / 8;
    return 0;
}

int nets_plug(struct vm *vm, unsigned card, bool in)
{
    struct device *d = device_list_find(&vm->life->devices, &virtio_net_class, card);

    if (!d)
        return -ENOENT;
    virtio_net_plug(d, in);
    return 0;
}
