/*
 * The firmware configuration device of emulated PCs, by which OVMF and SeaBIOS learn what their
 * machine is: items of bytes, chosen by a key, read through a port or by DMA; those with a name
 * stand in a directory that is an item, too. Nothing of it can be written.
 */
#pragma once

#include "guest/board/class.h"

#define FW_CFG_ITEMS 24
#define FW_CFG_NAME  56 /* with its terminator */

enum fw_cfg_key { /* that firmware knows; from FW_CFG_FILES on they are as the directory says */
                  FW_CFG_SIGNATURE = 0x00,
                  FW_CFG_ID = 0x01,
                  FW_CFG_NO_GRAPHICS = 0x04,
                  FW_CFG_CPUS = 0x05,
                  FW_CFG_MAX_CPUS = 0x0f,
                  FW_CFG_DIRECTORY = 0x19,
                  FW_CFG_FILES = 0x20,
                  FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

struct fw_cfg_item {
    const char *name; /* NULL: it has the key */
    uint16_t key;     /* fw_cfg_set() gives one to what has a name */
    uint32_t size;
    const void *data;
};

#define FW_CFG_ENTRY 64 /* bytes of a file in the directory, behind 4 that count them */

struct fw_cfg {
    struct device dev;
    uint16_t key;      /* that is chosen, and: */
    uint32_t position; /* how much of its item has been read */
    uint32_t dma_high; /* upper half of the address of the next transfer's record */
    struct fw_cfg_item item[FW_CFG_ITEMS + 3];
    unsigned items;
    uint8_t directory[4 + FW_CFG_ITEMS * FW_CFG_ENTRY];
};

/* An instance for each line `firmware =`. */
extern const struct device_class fw_cfg_class;

/* These count items, at most FW_CFG_ITEMS, from now on, whose bytes stay in place as long; none of
 * their keys is one of the device's own: signature, id, directory. The VM's vCPUs are away. */
void fw_cfg_set(struct fw_cfg *f, const struct fw_cfg_item *items, unsigned count);
