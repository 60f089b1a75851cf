/*
 * The ACPI tables for firmware, which finds them a place itself: two files of bytes, and a script
 * of allocations, pointers and checksums that makes of them what acpi_build() builds, wherever they
 * come to lie (QEMU's "linker/loader", which OVMF and SeaBIOS carry out).
 */
#pragma once

#include "arch/x86/lib/types.h"

#define ACPI_LINK_SCRIPT "etc/table-loader"
#define ACPI_LINK_TABLES "etc/acpi/tables"
#define ACPI_LINK_RSDP   "etc/acpi/rsdp"

#define ACPI_RSDP_SIZE      36 /* the first file: the block's first bytes; */
#define ACPI_LINK_TABLES_AT 64 /* the other: from here to its end */

#define ACPI_LINK_COMMAND 128 /* bytes of one command */
#define ACPI_LINK_MAX     32  /* commands that suffice for what acpi_build() builds */

/*
 * A block of size bytes as acpi_build() makes it becomes the two files, and script[max *
 * ACPI_LINK_COMMAND] the commands for them. Returns the script's bytes, -ENOSPC when it does not
 * fit, or -EBADMSG when the block is not what acpi_build() makes.
 */
int acpi_link(uint8_t *block, size_t size, uint8_t *script, unsigned max) MUST_CHECK;
