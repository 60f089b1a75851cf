/* A VM's RAM for fuzzers of loaders: it holds nothing, and checks what is put into it. */
#pragma once

#include <stdint.h>
#include "guest/load/e820.h"
#include "guest/load/sink.h"
#include "tests/fuzz/require.h"

#define WRITES 800

struct checked_ram {
    const struct gpa_layout *layout;
    unsigned writes;
    struct {
        uint64_t from, to;
    } written[WRITES];
};

/* Every byte of the source is readable, every byte of the destination RAM, and none is written
 * twice. */
static inline int sink_write(void *ctx, uint64_t gpa, const void *data, uint64_t size)
{
    struct checked_ram *m = ctx;
    volatile uint8_t sum = 0;

    REQUIRE(size > 0 && gpa_layout_is_ram(m->layout, gpa, size) && m->writes < WRITES);
    for (unsigned i = 0; i < m->writes; i++) {
        REQUIRE(gpa >= m->written[i].to || gpa + size <= m->written[i].from);
    }
    m->written[m->writes].from = gpa;
    m->written[m->writes++].to = gpa + size;
    for (uint64_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    }
    return 0;
}

static inline int sink_zero(void *ctx, uint64_t gpa, uint64_t size)
{
    struct checked_ram *m = ctx;

    REQUIRE(gpa_layout_is_ram(m->layout, gpa, size));
    return 0;
}
