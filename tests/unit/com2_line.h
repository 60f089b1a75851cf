/*
 * The second serial port for who writes to it: there is as much room as the test gives, and what
 * has been written stands there. LINE_USER is who that is.
 */
#pragma once

#include <string.h>

#include "guest/com2/com2.h"

static bool framed = true;
static size_t room; /* bytes that the port takes */
static size_t most_at_once = SIZE_MAX;
static uint64_t greetings;
static uint8_t stream[4 << 20];
static size_t streamed;
static bool begins[sizeof(stream)]; /* what was written at once */

bool com2_framed(void)
{
    return framed;
}

int com2_open(enum com2_user u)
{
    assert_int_equal(u, LINE_USER);
    return 0;
}

size_t com2_room(enum com2_user u)
{
    return room;
}

void com2_write(enum com2_user u, const void *data, size_t size)
{
    assert_int_equal(u, LINE_USER);
    assert_true(size > 0 && size <= most_at_once && size <= room &&
                streamed + size <= sizeof(stream));
    memcpy(stream + streamed, data, size);
    begins[streamed] = true;
    streamed += size;
    room -= size;
}

uint64_t com2_greetings(void)
{
    return greetings;
}

static inline void line_begin(void)
{
    framed = true;
    room = streamed = 0;
    greetings = 0;
    memset(begins, 0, sizeof(begins));
}
