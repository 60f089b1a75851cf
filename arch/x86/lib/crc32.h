/* CRC-32 as in Ethernet, zlib and GPT. */
#pragma once

#include "arch/x86/lib/types.h"

/* Of data, behind what `crc` is the CRC of (0: nothing). */
uint32_t crc32(uint32_t crc, const void *data, size_t size);
