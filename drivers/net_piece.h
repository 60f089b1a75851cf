/* A piece of a frame: memory in the direct map. */
#pragma once

#include "arch/x86/lib/types.h"

struct net_piece {
    const void *data;
    uint32_t length; /* not 0 */
};
