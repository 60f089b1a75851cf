/* In which order a VM's firmware looks at what it can start a system from. */
#pragma once

#include "guest/board/class.h"
#include "guest/config/config.h"

#define BOOT_PLACES    (CONFIG_MAX_LINES + CONFIG_MAX_CDROMS + CONFIG_MAX_NETS)
#define BOOT_TEXT_SIZE (BOOT_PLACES * DEVICE_BOOT_PATH)

/*
 * A line for each place, as firmware reads them: text[BOOT_TEXT_SIZE], 0 at its end; how many bytes
 * that is. Disks in the order of their lines, discs and cards in that of the list. class_of says of
 * which class a line's disk is; NULL: of none.
 */
size_t boot_order(const struct config_boot *order, const struct device_list *devices,
                  const struct config_lines *disks,
                  const struct device_class *(*class_of)(const char *text, size_t length),
                  char *text);
