#include "guest/trace/view.h"

/* Step back over the newest record among all rings that has not been stepped over; false when there
 * is none. */
static bool step_back(struct trace_view *v)
{
    struct trace_record r;
    uint64_t newest = 0;
    unsigned ring = v->count;

    for (unsigned i = 0; i < v->count; i++) {
        if (v->next[i] == 0 || !trace_ring_get(v->rings[i], v->next[i] - 1, &r))
            continue;
        if (ring == v->count || r.time >= newest) {
            newest = r.time;
            ring = i;
        }
    }
    if (ring == v->count)
        return false;
    v->next[ring]--;
    return true;
}

void trace_view_open(struct trace_view *v, struct trace_ring *const *rings, unsigned count)
{
    v->rings = rings;
    v->count = count;
    for (unsigned i = 0; i < count; i++)
        v->next[i] = v->end[i] = __atomic_load_n(&rings[i]->head, __ATOMIC_ACQUIRE);
}

bool trace_view_back(struct trace_view *v, unsigned newest)
{
    while (newest && step_back(v))
        newest--;
    return !newest;
}

bool trace_view_next(struct trace_view *v, struct trace_record *out, unsigned *ring)
{
    struct trace_record r;
    bool found = false;

    for (unsigned i = 0; i < v->count; i++) {
        uint64_t oldest = trace_ring_oldest(v->rings[i]);

        if (v->next[i] < oldest)
            v->next[i] = oldest;
        if (v->next[i] >= v->end[i] || !trace_ring_get(v->rings[i], v->next[i], &r))
            continue;
        if (!found || r.time < out->time) {
            *out = r;
            *ring = i;
            found = true;
        }
    }
    if (found)
        v->next[*ring]++;
    return found;
}
