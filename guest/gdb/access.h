/* The VM that gdb looks at: its vCPUs and its memory, as struct gdb_target wants them. */
#pragma once

#include "guest/vm/control.h"
#include "guest/gdb/stub.h"

extern struct vm_slot *gdb_slot; /* gdb.c's to choose; NULL until gdb comes */

/* Its vCPUs are in no processor, and registers and memory gdb's to change. */
bool access_stands_still(void);

unsigned access_threads(void);
bool access_thread_text(unsigned thread, struct gdb_text *out);
int access_get(unsigned thread, struct gdb_registers *r);
int access_set(unsigned thread, const struct gdb_registers *r);
size_t access_read(unsigned thread, bool physical, uint64_t address, void *data, size_t size);
size_t access_write(unsigned thread, bool physical, uint64_t address, const void *data,
                    size_t size);
