/* CRC-32C, Castagnoli's, as in iSCSI and ext4: the processor has an instruction for it. */
#pragma once

#include "arch/x86/lib/types.h"

/* Of data, behind what `crc` is the CRC of (0: nothing). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/* The same without that instruction, for processors that lack it and for the test. */
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t size);
