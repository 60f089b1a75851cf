/* virtio-net, for who pulls its cable. */
#pragma once

#include "guest/board/class.h"

#define VIRTIO_NET_PAIRS 16u /* of queues, at most */

extern const struct device_class virtio_net_class;

/* With no lock of the device's held. */
void virtio_net_plug(struct device *d, bool in);
