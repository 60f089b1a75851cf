/*
 * Where Corbel's own lines go: "corbel: ..." on the serial port, the framebuffer and in a ring in
 * memory.
 */
#pragma once

#include "arch/x86/lib/log.h"

/* Become the log's sink and panic's writer. Serial and framebuffer may be initialised before or
 * after. */
void console_init(void);

/*
 * The lock under which log lines are written (RANK_LOG), for whoever sends other text to the serial
 * port: what is sent meanwhile is not mixed with Corbel's lines. Nothing may be logged while it is
 * held.
 */
void console_lock(void);
void console_unlock(void);

/*
 * From now on complete lines for the serial port (with prefix, ending CR LF) go to fn, which must
 * send them by serial_write() when no guest line is unfinished. It is called under console_lock().
 * NULL: straight to the port again.
 */
void console_set_serial_line_sink(void (*fn)(const char *line, size_t length));

/* Copy the newest lines (ending LF), at most size bytes; returns the number of bytes. */
size_t console_history(char *out, size_t size);
