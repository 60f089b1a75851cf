#include "guest/sched/sleepers.h"

/* Two heaps, of which neither is empty, become one. */
static struct sleeper *join(struct sleeper *a, struct sleeper *b)
{
    struct sleeper *front = b->until < a->until ? b : a, *behind = front == a ? b : a;

    behind->back = front;
    behind->next = front->child;
    if (behind->next)
        behind->next->back = behind;
    front->child = behind;
    return front;
}

/* Siblings become one heap: in pairs from the first to the last, and these from the last to the
 * first. */
static struct sleeper *join_all(struct sleeper *first)
{
    struct sleeper *pairs = NULL, *all;

    while (first) {
        struct sleeper *a = first, *b = a->next;
        first = b ? b->next : NULL;
        if (b)
            a = join(a, b);
        a->next = pairs;
        pairs = a;
    }
    for (all = pairs, pairs = pairs ? pairs->next : NULL; pairs;) {
        struct sleeper *next = pairs->next;
        all = join(all, pairs);
        pairs = next;
    }
    return all;
}

/* What is left of a heap comes to the front of all. */
static void set_first(struct sleepers *all, struct sleeper *s)
{
    all->first = s;
    if (s)
        s->next = s->back = NULL;
}

void sleepers_add(struct sleepers *all, struct sleeper *s)
{
    s->child = NULL;
    set_first(all, all->first ? join(all->first, s) : s);
}

void sleepers_remove(struct sleepers *all, struct sleeper *s)
{
    struct sleeper *rest = join_all(s->child);

    if (s == all->first) {
        set_first(all, rest);
        return;
    }
    if (s->back->child == s)
        s->back->child = s->next;
    else
        s->back->next = s->next;
    if (s->next)
        s->next->back = s->back;
    if (rest)
        set_first(all, join(all->first, rest));
}
