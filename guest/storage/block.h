/* Block devices for VMs: the seam with the machine's drivers, and what stands on top of it. */
#pragma once

#include "drivers/block.h"
