#include "guest/gdb/points.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define PLANTED_MAX 128
#define WATCHED_MAX 4
#define INT3        0xcc

static struct planted {
    uint64_t linear, gpa;
    uint8_t original;
    bool used;
} planted[PLANTED_MAX];

static struct watched {
    struct gdb_point point;
    bool used;
} watched[WATCHED_MAX];

/* --- INT3 --- */

static struct planted *next_at(struct planted *from, uint64_t gpa)
{
    for (struct planted *p = from; p < planted + PLANTED_MAX; p++)
        if (p->used && p->gpa == gpa)
            return p;
    return NULL;
}

bool points_planted(uint64_t gpa)
{
    return next_at(planted, gpa);
}

int points_read(struct guest_memory *gm, uint64_t gpa, void *data, size_t size)
{
    int result = guest_memory_read(gm, gpa, data, size);

    for (unsigned i = 0; i < PLANTED_MAX && result == 0; i++)
        if (planted[i].used && planted[i].gpa - gpa < size)
            ((uint8_t *)data)[planted[i].gpa - gpa] = planted[i].original;
    return result;
}

int points_write(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    int result = guest_memory_write(gm, gpa, data, size);
    const uint8_t int3 = INT3;

    for (unsigned i = 0; i < PLANTED_MAX && result == 0; i++) {
        if (!planted[i].used || planted[i].gpa - gpa >= size)
            continue;
        planted[i].original = ((const uint8_t *)data)[planted[i].gpa - gpa];
        result = guest_memory_write(gm, planted[i].gpa, &int3, 1);
    }
    return result;
}

int points_plant(struct guest_memory *gm, uint64_t linear, uint64_t gpa)
{
    const uint8_t int3 = INT3;
    uint8_t original;
    int result;

    for (unsigned i = 0; i < PLANTED_MAX; i++)
        if (planted[i].used && planted[i].linear == linear && planted[i].gpa == gpa)
            return 0;
    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        if (planted[i].used)
            continue;
        result = points_read(gm, gpa, &original, 1);
        if (result == 0)
            result = guest_memory_write(gm, gpa, &int3, 1);
        if (result == 0)
            planted[i] =
                (struct planted){.linear = linear, .gpa = gpa, .original = original, .used = true};
        return result;
    }
    return -ENOSPC;
}

static void uproot(struct guest_memory *gm, struct planted *p)
{
    uint8_t now;

    p->used = false;
    if (next_at(planted, p->gpa)) /* the same byte by another linear address */
        return;
    if (guest_memory_read(gm, p->gpa, &now, 1) == 0 && now == INT3 &&
        guest_memory_write(gm, p->gpa, &p->original, 1) == 0)
        return;
}

int points_uproot(struct guest_memory *gm, uint64_t linear)
{
    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        if (planted[i].used && planted[i].linear == linear) {
            uproot(gm, &planted[i]);
            return 0;
        }
    }
    return -ENOENT;
}

/* --- the processor's four --- */

static bool watchable(const struct gdb_point *p)
{
    if (p->kind == GDB_POINT_HARDWARE)
        return true;
    return (p->size == 1 || p->size == 2 || p->size == 4 || p->size == 8) &&
           p->address % p->size == 0;
}

static bool equal(const struct gdb_point *a, const struct gdb_point *b)
{
    return a->kind == b->kind && a->address == b->address &&
           (a->size == b->size || a->kind == GDB_POINT_HARDWARE);
}

int points_watch(const struct gdb_point *p)
{
    if (!watchable(p))
        return -EINVAL;
    for (unsigned i = 0; i < WATCHED_MAX; i++)
        if (watched[i].used && equal(&watched[i].point, p))
            return 0;
    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        if (!watched[i].used) {
            watched[i] = (struct watched){.point = *p, .used = true};
            return 0;
        }
    }
    return -ENOSPC;
}

int points_unwatch(const struct gdb_point *p)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        if (watched[i].used && equal(&watched[i].point, p)) {
            watched[i].used = false;
            return 0;
        }
    }
    return -ENOENT;
}

/* SDM, "Debug Control Register (DR7)": a global enable, R/W and LEN of each. */
static uint64_t control_bits(unsigned i, const struct gdb_point *p)
{
    static const uint8_t lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    uint64_t access = p->kind == GDB_POINT_HARDWARE ? 0 : p->kind == GDB_POINT_WRITE ? 1 : 3;
    uint64_t length = p->kind == GDB_POINT_HARDWARE ? 0 : lengths[p->size];

    return BIT(2 * i + 1) | (access | length << 2) << (16 + 4 * i);
}

bool points_debug_registers(uint64_t dr[4], uint64_t *dr7)
{
    bool any = false;

    *dr7 = BIT(10); /* always one */
    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        dr[i] = watched[i].used ? watched[i].point.address : 0;
        if (watched[i].used)
            *dr7 |= control_bits(i, &watched[i].point);
        any |= watched[i].used;
    }
    return any;
}

const struct gdb_point *points_hit(uint64_t dr6)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++)
        if ((dr6 & BIT(i)) && watched[i].used)
            return &watched[i].point;
    return NULL;
}

bool points_watched(uint64_t address)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++)
        if (watched[i].used && watched[i].point.address == address &&
            watched[i].point.kind != GDB_POINT_HARDWARE)
            return true;
    return false;
}

void points_remove_all(struct guest_memory *gm)
{
    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        if (planted[i].used && gm)
            uproot(gm, &planted[i]);
        planted[i].used = false;
    }
    memset(watched, 0, sizeof(watched));
}
