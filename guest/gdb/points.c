#include "guest/gdb/points.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define PLANTED_MAX 128
#define WATCHED_MAX GDB_HITS
#define INT3        0xcc
#define AROUND      16 /* bytes by which code is known again; of one page */

/* Others read gpa and planted while it runs. */
static struct planted {
    uint64_t linear, gpa;
    uint8_t original;
    uint8_t around[AROUND]; /* without INT3s */
    bool used;
    bool planted; /* else it waits for its code */
} planted[PLANTED_MAX];

static struct watched {
    struct gdb_point point;
    bool used;
} watched[WATCHED_MAX];

/* --- INT3 --- */

static bool stands(const struct planted *p)
{
    return p->used && __atomic_load_n(&p->planted, __ATOMIC_ACQUIRE);
}

bool points_planted(uint64_t gpa)
{
    for (unsigned i = 0; i < PLANTED_MAX; i++)
        if (stands(&planted[i]) && planted[i].gpa == gpa)
            return true;
    return false;
}

int points_read(struct guest_memory *gm, uint64_t gpa, void *data, size_t size)
{
    int result = guest_memory_read(gm, gpa, data, size);

    for (unsigned i = 0; i < PLANTED_MAX && result == 0; i++)
        if (stands(&planted[i]) && planted[i].gpa - gpa < size)
            ((uint8_t *)data)[planted[i].gpa - gpa] = planted[i].original;
    return result;
}

static int read_around(struct guest_memory *gm, uint64_t gpa, uint8_t around[AROUND])
{
    return points_read(gm, ALIGN_DOWN(gpa, AROUND), around, AROUND);
}

int points_write(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    int result = guest_memory_write(gm, gpa, data, size);
    const uint8_t int3 = INT3;

    for (unsigned i = 0; i < PLANTED_MAX && result == 0; i++) {
        struct planted *p = &planted[i];
        if (!stands(p) || p->gpa - gpa >= size)
            continue;
        p->original = ((const uint8_t *)data)[p->gpa - gpa];
        result = guest_memory_write(gm, p->gpa, &int3, 1);
    }
    for (unsigned i = 0; i < PLANTED_MAX && result == 0; i++)
        if (stands(&planted[i]) && planted[i].gpa - gpa + AROUND < size + 2 * AROUND)
            result = read_around(gm, planted[i].gpa, planted[i].around);
    return result;
}

/* The vCPUs, which may run, have to know it for ours before they come to it. */
static int plant(struct guest_memory *gm, struct planted *p)
{
    const uint8_t int3 = INT3;
    int result;

    __atomic_store_n(&p->planted, true, __ATOMIC_SEQ_CST);
    result = guest_memory_write(gm, p->gpa, &int3, 1);
    if (result < 0)
        p->planted = false;
    return result;
}

/* One that is there already, or waits for its code and finds it elsewhere now; else a free one. */
static struct planted *place(uint64_t linear, uint64_t gpa)
{
    struct planted *free = NULL;

    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        struct planted *p = &planted[i];
        if (p->used && p->linear == linear && (p->gpa == gpa || !p->planted))
            return p;
        if (!p->used && !free)
            free = p;
    }
    return free;
}

int points_plant(struct guest_memory *gm, uint64_t linear, uint64_t gpa)
{
    struct planted *p = place(linear, gpa), fresh = {.linear = linear, .gpa = gpa, .used = true};
    int result;

    if (!p)
        return -ENOSPC;
    if (stands(p))
        return 0;
    p->used = false;
    result = points_read(gm, gpa, &fresh.original, 1);
    if (result == 0)
        result = read_around(gm, gpa, fresh.around);
    if (result < 0)
        return result;
    *p = fresh;
    result = plant(gm, p);
    p->used = result == 0;
    return result;
}

static void uproot(struct guest_memory *gm, struct planted *p)
{
    bool stood = stands(p);
    uint8_t now;

    p->used = false;
    if (!stood || points_planted(p->gpa)) /* the same byte by another linear address */
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

/* --- when the memory is loaded anew --- */

void points_lose(void)
{
    for (unsigned i = 0; i < PLANTED_MAX; i++)
        planted[i].planted = false;
}

/* What stood may have been written over: code that came too early. */
static void look_again(struct guest_memory *gm, points_mapped mapped, struct planted *p)
{
    uint8_t around[AROUND], now;

    if (stands(p)) {
        if (guest_memory_read(gm, p->gpa, &now, 1) < 0 || now != INT3)
            p->planted = false;
    } else if (read_around(gm, p->gpa, around) == 0 && memcmp(around, p->around, AROUND) == 0 &&
               mapped(p->linear, p->gpa)) {
        (void)!plant(gm, p);
    }
}

unsigned points_recover(struct guest_memory *gm, points_mapped mapped, unsigned *waiting)
{
    unsigned wanted = 0;

    *waiting = 0;
    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        if (!planted[i].used)
            continue;
        look_again(gm, mapped, &planted[i]);
        wanted++;
        *waiting += !planted[i].planted;
    }
    return wanted;
}

bool points_give_up(uint64_t *linear)
{
    for (unsigned i = 0; i < PLANTED_MAX; i++) {
        if (!planted[i].used || planted[i].planted)
            continue;
        *linear = planted[i].linear;
        planted[i].used = false;
        return true;
    }
    return false;
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

unsigned points_hit(uint64_t dr6, struct gdb_hit hit[GDB_HITS])
{
    unsigned hits = 0;

    for (unsigned i = 0; i < WATCHED_MAX; i++) {
        const struct gdb_point *p = &watched[i].point;
        if ((dr6 & BIT(i)) && watched[i].used && p->kind != GDB_POINT_HARDWARE)
            hit[hits++] =
                (struct gdb_hit){.address = p->address, .access = p->kind == GDB_POINT_ACCESS};
    }
    return hits;
}

bool points_hit_code(uint64_t dr6)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++)
        if ((dr6 & BIT(i)) && watched[i].used && watched[i].point.kind == GDB_POINT_HARDWARE)
            return true;
    return false;
}

bool points_watched(const struct gdb_hit *hit)
{
    for (unsigned i = 0; i < WATCHED_MAX; i++)
        if (watched[i].used && watched[i].point.address == hit->address &&
            watched[i].point.kind == (hit->access ? GDB_POINT_ACCESS : GDB_POINT_WRITE))
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
