/* What stands in for a BIOS, for kernels that look for one. */
#pragma once

#include "guest/load/sink.h"

/* The BIOS data area's few words that are read without a BIOS, too: COM1's port, the size of base
 * memory and the EBDA. Returns 0 or the sink's error. */
int bios_write_data(const struct guest_sink *sink) MUST_CHECK;

/* The same, and real-mode interrupt vectors: INT 10h to 1Fh, the services, come back with CF set,
 * which means that they are not there; all others just come back. */
int bios_write_services(const struct guest_sink *sink) MUST_CHECK;
