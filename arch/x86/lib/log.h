/*
 * The levelled log. Everything may log; where a line goes is decided by the sink that the machine
 * installs (serial and framebuffer consoles, a memory ring), so nothing low depends on anything
 * high.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Receives one complete line without its newline; level is that of the line. */
typedef void (*log_sink)(enum log_level level, const char *line, size_t length);

/* Install the sink that gets every line at or above the threshold. NULL drops lines. */
void log_set_sink(log_sink sink);
/* Lines above this level (less important) are dropped before they are formatted. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* One line, formatted as by format(); no trailing newline in fmt. Longer than 256 bytes is cut. */
void log_line(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
