/* See network.h. */
#include "guest/devices/network.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/config/net.h"

bool network_add(struct network_frame *f, struct device *d, uint64_t gpa, uint64_t length,
                 uint64_t *skip)
{
    uint64_t at = MIN(*skip, length), part;

    *skip -= at;
    for (; at < length; at += part) {
        paddr address;

        if (f->pins + 1 == NETWORK_PIECES ||
            device_memory_pin(d, gpa + at, length - at, false, &address, &part) < 0)
            return false;
        f->piece[++f->pins] = (struct net_piece){phys_to_virt(address), (uint32_t)part};
    }
    return true;
}

void network_unpin(struct network_frame *f, struct device *d)
{
    for (unsigned i = 1; i <= f->pins; i++)
        device_memory_unpin(d, virt_to_phys(f->piece[i].data), f->piece[i].length);
    f->pins = 0;
}

int network_attach(struct device_setup *s, struct net_port_setup *what, struct net_switch **on,
                   struct net_port **port)
{
    int error = s->host->net(s->host->context, s->text, s->length, on, what, s->error);

    if (error < 0)
        return error;
    error = net_port_attach(*on, what, port);
    if (error == -EEXIST || error == -ENOSPC) {
        format(s->error, DEVICE_ERROR,
               error == -EEXIST ? "net = %s: another network card there has its MAC address"
                                : "net = %s: no port of that switch is free",
               (*on)->name);
        return -EINVAL;
    }
    return error;
}

int network_check(const char *text, size_t length, bool e1000, char *error)
{
    struct config_net net;
    int result = config_net_parse(text, length, &net, error);

    return result < 0 ? result : net.e1000 == e1000;
}
