/* See network.h. */
#include "guest/devices/network.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/config/net.h"

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
