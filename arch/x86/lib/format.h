/* printf-style formatting without a C library. */
#pragma once

#include <stdarg.h>
#include "arch/x86/lib/types.h"

/*
 * Format into buf (size bytes, always terminated when size > 0) and return the length the whole
 * text would have. Knows %d %i %u %x %X %c %s %p %%, the flags '-' '0' '#' '+' ' ', width and
 * precision (also '*'), and the sizes hh h l ll z. An unknown conversion is copied as it stands.
 */
int format(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
int vformat(char *buf, size_t size, const char *fmt, va_list args);
