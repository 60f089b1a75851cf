/* A synthetic bzImage and a guest memory to load it into, for the loader's test and fuzzer. */
#pragma once

#include <stdint.h>
#include <string.h>
#include "guest/load/e820.h"
#include "guest/load/sink.h"

#define BZ_SETUP   (4 * 512 + 512)
#define BZ_PAYLOAD 0x3000
#define BZ_SIZE    (BZ_SETUP + BZ_PAYLOAD)

static inline void bz_put(uint8_t *k, unsigned offset, uint64_t value, unsigned size)
{
    memcpy(k + offset, &value, size); /* x86 is little endian, as the header is */
}

/* A header as Debian's 6.1 kernel has it: version 2.15, loaded at 16 MiB, 64-bit entry. */
static inline void bz_make(uint8_t k[BZ_SIZE])
{
    memset(k, 0, BZ_SETUP);
    for (unsigned i = BZ_SETUP; i < BZ_SIZE; i++) {
        k[i] = (uint8_t)(i * 7 + i / 256);
    }
    bz_put(k, 0x1f1, 4, 1);               /* setup_sects */
    bz_put(k, 0x1f4, BZ_PAYLOAD / 16, 4); /* syssize */
    bz_put(k, 0x1fe, 0xaa55, 2);          /* boot_flag */
    bz_put(k, 0x200, 0x6aeb, 2);          /* jump over the header, which ends at 26ch */
    bz_put(k, 0x202, 0x53726448, 4);      /* "HdrS" */
    bz_put(k, 0x206, 0x020f, 2);          /* version */
    bz_put(k, 0x211, 1, 1);               /* loadflags: LOADED_HIGH */
    bz_put(k, 0x214, 0x100000, 4);        /* code32_start */
    bz_put(k, 0x22c, 0x7fffffff, 4);      /* initrd_addr_max */
    bz_put(k, 0x230, 0x200000, 4);        /* kernel_alignment */
    bz_put(k, 0x234, 1, 1);               /* relocatable_kernel */
    bz_put(k, 0x236, 0x7f, 2);            /* xloadflags */
    bz_put(k, 0x238, 2047, 4);            /* cmdline_size */
    bz_put(k, 0x258, 0x1000000, 8);       /* pref_address */
    bz_put(k, 0x260, 0x2000000, 4);       /* init_size: 32 MiB */
    bz_put(k, 0x264, 0x190, 4);           /* handover_offset */
}
