/* The SMBIOS tables for firmware (DMTF DSP0134, System Management BIOS Reference Specification): an
 * entry point, to which firmware adds where it has put the structures, and these. */
#pragma once

#include "arch/x86/lib/types.h"

#define SMBIOS_ANCHOR "etc/smbios/smbios-anchor"
#define SMBIOS_TABLES "etc/smbios/smbios-tables"

#define SMBIOS_ANCHOR_SIZE 31
#define SMBIOS_MAX         256 /* bytes that suffice for the structures of any VM */
#define SMBIOS_NAME        63  /* longer ones are cut */

/* Of a VM with that name, which is its serial number, too, and of which its UUID is made. Returns
 * the bytes of the structures. */
size_t smbios_build(const char *name, uint8_t anchor[SMBIOS_ANCHOR_SIZE],
                    uint8_t tables[SMBIOS_MAX]);
