/* A text console on the firmware's framebuffer. Scrolls from a shadow of the text: the framebuffer
 * is never read. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

/* 0, or -ENODEV (no framebuffer, or a format without text support), -ENOMEM. */
int framebuffer_init(const struct handover_framebuffer *fb);
bool framebuffer_present(void);

enum framebuffer_color { FB_GREY, FB_WHITE, FB_YELLOW, FB_RED, FB_GREEN, FB_DARK };
/* Text in one colour; knows newline, carriage return, tab and backspace, ESC [ H (to the upper
 * left), ESC [ J and ESC [ K (blank from here to the screen's and to the line's end). Anything else
 * unprintable is a box. */
void framebuffer_write(const char *text, size_t length, enum framebuffer_color color);
